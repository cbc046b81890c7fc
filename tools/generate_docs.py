"""Write ``docs/reference.md`` from the code: keys, permissions, fields, hooks, errors.

``python tools/generate_docs.py`` rewrites the page; with ``--check`` it only says whether the page
is what it would write (exit status 1 if not).
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import nexus_core
from nexus_core import PERMISSIONS, Action, NexusError, Role, StoreError
from nexus_core._config.model import File
from nexus_core._spi import hookspecs
from nexus_core.spi import COLLECTIONS, IndexDefinition

TARGET = Path(__file__).resolve().parent.parent / "docs" / "reference.md"
INTRO = """\
# Reference

Written from the code by `tools/generate_docs.py`; a test holds it to the code.
"""


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    text = "\n".join([INTRO, *configuration(), *permissions(), *fields(), *hooks(), *errors()])
    if arguments == ["--check"]:
        return 0 if TARGET.read_text(encoding="utf-8") == text else 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


def configuration() -> Iterator[str]:
    """Every key of ``nexus.toml``."""
    yield "## Configuration keys\n"
    yield "Backends, embedders and atomizers have settings of their own beside these; `nexus config"
    yield "schema` shows those of what is installed. Any key can be overridden by an environment"
    yield "variable `NEXUS__PATH__TO__KEY`.\n"
    yield "| key | required | what it is |\n|---|---|---|"
    for path, required, text in keys_of(File, ""):
        yield f"| `{path}` | {'yes' if required else ''} | {text} |"
    yield ""


def keys_of(model: type[BaseModel], path: str) -> Iterator[tuple[str, bool, str]]:
    """Path, whether it is required, and description of every key below a model."""
    for name, field in model.model_fields.items():
        below = table_of(field.annotation)
        marker = ".NAME" if name in ("stores", "embedders", "atomizers", "exporters") else ""
        marker = "[]" if name in ("routes", "indexes") else marker
        full = f"{path}{name}{marker}"
        yield full, field.is_required(), " ".join((field.description or "").split())
        if below is not None:
            yield from keys_of(below, full + ".")


def table_of(annotation: Any) -> type[BaseModel] | None:
    """The table that an annotation holds, if it holds one."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation if annotation.__module__ == File.__module__ else None
    for part in getattr(annotation, "__args__", ()):
        found = table_of(part)
        if found is not None:
            return found
    return None


def permissions() -> Iterator[str]:
    """The table of roles and actions."""
    yield "## Permissions\n"
    yield "What is not allowed here is refused, and the refusal is on record.\n"
    yield "| action | " + " | ".join(role.value for role in Role) + " |"
    yield "|---|" + "---|" * len(Role)
    for action in Action:
        cells = ["yes" if action in PERMISSIONS[role] else "" for role in Role]
        yield f"| `{action.value}` | " + " | ".join(cells) + " |"
    yield ""


def fields() -> Iterator[str]:
    """Fields that a filter can name."""
    yield "## Fields that a filter can name\n"
    yield "The scope is not among them: a filter cannot reach another one.\n"
    yield "| collection | always there | may be absent |\n|---|---|---|"
    for collection in COLLECTIONS.values():
        sure = ", ".join(f"{name} ({kind})" for name, kind in collection.required.items())
        maybe = ", ".join(f"{name} ({kind})" for name, kind in collection.optional.items())
        yield f"| {collection.name} | {sure} | {maybe} |"
    schema = IndexDefinition(name="x", version=1, dimension=1, metric="dot", embedder="x@1").schema
    every = ", ".join(f"{name} ({kind})" for name, kind in schema.items())
    yield f"| every vector index | | {every}, and the index's own |\n"


def hooks() -> Iterator[str]:
    """Every hook that a plugin can implement."""
    yield "## Hooks\n"
    yield "| hook | arguments | what it does |\n|---|---|---|"
    for name, function in vars(hookspecs).items():
        if name.startswith("nexus_"):
            arguments = ", ".join(inspect.signature(function).parameters)
            text = " ".join((inspect.getdoc(function) or "").split())
            yield f"| `{name}` | {arguments} | {text} |"
    yield ""


def errors() -> Iterator[str]:
    """Every error code."""
    yield "## Error codes\n"
    yield "`NexusError.code` of every error, and the class that carries it. `StoreError` and those"
    yield "below it also say whether the same call may succeed later and what became of a write.\n"
    yield "| code | class | retryable | outcome | what it means |\n|---|---|---|---|---|"
    found = [
        value
        for name in nexus_core.__all__
        if inspect.isclass(value := getattr(nexus_core, name)) and issubclass(value, NexusError)
    ]
    for kind in sorted(found, key=lambda kind: (kind.code, kind.__name__)):
        retryable = outcome = ""
        if issubclass(kind, StoreError):
            retryable = "yes" if kind.default_retryable else "no"
            outcome = kind.default_outcome.value
        text = " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split())
        yield f"| `{kind.code}` | `{kind.__name__}` | {retryable} | {outcome} | {text} |"
    yield ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
