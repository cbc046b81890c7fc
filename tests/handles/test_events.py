"""Dataset events: one for every write and query, delivered at least once, in order, and no less."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest

from nexus_core import (
    DatasetEvent,
    EventExporter,
    IndexDefinition,
    InvalidArgumentError,
    JsonLinesExporter,
    NewAtom,
    Source,
    StoreError,
    UnavailableError,
    VectorItem,
)
from nexus_core._events.openlineage import run_event
from nexus_core.spi import Outcome

from .conftest import World, context

OWN: Any = {"kind": "data", "space": "s"}


class Kept(EventExporter):
    """Keeps what it is given; ``trouble`` is asked before each delivery."""

    def __init__(self) -> None:
        self.events: list[DatasetEvent] = []
        self.trouble: Callable[[Sequence[DatasetEvent]], None] = lambda events: None

    def export(self, events: Sequence[DatasetEvent]) -> None:
        self.trouble(events)
        self.events += events

    @property
    def numbers(self) -> list[int]:
        return [event.sequence or 0 for event in self.events]


def put(world: World, *keys: str, **who: Any) -> None:
    with world.nexus.request(context(**who)) as n:
        for key in keys:
            n.raw.put(key, key.encode(), **OWN)


def relay(world: World, exporters: dict[str, Any], *, batch: int = 100, **who: Any) -> Any:
    with world.nexus.request(context(**who)) as n:
        return n.events.relay(exporters, batch=batch)


def told(world: World, call: Callable[[Any], Any], **who: Any) -> list[DatasetEvent]:
    """Events that a call leaves."""
    kept = Kept()
    relay(world, {"probe": kept})
    kept.events.clear()
    with world.nexus.request(context(**who)) as n:
        call(n)
    relay(world, {"probe": kept})
    return kept.events


# -- every write and query -----------------------------------------------------------------------


def prepared(world: World) -> tuple[str, str]:
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"1", **OWN, pii_flags=["email"])
        n.raw.put("spare", b"2", **OWN)
        asset = n.assets.register("k").id
        (atom,) = n.atoms.put(
            asset, [NewAtom(position=0, text="t")], **OWN, operation="cut", version="1"
        )
        n.vectors.upsert("tiny", [VectorItem(id="v", vector=[1, 2])], **OWN)
        n.ingest([Source(logical_key="a", content_type="text/plain", body=b"cab\n")], **OWN)
    return asset, atom.id


CALLS: dict[str, Callable[[Any, str, str], Any]] = {
    "raw.put": lambda n, *_: n.raw.put("new", b"x", **OWN),
    "raw.copy": lambda n, *_: n.raw.copy("k", "l"),
    "raw.delete": lambda n, *_: n.raw.delete("spare"),
    "asset.put": lambda n, *_: n.assets.register("spare"),
    "asset.query": lambda n, *_: n.assets.query(),
    "atom.put": lambda n, asset, _: n.atoms.put(
        asset, [NewAtom(position=1, text="u")], **OWN, operation="cut", version="1"
    ),
    "atom.query": lambda n, *_: n.atoms.query(),
    "atom.update": lambda n, _, atom: n.atoms.update(atom, metadata={}, expected_version=1),
    "atom.delete": lambda n, _, atom: n.atoms.delete([atom]),
    "vector.upsert": lambda n, *_: n.vectors.upsert(
        "tiny", [VectorItem(id="w", vector=[1, 2])], **OWN
    ),
    "vector.query": lambda n, *_: n.vectors.query("tiny", [1, 2]),
    "vector.delete": lambda n, *_: n.vectors.delete("tiny", ["v"]),
    "retrieve": lambda n, *_: n.retrieve("cab"),
    "ingest": lambda n, *_: n.ingest(
        [Source(logical_key="b", content_type="text/plain", body=b"bad\n")], **OWN
    ),
    "definition.propose": lambda n, *_: n.definitions.propose(
        IndexDefinition(name="o", version=1, dimension=2, metric="dot", embedder="mine@1")
    ),
}


@pytest.mark.parametrize("action", CALLS)
def test_every_write_and_query_leaves_an_event(world: World, action: str) -> None:
    """The event says who, what, when, in which scope and trace, with ids and flags."""
    asset, atom = prepared(world)
    events = told(world, lambda n: CALLS[action](n, asset, atom))
    (event,) = (event for event in events if event.action == action)
    assert uuid.UUID(event.event_id).version == 7
    assert (event.tenant_id, event.env, event.actor_id) == ("acme", "dev", "ana")
    assert (event.schema_version, event.outcome) == (1, "ok")
    assert len(event.trace_id) == 32
    assert event.time > 1_800_000_000_000_000
    assert event.source_ids or event.result_ids
    assert event.train_ok is False


def test_flags_are_those_of_the_data(world: World) -> None:
    """An event carries kind, space, subject, personal data flags and what may be trained on."""
    (event,) = told(
        world,
        lambda n: n.raw.put("k", b"1", **OWN, pii_flags=["phone", "email"], train_ok=True),
        subject="u1",
    )
    assert (event.kind, event.space, event.subject) == ("data", "s", "u1")
    assert (event.pii_flags, event.train_ok) == (("email", "phone"), True)
    (found,) = (e for e in told(world, lambda n: n.raw.copy("k", "l")) if e.action == "raw.copy")
    assert (found.source_ids, found.result_ids, found.subject) == (("k",), ("l",), "u1")


def test_what_changes_nothing_leaves_no_event(world: World) -> None:
    """Deleting what is not there, or registering twice, is no change."""
    asset, _ = prepared(world)
    assert told(world, lambda n: n.raw.delete("absent")) == []
    assert told(world, lambda n: n.assets.register("k")) == []
    assert told(world, lambda n: n.vectors.delete("tiny", ["absent"])) == []
    assert asset


def test_an_effect_whose_event_is_missing_is_told_by_recovery(world: World) -> None:
    """Where the outbox fails after the effect, the call says APPLIED and recovery tells of it
    under the same id, once."""
    honest = world.atoms.commit

    def failing(*_: Any) -> Any:
        raise UnavailableError("down")

    world.atoms.commit = failing
    with world.nexus.request(context(subject="u1")) as n, pytest.raises(StoreError) as caught:
        n.raw.put("k", b"1", **OWN)
    assert caught.value.outcome is Outcome.APPLIED
    world.atoms.commit = honest
    with world.nexus.request(context()) as n:
        assert n.recover(older_than=0).settled == 1
        assert n.recover(older_than=0).settled == 0
    kept = Kept()
    relay(world, {"lake": kept})
    (event,) = kept.events
    assert (event.action, event.outcome, event.source_ids) == ("raw.put", "unknown", ("k",))
    assert (event.kind, event.subject) == ("data", "u1")


def test_an_effect_in_doubt_is_told_of_as_such(world: World) -> None:
    """A store that does not say whether it wrote leaves an event that says so; where the ledger is
    down as well, recovery tells of it."""

    def unsure(*_: Any, **__: Any) -> Any:
        raise UnavailableError("gone", outcome=Outcome.UNKNOWN)

    honest, commit = world.raw.put, world.atoms.commit
    with world.nexus.request(context()) as n:
        world.raw.put = unsure
        for key in ("a", "b"):
            with pytest.raises(UnavailableError):
                n.raw.put(key, b"1", **OWN)
            world.atoms.commit = unsure
        world.raw.put, world.atoms.commit = honest, commit
        assert [e.source_ids for e in n.events.list().items] == [("a",)]
        n.recover(older_than=0)
        events = n.events.list().items
    assert sorted((e.action, e.outcome, e.source_ids) for e in events) == [
        ("raw.put", "unknown", ("a",)),
        ("raw.put", "unknown", ("b",)),
    ]


def test_a_refused_call_leaves_no_event(world: World) -> None:
    """What is known not to have happened is not told of."""
    put(world, "a")
    assert told(world, lambda n: _refused(n, "a")) == []


def _refused(n: Any, key: str) -> None:
    with pytest.raises(StoreError):
        n.raw.put(key, b"2", **OWN)


# -- the relay -----------------------------------------------------------------------------------


def test_events_arrive_in_order_and_once(world: World) -> None:
    """What is committed later is delivered later, numbered without a gap, and not again."""
    kept = Kept()
    put(world, "a", "b")
    assert relay(world, {"lake": kept}, batch=1).ok
    put(world, "c")
    (result,) = relay(world, {"lake": kept}).exporters
    assert (result.delivered, result.position) == (1, 3)
    assert [event.result_ids for event in kept.events] == [("a",), ("b",), ("c",)]
    assert kept.numbers == [1, 2, 3]
    assert relay(world, {"lake": kept}).exporters[0].delivered == 0


def test_an_event_that_commits_late_under_an_early_id_is_delivered(world: World) -> None:
    """An id below those already delivered, from a slow writer, is not passed over."""
    kept = Kept()
    put(world, "a", "slow", "b")
    held = [r for r in world.atoms.records.values() if r.collection == "events"][1]
    place = next(at for at, record in world.atoms.records.items() if record is held)
    del world.atoms.records[place]
    relay(world, {"lake": kept})
    world.atoms.records[place] = held
    relay(world, {"lake": kept})
    assert [event.result_ids for event in kept.events] == [("a",), ("b",), ("slow",)]


def test_each_exporter_has_a_position_of_its_own(world: World) -> None:
    """An exporter that fails stops where it stands, and nothing else does."""
    good, bad = Kept(), Kept()

    def refuse(events: Sequence[DatasetEvent]) -> None:
        if any(event.result_ids == ("b",) for event in events):
            raise ConnectionError("secret place")

    bad.trouble = refuse
    put(world, "a", "b", "c")
    put(world, "x", tenant="globex")
    report = relay(world, {"bad": bad, "good": good}, batch=1)
    assert good.numbers == [1, 2, 3]
    assert bad.numbers == [1]
    assert not report.ok
    assert [(r.exporter, r.position, r.error) for r in report.exporters] == [
        ("bad", 1, "exporter.failed"),
        ("good", 3, None),
    ]
    assert "secret" not in str(report)
    assert relay(world, {"bad": bad}, tenant="globex").ok
    bad.trouble = lambda events: None
    assert relay(world, {"bad": bad}).ok
    assert [e.result_ids[0] for e in bad.events if e.tenant_id == "acme"] == ["a", "b", "c"]


def test_a_relay_that_dies_after_delivery_delivers_again(world: World) -> None:
    """Where the position could not be moved on, the next run repeats the batch, and loses none."""
    kept = Kept()
    put(world, "a", "b")
    honest = world.atoms.commit

    def killed(scope: Any, operations: Any) -> Any:
        if kept.events:
            raise UnavailableError("killed")
        return honest(scope, operations)

    world.atoms.commit = killed
    assert not relay(world, {"lake": kept}).ok
    world.atoms.commit = honest
    assert relay(world, {"lake": kept}).ok
    assert kept.numbers == [1, 2, 1, 2]
    assert len({event.event_id for event in kept.events}) == 2


def test_relays_at_once_agree_on_one_order(world: World) -> None:
    """A relay that runs in the middle of another's numbering and delivery changes no number, and
    first deliveries stay in order."""
    first, second = Kept(), Kept()
    put(world, *"abcdef")
    honest = world.atoms.commit
    busy = False

    def interposed(scope: Any, operations: Any) -> Any:
        nonlocal busy
        if not busy:
            busy = True
            relay(world, {"lake": second}, batch=2)
            busy = False
        return honest(scope, operations)

    world.atoms.commit = interposed
    relay(world, {"lake": first}, batch=2)
    world.atoms.commit = honest
    seen = {event.sequence: event.event_id for event in (*first.events, *second.events)}
    assert sorted(number or 0 for number in seen) == [1, 2, 3, 4, 5, 6]
    assert len(set(seen.values())) == 6
    for kept in (first, second):
        assert kept.numbers == sorted(kept.numbers)


def test_a_poison_event_is_put_aside_and_said(world: World) -> None:
    """An event that the destination will never take is parked, recorded and reported; the rest
    arrives."""
    kept = Kept()

    def picky(events: Sequence[DatasetEvent]) -> None:
        if any(event.result_ids == ("b",) for event in events):
            raise InvalidArgumentError("too odd")

    kept.trouble = picky
    put(world, "a", "b", "c")
    (result,) = relay(world, {"lake": kept}).exporters
    assert [event.result_ids for event in kept.events] == [("a",), ("c",)]
    assert (result.delivered, result.position, result.error) == (2, 3, None)
    (parked,) = result.parked
    assert (parked.exporter, parked.sequence, parked.error) == ("lake", 2, "store.invalid_argument")
    with world.nexus.request(context()) as n:
        assert n.events.parked() == [parked]
    assert ("event", "events.relay", "store.invalid_argument") in world.trail(context())
    assert relay(world, {"lake": kept}).exporters[0].delivered == 0


def test_an_event_that_cannot_be_read_is_put_aside(world: World) -> None:
    """A record that is not what was written stops nobody and is not passed over in silence."""
    kept = Kept()
    put(world, "a", "b", "c")
    events = [(at, r) for at, r in world.atoms.records.items() if r.collection == "events"]
    at, record = events[1]
    world.atoms.records[at] = attrs.evolve(record, body=b'{"event_id": 7}')
    (result,) = relay(world, {"lake": kept}).exporters
    assert [event.result_ids for event in kept.events] == [("a",), ("c",)]
    assert [each.error for each in result.parked] == ["store.integrity"]
    with world.nexus.request(context()) as n:
        assert len(n.events.list().broken) == 1


def test_delivery_is_on_record_before_it_happens(world: World) -> None:
    """Nothing leaves before the trail says that it does, and to whom."""
    kept = Kept()
    seen: list[int] = []

    def look(_: Sequence[DatasetEvent]) -> None:
        log = world.audit.logs[context().scope]
        seen.append(len(log.entries))

    kept.trouble = look
    put(world, "a")
    before = len(world.audit.logs[context().scope].entries)
    relay(world, {"lake": kept})
    assert seen == [before + 1]
    with world.nexus.request(context(role="owner")) as n:
        (record,) = (r for r in n.audit.read(limit=100).items if r.action == "events.relay")
        assert record.ids[0] == "exporter:lake"  # type: ignore[union-attr]  # nothing is erased


def test_events_are_listed_by_page(world: World) -> None:
    """A listing gives every event once, the unnumbered first, then by number."""
    put(world, "a", "b")
    relay(world, {"lake": Kept()})
    put(world, "c")
    found: list[Any] = []
    with world.nexus.request(context()) as n:
        page = n.events.list(limit=1)
        found += page.items
        while page.cursor is not None:
            page = n.events.list(limit=1, cursor=page.cursor)
            found += page.items
    assert [event.sequence for event in found] == [None, 1, 2]
    assert [event.result_ids[0] for event in found] == ["c", "a", "b"]


@pytest.mark.parametrize("exporters", [{"A b": Kept()}, {"lake": object()}])
def test_a_thing_that_is_no_exporter_is_refused(world: World, exporters: Any) -> None:
    """Exporters have plain names and are what they say."""
    with pytest.raises(InvalidArgumentError):
        relay(world, exporters)


# -- exporters -----------------------------------------------------------------------------------


def test_lines_are_the_events_themselves(world: World, tmp_path: Any) -> None:
    """A line is one event as JSON, and reads back as the event."""
    kept = Kept()
    path = tmp_path / "events.jsonl"
    put(world, "a", "b")
    relay(world, {"lake": kept, "file": JsonLinesExporter(path)}, batch=1)
    lines = path.read_bytes().splitlines()
    assert [json.loads(line) for line in lines] == [event.to_data() for event in kept.events]
    assert path.read_bytes().endswith(b"\n")


@pytest.mark.parametrize("torn", [b'{"half', b"x" * 200_000, b""])
def test_a_line_that_a_crash_tore_is_cut_off(world: World, tmp_path: Any, torn: bytes) -> None:
    """Whatever a crash left behind the last whole line is gone once more is written."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"whole":1}\n' + torn)
    put(world, "a")
    relay(world, {"file": JsonLinesExporter(path)})
    first, second = path.read_bytes().splitlines()
    assert first == b'{"whole":1}'
    assert json.loads(second)["action"] == "raw.put"


