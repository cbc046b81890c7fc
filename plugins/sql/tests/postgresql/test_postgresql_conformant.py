"""The suite finds both backends conformant on a real server, in both modes of logins."""

# ruff: noqa: S608  # names of tables that the store made

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import nexus_sql
import pytest
from nexus_contracts import TENANTS, BackendHarness, Namespace, Report
from nexus_contracts.faults import TcpFaults
from nexus_sql._postgresql_logins import login_of, scopes_of

from nexus_core.spi import SecretRef

# The whole suite takes minutes on a busy machine, and no server but the wheel's.
pytestmark = pytest.mark.servers

MODES: dict[str, dict[str, Any]] = {
    "shared": {},
    "per_scope": {
        "logins": "per_scope",
        "login_secret": SecretRef(env="NEXUS_TEST_PG_LOGINS"),
        "tenants": TENANTS,
    },
}


@attrs.frozen
class Rows:
    """The back door: every row of every table, as the server's superuser sees and changes it."""

    store: Any

    def snapshot(self) -> dict[str, bytes]:
        """Rows by table and place."""
        found: dict[str, bytes] = self.store.rows()
        return found

    def write(self, name: str, data: bytes) -> None:
        """Put bytes in the place of a row's largest one."""
        table, _, place = name.partition("/")
        column = {"log_entries": "sealed", "log_heads": "edge"}.get(table, "nx_body")
        self.store.sql(f"UPDATE {{}}.{table} SET {column} = %s WHERE ctid = %s::tid", data, place)

    def remove(self, name: str) -> None:
        """Delete a row."""
        table, _, place = name.partition("/")
        self.store.sql(f"DELETE FROM {{}}.{table} WHERE ctid = %s::tid", place)


@pytest.fixture
def stores(cluster: Any) -> Iterator[Callable[[Namespace], Any]]:
    """A store for each namespace that the suite makes."""
    made: dict[Path, Any] = {}
    [[database]] = cluster.sql("SELECT current_database()")

    def leave(path: Path) -> None:
        store = made.pop(path)
        store.drop()
        # Roles belong to the server, and each that is left behind slows down the making of more.
        logins = [login_of(database, store.schema, scope) for scope in scopes_of(TENANTS)]
        there = cluster.sql("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", logins)
        if there:
            cluster.sql(f"DROP ROLE {', '.join(login for (login,) in there)}")

    def store(namespace: Namespace) -> Any:
        if namespace.path not in made:
            for path in [path for path in made if not path.exists()]:
                leave(path)
            made[namespace.path] = cluster.store(schema=f"n_{namespace.token}")
        return made[namespace.path]

    yield store
    for path in [*made]:
        leave(path)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("role", ["atom_store", "audit_sink"])
def test_sql_on_postgresql_is_conformant(
    role: str,
    mode: str,
    cluster: Any,
    stores: Callable[[Namespace], Any],
    conformant: Callable[[BackendHarness, str], Report],
) -> None:
    """Everything that applies was run against a real PostgreSQL, and holds."""
    info = cluster.info

    def over(namespace: Namespace, port: int) -> Any:
        store = stores(namespace)
        url = store.config().url.replace(f":{info['port']}/", f":{port}/")
        short = {"answer_timeout_seconds": 2, "connect_timeout_seconds": 2}
        return store.config(url=url, busy_timeout_seconds=0.5, **short, **MODES[mode])

    harness = BackendHarness(
        spec=getattr(nexus_sql, f"nexus_{role}")(),
        settings=lambda namespace: stores(namespace).config(**MODES[mode]),
        reality="real",
        faults=lambda: TcpFaults([(info["host"], info["port"])], over),
        back_door=lambda namespace: Rows(stores(namespace)),
        remove=lambda namespace: stores(namespace).drop(),
        broken_settings=lambda namespace: {
            "a schema that is not there": stores(namespace).config(schema_name="nowhere"),
            "a database that is not there": stores(namespace).config(
                url=stores(namespace).cluster.url("nobody").replace("_tests", "_none")
            ),
        },
    )
    conformant(harness, "postgresql" if mode == "shared" else "postgresql-per-scope")
