"""What row policies must stop by themselves: every statement here bypasses the store."""

# ruff: noqa: S608  # names of tables and schemas, made here

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy.exc import ProgrammingError

from nexus_core.spi import (
    AtomBackend,
    BackendError,
    Insert,
    Record,
    Scope,
    SecretRef,
)

A, B, A_PROD = Scope("t1", "dev"), Scope("t10", "dev"), Scope("t1", "prod")
Make = Callable[..., Record]
PER_SCOPE: dict[str, Any] = {
    "logins": "per_scope",
    "login_secret": SecretRef(env="NEXUS_TEST_PG_LOGINS"),
    "tenants": ("t1", "t10"),
}


@pytest.fixture
def peopled(store: Any, atoms: AtomBackend, make: Make) -> Any:
    """The shared store with one edge in each of three scopes, under the same id."""
    for scope in (A, B, A_PROD):
        atoms.commit(scope, [Insert(make("edges", "e", body=str(scope).encode()))])
    return store


@pytest.fixture
def app(peopled: Any) -> Iterator[psycopg.Connection[Any]]:
    """A connection as the store's login, in a transaction of scope A."""
    with peopled.as_app(A) as connection:
        yield connection


def bodies(connection: psycopg.Connection[Any], statement: str) -> list[Any]:
    return [row[0] for row in connection.execute(statement.encode()).fetchall()]


def test_a_scope_sees_its_rows_and_no_others(peopled: Any, app: psycopg.Connection[Any]) -> None:
    """Without any condition of its own, a statement sees the rows of its transaction's scope."""
    assert bodies(app, f"SELECT nx_body FROM {peopled.schema}.record_edges") == [b"t1/dev"]


@pytest.mark.parametrize(
    "condition",
    [
        "true OR nx_tenant = 't10'",
        "nx_tenant = 't10'",
        "nx_id = 'e' OR 1 = 1",
        "ctid IS NOT NULL",
        "nx_tenant LIKE 't1_'",
        "pg_temp.leak(nx_tenant)",
    ],
)
def test_no_condition_widens_what_is_seen(
    peopled: Any, app: psycopg.Connection[Any], condition: str
) -> None:
    """Injected conditions, and functions that look at rows as they pass, meet the scope's alone."""
    seen: list[str] = []
    app.add_notice_handler(lambda notice: seen.append(str(notice.message_primary)))
    app.execute(
        "SET LOCAL client_min_messages = notice;"
        " CREATE FUNCTION pg_temp.leak(text) RETURNS bool LANGUAGE plpgsql COST 0.0000001"
        " AS $$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$"
    )
    found = bodies(app, f"SELECT nx_body FROM {peopled.schema}.record_edges WHERE {condition}")
    assert set(found) <= {b"t1/dev"}
    assert set(seen) <= {"t1"}


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE {}.record_edges SET nx_tenant = 't10'", "42501"),
        ("UPDATE {}.record_edges SET nx_env = 'prod'", "42501"),
        ("TRUNCATE {}.record_edges", "42501"),
        ("ALTER TABLE {}.record_edges DISABLE ROW LEVEL SECURITY", "42501"),
        ("DROP POLICY nexus_scope_only ON {}.record_edges", "42501"),
        ("CREATE VIEW {}.v AS SELECT 1", "42501"),
        ("SET LOCAL row_security = off; SELECT * FROM {}.record_edges", "42501"),
        ("SET ROLE nexus_sql_owner", "42501"),
        ("SET SESSION AUTHORIZATION nexus_sql_owner", "42501"),
        ("COPY {}.record_edges FROM STDIN", "0A000"),
        ("UPDATE {}.log_entries SET leaf = ''", "42501"),
        ("UPDATE {}.log_checkpoints SET checkpoint = ''", "42501"),
        ("UPDATE {}.nexus_schema SET version = 99", "42501"),
        ("ALTER ROLE nexus_sql_app BYPASSRLS", "42501"),
        ("SELECT * FROM pg_authid", "42501"),
    ],
)
def test_what_the_login_may_not_do(
    peopled: Any, app: psycopg.Connection[Any], statement: str, code: str
) -> None:
    """The login moves no row elsewhere, takes no wall down and becomes nobody else."""
    with pytest.raises(psycopg.Error) as refused:
        app.execute(statement.replace("{}", peopled.schema).encode())
    assert refused.value.sqlstate == code


