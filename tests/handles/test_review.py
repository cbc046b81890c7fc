"""Laws that a second review asked for: protections that spread, failures that say what stands."""

from __future__ import annotations

import asyncio
import inspect
import json
import pickle
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import attrs
import pytest

from nexus_core import (
    AccessDeniedError,
    AlreadyExistsError,
    AsyncNexus,
    AsyncRequest,
    Atom,
    BackendError,
    ByteRange,
    ClosedError,
    ContextMismatchError,
    Eq,
    IndexDefinition,
    InvalidArgumentError,
    NewAtom,
    Outcome,
    PreconditionFailedError,
    QuotaExceededError,
    Request,
    RetentionError,
    Role,
    Source,
    StoreError,
    UnavailableError,
    VectorItem,
)
from nexus_core._handles.governance import Governance
from nexus_core._handles.ledger import Ledger
from nexus_core._security import permissions
from nexus_core._security.guard import Guard
from nexus_core._spi.spec import ABC_OF
from nexus_core.spi import StoreRole

from .conftest import ROOT_KEY, World, context

OWN: dict[str, Any] = {"kind": "data", "space": "docs"}
LATER = 1_900_000_000_000_000


def source(body: bytes = b"cab\n") -> Source:
    """A small text of one name."""
    return Source(logical_key="a", content_type="text/plain", body=body)


# -- what protects a thing protects what is made of it -------------------------------------------


def test_a_second_ingest_cannot_move_an_asset(world: World) -> None:
    """Bytes that are an asset already are refused under another kind or space."""
    with world.nexus.request(context()) as n:
        n.ingest([source()], **OWN)
        others: tuple[dict[str, Any], ...] = (
            {"kind": "research", "space": "docs"},
            {"kind": "data", "space": "else"},
        )
        for other in others:
            item = n.ingest([source()], **other).items[0]
            assert (item.state, item.error) == ("failed", ContextMismatchError.code)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"train_ok": True}, {}),
        ({}, {"legal_hold": True}),
        ({}, {"retain_until": LATER}),
        ({}, {"pii_flags": ["email"]}),
    ],
    ids=["train_ok", "legal_hold", "retain_until", "pii_flags"],
)
def test_a_stricter_ingest_is_not_called_unchanged(
    world: World, first: dict[str, Any], second: dict[str, Any]
) -> None:
    """An ingest that asks for more protection than the asset has does not pretend."""
    with world.nexus.request(context()) as n:
        n.ingest([source()], **OWN, **first)
        item = n.ingest([source()], **OWN, **second).items[0]
        assert (item.state, item.error) == ("failed", AlreadyExistsError.code)


def test_a_looser_ingest_loosens_nothing(world: World) -> None:
    """Rows made by a later ingest of an asset are as protected as the asset."""
    strict: dict[str, Any] = {"legal_hold": True, "retain_until": LATER, "pii_flags": ["email"]}
    with world.nexus.request(context()) as n:
        n.ingest([source()], **OWN, **strict)
        atom = n.atoms.query().items[0]
        again = n.ingest([source()], **OWN, parameters={"x": 1}, train_ok=True).items[0]
        assert again.state == "created"
        for made in n.atoms.query().items:
            assert made.governance == atom.governance
        for row in n.vectors.scan("main").items:
            assert row.governance == atom.governance


def test_a_row_is_as_protected_as_its_atom(world: World) -> None:
    """A vector of an atom inherits its flags and retention, whatever the caller says."""
    strict: dict[str, Any] = {"legal_hold": True, "retain_until": LATER, "pii_flags": ["email"]}
    with world.nexus.request(context()) as n:
        n.ingest([source()], **OWN, **strict)
        atom = n.atoms.query().items[0]
        item = VectorItem(id=atom.id, vector=[0, 0], asset=atom.asset)
        n.vectors.upsert("tiny", [item], **OWN, train_ok=True)
        (row,) = n.vectors.get("tiny", atom.id)
        assert row is not None
        assert row.governance == atom.governance
        with pytest.raises(RetentionError):
            n.vectors.delete("tiny", [atom.id])


