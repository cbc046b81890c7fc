"""What stands in the way is named, nothing is made by looking, and provisioning makes it all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nexus_sql
import pytest
from nexus_sql._mariadb_place import _privileges, _server, _settings
from nexus_sql._mariadb_session import COLLATION, not_as_told

from nexus_core.spi import (
    AtomBackend,
    ConfigurationError,
    Insert,
    PermissionDeniedError,
    Problem,
    Record,
    Runtime,
    Scope,
    UnauthenticatedError,
    UnavailableError,
)

pytestmark = pytest.mark.servers
SCOPE = Scope("t1", "dev")
EDGE = Record(
    "edges", "a", 1, {"parent": "p", "child": "c", "relation": "r", "created_at": 0}, b"", b""
)


def open_atoms(config: nexus_sql.SqlConfig, runtime: Runtime) -> AtomBackend:
    backend = nexus_sql.nexus_atom_store().factory(config, runtime)
    assert isinstance(backend, AtomBackend)
    return backend


def problems(config: nexus_sql.SqlConfig, runtime: Runtime) -> list[Problem]:
    backend = open_atoms(config, runtime)
    try:
        return list(backend.check())
    finally:
        backend.close()


def codes(config: nexus_sql.SqlConfig, runtime: Runtime) -> list[str]:
    return [problem.code for problem in problems(config, runtime)]


def provision(config: nexus_sql.SqlConfig, runtime: Runtime) -> list[str]:
    make = nexus_sql.nexus_atom_store().provision
    assert make is not None
    return list(make(config, runtime))


def test_looking_makes_nothing(empty: Any, runtime: Runtime) -> None:
    """The check of an empty database says that it holds no schema, and leaves it empty."""
    assert codes(empty.config(), runtime) == ["sql.schema_missing"]
    assert empty.tables() == []


def test_provisioning_makes_all_once(empty: Any, runtime: Runtime) -> None:
    """After provisioning nothing is wrong, and a second time there is nothing to do."""
    assert provision(empty.config(), runtime) == [
        "schema version 1: tables of the atom store",
        "schema version 2: tables of the audit sink",
    ]
    assert problems(empty.config(), runtime) == []
    before = empty.rows()
    assert provision(empty.config(), runtime) == []
    assert empty.rows() == before


def test_provisioning_that_was_cut_short_goes_on(provisioned: Any, runtime: Runtime) -> None:
    """Statements that define cannot be undone here, so what is there already is kept."""
    provisioned.sql("DROP TABLE nexus_turns")
    provisioned.sql("DROP TABLE log_open_intents")
    provisioned.sql("DELETE FROM nexus_schema WHERE version = 2")
    assert codes(provisioned.config(), runtime) == ["sql.schema_older"]
    assert provision(provisioned.config(), runtime) == [
        "schema version 2: tables of the audit sink"
    ]
    assert problems(provisioned.config(), runtime) == []


def test_an_owner_makes_what_the_stores_user_only_uses(
    mariadb: Any, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an owner, the store's own user needs no right to define anything."""
    place = mariadb.database("SELECT, INSERT, UPDATE, DELETE")
    try:
        with pytest.raises(PermissionDeniedError):
            provision(place.config(), runtime)
        info = mariadb.info
        url = f"mariadb+pymysql://root:{info['password']}@127.0.0.1:{info['port']}/{place.name}"
        monkeypatch.setenv("NEXUS_OWNER", url)
        config = place.config(owner={"env": "NEXUS_OWNER"})
        assert len(provision(config, runtime)) == 2
        assert problems(config, runtime) == []
        store = open_atoms(config, runtime)
        store.commit(SCOPE, [Insert(EDGE)])
        store.close()
        monkeypatch.setenv("NEXUS_OWNER", url.rpartition("/")[0] + "/mysql")
        with pytest.raises(ConfigurationError) as caught:
            provision(config, runtime)
        assert [problem.code for problem in caught.value.problems] == ["sql.owner"]
        assert info["password"] not in str(caught.value)
    finally:
        place.drop()


