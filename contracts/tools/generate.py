"""Write the suite's two pages: ``docs/requirements.md`` and ``docs/kill-matrix.md``.

``python contracts/tools/generate.py`` writes the requirements from the catalogue. With ``--matrix``
it also runs every faulty backend through its role's whole suite and writes what each requirement
killed, which takes many minutes; with ``--new`` those only that the page lacks. With ``--check``
nothing is written: the exit code says whether the requirements page is what would be written.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from nexus_contracts._catalogue import catalogue
from nexus_contracts._engine import applicable, run_one
from nexus_contracts._requirements import Level, Profile, Requirement
from nexus_contracts._verdict import Status
from nexus_contracts.zoo import harness_for, mutants

from nexus_core.spi import StoreRole

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
REQUIREMENTS: Final = DOCS / "requirements.md"
MATRIX: Final = DOCS / "kill-matrix.md"
TITLES: Final = {
    StoreRole.RAW: "Raw store",
    StoreRole.ATOMS: "Atom store",
    StoreRole.VECTORS: "Vector store",
    StoreRole.AUDIT: "Audit sink",
}


def main(arguments: list[str]) -> int:
    """Write the pages, or compare the one that is quick to make."""
    text = requirements_page()
    if arguments == ["--check"]:
        same = REQUIREMENTS.is_file() and REQUIREMENTS.read_text(encoding="utf-8") == text
        return 0 if same else 1
    if arguments not in ([], ["--matrix"], ["--new"]):
        sys.stderr.write("usage: generate.py [--check | --matrix | --new]\n")
        return 2
    DOCS.mkdir(exist_ok=True)
    REQUIREMENTS.write_text(text, encoding="utf-8")
    if arguments:
        known = recorded() if arguments == ["--new"] else {}
        MATRIX.write_text(matrix_page(known), encoding="utf-8")
    return 0


def requirements_page() -> str:
    """The catalogue as a page."""
    return "\n".join(_requirements()) + "\n"


def _requirements() -> Iterator[str]:
    yield "# Requirements\n"
    yield "Written from the catalogue by `contracts/tools/generate.py`; a test holds it to that."
    yield "Ids never change their meaning. From `TEN` (isolation), `CFG` (fail-closed settings) and"
    yield "`SEC` (hygiene) no deviation is ever allowed. A requirement with a capability is tested"
    yield "where the capability is declared; elsewhere the core must refuse the call.\n"
    for role in StoreRole:
        found = [each for each in catalogue() if each.role is role]
        yield f"## {TITLES[role]}\n"
        yield "| id | level | what is required | why |\n|---|---|---|---|"
        for each in found:
            yield f"| {each.id} | {_level(each)} | {_cell(each.sentence)} | {_why(each)} |"
        yield ""


def _level(each: Requirement) -> str:
    parts = [each.level.value]
    if each.profile is Profile.EXTENDED:
        parts.append("extended profile")
    if each.capability is not None:
        parts.append(f"if `{each.capability}`")
    return ", ".join(parts)


def _why(each: Requirement) -> str:
    if each.level is Level.UNTESTED:
        return _cell(f"{each.rationale} Not tested: {each.reason}.")
    return _cell(each.rationale)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def recorded() -> dict[str, list[str]]:
    """For each mutant on the page, the requirements that it says fail it."""
    found: dict[str, list[str]] = {}
    for line in MATRIX.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 2 and re.fullmatch("[A-Z]+-[0-9]{3}", cells[0]) and cells[1] != "nothing":
            for name in cells[1].split(", "):
                found.setdefault(name.rstrip("*"), []).append(cells[0])
    return found


def kills(known: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """For each requirement, those of the extended profile too, the names of the mutants that fail
    it; random schedules are as many as in the core profile, for it is to end today."""
    found: dict[str, list[str]] = {each.id: [] for each in catalogue()}
    fresh = [mutant.name for mutant in mutants() if mutant.name not in known]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        ran = dict(zip(fresh, pool.map(killers, fresh), strict=True))
    for mutant in mutants():
        for each in {**known, **ran}[mutant.name]:
            found[each].append(mutant.name)
    return found


def killers(name: str) -> list[str]:
    """The requirements that fail one mutant."""
    # Some mutants write to the log, which nobody has to read here.
    logging.getLogger().addHandler(logging.NullHandler())
    harness = harness_for(next(mutant for mutant in mutants() if mutant.name == name))
    return [
        requirement.id
        for requirement in applicable(harness, Profile.EXTENDED)
        if run_one(harness, requirement, effort=0).status is Status.FAILED
    ]


def matrix_page(known: Mapping[str, Sequence[str]]) -> str:
    """What each requirement kills, as a page."""
    return "\n".join(_matrix(kills(known))) + "\n"


def _matrix(killed: dict[str, list[str]]) -> Iterator[str]:
    yield "# Kill matrix\n"
    yield "Which faulty backend is failed by which requirement, written by"
    yield "`contracts/tools/generate.py --matrix` from runs of them all. A mutant that only one"
    yield "requirement kills hangs on that one: it is marked with an asterisk, and weakening the"
    yield "requirement would let the fault through.\n"
    times = {m.name: sum(m.name in names for names in killed.values()) for m in mutants()}
    lone = sum(count == 1 for count in times.values())
    yield f"{len(times)} mutants, {lone} of them killed by one requirement only.\n"
    for role in StoreRole:
        yield f"## {TITLES[role]}\n"
        yield "| requirement | kills |\n|---|---|"
        for each in catalogue():
            if each.role is role and each.level is not Level.UNTESTED:
                names = [f"{n}{'*' if times[n] == 1 else ''}" for n in sorted(killed[each.id])]
                yield f"| {each.id} | {', '.join(names) or 'nothing'} |"
        yield ""
        yield "| mutant | what it does wrong | must be killed by |\n|---|---|---|"
        for mutant in mutants():
            if mutant.role is role:
                yield f"| {mutant.name} | {_cell(mutant.what)} | {mutant.killed_by} |"
        yield ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
