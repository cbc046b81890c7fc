"""Which settings PostgreSQL takes, what is never shown of them, and how sessions are made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nexus_sql
import pytest
from nexus_sql._config import OwnerRef
from nexus_sql._postgresql_logins import login_of, password_of
from pydantic import ValidationError

from nexus_core.spi import (
    ConfigurationError,
    Runtime,
    Scope,
    SecretRef,
    SecretUnavailableError,
)

URL = "postgresql+psycopg://app@db.example/records"
RUNTIME = Runtime(store="main", base=Path("/nowhere"), now=lambda: 0)


def settings(**given: Any) -> nexus_sql.SqlConfig:
    return nexus_sql.SqlConfig(**{"url": URL, "schema_name": "nexus", **given})


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql+psycopg2://app@db.example/records", "names a driver"),
        ("postgresql+asyncpg://app@db.example/records", "names a driver"),
        ("postgresql+pg8000://app@db.example/records", "names a driver"),
        ("postgresql://db.example/records", "lacks the user"),
        ("postgresql://app@db.example", "lacks the user or the database"),
        ("postgresql://app@/records", "needs a host"),
        ("postgresql://app@db.example/records?host=other", "needs a host"),
        ("postgresql://app@db.example/records?sslmode=disable", "has options other"),
        ("postgresql://app@db.example/records?options=-crow_security%3Doff", "'%'"),
        ("postgresql://app@db.example/records?options=-crow_security=off", "has options other"),
        ("postgresql://app@db.example/records?dbname=other", "has options other"),
        ("postgresql://app@db.example/records?service=other", "has options other"),
        ("postgresql://app@/records?host=a&host=b", "says one option twice"),
        ("postgresql://app:hunter2@db.example/records", "holds a password"),
    ],
)
def test_a_url_that_leads_elsewhere_is_refused(url: str, reason: str) -> None:
    """Nothing in a URL may weaken TLS, change what sessions are told, or hide a second place."""
    with pytest.raises(ValidationError) as refused:
        settings(url=url)
    assert reason in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app@db.example:5433/records",
        "postgresql+psycopg://app@/records?host=/var/run/postgresql",
        "postgresql://app@db.example/records?application_name=n&channel_binding=require",
    ],
)
def test_a_url_of_a_server_is_taken(url: str) -> None:
    """A server may be named by host or by a socket's folder, with harmless options."""
    assert settings(url=url).url == url


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"schema_name": None}, "schema_name"),
        ({"schema_name": "Public"}, "schema_name"),
        ({"schema_name": "a; DROP SCHEMA b"}, "schema_name"),
        ({"schema_name": "x" * 49}, "schema_name"),
        ({"logins": "per_scope"}, "login_secret"),
        ({"tls": "prefer"}, "tls"),
        ({"pool_size": 0}, "pool_size"),
        ({"owner": {"env": "A", "file": "b"}}, "owner"),
    ],
)
def test_what_is_missing_or_unfit_is_named(given: dict[str, Any], field: str) -> None:
    """A setting without which there is no store has no default, and one that is unfit is named."""
    with pytest.raises(ValidationError) as refused:
        settings(**given)
    assert {error["loc"][0] for error in refused.value.errors()} == {field}


@pytest.mark.parametrize("name", ["schema_name", "pool_size", "tls", "tenants", "owner"])
def test_a_servers_setting_has_no_use_for_a_file(name: str) -> None:
    """What SQLite does not know is refused there instead of being ignored."""
    given: dict[str, Any] = {
        "schema_name": "nexus",
        "pool_size": 3,
        "tls": "disable",
        "tenants": ("t1",),
        "owner": OwnerRef(env="OWNER"),
    }
    with pytest.raises(ValidationError, match="has no use"):
        nexus_sql.SqlConfig(url="sqlite:///x.db", **{name: given[name]})


def test_a_secret_that_is_not_there_is_said_before_connecting() -> None:
    """A reference that leads nowhere fails when the store is built."""
    config = settings(password=SecretRef(env="NEXUS_TEST_NOT_SET"))
    with pytest.raises(SecretUnavailableError):
        nexus_sql.nexus_atom_store().factory(config, RUNTIME)


@pytest.mark.parametrize(
    "owner",
    [
        None,
        "not a url",
        "sqlite:///x.db",
        "postgresql://owner:hunter2@db.example/records?sslmode=disable",
        "postgresql://owner:hunter2@db.example/other",
        "postgresql://owner:hunter2@db.example:port/records",
    ],
)
def test_provisioning_needs_the_owner_of_the_same_database(
    owner: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an owner's URL for the store's own database nothing is provisioned, and no text shows
    what the reference led to."""
    given = {}
    if owner is not None:
        monkeypatch.setenv("NEXUS_TEST_OWNER", owner)
        given["owner"] = OwnerRef(env="NEXUS_TEST_OWNER")
    provision = nexus_sql.nexus_atom_store().provision
    assert provision is not None
    with pytest.raises(ConfigurationError) as refused:
        provision(settings(**given), RUNTIME)
    assert [problem.path for problem in refused.value.problems] == ["owner"]
    assert "hunter2" not in str(refused.value)


def test_the_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the store says what to install."""
    monkeypatch.setattr("nexus_sql._postgresql.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"nexus-sql\[postgresql\]"):
        nexus_sql.nexus_atom_store().factory(settings(), RUNTIME)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("synchronous_commit", "on"),
        ("search_path", "pg_catalog"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "1min"),
        ("transaction_isolation", "repeatable read"),
        ("transaction_read_only", "on"),
        ("nexus.tenant", "t1"),
        ("nexus.env", "dev"),
    ],
)
def test_every_session_is_told_the_same(atoms: Any, name: str, value: str) -> None:
    """What a session and a reading transaction must be is so, whatever the server's defaults."""
    with atoms._database.read(Scope("t1", "dev")) as connection:
        assert connection.exec_driver_sql(f"SHOW {name}").scalar_one() == value


def test_logins_of_scopes_are_apart() -> None:
    """Names fit a role's, and differ with each part of the place and the scope; so do passwords."""
    long = "t" * 63
    places = [("a", "b"), ("ab", "b"), ("a", "ab")]
    tenants = ("t1", "t10", "t-1", "t_1", long, long[:-1])
    scopes = [Scope(tenant, env) for tenant in tenants for env in ("dev", "prod")]
    logins = {login_of(*place, scope) for place in places for scope in scopes}
    assert len(logins) == len(places) * len(scopes)
    assert all(len(login.encode()) <= 63 and login.isidentifier() for login in logins)
    passwords = {password_of(secret, login) for secret in (b"x", b"y") for login in logins}
    assert len(passwords) == 2 * len(logins)
