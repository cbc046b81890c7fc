"""Between records and rows. What is stored is what was given, to the bit, or it is refused; what
is read is what was stored, or an ``IntegrityError``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Column, Table

from nexus_core.spi import (
    COLLECTIONS,
    Collection,
    IntegrityError,
    InvalidArgumentError,
    Record,
    Scope,
)
from nexus_sql._schema import Tables, in_scope, of_scope, one_by_one

_Types = frozenset[type]

_OF_OURS: Final = (str, int, bytes, bytes)  # id, version, body, stamp
_ABSENT: Final = type(None)
_GIVEN: Final[Mapping[str, _Types]] = {
    "str": frozenset((str,)),
    "int": frozenset((int,)),
    "float": frozenset((float,)),
    "bool": frozenset((bool,)),
}
# An engine without truth values gives 0 and 1 back.
_STORED: Final[Mapping[str, _Types]] = {**_GIVEN, "bool": frozenset((bool, int))}
_FLAGS: Final[Mapping[int, bool]] = {0: False, 1: True}


class RecordCodec:
    """Rows of one collection's table."""

    def __init__(
        self,
        collection: Collection,
        table: Table,
        one_of: Callable[[Column[Any], str], sa.ColumnElement[bool]] = one_by_one,
    ) -> None:
        schema = collection.schema
        self.name = collection.name
        self.table = table
        self.optional = frozenset(collection.optional)
        self.columns: tuple[Column[Any], ...] = tuple(table.columns)[2:]
        here, identity = in_scope(table), table.c.nx_id
        listed = one_of(identity, "ids")
        # Made once: building a statement costs more than running it.
        self.select_listed = sa.select(*self.columns).where(here, listed)
        self.versions_listed = sa.select(identity, table.c.nx_version).where(here, listed)
        self.delete_listed = sa.delete(table).where(here, listed)
        self.delete_all = sa.delete(table).where(here)
        self.update = (
            sa.update(table)
            .where(here, identity == sa.bindparam("of_id"))
            .values({column: sa.bindparam(f"to_{column.name}") for column in self.columns[1:]})
        )
        self._required = tuple(collection.required)
        self._optional = tuple(collection.optional)
        self._names = tuple(schema)
        self._flags = tuple(name for name, kind in schema.items() if kind == "bool")
        self._given = _Shapes(collection, _GIVEN)
        self._stored = _Shapes(collection, _STORED)

    def encode(self, scope: Scope, record: Record) -> tuple[Any, ...]:
        """The whole row of a record, in the order of the table's columns.

        Raises ``InvalidArgumentError`` for a field that is missing, undeclared or of another type.
        """
        fields = record.fields
        try:
            required = [fields[name] for name in self._required]
        except KeyError as error:
            raise InvalidArgumentError(f"the record lacks the field {error.args[0]!r}") from None
        optional = [fields.get(name) for name in self._optional]
        if len(fields) != len(self._names) - optional.count(None):
            raise InvalidArgumentError("the record has a field that is not declared")
        row = (record.id, record.version, record.body, record.stamp, *required, *optional)
        if not self._given.fits(row):
            raise InvalidArgumentError("a field of the record has another type than is declared")
        return (scope.tenant_id, scope.env, *row)

    def update_parameters(self, scope: Scope, record: Record) -> dict[str, Any]:
        """The parameters of ``update`` that put a record in place of the one with its id."""
        _, _, identity, *values = self.encode(scope, record)
        names = (f"to_{column.name}" for column in self.columns[1:])
        return {**of_scope(scope), "of_id": identity, **dict(zip(names, values, strict=True))}

    def decode(self, row: Sequence[Any]) -> Record:
        """The record of a row of ``columns``; raises ``IntegrityError`` for what is none."""
        if not self._stored.fits(row):
            raise IntegrityError("a stored record has lost its shape")
        fields = dict(zip(self._names, row[4:], strict=True))
        for name in self._flags:
            flag = fields[name]
            if flag is not None:
                if flag not in _FLAGS:
                    raise IntegrityError("a stored record has lost its shape")
                fields[name] = _FLAGS[flag]
        for name in self._optional:
            if fields[name] is None:
                del fields[name]
        return Record(self.name, row[0], row[1], fields, row[2], row[3])


class _Shapes:
    """Whether a row has the types of its collection.

    The types of a whole row are compared at once with those of rows that passed before, which
    costs one look-up; only a combination that was not met yet is judged value by value.
    """

    def __init__(self, collection: Collection, types: Mapping[str, _Types]) -> None:
        self._allowed = (
            *(frozenset((kind,)) for kind in _OF_OURS),
            *(types[kind] for kind in collection.required.values()),
            *(types[kind] | {_ABSENT} for kind in collection.optional.values()),
        )
        self._met: set[tuple[type, ...]] = set()

    def fits(self, row: Sequence[Any]) -> bool:
        shape = tuple(map(type, row))
        if shape in self._met:
            return True
        fits = len(shape) == len(self._allowed) and all(
            kind in allowed for kind, allowed in zip(shape, self._allowed, strict=True)
        )
        if fits:
            self._met.add(shape)
        return fits


def record_codecs(tables: Tables) -> dict[str, RecordCodec]:
    """A codec for each collection there is."""
    return {
        name: RecordCodec(collection, tables.records[name], tables.one_of)
        for name, collection in COLLECTIONS.items()
    }
