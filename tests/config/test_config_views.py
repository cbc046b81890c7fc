"""Hashes and views: one spelling, no secret, and nothing of another tenant's."""

from __future__ import annotations

import copy
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexus_core._model.scope import Scope

ACME, OTHER = Scope("acme", "prod"), Scope("other", "prod")


def test_the_hash_is_that_of_the_canonical_document(site: Any, full: Any) -> None:
    """Anyone can recompute it: SHA-256 of the redacted document as sorted, blank-free JSON."""
    config = site.good(full)
    text = json.dumps(config.redacted(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert config.hash == hashlib.sha256(text.encode()).hexdigest()
    view = json.dumps(config.view(ACME), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert config.view_hash(ACME) == hashlib.sha256(view.encode()).hexdigest()


def test_spelling_does_not_change_the_hash(site: Any, full: Any) -> None:
    """Order of keys, long names of environments and defaults written out are the same thing."""
    first = site.good(full)
    again = dict(reversed(list(copy.deepcopy(full).items())))
    again["environments"] = ["stage", "production"]
    again["kinds"] = ["chat", "data"]
    again["routes"][1]["env"] = "production"
    again["embedders"]["words"]["external"] = False
    second = site.good(again)
    assert second.hash == first.hash
    assert second.view_hash(ACME) == first.view_hash(ACME)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("profile", "development"),
        ("kinds", ["data"]),
        ("stores.files.root", "elsewhere"),
        ("stores.files.retry.attempts", 6),
        ("stores.records.url", "sqlite:///elsewhere"),
        ("indexes.0.dimension", 128),
        ("indexes.0.fields.page", "float"),
        ("embedders.model.path", "elsewhere"),
        ("atomizers.documents.max_chars", 501),
        ("extensions.use", []),
        ("limits.max_object_bytes", 5),
    ],
)
def test_every_change_that_acts_on_a_scope_changes_its_view(
    site: Any, full: Any, changed: Callable[..., Any], path: str, value: Any
) -> None:
    """A setting that a scope is subject to is in its view, and in the whole."""
    before = site.good(copy.deepcopy(full))
    after = site.good(changed(path, value))
    assert after.hash != before.hash
    assert after.view_hash(ACME) != before.view_hash(ACME)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("stores.other.url", "sqlite:///elsewhere"),
        ("stores.spare", {"backend": "embedded", "root": "spare"}),
        ("routes.1.vectors", "vectors"),
        ("routes.1.tenant", "acme2"),
        ("routes.1.env", "staging"),
        ("environments", ["dev", "staging", "prod"]),
        ("recovery.after_seconds", 5),
        ("keys.root", {"file": "secrets/moved.key"}),
    ],
)
def test_nothing_of_another_tenant_is_in_a_view(
    site: Any, full: Any, changed: Callable[..., Any], path: str, value: Any
) -> None:
    """What another tenant's routes and stores say changes the whole and not this scope's view."""
    (site.folder / "secrets" / "moved.key").write_bytes(
        (site.folder / "secrets" / "root.key").read_bytes()
    )
    before = site.good(copy.deepcopy(full))
    after = site.good(changed(path, value))
    assert after.hash != before.hash
    assert after.view(OTHER) == before.view(OTHER)
    assert after.view_hash(OTHER) == before.view_hash(OTHER)


def test_a_view_holds_no_name_of_another_tenant(site: Any, full: Any) -> None:
    """Neither another tenant's id nor its own store is in a scope's view."""
    config = site.good(full)
    shown = json.dumps(config.view(OTHER))
    assert "acme" not in shown
    assert "other.db" not in shown
    assert "other.db" in json.dumps(config.view(ACME))


def test_no_secret_is_in_anything_that_is_shown(site: Any, full: Any) -> None:
    """Documents, views and representations hold references and neither secret nor root key."""
    config = site.good(full)
    shown = [
        json.dumps(config.redacted()),
        json.dumps(config.view(ACME)),
        repr(config),
        str(config),
        repr(config.stores["files"]),
        repr(config.embedders["model"]),
        repr(config.root_key),
    ]
    for text in shown:
        assert "hunter2" not in text
        assert "8f1d0c6b" not in text
    assert config.redacted()["keys"] == {"root": {"file": "secrets/root.key"}}
    assert config.redacted()["stores"]["files"]["password"] == {"env": "SHARE_PASSWORD"}


def test_what_is_handed_out_cannot_change_the_configuration(site: Any, full: Any) -> None:
    """Documents and views are copies."""
    config = site.good(full)
    before = config.hash, config.view_hash(ACME)
    config.redacted()["stores"]["files"]["root"] = "x"
    config.redacted()["routes"].clear()
    config.view(ACME)["stores"].clear()
    config.view(ACME)["kinds"].append("x")
    assert (config.hash, config.view_hash(ACME)) == before


def test_the_hash_is_the_same_in_every_process(site: Any, full: Any) -> None:
    """Nothing of it depends on the order of sets, which differs between processes."""
    config = site.good(full)
    code = (
        "import json, sys, hashlib\n"
        "from nexus_core._model.canonical import canonical_json\n"
        "print(hashlib.sha256(canonical_json(json.load(sys.stdin))).hexdigest())"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parents[2],
            env={"PYTHONHASHSEED": seed},
            input=json.dumps(config.redacted()),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stdout.strip() == config.hash
