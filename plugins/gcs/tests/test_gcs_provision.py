"""Buckets: made by provisioning alone, looked at by check, and tried by prove."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nexus_core.spi import ConfigurationError, PermissionDeniedError, RetentionError, Scope

SCOPE = Scope("acme", "prod")


def patch(lab: Any, **settings: Any) -> None:
    lab.wire.ask("PATCH", f"/storage/v1/b/{lab.bucket}", json.dumps(settings).encode())


def test_gcs_provision_makes_a_closed_bucket_once(bare: Any) -> None:
    """A bucket is made closed to the public, without soft delete, and with a rule for leftovers."""
    assert bare.provision() == [f"bucket {bare.bucket}"]
    assert bare.provision() == []
    made = bare.wire.ask("GET", f"/storage/v1/b/{bare.bucket}")
    assert made["location"] == "EU"
    access = made["iamConfiguration"]
    assert access["uniformBucketLevelAccess"]["enabled"] is True
    assert access["publicAccessPrevention"] == "enforced"
    assert int(made["softDeletePolicy"]["retentionDurationSeconds"]) == 0
    (rule,) = made["lifecycle"]["rule"]
    assert rule["condition"]["matchesPrefix"] == ["nexus-staging/"]


def test_gcs_provision_needs_a_place(bare: Any) -> None:
    """Without a location no bucket is made."""
    with pytest.raises(ConfigurationError) as caught:
        bare.provision(location=None)
    assert [problem.path for problem in caught.value.problems] == ["location"]
    assert [problem.path for problem in bare.build().check()] == ["bucket"]


def test_gcs_a_bucket_that_keeps_what_was_deleted_is_a_problem(lab: Any) -> None:
    """Soft delete and retention are reported, unless the settings accept them."""
    for settings in (
        {"softDeletePolicy": {"retentionDurationSeconds": "604800"}},
        {"retentionPolicy": {"retentionPeriod": "60"}},
    ):
        patch(lab, **settings)
        (problem,) = lab.build().check()
        assert (problem.path, lab.bucket in problem.what) == ("bucket", True)
        assert lab.build(accept_recoverable=True).check() == []
        patch(lab, **dict.fromkeys(settings))


def test_gcs_missing_permissions_are_named(lab: Any) -> None:
    """Credentials that may only read are reported with what they lack, and writing is denied."""
    store = lab.build(key={"file": "reader.json"})
    (problem,) = store.check()
    assert "storage.objects.create, storage.objects.delete" in problem.what
    with pytest.raises(PermissionDeniedError):
        lab.put(store, "k", b"x")


def test_gcs_check_tells_a_wrong_key(lab: Any) -> None:
    """A key that the engine does not know is a problem with ``key``."""
    key = json.loads((lab.base / "key.json").read_text(encoding="utf-8"))
    key["client_email"] = "nobody@example.org"
    (lab.base / "key.json").write_text(json.dumps(key), encoding="utf-8")
    assert [problem.path for problem in lab.build().check()] == ["key"]


def test_gcs_prove_leaves_nothing(lab: Any) -> None:
    """Everything that has to be proved of this server is, but what was not asked for, and the
    bucket is as it was."""
    lab.put(lab.build(), "mine", b"x")
    before = lab.wire.names(lab.bucket)
    found = lab.spec.prove(lab.settings(), lab.runtime)
    unproved = {name for name in lab.spec.proves if found[name] is not True}
    assert unproved == {"object_lock", "versions"}
    assert lab.wire.names(lab.bucket) == before


def test_gcs_prove_needs_a_bucket_of_its_own(bare: Any) -> None:
    """With a bucket for each scope the doctor's own has to be named."""
    buckets = {"acme/prod": bare.bucket}
    bare.provision(bucket=None, buckets=buckets)
    with pytest.raises(ConfigurationError) as caught:
        bare.spec.prove(bare.settings(bucket=None, buckets=buckets), bare.runtime)
    assert [problem.path for problem in caught.value.problems] == ["buckets"]


def test_gcs_a_retained_object_is_told_so(lab: Any) -> None:
    """What the bucket's own retention protects is neither deleted nor replaced, and says so."""
    store = lab.build(accept_recoverable=True)
    lab.put(store, "k", b"x")
    patch(lab, retentionPolicy={"retentionPeriod": "3600"})
    with pytest.raises(RetentionError):
        store.delete(SCOPE, "k")
    with pytest.raises(RetentionError):
        lab.put(store, "k", b"y")
    assert dict(store.delete_many(SCOPE, ["k", "absent"])) == {"k": RetentionError.code}
    assert lab.read(store, "k") == b"x"
