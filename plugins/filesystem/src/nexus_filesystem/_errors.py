"""From ``OSError`` to the one error tree, leaving paths behind."""

from __future__ import annotations

import errno
from types import TracebackType
from typing import Final

from nexus_core.spi import (
    BackendError,
    IntegrityError,
    NotFoundError,
    Outcome,
    PermissionDeniedError,
    QuotaExceededError,
    StoreError,
    UnavailableError,
)

# What opening a name answers when there is nothing there that the store could have made: nothing
# at all, a symbolic link, a file where a directory belongs, a socket, a name too long to exist.
ABSENT: Final = frozenset(
    (
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ELOOP,
        errno.EXDEV,
        errno.ENXIO,
        errno.ENAMETOOLONG,
    )
)
# After these from a rename or unlink nobody can tell whether it happened.
UNCERTAIN: Final = frozenset((errno.EIO, errno.ENODEV, errno.ESTALE, errno.ETIMEDOUT))
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_REFUSED = frozenset((errno.EACCES, errno.EPERM, errno.EROFS))
_OCCUPIED = frozenset((errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.EISDIR, errno.EEXIST))
_BUSY = frozenset(
    (
        errno.EAGAIN,
        errno.EBUSY,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENODEV,
        errno.ENOLCK,
        errno.ENOMEM,
        errno.ESTALE,
        errno.ETIMEDOUT,
    )
)


def not_found() -> NotFoundError:
    """The one answer for absent, planted and foreign objects."""
    return NotFoundError("there is no object under this key")


def unprovisioned() -> UnavailableError:
    """The answer while the root is not there: never "not found", never an empty listing."""
    return UnavailableError(
        "the store's root is not there or was never provisioned",
        hint="mount or provision it; `nexus doctor` says what is missing",
        outcome=Outcome.NOT_APPLIED,
    )


def translate(error: OSError, outcome: Outcome) -> StoreError:
    """Give the error of the tree for one of the operating system's; no path survives."""
    code = error.errno
    if code in _FULL:
        return QuotaExceededError("the file system has no room for the object", outcome=outcome)
    if code in _REFUSED:
        return PermissionDeniedError(
            "the file system refuses the store's user",
            hint="`nexus doctor` names the directory",
            outcome=outcome,
        )
    if code in _OCCUPIED:
        return IntegrityError(
            "something that the store did not make stands where the object belongs",
            hint="an operator must look at the scope's directory and remove it",
            outcome=outcome,
        )
    reason = errno.errorcode.get(code, "unknown") if code is not None else "unknown"
    if code in _BUSY:
        return UnavailableError(f"the file system failed ({reason})", outcome=outcome)
    return BackendError(f"the file system failed ({reason})", outcome=outcome)


class Translated:
    """Block in which an ``OSError`` becomes an error of the tree with the outcome given.

    With ``only``, other codes pass through to the block around it.
    """

    __slots__ = ("_only", "_outcome")

    def __init__(
        self, outcome: Outcome = Outcome.NOT_APPLIED, *, only: frozenset[int] | None = None
    ) -> None:
        self._outcome = outcome
        self._only = only

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Our own errors include some that inherit OSError (PermissionDeniedError, ...).
        if isinstance(error, StoreError) or not isinstance(error, OSError):
            return
        if self._only is not None and error.errno not in self._only:
            return
        translated = translate(error, self._outcome)
        try:
            raise translated
        finally:
            # The operating system's error carries names of files; it must not travel along.
            translated.__context__ = None