def test_a_row_is_as_protected_as_the_asset_it_names(world: World) -> None:
    """A vector that points at an asset of this scope inherits its protection, or is refused."""
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"x", **OWN, legal_hold=True)
        asset = n.assets.register("k")
        item = VectorItem(id="v", vector=[0, 0], asset=asset.id)
        with pytest.raises(ContextMismatchError):
            n.vectors.upsert("tiny", [item], kind="research", space="docs")
        n.vectors.upsert("tiny", [item], **OWN, train_ok=True)
        (row,) = n.vectors.get("tiny", "v")
        assert row is not None
        assert (row.governance.legal_hold, row.governance.train_ok) == (True, False)


def test_a_held_row_is_not_overwritten(world: World) -> None:
    """Writing over a row that a hold protects is refused, as deleting it is."""
    with world.nexus.request(context()) as n:
        n.vectors.upsert("tiny", [VectorItem(id="v", vector=[1, 2])], **OWN, legal_hold=True)
        with pytest.raises(RetentionError):
            n.vectors.upsert("tiny", [VectorItem(id="v", vector=[3, 4])], **OWN)
        assert n.vectors.query("tiny", [1, 2])[0].distance == 0


def test_a_stricter_registration_is_not_lost(world: World) -> None:
    """An object that came back under a hold is not catalogued as the free one it was."""
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"x", **OWN, train_ok=True)
        n.assets.register("k")
        n.raw.delete("k")
        n.raw.put("k", b"x", **OWN)
        with pytest.raises(AlreadyExistsError):
            n.assets.register("k")


# -- what a failure leaves -----------------------------------------------------------------------


def test_a_long_text_that_was_never_committed_is_not_taken_for_another(world: World) -> None:
    """An atom's long text is its own, also after a put that failed with another one."""
    made: dict[str, Any] = {"operation": "cut", "version": "1"}
    honest = world.atoms.commit
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"x", **OWN)
        asset = n.assets.register("k")

        def down(*_: Any, **__: Any) -> None:
            raise UnavailableError("down", outcome=Outcome.NOT_APPLIED)

        world.atoms.commit = down
        with pytest.raises(UnavailableError):
            n.atoms.put(asset.id, [NewAtom(position=0, text="a" * 70_000)], **OWN, **made)
        world.atoms.commit = honest
        n.atoms.put(asset.id, [NewAtom(position=0, text="b" * 70_000)], **OWN, **made)
        (atom,) = n.atoms.query().items
        assert n.atoms.text(atom) == "b" * 70_000
        assert n.atoms.delete([atom.id]) == 1
        assert not [key for _, key in world.raw.objects if key.startswith("_nexus/atoms")]


def test_an_unrecorded_failure_keeps_its_own_outcome(world: World) -> None:
    """A write in doubt stays in doubt when the audit sink fails before it can say so."""
    honest = world.audit.append

    def torn(*_: Any, **__: Any) -> None:
        world.audit.append = down
        raise UnavailableError("torn", outcome=Outcome.UNKNOWN)

    def down(*_: Any, **__: Any) -> None:
        raise UnavailableError("audit", outcome=Outcome.NOT_APPLIED)

    world.raw.put = torn
    with world.nexus.request(context()) as n, pytest.raises(StoreError) as caught:
        n.raw.put("k", b"x", **OWN)
    world.audit.append = honest
    assert caught.value.message == "torn"
    assert caught.value.outcome is Outcome.UNKNOWN
    assert caught.value.__notes__ == ["audit: store.unavailable"]


def test_an_interrupt_is_not_lost_with_the_audit_sink(world: World) -> None:
    """An interrupt in the middle of a write goes on as an interrupt, whatever the sink does."""
    honest = world.audit.append

    def stopped(*_: Any, **__: Any) -> None:
        world.audit.append = down
        raise KeyboardInterrupt

    def down(*_: Any, **__: Any) -> None:
        raise UnavailableError("audit", outcome=Outcome.NOT_APPLIED)

    world.raw.put = stopped
    with world.nexus.request(context()) as n, pytest.raises(KeyboardInterrupt):
        n.raw.put("k", b"x", **OWN)
    world.audit.append = honest


