"""The embedded vector store beside its peers: the same vectors, in one run, in turns.

100 000 vectors of dimension 384 in ten tenants of very unequal size. Each engine is filled in a
process of its own, and asked in another; all are asked the same five questions one after the other,
in an order that goes round, so that what else the machine does falls on all of them alike. Every
process runs on the same one core, unless ``--all-cores``. An answer counts as right if it is as
near as the true one, computed in float64, to within 1e-6.

Times are the processor's, all threads of the process together, and medians: they hardly depend on
what else the machine does. ``p50`` and ``p99`` are how long the one who asked has waited. Recall
is the least of all answers, in every tenant and with filters of 10 % and 1 % of its rows.

    python3 -m venv .bench
    .bench/bin/pip install -e . -e 'plugins/embedded[fast]' -r benchmarks/requirements-vectors.txt
    .bench/bin/python -m benchmarks.vectors

Takes five to ten minutes. Peers that are not installed are left out. Nothing is sent anywhere: the
peers' telemetry is switched off.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from benchmarks.vector_engines import ENGINES, QUIET, Engine, Rows, Where, installed, serve

SIZES: Final = (60_000, 15_000, 8_000, 6_000, 4_000, 3_000, 2_000, 1_000, 700, 300)
DIMENSION: Final = 384
CLUSTERS: Final = 300
SPREAD: Final = 0.7
NEAREST: Final = 10
QUERIES: Final = 100
FEW: Final = 20
IN_A_ROW: Final = 5
MANY: Final = 64
FILTERS: Final[dict[str, Where]] = {"10 %": ("lt", 10), "1 %": ("eq", 3)}
TOLERANCE: Final = 1e-6
# Seconds after which no question is asked more than five times.
BUDGET: Final = 420
ONE_THREAD: Final = (
    "LANCE_CPU_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "TOKIO_WORKER_THREADS",
)

Times: TypeAlias = dict[str, list[float]]
Wide: TypeAlias = npt.NDArray[np.float64]


class Peer:
    """An engine in a process of its own."""

    def __init__(self, engine: type[Engine], folder: Path, data: Path) -> None:
        self.engine = engine
        self.folder = folder / engine.__name__
        self.folder.mkdir(exist_ok=True)
        self.data = data
        self.times: Times = {}
        self.waits: Times = {}
        self.recall: list[float] = []
        self.rate = 0.0
        self.bytes = 0
        self.memory = 0
        self._process: Any = None

    def start(self, tenants: dict[str, int]) -> None:
        """Begin a process."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (self.engine, self.folder, self.data, theirs)
        self._process = context.Process(target=serve, args=arguments, daemon=True)
        self._process.start()
        self.call("tenants", tenants)

    def stop(self) -> None:
        """End it."""
        self._pipe.send(None)
        self._process.join()

    def call(self, *call: Any) -> tuple[float, float, Any]:
        """Seconds, seconds of the processor, and result; raises what the engine did."""
        self._pipe.send(call)
        seconds, worked, result = self._pipe.recv()
        if isinstance(result, Exception):
            raise result
        return seconds, worked, result

    def median(self, name: str) -> float:
        """Milliseconds of the processor."""
        return 1000 * statistics.median(self.times[name]) if name in self.times else float("nan")


class Truth:
    """The data, and what the right answers are."""

    def __init__(self, folder: Path, scale: float) -> None:
        rng = np.random.default_rng(20)
        self.centres = rng.standard_normal((CLUSTERS, DIMENSION))
        self.folder = folder
        self.rows: dict[str, Rows] = {}
        for number, size in enumerate(SIZES):
            tenant = f"tenant{number}"
            self.rows[tenant] = self._drawn(rng, max(200, int(size * scale)))
            np.save(folder / f"{tenant}.npy", self.rows[tenant])
        self.queries = self._drawn(rng, QUERIES)
        self.tenants = {tenant: len(rows) for tenant, rows in self.rows.items()}
        self.deadline = time.monotonic() + BUDGET

    def _drawn(self, rng: np.random.Generator, count: int) -> Rows:
        noise = rng.standard_normal((count, DIMENSION))
        rows = self.centres[rng.integers(0, CLUSTERS, count)] + SPREAD * noise
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows.astype(np.float32)

    def distances(self, tenant: str, where: Where) -> Wide:
        """Of each query to each row, by the definition; infinite where the filter says no."""
        rows = self.rows[tenant].astype(np.float64)
        asked = self.queries.astype(np.float64)
        lengths = np.linalg.norm(asked, axis=1)[:, np.newaxis] * np.linalg.norm(rows, axis=1)
        far: Wide = 1.0 - asked @ rows.T / lengths
        if where:
            numbers = np.arange(len(rows)) % 100
            far[:, ~(numbers == where[1] if where[0] == "eq" else numbers < where[1])] = np.inf
        return far


def recall(found: list[int], far: Wide) -> float:
    """Share of the nearest that was found."""
    wanted = min(NEAREST, int(np.isfinite(far).sum()))
    last = np.partition(far, wanted - 1)[wanted - 1]
    right = {at for at in found if far[at] <= last + TOLERANCE}
    return len(right) / wanted