TEXT = "VARCHAR(1024) CHARACTER SET utf8mb4"
DAMAGE: dict[str, tuple[str, str]] = {
    "a newer schema": ("INSERT INTO nexus_schema VALUES (99, 0)", "sql.schema_newer"),
    "a table without transactions": (
        "ALTER TABLE record_atoms ENGINE=Aria",
        "sql.schema_engine",
    ),
    "texts that compare by letters": (
        f"ALTER TABLE record_atoms MODIFY kind {TEXT} COLLATE utf8mb4_general_ci NOT NULL",
        "sql.schema_collation",
    ),
    "texts that are padded": (
        f"ALTER TABLE log_entries MODIFY operation {TEXT} COLLATE utf8mb4_bin NOT NULL",
        "sql.schema_collation",
    ),
    "texts that cannot hold all": (
        "ALTER TABLE record_atoms MODIFY kind VARCHAR(1024) CHARACTER SET latin1 NOT NULL",
        "sql.schema_collation",
    ),
    "a lost column": ("ALTER TABLE record_atoms DROP COLUMN kind", "sql.schema_incomplete"),
    "a lost table": ("DROP TABLE log_heads", "sql.schema_incomplete"),
    "no turns": ("DROP TABLE nexus_turns", "sql.schema_incomplete"),
    "an unknown collection": (
        "CREATE TABLE record_dreams (nx_tenant INT, nx_env INT)",
        "sql.schema_newer",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_wrong_schema_is_named(provisioned: Any, runtime: Runtime, damage: str) -> None:
    """The check says what became of a schema, by a code that says what helps."""
    statement, code = DAMAGE[damage]
    provisioned.sql(statement)
    assert code in codes(provisioned.config(), runtime)


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("INSERT INTO nexus_schema VALUES (99, 0)", "sql.schema_newer"),
        ("DROP TABLE nexus_schema", "sql.schema_foreign"),
    ],
)
def test_provisioning_leaves_alone_what_it_does_not_know(
    provisioned: Any, runtime: Runtime, statement: str, code: str
) -> None:
    """A newer schema, or somebody else's tables, are refused and not touched."""
    provisioned.sql(statement)
    before = provisioned.rows()
    with pytest.raises(ConfigurationError) as caught:
        provision(provisioned.config(), runtime)
    assert [problem.code for problem in caught.value.problems] == [code]
    assert provisioned.rows() == before


@pytest.mark.parametrize("right", ["FILE", "SUPER"])
def test_a_user_that_may_too_much_is_refused(
    provisioned: Any, runtime: Runtime, right: str
) -> None:
    """A user who could read the server's files, or act as others, is found by the check."""
    server = provisioned.server
    server.sql(f"GRANT {right} ON *.* TO {provisioned.name}@'%'")
    (problem,) = problems(provisioned.config(), runtime)
    assert problem.code == "sql.privileges"
    assert right in problem.what
    server.sql(f"REVOKE {right} ON *.* FROM {provisioned.name}@'%'")
    assert problems(provisioned.config(), runtime) == []


def test_everything_is_too_much() -> None:
    """The superuser is refused, and a user with rights on its own database is not."""
    assert len(list(_privileges(["GRANT ALL PRIVILEGES ON *.* TO `root`@`%`"]))) == 1
    assert (
        list(_privileges(["GRANT USAGE ON *.* TO `n`@`%`", "GRANT ALL ON `n`.* TO `n`@`%`"])) == []
    )


@pytest.mark.parametrize(
    ("version", "fine"),
    [
        ("10.11.19-MariaDB-0+deb12u1", True),
        ("5.5.5-11.4.2-MariaDB", True),
        ("10.6.21-MariaDB-log", False),
        ("8.4.3", False),
        ("8.0.36-28.1 Percona Server", False),
    ],
)
def test_other_servers_are_refused(version: str, fine: bool) -> None:
    """A server that is too old, or is MySQL, is refused by what it says of itself."""
    assert bool(list(_server(version))) is not fine


