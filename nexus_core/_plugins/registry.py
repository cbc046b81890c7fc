"""The registry: plugins by name, imported when they are named and refused when they are broken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType, ModuleType
from typing import Any, Final, TypeVar, final

import attrs

from nexus_core._model.context import RequestContext
from nexus_core._model.errors import (
    PluginConflictError,
    PluginNotFoundError,
    Problem,
)
from nexus_core._plugins.faults import Fault, broken, describe, did_you_mean
from nexus_core._plugins.hooks import Hooks, ask, by_name, find_hooks, register
from nexus_core._plugins.loading import import_offer
from nexus_core._plugins.offers import Offer, read_installed, without_repeats
from nexus_core._plugins.specs import ROLE_OF_HOOK, NamedSpec, backend_faults, family_faults
from nexus_core._spi.capabilities import StoreRole
from nexus_core._spi.spec import AtomizerSpec, BackendSpec, EmbedderSpec, RedactorSpec

Authorize = Callable[[RequestContext, str, Sequence[str]], object]
Observe = Callable[[Any], None]

_ROLE_TITLES: Final[Mapping[StoreRole, str]] = {
    StoreRole.RAW: "raw store",
    StoreRole.ATOMS: "atom store",
    StoreRole.VECTORS: "vector store",
    StoreRole.AUDIT: "audit sink",
}

_S = TypeVar("_S", bound=NamedSpec)


@attrs.frozen(kw_only=True)
class Extension:
    """Policy, observation and redaction of one family, as plain callables.

    Each of ``authorize`` is called as ``(context, action, ids)``, each of ``observe`` as
    ``(event)``, by position.
    """

    name: str
    distribution: str
    version: str
    authorize: tuple[Authorize, ...]
    observe: tuple[Observe, ...]
    redactors: tuple[RedactorSpec, ...]


@attrs.frozen(kw_only=True)
class Plugin:
    """One plugin, imported, looked at in full and found sound."""

    offer: Offer
    backends: Mapping[StoreRole, BackendSpec]
    atomizers: tuple[AtomizerSpec, ...]
    embedders: tuple[EmbedderSpec, ...]
    redactors: tuple[RedactorSpec, ...]
    authorize: tuple[Authorize, ...]
    observe: tuple[Observe, ...]

    @property
    def is_extension(self) -> bool:
        """Whether it does anything beside storing, cutting and embedding."""
        return bool(self.authorize or self.observe or self.redactors)


@attrs.frozen
class _Broken:
    """Why a name gives no plugin, and the distribution to blame where one is."""

    faults: tuple[Fault, ...]
    distribution: str | None


@final
class Registry:
    """Plugins by family name. Nothing is imported before a method names it.

    A registry made from offers knows those and never looks at what is installed; ``discover``
    makes one that knows what is. A plugin with any fault is refused as a whole. Methods that take
    a name raise, naming distribution and version: ``PluginNotFoundError``, ``PluginConflictError``
    (two distributions, one name), ``PluginLoadError``, ``PluginIncompatibleError`` or
    ``PluginContractError``.
    """

    def __init__(self, offers: Iterable[Offer] = (), *, unreadable: Iterable[str] = ()) -> None:
        self._offers = without_repeats(offers)
        self._unreadable = tuple(unreadable)
        self._modules: dict[str, ModuleType] = {}
        self._known: dict[str, Plugin | _Broken] = {}

    @classmethod
    def discover(cls) -> Registry:
        """Read what is installed, from metadata alone."""
        installed = read_installed()
        return cls(installed.offers, unreadable=installed.unreadable)

    @classmethod
    def of(cls, modules: Mapping[str, ModuleType]) -> Registry:
        """Make a registry of modules that are imported already, as tests have them."""
        registry = cls(Offer(name, "given", "0", each.__name__) for name, each in modules.items())
        registry._modules = dict(modules)
        return registry

    def families(self) -> Sequence[Offer]:
        """Every offer, by name; a name that two distributions claim is there twice."""
        return self._offers

    def names(self) -> Sequence[str]:
        """Family names on offer, each once, sorted."""
        return sorted({offer.name for offer in self._offers})

    def check(self, name: str) -> list[Problem]:
        """Load one plugin and say everything that is wrong with it. Never raises."""
        plugin = self._look(name)
        if isinstance(plugin, Plugin):
            return []
        return [fault.problem(f"plugins.{name}", plugin.distribution) for fault in plugin.faults]

    def plugin(self, name: str) -> Plugin:
        """Everything that one plugin offers."""
        plugin = self._look(name)
        if isinstance(plugin, Plugin):
            return plugin
        fault, *others = plugin.faults
        if others:
            fault = attrs.evolve(
                fault,
                what=f"{fault.what} (and {len(others)} more; `nexus plugins check {name}`)",
            )
        raise fault.error(plugin.distribution)

    def backend(self, name: str, role: StoreRole) -> BackendSpec:
        """One backend; ``PluginNotFoundError`` also where the plugin does not do this role."""
        plugin = self.plugin(name)
        spec = plugin.backends.get(role)
        if spec is None:
            able = ", ".join(each.value for each in plugin.backends) or "none"
            raise PluginNotFoundError(
                f"{plugin.offer.label}: {name!r} is no {_ROLE_TITLES[role]}",
                distribution=plugin.offer.label,
                hint=f"its roles: {able}",
            )
        return spec

    def backends(self, name: str) -> Mapping[StoreRole, BackendSpec]:
        """The backends of one family by role; may be empty."""
        return self.plugin(name).backends

    def atomizers(self, name: str) -> Sequence[AtomizerSpec]:
        """The atomizers of one family; may be empty."""
        return self.plugin(name).atomizers

    def embedders(self, name: str) -> Sequence[EmbedderSpec]:
        """The embedders of one family; may be empty."""
        return self.plugin(name).embedders

    def redactors(self, name: str) -> Sequence[RedactorSpec]:
        """The redactors of one family; may be empty."""
        return self.plugin(name).redactors

    def extension(self, name: str) -> Extension:
        """What one family does beside storing; ``PluginNotFoundError`` where that is nothing."""
        plugin = self.plugin(name)
        if not plugin.is_extension:
            raise PluginNotFoundError(
                f"{plugin.offer.label}: {name!r} is no extension",
                distribution=plugin.offer.label,
                hint="an extension implements nexus_authorize, nexus_observe or nexus_redact",
            )
        return Extension(
            name=name,
            distribution=plugin.offer.distribution,
            version=plugin.offer.version,
            authorize=plugin.authorize,
            observe=plugin.observe,
            redactors=plugin.redactors,
        )

    def _look(self, name: str) -> Plugin | _Broken:
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = self._load(name)
        return known

    def _load(self, name: str) -> Plugin | _Broken:
        offers = [offer for offer in self._offers if offer.name == name]
        if len(offers) != 1:
            return _Broken((self._conflict(name, offers) if offers else self._absent(name),), None)
        (offer,) = offers
        module = self._modules.get(name) or import_offer(offer)
        if isinstance(module, Fault):
            return _Broken((module,), offer.label)
        hooks = find_hooks(module)
        plugin, faults = _examine(offer, module, hooks)
        return _Broken(faults, offer.label) if faults else plugin

    def _absent(self, name: str) -> Fault:
        names = self.names()
        fix = did_you_mean(name, names) or (
            f"installed: {', '.join(names)}" if names else "install a distribution that offers it"
        )
        if self._unreadable:
            fix += f"; the metadata of {', '.join(self._unreadable)} could not be read"
        return Fault(PluginNotFoundError, f"no installed plugin is called {name!r}", fix)

    @staticmethod
    def _conflict(name: str, offers: Sequence[Offer]) -> Fault:
        claims = " and ".join(f"{offer.label} ({offer.module})" for offer in offers)
        return Fault(
            PluginConflictError,
            f"the name {name!r} is offered by {claims}",
            "uninstall all but one of them",
        )


def _examine(offer: Offer, module: ModuleType, hooks: Hooks) -> tuple[Plugin, tuple[Fault, ...]]:
    faults = list(hooks.faults)
    backends: dict[StoreRole, BackendSpec] = {}
    answers: dict[str, Any] = {}
    for hook, answer in _answers(offer, module, hooks, faults):
        if hook in ROLE_OF_HOOK:
            found = backend_faults(offer.name, hook, answer)
            if not found:
                assert isinstance(answer, BackendSpec)
                backends[ROLE_OF_HOOK[hook]] = answer
            faults += found
        else:
            found = family_faults(hook, _NAMED[hook], answer)
            if not found:
                answers[hook] = answer
            faults += found
    plugin = Plugin(
        offer=offer,
        backends=MappingProxyType(backends),
        atomizers=tuple(answers.get("nexus_atomizer", ())),
        embedders=tuple(answers.get("nexus_embedder", ())),
        redactors=tuple(answers.get("nexus_redact", ())),
        authorize=_calls(hooks, "nexus_authorize"),
        observe=_calls(hooks, "nexus_observe"),
    )
    return plugin, tuple(faults)


def _calls(hooks: Hooks, name: str) -> tuple[Callable[..., Any], ...]:
    function = hooks.functions.get(name)
    return () if function is None else (by_name(name, function),)


_NAMED: Final[Mapping[str, type[NamedSpec]]] = {
    "nexus_atomizer": AtomizerSpec,
    "nexus_embedder": EmbedderSpec,
    "nexus_redact": RedactorSpec,
}


def _answers(
    offer: Offer, module: ModuleType, hooks: Hooks, faults: list[Fault]
) -> list[tuple[str, object]]:
    """Register the sound hooks with a private manager and ask those that return specs."""
    try:
        manager = register(offer.name, module, hooks.functions)
    except Exception as error:  # noqa: BLE001  # what pluggy of some version minds and we did not
        faults.append(broken(f"registering it failed: {describe(error)}", "see pluggy's message"))
        return []
    answers: list[tuple[str, object]] = []
    for hook in hooks.functions:
        if hook not in ROLE_OF_HOOK and hook not in _NAMED:
            continue
        answer = ask(manager, hook)
        if isinstance(answer, Fault):
            faults.append(answer)
        else:
            answers.append((hook, answer))
    return answers