def in_turns(peers: list[Peer], truth: Truth, tenant: str, name: str, *, where: Where) -> None:
    """Ask all engines the same, a few questions at a time."""
    far = truth.distances(tenant, where)
    count = QUERIES if name == "large" else FEW
    for turn, start in enumerate(range(0, count, IN_A_ROW)):
        if turn and time.monotonic() > truth.deadline:
            return
        shift = turn % len(peers)
        for peer in peers[shift:] + peers[:shift]:
            # The first of a row is asked twice: what another engine has pushed out of the
            # processor's cache is not this one's cost.
            asked = list(range(start, start + IN_A_ROW, peer.engine.share))
            for at in asked[:1] + asked:
                call = ("ask", tenant, truth.queries[at], NEAREST, where)
                seconds, worked, found = peer.call(*call)
                peer.times.setdefault(name, []).append(worked)
                peer.waits.setdefault(name, []).append(seconds)
                if peer.engine is not ENGINES[0]:
                    peer.recall.append(recall(found, far[at]))
            for times in (peer.times[name], peer.waits[name]):
                del times[-len(asked) - 1]


def fill(peer: Peer, truth: Truth) -> None:
    """Write everything, in a process that then ends."""
    peer.start(truth.tenants)
    seconds, _, written = peer.call("fill")
    peer.stop()
    peer.rate = written / seconds
    files = (path for path in peer.folder.rglob("*") if path.is_file())
    peer.bytes = sum(path.stat().st_size for path in files)
    print(f"  {peer.engine.label}: {seconds:.1f} s", file=sys.stderr, flush=True)


def measure(peers: list[Peer], truth: Truth) -> None:
    """Ask everything."""
    for peer in peers:
        peer.start(truth.tenants)
        peer.call("open")
    large, *others = truth.tenants
    in_turns(peers, truth, large, "large", where=None)
    for name, where in FILTERS.items():
        asked = [peer for peer in peers if peer.engine is not ENGINES[0]]
        in_turns(asked, truth, large, name, where=where)
    for tenant in others:
        in_turns(peers, truth, tenant, tenant, where=None)
        for where in FILTERS.values():
            in_turns(peers, truth, tenant, "not shown", where=where)
    together = [peer for peer in peers if peer.engine.together]
    for _ in range(5):
        for peer in together:
            _, worked, _ = peer.call("ask_many", large, truth.queries[:MANY], NEAREST)
            peer.times.setdefault("many", []).append(worked / MANY)
    for peer in peers:
        peer.memory = peer.call("memory")[2]
        peer.stop()


def show(peers: list[Peer], truth: Truth) -> None:
    """Print the tables."""
    floor = peers[0]
    names = ["large", *list(truth.tenants)[1:]]

    def every(peer: Peer) -> float:
        return sum(peer.median(name) for name in names)

    print("| engine | recall | large, ms | × product | p50, ms | p99, ms | all ten, ms ", end="")
    print("| × product | 10 % filter, ms | 1 % filter, ms | 64 at once, ms each |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for peer in peers:
        waits = sorted(1000 * wait for wait in peer.waits["large"])
        lowest = "" if peer is floor else f"{min(peer.recall):.3f}"
        if peer.recall and min(peer.recall) < 1:
            lowest = f"{statistics.mean(peer.recall):.4f}, least {min(peer.recall):.2f}"
        cells = [
            peer.engine.label,
            lowest,
            f"{peer.median('large'):.2f}",
            f"{peer.median('large') / floor.median('large'):.2f}",
            f"{statistics.median(waits):.2f}",
            f"{waits[math.ceil(0.99 * len(waits)) - 1]:.2f}",
            f"{every(peer):.2f}",
            f"{every(peer) / every(floor):.2f}",
            *(f"{peer.median(name):.2f}" if name in peer.times else "" for name in FILTERS),
            f"{peer.median('many'):.2f}" if "many" in peer.times else "",
        ]
        print(f"| {' | '.join(cells)} |")
    print("\n| engine | rows written a second | on disk, MB | memory when asked, MB |")
    print("|---|---|---|---|")
    for peer in peers[1:]:
        print(
            f"| {peer.engine.label} | {peer.rate:,.0f} "
            f"| {'' if peer.engine.most else f'{peer.bytes / 1e6:.0f}'} "
            f"| {peer.memory / 1e6:.0f} |"
        )


def main() -> int:
    """Measure and print; fails if the store has not found all that it should."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--all-cores", action="store_true", help="do not keep to one core")
    parser.add_argument("--scale", type=float, default=1.0, help="of the tenants' sizes")
    parser.add_argument("--only", nargs="*", default=[], help="classes of engines")
    options = parser.parse_args()
    os.environ.update(QUIET)
    if not options.all_cores:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        truth = Truth(data, options.scale)
        engines = [
            engine
            for engine in ENGINES
            if installed(engine)
            and (not options.only or engine is ENGINES[0] or engine.__name__ in options.only)
        ]
        peers = [Peer(engine, Path(folder), data) for engine in engines]
        for peer in peers:
            fill(peer, truth)
        measure(peers, truth)
        show(peers, truth)
    seconds = time.monotonic() - began
    cores = len(os.sched_getaffinity(0))
    print(f"\nPython {sys.version.split()[0]}, {cores} core(s), {seconds:.0f} s in all")
    ours = [peer for peer in peers if peer.engine.ours]
    return int(any(min(peer.recall) < 1 for peer in ours))


if __name__ == "__main__":
    sys.exit(main())