def test_a_file_that_cannot_be_written_is_a_failure_of_that_exporter(
    world: World, tmp_path: Any
) -> None:
    """A missing folder keeps every event for later."""
    exporter = JsonLinesExporter(tmp_path / "gone" / "events.jsonl")
    put(world, "a")
    (result,) = relay(world, {"file": exporter}).exporters
    assert (result.error, result.position) == ("store.unavailable", 0)
    assert str(tmp_path) not in str(result)
    (tmp_path / "gone").mkdir()
    assert relay(world, {"file": exporter}).exporters[0].delivered == 1


def test_a_run_event_has_what_the_specification_asks_for(world: World) -> None:
    """An event maps to a run of its action's job, with ids as datasets of the scope's namespace."""
    asset, atom = prepared(world)
    (event,) = told(world, lambda n: n.atoms.delete([atom]))
    run = run_event(event, "lake")
    assert set(run) == {
        "eventType", "eventTime", "run", "job", "inputs", "outputs", "producer", "schemaURL",
    }  # fmt: skip
    assert run["eventType"] == "COMPLETE"
    assert run["eventTime"].endswith("+00:00")
    assert run["run"]["runId"] == event.event_id
    assert run["job"] == {"namespace": "lake/dev/acme", "name": "atom.delete", "facets": {}}
    assert [one["name"] for one in run["inputs"]] == [atom]
    (output,) = run["outputs"]
    assert output["facets"]["lifecycleStateChange"]["lifecycleStateChange"] == "DROP"
    for facet in (*run["run"]["facets"].values(), *output["facets"].values()):
        assert facet["_producer"]
        assert facet["_schemaURL"]
    (query,) = told(world, lambda n: n.assets.query())
    read = run_event(query, "lake")
    assert asset in [one["name"] for one in read["inputs"]]
    assert read["outputs"] == []
