"""Calls and answers that go to another process and back: plain data both ways.

``put`` takes its bytes, ``read_all`` and ``read_version`` read to the end, ``history`` is the
versions of a scope, and which keys have markers. Of vectors a call names the index, or brings a
reference to it; ``upsert`` takes rows by id, and both it and ``query`` cut them to what the index
has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from nexus_contracts._twins import Call, plain
from nexus_core import NexusError
from nexus_core.spi import Body, IndexRef, VectorBackend, VectorBatch, Vectors

# ``("returned", what)``, or ``("raised", name, code)``, which goes on where it is outside the error
# tree.
Answer: TypeAlias = tuple[Any, ...]

_OF_SCOPES = frozenset(("create_index", "get_index", "list_indexes", "erase"))


class _AsTheyAre(dict[tuple[str, Any], Any]):
    """Names for opaque values that are the values themselves."""

    def setdefault(self, key: tuple[str, Any], default: Any = None) -> Any:
        return key[1]


def answer(store: Any, call: Call) -> Answer:
    """Make the call, and say what came of it. Raises what is outside the error tree."""
    try:
        return "returned", plain(_made(store, call), _AsTheyAre())
    except NexusError as error:
        return "raised", type(error).__name__, error.code


def answer_all(store: Any, calls: Sequence[Call]) -> Iterator[Answer]:
    """For a process of its own, of which nothing may escape."""
    for call in calls:
        try:
            yield answer(store, call)
        except Exception as error:  # noqa: BLE001  # told to the suite, which judges it
            yield "raised", type(error).__name__, "", "outside the error tree"


def _made(store: Any, call: Call) -> Any:
    method, args, options = call.method, call.args, dict(call.kwargs)
    if method == "put":
        key, data, given = args
        return store.put(call.scope, key, Body(data), given, **options)
    if method in ("read_all", "read_version"):
        name = "open" if method == "read_all" else "open_version"
        with getattr(store, name)(call.scope, *args, **options) as stream:
            data = b"".join(stream.chunks)
            digest = hashlib.sha256(data).hexdigest()
            return stream.info, stream.start, stream.stop, len(data), digest
    if method == "history":
        lines = store.list_versions(call.scope, *args, **options).items
        # Where a marker stands among versions of its second is the engine's affair.
        kept = [attrs.evolve(each, name="") for each in lines if not each.marker]
        return kept, sorted(each.key for each in lines if each.marker)
    if isinstance(store, VectorBackend) and method not in _OF_SCOPES:
        return _of_index(store, call, args, options)
    return getattr(store, method)(call.scope, *args, **options)


def _of_index(store: Any, call: Call, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """A call on rows, or on the index: by reference, or by name."""
    where, *rest = args
    ref = where
    if not isinstance(where, IndexRef):
        ref = store.get_index(call.scope, where, 1)
    width = ref.definition.dimension
    if call.method == "query":
        rest[0] = Vectors.from_rows([row[:width] for row in rest[0]], width)
    if call.method == "upsert":
        rest = [_batch(rest[0], width)]
    return getattr(store, call.method)(call.scope, ref, *rest, **options)


def _batch(rows: Mapping[str, Sequence[float]], width: int) -> VectorBatch:
    """Rows whose fields tell their first number."""
    return VectorBatch(
        tuple(rows),
        Vectors.from_rows([row[:width] for row in rows.values()], width),
        tuple({"kind": "data", "page": int(row[0])} for row in rows.values()),
        tuple(f"{name} {row}".encode() for name, row in rows.items()),
    )
