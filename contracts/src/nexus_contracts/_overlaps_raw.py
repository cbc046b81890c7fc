"""The ground of raw stores: one key, beside another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from nexus_contracts._overlaps import Plain, Read, Write
from nexus_contracts._work import followed
from nexus_core import Scope
from nexus_core.spi import Body, ByteRange, ObjectAttributes

KEY: Final = "p/k"
OTHER: Final = "p/other"


def _given(mark: str) -> ObjectAttributes:
    return ObjectAttributes(
        content_type="text/plain", metadata={"mark": mark}, system={"stamp": "00", "kind": "data"}
    )


def _put(store: Any, scope: Scope, _known: Any, key: str = KEY, mark: str = "after") -> Any:
    return store.put(scope, key, Body(f"{key} {mark}".encode() * 9), _given(mark))


def _create(store: Any, scope: Scope, _known: Any) -> Any:
    return store.put(scope, KEY, Body(b"created" * 11), _given("created"), if_absent=True)


def _replace(store: Any, scope: Scope, known: Any) -> Any:
    body = Body(b"replaced" * 13)
    return store.put(scope, KEY, body, _given("replaced"), if_match=known.etag)


def _copy(store: Any, scope: Scope, _known: Any) -> Any:
    return store.copy(scope, OTHER, KEY, _given("copied"))


def _set_system(store: Any, scope: Scope, known: Any) -> Any:
    return store.set_system(scope, KEY, {"stamp": "ff"}, if_match=known.etag)


def _delete(store: Any, scope: Scope, _known: Any) -> Any:
    return store.delete(scope, KEY)


def _delete_many(store: Any, scope: Scope, _known: Any) -> Any:
    return store.delete_many(scope, [KEY, OTHER])


def _restore(store: Any, scope: Scope, known: Any) -> Any:
    return store.restore(scope, KEY, known.version_id)


def _erase(store: Any, scope: Scope, _known: Any) -> Any:
    return store.erase(scope)


def _open(store: Any, scope: Scope, _known: Any, **options: Any) -> Any:
    with store.open(scope, KEY, **options) as stream:
        return stream.info, stream.start, stream.stop, b"".join(stream.chunks)


def _listed(store: Any, scope: Scope, _known: Any, **options: Any) -> Any:
    return list(followed(lambda after: store.list(scope, after=after, **options), "items"))


def _versions(store: Any, scope: Scope, _known: Any) -> Any:
    return list(followed(lambda after: store.list_versions(scope, after=after), "items"))


def _head_version(store: Any, scope: Scope, known: Any) -> Any:
    return known and store.head_version(scope, KEY, known.version_id)


class RawGround(Plain):
    """Objects of which one is made, replaced, and taken away."""

    def __init__(self, capabilities: Any) -> None:
        can = capabilities
        # Histories are never taken back but by the erasure.
        self._kept = can.versions
        usable = (
            (True, Write(f"put({KEY!r}), the first of its scope", "empty", "", _put)),
            (can.conditional_create, Write(f"put({KEY!r}, if_absent)", "other", "full", _create)),
            (True, Write(f"put({KEY!r}) over another", "full", "full", _put)),
            (True, Write(f"delete({KEY!r})", "full", "other", _delete)),
            (can.conditional_replace, Write(f"put({KEY!r}, if_match)", "full", "full", _replace)),
            (True, Write("erase()", "full", "empty", _erase)),
            (can.conditional_replace, Write(f"set_system({KEY!r})", "full", "full", _set_system)),
            (can.copy, Write(f"copy({OTHER!r}, {KEY!r})", "full", "full", _copy)),
            (True, Write(f"delete_many({[KEY, OTHER]})", "full", "empty", _delete_many)),
            (can.versions, Write(f"restore({KEY!r})", "full", "full", _restore)),
        )
        self.writes: Sequence[Write] = [write for able, write in usable if able]
        reads: dict[str, Read | None] = {
            "head": lambda store, scope, _: store.head(scope, KEY),
            "open": _open,
            "open of a range": partial(_open, range=ByteRange(2, 5)) if can.ranges else None,
            "list": _listed,
            "list of a page": lambda store, scope, _: store.list(scope, after="p/a", limit=1),
            "list with a prefix": partial(_listed, prefix=KEY),
        }
        if can.delimiter:
            reads["list with a delimiter"] = partial(_listed, prefix="p/", delimiter="/")
        if can.versions:
            reads["list_versions"] = _versions
            reads["head_version"] = _head_version
        self.reads: Mapping[str, Read] = {name: read for name, read in reads.items() if read}

    def prepare(self, store: Any, scope: Scope, start: str, left: str) -> Any:
        """Nothing, another key, or both; gives what the key has."""
        if self._kept or start == "empty" or not left:
            store.erase(scope)
            left = "empty"
        if start != "empty" and left == "empty":
            _put(store, scope, None, OTHER, "other")
        elif start == "other" and left == "full":
            store.delete(scope, KEY)
        return _put(store, scope, None, KEY, "before") if start == "full" else None
