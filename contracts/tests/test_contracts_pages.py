"""The generated pages are what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from nexus_contracts._catalogue import catalogue
from nexus_contracts._requirements import Level
from nexus_contracts.zoo import mutants

CONTRACTS: Final = Path(__file__).resolve().parents[1]


def rows(text: str) -> dict[str, list[str]]:
    """The rows of every table of a page: the first cell, and the others."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
        if line.startswith("| ") and len(cells) > 1:
            found[cells[0]] = cells[1:]
    return found


def matrix() -> dict[str, list[str]]:
    return rows((CONTRACTS / "docs" / "kill-matrix.md").read_text(encoding="utf-8"))


def killed(cell: str) -> set[str]:
    return set() if cell == "nothing" else {name.rstrip("*") for name in cell.split(", ")}


def test_contracts_page_of_requirements_is_current() -> None:
    """The page of requirements is what the generator would write now."""
    script = CONTRACTS / "tools" / "generate.py"
    ended = subprocess.run([sys.executable, str(script), "--check"], check=False)
    assert ended.returncode == 0, "run contracts/tools/generate.py"


def test_contracts_page_of_requirements_has_them_all() -> None:
    """Every requirement is on the page, with its sentence."""
    found = rows((CONTRACTS / "docs" / "requirements.md").read_text(encoding="utf-8"))
    for each in catalogue():
        assert found[each.id][1] == each.sentence.replace("|", "\\|")


def test_contracts_kill_matrix_is_about_these() -> None:
    """The kill matrix has every tested requirement and every mutant, with the one to kill it."""
    found = matrix()
    tested = {each.id for each in catalogue() if each.level is not Level.UNTESTED}
    assert {name for name in found if re.fullmatch("[A-Z]+-[0-9]{3}", name)} == tested
    for mutant in mutants():
        assert found[mutant.name][-1] == mutant.killed_by
        assert mutant.name in killed(found[mutant.killed_by][0])
    names = set().union(*(killed(found[name][0]) for name in tested))
    assert names == {mutant.name for mutant in mutants()}


def test_contracts_kill_matrix_marks_what_hangs_on_one() -> None:
    """A mutant has an asterisk exactly where a single requirement kills it."""
    cells = [row[0] for name, row in matrix().items() if re.fullmatch("[A-Z]+-[0-9]{3}", name)]
    every = [name for cell in cells if cell != "nothing" for name in cell.split(", ")]
    for name in every:
        alone = sum(other.rstrip("*") == name.rstrip("*") for other in every) == 1
        assert name.endswith("*") == alone, name
