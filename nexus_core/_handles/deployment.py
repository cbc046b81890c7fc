"""An opened configuration: its stores, keys, clock and policy plugins, for all scopes at once.

Neighbours ask it for a ``ScopeRuntime``, which holds everything that belongs to one scope and
nothing that belongs to another.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast, final

import attrs

from nexus_core._audit import ScopeLog, Signer
from nexus_core._config import Config
from nexus_core._model.context import RequestContext
from nexus_core._model.errors import (
    BackendError,
    ClosedError,
    ConfigurationError,
    Outcome,
    Problem,
    UnavailableError,
)
from nexus_core._model.scope import Scope
from nexus_core._model.vectors import IndexDefinition
from nexus_core._security.guard import Guard
from nexus_core._security.keyring import KeyRing
from nexus_core._security.tokens import TokenSealer
from nexus_core._spi.audit import AuditBackend
from nexus_core._spi.backend import Backend
from nexus_core._spi.capabilities import AuditCapabilities, StoreRole
from nexus_core._spi.spec import AtomizerSpec, BackendSpec, Embedder, Redactor

logger: Final = logging.getLogger("nexus")

Clock = Callable[[], int]
Authorizer = Callable[[RequestContext, str, Sequence[str]], object]
Observer = Callable[[Any], None]

_SCOPES_KEPT: Final = 4096


def wall_clock() -> int:
    """Microseconds since the epoch, UTC."""
    return time.time_ns() // 1000


@attrs.frozen(eq=False)
class OpenStore:
    """A backend that a configuration named, built and checked.

    ``spec`` declares what holds here: flags in ``unproved``, which nothing has proved of this
    endpoint yet, are off.
    """

    name: str
    role: StoreRole
    spec: BackendSpec
    backend: Backend = attrs.field(repr=False)
    unproved: frozenset[str] = frozenset()


@final
class ScopeRuntime:
    """One scope's stores, guard, tokens and audit log. Safe for use by threads."""

    __slots__ = ("_poisoned", "_stores", "guard", "indexes", "log", "scope", "signer", "tokens")

    def __init__(
        self,
        scope: Scope,
        stores: Mapping[StoreRole, OpenStore],
        keys: KeyRing,
        view_hash: bytes,
        *,
        poisoned: set[tuple[Scope, StoreRole]],
        now: Clock,
    ) -> None:
        self.scope = scope
        self._stores = dict(stores)
        self._poisoned = poisoned
        self.guard = Guard(keys, scope)
        # Indexes that the scope's own records were seen to name, by name and version.
        self.indexes: dict[tuple[str, int], IndexDefinition] = {}
        self.tokens = TokenSealer(keys, scope)
        self.signer = Signer.of(keys, scope)
        sink = self.store(StoreRole.AUDIT)
        self.log = ScopeLog(
            cast("AuditBackend", sink.backend),
            scope,
            self.signer,
            config_hash=view_hash,
            max_batch=cast("AuditCapabilities", sink.spec.capabilities).max_batch,
            now=now,
        )

    def has(self, role: StoreRole) -> bool:
        """Whether a store is routed for the role."""
        return role in self._stores

    def store(self, role: StoreRole) -> OpenStore:
        """The store routed for a role; refuse where there is none, or where it was poisoned."""
        store = self._stores.get(role)
        if store is None:
            raise ConfigurationError(
                [
                    Problem(
                        path="routes",
                        what=f"no store is routed for the role {role.value!r} in this scope",
                        fix=f'add `{role.value} = "STORE"` to a [[routes]] entry that covers it',
                        code="route.missing",
                    )
                ]
            )
        if (self.scope, role) in self._poisoned:
            raise UnavailableError(
                f"the {role.value} store is closed for this scope after an isolation violation",
                hint="run `nexus doctor`, then restart",
                retryable=False,
            )
        return store

    def poison(self, role: StoreRole) -> None:
        """Refuse every later call of this scope to the role's store."""
        self._poisoned.add((self.scope, role))
        logger.critical(
            "isolation violation: store %s (%s) answered outside its scope and is closed for it",
            self._stores[role].name,
            role.value,
        )


