"""Small modules: one job each."""

from __future__ import annotations

import ast
from statistics import median

MOST = 600
MOST_OF_A_TEST = 700
USUAL = 250


def test_no_module_is_too_long(files: dict[str, str]) -> None:
    """No module is longer than 600 lines, and no module of tests than 700."""
    lengths = {path: text.count("\n") for path, text in files.items() if path.endswith(".py")}
    assert len(lengths) > 50
    most = {path: MOST_OF_A_TEST if "tests/" in path else MOST for path in lengths}
    assert {path: length for path, length in lengths.items() if length > most[path]} == {}


def test_modules_are_small(
    files: dict[str, str], sources: dict[str, dict[str, ast.Module]]
) -> None:
    """Half of the product's modules have 250 lines or fewer."""
    paths = [path for modules in sources.values() for path in modules]
    assert median(files[path].count("\n") for path in paths) <= USUAL


def test_every_module_says_what_it_is_for(sources: dict[str, dict[str, ast.Module]]) -> None:
    """Every module of the product begins with a docstring."""
    silent = [
        path for modules in sources.values() for path, tree in modules.items()
        if not ast.get_docstring(tree)
    ]  # fmt: skip
    assert silent == []
