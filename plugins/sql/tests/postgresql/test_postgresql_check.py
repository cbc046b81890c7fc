"""What is reported of a server and a schema, refused at first use, and mended by provisioning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from nexus_sql import _migrations
from nexus_sql._postgresql_policy import protections

from nexus_core.spi import (
    ConfigurationError,
    Insert,
    LogEntry,
    LogHead,
    Record,
    Scope,
    SecretRef,
    UnavailableError,
)

SCOPE = Scope("t1", "dev")
Make = Callable[..., Record]

# What is done to a sound store, a word of the report, and whether provisioning mends it.
DAMAGES = [
    ("ALTER TABLE {}.record_atoms DISABLE ROW LEVEL SECURITY", "not enabled", True),
    ("ALTER TABLE {}.log_heads NO FORCE ROW LEVEL SECURITY", "not forced", True),
    ("DROP POLICY nexus_scope ON {}.record_edges", "nexus_scope of record_edges is missing", True),
    ("DROP POLICY nexus_scope_only ON {}.record_edges", "is missing", True),
    ("ALTER POLICY nexus_scope_only ON {}.record_edges USING (true)", "is altered", True),
    ("ALTER POLICY nexus_scope ON {}.record_edges WITH CHECK (true)", "is altered", True),
    ("ALTER POLICY nexus_scope ON {}.record_edges TO nexus_sql_app", "is altered", True),
    (
        "ALTER POLICY nexus_scope ON {}.log_heads USING (nx_tenant = current_setting('a.b'))",
        "is altered",
        True,
    ),
    ("ALTER POLICY nexus_forget ON {}.log_entries WITH CHECK (true)", "is altered", True),
    ("DROP POLICY nexus_whole ON {}.log_entries", "is missing", True),
    ("CREATE POLICY other ON {}.record_edges USING (true)", "other that is not", False),
    ("ALTER DOMAIN {}.nexus_given DROP CONSTRAINT nexus_given_check", "is missing", False),
    ("REVOKE DELETE ON {}.record_edges FROM nexus_sql_app", "has not DELETE", True),
    ("REVOKE USAGE ON SCHEMA {} FROM nexus_sql_app", "may not use the schema", True),
    ("GRANT TRUNCATE ON {}.record_edges TO nexus_sql_app", "has TRUNCATE", False),
    ("GRANT TRIGGER ON {}.log_entries TO nexus_sql_app", "has TRIGGER", False),
    ("GRANT UPDATE ON {}.log_entries TO nexus_sql_app", "has UPDATE", False),
    ("GRANT UPDATE (leaf) ON {}.log_entries TO nexus_sql_app", "has UPDATE", False),
    ("GRANT SELECT ON {}.record_edges TO PUBLIC", "PUBLIC has SELECT", False),
    ("GRANT SELECT ON {}.record_edges TO pg_monitor", "pg_monitor has SELECT", False),
    ("GRANT SELECT ON {}.log_heads TO nexus_sql_app WITH GRANT OPTION", "more than", False),
    ("GRANT CREATE ON SCHEMA {} TO nexus_sql_app", "may create in", False),
    ("CREATE VIEW {}.v AS SELECT * FROM {}.record_edges", "a view v", False),
    ("CREATE VIEW public.v AS SELECT * FROM {}.record_edges", "the view public.v", False),
    (
        "CREATE MATERIALIZED VIEW public.v AS SELECT * FROM {}.record_edges",
        "the view public.v",
        False,
    ),
    ("CREATE TABLE {}.child () INHERITS ({}.record_edges)", "has an inheritance", False),
    ("CREATE SEQUENCE {}.counter", "a sequence counter", False),
    (
        "CREATE FUNCTION {}.all_edges() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        "a function all_edges",
        False,
    ),
    (
        "CREATE RULE r AS ON INSERT TO {}.record_edges DO ALSO NOTHING",
        "has rules",
        False,
    ),
    ("DROP TABLE {}.record_atoms", "record_atoms is missing", True),
    ("DROP TABLE {}.log_heads CASCADE", "log_heads is missing", False),
    ("ALTER TABLE {}.record_atoms DROP COLUMN subject", "subject is missing", True),
    ("ALTER TABLE {}.record_atoms ADD COLUMN later text", "later is not known", False),
    ("CREATE TABLE {}.record_later ()", "record_later is not known", False),
    ("UPDATE {}.nexus_schema SET version = version + 90", "newer", False),
]


@pytest.fixture(scope="module")
def mendable(cluster: Any) -> Iterator[Any]:
    """A store for what provisioning mends, damaged again and again."""
    store = cluster.store()
    store.provision()
    yield store
    store.drop()


@pytest.mark.parametrize(("damage", "word", "mended"), DAMAGES, ids=[d[0][:60] for d in DAMAGES])
def test_what_undoes_the_protection_is_refused(
    request: pytest.FixtureRequest, make: Make, damage: str, word: str, *, mended: bool
) -> None:
    """Each way to lose the second wall is reported by both roles and refused at the first use, and
    provisioning mends it or says why it does not."""
    own: Any = request.getfixturevalue("mendable" if mended else "own")
    own.sql(damage)
    assert any(word in what for _, what in own.problems())
    atoms, audit = own.atoms(), own.audit()
    with pytest.raises(UnavailableError, match="protection") as refused:
        atoms.commit(SCOPE, [Insert(make("edges", "e"))])
    assert not refused.value.retryable
    with pytest.raises(UnavailableError, match="protection"):
        audit.head(SCOPE)
    atoms.close()
    audit.close()
    if mended:
        own.provision()
        assert own.problems() == []
    else:
        with pytest.raises(ConfigurationError) as reported:
            own.provision()
        assert word in str(reported.value)
        assert own.problems() != []
    own.sql(f"DROP {'MATERIALIZED' if 'MATERIALIZED' in damage else ''} VIEW IF EXISTS public.v")


def test_a_view_that_runs_as_its_reader_is_left_alone(own: Any) -> None:
    """A view elsewhere that minds its reader's policies is nobody's leak."""
    own.sql("CREATE VIEW public.mindful WITH (security_invoker) AS SELECT * FROM {}.record_edges")
    assert own.problems() == []
    own.sql("DROP VIEW public.mindful")


@pytest.mark.parametrize("attribute", ["SUPERUSER", "BYPASSRLS", "CREATEROLE", "REPLICATION"])
def test_a_login_above_policies_is_refused(own: Any, attribute: str) -> None:
    """A role that policies do not bind is reported, whoever gave it the attribute."""
    own.sql(f"ALTER ROLE nexus_sql_app {attribute}")
    try:
        assert any(attribute in what for _, what in own.problems())
        with pytest.raises(ConfigurationError, match=attribute):
            own.provision()
    finally:
        own.sql(f"ALTER ROLE nexus_sql_app NO{attribute}")
    assert own.problems() == []


def test_a_login_that_owns_a_table_is_refused(own: Any) -> None:
    """A role that could take a table's policies away is reported, as is a member of such a role."""
    own.sql("ALTER TABLE {}.record_edges OWNER TO nexus_sql_app")
    assert any("owns the table record_edges" in what for _, what in own.problems())
    own.sql("CREATE ROLE nexus_sql_group")
    own.sql("ALTER TABLE {}.record_edges OWNER TO nexus_sql_group")
    own.sql("GRANT nexus_sql_group TO nexus_sql_app")
    assert any("a member of nexus_sql_group" in what for _, what in own.problems())
    own.sql("ALTER TABLE {}.record_edges OWNER TO nexus_sql_owner")
    own.sql("DROP ROLE nexus_sql_group")


