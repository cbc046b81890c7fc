"""The engine's own holds and periods, set with what is made and later."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import attrs
import pydantic
import pytest
from nexus_contracts import BackendHarness, Profile
from nexus_contracts._engine import run_all
from nexus_contracts._verdict import Status
from nexus_contracts.faults import Fault, FaultProxy
from nexus_gcs import _locking
from nexus_gcs._failures import Kind, refused, translate
from nexus_gcs._locking import rounded

from nexus_core.spi import (
    AlreadyExistsError,
    Body,
    ConfigurationError,
    InvalidArgumentError,
    NotFoundError,
    ObjectAttributes,
    Outcome,
    PreconditionFailedError,
    RetentionError,
    Scope,
    UnavailableError,
    UnsupportedError,
)

SCOPE = Scope("acme", "prod")
MIB = 1 << 20
SECOND = 1_000_000
NAME = "v1/prod/acme/k"
LOCKS = {"RAW-001", "RAW-042", "RAW-070", "RAW-071", "RAW-073", "RAW-074", "RAW-075"}
PLAIN = ObjectAttributes(content_type="text/plain", metadata={}, system={"stamp": "0"})


def locked(until: int | None = None, *, hold: bool = False) -> ObjectAttributes:
    """Attributes with a lock."""
    return attrs.evolve(PLAIN, retain_until=until, legal_hold=hold)


def soon(minutes: int = 2) -> int:
    """A time to come, of whole seconds."""
    return (int(time.time()) + 60 * minutes) * SECOND


def locking(lab: Any, mode: str = "governance", **more: Any) -> Any:
    """A store that sets locks, in a bucket that was made for them."""
    lab.provision(versions=True, object_lock=mode)
    return lab.build(versions=True, object_lock=mode, **more)


def put(store: Any, data: bytes, attributes: ObjectAttributes = PLAIN, **condition: Any) -> Any:
    """Put an object with its lock."""
    return store.put(SCOPE, "k", Body(data), attributes, **condition)


def lock_of(info: Any) -> tuple[int | None, bool]:
    """The lock that an object is told to have."""
    return info.attributes.retain_until, info.attributes.legal_hold


def patch(lab: Any, info: Any, **said: Any) -> None:
    """Change a generation behind the store's back."""
    generation = info.version_id.partition("-")[0]
    path = lab.wire.path(lab.bucket, NAME)
    lab.wire.ask("PATCH", path, json.dumps(said).encode(), generation=generation)


# -- what is asked for, and of which buckets -----------------------------------------------------


def test_gcs_locks_take_versions(bare: Any) -> None:
    """Settings that ask for locks where no versions are kept, or in no known mode, are refused."""
    for wrong in ({}, {"versions": True, "object_lock": "unlocked"}):
        with pytest.raises(pydantic.ValidationError):
            bare.settings(**{"object_lock": "governance", **wrong})
    modes = {"governance": "Unlocked", "compliance": "Locked"}
    for said, meant in modes.items():
        assert bare.settings(object_lock=said, versions=True).lock_mode == meant
    assert bare.settings().lock_mode is None


def test_gcs_periods_are_of_whole_seconds() -> None:
    """A period is rounded up, one that is over is none, and without the setting none is taken."""
    now = 1_800_000_000 * SECOND
    assert rounded(locked(now), now, "Locked").retain_until is None
    assert rounded(locked(now + 1), now, "Locked").retain_until == now + SECOND
    assert rounded(locked(now + SECOND), now, "Locked").retain_until == now + SECOND
    assert rounded(PLAIN, now, None) == PLAIN
    for attributes in (locked(hold=True), locked(now + 1), locked(now - 1)):
        with pytest.raises(UnsupportedError):
            rounded(attributes, now, None)


def test_gcs_a_bucket_is_made_for_locks(bare: Any) -> None:
    """Provisioning makes a bucket with object retention and versions, and only then."""
    locking(bare)
    made = bare.wire.ask("GET", f"/storage/v1/b/{bare.bucket}")
    assert made["objectRetention"] == {"mode": "Enabled"}
    assert made["versioning"] == {"enabled": True}
    assert bare.build(versions=True, object_lock="compliance").check() == []