def test_a_foreign_row_is_neither_planted_nor_overwritten(
    peopled: Any, app: psycopg.Connection[Any]
) -> None:
    """An insert for another scope is refused, and says nothing of whether its id is taken."""
    said = []
    for identity in ("e", "absent"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as refused, app.transaction():
            app.execute(
                f"INSERT INTO {peopled.schema}.record_edges SELECT 't10', nx_env, %s, nx_version,"
                " nx_body, nx_stamp, parent, child, relation, created_at, subject"
                f" FROM {peopled.schema}.record_edges",
                (identity,),
            )
        said.append(str(refused.value))
    assert said[0] == said[1]
    assert peopled.sql("SELECT count(*) FROM {}.record_edges") == [(3,)]


def test_a_copy_gives_the_scope_alone(peopled: Any, app: psycopg.Connection[Any]) -> None:
    """COPY TO passes through the policies."""
    query = f"COPY {peopled.schema}.record_edges (nx_tenant, nx_env) TO STDOUT"
    with app.cursor().copy(query.encode()) as copy:
        assert b"".join(bytes(part) for part in copy) == b"t1\tdev\n"


@pytest.mark.parametrize("table", ["record_edges", "log_entries"])
@pytest.mark.parametrize(
    ("tenant", "env", "code"),
    [(None, None, "42704"), ("", "", "23514"), ("t1", "", "23514"), ("", "dev", "23514")],
)
def test_without_a_scope_there_is_no_answer(
    peopled: Any, tenant: str | None, env: str | None, code: str, table: str
) -> None:
    """A transaction that named no scope, or named an empty one, gets an error and no row."""
    peopled.sql(
        "INSERT INTO {}.log_entries VALUES ('t1', 'dev', 0, '', '', '', '', 'o', 'intent', 0)"
    )
    with peopled.as_app() as connection:
        if tenant is not None:
            connection.execute("BEGIN")
            connection.execute("SELECT set_config('nexus.tenant', %s, true)", (tenant,))
            connection.execute("SELECT set_config('nexus.env', %s, true)", (env,))
        with pytest.raises(psycopg.Error) as refused:
            connection.execute(f"SELECT * FROM {peopled.schema}.{table}".encode())
        assert refused.value.sqlstate == code


def test_a_scope_ends_with_its_transaction(peopled: Any) -> None:
    """Outside of a transaction the scope's name is lost at once, and after one it is empty."""
    with peopled.as_app() as connection:
        connection.execute("SELECT set_config('nexus.tenant', 't1', true)")
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute(f"SELECT * FROM {peopled.schema}.record_edges".encode())


def test_the_owner_is_bound_too(peopled: Any) -> None:
    """The tables' owner sees what a named scope has, and without one nothing."""
    query = f"SELECT nx_body FROM {peopled.schema}.record_edges".encode()
    with peopled.cluster.connect() as connection:
        connection.execute("SET ROLE nexus_sql_owner")
        with pytest.raises(psycopg.errors.UndefinedObject):
            connection.execute(query)
        with connection.transaction():
            connection.execute("SELECT set_config('nexus.tenant', 't10', true)")
            connection.execute("SELECT set_config('nexus.env', 'dev', true)")
            assert connection.execute(query).fetchall() == [(b"t10/dev",)]


def test_no_added_policy_widens_the_view(own: Any, make: Make) -> None:
    """A second permissive policy adds nothing to what the restrictive one lets through."""
    atoms = own.atoms()
    for scope in (A, B):
        atoms.commit(scope, [Insert(make("edges", "e"))])
    atoms.close()
    own.sql("CREATE POLICY wide ON {}.record_edges USING (true) WITH CHECK (true)")
    with own.as_app(A) as connection:
        found = bodies(connection, f"SELECT nx_tenant FROM {own.schema}.record_edges")
        assert found == ["t1"]


def test_nothing_is_shared_that_counts(peopled: Any) -> None:
    """There is no sequence, no foreign key, and no key that does not begin with the scope."""
    assert (
        peopled.sql(
            "SELECT relname FROM pg_class WHERE relnamespace = '{}'::regnamespace AND relkind = 'S'"
        )
        == []
    )
    keys = peopled.sql(
        "SELECT c.relname, i.relname, (SELECT array_agg(a.attname::text ORDER BY k.n) FROM"
        " unnest(x.indkey) WITH ORDINALITY k(attnum, n) JOIN pg_attribute a ON"
        " a.attrelid = c.oid AND a.attnum = k.attnum) FROM pg_index x"
        " JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid"
        " WHERE c.relnamespace = '{}'::regnamespace AND c.relname <> 'nexus_schema'"
    )
    assert len(keys) > 20
    assert {tuple(columns[:2]) for _, _, columns in keys} == {("nx_tenant", "nx_env")}
    assert (
        peopled.sql(
            "SELECT conname FROM pg_constraint WHERE connamespace = '{}'::regnamespace"
            " AND contype = 'f'"
        )
        == []
    )


def test_statistics_of_values_are_hidden(peopled: Any) -> None:
    """After ANALYZE the login reads no value out of the statistics."""
    # That counts are public (pg_class.reltuples, EXPLAIN) is a stated limit.
    peopled.sql("ANALYZE {}.record_edges")
    with peopled.as_app(A) as connection:
        hidden = "SELECT count(*) FROM pg_stats WHERE tablename = 'record_edges'"
        assert connection.execute(hidden).fetchone() == (0,)


def test_a_leaf_goes_with_its_whole_log_only(store: Any) -> None:
    """Entries and checkpoints are deleted once the head is, and entries only forget."""
    store.sql("INSERT INTO {}.log_heads VALUES ('t1', 'dev', 1, '', '')")
    store.sql("INSERT INTO {}.log_checkpoints VALUES ('t1', 'dev', 1, '')")
    store.sql(
        "INSERT INTO {}.log_entries VALUES ('t1', 'dev', 0, 'l', 's', 's', 't', 'o', 'intent', 0)"
    )
    with store.as_app(A) as connection:
        for table in ("log_entries", "log_checkpoints"):
            assert connection.execute(f"DELETE FROM {store.schema}.{table}".encode()).rowcount == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute(f"UPDATE {store.schema}.log_entries SET salt = 'other'".encode())
        forget = (
            f"UPDATE {store.schema}.log_entries SET salt = NULL, sealed = NULL, subject_tag = NULL"
        )
        assert connection.execute(forget.encode()).rowcount == 1
        connection.execute(f"DELETE FROM {store.schema}.log_heads".encode())
        gone = connection.execute(f"DELETE FROM {store.schema}.log_entries".encode())
        assert gone.rowcount == 1


def test_a_connection_that_kept_a_scope_is_not_handed_out(
    store: Any, atoms: AtomBackend, make: Make
) -> None:
    """A scope that was named for a whole session is noticed at the next use, and the connection
    goes."""
    atoms.commit(B, [Insert(make("edges", "e"))])
    database: Any = atoms._database  # type: ignore[attr-defined]
    with database.read(A) as connection:
        connection.exec_driver_sql("SELECT set_config('nexus.tenant', 't10', false)")
    with pytest.raises(BackendError, match="another's settings"):
        atoms.query(A, "edges", None)
    assert atoms.query(A, "edges", None).records == ()
    assert len(atoms.query(B, "edges", None).records) == 1


def test_an_error_leaves_no_scope_behind(atoms: AtomBackend, make: Make) -> None:
    """Whatever ended a transaction of one scope, the next one on the connection is another's."""
    database: Any = atoms._database  # type: ignore[attr-defined]
    atoms.commit(B, [Insert(make("edges", "e"))])
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), database.write(B) as connection:
            raise ZeroDivisionError
        with pytest.raises(BackendError), database.write(B) as connection:
            connection.exec_driver_sql("SELECT nonsense()")
        assert atoms.query(A, "edges", None).records == ()
        assert atoms.count(A, "edges", None) == 0


