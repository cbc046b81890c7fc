"""What went wrong with one request, without a word of the engine's, and the error it becomes.

An engine's own message may name the bucket, the object and the address; only its status, and
whether its reason or text has one of a few known words, are looked at. Nothing of it is passed on.
"""

from __future__ import annotations

import enum
import re
from typing import Any, Final

from nexus_core.spi import (
    BackendError,
    ChecksumMismatchError,
    InvalidArgumentError,
    NotFoundError,
    Outcome,
    PermissionDeniedError,
    QuotaExceededError,
    RangeNotSatisfiableError,
    RateLimitedError,
    RetentionError,
    StoreError,
    StoreTimeoutError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)


class Kind(enum.Enum):
    """One way in which a request can fail."""

    ABSENT = enum.auto()
    NO_BUCKET = enum.auto()
    CONDITION = enum.auto()
    CONFLICT = enum.auto()
    RANGE = enum.auto()
    UNSUPPORTED = enum.auto()
    THROTTLED = enum.auto()
    BUSY = enum.auto()
    UNREACHABLE = enum.auto()
    LOST = enum.auto()
    TIMEOUT = enum.auto()
    UNKNOWN_KEYS = enum.auto()
    DENIED = enum.auto()
    RETAINED = enum.auto()
    PERIOD = enum.auto()
    DIGEST = enum.auto()
    FULL = enum.auto()
    STRANGE = enum.auto()


# After these the engine may have done what it was asked to.
IN_DOUBT: Final = frozenset((Kind.BUSY, Kind.LOST, Kind.TIMEOUT, Kind.STRANGE))
# These pass.
PASSING: Final = frozenset(
    (Kind.CONFLICT, Kind.THROTTLED, Kind.BUSY, Kind.UNREACHABLE, Kind.LOST, Kind.TIMEOUT)
)

_STATUSES: Final = {
    304: Kind.CONDITION,
    401: Kind.UNKNOWN_KEYS,
    403: Kind.DENIED,
    404: Kind.ABSENT,
    408: Kind.TIMEOUT,
    409: Kind.CONFLICT,
    410: Kind.ABSENT,
    412: Kind.CONDITION,
    413: Kind.FULL,
    416: Kind.RANGE,
    429: Kind.THROTTLED,
    501: Kind.UNSUPPORTED,
}
_REASONS: Final = {
    "retentionPolicyNotMet": Kind.RETAINED,
    "objectUnderActiveHold": Kind.RETAINED,
    "rateLimitExceeded": Kind.THROTTLED,
    "userRateLimitExceeded": Kind.THROTTLED,
    "quotaExceeded": Kind.FULL,
}
# An object's absence has the same status and reason; its text begins with "No such object".
_NO_BUCKET: Final = re.compile(r"^[^/]*bucket [^/]*does not exist")


# The service lists a reason for this as well; what it gives is the reason that missing rights have.
_HELD: Final = re.compile(r"^object '.*' is under active [a-z-]+ hold\b", re.DOTALL)


class Failure(Exception):  # a part of the seam, which no caller ever sees
    """A request that failed; ``status`` is the engine's, 0 where it said nothing."""

    def __init__(self, kind: Kind, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(kind.name)
        self.kind = kind
        self.status = status
        self.retry_after = retry_after

    @property
    def in_doubt(self) -> bool:
        """Whether the engine may have done it all the same."""
        return self.kind in IN_DOUBT

    @property
    def passes(self) -> bool:
        """Whether another attempt may fare better."""
        return self.kind in PASSING


def classify(error: Exception) -> Failure:
    """What an exception of the client libraries means, whatever it is."""
    import requests
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth
    from google.cloud.storage import exceptions as storage  # type: ignore[import-untyped]

    response: Any = getattr(error, "response", None)
    if isinstance(error, api.GoogleAPICallError):
        return refused(int(error.code or 0), response)
    if isinstance(error, storage.DataCorruption):
        return Failure(Kind.DIGEST)
    if isinstance(error, storage.InvalidResponse):
        return refused(int(response.status_code), response)
    if isinstance(error, auth.TransportError):
        return Failure(Kind.UNREACHABLE)
    if isinstance(error, auth.GoogleAuthError):
        return Failure(Kind.UNREACHABLE if error.retryable else Kind.UNKNOWN_KEYS)
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.SSLError):
        return Failure(Kind.UNREACHABLE)
    if isinstance(error, requests.Timeout):
        return Failure(Kind.TIMEOUT)
    if isinstance(error, requests.ConnectionError):
        cause = getattr(error.args[0] if error.args else None, "reason", None)
        never_left = "NewConnectionError" in _kinds(cause)
        return Failure(Kind.UNREACHABLE if never_left else Kind.LOST)
    if "TimeoutError" in _kinds(error):
        return Failure(Kind.TIMEOUT)
    if isinstance(error, requests.RequestException | OSError) or "HTTPError" in _kinds(error):
        return Failure(Kind.LOST)
    # Answers that no GCS would give make the library fail in ways of its own (KeyError, ...).
    return Failure(Kind.STRANGE)