def test_gcs_a_bucket_that_was_not_made_for_locks_is_refused(bare: Any) -> None:
    """A bucket without object retention, or one that holds by default, is told by the setting."""
    bare.provision(versions=True)
    settings = {"versions": True, "object_lock": "governance"}
    (problem,) = bare.build(**settings).check()
    assert (problem.path, bare.bucket in problem.what) == ("object_lock", True)
    with pytest.raises(ConfigurationError, match="object retention"):
        bare.provision(**settings)
    bare.bucket += "-held"
    store = locking(bare)
    said = json.dumps({"defaultEventBasedHold": True}).encode()
    bare.wire.ask("PATCH", f"/storage/v1/b/{bare.bucket}", said)
    assert [each.path for each in store.check()] == ["object_lock", "bucket"]
    assert [each.path for each in bare.build(versions=True).check()] == ["bucket"]


def test_gcs_what_locking_takes_is_named(bare: Any) -> None:
    """Credentials that may set no lock are told what they lack, and of which role has it."""
    locking(bare)
    reader = {"key": {"file": "reader.json"}, "versions": True}
    (plain,) = bare.build(**reader).check()
    (locks,) = bare.build(**reader, object_lock="governance").check()
    for permission in ("storage.objects.setRetention", "storage.objects.update"):
        assert permission in locks.what
        assert permission not in plain.what
    assert ("Object User" in plain.fix, "Object Admin" in locks.fix) == (True, True)


def test_gcs_without_the_setting_nothing_is_locked(lab: Any) -> None:
    """A store that does not use locks takes none and sets none, and tells of none that is there;
    other attributes of what is held change as ever once it is free."""
    store = lab.build()
    for attributes in (locked(hold=True), locked(soon())):
        with pytest.raises(UnsupportedError):
            put(store, b"x", attributes)
    assert lab.wire.names(lab.bucket, versions="true") == []
    info = put(store, b"x")
    with pytest.raises(UnsupportedError):
        store.set_lock(SCOPE, "k", "1", legal_hold=True)
    lab.wire.ask("PATCH", lab.wire.path(lab.bucket, NAME), b'{"temporaryHold": true}')
    assert store.head(SCOPE, "k") == info


# -- what comes of it ----------------------------------------------------------------------------


def test_gcs_locks_are_conformant(
    gcs: Mapping[str, Any], gcs_harness: Callable[..., BackendHarness]
) -> None:
    """In buckets with object retention, everything that is required of locks holds."""
    harness = gcs_harness(gcs, versions=True, object_lock="governance")
    outcomes = run_all(harness, profile=Profile.CORE, only=LOCKS)
    seen = {each.requirement.id: (each.status, each.message) for each in outcomes}
    assert {each: seen[each] for each in LOCKS} == dict.fromkeys(LOCKS, (Status.PASSED, ""))


@pytest.mark.parametrize("transport", ["sdk"], indirect=True)
def test_gcs_locks_are_proved(bare: Any) -> None:
    """Where the settings ask for locks they are tried in their mode, and nothing of it is left once
    the trial's own period is over."""
    locking(bare, "compliance")
    settings = bare.settings(versions=True, object_lock="compliance")
    assert bare.spec.prove(settings, bare.runtime)["object_lock"] is True
    assert bare.wire.names(bare.bucket, versions="true") == []


@pytest.mark.parametrize("size", [0, 9, 33 * MIB])
def test_gcs_a_lock_is_there_from_the_first_moment(bare: Any, size: int) -> None:
    """Whatever its size, an object comes into being with its hold and period in one step, and no
    staging name has a generation left."""
    store = locking(bare)
    until = soon()
    info = put(store, b"x" * size, locked(until - 1, hold=True), if_absent=True)
    assert lock_of(info) == (until, True)
    assert store.head(SCOPE, "k") == info
    said = bare.wire.describe(bare.bucket, NAME)
    assert (said["metageneration"], said["temporaryHold"]) == ("1", True)
    assert said["retention"]["mode"] == "Unlocked"
    assert bare.wire.names(bare.bucket, versions="true") == [NAME]
    assert bare.read(store, "k") == b"x" * size


