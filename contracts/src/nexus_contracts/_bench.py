"""The bench that a check works at: fresh stores, adversarial names, a clock, the core on top."""

from __future__ import annotations

import random
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NoReturn, TypeVar

import attrs

from nexus_contracts._harness import BackDoor, BackendHarness, Namespace
from nexus_contracts._requirements import Profile
from nexus_contracts._watch import Trail, Watched
from nexus_contracts._watch import Violation as Violation
from nexus_contracts.faults._model import FaultInjector
from nexus_contracts.memory import plugin as memory
from nexus_core import Nexus, NexusError, RequestContext, Scope
from nexus_core.spi import (
    Backend,
    BackendConfig,
    BackendSpec,
    IndexDefinition,
    StoreError,
    StoreRole,
    hookimpl,
)

E = TypeVar("E", bound=StoreError)

EFFORT: Final = 25_000

# Families that a careless join, fold, pattern or prefix takes for one another.
FAMILIES: Final = (
    ("t", "t-1", "t1", "t10", "t_1", "t1-dev"),
    ("a", "a-b", "ab", "a_b", "aab", "a--b"),
    ("dev", "dev-1", "prod", "dev-prod", "dev_prod", "prod-1"),
)
# Whose eyes the two-run looks through: begun by others, matched by a pattern, named like an
# environment.
SUBJECTS: Final = ("a", "a_b", "t1", "dev_prod")
SCOPES: Final = tuple(
    Scope(tenant, env) for family in FAMILIES for tenant in family for env in ("dev", "prod")
)
KEYS: Final = (
    "k",
    "K",
    "k/m",
    "k-m",
    "k m",
    "k%2fm",
    "k%",
    "k_",
    "k*",
    "k?",
    "[k]",
    "k.",
    ".k",
    "kk",
    "con",
    "nul.txt",
    "é",
    "ß",
    "ss",
    "ﬁ",
    "fi",
    "ı",
    "i",
    "I",
    "0",
    "00",
    "+",
    " ",
    "a&b=c;d#e",
    "'; DROP TABLE x; --",
    '"',
    "~6b",
    "~_",
    "v1/prod/t10/k",
    "x" * 300,
    "日本",
    "🧪/🧪",
)
# With a tenant in front and a separator between, each is another tenant's key.
JOINED: Final = ("k", "b-k", "1-k", "b_k")
IDS: Final = ("a", "A", "a%", "a_", "a'b", 'a"b', "a-b", "a/b", "a\\b", "%", "_", "*", "x" * 128)


class Indeterminate(Exception):  # it is a verdict, not an error
    """The control run differed from itself, so nothing can be said."""


@attrs.define
class TickingClock:
    """A clock that moves on a millisecond or two at every look: never twice by the same steps."""

    time: int = 1_800_000_000_000_000
    _steps: random.Random = attrs.field(factory=lambda: random.Random(0))  # noqa: S311  # no secret

    def __call__(self) -> int:
        self.time += self._steps.randint(1000, 2000)
        return self.time


