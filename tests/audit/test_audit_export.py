"""Exports: the fields that leave, the published requirements they meet, and what stops them."""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime
from typing import Any

import attrs
import pytest

from nexus_core._audit import AuditRecord, export_bundle, export_json_lines, export_ocsf
from nexus_core._model.errors import AuditVerificationError

from .making import SCOPE, START, filled, open_log, record, tag, verifier
from .sink import MemorySink
from .tampering import BATCHES, SIZE

# What the published schemas require, by hand: https://schema.ocsf.io/1.8.0, classes
# datastore_activity and api_activity with the objects in them, and the CloudEvents
# specification 1.0.2, section "Required Attributes".
OCSF_REQUIRED = {
    "activity_id",
    "actor",
    "category_uid",
    "class_uid",
    "metadata",
    "severity_id",
    "src_endpoint",
    "time",
    "type_uid",
}
OCSF_ACTIVITIES = {
    6005: {1: "Read", 2: "Update", 4: "Query", 5: "Write", 6: "Create", 7: "Delete", 8: "List"},
    6003: {1: "Create", 2: "Read", 3: "Update", 4: "Delete"},
}
ACTOR_ONE_OF = {"process", "user", "invoked_by", "session", "app_name", "app_uid"}
USER_TYPES = {1: "User", 2: "Admin", 3: "System", 4: "Service"}
ENDPOINT_ONE_OF = {"ip", "uid", "name", "hostname", "instance_uid"}
CLOUD_EVENT_REQUIRED = {"id", "source", "specversion", "type"}
CLOUD_EVENT_OPTIONAL = {"datacontenttype", "dataschema", "subject", "time", "data"}

ACTIONS = {
    "raw.get": (6005, 1),
    "raw.put": (6005, 5),
    "raw.list": (6005, 8),
    "raw.delete": (6005, 7),
    "raw.presign": (6005, 99),
    "atom.update": (6005, 2),
    "atom.query": (6005, 4),
    "vector.query": (6005, 4),
    "vector.upsert": (6005, 5),
    "ingest": (6005, 5),
    "retrieve": (6005, 4),
    "lineage.read": (6005, 1),
    "erase.subject": (6005, 7),
    "definition.propose": (6003, 1),
    "definition.apply": (6003, 3),
    "audit.read": (6003, 2),
    "audit.export": (6003, 2),
    "recover": (6003, 99),
    "isolation.alarm": (6003, 99),
}


def logged(*records: AuditRecord) -> MemorySink:
    sink = MemorySink()
    open_log(sink).append(records)
    return sink


def json_lines(sink: MemorySink) -> list[dict[str, Any]]:
    return [json.loads(line) for line in export_json_lines(sink, SCOPE, verifier())]


def events(sink: MemorySink) -> list[dict[str, Any]]:
    return [json.loads(line) for line in export_ocsf(sink, SCOPE, verifier())]


def test_json_lines_say_all_a_record_says() -> None:
    """Each record is one line with all its fields and its place, and nothing of keys or salts."""
    made = record(count=1, details={"bytes": 3})
    (line,) = json_lines(logged(made))
    said = attrs.asdict(made) | {
        "tenant_id": "acme",
        "env": "prod",
        "index": 0,
        "erased": False,
        "ids": list(made.ids),
        "actor_kind": "agent",
        "role": "member",
    }
    del said["subject_tag"]
    assert line == said


def test_an_erased_record_is_marked() -> None:
    """After an erasure the line is marked and holds the permanent fields only."""
    made = record()
    sink = logged(made)
    sink.erase_sealed(SCOPE, tag(SCOPE, "alice"))
    (line,) = json_lines(sink)
    assert line == {
        "tenant_id": "acme",
        "env": "prod",
        "index": 0,
        "at": made.at,
        "phase": "intent",
        "action": "raw.put",
        "outcome": None,
        "operation": made.operation,
        "erased": True,
    }
    (event,) = events(sink)
    text = json.dumps(event)
    assert not [word for word in ("alice", "agent-7", made.trace_id, "letters") if word in text]
    conforms(event)


