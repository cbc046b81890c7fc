"""What is public is said once, in sorted order; all else is private."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

import pytest

import nexus_core


def order(name: str) -> tuple[int, str]:
    """Constants first, then classes, then functions, each by name."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def exported(tree: ast.Module) -> list[str] | None:
    """The module's ``__all__``, or nothing where it has none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return None


def bound(tree: ast.Module, package: str) -> Iterator[str]:
    """Public names that a module makes, or takes from its own package."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [ast.unparse(target) for target in node.targets]
        elif isinstance(node, ast.AnnAssign):
            names = [ast.unparse(node.target)]
        elif isinstance(node, ast.ImportFrom) and (node.level or is_in(node.module, package)):
            names = [alias.asname or alias.name for alias in node.names]
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            names = list(bound(ast.Module(node.body, []), package))
        else:
            continue
        yield from (name for name in names if not name.startswith("_"))


def is_in(module: str | None, package: str) -> bool:
    return module == package or (module or "").startswith(package + ".")


@pytest.fixture(scope="session")
def faces(
    sources: dict[str, dict[str, ast.Module]], package_of: Callable[[str], str]
) -> dict[str, ast.Module]:
    """Modules that are public: packages without an underscore in their path, and the SPI's."""
    found = {}
    for folder, modules in sources.items():
        base = PurePosixPath(package_of(folder)).parent
        for path, tree in modules.items():
            parts = PurePosixPath(path).relative_to(base).with_suffix("").parts
            if any(part.startswith("_") and part != "__init__" for part in parts):
                continue
            found[".".join(part for part in parts if part != "__init__")] = tree
    return found


def test_every_package_says_what_is_public(faces: dict[str, ast.Module]) -> None:
    """Every public module has an ``__all__``, sorted and without repetition."""
    for name, tree in faces.items():
        names = exported(tree)
        assert names is not None, f"{name} has no __all__"
        own = [one for one in names if one != "__version__"]
        assert own == sorted(set(own), key=order), name


def test_public_names_are_those_exported(faces: dict[str, ast.Module]) -> None:
    """A public module exports exactly the names that it makes or takes from its own package."""
    for name, tree in faces.items():
        package = name.partition(".")[0]
        wanted = {one for one in exported(tree) or [] if one != "__version__"}
        assert wanted == set(bound(tree, package)), name


def test_exported_names_exist(faces: dict[str, ast.Module]) -> None:
    """Every exported name can be taken from the module that exports it."""
    for name in faces:
        module = importlib.import_module(name)
        for one in module.__all__:
            assert getattr(module, one, None) is not None, f"{name}.{one}"


def test_public_modules_are_few(
    faces: dict[str, ast.Module], sources: dict[str, dict[str, ast.Module]]
) -> None:
    """Public are packages, the plugin interface, and nothing else: modules begin with ``_``."""
    packages = {
        ".".join(PurePosixPath(path).parent.parts)
        for modules in sources.values()
        for path in modules
        if path.endswith("/__init__.py")
    }
    for name in faces:
        package = any(one == name or one.endswith(f".{name}") for one in packages)
        assert package or name == "nexus_core.spi", f"{name} should be private"


def test_lazy_names_agree_with_typed_ones(sources: dict[str, dict[str, ast.Module]]) -> None:
    """The core's public names are the same for the type checker, at run time, and in ``dir``."""
    tree = sources["."]["nexus_core/__init__.py"]
    typed = {
        (alias.name, node.module)
        for branch in tree.body
        if isinstance(branch, ast.If)
        for node in branch.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    names = {name for name, _ in typed}
    assert names == set(nexus_core.__all__) - {"__version__"}
    for name, module in typed:
        assert getattr(nexus_core, name) is getattr(importlib.import_module(str(module)), name)
    assert set(nexus_core.__all__) <= set(dir(nexus_core))


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that is not exported raises what Python raises, naming it."""
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = nexus_core.no_such_name


def test_planted_faults_are_found() -> None:
    """A name that is missing from ``__all__``, or left over in it, shows as a difference."""
    tree = ast.parse(
        "from own._a import B, c\nfrom sys import path\nD = 1\n_e = 2\n__all__ = ['B']"
    )
    assert set(bound(tree, "own")) == {"B", "c", "D"}
    assert exported(tree) == ["B"]
    assert exported(ast.parse("x = 1")) is None
    assert sorted(["b", "Aa", "CD", "Ab"], key=order) == ["CD", "Aa", "Ab", "b"]
