"""What went wrong with one request, without a word of the engine's, and the error it becomes.

An engine's own message may name the bucket, the key and the address; only its status and its error
code, where that is one of a fixed list, are looked at, and nothing of it is passed on.
"""

from __future__ import annotations

import enum
from typing import Final

from nexus_core.spi import (
    BackendError,
    IntegrityError,
    NotFoundError,
    Outcome,
    PermissionDeniedError,
    PreconditionFailedError,
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
    NO_UPLOAD = enum.auto()
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
    DIGEST = enum.auto()
    FULL = enum.auto()
    STRANGE = enum.auto()


# After these the engine may have done what it was asked to.
IN_DOUBT: Final = frozenset((Kind.BUSY, Kind.LOST, Kind.TIMEOUT, Kind.STRANGE))
# These pass.
PASSING: Final = frozenset(
    (Kind.CONFLICT, Kind.THROTTLED, Kind.BUSY, Kind.UNREACHABLE, Kind.LOST, Kind.TIMEOUT)
)

_CODES: Final = {
    "NoSuchKey": Kind.ABSENT,
    "NoSuchVersion": Kind.ABSENT,
    "NoSuchBucket": Kind.NO_BUCKET,
    "NoSuchUpload": Kind.NO_UPLOAD,
    "PreconditionFailed": Kind.CONDITION,
    "ConditionalRequestConflict": Kind.CONFLICT,
    "OperationAborted": Kind.CONFLICT,
    "InvalidRange": Kind.RANGE,
    "NotImplemented": Kind.UNSUPPORTED,
    "SlowDown": Kind.THROTTLED,
    "Throttling": Kind.THROTTLED,
    "TooManyRequests": Kind.THROTTLED,
    "RequestLimitExceeded": Kind.THROTTLED,
    "RequestTimeout": Kind.LOST,
    "InternalError": Kind.BUSY,
    "InvalidAccessKeyId": Kind.UNKNOWN_KEYS,
    "SignatureDoesNotMatch": Kind.UNKNOWN_KEYS,
    "ExpiredToken": Kind.UNKNOWN_KEYS,
    "InvalidToken": Kind.UNKNOWN_KEYS,
    "RequestTimeTooSkewed": Kind.UNKNOWN_KEYS,
    "AuthorizationHeaderMalformed": Kind.UNKNOWN_KEYS,
    "AccessDenied": Kind.DENIED,
    "AccountProblem": Kind.DENIED,
    "ObjectLocked": Kind.RETAINED,
    "BadDigest": Kind.DIGEST,
    "XAmzContentSHA256Mismatch": Kind.DIGEST,
    "XAmzContentChecksumMismatch": Kind.DIGEST,
    "QuotaExceeded": Kind.FULL,
    "EntityTooLarge": Kind.FULL,
}
_STATUSES: Final = {
    401: Kind.UNKNOWN_KEYS,
    403: Kind.DENIED,
    404: Kind.ABSENT,
    409: Kind.CONFLICT,
    412: Kind.CONDITION,
    416: Kind.RANGE,
    429: Kind.THROTTLED,
    501: Kind.UNSUPPORTED,
    507: Kind.FULL,
}


class Failure(Exception):  # a part of the seam, which no caller ever sees
    """A request that failed; ``status`` is the engine's, 0 where it said nothing."""

    def __init__(self, kind: Kind, status: int = 0) -> None:
        super().__init__(kind.name)
        self.kind = kind
        self.status = status

    @property
    def in_doubt(self) -> bool:
        """Whether the engine may have done it all the same."""
        return self.kind in IN_DOUBT

    @property
    def passes(self) -> bool:
        """Whether another attempt may fare better."""
        return self.kind in PASSING


def classify(error: Exception) -> Failure:
    """What an exception of the client library means, whatever it is."""
    from botocore import exceptions as said  # type: ignore[import-untyped]  # it brings no types

    if isinstance(error, Failure):
        return error
    if isinstance(error, said.ClientError):
        response = error.response
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
        return refused(status, response.get("Error", {}).get("Code"))
    if isinstance(
        error,
        said.ConnectTimeoutError | said.EndpointConnectionError | said.ProxyConnectionError,
    ):
        return Failure(Kind.UNREACHABLE)
    if isinstance(error, said.ReadTimeoutError):
        return Failure(Kind.TIMEOUT)
    if isinstance(error, said.SSLError):
        return Failure(Kind.UNREACHABLE)
    if isinstance(error, said.NoCredentialsError | said.CredentialRetrievalError):
        return Failure(Kind.UNKNOWN_KEYS)
    if isinstance(error, said.HTTPClientError | said.ResponseStreamingError | OSError):
        return Failure(Kind.LOST)
    # Answers that no S3 would give make the library fail in ways of its own (AttributeError, ...).
    return Failure(Kind.STRANGE)


def refused(status: int, code: object) -> Failure:
    """What an answer of the engine's means, by its status and its error code."""
    kind = _CODES.get(str(code))
    if kind is None:
        kind = _STATUSES.get(status, Kind.BUSY if status >= 500 else Kind.STRANGE)
    return Failure(kind, status)


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
        case Kind.CONDITION:
            return PreconditionFailedError("a condition does not hold", outcome=outcome)
        case Kind.RANGE:
            return RangeNotSatisfiableError("the range holds no byte of the object")
        case Kind.UNSUPPORTED:
            return UnsupportedError("this request", hint="`nexus doctor` says what works here")
        case Kind.THROTTLED:
            error = RateLimitedError("the engine asks for patience")
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
        case Kind.DIGEST:
            return IntegrityError("the bytes changed on their way to the engine", outcome=outcome)
        case Kind.FULL:
            return QuotaExceededError("the engine takes no more, or none so large", outcome=outcome)
        case Kind.STRANGE:
            return BackendError("the engine gave an answer that S3 would not give", outcome=outcome)
        case _:
            what = "cannot be reached" if failure.kind is Kind.UNREACHABLE else "is busy"
            if failure.kind is Kind.LOST:
                what = "broke the connection off"
            return UnavailableError(f"the engine {what}", outcome=outcome)


def not_found() -> NotFoundError:
    """The one answer for what is absent and for what is another scope's."""
    return NotFoundError("there is no object under this key")


def classify_code(code: object) -> Kind:
    """What an error code in the answer to a batch means."""
    return _CODES.get(str(code), Kind.BUSY)
