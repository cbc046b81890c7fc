"""Listing keys in UTF-8 byte order from directories, reading no more of them than needed.

A directory's names are not in the order of the keys below them: escapes sort elsewhere, a subtree
``n/`` sorts after ``n!`` and before ``n0``, and the chunks of a long segment are directories whose
keys interleave with their neighbours'. So each level is read whole, decoded and taken from a heap,
as far as the page needs it; a chunk's directory is opened up into the heap when its turn comes.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from typing import Final, TypeAlias

import attrs

from nexus_core.spi import (
    ForeignNameError,
    IntegrityError,
    NotFoundError,
    ObjectEntry,
    ObjectPage,
    Scope,
    decode_part,
    decode_segment,
    encode_key_parts,
    encode_scope_parts,
    is_continued,
)
from nexus_filesystem._beneath import closing, names
from nexus_filesystem._names import OBJECT
from nexus_filesystem._record import Record, find
from nexus_filesystem._tree import open_if_there

_SLASH: Final = b"/"

# A key, or the beginning of the keys of a subtree with its slash; the path parts of the directory
# of its level; its own path parts there, which are one segment.
_Entry: TypeAlias = tuple[bytes, tuple[str, ...], tuple[str, ...]]


@attrs.frozen(kw_only=True)
class Listing:
    """One listing of a scope's directory; the bounds are bytes of UTF-8."""

    directory: int
    scope: Scope
    prefix: bytes
    after: bytes
    delimited: bool

    def page(self, limit: int) -> ObjectPage:
        """Take up to ``limit`` entries; look for one more to know whether anything is left.

        After a rolled-up prefix the listing continues after all of its keys: a key never ends with
        a slash, so ``next_after`` says which of the two it is.
        """
        items: list[ObjectEntry] = []
        prefixes: list[str] = []
        last: str | None = None
        for entry in self._entries():
            if len(items) + len(prefixes) == limit:
                return ObjectPage(items=tuple(items), prefixes=tuple(prefixes), next_after=last)
            if isinstance(entry, ObjectEntry):
                items.append(entry)
                last = entry.key
            else:
                prefixes.append(entry)
                last = entry
        return ObjectPage(items=tuple(items), prefixes=tuple(prefixes))

    def _entries(self) -> Iterator[ObjectEntry | str]:
        """Keys, and rolled-up prefixes that hold at least one, in order."""
        base, slash, _ = self.prefix.rpartition(_SLASH)
        parts = encode_key_parts(base.decode("utf-8")) if slash else ()
        if not self.delimited:
            yield from self._keys(base + slash, parts)
            return
        for full, level, segment in self._level(base + slash, parts):
            if not full.endswith(_SLASH):
                if (entry := self._object(full, level + segment)) is not None:
                    yield entry
            elif full != self.after and any(self._keys(full, level + segment)):
                yield full.decode("utf-8")

    def _keys(self, base: bytes, parts: tuple[str, ...]) -> Iterator[ObjectEntry]:
        """Every key below a directory; a stack rather than recursion, for 512 levels."""
        stack = [self._level(base, parts)]
        while stack:
            following = next(stack[-1], None)
            if following is None:
                stack.pop()
                continue
            full, level, segment = following
            if full.endswith(_SLASH):
                stack.append(self._level(full, level + segment))
            elif (entry := self._object(full, level + segment)) is not None:
                yield entry

    def _level(self, base: bytes, parts: tuple[str, ...]) -> Iterator[_Entry]:
        """Objects and subtrees of one directory within the bounds, in order of their keys."""
        heap = list(self._within_bounds(base, parts, ()))
        heapq.heapify(heap)
        while heap:
            full, _, segment = heapq.heappop(heap)
            if is_continued(segment[-1]):
                # All that a chunk's directory holds begins with the chunk, and so comes after it.
                for entry in self._within_bounds(full, parts, segment):
                    heapq.heappush(heap, entry)
            elif _made_by_codec(segment):
                yield full, parts, segment

    def _within_bounds(
        self, lead: bytes, parts: tuple[str, ...], chunk: tuple[str, ...]
    ) -> Iterator[_Entry]:
        """What one directory holds, chunks of long segments too, in no order."""
        for name in self._names(parts + chunk):
            stem = name.removesuffix(OBJECT)
            piece = _decode(stem)
            if piece is None:
                continue
            full = lead + piece
            if stem != name:
                if full > self.after and full.startswith(self.prefix) and not is_continued(stem):
                    yield full, parts, (*chunk, stem)
            else:
                full += b"" if is_continued(stem) else _SLASH
                if self._reaches(full):
                    yield full, parts, (*chunk, stem)

    def _reaches(self, lead: bytes) -> bool:
        """Whether any key that begins with ``lead`` can lie within the bounds."""
        return (lead.startswith(self.prefix) or self.prefix.startswith(lead)) and (
            lead > self.after or self.after.startswith(lead)
        )

    def _names(self, parts: tuple[str, ...]) -> list[str]:
        descriptor = open_if_there(self.directory, "/".join(parts) or ".")
        if descriptor is None:
            return []
        with closing(descriptor):
            return names(descriptor)

    def _object(self, full: bytes, parts: tuple[str, ...]) -> ObjectEntry | None:
        """Read what is to be said of an object; ``None`` if it went, or is not this scope's."""
        key = full.decode("utf-8")
        record: Record | None = None
        try:
            descriptor, record = find(self.directory, "/".join(parts) + OBJECT, self.scope, key)
            os.close(descriptor)
        except NotFoundError:
            return None
        except IntegrityError:
            pass
        if record is None:
            raise IntegrityError(
                f"the stored object {key!r} is damaged: its header or length is not as written",
                hint="restore its file from a backup, or delete it",
            )
        found = Scope(*record.scope)
        return ObjectEntry(
            key=key,
            size=record.info.size,
            etag=record.info.etag,
            modified_at=record.info.modified_at,
            name="/".join((*encode_scope_parts(found), *parts)),
        )


def _decode(part: str) -> bytes | None:
    # A part without escapes stands for itself, and most are such.
    if "~" not in part and part.isascii():
        return part.encode("ascii")
    try:
        return decode_part(part)
    except ForeignNameError:
        return None


def _made_by_codec(segment: tuple[str, ...]) -> bool:
    try:
        decode_segment(segment)
    except ForeignNameError:
        return False
    return True
