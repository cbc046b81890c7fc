"""Which engines there are, and which one a URL means. The only module that knows the list."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from nexus_core.spi import Runtime
from nexus_sql._database import Database

if TYPE_CHECKING:
    from nexus_sql._config import SqlConfig

# Module and class by the name that a URL begins with. Neither imports a driver.
ENGINES: Final[dict[str, tuple[str, str]]] = {
    "sqlite": ("_sqlite", "SqliteDatabase"),
    "postgresql": ("_postgresql", "PostgresDatabase"),
    "mariadb": ("_mariadb", "MariadbDatabase"),
}

_EXAMPLE: Final = "sqlite:///data/records.db"
_LATER: Final = {"mysql": "MySQL"}


def engine_of(url: URL) -> type[Database] | None:
    """The class that serves a URL's engine."""
    found = ENGINES.get(url.get_backend_name())
    if found is None:
        return None
    module, name = found
    engine: type[Database] = getattr(import_module(f"nexus_sql.{module}"), name)
    return engine


def refusal(text: str) -> str | None:
    """Say why a URL cannot be used, without repeating any of it; ``None`` if it can."""
    url = _parsed(text)
    if url is None:
        return f"is not a database URL such as {_EXAMPLE}"
    if url.password is not None:
        return "holds a password: take it out, and give it by reference, as `password`"
    engine = engine_of(url)
    if engine is None:
        asked = _LATER.get(url.get_backend_name(), "an engine")
        return f"names {asked}, which is not served by this version: use {_EXAMPLE}"
    return engine.refusal(url, text)


def use_of(text: str, name: str, before: Mapping[str, Any], *, given: bool) -> str | None:
    """Say why a setting cannot be as it is (given, or left out) with this URL's engine.

    ``before`` are the settings that stand before it in the configuration's model.
    """
    url = _parsed(text)
    engine = None if url is None else engine_of(url)
    if engine is None:
        return None
    if given and name not in engine.settings:
        return engine.no_use
    if not given and name in engine.needed(before):
        return "is needed for this engine, and nothing stands in for it"
    return None


def open_database(config: SqlConfig, runtime: Runtime) -> Database:
    """The database of a configuration that was accepted. Connects to nothing, creates nothing."""
    url = make_url(config.url)
    engine = engine_of(url)
    assert engine is not None
    return engine.build(url, config, runtime)


def _parsed(text: str) -> URL | None:
    try:
        return make_url(text)
    except (ArgumentError, ValueError):
        return None
