"""Rows of an index in its scope's database: written, removed, read back bit for bit."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from nexus_core.spi import Fields, IntegrityError, StoredVector, VectorBatch, VectorPage
from nexus_embedded._parts import Part, save_part
from nexus_embedded._terms import Matching, terms_of

_INSERT: Final = "INSERT INTO vec (pk, part, id, stamp, fields, vector) VALUES (?, ?, ?, ?, ?, ?)"
_INSERT_TERM: Final = "INSERT INTO term (part, field, value, number) VALUES (?, ?, ?, ?)"
_DELETE: Final = "DELETE FROM vec WHERE pk = ?"
_DELETE_TERM: Final = "DELETE FROM term WHERE part = ? AND field = ? AND value = ? AND number = ?"
_INSERT_REMOVED: Final = "INSERT INTO removed (part, seq, number) VALUES (?, ?, ?)"

# CROSS JOIN: for each wanted row one look-up, whatever the planner believes of the table's size.
_KEYS_BY_ID: Final = (
    "SELECT v.pk, v.fields FROM json_each(?) AS j "
    "CROSS JOIN vec AS v ON v.part = ? AND v.id = j.value"
)
_KEYS_BY_NUMBER: Final = (
    "SELECT v.pk, v.fields FROM json_each(?) AS j CROSS JOIN vec AS v ON v.pk = ? + j.value"
)
_KEYS_IN_RANGE: Final = "SELECT pk, fields FROM vec WHERE pk >= ? AND pk < ?"
_ROWS_BY_ID: Final = (
    "SELECT v.id, v.vector, v.fields, v.stamp FROM json_each(?) AS j "
    "CROSS JOIN vec AS v ON v.part = ? AND v.id = j.value"
)
_LABELS: Final = (
    "SELECT v.pk - :base, v.id, v.stamp FROM json_each(:numbers) AS j "
    "CROSS JOIN vec AS v ON v.pk = :base + j.value"
)
_LABELS_AND_FIELDS: Final = (
    "SELECT v.pk - :base, v.id, v.stamp, v.fields FROM json_each(:numbers) AS j "
    "CROSS JOIN vec AS v ON v.pk = :base + j.value"
)
_PAGE: Final = (
    "SELECT id, vector, fields, stamp FROM vec WHERE part = ? AND id > ? ORDER BY id LIMIT ?"
)
_SIZE: Final = (
    "SELECT coalesce(sum(length(CAST(id AS BLOB)) + length(stamp) "
    "+ length(CAST(fields AS BLOB)) + length(vector)), 0) FROM vec WHERE pk >= ? AND pk < ?"
)

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


@attrs.frozen
class Label:
    """What a hit says of a row beside its distance."""

    id: str
    stamp: bytes
    fields: Fields | None


def put_rows(db: sqlite3.Connection, part: Part, batch: VectorBatch) -> None:
    """Write rows in place of those with the same ids; the last of duplicates wins."""
    last = {row_id: position for position, row_id in enumerate(batch.ids)}
    if part.rows:
        part = _take_out(db, part, db.execute(_KEYS_BY_ID, (_encode(list(last)), part.part)))
    stride = 4 * part.definition.dimension
    positions = list(enumerate(last.values(), part.next))
    db.executemany(
        _INSERT,
        (
            (
                part.base + number,
                part.part,
                batch.ids[at],
                batch.stamps[at],
                _encode(dict(batch.fields[at])),
                batch.vectors.data[at * stride : (at + 1) * stride],
            )
            for number, at in positions
        ),
    )
    db.executemany(
        _INSERT_TERM,
        (
            (part.part, field, value, number)
            for number, at in positions
            for field, value in terms_of(batch.fields[at])
        ),
    )
    save_part(db, attrs.evolve(part, next=part.next + len(last)))


def delete_by_id(db: sqlite3.Connection, part: Part, ids: Sequence[str]) -> int:
    """Delete rows by id; returns how many existed."""
    wanted = list(dict.fromkeys(ids))
    return _delete(db, part, db.execute(_KEYS_BY_ID, (_encode(wanted), part.part)))


def delete_matching(db: sqlite3.Connection, part: Part, matching: Matching) -> int:
    """Delete rows by a filter's answer; returns how many."""
    if not matching.inverted:
        numbers = _encode(matching.numbers.tolist())
        return _delete(db, part, db.execute(_KEYS_BY_NUMBER, (numbers, part.base)))
    spared = {part.base + number for number in matching.numbers.tolist()}
    rows = db.execute(_KEYS_IN_RANGE, _key_range(part))
    return _delete(db, part, (row for row in rows if row[0] not in spared))