@pytest.mark.parametrize("group", ["pg_read_all_data", "pg_write_all_data"])
def test_a_member_of_a_role_above_policies_is_refused(own: Any, group: str) -> None:
    """A role that could become the owner, or has what all data's readers have, is reported."""
    own.sql(f"GRANT {group} TO nexus_sql_app")
    try:
        assert any(group in what for _, what in own.problems())
    finally:
        own.sql(f"REVOKE {group} FROM nexus_sql_app")
    assert own.problems() == []


def test_an_absent_schema_is_reported_and_not_made(cluster: Any) -> None:
    """A place that was never provisioned is a problem, and stays as it is."""
    store = cluster.store()
    assert [code for code, _ in store.problems()] == ["sql.schema_missing"]
    found = cluster.sql("SELECT to_regnamespace(%s)::text", store.schema)
    assert found == [(None,)]


def test_provisioning_makes_what_was_missing_once(cluster: Any) -> None:
    """The first run makes schema, tables and policies and says so; the second does nothing."""
    store = cluster.store()
    done = store.provision()
    assert done[0] == f"schema {store.schema}"
    assert "row policies of log_entries" in done
    before = store.sql("SELECT xmin, relname FROM pg_class WHERE relnamespace = '{}'::regnamespace")
    assert store.provision() == []
    after = store.sql("SELECT xmin, relname FROM pg_class WHERE relnamespace = '{}'::regnamespace")
    assert sorted(name for _, name in before) == sorted(name for _, name in after)
    assert store.problems() == []
    store.drop()


def test_a_schema_of_something_else_is_left_alone(shared: Any, cluster: Any) -> None:
    """A schema with other tables is reported, and provisioning changes nothing in it."""
    store = cluster.store()
    store.sql("CREATE SCHEMA {} AUTHORIZATION nexus_sql_owner")
    store.sql("GRANT USAGE ON SCHEMA {} TO nexus_sql_app")
    store.sql("CREATE TABLE {}.somebodys (id int)")
    assert "belongs to something else" in " ".join(what for _, what in store.problems())
    with pytest.raises(ConfigurationError, match="belongs to something else"):
        store.provision()
    tables = "SELECT relname FROM pg_class WHERE relnamespace = '{}'::regnamespace"
    assert store.sql(tables) == [("somebodys",)]
    store.drop()


