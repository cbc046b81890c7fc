"""The engines of benchmarks/vectors.py, each as its own documentation keeps tenants apart.

An engine is filled in one process and asked in another, which only reads what the first has left.
All are exact but Chroma, which has nothing else than a graph. Peers are imported where they are
used, so those that are not installed are left out of the table.
"""

from __future__ import annotations

import os
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Rows: TypeAlias = npt.NDArray[np.float32]
# None, ("eq", 3) or ("lt", 10): what the field ``n`` must be.
Where: TypeAlias = tuple[str, int] | None

BATCH: Final = 5000
QUIET: Final = {
    "ANONYMIZED_TELEMETRY": "False",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "OTEL_SDK_DISABLED": "true",
}


class Engine(ABC):
    """One engine on one folder. Rows are named by their position in their tenant."""

    label: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    share: ClassVar[int] = 1
    """Of how many questions it is asked one, if it is so slow that all would take too long."""

    most: ClassVar[int | None] = None
    """The size of the largest tenant that it is made to write, if all would take too long."""
    together: ClassVar[bool] = False
    """Whether it takes several queries in one call."""
    ours: ClassVar[bool] = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def fill(self, tenant: str, rows: Rows, numbers: list[int]) -> None:
        """Write a tenant's rows, each with its field ``n``; not those of more than ``most``."""

    @abstractmethod
    def open(self, tenants: Mapping[str, int]) -> None:
        """Make ready to be asked, given each tenant's number of rows."""

    @abstractmethod
    def ask(self, tenant: str, query: Rows, k: int, where: Where) -> list[int]:
        """The nearest rows' positions."""

    def ask_many(self, tenant: str, queries: Rows, k: int) -> list[list[int]]:
        """The same for several queries in one call."""
        return [self.ask(tenant, query, k, None) for query in queries]

    def finish(self) -> None:  # noqa: B027  # most have nothing left to do
        """Bring all that was written to disk."""


def batches(count: int) -> Iterator[slice]:
    """The parts in which rows are written."""
    for start in range(0, count, BATCH):
        yield slice(start, min(start + BATCH, count))


class Product(Engine):
    """The floor: the matrix product over the same bytes, and nothing chosen from it."""

    label = "matrix product alone"
    together = True

    def fill(self, tenant: str, rows: Rows, numbers: list[int]) -> None:
        np.save(self.folder / f"{tenant}.npy", rows)

    def open(self, tenants: Mapping[str, int]) -> None:
        self.rows = {tenant: np.load(self.folder / f"{tenant}.npy") for tenant in tenants}

    def ask(self, tenant: str, query: Rows, k: int, where: Where) -> list[int]:
        self.last = self.rows[tenant] @ query
        return []

    def ask_many(self, tenant: str, queries: Rows, k: int) -> list[list[int]]:
        self.last = self.rows[tenant] @ queries.T
        return []


class Nexus(Engine):
    """The embedded store: a file for each scope."""

    together = True
    ours = True
    scan: ClassVar[str] = "float32"

    def _begin(self) -> None:
        import nexus_embedded

        from nexus_core import spi

        self.spi = spi
        spec = nexus_embedded.nexus_vector_store()
        config = spec.config.model_validate(
            {"root": "vectors", "cache_bytes": 1 << 30, "scan": self.scan}
        )
        runtime = spi.Runtime(store="near", base=self.folder, now=time.time_ns)
        if not (self.folder / "vectors").exists():
            assert spec.provision is not None
            spec.provision(config, runtime)
        self.store: Any = spec.factory(config, runtime)

    def fill(self, tenant: str, rows: Rows, numbers: list[int]) -> None:
        if not hasattr(self, "store"):
            self._begin()
        spi, scope = self.spi, self.spi.Scope(tenant, "prod")
        ref = self.store.create_index(
            scope,
            spi.IndexDefinition(
                name="rows",
                version=1,
                dimension=rows.shape[1],
                metric="cosine",
                embedder="none@1",
                fields={"n": "int"},
            ),
        )
        for part in batches(len(rows)):
            some = range(part.start, part.stop)
            block = spi.VectorBatch(
                tuple(map(str, some)),
                spi.Vectors.from_buffer(rows[part], rows.shape[1]),
                tuple({"n": numbers[at]} for at in some),
                (b"\0" * 32,) * len(some),
            )
            self.store.upsert(scope, ref, block)

    def open(self, tenants: Mapping[str, int]) -> None:
        self._begin()
        self.scopes = {tenant: self.spi.Scope(tenant, "prod") for tenant in tenants}
        self.refs = {
            tenant: self.store.get_index(scope, "rows", 1) for tenant, scope in self.scopes.items()
        }

    def _ask(self, tenant: str, queries: Rows, k: int, where: Where) -> list[list[int]]:
        filters = {"eq": self.spi.Eq, "lt": self.spi.Lt}
        answers = self.store.query(
            self.scopes[tenant],
            self.refs[tenant],
            self.spi.Vectors.from_buffer(queries, queries.shape[-1]),
            k,
            where=filters[where[0]]("n", where[1]) if where else None,
        )
        return [[int(hit.id) for hit in hits] for hits in answers]

    def ask(self, tenant: str, query: Rows, k: int, where: Where) -> list[int]:
        return self._ask(tenant, query[np.newaxis], k, where)[0]

    def ask_many(self, tenant: str, queries: Rows, k: int) -> list[list[int]]:
        return self._ask(tenant, queries, k, None)

    def finish(self) -> None:
        self.store.close()