def get_rows(db: sqlite3.Connection, part: Part, ids: Sequence[str]) -> list[StoredVector | None]:
    """Rows aligned with ``ids``, ``None`` where there is none."""
    wanted = _encode(list(dict.fromkeys(ids)))
    rows = {row[0]: _stored(part, row) for row in db.execute(_ROWS_BY_ID, (wanted, part.part))}
    return [rows.get(row_id) for row_id in ids]


def page_of_rows(db: sqlite3.Connection, part: Part, after: str | None, limit: int) -> VectorPage:
    """Rows in id order after the id ``after``."""
    found = db.execute(_PAGE, (part.part, after or "", limit + 1)).fetchall()
    rows = tuple(_stored(part, row) for row in found[:limit])
    return VectorPage(rows, rows[-1].id if len(found) > limit else None)


def labels_of(
    db: sqlite3.Connection, part: Part, numbers: Iterable[int], *, fields: bool
) -> dict[int, Label]:
    """Ids, stamps and, where wanted, fields of rows by their numbers."""
    sql = _LABELS_AND_FIELDS if fields else _LABELS
    rows = db.execute(sql, {"numbers": _encode(list(numbers)), "base": part.base})
    return {row[0]: Label(row[1], row[2], _decode(row[3]) if fields else None) for row in rows}


def size_of_rows(db: sqlite3.Connection, part: Part) -> int:
    """Bytes of all ids, stamps, fields and vectors of an index."""
    (size,) = db.execute(_SIZE, _key_range(part)).fetchone()
    return int(size)


def _delete(db: sqlite3.Connection, part: Part, rows: Iterable[tuple[int, str]]) -> int:
    after = _take_out(db, part, rows)
    if after.gone != part.gone:
        save_part(db, after)
    return after.gone - part.gone


def _take_out(db: sqlite3.Connection, part: Part, rows: Iterable[tuple[int, str]]) -> Part:
    doomed = [(pk - part.base, fields) for pk, fields in rows]
    db.executemany(_DELETE_TERM, _terms(part, doomed))
    db.executemany(_DELETE, ((part.base + number,) for number, _ in doomed))
    db.executemany(
        _INSERT_REMOVED,
        ((part.part, seq, number) for seq, (number, _) in enumerate(doomed, part.gone + 1)),
    )
    return attrs.evolve(part, gone=part.gone + len(doomed))


def _terms(part: Part, rows: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str, Any, int]]:
    for number, fields in rows:
        for field, value in terms_of(_decode(fields)):
            yield part.part, field, value, number


def _key_range(part: Part) -> tuple[int, int]:
    return part.base, part.base + part.next


def _stored(part: Part, row: tuple[str, bytes, str, bytes]) -> StoredVector:
    row_id, vector, fields, stamp = row
    if len(vector) != 4 * part.definition.dimension:
        raise IntegrityError("a stored vector has another length than its index")
    return StoredVector(row_id, vector, _decode(fields), stamp)


def _decode(text: str) -> Fields:
    try:
        data: Mapping[str, Any] = json.loads(text)
        items = data.items()
    except (ValueError, AttributeError):
        raise IntegrityError("a stored row's fields cannot be read") from None
    return {name: tuple(value) if isinstance(value, list) else value for name, value in items}
