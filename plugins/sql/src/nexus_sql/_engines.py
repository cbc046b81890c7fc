"""Which engines there are, and which one a URL means. The only module that knows the list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from nexus_core.spi import Runtime
from nexus_sql._database import Database
from nexus_sql._sqlite import SqliteDatabase

if TYPE_CHECKING:
    from nexus_sql._config import SqlConfig

ENGINES: Final[dict[str, type[Database]]] = {"sqlite": SqliteDatabase}

_EXAMPLE: Final = "sqlite:///data/records.db"
_LATER: Final = {"postgresql": "PostgreSQL", "mariadb": "MariaDB", "mysql": "MySQL"}


def refusal(text: str) -> str | None:
    """Say why a URL cannot be used, without repeating any of it; ``None`` if it can."""
    url = _parsed(text)
    if url is None:
        return f"is not a database URL such as {_EXAMPLE}"
    if url.password is not None:
        return "holds a password: take it out, and give it by reference, as `password`"
    engine = ENGINES.get(url.get_backend_name())
    if engine is None:
        asked = _LATER.get(url.get_backend_name(), "an engine")
        return f"names {asked}, which is not served by this version: use {_EXAMPLE}"
    return engine.refusal(url, text)


def takes_password(text: str) -> bool:
    """Whether the URL's engine knows passwords at all."""
    url = _parsed(text)
    return url is not None and ENGINES[url.get_backend_name()].takes_password


def open_database(config: SqlConfig, runtime: Runtime) -> Database:
    """The database of a configuration that was accepted. Connects to nothing, creates nothing."""
    url = make_url(config.url)
    return ENGINES[url.get_backend_name()].build(url, config, runtime)


def _parsed(text: str) -> URL | None:
    try:
        return make_url(text)
    except (ArgumentError, ValueError):
        return None