def test_a_write_waits_for_no_other_scope(atoms: AtomBackend, store: Any, make: Make) -> None:
    """While one scope's write holds its turn, its twins in tenant and environment write."""
    database: Any = atoms._database  # type: ignore[attr-defined]
    with database.write(A, alone=True):
        for scope in (B, A_PROD, Scope("t1_", "dev"), Scope("t-1", "dev")):
            assert atoms.commit(scope, [Insert(make("edges", "e"))]) == [True]


@pytest.fixture(scope="module")
def divided(cluster: Any) -> Iterator[Any]:
    """A store with a login for each scope."""
    store = cluster.store(**PER_SCOPE)
    store.provision()
    yield store
    store.drop()


def test_with_its_own_login_no_statement_leaves_the_scope(divided: Any, make: Make) -> None:
    """A session that may say anything sees another scope's rows under no name, and plants none."""
    atoms = divided.atoms()
    for scope in (A, B, A_PROD):
        atoms.commit(scope, [Insert(make("edges", "e", body=str(scope).encode()))])
    query = f"SELECT nx_body FROM {divided.schema}.record_edges"
    with atoms._database.read(A) as connection:
        assert connection.exec_driver_sql(query).scalars().all() == [b"t1/dev"]
        for scope in (B, A_PROD):
            connection.exec_driver_sql(
                "SELECT set_config('nexus.tenant', %s, true), set_config('nexus.env', %s, true)",
                (scope.tenant_id, scope.env),
            )
            assert connection.exec_driver_sql(query).scalars().all() == []
    for other in (B, A_PROD):
        login = atoms._database.login_of(other)
        for change in (f'SET ROLE "{login}"', "SET ROLE nexus_sql_app"):
            with pytest.raises(Exception, match="denied"), atoms._database.read(A) as connection:
                connection.exec_driver_sql(change)
    plant = f"INSERT INTO {divided.schema}.log_heads VALUES ('t10', 'dev', 1, '', '')"
    connection = atoms._database.write(A).__enter__()
    connection.exec_driver_sql("SELECT set_config('nexus.tenant', 't10', true)")
    with pytest.raises(ProgrammingError, match="row-level security"):
        connection.exec_driver_sql(plant)
    connection.invalidate()
    atoms.close()


def test_who_has_which_login_is_not_told(divided: Any) -> None:
    """A scope's login sees itself in the table of logins; the store's own login sees nobody."""
    atoms = divided.atoms()
    with atoms._database.read(A) as connection:
        rows = connection.exec_driver_sql(
            f"SELECT nx_tenant, nx_env FROM {divided.schema}.nexus_logins"
        )
        assert rows.all() == [("t1", "dev")]
    with divided.as_app() as connection:
        found = connection.execute(f"SELECT * FROM {divided.schema}.nexus_logins".encode())
        assert found.fetchall() == []
    atoms.close()


def test_the_common_login_sees_nothing_where_scopes_have_their_own(divided: Any) -> None:
    """The role that the logins are members of gets no row by naming a scope."""
    with divided.as_app(A) as connection:
        assert bodies(connection, f"SELECT nx_body FROM {divided.schema}.record_edges") == []


def test_a_tenant_without_a_login_is_refused(divided: Any) -> None:
    """A scope that nobody made a login for cannot be served, and nothing is served for it."""
    atoms = divided.atoms()
    with pytest.raises(Exception, match="refused the login") as refused:
        atoms.query(Scope("stranger", "dev"), "edges", None)
    assert "stranger" not in str(refused.value)
    atoms.close()