def test_gcs_a_period_takes_no_detour(bare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has a period and no hold is one request, with the period in it."""
    store = locking(bare, "compliance")
    monkeypatch.delattr("nexus_gcs._write.staged")
    until = soon()
    info = put(store, b"x", locked(until))
    assert lock_of(info) == (until, False)
    said = bare.wire.describe(bare.bucket, NAME)
    assert (said["metageneration"], said["retention"]["mode"]) == ("1", "Locked")


def test_gcs_a_held_write_keeps_its_condition(bare: Any) -> None:
    """A write with a hold names what it replaces as any other; one that is refused leaves nothing
    where it was staged."""
    store = locking(bare)
    first = put(store, b"one")
    held = locked(hold=True)
    with pytest.raises(AlreadyExistsError):
        put(store, b"two", held, if_absent=True)
    second = put(store, b"two", held, if_match=first.etag)
    with pytest.raises(PreconditionFailedError):
        put(store, b"three", held, if_match=first.etag)
    assert store.head(SCOPE, "k") == second
    assert bare.wire.names(bare.bucket, versions="true") == [NAME, NAME]


def test_gcs_what_is_held_is_not_replaced_and_what_has_a_period_is_kept(bare: Any) -> None:
    """The engine refuses to replace or delete what is held, by whatever way; what has a period
    becomes an old version, which nothing destroys."""
    store = locking(bare)
    held = put(store, b"held", locked(hold=True))
    bare.put(store, "free", b"free")
    attempts: list[Callable[[], Any]] = [
        lambda: put(store, b"new"),
        lambda: put(store, b"new", locked(hold=True), if_match=held.etag),
        lambda: store.copy(SCOPE, "free", "k", PLAIN),
        lambda: store.set_system(SCOPE, "k", {"stamp": "1"}, if_match=held.etag),
        lambda: store.delete(SCOPE, "k"),
        lambda: store.delete(SCOPE, "k", if_match=held.etag),
    ]
    for attempt in attempts:
        with pytest.raises(RetentionError) as caught:
            attempt()
        assert caught.value.outcome is Outcome.NOT_APPLIED
    assert dict(store.delete_many(SCOPE, ["k"])) == {"k": RetentionError.code}
    assert store.head(SCOPE, "k") == held
    store.set_lock(SCOPE, "k", held.version_id, legal_hold=False, retain_until=soon())
    put(store, b"new")
    store.delete(SCOPE, "k")
    with pytest.raises(RetentionError):
        store.purge(SCOPE, "k", [held.version_id])
    with store.open_version(SCOPE, "k", held.version_id) as stream:
        assert b"".join(stream.chunks) == b"held"
        assert lock_of(stream.info)[0] is not None


def test_gcs_an_upload_takes_its_lock_when_it_is_registered(bare: Any) -> None:
    """What comes by a signed URL has no lock; the copy that registers it has, from its first
    moment, whatever the source's is."""
    store = locking(bare)
    bare.put(store, "upload", b"x")
    until = soon()
    made = store.copy(SCOPE, "upload", "k", locked(until, hold=True), if_absent=True)
    assert lock_of(made) == (until, True)
    assert bare.wire.describe(bare.bucket, NAME)["metageneration"] == "1"
    assert lock_of(store.copy(SCOPE, "k", "free", PLAIN)) == (None, False)
    store.delete(SCOPE, "free")


def test_gcs_a_restored_version_drops_a_period_that_is_over(bare: Any) -> None:
    """What is restored has the lock of its version, but for a period that has passed."""
    store = locking(bare)
    old = put(store, b"old", locked(soon()))
    put(store, b"new")
    store.set_lock(SCOPE, "k", old.version_id, legal_hold=True)
    bare.runtime = attrs.evolve(bare.runtime, now=lambda: soon(3))
    assert lock_of(locking(bare).restore(SCOPE, "k", old.version_id)) == (None, True)


# -- changing a lock -----------------------------------------------------------------------------


def test_gcs_what_is_compliant_stays_so(bare: Any) -> None:
    """A locked period stays locked whatever the settings say by now, and an unlocked one is locked
    when it is extended by a store that locks; neither can then be shortened by anybody."""
    strict = locking(bare, "compliance")
    lax = bare.build(versions=True, object_lock="governance")
    first, second = put(strict, b"one", locked(soon())), put(lax, b"two", locked(soon()))
    for store, info in ((lax, first), (strict, second)):
        until = soon(3)
        made = store.set_lock(SCOPE, "k", info.version_id, retain_until=until)
        assert lock_of(made) == (until, False)
        generation = info.version_id.partition("-")[0]
        said = bare.wire.describe(bare.bucket, NAME, generation=generation)
        assert said["retention"]["mode"] == "Locked"


def test_gcs_two_who_change_a_lock_do_not_undo_each_other(
    bare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What others say of a version between the look and the change stands: their hold stays beside
    our period, and a period of theirs that is longer than ours is an error."""
    store = locking(bare)
    info = put(store, b"x")
    send, until = _locking._patch, soon()
    theirs: list[Mapping[str, Any]] = [{"temporaryHold": True}]

    def meanwhile(engine: Any, blob: Any, *, override: bool) -> None:
        while theirs:
            patch(bare, info, **theirs.pop())
        send(engine, blob, override=override)

    monkeypatch.setattr("nexus_gcs._locking._patch", meanwhile)
    made = store.set_lock(SCOPE, "k", info.version_id, retain_until=until)
    assert lock_of(made) == (until, True)
    theirs.append({"retention": {"mode": "Unlocked", "retainUntilTime": "2100-01-01T00:00:00Z"}})
    with pytest.raises(RetentionError):
        store.set_lock(SCOPE, "k", info.version_id, retain_until=until + SECOND)
    assert lock_of(store.head(SCOPE, "k")) == (4_102_444_800 * SECOND, True)


def test_gcs_a_lock_that_others_keep_changing_is_not_waited_for(
    bare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who undoes every change ends in an error that leaves open what stands."""
    store = locking(bare)
    info = put(store, b"x")
    monkeypatch.setattr("nexus_gcs._locking._ROUNDS", 2)
    monkeypatch.setattr("nexus_gcs._locking._patch", lambda *_, **__: None)
    with pytest.raises(UnavailableError) as caught:
        store.set_lock(SCOPE, "k", info.version_id, legal_hold=True)
    assert caught.value.outcome is Outcome.UNKNOWN


def test_gcs_what_is_gone_is_not_locked(bare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that is destroyed between the look and the change is absent, as ever after."""
    store = locking(bare)
    info = put(store, b"x")
    send = _locking._patch

    def meanwhile(engine: Any, blob: Any, *, override: bool) -> None:
        store.purge(SCOPE, "k", [info.version_id])
        send(engine, blob, override=override)

    monkeypatch.setattr("nexus_gcs._locking._patch", meanwhile)
    with pytest.raises(NotFoundError):
        store.set_lock(SCOPE, "k", info.version_id, legal_hold=True)


def test_gcs_a_lost_answer_to_our_own_lock_is_found_out(bare: Any) -> None:
    """The engine has locked and its answer is lost: a look tells; where no answer ever comes, the
    error says that nobody knows."""
    sure = locking(bare)
    info = put(sure, b"x")
    with FaultProxy(bare.info["host"], bare.info["port"]) as proxy:
        brief = {"connect_seconds": 1, "read_seconds": 1, "port": proxy.port}
        settings = {"versions": True, "object_lock": "governance", **brief}
        store = bare.build(**settings, attempts=2)
        store.head(SCOPE, "k")
        strikes = proxy.set(Fault("lost_response", after=1, times=1))
        made = store.set_lock(SCOPE, "k", info.version_id, legal_hold=True)
        assert strikes.count == 1
        assert lock_of(made) == (None, True)
        assert bare.wire.describe(bare.bucket, NAME)["metageneration"] == "2"
        once = bare.build(**settings, attempts=1)
        once.head(SCOPE, "k")
        proxy.set(Fault("lost_response", after=1))
        with pytest.raises(UnavailableError) as caught:
            once.set_lock(SCOPE, "k", info.version_id, legal_hold=False)
        assert caught.value.outcome is Outcome.UNKNOWN
    assert lock_of(sure.head(SCOPE, "k")) == (None, False)


def test_gcs_a_period_that_the_engine_does_not_take_is_told_so(bare: Any) -> None:
    """A period of more than a hundred years is the caller's mistake, and changes nothing."""
    store = locking(bare)
    info = put(store, b"x")
    far = (int(time.time()) + 101 * 366 * 86_400) * SECOND
    calls: list[Callable[[], Any]] = [
        lambda: put(store, b"y", locked(far)),
        lambda: put(store, b"y", locked(far, hold=True)),
        lambda: store.set_lock(SCOPE, "k", info.version_id, retain_until=far),
    ]
    for call in calls:
        with pytest.raises(InvalidArgumentError) as caught:
            call()
        assert caught.value.outcome is Outcome.NOT_APPLIED
    assert store.head(SCOPE, "k") == info
    assert bare.wire.names(bare.bucket, versions="true") == [NAME]


@pytest.mark.parametrize("transport", ["sdk"], indirect=True)
@pytest.mark.parametrize("mode", ["Unlocked", "Locked"])
def test_gcs_our_server_keeps_periods_as_the_service_does(bare: Any, mode: str) -> None:
    """By hand: a period is extended freely, an unlocked one shortened, removed or locked by name
    alone and a locked one never, and conditions are looked at before locks."""
    info = put(locking(bare), b"x")
    path = f"{bare.wire.path(bare.bucket, NAME)}?generation={info.version_id.partition('-')[0]}"
    head = {**bare.wire._bearer(), "Content-Type": "application/json"}

    def said(method: str, query: str = "", **changes: Any) -> int:
        data = json.dumps(changes).encode() if changes else b""
        return int(bare.wire.send(method, path + query, data, head)[0])

    def period(day: str, mode: str = mode) -> dict[str, Any]:
        return {"retention": {"mode": mode, "retainUntilTime": f"{day}T00:00:00Z"}}

    by_name = "&overrideUnlockedRetention=true"
    allowed = 200 if mode == "Unlocked" else 403
    none: dict[str, Any] = {"retention": {"mode": None, "retainUntilTime": None}}
    answers = [
        (said("PATCH", **period("2000-01-01")), 400),
        (said("PATCH", **period("2200-01-01")), 400),
        (said("PATCH", **period("2090-01-01", "Other")), 400),
        (said("PATCH", retention={"mode": mode}), 400),
        (said("PATCH", eventBasedHold=True), 501),
        (said("PATCH", **period("2090-01-01")), 200),
        (said("PATCH", **period("2091-01-01")), 200),
        (said("PATCH", retention={}), 200),
        (said("PATCH", **period("2090-01-01")), 403),
        (said("PATCH", **none), 403),
        (said("PATCH", temporaryHold=True), 200),
        (said("DELETE"), 403),
        (said("DELETE", "&ifGenerationMatch=1"), 412),
        (said("PATCH", temporaryHold=False), 200),
        (said("DELETE"), 403),
        (said("PATCH", by_name, **period("2090-01-01")), allowed),
        (said("PATCH", by_name, **none), allowed),
        (said("DELETE"), 204 if mode == "Unlocked" else 403),
    ]
    assert [got for got, _ in answers] == [due for _, due in answers]


def test_gcs_our_server_takes_no_period_where_none_was_provided_for(bare: Any) -> None:
    """By hand: a bucket that was made without object retention takes no period and cannot be
    changed to, and a hold needs none of that."""
    bare.provision(versions=True)
    where = f"/storage/v1/b/{bare.bucket}"
    bare.wire.ask("PATCH", where, b'{"objectRetention": {"mode": "Enabled"}}')
    store = bare.build(versions=True, object_lock="governance")
    for attributes in (locked(soon()), locked(soon(), hold=True)):
        with pytest.raises(InvalidArgumentError):
            put(store, b"x", attributes)
    assert lock_of(put(store, b"x", locked(hold=True))) == (None, True)
    assert bare.spec.prove(bare.settings(versions=True), bare.runtime)["object_lock"] is False


@pytest.mark.parametrize(
    ("reason", "message", "kind"),
    [
        ("forbidden", "Object 'b/k' is under active Temporary hold and cannot be", Kind.RETAINED),
        ("forbidden", "Object 'b/k' is under active Event-Based hold and cannot", Kind.RETAINED),
        ("objectUnderActiveHold", "Object replacement is not allowed", Kind.RETAINED),
        ("retentionPolicyNotMet", "Object 'b/k' is subject to retention", Kind.RETAINED),
        ("forbidden", "x@example.org does not have storage.objects.delete access", Kind.DENIED),
        ("forbidden", "x@example.org may not see 'is under active hold'", Kind.DENIED),
    ],
)
def test_gcs_a_refusal_is_told_from_a_missing_right(reason: str, message: str, kind: Kind) -> None:
    """What a lock keeps is told from what the credentials may not do, by the reason, or by the
    words where both have the same reason."""
    said = {"error": {"message": message, "errors": [{"reason": reason}]}}
    failure = refused(403, SimpleNamespace(json=lambda: said, headers={}))
    assert failure.kind is kind
    assert isinstance(translate(failure), RetentionError) is (kind is Kind.RETAINED)
