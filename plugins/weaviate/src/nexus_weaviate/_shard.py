"""One native tenant: the rows of one life of one index in one scope, and calls on them.

The calls raise the tree's errors; what the server refuses is a ``BackendError``, whose reason the
backend looks for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from nexus_core.spi import BackendError, IndexDefinition, Outcome, PartialWriteError
from nexus_weaviate._engine import Engine, translated
from nexus_weaviate._errors import refused
from nexus_weaviate._filters import Native
from nexus_weaviate._library import classes
from nexus_weaviate._names import row_uuid
from nexus_weaviate._rows import PROPERTIES, Row, key_of, rows_of
from nexus_weaviate._schema import KEY, SIZE

# What a server gives out at once, unless it was told otherwise, and what one message may hold.
MAX_RESULTS: Final = 10_000
_MESSAGE_BYTES: Final = 24 << 20
_ROW_BYTES: Final = 4096
_DELETES: Final = 1000


def rows_at_once(dimension: int) -> int:
    """How many rows one message holds with room to spare."""
    return min(MAX_RESULTS, _MESSAGE_BYTES // (4 * dimension + _ROW_BYTES))


@attrs.frozen(eq=False)
class Shard:
    """The rows of an index, by its definition and its native tenant."""

    engine: Engine
    collection: str
    name: str
    definition: IndexDefinition

    @property
    def _native(self) -> Any:
        return self.engine.shard(self.collection, self.name)

    @property
    def at_once(self) -> int:
        """Rows of this index that one message holds."""
        return rows_at_once(self.definition.dimension)

    def write(self, objects: Mapping[str, Any]) -> None:
        """Write objects by id; raises ``PartialWriteError`` with those that were not written."""
        failed: dict[str, str] = {}
        native, names = self._native, list(objects)
        for start in range(0, len(names), self.at_once):
            some = names[start : start + self.at_once]
            # Without the collection's leave for one this never makes a native tenant.
            with translated(Outcome.UNKNOWN):
                errors = native.data.insert_many([objects[name] for name in some]).errors
            for position, error in errors.items():
                failed[some[position]] = refused(error.message, Outcome.NOT_APPLIED).code
        written = [name for name in names if name not in failed]
        if written:
            # The server acknowledges vectors that it has yet to hand to the system, and hands over
            # all that it has with the next write, which this is: it changes nothing.
            with translated(Outcome.UNKNOWN):
                native.data.insert_many([objects[written[-1]]])
        if failed:
            raise PartialWriteError(failed, hint="write those again; it is idempotent")

    def by_id(self, ids: Sequence[str]) -> dict[str, Row]:
        """The rows with these ids that there are."""
        found: dict[str, Row] = {}
        native, wanted = self._native, list(dict.fromkeys(ids))
        for start in range(0, len(wanted), self.at_once):
            some = wanted[start : start + self.at_once]
            uuids = [row_uuid(row_id) for row_id in some]
            by = classes().query.Filter.by_id().contains_any(uuids)
            found |= {row.id: row for row in self._fetch(native, by, len(some))}
        return found

    def page(self, after: str | None, limit: int, where: Native | None = None) -> list[Row]:
        """At most ``limit`` rows in ascending id order, after an id; one message's worth."""
        query = classes().query
        parts = [] if after is None else [query.Filter.by_property(KEY).greater_than(key_of(after))]
        if where is not None:
            parts.append(where)
        by = query.Filter.all_of(parts) if parts else None
        return self._fetch(self._native, by, min(limit, self.at_once), query.Sort.by_property(KEY))

    def rows(self, where: Native | None = None) -> Iterator[Row]:
        """All rows that match, in ascending id order, read page by page."""
        after: str | None = None
        while page := self.page(after, self.at_once, where):
            yield from page
            after = page[-1].id

    def _fetch(self, native: Any, by: Any, limit: int, sort: Any = None) -> list[Row]:
        with translated():
            found = native.query.fetch_objects(
                limit=limit,
                filters=by,
                sort=sort,
                include_vector=True,
                return_properties=list(PROPERTIES),
            )
        return list(rows_of(found, self.definition))

    def near(self, vector: list[float], limit: int, where: Native | None) -> list[Row]:
        """The rows that the server holds to be nearest, nearest first."""
        query = classes().query
        with translated():
            found = self._native.query.near_vector(
                near_vector=vector,
                limit=limit,
                filters=where,
                include_vector=True,
                return_metadata=query.MetadataQuery(distance=True),
                return_properties=list(PROPERTIES),
            )
        return list(rows_of(found, self.definition))

    def largest(self) -> float:
        """A length that no row's vector reaches."""
        metric = classes().query.Metrics(SIZE).integer(maximum=True)
        with translated():
            found = self._native.aggregate.over_all(total_count=True, return_metrics=[metric])
        size = found.properties[SIZE].maximum if found.total_count else None
        return 0.0 if size is None else 2.0 ** int(size)

    def count(self, where: Native | None = None) -> int:
        """How many rows match, exactly."""
        with translated():
            found = self._native.aggregate.over_all(total_count=True, filters=where)
        return int(found.total_count)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete rows by id; how many there were."""
        uuids, removed = [row_uuid(row_id) for row_id in dict.fromkeys(ids)], 0
        for start in range(0, len(uuids), _DELETES):
            by = classes().query.Filter.by_id().contains_any(uuids[start : start + _DELETES])
            removed += self._delete(by)
        return removed

    def delete_where(self, where: Native) -> int:
        """Delete the rows that match; how many."""
        removed = 0
        # The server stops at the number of results that it gives at once.
        while some := self._delete(where):
            removed += some
        return removed

    def _delete(self, by: Any) -> int:
        with translated(Outcome.UNKNOWN):
            done = self._native.data.delete_many(where=by)
        if done.failed:
            raise BackendError("rows could not be deleted", outcome=Outcome.UNKNOWN)
        return int(done.successful)