def test_a_deletion_that_left_a_text_behind_says_so(world: World) -> None:
    """A deleted atom's long text that could not be removed is an error whose effect is unknown,
    and deleting again does not lose it."""
    made: dict[str, Any] = {"operation": "cut", "version": "1"}
    honest = world.raw.delete_many
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"x", **OWN)
        asset = n.assets.register("k")
        (written,) = n.atoms.put(asset.id, [NewAtom(position=0, text="a" * 70_000)], **OWN, **made)
        world.raw.delete_many = lambda _, keys: dict.fromkeys(keys, "store.unavailable")
        with pytest.raises(StoreError) as caught:
            n.atoms.delete([written.id])
        assert caught.value.outcome is Outcome.UNKNOWN
        world.raw.delete_many = honest
        n.atoms.delete([written.id])
    assert not [key for _, key in world.raw.objects if key.startswith("_nexus/atoms")]


def test_an_undone_ingest_leaves_no_bytes_unnoticed(world: World) -> None:
    """An ingest whose bytes could not be taken back stays open until they are."""
    honest = world.raw.delete_many
    world.raw.delete_many = lambda _, keys: dict.fromkeys(keys, "store.unavailable")
    with world.nexus.request(context()) as n:
        with pytest.raises(StoreError):
            n.ingest([source(b"cab\n!bad\n")], **OWN)
        world.raw.delete_many = honest
        assert [item.state for item in n.recover(older_than=0).ingests] == ["undone"]
    assert not world.raw.objects


# -- streams -------------------------------------------------------------------------------------


def test_a_stream_ends_with_its_block_and_its_request(world: World) -> None:
    """Chunks that were not taken inside the block, and the request, are not given after it."""
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"x" * 3_000_000, **OWN)
        with n.raw.open("k") as stream:
            next(stream.chunks)
        with pytest.raises(ClosedError):
            next(stream.chunks)
        held = n.raw.open("k")
        stream = held.__enter__()
        next(stream.chunks)
    with pytest.raises(ClosedError):
        next(stream.chunks)
    held.__exit__(None, None, None)


class Meddling:
    """A backend's stream whose end swallows what went wrong, or fails by itself."""

    def __init__(self, inner: Any, *, fail: bool) -> None:
        self._inner = inner
        self._fail = fail
        self.left = 0

    def __enter__(self) -> Any:
        return self._inner.__enter__()

    def __exit__(self, *error: object) -> bool:
        self.left += 1
        self._inner.__exit__(None, None, None)
        if self._fail:
            raise RuntimeError("CANARY: /srv/bucket")
        return True


def test_a_backend_cannot_swallow_what_went_wrong_in_a_stream(world: World) -> None:
    """A backend whose stream ends by suppressing errors hides neither ours nor the caller's."""
    honest = world.raw.open
    world.raw.open = lambda *a, **o: Meddling(honest(*a, **o), fail=False)
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"x" * 10, **OWN)
        with pytest.raises(QuotaExceededError):
            n.raw.get("k", max_bytes=1)
        with pytest.raises(ZeroDivisionError), n.raw.open("k"):
            raise ZeroDivisionError


def test_a_stream_that_fails_at_its_end_shows_nothing(world: World) -> None:
    """What a backend raises when its stream is closed is translated like everything else."""
    made: list[Meddling] = []
    honest = world.raw.open

    def opening(*args: Any, **options: Any) -> Meddling:
        made.append(Meddling(honest(*args, **options), fail=True))
        return made[-1]

    world.raw.open = opening
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"x" * 10, **OWN)
        with pytest.raises(BackendError) as caught:
            n.raw.get("k")
        assert "CANARY" not in "".join(traceback.format_exception(caught.value))
        with pytest.raises(ZeroDivisionError), n.raw.open("k"):
            raise ZeroDivisionError
    assert [stream.left for stream in made] == [1, 1]


def test_an_abandoned_read_ends_before_its_stream_is_closed(world: World) -> None:
    """A cancelled reader's stream is closed only when the read under way has ended."""
    began, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def chunks() -> Iterator[bytes]:
        began.set()
        assert go_on.wait(20)
        order.append("read")
        yield b"x" * 10

    honest = world.raw.open

    @contextmanager
    def opening(*args: Any, **options: Any) -> Iterator[Any]:
        with honest(*args, **options) as stream:
            yield attrs.evolve(stream, chunks=chunks())
            order.append("closed")

    async def read(a: AsyncRequest) -> None:
        async with a.raw.open("k") as stream:
            async for _ in stream.chunks:
                pass

    async def run() -> None:
        nexus = AsyncNexus(world.nexus, workers=4)
        async with nexus.request(context()) as a:
            await a.raw.put("k", b"x" * 10, **OWN)
            world.raw.open = opening
            task = asyncio.ensure_future(read(a))
            await asyncio.to_thread(began.wait, 20)
            task.cancel()
            asyncio.get_running_loop().call_later(0.05, go_on.set)
            with pytest.raises(asyncio.CancelledError):
                await task
        await nexus.close()

    asyncio.run(run())
    assert order == ["read", "closed"]


