"""Another process on the same root: runs the code it is given, and talks over its pipes.

The code may use ``lab`` names below; ``say`` prints a line at once, ``hear`` waits for one.
"""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nexus_embedded

from nexus_core import spi

base, code, *arguments = sys.argv[1:]
spec = nexus_embedded.nexus_vector_store()
config = nexus_embedded.EmbeddedConfig(root="vectors", busy_timeout=20.0)
store: Any = spec.factory(config, spi.Runtime(store="near", base=Path(base), now=lambda: 0))


def say(*words: object) -> None:
    """Print one line, at once."""
    # One write for one line, however output is buffered: several processes may share it.
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def hear() -> str:
    """Wait for a line."""
    return sys.stdin.readline().strip()


def rows(ids: Sequence[str], numbers: Sequence[Sequence[float]]) -> spi.VectorBatch:
    """Rows without fields, stamped with their ids."""
    flat = array("f", [value for row in numbers for value in row])
    return spi.VectorBatch(
        tuple(ids),
        spi.Vectors.from_buffer(flat.tobytes(), len(numbers[0])),
        tuple({} for _ in ids),
        tuple(f"stamp of {row_id}".encode() for row_id in ids),
    )


def ask(scope: spi.Scope, ref: spi.IndexRef, query: Sequence[float], k: int) -> list[str]:
    """Ids of the nearest rows."""
    (hits,) = store.query(scope, ref, spi.Vectors.from_rows([query], len(query)), k)
    return [hit.id for hit in hits]


exec(compile(code, "<test>", "exec"))  # noqa: S102  # the tests' own code, from the command line
