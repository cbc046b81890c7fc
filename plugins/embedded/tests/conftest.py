"""A provisioned store under a temporary directory, short words for using it, and the oracles."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nexus_embedded
import pytest

import nexus_core
from nexus_core.spi import (
    And,
    BackendSpec,
    ContainsAll,
    ContainsAny,
    Eq,
    Exists,
    FieldType,
    Filter,
    Ge,
    Gt,
    In,
    IndexDefinition,
    IndexRef,
    Le,
    Lt,
    Metric,
    Ne,
    Not,
    NotIn,
    Or,
    Prefix,
    Runtime,
    Scope,
    StoredVector,
    VectorBackend,
    VectorBatch,
    Vectors,
)

WORKER = Path(__file__).with_name("embedded_worker.py")
Row = tuple[str, Sequence[float], Mapping[str, Any]]


def definition(
    name: str = "notes",
    version: int = 1,
    dimension: int = 3,
    metric: Metric = "cosine",
    fields: Mapping[str, FieldType] | None = None,
) -> IndexDefinition:
    """An index definition."""
    return IndexDefinition(
        name=name,
        version=version,
        dimension=dimension,
        metric=metric,
        embedder="words@1",
        fields=fields or {},
    )


def dice(seed: int) -> random.Random:
    """The same numbers in every run."""
    return random.Random(seed)  # noqa: S311  # no secret depends on it


def batch(rows: Sequence[Row], dimension: int = 3) -> VectorBatch:
    """Rows to write, each stamped with its own id."""
    return VectorBatch(
        tuple(row[0] for row in rows),
        Vectors.from_rows((row[1] for row in rows), dimension),
        tuple(row[2] for row in rows),
        tuple(f"stamp of {row[0]}".encode() for row in rows),
    )


def ask(  # noqa: PLR0917  # reads like the call that it makes
    store: VectorBackend,
    scope: Scope,
    ref: IndexRef,
    queries: Sequence[Sequence[float]],
    k: int,
    where: Filter | None = None,
) -> list[list[tuple[str, float]]]:
    """Ids and distances of the hits of each query, whose stamps are checked on the way."""
    vectors = Vectors.from_rows(queries, ref.definition.dimension)
    answers = store.query(scope, ref, vectors, k, where=where)
    for hits in answers:
        assert all(hit.stamp == f"stamp of {hit.id}".encode() for hit in hits)
    return [[(hit.id, hit.distance) for hit in hits] for hits in answers]


def floats(stored: StoredVector | None) -> list[float]:
    """The numbers of a stored row."""
    assert stored is not None
    values = array("f")
    values.frombytes(stored.vector)
    return values.tolist()


def single(values: Sequence[float]) -> list[float]:
    """The numbers as float32 keeps them."""
    return array("f", values).tolist()


def distance(metric: Metric, query: Sequence[float], row: Sequence[float]) -> float:
    """The definition, in plain Python over float32 values: every sum is correctly rounded."""
    if metric == "l2sq":
        return math.fsum((q - x) * (q - x) for q, x in zip(query, row, strict=True))
    product = math.fsum(q * x for q, x in zip(query, row, strict=True))
    if metric == "dot":
        return 0.0 - product
    squares = math.fsum(q * q for q in query) * math.fsum(x * x for x in row)
    return min(2.0, max(0.0, 1.0 - product / math.sqrt(squares)))


def ranked(
    metric: Metric, query: Sequence[float], rows: Mapping[str, Sequence[float]], k: int
) -> list[tuple[str, float]]:
    """The k nearest rows by (distance, id), by brute force."""
    every = sorted(
        (distance(metric, single(query), single(row)), row_id.encode(), row_id)
        for row_id, row in rows.items()
    )
    return [(row_id, far) for far, _, row_id in every[:k]]


def holds(node: Filter, fields: Mapping[str, Any]) -> bool:
    """Whether a filter matches a record: its meaning, written a second time."""
    match node:
        case And(parts):
            return not any(not holds(part, fields) for part in parts)
        case Or(parts):
            return sum(holds(part, fields) for part in parts) > 0
        case Not(part):
            return not holds(part, fields)
        case Ne(field, value):
            return not holds(Eq(field, value), fields)
        case NotIn(field, values):
            return not holds(In(field, values), fields)
        case _ if node.field not in fields:
            return False
    here: Any = fields[node.field]
    match node:
        case Exists():
            return True
        case Eq(_, value):
            return isinstance(here, bool) == isinstance(value, bool) and bool(here == value)
        case In(_, values):
            return any(holds(Eq(node.field, value), fields) for value in values)
        case Lt(_, value):
            return bool(here < value)
        case Le(_, value):
            return bool(here <= value)
        case Gt(_, value):
            return bool(here > value)
        case Ge(_, value):
            return bool(here >= value)
        case Prefix(_, value):
            return here[: len(value)] == value if isinstance(here, str) else False
        case ContainsAny(_, values):
            return any(value in here for value in values)
        case ContainsAll(_, values):
            return all(value in here for value in values)
    raise AssertionError("a filter node without a meaning")


class Lab:
    """One root and the stores opened on it, with everything a test needs to use and judge them."""

    definition = staticmethod(definition)
    dice = staticmethod(dice)
    batch = staticmethod(batch)
    ask = staticmethod(ask)
    floats = staticmethod(floats)
    single = staticmethod(single)
    distance = staticmethod(distance)
    ranked = staticmethod(ranked)
    holds = staticmethod(holds)
    a, b, c = Scope("acme", "prod"), Scope("acme", "dev"), Scope("acme1", "prod")

    def __init__(self, base: Path, **settings: Any) -> None:
        self.base = base
        self.root = base / "vectors"
        self.spec: BackendSpec = nexus_embedded.nexus_vector_store()
        self.config = nexus_embedded.EmbeddedConfig(root="vectors", **settings)
        self.runtime = Runtime(store="near", base=base, now=lambda: 0)
        self.opened: list[VectorBackend] = []

    def provision(self) -> list[str]:
        assert self.spec.provision is not None
        return list(self.spec.provision(self.config, self.runtime))

    def build(self, **settings: Any) -> VectorBackend:
        config = self.config.model_copy(update=settings)
        store = self.spec.factory(config, self.runtime)
        assert isinstance(store, VectorBackend)
        self.opened.append(store)
        return store

    def close(self) -> None:
        for store in self.opened:
            store.close()

    def tree(self) -> dict[str, tuple[int, int, int]]:
        """Every path under the base with its inode, size and time of change."""
        found = {}
        for path in sorted(self.base.rglob("*")):
            status = path.lstat()
            found[str(path.relative_to(self.base))] = (
                status.st_ino,
                status.st_size,
                status.st_mtime_ns,
            )
        return found

    def database(self, scope: Scope) -> Path:
        """The one database file of a scope."""
        (found,) = (self.root / "v1" / scope.env / scope.tenant_id).glob("*.db")
        return found

    def worker(self, code: str, *arguments: str) -> subprocess.Popen[str]:
        """Another process with a store on the same root; see the worker for its names."""
        roots = [
            str(Path(module.__file__ or "").parents[1]) for module in (nexus_core, nexus_embedded)
        ]
        return subprocess.Popen(
            [sys.executable, str(WORKER), str(self.base), code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(roots)},
        )


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A provisioned root."""
    one = Lab(tmp_path)
    one.provision()
    yield one
    one.close()


@pytest.fixture
def make_lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Provisioned roots with settings of one's own."""
    made: list[Lab] = []

    def make(**settings: Any) -> Lab:
        base = tmp_path / f"lab{len(made)}"
        base.mkdir()
        made.append(Lab(base, **settings))
        made[-1].provision()
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def store(lab: Lab) -> VectorBackend:
    """A store on the root."""
    return lab.build()


@pytest.fixture(scope="session")
def lab_type() -> type[Lab]:
    """The oracles alone."""
    return Lab
