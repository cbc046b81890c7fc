"""The suite finds both backends conformant on a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import nexus_sql
import pytest
from nexus_contracts import BackendHarness, Namespace, Report
from nexus_contracts.faults import TcpFaults

pytestmark = pytest.mark.servers


@attrs.frozen
class Rows:
    """The back door: every row of every table, read as the server's superuser."""

    database: Any

    def snapshot(self) -> dict[str, bytes]:
        """Rows by table and position."""
        found: dict[str, bytes] = self.database.rows()
        return found

    def write(self, name: str, data: bytes) -> None:
        """Change the body of a table's first record."""
        self.database.sql(f"UPDATE {name} SET nx_body = %s LIMIT 1", data)  # noqa: S608

    def remove(self, name: str) -> None:
        """Delete a table's first row."""
        self.database.sql(f"DELETE FROM {name} LIMIT 1")  # noqa: S608


@pytest.fixture
def databases(mariadb: Any) -> Iterator[Callable[[Namespace], Any]]:
    """A database for each namespace that the suite makes."""
    made: dict[str, Any] = {}

    def database(namespace: Namespace) -> Any:
        if namespace.token not in made:
            made[namespace.token] = mariadb.database()
        return made[namespace.token]

    yield database
    for each in made.values():
        each.drop()


@pytest.mark.parametrize("role", ["atom_store", "audit_sink"])
def test_sql_on_mariadb_is_conformant(
    role: str,
    mariadb: Any,
    databases: Callable[[Namespace], Any],
    conformant: Callable[[BackendHarness, str], Report],
) -> None:
    """Everything that applies was run against a real MariaDB, and holds."""
    report = conformant(
        BackendHarness(
            spec=getattr(nexus_sql, f"nexus_{role}")(),
            settings=lambda namespace: databases(namespace).config(),
            back_door=lambda namespace: Rows(databases(namespace)),
            remove=lambda namespace: databases(namespace).vanish(),
            faults=lambda: TcpFaults(
                [(mariadb.info["host"], mariadb.info["port"])],
                lambda namespace, port: databases(namespace).config(
                    port=port,
                    busy_timeout_seconds=2.0,
                    pool_timeout_seconds=2.0,
                    connect_timeout_seconds=2,
                    answer_timeout_seconds=2,
                ),
            ),
            broken_settings=lambda namespace: {
                "a database that was not provisioned": databases(
                    Namespace(namespace.path)
                ).config(),
                "a server that is not there": databases(namespace).config(port=1),
                "a password that is not the user's": databases(namespace).config(
                    password={"env": "PATH"}
                ),
            },
        ),
        "mariadb",
    )
    assert report.backend.reality == "real"
    assert report.backend.back_door
