"""Batches of operations, in order and yet in bulk.

What an operation does depends on the record that it names and on nothing else. So the order among
different records is free, and only several operations on one record must see one another. Each
batch is played through in memory, on the versions that are there, and what comes out of it is
written: all new rows of a collection at once, then changed ones, then deletions.

An ``Insert(fail)`` that is alone with its record need not be looked up first, because the table's
key says no by itself: the common bulk load reads nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from nexus_core.spi import (
    AlreadyExistsError,
    Insert,
    InvalidArgumentError,
    Operation,
    PreconditionFailedError,
    Record,
    Remove,
    Replace,
    Require,
    Scope,
    StoreError,
)
from nexus_sql._database import Database
from nexus_sql._records import RecordCodec
from nexus_sql._schema import of_scope

Key: TypeAlias = tuple[str, str]
Codecs: TypeAlias = Mapping[str, RecordCodec]

_CHUNK = 1000


def key_of(operation: Operation) -> Key:
    """Collection and id of the record that an operation is about."""
    if isinstance(operation, Insert | Replace):
        return operation.record.collection, operation.record.id
    return operation.collection, operation.id


class Batch:
    """One batch inside one write transaction."""

    def __init__(
        self, database: Database, codecs: Codecs, connection: Connection, scope: Scope
    ) -> None:
        self._database = database
        self._codecs = codecs
        self._connection = connection
        self._scope = scope

    def apply(self, operations: Sequence[Operation]) -> list[bool]:
        """Write what the batch amounts to; return what changed something.

        Raises as the first operation that fails, in their order, would; the transaction is to be
        rolled back then.
        """
        keys = [key_of(operation) for operation in operations]
        if unknown := {collection for collection, _ in keys} - self._codecs.keys():
            raise InvalidArgumentError(f"there is no collection {min(unknown)!r}")
        uses = Counter(keys)
        alone: dict[Key, int] = {}
        added: list[Record] = []
        others: list[int] = []
        for position, operation in enumerate(operations):
            key = keys[position]
            if type(operation) is Insert and operation.if_exists == "fail" and uses[key] == 1:
                alone[key] = position
                added.append(operation.record)
            else:
                others.append(position)

        before = self._versions(keys[position] for position in others)
        play = _Play(before)
        changed = [True] * len(operations)
        for position in others:
            try:
                changed[position] = play.act(keys[position], operations[position])
            except StoreError:
                self._refuse_taken(key for key, at in alone.items() if at < position)
                raise
        self._insert(added + play.added())
        self._update(play.replaced())
        self._delete(play.removed())
        return changed

    def _versions(self, keys: Iterable[Key]) -> dict[Key, int]:
        found: dict[Key, int] = {}
        for collection, ids in _by_collection(keys).items():
            statement = self._codecs[collection].versions_listed
            for chunk in chunks(ids):
                parameters = {**of_scope(self._scope), "ids": chunk}
                rows = self._connection.execute(statement, parameters)
                found.update(((collection, row[0]), row[1]) for row in rows)
        return found

    def _refuse_taken(self, keys: Iterable[Key]) -> None:
        for collection, _ in self._versions(keys):
            raise _taken(collection)

    def _insert(self, records: Iterable[Record]) -> None:
        rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        for record in records:
            codec = self._codecs[record.collection]
            rows[codec.name].append(codec.encode(self._scope, record))
        for collection, of_one in rows.items():
            # In the order of the key, neighbours meet in one page of the index.
            of_one.sort()
            try:
                self._database.insert(self._connection, self._codecs[collection].table, of_one)
            except DBAPIError as error:
                if not self._database.is_duplicate(error):
                    raise
                duplicate = _taken(collection)
            else:
                continue
            raise duplicate

    def _update(self, records: Iterable[Record]) -> None:
        rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for record in records:
            codec = self._codecs[record.collection]
            rows[codec.name].append(codec.update_parameters(self._scope, record))
        for collection, of_one in rows.items():
            self._connection.execute(self._codecs[collection].update, of_one)

    def _delete(self, keys: Iterable[Key]) -> None:
        for collection, ids in _by_collection(keys).items():
            statement = self._codecs[collection].delete_listed
            for chunk in chunks(ids):
                self._connection.execute(statement, {**of_scope(self._scope), "ids": chunk})


class _Play:
    """Operations played on versions, in memory: what each does, and what they amount to."""

    def __init__(self, before: Mapping[Key, int]) -> None:
        self._before = before
        self._versions = dict(before)
        self._written: dict[Key, Record | None] = {}

    def act(self, key: Key, operation: Operation) -> bool:
        current = self._versions.get(key)
        match operation:
            case Insert(record):
                if current is not None:
                    if operation.if_exists == "keep":
                        return False
                    raise _taken(key[0])
                self._write(key, record)
                return True
            case Replace(record):
                _demand(current == record.version - 1, key[0])
                self._write(key, record)
                return True
            case Remove():
                _demand(operation.version is None or current == operation.version, key[0])
                if current is None:
                    return False
                self._write(key, None)
                return True
            case Require():
                if operation.present:
                    _demand(current is not None, key[0])
                    _demand(operation.version in (None, current), key[0])
                else:
                    _demand(current is None, key[0])
                return False
        raise InvalidArgumentError("the batch holds something that is not an operation")

    def _write(self, key: Key, record: Record | None) -> None:
        self._written[key] = record
        if record is None:
            del self._versions[key]
        else:
            self._versions[key] = record.version

    def added(self) -> list[Record]:
        """Records that were not there before."""
        return [r for k, r in self._written.items() if r is not None and k not in self._before]

    def replaced(self) -> list[Record]:
        """Records to be put in place of others."""
        return [r for k, r in self._written.items() if r is not None and k in self._before]

    def removed(self) -> list[Key]:
        """Records that were there before and are not now."""
        return [k for k, r in self._written.items() if r is None and k in self._before]


def chunks(values: Iterable[str]) -> Iterable[list[str]]:
    """Cut a sequence into pieces that fit into one statement's parameters."""
    rest = iter(values)
    while piece := list(islice(rest, _CHUNK)):
        yield piece


def _by_collection(keys: Iterable[Key]) -> dict[str, list[str]]:
    ids: dict[str, list[str]] = defaultdict(list)
    for collection, id_ in dict.fromkeys(keys):
        ids[collection].append(id_)
    return ids


def _demand(holds: bool, collection: str) -> None:
    if not holds:
        raise PreconditionFailedError(
            f"a record of {collection!r} is not in the state that the batch requires",
            hint="read it again, and decide anew",
        )


def _taken(collection: str) -> AlreadyExistsError:
    return AlreadyExistsError(f"a record of {collection!r} with this id exists already")
