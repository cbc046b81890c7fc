"""Without row policies, a statement that does not name its scope is still never sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nexus_sql
import pytest
import sqlalchemy as sa
from nexus_sql._atoms import SqlAtoms
from nexus_sql._schema import in_scope, of_scope

from nexus_core.spi import AtomBackend, BackendError, Insert, Record, Runtime, Scope

pytestmark = pytest.mark.servers
OURS, THEIRS = Scope("t1", "dev"), Scope("t10", "dev")
STATEMENTS: dict[str, tuple[str, object]] = {
    "a query of all": ("SELECT * FROM record_intents", {}),
    "another's rows": (
        "SELECT * FROM record_intents WHERE nx_tenant = %(of_tenant)s AND nx_env = %(of_env)s",
        of_scope(THEIRS),
    ),
    "the scope as text": (
        "SELECT * FROM record_intents WHERE nx_tenant = 't1' AND nx_env = 'dev'",
        {},
    ),
    "half of the scope": (
        "DELETE FROM record_intents WHERE nx_tenant = %(of_tenant)s",
        {"of_tenant": "t1"},
    ),
    "a change of all": ("UPDATE record_intents SET state = 's'", {}),
    "a row of another's": (
        "INSERT INTO record_intents (nx_tenant, nx_env, nx_id) VALUES (%s, %s, %s)",
        ("t10", "dev", "x"),
    ),
    "a row among others": (
        "INSERT INTO record_intents (nx_tenant, nx_env, nx_id) VALUES (%s, %s, %s)",
        [("t1", "dev", "x"), ("t1", "prod", "y")],
    ),
    "a row in another order": (
        "INSERT INTO record_intents (nx_env, nx_tenant, nx_id) VALUES (%s, %s, %s)",
        ("t1", "dev", "x"),
    ),
    "the head of all logs": ("DELETE FROM log_heads", {}),
}


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_without_its_scope_is_not_sent(
    atoms: AtomBackend, make: Callable[..., Record], statement: str
) -> None:
    """It raises where another scope's rows could be met, and changes nothing."""
    assert isinstance(atoms, SqlAtoms)
    for scope in (OURS, THEIRS):
        atoms.commit(scope, [Insert(make("intents", "a"))])
    text, parameters = STATEMENTS[statement]

    def misuse() -> None:
        with atoms._database.write(OURS) as connection:
            connection.exec_driver_sql(text, parameters)  # type: ignore[arg-type]  # any of its forms

    with pytest.raises(BackendError) as caught:
        misuse()
    assert "t10" not in str(caught.value)
    for scope in (OURS, THEIRS):
        assert atoms.get(scope, "intents", ["a"]) == [make("intents", "a")]
        assert atoms.count(scope, "intents", None) == 1


def test_a_statement_with_its_scope_is_sent(
    atoms: AtomBackend, make: Callable[..., Record]
) -> None:
    """The condition that stands in every statement is what lets it pass."""
    assert isinstance(atoms, SqlAtoms)
    for scope in (OURS, THEIRS):
        atoms.commit(scope, [Insert(make("intents", "a"))])
    table = atoms._database.tables.records["intents"]
    with atoms._database.read(OURS) as connection:
        rows = connection.execute(sa.select(table).where(in_scope(table)), of_scope(OURS)).all()
    assert [row.nx_tenant for row in rows] == ["t1"]


def test_a_connection_serves_the_next_scope(
    place: Any, runtime: Runtime, make: Callable[..., Record]
) -> None:
    """One connection that goes from scope to scope is held to each of them in turn."""
    store = nexus_sql.nexus_atom_store().factory(place.config(pool_size=1), runtime)
    assert isinstance(store, SqlAtoms)
    for number in range(4):
        scope = (OURS, THEIRS)[number % 2]
        store.commit(scope, [Insert(make("intents", f"a{number}"))])
        found = store.query(scope, "intents", None).records
        assert {int(record.id[1:]) % 2 for record in found} == {number % 2}
    store.close()
