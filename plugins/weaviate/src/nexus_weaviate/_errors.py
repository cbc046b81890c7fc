"""Nothing that the client library raises leaves the store as it is."""

from __future__ import annotations

from typing import Final

from nexus_core.spi import (
    BackendError,
    ClosedError,
    NotFoundError,
    Outcome,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitedError,
    StoreError,
    StoreTimeoutError,
    UnauthenticatedError,
    UnavailableError,
)
from nexus_weaviate._library import library

# The server gives most refusals one status, and tells them apart by their words.
_READ_ONLY: Final = ("read-only", "readonly", "read only")
_FULL: Final = ("memory pressure", "not enough memory", "maximum number of", "no space left")


class _CallError(Exception):
    """A gRPC call that failed: the name of its status, and what the server said."""

    def __init__(self, status: str, details: str) -> None:
        super().__init__(status)
        self.status = status
        self.details = details


def absent() -> NotFoundError:
    """The one answer for an index, and for a scope, that is not there."""
    return NotFoundError("no such index in this scope", hint="create the index first")


def from_client(error: Exception, outcome: Outcome) -> StoreError:
    """The error of the tree for one of the library's."""
    raised = library().exceptions
    if isinstance(error, _CallError):
        return _from_call(error, outcome)
    if isinstance(error, raised.WeaviateTimeoutError):
        return _late(outcome)
    if isinstance(error, raised.UnexpectedStatusCodeError):
        return from_status(error.status_code, error.message, outcome)
    if isinstance(error, raised.AuthenticationFailedError | raised.MissingScopeError):
        return _unknown_to_server()
    if isinstance(error, raised.WeaviateClosedClientError):
        return ClosedError("the vector store was closed")
    if isinstance(error, raised.WeaviateStartUpError):
        return _away(Outcome.NOT_APPLIED)
    if isinstance(error, raised.WeaviateConnectionError) or _of_the_network(error):
        return _away(outcome)
    if isinstance(error, raised.WeaviateInsertManyAllFailedError):
        return refused(str(error), Outcome.NOT_APPLIED)
    return BackendError("the vector store failed", outcome=outcome)


def from_status(status: int, text: str, outcome: Outcome) -> StoreError:
    """The error of the tree for a REST status that is no success."""
    if status == 401:
        return _unknown_to_server()
    if status == 403:
        return _forbidden()
    if status == 429:
        return RateLimitedError("the vector store's server asks for patience")
    if status in (408, 504):
        return _late(outcome)
    if status in (502, 503):
        return _away(outcome)
    return refused(text, Outcome.NOT_APPLIED if status < 500 else outcome)


def _from_call(error: _CallError, outcome: Outcome) -> StoreError:
    match error.status:
        case "UNAVAILABLE":
            return _away(outcome)
        case "DEADLINE_EXCEEDED" | "CANCELLED":
            return _late(outcome)
        case "UNAUTHENTICATED":
            return _unknown_to_server()
        case "PERMISSION_DENIED":
            return _forbidden()
        case "RESOURCE_EXHAUSTED":
            return RateLimitedError("the vector store's server asks for patience")
    if "unauthorized" in error.details:
        return _unknown_to_server()
    return refused(error.details, outcome)


def refused(text: str, outcome: Outcome) -> StoreError:
    """The error for a call that the server understood and did not do; its words go no further."""
    said = text.lower()
    if any(word in said for word in _READ_ONLY):
        return UnavailableError(
            "the vector store's server is read-only",
            hint="look for a full disk on it",
            outcome=Outcome.NOT_APPLIED,
        )
    if any(word in said for word in _FULL):
        return QuotaExceededError(
            "the vector store's server is full", hint="give it memory, disk or a higher limit"
        )
    return BackendError("the vector store's server refused the call", outcome=outcome)


def _of_the_network(error: Exception) -> bool:
    return isinstance(error, library().connect.v4.HTTPError | OSError)


def _away(outcome: Outcome) -> UnavailableError:
    return UnavailableError(
        "the vector store's server cannot be reached", hint="run `nexus doctor`", outcome=outcome
    )


def _late(outcome: Outcome) -> StoreTimeoutError:
    return StoreTimeoutError(
        "the vector store's server did not answer in time",
        hint="try again, or raise read_timeout or write_timeout",
        outcome=outcome,
    )


def _unknown_to_server() -> UnauthenticatedError:
    return UnauthenticatedError(
        "the vector store's server refused the credentials", hint="run `nexus doctor`"
    )


def _forbidden() -> PermissionDeniedError:
    return PermissionDeniedError(
        "the vector store's credentials may not do this", hint="run `nexus doctor`"
    )