def test_a_facade_that_closes_says_so(world: World) -> None:
    """Calls that closing kept from beginning end as closed and not as cancelled."""
    began, go_on = threading.Event(), threading.Event()
    honest = world.raw.head

    def slow(*args: Any, **options: Any) -> Any:
        began.set()
        assert go_on.wait(20)
        return honest(*args, **options)

    async def run() -> None:
        nexus = AsyncNexus(world.nexus, workers=1)
        async with nexus.request(context()) as a:
            await a.raw.put("k", b"x", **OWN)
            world.raw.head = slow
            first = asyncio.ensure_future(a.raw.head("k"))
            await asyncio.to_thread(began.wait, 20)
            second = asyncio.ensure_future(a.raw.head("k"))
            await asyncio.sleep(0)
            closing = asyncio.ensure_future(nexus.close())
            with pytest.raises(ClosedError):
                await second
            with pytest.raises(ClosedError):
                await a.raw.head("k")
            go_on.set()
            assert (await first).key == "k"
            await closing

    asyncio.run(run())


# -- what never reaches a trail, a text or a neighbour -------------------------------------------


def test_no_sentence_gets_into_the_trail_as_the_name_of_an_index(world: World) -> None:
    """What is not an index name is refused before anything is recorded of it."""
    words = "who is the patient"
    with world.nexus.request(context()) as n:
        calls: list[Callable[[], object]] = [
            lambda: n.vectors.statistics(words),
            lambda: n.vectors.query(words, [0, 0]),
            lambda: n.vectors.count(words),
            lambda: n.vectors.scan(words),
            lambda: n.vectors.get(words, "v"),
            lambda: n.vectors.delete(words, ["v"]),
            lambda: n.vectors.delete_where(words, Eq("kind", "data")),
        ]
        for call in calls:
            with pytest.raises(InvalidArgumentError):
                call()
        assert words not in str([r.ids for r in n.audit.read(limit=100).items])  # type: ignore[union-attr]


def test_one_broken_ingest_does_not_hold_up_recovery(world: World) -> None:
    """An ingest that cannot be resumed stays pending, and what else there is gets settled."""
    honest = world.atoms.commit

    def down(*_: Any, **__: Any) -> None:
        raise UnavailableError("down")

    with world.nexus.request(context()) as n:
        world.vectors.upsert, kept = down, world.vectors.upsert
        for name in ("a", "b"):
            with pytest.raises(UnavailableError):
                n.ingest([attrs.evolve(source(), logical_key=name)], **OWN)
        world.vectors.upsert = kept
        place = min(p for p in world.raw.objects if p[1].startswith("_nexus/assets"))
        world.raw.objects[place] = attrs.evolve(world.raw.objects[place], data=b"rot\n")
        states = sorted(item.state for item in n.recover(older_than=0).ingests)
    assert honest == world.atoms.commit
    assert states == ["completed", "pending"]


@pytest.mark.parametrize("age", [float("inf"), float("nan"), -1, "1", True])
def test_an_age_that_is_none_is_refused(world: World, age: Any) -> None:
    """Recovery takes a finite number of seconds, and refuses the rest by its own error."""
    with world.nexus.request(context()) as n, pytest.raises(InvalidArgumentError):
        n.recover(older_than=age)


def test_an_application_in_doubt_is_said_to_be(world: World) -> None:
    """A definition that is made while its proposal could not be moved on has an unknown outcome."""
    definition = IndexDefinition(name="other", version=1, dimension=2, metric="dot", embedder="e@1")
    honest = world.atoms.commit

    def down(scope: Any, operations: Any) -> Any:
        if not world.vectors.list_indexes(scope):
            return honest(scope, operations)
        raise UnavailableError("down", outcome=Outcome.NOT_APPLIED)

    with world.nexus.request(context()) as n:
        proposal = n.definitions.propose(definition)
    with world.nexus.request(context(actor="bob")) as n:
        n.definitions.approve(proposal.id, hash=proposal.hash)
        world.atoms.commit = down
        with pytest.raises(UnavailableError) as caught:
            n.definitions.apply(proposal.id)
        assert caught.value.outcome is Outcome.UNKNOWN
        world.atoms.commit = honest
        assert n.definitions.apply(proposal.id).state == "applied"
        with pytest.raises(PreconditionFailedError):
            n.definitions.apply(proposal.id)


