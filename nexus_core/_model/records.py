"""Values of the atom store: collections with typed fields, records, and all-or-nothing batches.

The atom store is a scope's ledger. It keeps *records* in a closed set of *collections*; each
collection declares the fields that can be filtered, and everything else of a record travels in an
opaque body. Later kinds of record are new collections, not new backend methods.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import attrs

from nexus_core._model.filters import FieldType, Schema

RecordFields: TypeAlias = Mapping[str, str | int | float | bool]


@attrs.frozen
class Collection:
    """A named set of records and its filterable fields; ``required`` ones are never absent."""

    name: str
    required: Mapping[str, FieldType]
    optional: Mapping[str, FieldType]

    @property
    def schema(self) -> Schema:
        """All fields with their types."""
        return {**self.required, **self.optional}


_GOVERNED: Final[dict[str, FieldType]] = {
    "kind": "str",
    "space": "str",
    "pii": "bool",
    "train_ok": "bool",
    "legal_hold": "bool",
    "created_at": "int",
    "created_by": "str",
}
_GOVERNED_OPTIONAL: Final[dict[str, FieldType]] = {"subject": "str", "retain_until": "int"}

ASSETS: Final = Collection(
    "assets",
    {
        **_GOVERNED,
        "logical_key": "str",
        "object_key": "str",
        "sha256": "str",
        "size": "int",
        "content_type": "str",
    },
    _GOVERNED_OPTIONAL,
)
ATOMS: Final = Collection(
    "atoms",
    {
        **_GOVERNED,
        "asset": "str",
        "parent": "str",
        "operation": "str",
        "operation_version": "str",
        "position": "int",
        "size": "int",
        "content_type": "str",
    },
    _GOVERNED_OPTIONAL,
)
EDGES: Final = Collection(
    "edges",
    {"parent": "str", "child": "str", "relation": "str", "created_at": "int"},
    {"subject": "str"},
)
INTENTS: Final = Collection(
    "intents",
    {"type": "str", "state": "str", "created_at": "int", "updated_at": "int"},
    {"target": "str", "subject": "str"},
)
EVENTS: Final = Collection(
    "events",
    {
        "action": "str",
        "trace_id": "str",
        "actor": "str",
        "kind": "str",
        "space": "str",
        "train_ok": "bool",
        "created_at": "int",
    },
    {"subject": "str"},
)
DEFINITIONS: Final = Collection(
    "definitions",
    {"type": "str", "name": "str", "state": "str", "created_at": "int", "updated_at": "int"},
    {},
)

COLLECTIONS: Final[Mapping[str, Collection]] = {
    collection.name: collection
    for collection in (ASSETS, ATOMS, EDGES, INTENTS, EVENTS, DEFINITIONS)
}


@attrs.frozen
class Record:
    """One record: its typed fields, an opaque body, and the core's stamp.

    ``version`` is 1 when made and one more at each replacement. Backends store ``fields``,
    ``body`` and ``stamp`` verbatim and give them back bit for bit.
    """

    collection: str
    id: str
    version: int
    fields: RecordFields
    body: bytes = attrs.field(repr=False)
    stamp: bytes = attrs.field(repr=False)


@attrs.frozen
class Insert:
    """Add a record that is not there. ``keep`` leaves an existing one as it is instead of failing.

    ``fail`` raises ``AlreadyExistsError`` when the id is taken in this scope.
    """

    record: Record
    if_exists: Literal["fail", "keep"] = "fail"


@attrs.frozen
class Replace:
    """Put ``record`` in place of version ``record.version - 1``, which must be the current one."""

    record: Record


@attrs.frozen
class Remove:
    """Delete a record. Absent is fine, unless ``version`` is given, which must be the current."""

    collection: str
    id: str
    version: int | None = None


@attrs.frozen
class Require:
    """A precondition: the record is present (at ``version``, if given), or absent."""

    collection: str
    id: str
    present: bool = True
    version: int | None = None


Operation: TypeAlias = Insert | Replace | Remove | Require


@attrs.frozen
class RecordPage:
    """Records in ascending id order; ``next_after`` is the id to continue after, or ``None``."""

    records: tuple[Record, ...]
    next_after: str | None = None


@attrs.frozen
class Step:
    """One lineage edge met on a walk, at ``depth`` edges from the start (1 is adjacent)."""

    depth: int
    edge: Record