class NexusFloat32(Nexus):
    """With numpy alone."""

    label = "nexus-embedded, float32"


class NexusInt8(Nexus):
    """With the extra."""

    label = "nexus-embedded[fast], int8"
    needs = ("numkong",)
    scan = "int8"


class Faiss(Engine):
    """A flat index for each tenant; no file of its own, no fields: the filter is a list of rows."""

    label = "FAISS IndexFlatIP"
    needs = ("faiss",)
    together = True

    def fill(self, tenant: str, rows: Rows, numbers: list[int]) -> None:
        faiss = import_module("faiss")
        index = faiss.IndexFlatIP(rows.shape[1])
        for part in batches(len(rows)):
            index.add(rows[part])
        faiss.write_index(index, str(self.folder / f"{tenant}.faiss"))
        np.save(self.folder / f"{tenant}.npy", np.array(numbers))

    def open(self, tenants: Mapping[str, int]) -> None:
        self.faiss = import_module("faiss")
        self.index, self.numbers = {}, {}
        for tenant in tenants:
            self.index[tenant] = self.faiss.read_index(str(self.folder / f"{tenant}.faiss"))
            self.numbers[tenant] = np.load(self.folder / f"{tenant}.npy")

    def ask(self, tenant: str, query: Rows, k: int, where: Where) -> list[int]:
        if where is None:
            return self.ask_many(tenant, query[np.newaxis], k)[0]
        numbers = self.numbers[tenant]
        chosen = np.flatnonzero(numbers == where[1] if where[0] == "eq" else numbers < where[1])
        selector = self.faiss.IDSelectorBatch(chosen)
        parameters = self.faiss.SearchParameters(sel=selector)
        _, found = self.index[tenant].search(query[np.newaxis], k, params=parameters)
        return [int(at) for at in found[0]]

    def ask_many(self, tenant: str, queries: Rows, k: int) -> list[list[int]]:
        found: list[list[int]] = self.index[tenant].search(queries, k)[1].tolist()
        return found


class Chroma(Engine):
    """A collection for each tenant, with the settings that it comes with."""

    label = "Chroma (HNSW)"
    needs = ("chromadb",)

    def _client(self) -> Any:
        chroma = import_module("chromadb")
        quiet = import_module("chromadb.config").Settings(anonymized_telemetry=False)
        return chroma.PersistentClient(path=str(self.folder / "chroma"), settings=quiet)

    def fill(self, tenant: str, rows: Rows, numbers: list[int]) -> None:
        collection = self._client().create_collection(
            tenant, metadata={"hnsw:space": "cosine"}, embedding_function=None
        )
        for part in batches(len(rows)):
            some = range(part.start, part.stop)
            collection.add(
                ids=[str(at) for at in some],
                embeddings=rows[part],
                metadatas=[{"n": numbers[at]} for at in some],
            )

    def open(self, tenants: Mapping[str, int]) -> None:
        client = self._client()
        self.collections = {
            tenant: client.get_collection(tenant, embedding_function=None) for tenant in tenants
        }

    def ask(self, tenant: str, query: Rows, k: int, where: Where) -> list[int]:
        found = self.collections[tenant].query(
            query_embeddings=query[np.newaxis],
            n_results=k,
            include=["distances"],
            where={"n": {f"${where[0]}": where[1]}} if where else None,
        )
        return [int(name) for name in found["ids"][0]]


