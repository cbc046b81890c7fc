"""Who may import whom: the core knows no plugin, and plugins know the core's public face only."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import packages_distributions
from typing import Any

import pytest

# What the core stands on, by the name under which it is imported; pydantic's own core is pydantic.
CORE_NEEDS = {"attrs", "pluggy", "pydantic", "pydantic_core", "cryptography"}
# What the core can use where it happens to be there, imported where it is used.
CORE_MAY_USE = {"rich", "numpy"}
PUBLIC_FACES = {"nexus_core", "nexus_core.spi"}


def imports(tree: ast.AST, *, inside: bool = False) -> Iterator[tuple[str, str, bool]]:
    """Every import: the module, the name taken from it or nothing, and whether it is deferred.

    Deferred is what stands in a function, or is there for the type checker only.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, "", inside
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield "." * node.level + (node.module or ""), alias.name, inside
        elif isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func).rpartition(".")[2]
            first = node.args[0]
            if called in ("import_module", "__import__") and isinstance(first, ast.Constant):
                yield str(first.value), "", inside
        deferred = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        checking = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        yield from imports(node, inside=inside or deferred or checking)


def foreign(module: str) -> bool:
    """Whether a module belongs neither to the standard library nor to the project."""
    top = module.partition(".")[0]
    return bool(top) and top not in sys.stdlib_module_names and not top.startswith("nexus_")


def core_faults(tree: ast.AST) -> list[str]:
    """Imports that the core may not have."""
    faults = []
    for module, _, deferred in imports(tree):
        top = module.partition(".")[0]
        other = top.startswith("nexus_") and top != "nexus_core"
        allowed = CORE_NEEDS | (CORE_MAY_USE if deferred else set())
        if other or (foreign(module) and top not in allowed):
            faults.append(module)
    return faults


def plugin_faults(tree: ast.AST, own: str) -> list[str]:
    """Imports of other plugins, or of the core's private parts, that a plugin may not have."""
    faults = []
    for module, name, _ in imports(tree):
        top = module.partition(".")[0]
        if not top.startswith("nexus_") or top == own:
            continue
        if module not in PUBLIC_FACES or name.startswith("_"):
            faults.append(f"{module} {name}".strip())
    return faults


def suite_faults(tree: ast.AST) -> list[str]:
    """Imports of plugins, which the conformance suite is given by name and never knows itself."""
    allowed = ("nexus_core", "nexus_contracts")
    tops = {module.partition(".")[0] for module, _, _ in imports(tree)}
    return sorted(top for top in tops if top.startswith("nexus_") and top not in allowed)


def test_core_knows_no_engine_and_no_plugin(sources: dict[str, dict[str, ast.Module]]) -> None:
    """The core imports its four dependencies, and in functions two niceties, and nothing else."""
    faults = {path: found for path, tree in sources["."].items() if (found := core_faults(tree))}
    assert faults == {}


def test_plugins_know_only_the_public_face(
    sources: dict[str, dict[str, ast.Module]], package_of: Callable[[str], str]
) -> None:
    """No plugin imports another plugin, or anything of the core but its two public modules."""
    faults = {
        path: found
        for folder, modules in sources.items()
        if folder.startswith("plugins/")
        for path, tree in modules.items()
        if (found := plugin_faults(tree, package_of(folder).rpartition("/")[2]))
    }
    assert faults == {}


def test_the_suite_knows_no_plugin(sources: dict[str, dict[str, ast.Module]]) -> None:
    """The conformance suite imports the core and itself, and no plugin."""
    modules = sources["contracts"]
    assert {path: found for path, tree in modules.items() if (found := suite_faults(tree))} == {}
    assert suite_faults(ast.parse("def f():\n    import nexus_sql._atoms")) == ["nexus_sql"]


def test_imports_are_declared(
    sources: dict[str, dict[str, ast.Module]], distributions: dict[str, dict[str, Any]]
) -> None:
    """What a distribution imports from elsewhere is among its dependencies or its extras'."""
    owners = packages_distributions()
    missing = set()
    for folder, modules in sources.items():
        project = distributions[folder]["project"]
        extras = project.get("optional-dependencies", {}).values()
        wanted = [*project.get("dependencies", []), *(one for extra in extras for one in extra)]
        declared = {normal(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in wanted}
        for path, tree in modules.items():
            for module, _, deferred in imports(tree):
                top = module.partition(".")[0]
                if not foreign(module) or (folder == "." and deferred and top in CORE_MAY_USE):
                    continue
                names = {normal(name) for name in owners.get(top, [top])} | {
                    "pydantic" if top == "pydantic_core" else top
                }
                if not names & declared:
                    missing.add((path, top))
    assert missing == set()


def normal(name: str) -> str:
    """A distribution's name in its normal form."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_distribution_was_swept(
    sources: dict[str, dict[str, ast.Module]], distributions: dict[str, dict[str, Any]]
) -> None:
    """The laws above looked at modules of every distribution, the core's among them."""
    assert set(sources) == set(distributions)
    assert all(sources.values())
    assert "nexus_core/spi.py" in sources["."]


@pytest.mark.parametrize(
    "text",
    [
        "import sqlalchemy",
        "import numpy",
        "from rich.console import Console",
        "import nexus_sql",
        "from nexus_contracts import memory",
        "def f():\n    import boto3",
        "def f():\n    from nexus_filesystem._store import FilesystemStore",
        "class A:\n    import requests",
        "try:\n    import numpy\nexcept ImportError:\n    pass",
        "import importlib\ndef f():\n    importlib.import_module('nexus_embedded')",
        "async def f():\n    __import__('weaviate')",
    ],
)
def test_a_planted_import_is_found_in_the_core(text: str) -> None:
    """The sweep of the core finds an engine, a plugin or an early nicety wherever it hides."""
    assert core_faults(ast.parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "from nexus_core._model.scope import Scope",
        "import nexus_core._model.scope",
        "from nexus_core import _model",
        "import nexus_filesystem",
        "def f():\n    from nexus_sql._engines import open_database",
        "from nexus_contracts.memory import MemoryRaw",
        "from importlib import import_module\nimport_module('nexus_core._handles')",
    ],
)
def test_a_planted_import_is_found_in_a_plugin(text: str) -> None:
    """The sweep of a plugin finds another plugin and the core's private parts in any place."""
    assert plugin_faults(ast.parse(text), "nexus_embedded")


def test_lawful_imports_are_no_faults() -> None:
    """What the laws allow is not reported."""
    core = "import attrs, pydantic\nfrom pydantic_core import x\ndef f():\n    import numpy as np"
    assert core_faults(ast.parse(core)) == []
    plugin = "import numpy\nfrom nexus_core import Scope\nfrom nexus_core.spi import hookimpl"
    assert plugin_faults(ast.parse(plugin + "\nimport nexus_own._part"), "nexus_own") == []