@attrs.define(eq=False)
class Bench:
    """Everything one check may use. Fresh for every check; closed after it.

    ``random`` is seeded, so that a failure can be repeated. ``figures`` go into the report. About
    ``effort`` calls are made to find a smaller schedule that shows a failure.
    """

    harness: BackendHarness
    seed: int
    profile: Profile = Profile.CORE
    effort: int = EFFORT
    random: random.Random = attrs.field(init=False)
    clock: TickingClock = attrs.field(factory=TickingClock)
    figures: dict[str, Any] = attrs.field(factory=dict)
    trail: Trail = attrs.field(factory=Trail)
    _folders: list[Path] = attrs.field(factory=list)
    _open: list[Backend] = attrs.field(factory=list)
    _abandoned: list[Backend] = attrs.field(factory=list)
    _ground: Path | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.random = random.Random(self.seed)  # noqa: S311  # reproducible, not secret

    @property
    def spec(self) -> BackendSpec:
        """The spec under test."""
        return self.harness.spec

    def cast(self, size: int = 5, subject: str | None = None) -> list[Scope]:
        """Scopes that are easily taken for one another, the subject first, then the same tenant in
        another environment, then its nearest twin, then others."""
        tenant = self.random.choice(SUBJECTS) if subject is None else subject
        family = next(family for family in FAMILIES if tenant in family)
        env, other = self.random.sample(("dev", "prod"), 2)
        twins = [Scope(t, e) for t in family if t != tenant for e in ("dev", "prod")]
        own = [Scope(tenant, env), Scope(tenant, other)]
        # The first two of a family join to one name with the keys of JOINED.
        nearest = {family[0]: family[1], family[1]: family[0], "t1": "t10"}
        partner = nearest.get(tenant, tenant.replace("_", "-"))
        own.append(Scope(partner, env))
        twins.remove(own[-1])
        return (own + self.random.sample(twins, max(0, size - 3)))[:size]

    # -- stores ------------------------------------------------------------------------------

    def namespace(self) -> Namespace:
        """A fresh place, with nothing in it."""
        folder = Path(tempfile.mkdtemp(prefix="nexus-contracts-", dir=self.ground))
        self._folders.append(folder)
        return Namespace(folder)

    @property
    def ground(self) -> Path:
        """The folder around every place of this check; the suite itself puts nothing in it."""
        if self._ground is None:
            self._ground = Path(tempfile.mkdtemp(prefix="nexus-contracts-"))
            self._folders.append(self._ground)
        return self._ground

    def provisioned(self) -> Namespace:
        """A fresh place with an empty store in it."""
        namespace = self.namespace()
        self.harness.provision(namespace, self.clock)
        return namespace

    def open(self, namespace: Namespace | None = None) -> Any:
        """Open the backend: on a fresh empty store, or again on an existing one.

        Typed ``Any``: a check of a role calls that role's methods.
        """
        where = self.provisioned() if namespace is None else namespace
        return self.watched(self.harness.build(where, self.clock))

    def disturbed(self, namespace: Namespace, injector: FaultInjector) -> Any:
        """The backend on an existing store, over the road that can be made to fail."""
        settings = injector.settings(namespace)
        return self.watched(self.harness.build(namespace, self.clock, settings))

    def watched(self, backend: Backend) -> Any:
        """A backend whose answers are held against the interface, closed when the check is over."""
        watched = Watched(backend, self.spec.role, self.trail)
        self._open.append(backend)
        return watched

    @contextmanager
    def fresh(self) -> Iterator[Any]:
        """The backend on a fresh empty store, which is closed and removed at once: for checks that
        need hundreds of them."""
        with self.fresh_place() as place:
            yield place.store

    @contextmanager
    def fresh_place(self) -> Iterator[Place]:
        """``fresh``, but one that can be opened again."""
        namespace = self.provisioned()
        place = Place(self, namespace, self.watched(self.harness.build(namespace, self.clock)))
        try:
            yield place
        finally:
            self._folders.remove(namespace.path)
            self.release(place.store)
            shutil.rmtree(namespace.path, ignore_errors=True)

    def abandon(self, store: Any) -> None:
        """Never close a store of which a call does not return: closing might not return either."""
        self._open.remove(store.backend)
        self._abandoned.append(store.backend)

    def release(self, store: Any) -> None:
        """Close a store before the check is over."""
        if any(store.backend is each for each in self._abandoned):
            return
        self._open.remove(store.backend)
        # Not through the watch: what is remembered as the last call is the check's own.
        store.backend.close()

    def back_door(self, namespace: Namespace) -> BackDoor | None:
        """The way below the SPI, where the harness has one."""
        return None if self.harness.back_door is None else self.harness.back_door(namespace)

    def close(self) -> None:
        """Close and remove everything that the check opened."""
        with ExitStack() as left:
            for folder in self._folders:
                left.callback(shutil.rmtree, folder, ignore_errors=True)
            for backend in self._open:
                left.callback(backend.close)

    # -- the core on top ---------------------------------------------------------------------

    @contextmanager
    def nexus(
        self,
        backend: Any,
        *,
        spec: BackendSpec | None = None,
        indexes: Sequence[IndexDefinition] = (),
    ) -> Iterator[Nexus]:
        """A deployment whose store for the role under test is ``backend``; the others are memory.

        ``indexes`` are the operator's definitions. Closes the backend when it ends.
        """
        from nexus_core._config import load
        from nexus_core._plugins import Registry

        role = self.spec.role
        module = subject_module(self.spec if spec is None else spec, backend)
        lines = [
            'version = 1\nprofile = "development"\n[keys]\nroot = { env = "ROOT" }\n',
            '[stores.subject]\nbackend = "subject"\n',
            '[stores.memory]\nbackend = "memory"\n[[routes]]\n',
            *(
                f'{each.value} = "{"subject" if each is role else "memory"}"\n'
                for each in StoreRole
            ),
        ]
        if indexes:
            lines.append('[embedders.own]\nexternal = true\nuse = "e@1"\n')
        for each in indexes:
            lines.append(
                f'[[indexes]]\nname = "{each.name}"\nversion = {each.version}\n'
                f'dimension = {each.dimension}\nmetric = "{each.metric}"\nembedder = "e@1"\n'
            )
        path = self.namespace().path / "nexus.toml"
        path.write_text("".join(lines), encoding="utf-8")
        registry = Registry.of({"subject": module, "memory": memory})
        config = load(path, registry=registry, environ={"ROOT": secrets.token_hex(32)})
        with Nexus.from_config(config, now=self.clock) as nexus:
            yield nexus

    def context(self, scope: Scope, *, role: str = "owner", actor: str = "ana") -> RequestContext:
        """A request context in a scope."""
        return RequestContext.build(
            tenant_id=scope.tenant_id,
            env=scope.env,
            actor_id=actor,
            actor_kind="human",
            role=role,
        )

    # -- saying what is wrong ----------------------------------------------------------------

    def fail(self, message: str) -> NoReturn:
        """The requirement is broken."""
        raise Violation(message)

    def expect(self, holds: object, message: str) -> None:
        """The requirement is broken unless ``holds``."""
        if not holds:
            raise Violation(message)

    def raises(self, kind: type[E], call: Callable[[], object], message: str) -> E:
        """The requirement is broken unless the call raises exactly that kind of error."""
        try:
            answer = call()
        except kind as error:
            return error
        except NexusError as error:
            raise Violation(
                f"{message}: expected {kind.__name__}, got {type(error).__name__}"
            ) from None
        raise Violation(
            f"{message}: expected {kind.__name__}, but it returned a {type(answer).__name__}"
        )