def test_every_line_is_whole() -> None:
    """Every exporter yields whole lines of UTF-8 JSON, in the log's order, at any page size."""
    sink = filled(BATCHES)
    for export in (export_json_lines, export_ocsf, export_bundle):
        sink.page = 1000
        lines = list(export(sink, SCOPE, verifier()))
        sink.page = 2
        assert list(export(sink, SCOPE, verifier())) == lines
        assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    assert [line["index"] for line in json_lines(sink)] == list(range(SIZE))
    assert [event["id"] for event in events(sink)] == [str(i) for i in range(SIZE)]


def test_an_empty_log_exports_nothing() -> None:
    """A scope without a log has no lines, and a bundle with nothing but its header."""
    assert json_lines(MemorySink()) == events(MemorySink()) == []
    header = (
        b'{"format":"nexus.audit.bundle/v1","origin":"nexus.audit/v1/prod/acme","type":"bundle"}'
    )
    assert list(export_bundle(MemorySink(), SCOPE, verifier())) == [header + b"\n"]


def conforms(event: dict[str, Any]) -> dict[str, Any]:
    """Check an envelope and its event against the published requirements; return the event."""
    assert CLOUD_EVENT_REQUIRED <= event.keys() <= CLOUD_EVENT_REQUIRED | CLOUD_EVENT_OPTIONAL
    assert event["specversion"] == "1.0"
    assert event["datacontenttype"] == "application/json"
    assert all(type(event[name]) is str and event[name] for name in CLOUD_EVENT_REQUIRED)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", event["time"])

    data: dict[str, Any] = event["data"]
    assert data.keys() >= OCSF_REQUIRED
    assert data["category_uid"] == 6
    assert data["class_uid"] in OCSF_ACTIVITIES
    assert data["type_uid"] == data["class_uid"] * 100 + data["activity_id"]
    names = OCSF_ACTIVITIES[data["class_uid"]]
    if data["activity_id"] != 99:
        assert data["activity_name"] == names[data["activity_id"]]
    assert data["severity_id"] in {1, 2, 3, 4, 5}
    assert data["status_id"] in {0, 1, 2}
    assert type(data["time"]) is int
    seconds = datetime.fromisoformat(event["time"]).timestamp()
    assert abs(data["time"] - seconds * 1000) <= 1
    assert data["metadata"].keys() >= {"product", "version"}
    assert data["metadata"]["product"].keys() & {"name", "uid"}
    assert data["metadata"]["version"] == "1.8.0"
    assert data["actor"].keys() & ACTOR_ONE_OF
    if "user" in data["actor"]:
        assert data["actor"]["user"].keys() & {"account", "name", "uid"}
        assert data["actor"]["user"]["type"] == USER_TYPES[data["actor"]["user"]["type_id"]]
    assert data["src_endpoint"].keys() & ENDPOINT_ONE_OF
    if data["class_uid"] == 6005:
        stores = [data[name] for name in ("database", "databucket", "table") if name in data]
        assert stores
        assert all(store["name"] and type(store["type_id"]) is int for store in stores)
        assert event["dataschema"] == "https://schema.ocsf.io/1.8.0/classes/datastore_activity"
    else:
        assert data["api"]["operation"]
        assert all("uid" in request for request in [data["api"].get("request", {"uid": ""})])
        assert event["dataschema"] == "https://schema.ocsf.io/1.8.0/classes/api_activity"
    return data


