"""Values of the vector store: index definitions, float32 buffers, hits.

Vectors travel as contiguous little-endian float32 buffers with a dimension. There is one number
for nearness, ``distance``; smaller is nearer; it has one definition for each metric, computed in
float64 over the stored float32 values:

===========  =======================  ==========
metric       distance                 range
===========  =======================  ==========
``cosine``   1 - q·x / (|q| |x|)      [0, 2]
``dot``      -(q·x)                   (-inf, inf)
``l2sq``     sum((q - x)²)            [0, inf)
===========  =======================  ==========
"""

from __future__ import annotations

import enum
import hashlib
import re
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any, Final, Literal, TypeAlias, cast, final

import attrs

from nexus_core._model.canonical import canonical_json
from nexus_core._model.errors import InvalidArgumentError, InvalidVectorError
from nexus_core._model.filters import FieldType, FieldValue, Schema
from nexus_core._model.ids import check_name

Metric: TypeAlias = Literal["cosine", "dot", "l2sq"]
Fields: TypeAlias = Mapping[str, FieldValue]

METRICS: Final[tuple[Metric, ...]] = ("cosine", "dot", "l2sq")
MAX_DIMENSION: Final = 65_536
MAX_NORM: Final = 1e18

# Every vector carries these; an index definition adds its own beside them.
SYSTEM_FIELDS: Final[Mapping[str, FieldType]] = {
    "kind": "str",
    "space": "str",
    "subject": "str",
    "asset": "str",
    "pii_flags": "str[]",
    "train_ok": "bool",
    "retain_until": "int",
    "legal_hold": "bool",
}
FORBIDDEN_FIELDS: Final = frozenset(("tenant", "tenant_id", "env", "environment", "id", "vector"))
FIELD_TYPES: Final = ("str", "int", "float", "bool", "str[]")

_FIELD = re.compile(r"[a-z][a-z0-9_]{0,62}")
_EMBEDDER = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}@[0-9A-Za-z][0-9A-Za-z.+_-]{0,31}")


def _own_copy(fields: Mapping[str, FieldType]) -> Mapping[str, FieldType]:
    # A definition whose fields its maker could still change would not be locked.
    if not isinstance(fields, Mapping):
        raise InvalidArgumentError("the fields are not a mapping of names to types")
    return dict(fields)


