"""The nearest rows, certainly all of them: found by the server, decided by the definition.

The server gives more rows than were asked for. They are measured again; and where the k-th of them
is nearer than any row that the server left out can be, the answer is exact, ties included. Else the
server is asked for more, and where very many rows lie equally near, all rows are measured.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias

from nexus_weaviate._exact import distance, floor, length
from nexus_weaviate._filters import Native
from nexus_weaviate._rows import Row, shifted
from nexus_weaviate._shard import Shard

Measured: TypeAlias = tuple[float, str, Row]

_SPARE: Final = 16
_STEP: Final = 4


def nearest(
    shard: Shard, query: Sequence[float], k: int, where: Native | None, largest: float
) -> list[Measured]:
    """The ``k`` nearest rows that match, by (distance, id); fewer if fewer match.

    ``largest`` is no less than the length of any row's vector; it matters under ``dot`` alone.
    """
    metric, dimension = shard.definition.metric, shard.definition.dimension
    sent, _ = shifted(shard.definition, query)
    size = length(query)
    most = max(shard.at_once, k + 1)
    limit = min(k + _SPARE, most)
    while True:
        found = shard.near(sent, limit, where)
        measured = sorted(_measured(shard, query, found), key=_order)
        # Fewer than asked for are all of them, unless the server's vectors and rows disagree, as
        # they may after its death in the middle of a write.
        short = len(found) < limit
        if short and len(found) == shard.count(where):
            return measured[:k]
        if not short:
            last = found[-1].near
            edge = floor(metric, last, dimension=dimension, query=size, largest=largest)
            if measured[k - 1][0] < edge:
                return measured[:k]
        if short or limit == most:
            return heapq.nsmallest(k, _measured(shard, query, shard.rows(where)), key=_order)
        limit = min(limit * _STEP, most)


def _measured(shard: Shard, query: Sequence[float], rows: Iterable[Row]) -> Iterator[Measured]:
    metric = shard.definition.metric
    return ((distance(metric, query, row.vector), row.id, row) for row in rows)


def _order(measured: Measured) -> tuple[float, str]:
    return measured[:2]