@pytest.mark.parametrize(("action", "expected"), ACTIONS.items(), ids=str)
def test_events_meet_the_published_requirements(action: str, expected: tuple[int, int]) -> None:
    """Every kind of action gives a conforming event of the right class and activity."""
    phases = ("intent", "outcome", "access", "denied", "event")
    records = [
        record(action=action, phase=phase, actor_kind=kind, store=store)
        for phase in phases
        for kind in ("human", "agent", "system")
        for store in (None, "raw", "atoms", "vectors")
    ]
    for event in events(logged(*records)):
        data = conforms(event)
        assert (data["class_uid"], data["activity_id"]) == expected
        assert event["type"].startswith(f"nexus.audit.{action}.")


def test_an_event_says_who_did_what_and_how_it_ended() -> None:
    """Actor, operation, tenant, ids, outcome and severity are where OCSF has them."""
    sink = logged(
        record(action="definition.apply", phase="outcome", outcome="ok", ids=("def-1",)),
        record(action="raw.get", phase="denied", outcome="access.denied"),
        record(action="isolation.alarm", phase="event", outcome="isolation.violated"),
        record(action="raw.put", phase="outcome", outcome="store.timeout"),
        record(action="raw.put", phase="outcome", outcome="recovered"),
        record(action="raw.put"),
    )
    said = [conforms(event) for event in events(sink)]
    applied, denied = said[:2]
    assert applied["actor"]["user"]["uid"] == "agent-7"
    assert applied["resources"] == [{"uid": "def-1"}]
    assert applied["metadata"]["tenant_uid"] == "acme"
    assert applied["metadata"]["log_name"] == "nexus.audit/v1/prod/acme"
    assert applied["metadata"]["correlation_uid"] == sink.of(SCOPE).entries[0].operation
    assert [event["status_id"] for event in said] == [1, 2, 2, 2, 0, 0]
    assert [event["severity_id"] for event in said] == [1, 3, 5, 2, 2, 1]
    assert denied["status_code"] == "access.denied"
    assert denied["unmapped"]["ids"] == ["letters/" + denied["metadata"]["correlation_uid"][3:]]


def test_no_export_of_records_carries_tags_or_salts() -> None:
    """Tags and salts, which only verification needs, leave in the bundle alone."""
    sink = filled(BATCHES)
    entry = sink.of(SCOPE).entries[0]
    secrets = [base64.b64encode(entry.salt or b""), base64.b64encode(entry.subject_tag or b"")]
    for export in (export_json_lines, export_ocsf):
        text = b"".join(export(sink, SCOPE, verifier()))
        assert not any(secret in text for secret in secrets)
    assert all(secret in b"".join(export_bundle(sink, SCOPE, verifier())) for secret in secrets)


def test_an_altered_record_stops_the_export() -> None:
    """An export of records ends in an error at the first record that was altered or is missing."""
    for export in (export_json_lines, export_ocsf):
        altered = filled(BATCHES)
        log = altered.of(SCOPE)
        log.entries[3] = attrs.evolve(log.entries[3], recorded_at=START)
        missing = filled(BATCHES)
        del missing.of(SCOPE).entries[3]
        short = filled(BATCHES)
        del short.of(SCOPE).entries[3:]
        for sink in (altered, missing, short):
            lines = export(sink, SCOPE, verifier())
            assert len([next(lines) for _ in range(3)]) == 3
            with pytest.raises(AuditVerificationError) as caught:
                next(lines)
            assert caught.value.index == 3


def test_a_false_end_or_a_record_behind_it_stops_the_export() -> None:
    """Records are exported only under a genuine end, and only up to it."""
    unsigned = filled(BATCHES)
    head = unsigned.of(SCOPE).head
    assert head is not None
    unsigned.of(SCOPE).head = attrs.evolve(head, checkpoint=b"")
    with pytest.raises(AuditVerificationError, match="false"):
        json_lines(unsigned)
    longer = filled(BATCHES)
    log = longer.of(SCOPE)
    log.entries.append(attrs.evolve(log.entries[-1], index=SIZE))
    with pytest.raises(AuditVerificationError) as caught:
        json_lines(longer)
    assert caught.value.index == SIZE