def test_a_deletion_over_several_spaces_is_told_to_each(world: World) -> None:
    """Every event of a deletion names atoms of one kind, space and subject only."""
    made: dict[str, Any] = {"operation": "cut", "version": "1"}
    ids = []
    for subject in ("eve", "dan"):
        with world.nexus.request(context(subject=subject)) as n:
            n.raw.put(subject, subject.encode(), **OWN)
            asset = n.assets.register(subject)
            (atom,) = n.atoms.put(asset.id, [NewAtom(position=0, text="t")], **OWN, **made)
            ids.append(atom.id)
    with world.nexus.request(context()) as n:
        n.atoms.delete(ids)
        found = [
            json.loads(record.body)
            for page in Ledger(n._gate).pages("events", Eq("action", "atom.delete"))
            for record in page
        ]
    assert {e["subject"]: e["source_ids"] for e in found} == {"eve": [ids[0]], "dan": [ids[1]]}


def test_nothing_that_proves_can_be_pickled(world: World) -> None:
    """Guards and sealers hold keys, so they refuse to leave the process."""
    runtime = world.nexus._deployment.runtime(context().scope)
    for holder in (Guard(world.nexus._deployment.keys, context().scope), runtime.tokens):
        with pytest.raises(TypeError):
            pickle.dumps(holder)


# -- every door ----------------------------------------------------------------------------------


def doors(n: Request) -> Iterator[tuple[str, Callable[..., object]]]:
    """Every public method of a request and of its handles."""
    for name in (
        "raw", "assets", "atoms", "vectors", "lineage", "definitions", "events", "erasure",
        "audit",
    ):  # fmt: skip
        handle = getattr(n, name)
        for member in vars(type(handle)):
            if not member.startswith("_") and callable(getattr(handle, member)):
                yield f"{name}.{member}", getattr(handle, member)
    yield from (("ingest", n.ingest), ("retrieve", n.retrieve), ("recover", n.recover))


VALUES: dict[str, Any] = {
    "definition": IndexDefinition(name="o", version=1, dimension=2, metric="dot", embedder="e@1"),
    "atoms": [NewAtom(position=0, text="t")],
    "items": [VectorItem(id="v", vector=[0, 0])],
    "where": Eq("kind", "data"),
    "vector": [0, 0],
    "vectors": [[0, 0]],
    "index": "tiny",
    "ids": ["atm_x"],
    "keys": ["k"],
    "ranges": [ByteRange(0, 1)],
    "body": b"x",
    "metadata": {},
    "exporters": {},
    "expected_version": 1,
    "hold": True,
    "until": 2**60,
    "size": 1,
    "sha256": "0" * 64,
    "text": "t",
    "what": [source()],
    "kind": "data",
    "space": "docs",
    "version": "1",
}
LONG = Atom(
    id="atm_x",
    version=1,
    asset="a",
    parent="a",
    operation="cut",
    operation_version="1",
    parameters={},
    position=0,
    locator={},
    metadata={},
    content_type="text/plain",
    size=1,
    sha256="0" * 64,
    text=None,
    governance=Governance(kind="data", space="docs"),
    created_at=0,
    created_by="ana",
    trace_id="0" * 32,
)


def arguments(name: str, door: Callable[..., object]) -> dict[str, Any]:
    """Arguments that pass every check, for what has to be given."""
    given = {
        parameter.name: VALUES.get(parameter.name, "k")
        for parameter in inspect.signature(door).parameters.values()
        if parameter.default is parameter.empty
    }
    return (
        {"atom": LONG}
        if name == "atoms.text"
        else given | ({"text": "t"} if name == "retrieve" else {})
    )


def knock(door: Callable[..., object], given: dict[str, Any]) -> None:
    """Call, and enter what is only opened by entering it."""
    answer = door(**given)
    if isinstance(answer, AbstractContextManager):
        answer.__enter__()


