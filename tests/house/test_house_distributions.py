"""All distributions of the checkout are of one kind, and say the same where they must."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Projects = dict[str, dict[str, Any]]
BOUND = re.compile(r"([A-Za-z0-9][\w.-]*)(?:\[[\w,-]+\])?>=([\w.]+)(?:,<([\w.]+))?(?:;.*)?")


def needs(project: dict[str, Any], *extras: str) -> list[str]:
    """Requirements of a distribution and of some of its extras."""
    optional = project["project"].get("optional-dependencies", {})
    chosen = [line for extra in extras for line in optional.get(extra, [])]
    return [*project["project"].get("dependencies", []), *chosen]


def test_they_say_the_same(distributions: Projects) -> None:
    """Version, licence, oldest Python and author are the same in every distribution."""
    for key in ("version", "license", "requires-python", "authors"):
        assert len({repr(project["project"][key]) for project in distributions.values()}) == 1, key
    assert distributions["."]["project"]["license"] == "Apache-2.0"
    assert distributions["."]["project"]["requires-python"] == ">=3.11"


def test_they_are_built_alike(distributions: Projects) -> None:
    """Every distribution is built by the same backend, from the same lower bound."""
    systems = {repr(project["build-system"]) for project in distributions.values()}
    assert len(systems) == 1


def test_the_module_says_the_version_of_the_metadata(
    distributions: Projects,
    sources: dict[str, dict[str, ast.Module]],
    package_of: Callable[[str], str],
) -> None:
    """Where a package states ``__version__``, it is the one of its pyproject."""
    stated = 0
    for folder, project in distributions.items():
        body: list[Any] = sources[folder][f"{package_of(folder)}/__init__.py"].body
        for node in body:
            target = (
                node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            )
            if isinstance(target, ast.Name) and target.id == "__version__":
                assert ast.literal_eval(node.value) == project["project"]["version"]
                stated += 1
    assert stated >= 1


def test_plugins_need_the_core_that_they_were_made_for(distributions: Projects) -> None:
    """Every distribution but the core needs the core, of this minor version and no later."""
    major, minor, _ = distributions["."]["project"]["version"].split(".")
    wanted = f"nexus-core>={major}.{minor},<{major}.{int(minor) + 1}"
    for folder, project in distributions.items():
        own = [line for line in needs(project) if line.startswith("nexus-")]
        if folder == ".":
            assert own == []
        else:
            assert wanted in own, folder
            assert all(line in (wanted, wanted.replace("-core", "-contracts")) for line in own)


def test_names_follow_the_folder(distributions: Projects, package_of: Callable[[str], str]) -> None:
    """``plugins/x`` holds the distribution ``nexus-x`` with the package ``nexus_x``."""
    for folder, project in distributions.items():
        name = folder.rpartition("/")[2].replace(".", "core")
        assert project["project"]["name"] == f"nexus-{name.replace('_', '-')}"
        assert package_of(folder).rpartition("/")[2] == f"nexus_{name.replace('-', '_')}"


def test_plugins_register_their_own_package(
    distributions: Projects, package_of: Callable[[str], str]
) -> None:
    """A plugin's entry points name its own package, and nothing else registers one."""
    families: list[str] = []
    for folder, project in distributions.items():
        points = project["project"].get("entry-points", {}).get("nexus.plugins", {})
        assert bool(points) == folder.startswith("plugins/"), folder
        for family, module in points.items():
            assert module.split(".")[0] == package_of(folder).rpartition("/")[2]
            families.append(family)
    assert sorted(families) == sorted(set(families))


def test_they_are_typed_and_explained(root: Path, distributions: Projects, package_of: Any) -> None:
    """Every distribution has a README, says that it is typed, and ships the marker."""
    for folder, project in distributions.items():
        assert project["project"]["readme"] == "README.md"
        assert (root / folder / "README.md").stat().st_size > 200, folder
        assert (root / package_of(folder) / "py.typed").is_file(), folder
        assert "Typing :: Typed" in project["project"].get("classifiers", []), folder


def test_the_licence_is_its_text(root: Path) -> None:
    """The licence's text is the one that the metadata names."""
    text = (root / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_every_requirement_has_one_lower_bound(distributions: Projects) -> None:
    """A requirement has a lower bound, the same in every distribution that has it."""
    bounds: dict[str, set[str]] = {}
    for folder, project in distributions.items():
        for line in needs(project, *project["project"].get("optional-dependencies", {})):
            match = BOUND.fullmatch(line.replace(" ", ""))
            assert match is not None, f"{folder}: {line}"
            bounds.setdefault(match[1].lower(), set()).add(match[2])
    assert {name: versions for name, versions in bounds.items() if len(versions) > 1} == {}


def test_the_oldest_are_those_declared(root: Path, distributions: Projects) -> None:
    """requirements/oldest.txt pins the lower bound of everything that a checkout installs."""
    expected = set()
    for project in distributions.values():
        for line in needs(project, "cli"):
            match = BOUND.fullmatch(line.replace(" ", ""))
            if match is not None and not match[1].startswith("nexus-"):
                expected.add(f"{match[1].lower()}=={match[2]}")
    text = (root / "requirements" / "oldest.txt").read_text(encoding="utf-8")
    pinned = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert pinned == sorted(expected)


def test_every_lint_exception_has_its_reason(root: Path) -> None:
    """Each rule that the linter is told to ignore stands on a line with the reason."""
    lines = (root / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    start, end = lines.index("[tool.ruff.lint]"), lines.index("[tool.ruff.format]")
    rules = [line for line in lines[start:end] if re.match(r'\s+"[A-Z]+\d+"', line)]
    shared = [line for line in lines[start:end] if re.search(r'= \["[A-Z]+\d+"', line)]
    assert len(rules) > 10
    for line in rules + shared:
        assert re.search(r"#\s+\S.{4,}", line), line
