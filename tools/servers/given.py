"""A server from elsewhere, named by the environment: nothing is started or installed for it.

``NEXUS_SERVER_<NAME>`` holds what the server's module would have printed, one JSON object, or
``@FILE``, a file that holds it. What is wrong with it is told by the names of its fields: a value
may be a credential, and is never repeated.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tools.servers._kit import HOST, Info, ServerError, ServerModule

PREFIX: Final = "NEXUS_SERVER_"
KINDS: Final = {str: "a text", int: "a whole number", dict: "an object", list: "a list"}


def variable(name: str) -> str:
    """The environment variable that names a server from elsewhere."""
    return f"{PREFIX}{name.upper()}"


def is_given(name: str) -> bool:
    """Whether the environment names this server."""
    return variable(name) in os.environ


def given(name: str, module: ServerModule) -> Info:
    """What the environment says of a server; raises ``ServerError`` that tells all that is wrong.

    The server must be at 127.0.0.1, since the tests speak plain text to it with its superuser's
    credentials: forward the port of one that is elsewhere. What only a server that was started
    here has, such as its process, is left out: a test that kills a server must not find one.
    """
    info = _object(variable(name), os.environ[variable(name)])
    if wrong := [*_faults(name, module, info)]:
        raise ServerError(f"{variable(name)} cannot be used: {'; '.join(wrong)}")
    return {field: info[field] for field in module.NEEDS}


def no_strangers(names: Sequence[str]) -> None:
    """Raise ``ServerError`` for a variable that looks like one of these, and names no server."""
    known = {variable(name) for name in names}
    strangers = sorted(each for each in os.environ if each.startswith(PREFIX) and each not in known)
    if strangers:
        raise ServerError(f"{', '.join(strangers)} names no server; there are {', '.join(names)}")


def declared(module: ServerModule, info: Info) -> None:
    """Raise ``ServerError`` where a module yields other fields than those that it declares."""
    if not set(module.NEEDS) <= set(info) <= {*module.NEEDS, *module.OWN}:
        raise ServerError("the module's NEEDS and OWN are not what it yields")


def _object(where: str, said: str) -> dict[str, Any]:
    reason = None
    if said.startswith("@"):
        try:
            said = Path(said[1:]).read_text(encoding="utf-8")
        except OSError as error:
            reason = f"its file cannot be read: {error.strerror}"
        except UnicodeDecodeError:
            reason = "its file is not UTF-8"
    if reason is None:
        try:
            found = json.loads(said)
        except json.JSONDecodeError as error:
            reason = f"neither JSON nor @FILE (line {error.lineno}, column {error.colno})"
        else:
            if isinstance(found, dict):
                return found
            reason = "it is no JSON object"
    raise ServerError(f"{where} cannot be used: {reason}")


def _faults(name: str, module: ServerModule, info: Mapping[str, Any]) -> Iterator[str]:
    fields: dict[str, type] = {"name": str, **module.NEEDS, **module.OWN}
    for field in module.NEEDS:
        if field not in info:
            yield f"the field {field} is missing"
    for field, value in info.items():
        kind = fields.get(field)
        if kind is None:
            # A field's name is shown as it is, so it must be one.
            shown = field if field.isidentifier() and len(field) < 40 else "with no field's name"
            yield f"the field {shown} is unknown; there are {', '.join(fields)}"
        elif type(value) is not kind:
            yield f"the field {field} is not {KINDS[kind]}"
        elif field.endswith("port") and value not in range(1, 1 << 16):
            yield f"the field {field} is no port"
    if isinstance(info.get("host"), str) and info["host"] != HOST:
        yield f"the field host is not {HOST}: forward the port of a server that is elsewhere"
    if info.get("name", name) != name:
        yield "the field name is another server's"