@attrs.define
class Place:
    """A store, and where it is."""

    bench: Bench
    namespace: Namespace
    store: Any

    def open_again(self) -> Any:
        """Close the store and open it once more, as a new process would; gives the new one."""
        self.bench.release(self.store)
        built = self.bench.harness.build(self.namespace, self.bench.clock)
        self.store = self.bench.watched(built)
        return self.store


def subject_module(spec: BackendSpec, backend: Backend) -> ModuleType:
    """A plugin module that offers an already opened backend under the name ``subject``."""
    offered = attrs.evolve(
        spec,
        name="subject",
        config=SubjectConfig,
        factory=lambda _config, _runtime: backend,
        provision=None,
        # What has to be proved of an endpoint is what the suite is about to see for itself.
        prove=None,
        proves=frozenset(),
    )
    module = ModuleType("nexus_contracts_subject")
    hooks = {
        StoreRole.RAW: "nexus_raw_store",
        StoreRole.ATOMS: "nexus_atom_store",
        StoreRole.VECTORS: "nexus_vector_store",
        StoreRole.AUDIT: "nexus_audit_sink",
    }

    def offer() -> BackendSpec:
        return offered

    offer.__name__ = offer.__qualname__ = hooks[spec.role]
    setattr(module, hooks[spec.role], hookimpl(offer))
    return module


class SubjectConfig(BackendConfig):
    """The subject of a check has no settings."""
