"""Indexes of a scope: the rows of the table ``part``, read first in every transaction."""

from __future__ import annotations

import json
import secrets
import sqlite3
from functools import lru_cache
from typing import Final

import attrs

from nexus_core.spi import (
    IndexDefinition,
    IndexLockedError,
    IndexRef,
    IntegrityError,
    StaleReferenceError,
    StoreError,
    canonical_json,
)
from nexus_embedded._database import NUMBER_BITS
from nexus_embedded._errors import absent

# The log of removals keeps this share of the rows, so that readers who fall behind by less than
# that catch up without reading everything again.
_LOG_SHARE: Final = 4
_LOG_LEAST: Final = 1024

_BY_NAME: Final = (
    "SELECT part, definition, incarnation, next, gone, floor FROM part "
    "WHERE name = ? AND version = ?"
)
_ALL: Final = (
    "SELECT part, definition, incarnation, next, gone, floor FROM part ORDER BY name, version"
)
_INSERT: Final = (
    "INSERT INTO part (name, version, fingerprint, definition, incarnation) VALUES (?, ?, ?, ?, ?)"
)
_SAVE: Final = "UPDATE part SET next = ?, gone = ?, floor = ? WHERE part = ?"
_FORGET_REMOVED: Final = "DELETE FROM removed WHERE part = ? AND seq <= ?"
_DROPS: Final = (
    "DELETE FROM vec WHERE pk >= :part << 40 AND pk < (:part + 1) << 40",
    "DELETE FROM term WHERE part = :part",
    "DELETE FROM removed WHERE part = :part",
    "DELETE FROM part WHERE part = :part",
)


@attrs.frozen
class Part:
    """An index as it stands in the open transaction.

    ``next`` is the number that its next row gets, ``gone`` how many rows were ever removed;
    removals up to the ``floor``-th are no longer in the log.
    """

    part: int
    definition: IndexDefinition
    incarnation: str
    next: int
    gone: int
    floor: int

    @property
    def rows(self) -> int:
        return self.next - 1 - self.gone

    @property
    def base(self) -> int:
        """What a row's number is added to, to make its key."""
        return self.part << NUMBER_BITS

    @property
    def ref(self) -> IndexRef:
        return IndexRef(self.definition, self.incarnation)


def find_part(db: sqlite3.Connection, name: str, version: int) -> Part:
    """Find an index by name and version; raises ``NotFoundError``."""
    row = db.execute(_BY_NAME, (name, version)).fetchone()
    if row is None:
        raise absent()
    return _part(row)


def require_part(db: sqlite3.Connection, ref: IndexRef) -> Part:
    """Find the index that ``ref`` names; raises ``StaleReferenceError`` if it is another one."""
    part = find_part(db, ref.definition.name, ref.definition.version)
    if part.incarnation != ref.incarnation:
        raise StaleReferenceError(
            "the index was dropped and made again", hint="get a new reference to the index"
        )
    return part


def all_parts(db: sqlite3.Connection) -> list[Part]:
    """Every index by (name, version)."""
    return [_part(row) for row in db.execute(_ALL).fetchall()]


def add_part(db: sqlite3.Connection, definition: IndexDefinition) -> Part:
    """Add an index, or find the same one; raises ``IndexLockedError`` if it is another."""
    row = db.execute(_BY_NAME, (definition.name, definition.version)).fetchone()
    if row is None:
        text = canonical_json(definition.to_data()).decode("utf-8")
        db.execute(
            _INSERT,
            (
                definition.name,
                definition.version,
                definition.fingerprint,
                text,
                secrets.token_hex(16),
            ),
        )
        return find_part(db, definition.name, definition.version)
    part = _part(row)
    if part.definition.fingerprint != definition.fingerprint:
        raise IndexLockedError(expected=part.definition.fingerprint, actual=definition.fingerprint)
    return part


def save_part(db: sqlite3.Connection, part: Part) -> None:
    """Write what has changed, and shorten the log of removals when it has grown."""
    keep = max(_LOG_LEAST, part.rows // _LOG_SHARE)
    floor = part.floor
    if part.gone - floor > 2 * keep:
        floor = part.gone - keep
        db.execute(_FORGET_REMOVED, (part.part, floor))
    db.execute(_SAVE, (part.next, part.gone, floor, part.part))


def remove_part(db: sqlite3.Connection, part: Part) -> None:
    """Delete an index with all its rows."""
    for sql in _DROPS:
        db.execute(sql, {"part": part.part})


@lru_cache(maxsize=1024)
def _definition(text: str) -> IndexDefinition:
    try:
        return IndexDefinition.from_data(json.loads(text))
    except (StoreError, ValueError):
        raise IntegrityError("a stored index definition cannot be read") from None


def _part(row: tuple[int, str, str, int, int, int]) -> Part:
    part, definition, incarnation, following, gone, floor = row
    return Part(part, _definition(definition), incarnation, following, gone, floor)
