"""The one error tree.

::

    NexusError                                       .code, .hint
    ├── ConfigurationError (ValueError)              .problems, all of them
    ├── SecretUnavailableError                       .reason: a reference that leads nowhere
    ├── PluginError                                  .distribution
    │   ├── PluginNotFoundError (LookupError)        nobody offers that name
    │   ├── PluginLoadError (ImportError)            importing it failed
    │   ├── PluginConflictError                      two distributions offer one name
    │   ├── PluginIncompatibleError                  its api_version is too old or too new
    │   └── PluginContractError (TypeError)          it broke the rules of registration
    ├── ContextError
    │   ├── ContextMissingError (TypeError)          no context, or a part of it absent
    │   ├── ContextInvalidError (ValueError)         a part that does not satisfy the grammar
    │   └── ContextMismatchError (ValueError)        a payload that names another scope or actor
    ├── AccessDeniedError (PermissionError)          role or policy says no
    ├── TenantIsolationError                         a backend answered outside the scope asked for
    ├── AuditVerificationError                       a trail that does not verify; .index
    └── StoreError                                   .retryable, .outcome
        ├── NotFoundError (LookupError)              absent, or not yours: the same answer
        ├── AlreadyExistsError
        ├── PreconditionFailedError
        ├── UnsupportedError                         .capability
        ├── InvalidArgumentError (ValueError)
        │   ├── InvalidKeyError
        │   ├── InvalidFilterError
        │   └── InvalidVectorError
        ├── InvalidTokenError                        cursor, upload or presign token
        ├── RangeNotSatisfiableError
        ├── IntegrityError                           stored bytes are not what was written
        │   ├── ChecksumMismatchError
        │   └── ForeignNameError                     a physical name that the codec did not make
        ├── UnauthenticatedError                     the backend refused our credentials
        ├── PermissionDeniedError (PermissionError)  the backend knows us and says no
        ├── QuotaExceededError
        ├── RetentionError                           .ids: protected by a hold or retention
        ├── IndexLockedError                         .expected, .actual (fingerprints)
        ├── StaleReferenceError
        ├── TenantInactiveError
        ├── PartialWriteError                        .failed
        ├── RateLimitedError                         .retry_after (seconds)
        ├── UnavailableError (ConnectionError)
        ├── StoreTimeoutError (TimeoutError)
        ├── ClosedError
        └── BackendError                             anything a backend did not map

"Not found" and "another tenant's" are one error with one text. No text holds another scope's
name, a secret, content, or a physical path or bucket, and a backend's repeats no key or id that
the call was given, but in the fields above that are for them; ``ConfigurationError`` alone, which
only the operator sees, may name a setting and a place.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs


class Outcome(enum.StrEnum):
    """What is known about a write that raised."""

    NOT_APPLIED = "not_applied"
    APPLIED = "applied"
    UNKNOWN = "unknown"


class NexusError(Exception):
    """Root of every error that leaves the framework."""

    code: ClassVar[str] = "nexus.error"
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    # Keyword-only constructors would otherwise make every error unpicklable, and an error
    # that cannot cross a process boundary turns into a hang there.
    # The arguments are put back by hand, because those of an OSError get lost on the way.
    def __reduce__(self) -> tuple[Any, ...]:
        return (_restore, (type(self), self.args), self.__dict__)


def _restore(kind: type[NexusError], args: tuple[Any, ...]) -> NexusError:
    error = kind.__new__(kind)
    error.args = args
    return error


@attrs.frozen(kw_only=True)
class Problem:
    """One thing wrong with a configuration: where, what, and how to mend it."""

    path: str
    what: str
    fix: str
    code: str = "config.invalid"

    def __str__(self) -> str:
        return f"{self.path}: {self.what} ({self.fix})"


class ConfigurationError(NexusError, ValueError):
    """The configuration cannot be used. ``problems`` lists everything that is wrong with it."""

    code = "config.invalid"

    def __init__(self, problems: Sequence[Problem], *, hint: str | None = None) -> None:
        self.problems = tuple(problems)
        noun = "problem" if len(self.problems) == 1 else "problems"
        lines = "".join(f"\n  - {problem}" for problem in self.problems)
        super().__init__(f"{len(self.problems)} {noun} in the configuration:{lines}", hint=hint)


class SecretUnavailableError(NexusError):
    """A reference to a secret leads nowhere; the text names the reference, never a value.

    ``reason`` says the same without the reference.
    """

    code = "config.secret"

    def __init__(self, message: str, *, reason: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class PluginError(NexusError):
    """A plugin cannot be used; ``distribution`` is its name and version where known."""

    code = "plugin.error"

    def __init__(
        self, message: str, *, distribution: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.distribution = distribution


class PluginNotFoundError(PluginError, LookupError):
    """No installed plugin has that name, or it does not do the role."""

    code = "plugin.not_found"


class PluginLoadError(PluginError, ImportError):
    """Importing a plugin failed. Reinstall it, or report it to its author."""

    code = "plugin.load"


class PluginConflictError(PluginError):
    """Two distributions offer one name. Uninstall one of them."""

    code = "plugin.conflict"


class PluginIncompatibleError(PluginError):
    """A plugin was written for another version of the SPI. Upgrade the older of the two."""

    code = "plugin.incompatible"


class PluginContractError(PluginError, TypeError):
    """A plugin broke the rules of registration; the text names the rule."""

    code = "plugin.contract"


class ContextError(NexusError):
    """Something is wrong with a request context."""

    code = "context.error"


class ContextMissingError(ContextError, TypeError):
    """There is no context, or a part of it is absent."""

    code = "context.missing"


class ContextInvalidError(ContextError, ValueError):
    """A part of a context does not satisfy its grammar."""

    code = "context.invalid"


class ContextMismatchError(ContextError, ValueError):
    """A payload named another scope, actor or subject than the request's own context."""

    code = "context.mismatch"

    def __init__(self, fields: Sequence[str], *, hint: str | None = None) -> None:
        self.fields = tuple(fields)
        super().__init__(
            "the payload contradicts the request context in: " + ", ".join(self.fields),
            hint="leave the fields out, or send the request under the right context"
            if hint is None
            else hint,
        )


