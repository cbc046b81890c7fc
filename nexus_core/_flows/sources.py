"""What can be ingested: files, folders and streams, each with a name and a media type."""

from __future__ import annotations

import errno
import mimetypes
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import attrs

from nexus_core._handles.catalogue import check_logical_key
from nexus_core._handles.objects import check_media_type
from nexus_core._model.errors import (
    InvalidArgumentError,
    NotFoundError,
    Outcome,
    QuotaExceededError,
    StoreError,
    UnavailableError,
)
from nexus_core._model.objects import Body, BodySource

# What the standard table does not know, or knows by another name than the atomizers.
_TYPES: Final[dict[str, str]] = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".rst": "text/plain",
    ".txt": "text/plain",
    ".text": "text/plain",
    ".log": "text/plain",
    ".html": "text/html",
    ".htm": "text/html",
    ".csv": "text/csv",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
    ".pdf": "application/pdf",
}


@attrs.frozen(kw_only=True)
class Source:
    """One thing to ingest. ``logical_key`` names it inside the scope; the same key with other
    bytes is another asset."""

    logical_key: str = attrs.field(converter=check_logical_key)
    content_type: str = attrs.field(converter=check_media_type)
    body: BodySource | Path = attrs.field(repr=False)


# Files that are text by custom and carry no suffix to say so.
_NAMES: Final = frozenset(
    (
        "authors",
        "changelog",
        "changes",
        "contributing",
        "copying",
        "history",
        "install",
        "licence",
        "license",
        "news",
        "notice",
        "readme",
    )
)


def guess_media_type(path: Path) -> str:
    """Media type by file name; ``application/octet-stream`` where nothing is known."""
    if not path.suffix and path.name.lower() in _NAMES:
        return "text/plain"
    known = _TYPES.get(path.suffix.lower())
    if known is not None:
        return known
    return mimetypes.guess_type(path.name, strict=True)[0] or "application/octet-stream"


def expand(what: Source | str | Path | Iterable[Source | str | Path]) -> Iterator[Source]:
    """Yield sources for files, folders (recursively, in order of name) and sources.

    Hidden files and folders and symbolic links are left out of folders. A file is named by its
    path relative to the folder that was given, or by its own name. Raises ``NotFoundError``.
    """
    if isinstance(what, Source):
        yield what
        return
    if isinstance(what, str | Path):
        yield from _expand_path(Path(what))
        return
    for part in what:
        yield from expand(part)


def _expand_path(path: Path) -> Iterator[Source]:
    if path.is_file():
        yield Source(logical_key=path.name, content_type=guess_media_type(path), body=path)
    elif path.is_dir():
        for found in _files(path):
            yield Source(
                logical_key=found.relative_to(path).as_posix(),
                content_type=guess_media_type(found),
                body=found,
            )
    else:
        raise NotFoundError(
            f"there is no file or folder {path.name!r}", hint="check the path that was given"
        )


def _files(folder: Path) -> Iterator[Path]:
    entries: Sequence[os.DirEntry[str]] = sorted(os.scandir(folder), key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path)


@attrs.frozen(kw_only=True)
class Spooled:
    """A source's bytes in a temporary file of our own, with size and SHA-256."""

    path: Path
    file: BinaryIO
    size: int
    sha256: str


@contextmanager
def spool(body: BodySource | Path, *, max_bytes: int) -> Iterator[Spooled]:
    """Copy a body to a temporary file in one pass; what is ingested cannot change any more.

    The file has no name where the system allows it, so that a kill leaves nothing readable behind.
    Raises ``QuotaExceededError`` past ``max_bytes`` and ``NotFoundError`` for a file that is gone.
    """
    with _temporary() as (path, file):
        if isinstance(body, Path):
            try:
                with body.open("rb") as source:
                    copied = _copy(source, file, max_bytes)
            except StoreError:
                # Some errors of the tree are OSErrors as well; they are not about this file.
                raise
            except FileNotFoundError:
                raise NotFoundError("the file to ingest is gone") from None
            except OSError as error:
                raise InvalidArgumentError(
                    f"the file to ingest cannot be read: {error.strerror}"
                ) from None
        else:
            copied = _copy(body, file, max_bytes)
        with _disk():
            file.flush()
        yield Spooled(path=path, file=file, size=copied.read_size, sha256=copied.sha256)


def _copy(source: BodySource, target: BinaryIO, max_bytes: int) -> Body:
    body = Body(source, limit=max_bytes)
    for chunk in body:
        with _disk():
            target.write(chunk)
    return body


@contextmanager
def _disk() -> Iterator[None]:
    """What the disk under the temporary folder refuses, as an error of the tree."""
    try:
        yield
    except OSError as error:
        failure: StoreError
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            failure = QuotaExceededError(
                "the temporary folder has no room for what is to be ingested",
                hint="make room there, or point TMPDIR elsewhere",
            )
        else:
            failure = UnavailableError(
                f"the temporary folder cannot be used: {error.strerror}",
                hint="see that it can be written to, or point TMPDIR elsewhere",
                outcome=Outcome.NOT_APPLIED,
            )
    else:
        return
    raise failure


@contextmanager
def _temporary() -> Iterator[tuple[Path, BinaryIO]]:
    linux = sys.platform.startswith("linux")
    with ExitStack() as stack:
        with _disk():
            make = tempfile.TemporaryFile if linux else tempfile.NamedTemporaryFile
            file: Any = stack.enter_context(make(prefix="nexus-"))
        yield Path(f"/proc/self/fd/{file.fileno()}" if linux else file.name), file