class Lance(Engine):
    """A table for each tenant, without an index: a flat scan."""

    label = "LanceDB (flat)"
    needs = ("lancedb", "pyarrow")

    def _connect(self) -> Any:
        return import_module("lancedb").connect(str(self.folder / "lance"))

    def fill(self, tenant: str, rows: Rows, numbers: list[int]) -> None:
        arrow = import_module("pyarrow")
        db, table = self._connect(), None
        for part in batches(len(rows)):
            flat = arrow.array(rows[part].ravel())
            data = arrow.table(
                {
                    "id": arrow.array(range(part.start, part.stop)),
                    "n": arrow.array(numbers[part]),
                    "vector": arrow.FixedSizeListArray.from_arrays(flat, rows.shape[1]),
                }
            )
            if table is None:
                table = db.create_table(tenant, data)
            else:
                table.add(data)

    def open(self, tenants: Mapping[str, int]) -> None:
        db = self._connect()
        self.tables = {tenant: db.open_table(tenant) for tenant in tenants}

    def ask(self, tenant: str, query: Rows, k: int, where: Where) -> list[int]:
        search = self.tables[tenant].search(query).distance_type("cosine").limit(k)
        search = search.select(["id", "_distance"])
        if where:
            search = search.where(f"n {'=' if where[0] == 'eq' else '<'} {where[1]}")
        found: list[int] = search.to_arrow()["id"].to_pylist()
        return found


class SqliteVec(Engine):
    """One table, partitioned by tenant."""

    label = "sqlite-vec"
    needs = ("apsw", "sqlite_vec")

    def _connect(self) -> Any:
        db = import_module("apsw").Connection(str(self.folder / "vec.db"))
        db.enable_load_extension(True)  # noqa: FBT003  # their signature
        import_module("sqlite_vec").load(db)
        db.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
        return db

    def fill(self, tenant: str, rows: Rows, numbers: list[int]) -> None:
        db = self._connect()
        db.execute(
            "CREATE VIRTUAL TABLE IF NOT EXISTS rows USING vec0(tenant TEXT PARTITION KEY, "
            f"vector FLOAT[{rows.shape[1]}] distance_metric=cosine, at INTEGER, n INTEGER)"
        )
        for part in batches(len(rows)):
            with db:
                db.executemany(
                    "INSERT INTO rows (tenant, vector, at, n) VALUES (?, ?, ?, ?)",
                    (
                        (tenant, rows[at].tobytes(), at, numbers[at])
                        for at in range(part.start, part.stop)
                    ),
                )

    def open(self, tenants: Mapping[str, int]) -> None:
        self.db = self._connect()

    def ask(self, tenant: str, query: Rows, k: int, where: Where) -> list[int]:
        sql = "SELECT at FROM rows WHERE tenant = ? AND vector MATCH ? AND k = ?"
        values = [tenant, query.tobytes(), k]
        if where:
            sql += f" AND n {'=' if where[0] == 'eq' else '<'} ?"
            values.append(where[1])
        return [row[0] for row in self.db.execute(sql + " ORDER BY distance", values)]


class Duck(Engine):
    """A table for each tenant."""

    label = "DuckDB (array)"
    needs = ("duckdb", "pyarrow")

    def _connect(self) -> Any:
        db = import_module("duckdb").connect(str(self.folder / "rows.duckdb"))
        db.execute(f"SET threads = {len(os.sched_getaffinity(0))}")
        return db

    def fill(self, tenant: str, rows: Rows, numbers: list[int]) -> None:
        arrow = import_module("pyarrow")
        db = self._connect()
        width = rows.shape[1]
        db.execute(f'CREATE TABLE "{tenant}" (row INTEGER, n INTEGER, vector FLOAT[{width}])')
        for part in batches(len(rows)):
            flat = arrow.array(rows[part].ravel())
            block = arrow.table(
                {
                    "row": arrow.array(range(part.start, part.stop)),
                    "n": arrow.array(numbers[part]),
                    "vector": arrow.FixedSizeListArray.from_arrays(flat, width),
                }
            )
            db.register("block", block)
            db.execute(f'INSERT INTO "{tenant}" SELECT * FROM block')  # noqa: S608  # our own name
        db.close()

    def open(self, tenants: Mapping[str, int]) -> None:
        self.db = self._connect()

    def ask(self, tenant: str, query: Rows, k: int, where: Where) -> list[int]:
        sql = f'SELECT row FROM "{tenant}"'  # noqa: S608  # our own name
        if where:
            sql += f" WHERE n {'=' if where[0] == 'eq' else '<'} {where[1]}"
        sql += f" ORDER BY array_cosine_distance(vector, ?::FLOAT[{query.size}]) LIMIT {k}"
        return [row[0] for row in self.db.execute(sql, [query]).fetchall()]