class AccessDeniedError(NexusError, PermissionError):
    """The role or a policy says no. The refusal is on record."""

    code = "access.denied"


class TenantIsolationError(NexusError):
    """A backend answered outside the scope it was asked for; nothing of the answer is returned."""

    code = "isolation.violated"
    default_hint = "the store is closed for this scope; run `nexus doctor` and report the backend"


class AuditVerificationError(NexusError):
    """A trail does not verify; ``index`` is the first bad record where one can be named."""

    code = "audit.invalid"

    def __init__(self, message: str, *, index: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.index = index


class StoreError(NexusError):
    """A store could not do what it was asked to.

    ``outcome`` says what became of a write; ``retryable`` whether the same call may succeed later.
    """

    code = "store.error"
    default_retryable: ClassVar[bool] = False
    default_outcome: ClassVar[Outcome] = Outcome.NOT_APPLIED

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        retryable: bool | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.retryable = self.default_retryable if retryable is None else retryable
        self.outcome = self.default_outcome if outcome is None else outcome


class NotFoundError(StoreError, LookupError):
    """It is not there, or it is not yours: the answer is the same."""

    code = "store.not_found"


class AlreadyExistsError(StoreError):
    """The key or id is taken, and the call was to create."""

    code = "store.already_exists"


class PreconditionFailedError(StoreError):
    """What the call required does not hold; read again and decide anew."""

    code = "store.precondition_failed"


class UnsupportedError(StoreError):
    """The store does not declare the capability, so the call never reached it."""

    code = "store.unsupported"

    def __init__(self, capability: str, *, hint: str | None = None) -> None:
        super().__init__(
            f"this store does not offer {capability!r}",
            hint="route the scope to a store that does; `nexus plugins list` shows them"
            if hint is None
            else hint,
        )
        self.capability = capability


class InvalidArgumentError(StoreError, ValueError):
    """An argument is not usable; nothing was written."""

    code = "store.invalid_argument"


class InvalidKeyError(InvalidArgumentError):
    """A key is outside the grammar, or in the framework's own part of it."""

    code = "store.invalid_key"


class InvalidFilterError(InvalidArgumentError):
    """A filter names an undeclared field, has a value of another type, or is too large."""

    code = "store.invalid_filter"


class InvalidVectorError(InvalidArgumentError):
    """A vector has another dimension, is not finite, or is zero under cosine."""

    code = "store.invalid_vector"


class InvalidTokenError(StoreError):
    """A cursor or token is not one that this query in this scope gave out, or it has expired."""

    code = "store.invalid_token"


class RangeNotSatisfiableError(StoreError):
    """The range holds no byte of the object."""

    code = "store.range_not_satisfiable"


class IntegrityError(StoreError):
    """What is stored is not what was written. Restore it from a copy."""

    code = "store.integrity"


class ChecksumMismatchError(IntegrityError):
    """The bytes have another SHA-256 or size than was declared or stored."""

    code = "store.checksum_mismatch"


class UnauthenticatedError(StoreError):
    """The engine refused the store's credentials."""

    code = "store.unauthenticated"


class PermissionDeniedError(StoreError, PermissionError):
    """The engine knows the store's credentials and says no."""

    code = "store.permission_denied"


class QuotaExceededError(StoreError):
    """A size, memory or disk limit would be passed."""

    code = "store.quota_exceeded"


class RetentionError(StoreError):
    """A legal hold or a retention period protects it; ``ids`` are those of the first hundred."""

    code = "store.retained"

    def __init__(
        self, message: str, *, hint: str | None = None, ids: Sequence[str] = (), **more: Any
    ) -> None:
        super().__init__(message, hint=hint, **more)
        self.ids = tuple(ids)


class IndexLockedError(StoreError):
    """The index exists under this name and version with another definition."""

    code = "store.index_locked"

    def __init__(self, *, expected: str, actual: str, hint: str | None = None) -> None:
        super().__init__(
            "the index exists under this name and version with another definition",
            hint="define a new version instead" if hint is None else hint,
        )
        self.expected = expected
        self.actual = actual


class StaleReferenceError(StoreError):
    """The index was dropped and made again since it was looked up."""

    code = "store.stale_reference"


class TenantInactiveError(StoreError):
    """The engine has the tenant switched off."""

    code = "store.tenant_inactive"


class PartialWriteError(StoreError):
    """Part of a batch was written; ``failed`` maps each id that was not to an error code."""

    code = "store.partial_write"
    default_outcome = Outcome.UNKNOWN

    def __init__(self, failed: Mapping[str, str], *, hint: str | None = None) -> None:
        super().__init__(f"{len(failed)} of the batch were not written", hint=hint)
        self.failed = dict(failed)


class RateLimitedError(StoreError):
    """The engine asks for patience; ``retry_after`` says how long, in seconds."""

    code = "store.rate_limited"
    default_retryable = True

    def __init__(
        self, message: str, *, retry_after: float | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class UnavailableError(StoreError, ConnectionError):
    """The store cannot be reached or is busy; ``outcome`` says whether a write may stand."""

    code = "store.unavailable"
    default_retryable = True
    default_outcome = Outcome.UNKNOWN


class StoreTimeoutError(StoreError, TimeoutError):
    """The store did not answer in time; ``outcome`` says whether a write may stand."""

    code = "store.timeout"
    default_retryable = True
    default_outcome = Outcome.UNKNOWN


class ClosedError(StoreError):
    """It was closed, belongs to a request that has ended, or was opened before a fork."""

    code = "store.closed"


class BackendError(StoreError):
    """A backend raised something outside the tree; its text stays in the operator's log."""

    code = "store.backend"
    default_outcome = Outcome.UNKNOWN
