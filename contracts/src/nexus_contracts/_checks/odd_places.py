"""The check of places whose paths have characters that mean something to whoever reads them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from nexus_contracts._bench import SCOPES, Bench
from nexus_contracts._catalogue.places import PLACED
from nexus_contracts._checks.calls import Known, calls, plant
from nexus_contracts._checks.places import listing
from nexus_contracts._harness import Namespace
from nexus_contracts._registry import check
from nexus_contracts._twins import plain
from nexus_core import NexusError
from nexus_core.spi import StoreError, StoreRole

SCOPE: Final = SCOPES[0]
# Two folders side by side, which are one where the path is cut, decoded, expanded or folded.
PAIRS: Final = (
    ("p#1", "p#2"),
    ("p?a=1", "p?a=2"),
    ("p%41", "pA"),
    ("p%2Fx", "p"),
    ("p 1", "p+1"),
    ("p;1", "p;2"),
    ("p&1", "p&2"),
    ("p:1", "p:2"),
    ("*", "p"),
    ("[p]", "p"),
    ("{p}", "p"),
    ("$HOME", "~"),
    ("p\\1", "p1"),
    ("'p'", '"p"'),
    ("\xe9", "e\u0301"),
)


def odd_places(bench: Bench) -> None:
    """Two stores in each pair of folders: what is in the one is not in the other, nor beside."""
    if bench.harness.folder(bench.namespace()) is None:
        return
    for pair in PAIRS:
        base = bench.namespace().path
        places = []
        with suppress(OSError):
            for name in pair:
                (base / name).mkdir()
                places.append(Namespace(base / name))
        # Some file systems have no such names, or hold two of them for one.
        if len(places) == len(pair):
            _apart(bench, base, places)
            bench.figures["pairs_of_places"] = bench.figures.get("pairs_of_places", 0) + 1


def _apart(bench: Bench, base: Path, places: list[Namespace]) -> None:
    left, right = (each.path.name for each in places)
    before = listing(bench)
    stores = []
    for place in places:
        what = f"in a folder of the name {place.path.name!r}, with {left!r} and {right!r} there,"
        try:
            said = list(bench.harness.provision(place, bench.clock))
            stores.append(bench.open(place))
            problems = [str(problem) for problem in stores[-1].check()]
        except NexusError as error:
            bench.fail(f"{what} provisioning or opening raised {type(error).__name__}")
        bench.expect(said, f"{what} provisioning says that the store was there before")
        bench.expect(not problems, f"{what} check reports {problems}")
    empty = _read(bench, stores[1], None)
    plant(bench, stores[0], SCOPE)
    bench.expect(
        _read(bench, stores[1], None) == empty,
        f"what is written to a store in the folder {left!r} is read in {right!r}",
    )
    try:
        known = plant(bench, stores[1], SCOPE)
    except NexusError as error:
        bench.fail(f"beside a store in {left!r}, one in {right!r} raises {type(error).__name__}")
    full = _read(bench, stores[1], known)
    stores[0].erase(SCOPE)
    bench.expect(
        _read(bench, stores[1], known) == full,
        f"what is erased in a store in the folder {left!r} is gone in {right!r}",
    )
    own = {f"{base.relative_to(bench.ground).as_posix()}/{place.path.name}" for place in places}
    stray = sorted(
        each for each in listing(bench) - before if not any(each.startswith(name) for name in own)
    )
    bench.expect(not stray, f"stores in the folders {left!r} and {right!r} made {stray[:3]}")
    for store in stores:
        bench.release(store)


def _read(bench: Bench, store: Any, known: Known | None) -> list[object]:
    """What every reading call gives."""
    names: dict[tuple[str, Any], str] = {}
    found: list[object] = []
    for call in calls(bench, store, SCOPE, known):
        if call.writes:
            continue
        try:
            found.append((call.name, plain(call.make(), names)))
        except StoreError as error:
            found.append((call.name, type(error).__name__))
    return found


for _role in StoreRole:
    check(PLACED[_role].odd)(odd_places)
