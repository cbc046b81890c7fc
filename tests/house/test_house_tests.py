"""What every test must be: one law, said in a sentence, and never skipped."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

SKIPS = {
    "skip",
    "skipif",
    "xfail",
    "importorskip",
    "skipTest",
    "skipUnless",
    "expectedFailure",
    "exit",
}
SENTENCE_INSIDE = re.compile(r"[.!?][`'\")\]]*\s+[A-Z`]")


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
            "test"
        ):
            yield node


def is_sentence(docstring: str | None) -> bool:
    """Whether a text is one sentence: several words, one full stop, and that last."""
    text = " ".join((docstring or "").split())
    return (
        bool(text)
        and text.endswith(".")
        and not text.endswith("..")
        and len(text.split()) > 2
        and SENTENCE_INSIDE.search(text) is None
    )


def skips(tree: ast.AST) -> list[str]:
    """Ways in which a module leaves out a test."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in SKIPS:
            base = ast.unparse(node.value).partition(".")[0]
            if base in ("pytest", "unittest", "self"):
                found.append(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom) and node.module in ("pytest", "unittest"):
            found += [alias.name for alias in node.names if alias.name in SKIPS]
    return found


def test_every_test_says_its_law_in_a_sentence(tests: dict[str, ast.Module]) -> None:
    """The docstring of every test is one sentence: the law that it checks."""
    counted = 0
    silent = []
    for path, tree in tests.items():
        for function in functions(tree):
            counted += 1
            if not is_sentence(ast.get_docstring(function)):
                silent.append(f"{path}::{function.name}")
    assert counted > 300
    assert silent == []


def test_no_test_is_skipped(tests: dict[str, ast.Module]) -> None:
    """No test skips itself, is expected to fail, or leaves when something is not installed."""
    assert {path: found for path, tree in tests.items() if (found := skips(tree))} == {}


def test_names_of_test_modules_are_unique(tests: dict[str, ast.Module]) -> None:
    """No two test modules have the same name, so that a report names one file."""
    names = [path.rpartition("/")[2] for path in tests]
    named = [name for name in names if name.startswith("test_")]
    assert sorted(named) == sorted(set(named))


def test_every_module_of_tests_tests_something(tests: dict[str, ast.Module]) -> None:
    """A module whose name says that it holds tests holds one."""
    for path, tree in tests.items():
        if path.rpartition("/")[2].startswith("test_"):
            machines = [node for node in tree.body if ast.unparse(node).endswith(".TestCase")]
            assert any(functions(tree)) or machines, path


@pytest.mark.parametrize(
    "text",
    [
        "import pytest\npytest.skip('later')",
        "import pytest\n@pytest.mark.skipif(True)\ndef test_a(): ...",
        "import pytest\nx = pytest.importorskip('numpy')",
        "import pytest\n@pytest.mark.xfail\ndef test_a(): ...",
        "import pytest\nx = pytest.param(1, marks=pytest.mark.xfail)",
        "from pytest import skip",
        "import unittest\n@unittest.skipUnless(False, '')\ndef test_a(): ...",
    ],
)
def test_a_planted_skip_is_found(text: str) -> None:
    """The sweep finds a skip however it is written."""
    assert skips(ast.parse(text))


NO_SENTENCES = [None, "", "Works", "It works", "Puts it. Gets it."]
NO_SENTENCES += ["Really works...", "Is it safe? Yes it is.", "Two laws.\n\nAnd more"]
SENTENCES = ["A put is atomic.", "`close` may be called twice.", "A version such as 1.0 is\n  one."]
SENTENCES += [
    "What is gone, e.g. by erasure, stays gone.",
    "Is an ``a.b`` a name, then it is kept.",
]


@pytest.mark.parametrize("text", NO_SENTENCES)
def test_a_planted_text_is_no_sentence(text: str | None) -> None:
    """Nothing, a heading and two sentences are not taken for one."""
    assert not is_sentence(text)


@pytest.mark.parametrize("text", SENTENCES)
def test_a_sentence_is_a_sentence(text: str) -> None:
    """Line breaks, names and full stops inside words do not end a sentence."""
    assert is_sentence(text)