def _kinds(error: object) -> set[str]:
    """The names of an exception's classes; what carries the requests is not imported here."""
    return {kind.__name__ for kind in type(error).__mro__}


def refused(status: int, response: Any) -> Failure:
    """What an answer means that is no success."""
    kind = _STATUSES.get(status, Kind.BUSY if status >= 500 else Kind.STRANGE)
    reason, text = _said(response)
    if kind is Kind.DENIED:
        kind = Kind.RETAINED if _HELD.search(text) else _REASONS.get(reason, kind)
    elif kind is Kind.ABSENT and _NO_BUCKET.search(text):
        kind = Kind.NO_BUCKET
    elif status == 400 and ("crc32c" in text or "md5" in text):
        kind = Kind.DIGEST
    elif status == 400 and "retention" in text:
        kind = Kind.PERIOD
    return Failure(kind, status, _retry_after(response))


def _said(response: Any) -> tuple[str, str]:
    """The reason and the lower-case text of an answer, as far as it has them."""
    try:
        error = response.json()["error"]
        return str(error["errors"][0]["reason"]), str(error["message"]).lower()
    except Exception:  # noqa: BLE001  # whatever a proxy on the way has answered in its place
        return "", str(getattr(response, "text", ""))[:1000].lower()


def _retry_after(response: Any) -> float | None:
    try:
        return max(0.0, float(response.headers["Retry-After"]))
    except Exception:  # noqa: BLE001  # absent, a date, or no answer at all
        return None


def translate(failure: Failure, outcome: Outcome | None = None) -> StoreError:
    """The error of the tree for a failure, told to a caller who did not expect it.

    Without an outcome, what the failure itself leaves open is.
    """
    if outcome is None:
        outcome = Outcome.UNKNOWN if failure.in_doubt else Outcome.NOT_APPLIED
    match failure.kind:
        case Kind.ABSENT:
            return not_found()
        case Kind.NO_BUCKET:
            return UnavailableError(
                "the store's bucket is not there",
                hint="create or provision it; `nexus doctor` names it",
                outcome=outcome,
            )
        case Kind.RANGE:
            return RangeNotSatisfiableError("the range holds no byte of the object")
        case Kind.UNSUPPORTED:
            return UnsupportedError("this request", hint="`nexus doctor` says what works here")
        case Kind.THROTTLED:
            error = RateLimitedError(
                "the engine asks for patience", retry_after=failure.retry_after
            )
            error.outcome = outcome
            return error
        case Kind.TIMEOUT:
            return StoreTimeoutError("the engine did not answer in time", outcome=outcome)
        case Kind.UNKNOWN_KEYS:
            return UnauthenticatedError(
                "the engine refused the store's credentials",
                hint="`nexus doctor` says which setting holds them",
                outcome=outcome,
            )
        case Kind.DENIED:
            return PermissionDeniedError(
                "the engine refuses this to the store's credentials", outcome=outcome
            )
        case Kind.RETAINED:
            return RetentionError("the engine's own lock protects the object", outcome=outcome)
        case Kind.PERIOD:
            return InvalidArgumentError(
                "the engine takes no such retention period",
                hint="it ends at a time to come by the engine's clock, in 100 years at most",
            )
        case Kind.DIGEST:
            return ChecksumMismatchError(
                "the bytes changed on their way to the engine", outcome=outcome
            )
        case Kind.FULL:
            return QuotaExceededError("the engine takes no more, or none so large", outcome=outcome)
        case Kind.STRANGE:
            return BackendError(
                "the engine gave an answer that GCS would not give", outcome=outcome
            )
        case _:
            what = "cannot be reached" if failure.kind is Kind.UNREACHABLE else "is busy"
            if failure.kind is Kind.LOST:
                what = "broke the connection off"
            return UnavailableError(f"the engine {what}", outcome=outcome)


def not_found() -> NotFoundError:
    """The one answer for what is absent and for what is another scope's."""
    return NotFoundError("there is no object under this key")