def test_an_older_schema_is_upgraded_with_its_protection(cluster: Any, make: Make) -> None:
    """A schema from before a step is refused until it is provisioned, and keeps its records."""
    store = cluster.store()
    store.provision()
    atoms = store.atoms()
    atoms.commit(SCOPE, [Insert(make("edges", "kept"))])
    atoms.close()
    for table in ("log_entries", "log_heads", "log_checkpoints", "log_open_intents"):
        store.sql(f"DROP TABLE {{}}.{table} CASCADE")
    store.sql("DELETE FROM {}.nexus_schema WHERE version = %s", _migrations.STEPS[-1].version)
    assert any("older" in what for _, what in store.problems())
    done = store.provision()
    assert f"schema version {_migrations.STEPS[-1].version}: tables of the audit sink" in done
    assert store.problems() == []
    atoms = store.atoms()
    assert [record.id for record in atoms.query(SCOPE, "edges", None).records] == ["kept"]
    atoms.close()
    store.drop()


def test_the_mode_of_logins_is_not_changed_by_a_setting(own: Any) -> None:
    """A store is opened in the mode that it was provisioned in, or not at all."""
    mode: dict[str, Any] = {
        "logins": "per_scope",
        "login_secret": SecretRef(env="NEXUS_TEST_PG_LOGINS"),
    }
    assert any("nexus_login" in what for _, what in own.problems(**mode))
    own.provision(**mode)
    assert own.problems(**mode) == []
    assert any("a login for each scope" in what for _, what in own.problems())
    with pytest.raises(ConfigurationError, match="a login for each scope"):
        own.provision()


def test_checking_leaves_no_row(store: Any) -> None:
    """The policies are seen at work, and nothing of the rows for it stays."""
    assert store.problems() == []
    assert store.rows() == {}


def test_the_check_sees_what_policies_let_through(own: Any, monkeypatch: Any) -> None:
    """Where the catalogue looks sound and the policies are not, the live rows tell."""
    monkeypatch.setattr(
        "nexus_sql._postgresql_check.protection_problems", lambda connection, expected: []
    )
    for table in ("record_edges", "log_entries"):
        own.sql(f"ALTER TABLE {{}}.{table} DISABLE ROW LEVEL SECURITY")
    found = own.problems()
    assert {code for code, _ in found} == {"sql.leak"}
    said = " ".join(what for _, what in found)
    for words in ("takes a row for another scope", "shows rows of another", "no scope was named"):
        assert words in said


def test_a_server_that_does_not_answer_is_a_problem(cluster: Any) -> None:
    """A port where nothing listens is reported with a way out, and without the password."""
    store = cluster.store()
    url = store.config().url.replace(f":{cluster.info['port']}/", ":1/")
    [(code, what)] = store.problems(url=url)
    assert code == "sql.server"
    assert "cannot be reached" in what
    assert "app's" not in what


def test_a_wrong_password_is_said_to_be_refused(store: Any, monkeypatch: Any) -> None:
    """A refused login is told from an absent server."""
    monkeypatch.setenv("NEXUS_TEST_WRONG", "hunter2")
    [(_, what)] = store.problems(password=SecretRef(env="NEXUS_TEST_WRONG"))
    assert "refused the login" in what
    assert "hunter2" not in what


def test_encryption_that_the_server_lacks_is_not_done_without(store: Any) -> None:
    """Where TLS is asked for and the server has none, there is no connection."""
    for tls in ("require", "verify-full"):
        assert [code for code, _ in store.problems(tls=tls)] == ["sql.server"]


def test_every_table_has_its_protection_in_the_plan(own: Any) -> None:
    """No table with a scope's columns is missing from the list of what is protected."""
    atoms = own.atoms()
    scoped = own.sql(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = '{}'::regnamespace AND c.relkind = 'r'"
        " AND a.attname = 'nx_tenant' ORDER BY 1"
    )
    planned = protections(atoms._database.tables, per_scope=False)
    assert [row[0] for row in scoped] == sorted(planned)
    atoms.close()


def test_an_erased_log_takes_its_checkpoints_along(store: Any) -> None:
    """Off-boarding removes every row of the scope's log through the policies, and no other's."""
    audit = store.audit()
    for scope in (SCOPE, Scope("t10", "dev")):
        entry = LogEntry(
            index=0,
            leaf=b"l",
            salt=b"s",
            sealed=b"s",
            subject_tag=b"t",
            operation="o",
            phase="intent",
            recorded_at=0,
        )
        audit.append(scope, 0, [entry], LogHead(size=1, edge=b"", checkpoint=b"c"))
    assert audit.erase(SCOPE) == 1
    assert {row.partition("/")[0] for row in store.rows()} == {
        "log_checkpoints",
        "log_entries",
        "log_heads",
        "log_open_intents",
    }
    assert len(store.rows()) == 4
    audit.close()