def test_every_door_asks_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the table allows nothing, no public call of any handle reaches a store."""
    monkeypatch.setattr(permissions, "PERMISSIONS", dict.fromkeys(Role, frozenset()))
    reached: list[str] = []

    def spy(name: str) -> Callable[..., None]:
        return lambda *_, **__: reached.append(name)

    for role in (StoreRole.RAW, StoreRole.ATOMS, StoreRole.VECTORS):
        backend = world.backend(role)
        for base in ABC_OF[role].__mro__:
            for name in vars(base):
                if not name.startswith("_") and name != "close":
                    monkeypatch.setattr(backend, name, spy(f"{role.value}.{name}"), raising=False)
    denied = 0
    with world.nexus.request(context(role="owner")) as n:
        for name, door in list(doors(n)):
            with pytest.raises(AccessDeniedError):
                knock(door, arguments(name, door))
            denied += 1
    assert reached == []
    entries = world.audit.logs[context().scope].entries
    assert [e.phase for e in entries] == ["denied"] * denied
    assert denied > 40


# -- a canary through a whole scenario -----------------------------------------------------------


def test_no_content_and_no_key_leaves_by_a_side_door(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Texts, metadata, questions, names of fields' values and the root key are in no repr, error,
    log line, audit record or event."""
    canary = "fadecab"
    caplog.set_level(0)
    seen: list[object] = [world.nexus, world.nexus.config, world.nexus._deployment.keys]
    made: dict[str, Any] = {"operation": "cut", "version": "1"}
    metadata = {"note": canary}
    item = VectorItem(id="v", vector=[1, 2], fields={"tags": (canary,)})
    with world.nexus.request(context()) as n:
        seen += [n, n.raw, item]
        seen.append(n.raw.put("k", canary.encode(), **OWN, metadata=metadata))
        seen += [n.raw.head("k"), n.raw.get("k"), n.raw.list()]
        with n.raw.open("k") as stream:
            seen.append(stream)
        asset = n.assets.register("k")
        atom = NewAtom(position=0, text=canary, metadata=metadata)
        seen += [asset, atom, n.atoms.put(asset.id, [atom], **OWN, **made)]
        seen += [n.ingest([source(canary.encode())], **OWN), n.atoms.query()]
        seen += [n.retrieve(canary), n.lineage.descendants(asset.id)]
        n.vectors.upsert("tiny", [item], **OWN)
        seen += [n.vectors.get("tiny", "v"), n.vectors.query("tiny", [1, 2], include=True)]
        for call in (
            lambda: n.raw.put("k", canary.encode(), **OWN, metadata=metadata),
            lambda: n.raw.put("l", b"", **OWN, metadata={"note": canary + "\n"}),
            lambda: n.raw.put("l", canary, **OWN),  # type: ignore[arg-type]
            lambda: n.atoms.put(
                asset.id, [NewAtom(position=0, text=canary + "\ud800")], **OWN, **made
            ),
            lambda: n.atoms.put(
                asset.id, [attrs.evolve(atom, metadata={"n": canary + "\ud800"})], **OWN, **made
            ),
            lambda: n.vectors.upsert("tiny", [attrs.evolve(item, fields={canary: 1})], **OWN),
            lambda: n.vectors.upsert("tiny", [attrs.evolve(item, fields={"page": canary})], **OWN),
            lambda: n.vectors.query("tiny", [1, 2], where=Eq("page", canary)),
            lambda: n.retrieve(canary, index=canary + "!"),
            lambda: n.raw.list(cursor=canary),
        ):
            with pytest.raises(StoreError) as caught:
                call()
            seen += ["".join(traceback.format_exception_only(caught.value)), caught.value.__dict__]
            seen += [caught.value.__cause__, caught.value.__context__]
        report = n.ingest([source(canary.encode() + b"\n!crash\n")], **OWN)
        assert report.count("failed") == 1
        seen += [report, *n.audit.export("jsonl"), *n.audit.export("ocsf")]
        seen += list(Ledger(n._gate).pages("events", None))
        seen += [r.body for page in Ledger(n._gate).pages("events", None) for r in page]
    seen += [record.getMessage() for record in caplog.records]
    assert len(seen) > 60
    for value in seen:
        assert canary not in repr(value)
        assert ROOT_KEY not in repr(value)
        assert repr(bytes.fromhex(ROOT_KEY)) not in repr(value)
