"""Records and their bytes: what fits in, what comes back, what erasing leaves, what is noticed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import struct
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_core._audit import AuditRecord, ErasedRecord, decode
from nexus_core._audit.leaf import check_entry, encode_leaf, seal
from nexus_core._model.context import RequestContext
from nexus_core._model.errors import AuditVerificationError, InvalidArgumentError
from nexus_core.spi import LogEntry, Phase, Scope

from .making import OTHER, SCOPE, START, record, tag

ORIGIN = "nexus.audit/v1/prod/acme"
SALT = bytes(range(32))


def entry_of(made: AuditRecord, index: int = 7, base: int = 5, salt: bytes = SALT) -> LogEntry:
    assert made.at is not None
    sealed = seal(made)
    return LogEntry(
        index=index,
        leaf=encode_leaf(made, sealed, salt, origin=ORIGIN, index=index, base=base, at=made.at),
        salt=salt,
        sealed=sealed,
        subject_tag=made.subject_tag,
        operation=made.operation,
        phase=made.phase,
        recorded_at=made.at,
    )


def erased(entry: LogEntry) -> LogEntry:
    return attrs.evolve(entry, salt=None, sealed=None, subject_tag=None)


codes = st.from_regex(r"[a-z][a-z0-9_]{0,9}(\.[a-z][a-z0-9_]{0,9}){0,3}", fullmatch=True)
names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True)
tokens = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
identifiers = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,30}", fullmatch=True)
ids = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40
)
numbers = st.integers(0, 2**53 - 1)


@st.composite
def records(draw: st.DrawFn) -> AuditRecord:
    phases: list[Phase] = ["intent", "outcome", "access", "denied", "event"]
    phase = draw(st.sampled_from(phases))
    subject = draw(st.none() | identifiers)
    return AuditRecord(
        phase=phase,
        action=draw(codes),
        operation=draw(names),
        outcome=None if phase == "intent" else draw(codes),
        at=draw(numbers),
        actor=draw(identifiers),
        actor_kind=draw(st.sampled_from(["human", "agent", "system"])),
        role=draw(st.sampled_from(["owner", "admin", "member", "viewer"])),
        trace_id=draw(st.from_regex(r"[0-9a-f]{32}", fullmatch=True)),
        request_id=draw(identifiers),
        subject=subject,
        subject_tag=None if subject is None else tag(SCOPE, subject),
        purpose=draw(st.none() | tokens),
        store=draw(st.none() | names),
        kind=draw(st.none() | tokens),
        space=draw(st.none() | names),
        ids=draw(st.lists(ids, max_size=5)),
        count=draw(st.none() | numbers),
        details=draw(
            st.dictionaries(
                st.sampled_from(["index", "bytes", "sha256", "reason", "retain_until"]),
                st.booleans()
                | st.integers(-(2**53) + 1, 2**53 - 1)
                | st.from_regex(r"[!-~]{1,128}", fullmatch=True),
            )
        ),
    )


@settings(max_examples=50, deadline=None)
@given(records(), st.integers(0, 2**40), st.binary(min_size=32, max_size=32))
def test_a_record_comes_back_as_it_was(made: AuditRecord, index: int, salt: bytes) -> None:
    """Whatever a record says, its entry decodes to an equal record that knows its index."""
    again = decode(entry_of(made, index=index, base=index, salt=salt), SCOPE)
    assert isinstance(again, AuditRecord)
    assert again == made
    assert again.index == index


@settings(max_examples=50, deadline=None)
@given(records())
def test_the_bytes_are_as_documented(made: AuditRecord) -> None:
    """An independent reading of the documentation gives the same bytes."""
    entry = entry_of(made)
    open_part: dict[str, Any] = {
        "action": made.action,
        "at": made.at,
        "base": 5,
        "erasable": made.subject is not None,
        "index": 7,
        "operation": made.operation,
        "phase": made.phase,
    }
    if made.phase != "intent":
        open_part["outcome"] = made.outcome
    sealed: dict[str, Any] = {
        "actor": made.actor,
        "actor_kind": str(made.actor_kind),
        "role": str(made.role),
        "trace_id": made.trace_id,
        "request_id": made.request_id,
    }
    for name in ("subject", "purpose", "store", "kind", "space", "count"):
        if getattr(made, name) is not None:
            sealed[name] = getattr(made, name)
    if made.subject_tag is not None:
        sealed["subject_tag"] = base64.b64encode(made.subject_tag).decode()
    if made.ids:
        sealed["ids"] = list(made.ids)
    if made.details:
        sealed["details"] = dict(made.details)

    head, body = (
        json.dumps(part, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        for part in (open_part, sealed)
    )
    framed = b"".join(struct.pack(">I", len(p)) + p for p in (ORIGIN.encode(), head, body))
    commitment = hmac.new(SALT, framed, hashlib.sha256).digest()
    assert entry.leaf == b"\x01" + struct.pack(">I", len(head)) + head + commitment
    assert entry.sealed == body


@settings(max_examples=50, deadline=None)
@given(records())
def test_an_erased_record_keeps_what_names_nobody(made: AuditRecord) -> None:
    """After erasure the open part is still read, and a record without a tag cannot be erased."""
    entry = erased(entry_of(made))
    if made.subject_tag is None:
        with pytest.raises(AuditVerificationError):
            decode(entry, SCOPE)
        return
    assert decode(entry, SCOPE) == ErasedRecord(
        index=7,
        phase=made.phase,
        action=made.action,
        operation=made.operation,
        outcome=made.outcome,
        at=made.at or 0,
    )


def test_the_leaf_names_nobody() -> None:
    """Nothing that is sealed stands in the leaf, in clear or as its plain hash."""
    made = record(ids=("mail/alice-smith",), details={"sha256": "ab" * 32})
    entry = entry_of(made)
    for value in ("alice", "agent-7", made.trace_id, made.request_id, "letters", "ab" * 32):
        assert value.encode() not in entry.leaf
        assert hashlib.sha256(value.encode()).digest() not in entry.leaf
    assert hashlib.sha256(entry.sealed or b"").digest() not in entry.leaf


@pytest.mark.parametrize("made", [record(), record(None), record(phase="outcome")])
def test_any_changed_byte_is_noticed(made: AuditRecord) -> None:
    """Whatever byte of leaf, salt, sealed part or tag is changed, dropped or added: noticed."""
    entry = entry_of(made)
    for field in ("leaf", "salt", "sealed", "subject_tag"):
        data: bytes | None = getattr(entry, field)
        if data is None:
            continue
        for at in range(len(data)):
            for changed in (
                data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :],
                data[:at] + bytes([data[at] ^ 0x80]) + data[at + 1 :],
                data[:at] + data[at + 1 :],
                data[:at] + b" " + data[at:],
            ):
                tampered(altered(entry, **{field: changed}))
        tampered(altered(entry, **{field: b""}))


def altered(entry: LogEntry, **changes: Any) -> LogEntry:
    return attrs.evolve(entry, **changes)


def tampered(entry: LogEntry, scope: Scope = SCOPE) -> None:
    with pytest.raises(AuditVerificationError) as caught:
        decode(entry, scope)
    assert caught.value.index == entry.index


@pytest.mark.parametrize(
    "change",
    [
        {"index": 8},
        {"operation": "op-x"},
        {"phase": "event"},
        {"recorded_at": START},
        {"salt": None},
        {"sealed": None},
        {"subject_tag": None},
        {"subject_tag": tag(SCOPE, "bob")},
        {"salt": None, "sealed": None},
        {"salt": SALT + b"\x00"},
    ],
    ids=str,
)
def test_what_stands_beside_the_leaf_must_agree_with_it(change: dict[str, Any]) -> None:
    """Index, operation, phase, time and tag cannot be changed, nor one half be erased alone."""
    tampered(altered(entry_of(record()), **change))


def test_an_untagged_record_takes_no_tag() -> None:
    """A tag that was put on a record written without one is noticed."""
    tampered(attrs.evolve(entry_of(record(None)), subject_tag=tag(SCOPE, "alice")))


def test_an_entry_fits_into_no_other_log() -> None:
    """An entry of one scope does not decode in another, nor in another environment."""
    entry = entry_of(record())
    tampered(entry, OTHER)
    tampered(entry, Scope("acme", "dev"))


GOOD = b'{"action":"a","at":1,"base":0,"erasable":false,"index":7,"operation":"o","phase":"intent"}'


def with_head(head: bytes) -> LogEntry:
    """An entry with any open part, the commitment that belongs to it, and what it says beside."""
    sealed = seal(record(None))
    framed = b"".join(struct.pack(">I", len(p)) + p for p in (ORIGIN.encode(), head, sealed))
    commitment = hmac.new(SALT, framed, hashlib.sha256).digest()
    try:
        said = dict(json.loads(head))
    except (ValueError, TypeError, RecursionError):
        said = {}
    return LogEntry(
        index=7,
        leaf=b"\x01" + struct.pack(">I", len(head)) + head + commitment,
        salt=SALT,
        sealed=sealed,
        subject_tag=None,
        operation=said.get("operation", "o"),
        phase=said.get("phase", "intent"),
        recorded_at=said.get("at", 1),
    )


@pytest.mark.parametrize(
    "head",
    [
        b"{}",
        b"[]",
        b"null",
        GOOD.replace(b"intent", b"event"),
        GOOD.replace(b"intent", b"other"),
        GOOD.replace(b'"phase"', b'"outcome":null,"phase"'),
        GOOD.replace(b'"phase"', b'"outcome":"ok","phase"'),
        GOOD.replace(b'"at":1', b'"at":1.0'),
        GOOD.replace(b'"at":1', b'"at":true'),
        GOOD.replace(b'"at":1', b'"at":-1'),
        GOOD.replace(b'"at":1', b'"at":9007199254740992'),
        GOOD.replace(b'"at":1', b'"at":"1"'),
        GOOD.replace(b'"operation":"o"', b'"operation":7'),
        GOOD.replace(b'"intent"', b"7"),
        GOOD.replace(b"false", b"0"),
        GOOD.replace(b'"operation"', b'"note":"x","operation"'),
        GOOD.replace(b'"operation":"o",', b""),
        GOOD.replace(b'{"action":"a",', b'{"at":1,"action":"a",').replace(b'"a","at":1', b'"a"'),
        GOOD.replace(b",", b", ", 1),
        GOOD.replace(b'"a"', b'"\\u0061"', 1),
        GOOD.replace(b'"a"', b'"\\ud800"', 1),
        GOOD.replace(b'"a"', b'["a"]', 1),
        GOOD + b"\n",
        b"\xef\xbb\xbf" + GOOD,
        GOOD.decode().encode("utf-16"),
        b"[" * 100_000,
        b'{"at":' + b"9" * 5000 + b"}",
        b"\xff",
    ],
)
def test_an_open_part_has_one_form(head: bytes) -> None:
    """Even with a commitment of its own, an open part of another form is not a leaf."""
    assert check_entry(with_head(GOOD), 7, ORIGIN).index == 7
    assert head != GOOD
    with pytest.raises(AuditVerificationError, match="its leaf is not one"):
        check_entry(with_head(head), 7, ORIGIN)


@pytest.mark.parametrize("sealed", [b"[]", b"{}", b'{"actor":"a"}', b'{ "a":1}', b"[" * 99_999])
def test_a_sealed_part_has_the_fields_of_a_record(sealed: bytes) -> None:
    """Even with a commitment of its own, a sealed part that is no record's does not decode."""
    made = attrs.evolve(record(None), at=START)
    leaf = encode_leaf(made, sealed, SALT, origin=ORIGIN, index=7, base=5, at=START)
    tampered(attrs.evolve(entry_of(made), leaf=leaf, sealed=sealed))


