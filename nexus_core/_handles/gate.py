"""The gate that every call passes: admission, audit, error translation, isolation alarm.

One ``Gate`` serves one request. The order never changes: the deployment is open, the role permits,
every policy plugin consents, the backend declares what is needed; a mutation's intent is durable
before the backend hears of it and its outcome follows; a read's access record is durable before
its result is released.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, TypeVar, final

import attrs

from nexus_core._audit import AuditRecord, ErasedRecord
from nexus_core._handles.deployment import Deployment, OpenStore, ScopeRuntime, logger
from nexus_core._model.audit import Phase
from nexus_core._model.context import RequestContext
from nexus_core._model.errors import (
    AccessDeniedError,
    BackendError,
    ClosedError,
    NexusError,
    NotFoundError,
    Outcome,
    StoreError,
    TenantIsolationError,
    UnsupportedError,
)
from nexus_core._model.ids import new_id
from nexus_core._model.records import Operation
from nexus_core._model.scope import Scope
from nexus_core._security.permissions import Action, permits
from nexus_core._spi.capabilities import StoreRole

T = TypeVar("T")

_NO_IDS: Final[tuple[str, ...]] = ()


@attrs.frozen(kw_only=True)
class Observation:
    """What ``nexus_observe`` is shown: allow-listed facts about a call that has ended."""

    scope: Scope
    actor: str
    action: str
    outcome: str
    trace_id: str
    request_id: str
    operation: str
    count: int


@attrs.define
class Mutation:
    """A mutation under way; the handle adds what only its course tells.

    ``begun`` says that a part of several took effect, so that a failure's outcome is unknown
    until recovery, whatever the failing part says of itself. ``tell`` writes the event of an
    effect that shares no transaction with it. ``details`` go into the outcome record. ``closing``
    takes down its fences, with the event where there is one, else by ``release``. ``unsettled``
    leaves a failed one's intent without an outcome, for recovery to answer.
    """

    operation: str
    ids: Sequence[str]
    unchanged: bool = False
    begun: bool = False
    tell: Callable[[], None] | None = None
    details: dict[str, int] = attrs.field(factory=dict)
    unsettled: bool = False
    closing: Sequence[Operation] = ()
    release: Callable[[], None] | None = None

    def let_go(self) -> None:
        """Take down what fences are up; one that cannot be taken down is left to age."""
        if self.release is not None:
            with suppress(NexusError):
                self.release()


@final
class Gate:
    """The only way from a handle to a backend, for one request."""

    __slots__ = ("_deployment", "_ended", "_runtime", "context", "purpose")

    def __init__(self, deployment: Deployment, context: RequestContext, purpose: str) -> None:
        deployment.ensure_open()
        self._deployment = deployment
        self._runtime = deployment.runtime(context.scope)
        self._ended = False
        self.context = context
        self.purpose = purpose

    @property
    def scope(self) -> Scope:
        return self.context.scope

    @property
    def runtime(self) -> ScopeRuntime:
        return self._runtime

    @property
    def deployment(self) -> Deployment:
        return self._deployment

    def now(self) -> int:
        return self._deployment.now()

    def end(self) -> None:
        """Refuse every later call; a handle kept beyond its request is of no use."""
        self._ended = True

    def ensure_alive(self) -> None:
        """Raise ``ClosedError`` once the request has ended or the deployment is closed."""
        self._deployment.ensure_open()
        if self._ended:
            raise ClosedError("this request has ended", hint="call nexus.request() again")

    # -- admission ---------------------------------------------------------------------------

    def admit(self, action: Action, ids: Sequence[str] = _NO_IDS) -> None:
        """Refuse a closed deployment, a role without the permission, and a policy's veto.

        Every refusal by role or policy is durable in the trail before it is raised.
        """
        self.ensure_alive()
        if not permits(self.context.role, action):
            self._deny(action, ids, f"the role {self.context.role.value!r} may not do this")
        for authorize in self._deployment.authorizers:
            try:
                answer = authorize(self.context, action.value, tuple(ids))
            except Exception as error:  # noqa: BLE001  # a policy that fails has not consented
                logger.error("a policy plugin raised %s; denied", type(error).__name__)
                answer = error
            if answer is not None:
                self._deny(action, ids, "a policy refused this")

    def _deny(self, action: Action, ids: Sequence[str], why: str) -> None:
        self.record("denied", action, AccessDeniedError.code, ids=ids)
        raise AccessDeniedError(f"{action.value}: {why}")

    def require(self, store: OpenStore, capability: str) -> None:
        """Refuse what the store's spec does not declare, before the backend hears of it."""
        if not getattr(store.spec.capabilities, capability):
            hint = None
            if capability in store.unproved:
                hint = "nothing current proves it of this store: the operator runs `nexus doctor`"
            raise UnsupportedError(capability, hint=hint)

    # -- reading -----------------------------------------------------------------------------

    def accessed(self, action: Action, role: StoreRole, ids: Sequence[str]) -> None:
        """Make one access record durable; nothing may be released before it is."""
        operation = self.record("access", action, "ok", ids=ids, role=role)
        self.observe(action, "ok", operation, len(ids))

    @contextmanager
    def reading(self, action: Action, role: StoreRole, ids: Sequence[str]) -> Iterator[None]:
        """Put a read on record that finds nothing; what is found the caller puts on record."""
        try:
            yield
        except NotFoundError as error:
            self.missed(action, role, ids, error)
            raise

    def missed(
        self, action: Action, role: StoreRole, ids: Sequence[str], error: NotFoundError
    ) -> None:
        """Make the record of a read that found nothing durable."""
        operation = self.record("access", action, error.code, ids=ids, role=role)
        self.observe(action, error.code, operation, 0)

    # -- mutating ----------------------------------------------------------------------------

    @contextmanager
    def mutation(
        self,
        action: Action,
        role: StoreRole,
        ids: Sequence[str],
        *,
        kind: str | None = None,
        space: str | None = None,
        admitted: bool = False,
    ) -> Iterator[Mutation]:
        """Admit, make the intent durable, run the block, make the outcome durable.

        A block that raises is recorded with what is known of its effect. When the effect stands
        but its outcome record cannot be written, raises with outcome APPLIED; recovery settles it.
        """
        if not admitted:
            self.admit(action, ids)
        self._runtime.store(role)
        mutation = Mutation(new_id(), ids)

        intent = self._record(
            "intent", action, mutation.operation, ids=ids, role=role, kind=kind, space=space
        )
        self._append(intent)

        def settle(outcome: str, known: Outcome) -> None:
            self._append(
                intent.settled(
                    outcome,
                    at=self.now(),
                    ids=self._deployment.redacted(mutation.ids),
                    details={**mutation.details, "reason": known.value},
                )
            )
            self.observe(action, outcome, mutation.operation, len(mutation.ids))

        def settle_failure(error: BaseException, outcome: str, known: Outcome) -> None:
            # What went wrong goes on to the caller even where the trail cannot hear of it: the
            # intent is on record, and recovery answers it.
            if mutation.unsettled:
                return
            try:
                settle(outcome, known)
            except NexusError as unrecorded:
                error.add_note(f"audit: {unrecorded.code}")

        try:
            yield mutation
        except NexusError as error:
            mutation.let_go()
            known = _known(error, mutation)
            if isinstance(error, StoreError):
                error.outcome = known
            settle_failure(error, error.code, known)
            raise
        except BaseException as error:
            mutation.let_go()
            settle_failure(error, "interrupted", Outcome.UNKNOWN)
            raise
        try:
            if mutation.tell is not None and not mutation.unchanged:
                mutation.tell()
            else:
                mutation.let_go()
            settle("unchanged" if mutation.unchanged else "ok", Outcome.APPLIED)
        except NexusError as error:
            failure = StoreError(
                "the change is applied, but its outcome could not be recorded",
                hint="recovery will settle the record; do not repeat the change",
                outcome=Outcome.APPLIED,
            )
            failure.add_note(f"audit: {error.code}")
        else:
            return
        raise failure

    # -- the backend -------------------------------------------------------------------------

    def call(self, role: StoreRole, call: Callable[[OpenStore], T]) -> T:
        """Call a backend; let nothing but the error tree out, and sound the isolation alarm."""
        return self.attempt(self._runtime.store(role), call)

    def attempt(self, store: OpenStore, call: Callable[[OpenStore], T]) -> T:
        """``call``, for a store that was asked before and may have been closed since."""
        failure: NexusError
        try:
            return call(store)
        except TenantIsolationError as error:
            self.alarm(store.role)
            failure = error
        except NexusError as error:
            failure = error
        except Exception as error:  # noqa: BLE001  # the seam: whatever a backend raises ends here
            failure = _translated(store, error)
        # Raised outside the handlers, so that no engine's exception hangs on as the context.
        failure.__cause__ = failure.__context__ = None
        raise failure

    def alarm(self, role: StoreRole) -> None:
        """Close the store for this scope and put the violation on record."""
        self._runtime.poison(role)
        if role is not StoreRole.AUDIT:
            self.record("event", Action.ALARM, TenantIsolationError.code, role=role)

    # -- records -----------------------------------------------------------------------------

    def record(
        self,
        phase: Phase,
        action: Action,
        outcome: str,
        *,
        ids: Sequence[str] = _NO_IDS,
        role: StoreRole | None = None,
    ) -> str:
        """Append one audit record that stands alone, durable when this returns its operation."""
        operation = new_id()
        self._append(self._record(phase, action, operation, outcome=outcome, ids=ids, role=role))
        return operation

    def _record(
        self,
        phase: Phase,
        action: Action,
        operation: str,
        *,
        outcome: str | None = None,
        ids: Sequence[str] = _NO_IDS,
        role: StoreRole | None = None,
        kind: str | None = None,
        space: str | None = None,
    ) -> AuditRecord:
        return AuditRecord.of(
            self.context,
            self._deployment.keys,
            phase=phase,
            action=action.value,
            operation=operation,
            outcome=outcome,
            at=self.now(),
            purpose=self.purpose,
            store=None if role is None else role.value,
            kind=kind,
            space=space,
            ids=self._deployment.redacted(ids),
        )

    def bare_intent(self, erased: ErasedRecord) -> AuditRecord:
        """An intent whose subject was erased, as far as it can still be answered."""
        return AuditRecord.of(
            attrs.evolve(self.context, subject=None),
            self._deployment.keys,
            phase="intent",
            action=erased.action,
            operation=erased.operation,
            at=erased.at,
        )

    def append(self, records: Sequence[AuditRecord]) -> None:
        """Append audit records together, durable when this returns."""
        self._runtime.store(StoreRole.AUDIT)
        self._runtime.log.append(records)

    def _append(self, record: AuditRecord) -> None:
        self.append((record,))

    def observe(self, action: Action, outcome: str, operation: str, count: int) -> None:
        """Tell the observers; what they raise goes no further."""
        if not self._deployment.observers:
            return
        seen = Observation(
            scope=self.scope,
            actor=self.context.actor.id,
            action=action.value,
            outcome=outcome,
            trace_id=self.context.trace_id,
            request_id=self.context.request_id,
            operation=operation,
            count=count,
        )
        for observer in self._deployment.observers:
            try:
                observer(seen)
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:  # noqa: BLE001  # an observer can change nothing
                logger.warning("an observer raised %s", type(error).__name__)


def _known(error: NexusError, mutation: Mutation) -> Outcome:
    if mutation.begun or isinstance(error, TenantIsolationError):
        return Outcome.UNKNOWN
    return error.outcome if isinstance(error, StoreError) else Outcome.NOT_APPLIED


def _translated(store: OpenStore, error: Exception) -> BackendError:
    # The text may hold content, a secret or a physical place; the operator gets type and line.
    where = traceback.extract_tb(error.__traceback__)[-1]
    logger.error(
        "store %s (%s %s): unmapped %s at %s:%s",
        store.name,
        store.spec.name,
        store.role.value,
        type(error).__name__,
        where.filename.rpartition("/")[2],
        where.lineno,
    )
    return BackendError(
        f"the {store.role.value} store failed in a way its backend does not map",
        hint="the operator's log names the place; report it to the backend's author",
    )
