"""Through the core: a configuration that names this store opens, or says what is wrong."""

from __future__ import annotations

from pathlib import Path

import nexus_sql
import pytest

from nexus_core import (
    Actor,
    ActorKind,
    ConfigurationError,
    Nexus,
    RequestContext,
    Role,
    Scope,
)
from nexus_core.spi import Runtime

CONFIG = """
version = 1
profile = "production"
[keys]
root = {{ file = "root.key" }}
[stores.records]
backend = "sql"
url = "{url}"
{more}
[[routes]]
atoms = "records"
audit = "records"
"""


def configure(base: Path, url: str, more: str = "") -> Path:
    (base / "root.key").write_text("0123456789abcdef" * 4)
    path = base / "nexus.toml"
    path.write_text(CONFIG.format(url=url, more=more))
    return path


def problems(path: Path) -> list[tuple[str, str]]:
    with pytest.raises(ConfigurationError) as error:
        Nexus.open(path, environ={})
    return [(problem.path, problem.what) for problem in error.value.problems]


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("postgresql+psycopg://db.example/nexus", "lacks the user or the database"),
        ("mariadb://u@db.example/nexus", "names another driver than PyMySQL"),
        ("mariadb+pymysql://db.example/nexus", "lacks a user, a host or a database"),
        ("mariadb+pymysql://u@db.example/", "lacks a user, a host or a database"),
        ("mariadb+pymysql://u@db.example/n?local_infile=1", "has options after a question mark"),
        ("mysql+pymysql://db.example/nexus", "names MySQL, which is not served by this version"),
        ("sqlite:///:memory:", "means a database in memory"),
        ("postgresql://nexus:hunter2@db.example/nexus", "has a password in a URL"),
    ],
)
def test_the_core_repeats_why_a_url_is_refused(tmp_path: Path, url: str, what: str) -> None:
    """The reason reaches the operator at the setting's place, and a password reaches nobody."""
    (found,) = problems(configure(tmp_path, url))
    assert found[0] == "stores.records.url"
    assert found[1].startswith(what)
    assert "hunter2" not in str(found)


def test_a_password_is_refused_at_its_own_place(tmp_path: Path) -> None:
    """A password for SQLite is a problem of that setting."""
    path = configure(tmp_path, "sqlite:///x.db", 'password = { file = "root.key" }')
    (found,) = problems(path)
    assert found[0] == "stores.records.password"
    assert found[1].startswith("has no use")


def test_a_store_opens_once_it_is_provisioned(tmp_path: Path) -> None:
    """Opening reports the missing file and makes none; provisioned, the store serves a request."""
    path = configure(tmp_path, "sqlite:///data/records.db")
    (found,) = problems(path)
    assert found[0] == "stores.records.url"
    assert "does not exist" in found[1]
    assert not (tmp_path / "data").exists()

    provision = nexus_sql.nexus_atom_store().provision
    assert provision is not None
    config = nexus_sql.SqlConfig(url="sqlite:///data/records.db")
    provision(config, Runtime(store="records", base=tmp_path, now=lambda: 0))
    context = RequestContext(
        scope=Scope("t1", "dev"), actor=Actor("alice", ActorKind.HUMAN), role=Role.OWNER
    )
    with Nexus.open(path, environ={}) as nexus, nexus.request(context) as request:
        assert request.assets.get("none") == [None]
        report = request.audit.verify()
        assert report.ok
        assert report.size > 0