def test_a_huge_batch_keeps_every_id() -> None:
    """Ten thousand ids in one call are ten thousand ids in its record."""
    many = tuple(f"atm_{number:032d}" for number in range(10_000))
    again = decode(entry_of(record(ids=many, count=len(many))), SCOPE)
    assert isinstance(again, AuditRecord)
    assert again.ids == many


def test_a_record_above_sixteen_mebibytes_is_refused() -> None:
    """A record too large for a sink is refused when it is sealed, with a way out."""
    with pytest.raises(InvalidArgumentError, match="fewer ids"):
        seal(record(ids=("x" * 1000,) * 17_000))


SENTENCE = "Dear Sir, the tumour was benign"


@pytest.mark.parametrize(
    "change",
    [
        {"action": SENTENCE},
        {"action": "Raw.put"},
        {"action": "a.b.c.d.e"},
        {"operation": SENTENCE},
        {"operation": "alice@example.com"},
        {"phase": "other"},
        {"outcome": "ok"},
        {"phase": "outcome", "outcome": None},
        {"phase": "outcome", "outcome": SENTENCE},
        {"at": -1},
        {"at": 1.5},
        {"at": True},
        {"at": 2**53},
        {"actor": SENTENCE},
        {"actor": "x" * 129},
        {"actor_kind": "robot"},
        {"role": "root"},
        {"trace_id": "AB" * 16},
        {"request_id": SENTENCE},
        {"subject": SENTENCE},
        {"subject_tag": None},
        {"subject_tag": b"short"},
        {"subject_tag": "x" * 32},
        {"purpose": SENTENCE},
        {"store": SENTENCE},
        {"kind": SENTENCE},
        {"space": SENTENCE},
        {"ids": ("line\nbreak",)},
        {"ids": ("\ud800",)},
        {"ids": ("",)},
        {"ids": ("x" * 1025,)},
        {"ids": ("ü" * 513,)},
        {"ids": (7,)},
        {"ids": "one"},
        {"count": -1},
        {"count": "1"},
        {"details": {"reason": SENTENCE}},
        {"details": {"reason": "x" * 129}},
        {"details": {"reason": 1.5}},
        {"details": {"reason": None}},
        {"details": {"reason": ["x"]}},
        {"details": {"bytes": 2**53}},
        {"details": {"Reason": "x"}},
        {"details": {f"d{i}": i for i in range(17)}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_does_not_belong_in_a_record_is_refused(change: dict[str, Any]) -> None:
    """Every field has a grammar that no sentence passes; the refusal does not repeat the value."""
    with pytest.raises(InvalidArgumentError) as caught:
        record(**change)
    assert "tumour" not in str(caught.value)


def test_a_record_has_no_field_for_content() -> None:
    """An unknown field cannot be given, and an unknown detail is refused when it is sealed."""
    with pytest.raises(TypeError):
        record(content=SENTENCE)
    with pytest.raises(InvalidArgumentError, match="not on the list"):
        seal(record(details={"text": "short"}))


def test_an_older_reader_reads_newer_details() -> None:
    """A detail that was put on the list later is read back and not taken for tampering."""
    plain = record(None)
    newer = attrs.evolve(plain, details={"from_a_later_release": "x"})
    sealed = seal(plain).replace(b'"ids":', b'"details":{"from_a_later_release":"x"},"ids":')
    leaf = encode_leaf(plain, sealed, SALT, origin=ORIGIN, index=7, base=5, at=plain.at or 0)
    assert decode(attrs.evolve(entry_of(plain), leaf=leaf, sealed=sealed), SCOPE) == newer


class Ring:
    """Keys for tests, each telling what it was asked for."""

    def signing_seed(self, scope: Scope) -> bytes:
        return hashlib.sha256(f"seed {scope}".encode()).digest()

    def subject_tag(self, scope: Scope, subject: str) -> bytes:
        return tag(scope, subject)


def test_a_record_is_made_from_a_context() -> None:
    """Who, in what role, about whom and in which trace come from the request's context."""
    context = RequestContext.build(
        tenant_id="acme",
        env="prod",
        actor_id="dr-who",
        actor_kind="human",
        role="admin",
        subject="alice",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        request_id="r-1",
    )
    made = AuditRecord.of(
        context,
        Ring(),
        phase="intent",
        action="raw.put",
        operation="op-1",
        ids=["a", "b"],
        details={"bytes": 3},
    )
    assert (made.actor, made.actor_kind, made.role) == ("dr-who", "human", "admin")
    assert (made.subject, made.subject_tag) == ("alice", tag(SCOPE, "alice"))
    assert (made.trace_id, made.request_id) == ("0af7651916cd43dd8448eb211c80319c", "r-1")
    assert made.ids == ("a", "b")
    nobody = AuditRecord.of(
        attrs.evolve(context, subject=None),
        Ring(),
        phase="access",
        action="raw.get",
        operation="op-2",
        outcome="ok",
    )
    assert (nobody.subject, nobody.subject_tag) == (None, None)


def test_an_intent_is_settled_under_its_own_operation() -> None:
    """The answer to an intent keeps who and what, says what became of it, and has its own time."""
    intent = attrs.evolve(record(ids=("a",), count=1, details={"bytes": 3}), index=4)
    plain = intent.settled("store.timeout")
    assert plain == attrs.evolve(intent, phase="outcome", outcome="store.timeout", at=None)
    assert plain.index is None
    told = intent.settled("ok", at=START, ids=["b", "c"], count=2, details={"version": 2})
    assert (told.ids, told.count, told.details, told.at) == (("b", "c"), 2, {"version": 2}, START)
    assert (told.operation, told.actor, told.subject) == (intent.operation, "agent-7", "alice")