GOOD = {
    "innodb_flush_log_at_trx_commit": "1",
    "innodb_page_size": "16384",
    "max_allowed_packet": "16777216",
    "log_bin": "ON",
    "sync_binlog": "1",
    "binlog_format": "MIXED",
    "wsrep_on": "OFF",
    "read_only": "OFF",
}
TOLD = {
    "sql_mode": "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION",
    "tx_isolation": "READ-COMMITTED",
    "collation_connection": COLLATION,
    "autocommit": "OFF",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("innodb_flush_log_at_trx_commit", "2"),
        ("innodb_page_size", "4096"),
        ("max_allowed_packet", "1024"),
        ("sync_binlog", "0"),
        ("binlog_format", "STATEMENT"),
        ("wsrep_on", "ON"),
        ("read_only", "ON"),
    ],
)
def test_a_server_that_cannot_keep_the_promises_is_refused(name: str, value: str) -> None:
    """Each setting of the server that would break a promise is a problem of its own."""
    assert list(_settings(GOOD)) == []
    assert len(list(_settings({**GOOD, name: value}))) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sql_mode", "NO_ENGINE_SUBSTITUTION"),
        ("sql_mode", "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_BACKSLASH_ESCAPES"),
        ("tx_isolation", "REPEATABLE-READ"),
        ("collation_connection", "utf8mb4_general_ci"),
        ("autocommit", "ON"),
    ],
)
def test_a_session_that_was_not_set_up_is_not_used(name: str, value: str) -> None:
    """A session says what it is, and one that is not as it was told is refused."""
    assert not_as_told(TOLD) == {}
    assert list(not_as_told({**TOLD, name: value}).values()) == [value]


def test_the_servers_own_settings_are_read(provisioned: Any, runtime: Runtime) -> None:
    """A server that does not flush, or takes no writes, is found by asking it."""
    server = provisioned.server
    try:
        server.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 2, GLOBAL read_only = 1")
        assert codes(provisioned.config(), runtime) == ["sql.server", "sql.server"]
        store = open_atoms(provisioned.config(), runtime)
        with pytest.raises(PermissionDeniedError):
            store.commit(SCOPE, [Insert(EDGE)])
        store.close()
    finally:
        server.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 1, GLOBAL read_only = 0")
    assert problems(provisioned.config(), runtime) == []


WRONG: dict[str, tuple[dict[str, Any], str, type[Exception]]] = {
    "no server": ({"port": 1}, "sql.place", UnavailableError),
    "another's password": ({"password": {"env": "PATH"}}, "sql.refused", UnauthenticatedError),
    "no password": ({"password": None}, "sql.refused", UnauthenticatedError),
    "encryption that it has not": ({"tls": "require"}, "sql.tls", UnavailableError),
    "roots that are not there": (
        {"tls": "verify-full", "tls_roots": "gone.pem"},
        "sql.tls",
        UnavailableError,
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_place_that_cannot_be_reached_is_named(
    provisioned: Any, runtime: Runtime, wrong: str
) -> None:
    """The check says what is wrong with the way there, and a call fails by the same cause."""
    settings, code, error = WRONG[wrong]
    config = provisioned.config(**settings)
    assert codes(config, runtime) == [code]
    backend = open_atoms(config, runtime)
    with pytest.raises(error) as caught:
        backend.count(SCOPE, "atoms", None)
    assert provisioned.name not in str(caught.value)
    with pytest.raises(ConfigurationError):
        provision(config, runtime)


def test_a_database_that_is_not_there_is_not_made(mariadb: Any, runtime: Runtime) -> None:
    """Without the database the check says how to make it, and provisioning does not."""
    place = mariadb.database()
    mariadb.sql(f"DROP DATABASE {place.name}")
    (problem,) = problems(place.config(), runtime)
    assert problem.fix.startswith(f"CREATE DATABASE `{place.name}`")
    with pytest.raises(ConfigurationError):
        provision(place.config(), runtime)
    assert (place.name,) not in mariadb.sql("SHOW DATABASES")
    mariadb.sql(f"CREATE DATABASE {place.name}")
    place.drop()


def test_no_setting_shows_the_password(
    provisioned: Any, runtime: Runtime, make: Callable[..., Record]
) -> None:
    """Neither a problem, nor an error, nor a repr holds the password."""
    password = "hunter2-not-to-be-seen"
    provisioned.server.sql(f"ALTER USER {provisioned.name}@'%%' IDENTIFIED BY %s", password)
    assert password not in str(problems(provisioned.config(), runtime))
    backend = open_atoms(provisioned.config(), runtime)
    with pytest.raises(UnauthenticatedError) as caught:
        backend.commit(SCOPE, [Insert(make("atoms", "a"))])
    assert password not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