@final
class Deployment:
    """Everything that ``Nexus.open`` built. Safe for use by threads; closed once."""

    def __init__(
        self,
        config: Config,
        keys: KeyRing,
        stores: Mapping[tuple[str, StoreRole], OpenStore],
        *,
        atomizers: Mapping[str, AtomizerSpec],
        embedders: Mapping[str, Embedder],
        authorizers: Sequence[Authorizer] = (),
        redactors: Sequence[Redactor] = (),
        observers: Sequence[Observer] = (),
        now: Clock = wall_clock,
    ) -> None:
        self.config = config
        self.keys = keys
        self.now = now
        self.stores = dict(stores)
        self.atomizers = dict(atomizers)
        self.embedders = dict(embedders)
        self.authorizers = tuple(authorizers)
        self._redactors = tuple(redactors)
        self.observers = tuple(observers)
        self._lock = threading.Lock()
        self._scopes: OrderedDict[Scope, ScopeRuntime] = OrderedDict()
        # Kept here, because what belongs to a scope may be dropped and made again.
        self._poisoned: set[tuple[Scope, StoreRole]] = set()
        self._refusal: str | None = None
        _deployments.add(self)

    def ensure_open(self) -> None:
        """Raise ``ClosedError`` after ``close`` and in a process forked from the opening one."""
        if self._refusal is not None:
            raise ClosedError(self._refusal, hint="call Nexus.open again")

    def runtime(self, scope: Scope) -> ScopeRuntime:
        """What belongs to one scope, made at first use and kept (the 4096 latest)."""
        with self._lock:
            runtime = self._scopes.get(scope)
            if runtime is not None:
                self._scopes.move_to_end(scope)
                return runtime
        self._check_env(scope)
        route = self.config.route(scope)
        names = {role: getattr(route, role.value) for role in StoreRole}
        stores = {role: self.stores[name, role] for role, name in names.items() if name is not None}
        view_hash = bytes.fromhex(self.config.view_hash(scope))
        made = ScopeRuntime(
            scope, stores, self.keys, view_hash, poisoned=self._poisoned, now=self.now
        )
        with self._lock:
            runtime = self._scopes.setdefault(scope, made)
            while len(self._scopes) > _SCOPES_KEPT:
                self._scopes.popitem(last=False)
        return runtime

    def redacted(self, names: Sequence[str]) -> tuple[str, ...]:
        """Names as they may be kept in trails and events: after every configured redactor.

        A redactor that fails, or gives something other than text, stops what it was asked for.
        """
        if not self._redactors:
            return tuple(names)
        return tuple(self._redact(name) for name in names)

    def _redact(self, name: str) -> str:
        failure: BackendError
        try:
            for redactor in self._redactors:
                name = redactor.redact(name)
            if type(name) is str:
                return name
            failure = BackendError("a redactor gave something that is not text")
        except Exception as error:  # noqa: BLE001  # its own words may hold what it is to remove
            failure = BackendError(f"a redactor failed with {type(error).__name__}")
        failure.outcome = Outcome.NOT_APPLIED
        failure.__cause__ = failure.__context__ = None
        raise failure

    def _check_env(self, scope: Scope) -> None:
        if scope.env not in self.config.environments:
            raise ConfigurationError(
                [
                    Problem(
                        path="environments",
                        what=f"this deployment does not serve the environment {scope.env!r}",
                        fix="use one it serves, or add it to `environments`",
                        code="route.environment",
                    )
                ]
            )

    def _is_closed(self) -> bool:
        return self._refusal is not None

    def close(self, reason: str = "this Nexus is closed") -> None:
        """Close every backend. Idempotent; errors while closing are logged, not raised."""
        # Asked before the lock as well: in a forked child nobody may ever release it.
        if self._is_closed():
            return
        with self._lock:
            if self._is_closed():
                return
            self._refusal = reason
        for store in {id(store.backend): store for store in self.stores.values()}.values():
            try:
                store.backend.close()
            except Exception as error:  # noqa: BLE001  # closing one must not keep others open
                logger.error("closing store %s failed: %s", store.name, type(error).__name__)

    def abandon(self) -> None:
        """Refuse all use in a forked child, touching nothing that the parent still uses."""
        self._refusal = "this Nexus was opened in another process, before a fork"


_deployments: Final[weakref.WeakSet[Deployment]] = weakref.WeakSet()


def _after_fork() -> None:
    for deployment in list(_deployments):
        deployment.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