@attrs.frozen(kw_only=True)
class IndexDefinition:
    """An index, defined once and locked: name, version, dimension, metric, embedder, fields.

    ``embedder`` is ``name@version`` of what makes its vectors. Two definitions are the same index
    if and only if their fingerprints agree.
    """

    name: str
    version: int
    dimension: int
    metric: Metric
    embedder: str
    fields: Mapping[str, FieldType] = attrs.field(factory=dict, converter=_own_copy)

    def __attrs_post_init__(self) -> None:
        check_name(self.name, "the index name")
        if type(self.version) is not int or not 1 <= self.version < 2**31:
            raise InvalidArgumentError("the index version is not a positive integer")
        if type(self.dimension) is not int or not 1 <= self.dimension <= MAX_DIMENSION:
            raise InvalidArgumentError(f"the dimension is not 1 to {MAX_DIMENSION}")
        if self.metric not in METRICS:
            raise InvalidArgumentError(f"the metric is not one of {', '.join(METRICS)}")
        if type(self.embedder) is not str or _EMBEDDER.fullmatch(self.embedder) is None:
            raise InvalidArgumentError("the embedder is not of the form name@version")
        for field, kind in self.fields.items():
            check_field_name(field)
            if kind not in FIELD_TYPES:
                raise InvalidArgumentError(f"field types are {', '.join(FIELD_TYPES)}")

    @property
    def schema(self) -> Schema:
        """Fields that can be filtered: the system's and the definition's own."""
        return {**SYSTEM_FIELDS, **self.fields}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the definition's canonical JSON, 64 hex digits: the lock."""
        return hashlib.sha256(canonical_json(self.to_data())).hexdigest()

    def to_data(self) -> dict[str, Any]:
        """Plain JSON data; ``from_data`` reads it back."""
        return {
            "name": self.name,
            "version": self.version,
            "dimension": self.dimension,
            "metric": self.metric,
            "embedder": self.embedder,
            "fields": dict(self.fields),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> IndexDefinition:
        """Inverse of ``to_data``; raises ``InvalidArgumentError`` for anything else."""
        try:
            return cls(**data)
        except TypeError:
            raise InvalidArgumentError("the data is not an index definition") from None


def check_field_name(value: object) -> str:
    """Return the name of a filterable field; the scope's names and the system's are refused."""
    if (
        type(value) is str
        and _FIELD.fullmatch(value) is not None
        and not value.startswith(("nx_", "nexus_"))
        and value not in FORBIDDEN_FIELDS
        and value not in SYSTEM_FIELDS
    ):
        return value
    raise InvalidArgumentError(
        "a field name is not usable",
        hint="match [a-z][a-z0-9_]{0,62}; tenant, env, id, vector, nx_*, nexus_* and the system's "
        f"own ({', '.join(SYSTEM_FIELDS)}) are taken",
    )


class IndexState(enum.StrEnum):
    """Whether an index answers; its rows are the same in every state.

    ``inactive`` keeps it on the engine and out of memory; ``offloaded`` keeps it elsewhere.
    """

    ACTIVE = "active"
    INACTIVE = "inactive"
    OFFLOADED = "offloaded"


@attrs.frozen
class IndexRef:
    """A definition as a backend holds it. A dropped and re-made index has a new incarnation."""

    definition: IndexDefinition
    incarnation: str

    @property
    def schema(self) -> Schema:
        return self.definition.schema


@final
@attrs.frozen(eq=False)
class Vectors:
    """A block of equal-dimension vectors: one contiguous little-endian float32 buffer."""

    dimension: int
    data: memoryview = attrs.field(repr=False)

    @classmethod
    def from_buffer(cls, data: Any, dimension: int) -> Vectors:
        """Wrap a C-contiguous buffer of float32, or of its bytes, without copying it.

        It is the caller's again once the call that the vectors are given to has returned.
        A buffer of two dimensions holds one vector a row. Raises ``InvalidVectorError`` for numbers
        of another type, for another width, and unless it holds a whole number of vectors.
        """
        try:
            view = memoryview(data)
        except TypeError:
            raise InvalidVectorError("the vectors are not a buffer") from None
        flat = view.ndim == 1 and view.format in ("B", "f")
        table = view.ndim == 2 and view.format == "f"
        if not (flat or table) or not view.c_contiguous:
            raise InvalidVectorError("the vectors are not a contiguous buffer of float32")
        if dimension < 1 or (table and (view.shape or ())[1:] != (dimension,)):
            raise InvalidVectorError("the buffer holds vectors of another dimension")
        # A view without items cannot be cast.
        raw = view.cast("B") if view.nbytes else memoryview(b"")
        if len(raw) % (4 * dimension):
            raise InvalidVectorError("the buffer is not a whole number of vectors")
        return cls(dimension, raw.toreadonly())

    @classmethod
    def from_rows(cls, rows: Iterable[Sequence[float]], dimension: int) -> Vectors:
        """Pack rows of numbers, each as the nearest float32.

        Raises ``InvalidVectorError`` on a row of another length or of something else than numbers.
        """
        values = array("f")
        for row in rows:
            if isinstance(row, str | bytes) or not isinstance(row, Sized):
                raise InvalidVectorError("a vector is not a sequence of numbers")
            if len(row) != dimension:
                raise InvalidVectorError(
                    f"a vector has another dimension than the index, which has {dimension}"
                )
            try:
                values.extend(iter(row))  # as it is, an array of doubles would be refused
            except (TypeError, OverflowError):
                raise InvalidVectorError("a vector holds something that is not a number") from None
        if sys.byteorder == "big":
            values.byteswap()
        return cls.from_buffer(values.tobytes(), dimension)

    def __len__(self) -> int:
        return len(self.data) // (4 * self.dimension)

    def __iter__(self) -> Iterator[array[float]]:
        stride = 4 * self.dimension
        for start in range(0, len(self.data), stride):
            yield self.row(start // stride)

    def row(self, index: int) -> array[float]:
        """One vector as an ``array('f')``; raises ``IndexError`` past either end."""
        if not 0 <= index < len(self):
            raise IndexError("no such row")
        stride = 4 * self.dimension
        values = array("f")
        values.frombytes(self.data[index * stride : (index + 1) * stride])
        if sys.byteorder == "big":
            values.byteswap()
        return values

    def check(self, definition: IndexDefinition) -> None:
        """Refuse what no index may hold or be asked: NaN, infinities, a zero vector under cosine.

        Raises ``InvalidVectorError`` naming the position, never the values.
        """
        if self.dimension != definition.dimension:
            raise InvalidVectorError(
                f"the vectors have another dimension than the index, which has "
                f"{definition.dimension}"
            )
        for position, norm in enumerate(_squared_norms(self)):
            # Written so that NaN fails too; an infinity makes the sum infinite.
            if not norm <= MAX_NORM**2:
                raise InvalidVectorError(
                    f"vector {position} holds NaN, an infinity, or has a norm above {MAX_NORM:g}"
                )
            if norm == 0.0 and definition.metric == "cosine":
                raise InvalidVectorError(f"vector {position} is zero, which has no cosine")


def _squared_norms(vectors: Vectors) -> Iterable[float]:
    # The core does not need numpy, but where a plugin brought it this is 50 times faster.
    try:
        import numpy as np
    except ImportError:
        return (sum(x * x for x in row) for row in vectors)
    rows = np.frombuffer(vectors.data, dtype="<f4").reshape(len(vectors), vectors.dimension)
    return cast("list[float]", np.einsum("ij,ij->i", rows, rows, dtype=np.float64).tolist())


@attrs.frozen(eq=False)
class VectorBatch:
    """Rows to write, aligned: ids, vectors, fields, and the core's stamps."""

    ids: tuple[str, ...]
    vectors: Vectors
    fields: tuple[Fields, ...]
    stamps: tuple[bytes, ...] = attrs.field(repr=False)


@attrs.frozen(eq=False)
class StoredVector:
    """One row as a backend holds it; ``vector`` is the float32 buffer that was written."""

    id: str
    vector: bytes = attrs.field(repr=False)
    fields: Fields
    stamp: bytes = attrs.field(repr=False)


@attrs.frozen(eq=False)
class StoredHit:
    """One answer of a query, nearest first: the distance, and what was asked to come along."""

    id: str
    distance: float
    stamp: bytes = attrs.field(repr=False)
    fields: Fields | None = None
    vector: bytes | None = attrs.field(default=None, repr=False)


@attrs.frozen
class VectorPage:
    """Rows in ascending id order; ``next_after`` is the id to continue after, or ``None``."""

    rows: tuple[StoredVector, ...]
    next_after: str | None = None


@attrs.frozen
class IndexStatistics:
    """Size of one index in one scope, and of nothing else."""

    rows: int
    bytes: int
