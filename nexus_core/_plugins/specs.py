"""What hooks return, looked at in full before anything is built from it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from nexus_core._model.errors import PluginIncompatibleError
from nexus_core._model.filters import ALL_FILTER_OPS
from nexus_core._model.vectors import METRICS, IndexState
from nexus_core._plugins.faults import Fault, broken
from nexus_core._plugins.settings import names_a_secret, settings_faults
from nexus_core._spi.capabilities import CAPABILITIES_OF, Durability, Isolation, StoreRole
from nexus_core._spi.spec import (
    API_VERSION,
    NAME_TOKEN,
    VERSION_TOKEN,
    AtomizerSpec,
    BackendSpec,
    EmbedderSpec,
    RedactorSpec,
)

ROLE_OF_HOOK: Final[Mapping[str, StoreRole]] = {
    "nexus_raw_store": StoreRole.RAW,
    "nexus_atom_store": StoreRole.ATOMS,
    "nexus_vector_store": StoreRole.VECTORS,
    "nexus_audit_sink": StoreRole.AUDIT,
}

# Keys that the configuration uses beside a plugin's own settings.
STORE_KEYS: Final = frozenset(("backend",))
EMBEDDER_KEYS: Final = frozenset(("plugin", "use", "external"))
ATOMIZER_KEYS: Final = frozenset(("plugin", "use", "media_types"))

_MEDIA_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*")
_SETS: Final[Mapping[str, frozenset[str]]] = {
    "filter_ops": frozenset(ALL_FILTER_OPS),
    "metrics": frozenset(METRICS),
    "states": frozenset(IndexState),
}
# What an engine puts to sleep it has to be able to wake.
_TOGETHER: Final[Mapping[str, frozenset[str]]] = {
    "states": frozenset((IndexState.ACTIVE, IndexState.INACTIVE)),
}
_ROUND_TRIPS: Final = ("bitexact", "normalised", "lossy")

NamedSpec = AtomizerSpec | EmbedderSpec | RedactorSpec


def backend_faults(family: str, hook: str, spec: object) -> list[Fault]:
    """Everything wrong with the answer of one of the four store hooks."""
    if type(spec) is not BackendSpec:
        return [broken(f"{hook} returned {_kind(spec)}, not a BackendSpec", "return a BackendSpec")]
    role = ROLE_OF_HOOK[hook]
    faults = list(_version_faults(hook, spec.api_version))
    if spec.name != family:
        faults.append(
            broken(
                f"the spec of {hook} is not named as its entry point, {family!r}",
                f"set name={family!r} in the spec",
            )
        )
    if spec.role is not role:
        faults.append(
            broken(f"the spec of {hook} has another role", f"set role=StoreRole.{role.name}")
        )
    faults += _summary_faults(hook, spec.summary)
    faults += _capability_faults(hook, role, spec.capabilities)
    if type(spec.isolation) is not Isolation:
        faults.append(broken(f"the isolation of {hook} is no Isolation", "use its members"))
    if type(spec.durability) is not Durability:
        faults.append(broken(f"the durability of {hook} is no Durability", "use its members"))
    faults += _call_faults(f"the factory of {hook}", spec.factory, "config", "runtime")
    if spec.provision is not None:
        faults += _call_faults(f"provision of {hook}", spec.provision, "config", "runtime")
    faults += _proof_faults(hook, spec)
    return faults + settings_faults(hook, spec.config, STORE_KEYS)


def family_faults(hook: str, kind: type[NamedSpec], answer: object) -> list[Fault]:
    """Everything wrong with the answer of ``nexus_atomizer``, ``_embedder`` or ``_redact``."""
    if not isinstance(answer, list | tuple):
        return [
            broken(
                f"{hook} returned {_kind(answer)}, not a list of {kind.__name__}",
                "return a list or tuple, also for a single one",
            )
        ]
    faults: list[Fault] = []
    seen: set[tuple[str, str]] = set()
    for position, spec in enumerate(answer):
        if type(spec) is not kind:
            faults.append(
                broken(
                    f"{hook} returned {_kind(spec)} at position {position}",
                    f"return {kind.__name__} objects only",
                )
            )
            continue
        found = list(_named_faults(f"{hook}, position {position},", spec))
        if not found and (spec.name, spec.version) in seen:
            found.append(
                broken(
                    f"{hook} returned {spec.name}@{spec.version} twice",
                    "give every spec a name and version of its own",
                )
            )
        elif not found:
            seen.add((spec.name, spec.version))
        faults += found
    return faults


def _named_faults(where: str, spec: NamedSpec) -> Iterator[Fault]:
    if not _matches(NAME_TOKEN, spec.name):
        yield broken(f"{where} has an unusable name", f"match {NAME_TOKEN.pattern}")
    if not _matches(VERSION_TOKEN, spec.version):
        yield broken(f"{where} has an unusable version", f"match {VERSION_TOKEN.pattern}")
    yield from _summary_faults(where, spec.summary)
    if isinstance(spec, EmbedderSpec):
        yield from _call_faults(f"the factory of {where}", spec.factory, "config")
        if spec.config is not None:
            yield from settings_faults(where, spec.config, EMBEDDER_KEYS)
        return
    yield from _call_faults(f"the factory of {where}", spec.factory)
    if isinstance(spec, AtomizerSpec):
        yield from _atomizer_faults(where, spec.media_types, spec.parameters)


def _atomizer_faults(where: str, media_types: object, parameters: object) -> Iterator[Fault]:
    if (
        not isinstance(media_types, tuple)
        or not media_types
        or not all(_matches(_MEDIA_TYPE, each) for each in media_types)
    ):
        yield broken(f"{where} has unusable media types", "give a tuple such as ('text/plain',)")
    if not isinstance(parameters, Mapping) or not all(
        type(name) is str and type(value) in (str, int, float, bool)
        for name, value in parameters.items()
    ):
        yield broken(
            f"{where} has unusable parameters", "give names with str, int, float or bool defaults"
        )
    elif inline := sorted(
        name for name, value in parameters.items() if type(value) is str and names_a_secret(name)
    ):
        yield broken(f"{where} has the secret {inline[0]!r} as a parameter", "atomizers take none")
    elif taken := sorted(ATOMIZER_KEYS & parameters.keys()):
        yield broken(f"{where} has the parameter {taken[0]!r}", "rename it; the core has that one")


def _version_faults(hook: str, version: object) -> Iterator[Fault]:
    if (
        not isinstance(version, tuple)
        or len(version) != 2
        or not all(type(part) is int and part >= 0 for part in version)
    ):
        yield broken(f"the api_version of {hook} is not a pair of numbers", "leave it out")
        return
    ours = f"{API_VERSION[0]}.{API_VERSION[1]}"
    theirs = f"{version[0]}.{version[1]}"
    if version[0] < API_VERSION[0]:
        yield Fault(
            PluginIncompatibleError,
            f"{hook} was made for version {theirs} of the interface, which is too old for {ours}",
            "install a newer release of the plugin, or an older one of nexus-core",
        )
    elif version[0] > API_VERSION[0] or version[1] > API_VERSION[1]:
        yield Fault(
            PluginIncompatibleError,
            f"{hook} was made for version {theirs} of the interface, which is too new for {ours}",
            "install a newer release of nexus-core, or an older one of the plugin",
        )


def _summary_faults(where: str, summary: object) -> Iterator[Fault]:
    if not isinstance(summary, str) or not summary.strip() or "\n" in summary:
        yield broken(
            f"the summary of {where} is not one line of text", "say in one line what it is"
        )


def _capability_faults(hook: str, role: StoreRole, capabilities: object) -> Iterator[Fault]:
    wanted = CAPABILITIES_OF[role]
    if type(capabilities) is not wanted:
        yield broken(
            f"{hook} declares {_kind(capabilities)} as capabilities", f"use {wanted.__name__}"
        )
        return
    for field in attrs.fields(wanted):
        value = getattr(capabilities, field.name)
        if not _is_capability(field.name, value, field.default):
            yield broken(
                f"{hook} declares an impossible capability {field.name!r}",
                f"see {wanted.__name__}: flags are bool, limits are at least 1, sets are known",
            )


def _proof_faults(hook: str, spec: BackendSpec) -> Iterator[Fault]:
    if spec.prove is not None:
        yield from _call_faults(f"prove of {hook}", spec.prove, "config", "runtime")
    flags: object = spec.proves
    if not isinstance(flags, frozenset) or not all(
        type(name) is str and getattr(spec.capabilities, name, None) is True for name in flags
    ):
        yield broken(
            f"proves of {hook} is not a frozenset of flags that its capabilities declare",
            "name capabilities that are True there",
        )
    elif flags and spec.prove is None:
        yield broken(f"{hook} names flags to be proved and has no prove", "give prove as well")


def _is_capability(name: str, value: object, default: object) -> bool:
    if name in _SETS:
        if not isinstance(value, frozenset) or not value <= _SETS[name]:
            return False
        return not value or value >= _TOGETHER.get(name, frozenset())
    if name == "round_trip":
        return value in _ROUND_TRIPS
    if isinstance(default, bool):
        return isinstance(value, bool)
    if default is None and value is None:
        return True
    return type(value) is int and value >= 1


def _call_faults(what: str, function: object, *arguments: str) -> Iterator[Fault]:
    fix = f"make it a plain function of ({', '.join(arguments)})"
    if not callable(function):
        yield broken(f"{what} cannot be called", fix)
    elif inspect.iscoroutinefunction(function):
        yield broken(f"{what} is async", fix)
    elif missing := getattr(function, "__abstractmethods__", None):
        yield broken(
            f"{what} is a class that lacks {', '.join(sorted(missing))}",
            "write every method that its base class leaves abstract",
        )
    elif not _takes(function, len(arguments)):
        yield broken(f"{what} does not take {len(arguments)} arguments", fix)


def _takes(function: Callable[..., Any], count: int) -> bool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True  # written in C: it cannot be known before the call
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return type(value) is str and pattern.fullmatch(value) is not None


def _kind(value: object) -> str:
    return "nothing" if value is None else f"an object of type {type(value).__name__}"


def find_version(specs: Sequence[NamedSpec], use: str) -> NamedSpec | None:
    """The spec that ``name@version`` names, or ``None``."""
    return next((spec for spec in specs if f"{spec.name}@{spec.version}" == use), None)


def uses(specs: Collection[NamedSpec]) -> list[str]:
    """Every ``name@version`` on offer, sorted."""
    return sorted(f"{spec.name}@{spec.version}" for spec in specs)
