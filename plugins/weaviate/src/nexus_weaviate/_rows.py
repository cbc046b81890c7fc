"""Rows as objects of the server, and back, bit for bit."""

from __future__ import annotations

import json
import math
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from nexus_core.spi import (
    Fields,
    FieldValue,
    IndexDefinition,
    IntegrityError,
    StoredVector,
    VectorBatch,
)
from nexus_weaviate._exact import length
from nexus_weaviate._filters import HAS, ROW, field_property
from nexus_weaviate._library import classes
from nexus_weaviate._names import row_uuid
from nexus_weaviate._schema import FIELDS, KEY, SHIFT, SIZE, STAMP
from nexus_weaviate._terms import terms_of

PROPERTIES: Final = (KEY, STAMP, FIELDS, SHIFT)

# The server brings vectors to length 1 in float32, where squares of less than this are lost.
_SHORT: Final = 2.0**-40
# Of a zero vector.
_NOTHING: Final = -1000


@attrs.frozen(eq=False)
class Row:
    """One row as it was written; ``near`` is the server's own distance, where it was asked."""

    id: str
    vector: array[float] = attrs.field(repr=False)
    fields: Fields
    stamp: bytes = attrs.field(repr=False)
    near: float = math.nan

    def stored(self) -> StoredVector:
        """The row as the SPI has it."""
        return StoredVector(self.id, packed(self.vector), self.fields, self.stamp)


def packed(vector: array[float]) -> bytes:
    """A vector's float32 values, little-endian."""
    if sys.byteorder == "big":
        vector = array("f", vector)
        vector.byteswap()
    return vector.tobytes()


def key_of(row_id: str) -> str:
    """An id as a text that sorts as its bytes do, wherever case is folded or blanks are cut."""
    return row_id.encode("utf-8").hex()


def objects_of(definition: IndexDefinition, batch: VectorBatch) -> dict[str, Any]:
    """The objects of a batch by id, ready to be sent; the last of duplicates."""
    made = classes().data.DataObject
    objects: dict[str, Any] = {}
    for position, row_id in enumerate(batch.ids):
        vector, shift = shifted(definition, batch.vectors.row(position))
        objects[row_id] = made(
            uuid=row_uuid(row_id),
            vector=vector,
            properties={
                KEY: key_of(row_id),
                STAMP: batch.stamps[position].hex(),
                FIELDS: json.dumps(batch.fields[position], separators=(",", ":")),
                SHIFT: shift,
                SIZE: size_of(length(batch.vectors.row(position))),
                **_terms(definition, batch.fields[position]),
            },
        )
    return objects


def _terms(definition: IndexDefinition, fields: Fields) -> dict[str, Any]:
    declared = {field: fields[field] for field in definition.schema if field in fields}
    found: dict[str, Any] = {HAS: [ROW, *sorted(declared)]}
    for field, value in declared.items():
        # An empty list is there, and holds nothing to be found by.
        if terms := terms_of(value):
            found[field_property(field)] = terms
    return found


def shifted(definition: IndexDefinition, vector: Sequence[float]) -> tuple[list[float], int]:
    """A vector as the server gets it, and the power of two that it was multiplied by.

    That is done to very short ones under cosine, exactly, and changes nothing there.
    """
    size = length(vector) if definition.metric == "cosine" else 1.0
    shift = 1 - math.frexp(size)[1] if 0.0 < size < _SHORT else 0
    return [math.ldexp(value, shift) for value in vector] if shift else list(vector), shift


def size_of(norm: float) -> int:
    """The least power of two that a vector's length stays below."""
    return math.frexp(norm)[1] if norm else _NOTHING


def rows_of(found: Any, definition: IndexDefinition) -> Iterator[Row]:
    """The rows of an answer, in its order; raises ``IntegrityError`` for what is none."""
    for each in found.objects:
        try:
            row = _row(each.properties, each.vector["default"], each.metadata.distance)
        except (KeyError, TypeError, ValueError, OverflowError):
            row = None
        if row is None or len(row.vector) != definition.dimension:
            raise IntegrityError(
                "the vector store holds something that is no row of this index",
                hint="something else writes to its collections; restore the index from a backup",
            )
        yield row


def _row(properties: Mapping[str, Any], vector: Sequence[float], near: float | None) -> Row:
    shift = int(properties[SHIFT])
    return Row(
        id=bytes.fromhex(properties[KEY]).decode("utf-8"),
        vector=array("f", [math.ldexp(value, -shift) for value in vector] if shift else vector),
        fields={name: _value(value) for name, value in json.loads(properties[FIELDS]).items()},
        stamp=bytes.fromhex(properties[STAMP]),
        near=math.nan if near is None else near,
    )


def _value(value: Any) -> FieldValue:
    return tuple(value) if isinstance(value, list) else value