class Qdrant(Engine):
    """Local mode, a collection for each tenant.

    On disk it commits point by point, which for all of them would take ten minutes: it writes the
    small tenants, and is asked in memory.
    """

    label = "Qdrant (local mode)"
    needs = ("qdrant_client",)
    share = 5
    most = 1000

    def _client(self, **place: str) -> Any:
        # It warns of collections that are large for it.
        warnings.simplefilter("ignore")
        self.models = import_module("qdrant_client.models")
        return import_module("qdrant_client").QdrantClient(**place)

    def _write(self, client: Any, tenant: str, rows: Rows, numbers: list[int]) -> None:
        models = self.models
        distance = models.VectorParams(size=rows.shape[1], distance=models.Distance.COSINE)
        client.create_collection(tenant, vectors_config=distance)
        for part in batches(len(rows)):
            some = range(part.start, part.stop)
            points = models.Batch(
                ids=list(some),
                vectors=rows[part].tolist(),
                payloads=[{"n": numbers[at]} for at in some],
            )
            client.upsert(tenant, points)

    def fill(self, tenant: str, rows: Rows, numbers: list[int]) -> None:
        client = self._client(path=str(self.folder / "qdrant"))
        self._write(client, tenant, rows, numbers)
        client.close()

    def open(self, tenants: Mapping[str, int]) -> None:
        self.client = self._client(location=":memory:")
        for tenant, count in tenants.items():
            rows = np.load(self.folder.parent / "data" / f"{tenant}.npy")
            self._write(self.client, tenant, rows, [at % 100 for at in range(count)])

    def ask(self, tenant: str, query: Rows, k: int, where: Where) -> list[int]:
        models, chosen = self.models, None
        if where:
            only = (
                {"match": models.MatchValue(value=where[1])}
                if where[0] == "eq"
                else {"range": models.Range(lt=where[1])}
            )
            chosen = models.Filter(must=[models.FieldCondition(key="n", **only)])
        found = self.client.query_points(
            tenant, query=query, limit=k, query_filter=chosen, with_payload=False
        )
        return [point.id for point in found.points]


ENGINES: Final[tuple[type[Engine], ...]] = (
    Product,
    NexusFloat32,
    NexusInt8,
    Faiss,
    SqliteVec,
    Duck,
    Lance,
    Chroma,
    Qdrant,
)


def installed(engine: type[Engine]) -> bool:
    """Whether all that an engine needs can be imported."""
    try:
        for name in engine.needs:
            import_module(name)
    except ImportError:
        return False
    return True


def serve(engine: type[Engine], folder: Path, data: Path, pipe: Connection) -> None:
    """In a process of its own: do what comes down the pipe.

    Sends back seconds, seconds of the processor in all of the process's threads, and the result.
    """
    one = engine(folder)
    tenants: dict[str, int] = {}

    def fill() -> int:
        written = 0
        for tenant, count in tenants.items():
            if engine.most is None or count <= engine.most:
                rows = np.load(data / f"{tenant}.npy")
                one.fill(tenant, rows, [at % 100 for at in range(count)])
                written += count
        one.finish()
        return written

    def memory() -> int:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return 1024 * int(status.partition("VmRSS:")[2].split()[0])

    calls: dict[str, Callable[..., Any]] = {
        "tenants": tenants.update,
        "fill": fill,
        "open": lambda: one.open(tenants),
        "ask": one.ask,
        "ask_many": one.ask_many,
        "memory": memory,
    }
    while (call := pipe.recv()) is not None:
        name, *arguments = call
        began, worked = time.perf_counter(), time.process_time()
        try:
            result = calls[name](*arguments)
        except Exception as error:  # noqa: BLE001  # told to the one who asked
            result = RuntimeError(f"{type(error).__name__}: {str(error)[:500]}")
        pipe.send((time.perf_counter() - began, time.process_time() - worked, result))
