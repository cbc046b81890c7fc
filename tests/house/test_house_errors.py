"""One error tree, drawn where it is defined."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import re
from collections.abc import Callable
from pathlib import PurePosixPath

import pytest

from nexus_core._model import errors
from nexus_core._model.errors import NexusError

LINE = re.compile(r"^(?P<tree>[│├└─ ]*)(?P<name>[A-Z]\w+)(?: \((?P<builtin>\w+)\))?(?:\s{2,}.*)?$")


@pytest.fixture(scope="session")
def classes(
    sources: dict[str, dict[str, ast.Module]], package_of: Callable[[str], str]
) -> dict[str, type[BaseException]]:
    """Every exception class with a public name that the product defines."""
    found: dict[str, type[BaseException]] = {}
    for folder, modules in sources.items():
        base = PurePosixPath(package_of(folder)).parent
        for path, tree in modules.items():
            names = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
            if not any(name.endswith(("Error", "Exception", "Warning")) for name in names):
                continue
            parts = PurePosixPath(path).relative_to(base).with_suffix("").parts
            module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
            for name in names:
                value = getattr(module, name)
                if not name.startswith("_") and issubclass(value, BaseException):
                    found[name] = value
    return found


def drawing() -> dict[str, tuple[str | None, str | None]]:
    """The drawing in the module's docstring: of each class its parent, and its builtin."""
    drawn: dict[str, tuple[str | None, str | None]] = {}
    path: list[str] = []
    for line in inspect.cleandoc(errors.__doc__ or "").splitlines():
        match = LINE.match(line[4:]) if line.startswith("    ") else None
        if match is None:
            continue
        depth = len(match["tree"]) // 4
        del path[depth:]
        drawn[match["name"]] = (path[-1] if path else None, match["builtin"])
        path.append(match["name"])
    return drawn


def test_every_error_is_in_the_drawing(classes: dict[str, type[BaseException]]) -> None:
    """The drawing names exactly the classes of the tree, wherever they are defined."""
    tree = {name for name, kind in classes.items() if issubclass(kind, NexusError)}
    assert "NexusError" in tree
    assert tree == set(drawing())


def test_the_drawing_shows_the_real_parents(classes: dict[str, type[BaseException]]) -> None:
    """Each class is drawn under its base, with the builtin that it also is."""
    for name, (parent, builtin) in drawing().items():
        bases = classes[name].__bases__
        own = [base.__name__ for base in bases if base.__name__ in classes]
        others = [base.__name__ for base in bases if base.__name__ not in classes]
        assert own == ([] if parent is None else [parent]), name
        assert others == (["Exception"] if parent is None else [builtin] if builtin else []), name
        assert builtin is None or issubclass(getattr(builtins, builtin), Exception)


def test_no_public_error_is_outside_the_tree(classes: dict[str, type[BaseException]]) -> None:
    """Every exception class of the core and the plugins with a public name is in the one tree."""
    # The command line ends in an exit code, the doctor and the suite in a verdict: no callers.
    ends = ("nexus_core._cli", "nexus_core._doctor", "nexus_contracts")
    library = [kind for kind in classes.values() if not kind.__module__.startswith(ends)]
    assert {kind.__name__ for kind in library if not issubclass(kind, NexusError)} == set()


def test_codes_are_unique_in_the_whole_product(classes: dict[str, type[BaseException]]) -> None:
    """No two error classes of the core, the suite and the plugins share a code."""
    codes: dict[str, list[str]] = {}
    for name, kind in classes.items():
        if issubclass(kind, NexusError):
            codes.setdefault(kind.code, []).append(name)
    assert {code: names for code, names in codes.items() if len(names) > 1} == {}
    assert all(re.fullmatch(r"[a-z]+(\.[a-z_]+)+", code) for code in codes)


def test_every_error_can_be_caught_by_name(classes: dict[str, type[BaseException]]) -> None:
    """An application or a plugin author can import every error of the core's tree."""
    public = importlib.import_module("nexus_core").__all__
    interface = importlib.import_module("nexus_core.spi").__all__
    tree = {name for name, kind in classes.items() if issubclass(kind, NexusError)}
    core = {name for name in tree if classes[name].__module__.startswith("nexus_core")}
    assert core - set(public) - set(interface) == set()
