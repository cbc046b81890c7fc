"""Laws of the gate: admission, audit before effect, translation, the isolation alarm."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import attrs
import pytest

from nexus_core import (
    PERMISSIONS,
    AccessDeniedError,
    Action,
    BackendError,
    ClosedError,
    ConfigurationError,
    ContextMissingError,
    Eq,
    IndexDefinition,
    NewAtom,
    NotFoundError,
    Outcome,
    RequestContext,
    Role,
    StoreError,
    TenantIsolationError,
    UnavailableError,
    VectorItem,
)
from nexus_core.spi import Redactor, RedactorSpec, hookimpl

from .conftest import World, context

CANARY = "CANARY-7f3a"


def calls(n: Any) -> dict[Action, Callable[[], Any]]:
    """A call of every action that a handle performs, with arguments that pass every check."""
    definition = IndexDefinition(name="other", version=1, dimension=2, metric="dot", embedder="e@1")
    where = Eq("kind", "data")
    item = [VectorItem(id="v", vector=[1.0, 2.0])]
    return {
        Action.RAW_PUT: lambda: n.raw.put("k", b"x", kind="data", space="s"),
        Action.RAW_GET: lambda: n.raw.get("k"),
        Action.RAW_HEAD: lambda: n.raw.head("k"),
        Action.RAW_LIST: lambda: n.raw.list(),
        Action.RAW_DELETE: lambda: n.raw.delete("k"),
        Action.RAW_VERSIONS: lambda: n.raw.versions("k"),
        Action.RAW_RESTORE: lambda: n.raw.restore("k", "v"),
        Action.RAW_COPY: lambda: n.raw.copy("k", "l"),
        Action.RAW_PRESIGN: lambda: n.raw.presign_get("k"),
        Action.RAW_REGISTER: lambda: n.raw.register("ticket"),
        Action.ASSET_PUT: lambda: n.assets.register("k"),
        Action.ASSET_GET: lambda: n.assets.get("a"),
        Action.ASSET_QUERY: lambda: n.assets.query(),
        Action.ATOM_PUT: lambda: n.atoms.put(
            "p", [NewAtom(position=0, text="t")], kind="data", space="s", operation="o", version="1"
        ),
        Action.ATOM_GET: lambda: n.atoms.get("a"),
        Action.ATOM_QUERY: lambda: n.atoms.query(where),
        Action.ATOM_COUNT: lambda: n.atoms.count(),
        Action.ATOM_EXPORT: lambda: list(n.atoms.export()),
        Action.ATOM_UPDATE: lambda: n.atoms.update("a", metadata={}, expected_version=1),
        Action.ATOM_DELETE: lambda: n.atoms.delete(["a"]),
        Action.LINEAGE_READ: lambda: n.lineage.ancestors("a"),
        Action.INDEX_READ: lambda: n.vectors.indexes(),
        Action.INDEX_STATE: lambda: n.vectors.deactivate("tiny"),
        Action.VECTOR_UPSERT: lambda: n.vectors.upsert("tiny", item, kind="data", space="s"),
        Action.VECTOR_GET: lambda: n.vectors.get("tiny", "v"),
        Action.VECTOR_QUERY: lambda: n.vectors.query("tiny", [1.0, 2.0]),
        Action.VECTOR_COUNT: lambda: n.vectors.count("tiny"),
        Action.VECTOR_DELETE: lambda: n.vectors.delete("tiny", ["v"]),
        Action.HOLD_SET: lambda: n.raw.set_legal_hold("k", hold=True),
        Action.HOLD_LIFT: lambda: n.atoms.set_legal_hold("a", hold=False),
        Action.RETENTION_EXTEND: lambda: n.vectors.set_retention("tiny", ["v"], 2**60),
        Action.INGEST: lambda: n.ingest([], kind="data", space="s"),
        Action.RETRIEVE: lambda: n.retrieve("text"),
        Action.RECOVER: lambda: n.recover(),
        Action.DEFINITION_READ: lambda: n.definitions.list(),
        Action.DEFINITION_PROPOSE: lambda: n.definitions.propose(definition),
        Action.DEFINITION_APPROVE: lambda: n.definitions.approve("p", hash="h"),
        Action.DEFINITION_APPLY: lambda: n.definitions.apply("p"),
        Action.EVENTS_READ: lambda: n.events.list(),
        Action.EVENTS_RELAY: lambda: n.events.relay({}),
        Action.ERASE_SUBJECT: lambda: n.erasure.subject("u1"),
        Action.ERASE_SCOPE: lambda: n.erasure.scope(confirm="acme/dev"),
        Action.AUDIT_READ: lambda: n.audit.tail(),
        Action.AUDIT_VERIFY: lambda: n.audit.verify(),
        Action.AUDIT_PROVE: lambda: n.audit.prove_growth(1),
        Action.AUDIT_EXPORT: lambda: list(n.audit.export()),
    }


def with_calls() -> list[Action]:
    return sorted(calls(None))


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("action", with_calls())
def test_the_table_decides_every_cell(world: World, role: Role, action: Action) -> None:
    """A role may do exactly what the table says, and each denial is durable in the trail."""
    with world.nexus.request(context(role=role.value)) as n:
        try:
            calls(n)[action]()
            denied = False
        except AccessDeniedError:
            denied = True
        except StoreError:
            denied = False
    assert denied is (action not in PERMISSIONS[role])
    records = [r for r in world.trail(context()) if r[0] == "denied"]
    assert records == ([("denied", action.value, "access.denied")] if denied else [])


def test_a_denied_call_reaches_no_store(world: World) -> None:
    """A refused mutation leaves every store as it was."""
    with world.nexus.request(context(role="viewer")) as n, pytest.raises(AccessDeniedError):
        n.raw.put("k", b"x", kind="data", space="s")
    assert not world.raw.objects


def test_no_role_may_sound_the_alarm() -> None:
    """The alarm is the guard's own: no role has it."""
    assert not any(Action.ALARM in allowed for allowed in PERMISSIONS.values())


@pytest.mark.parametrize("stranger", [None, "acme", {"tenant_id": "acme"}, object()])
def test_there_is_no_request_without_a_context(world: World, stranger: Any) -> None:
    """Only a RequestContext opens a request."""
    with pytest.raises(ContextMissingError), world.nexus.request(stranger):
        pass


def test_a_request_ends_with_its_block(world: World) -> None:
    """A handle kept beyond its block is of no use."""
    with world.nexus.request(context()) as n:
        pass
    with pytest.raises(ClosedError):
        n.raw.list()


def test_a_closed_deployment_refuses(world: World) -> None:
    """After close, every call is refused."""
    with world.nexus.request(context()) as n:
        world.nexus.close()
        with pytest.raises(ClosedError):
            n.raw.list()
    with pytest.raises(ClosedError), world.nexus.request(context()):
        pass


def test_a_mutation_without_durable_intent_does_not_start(world: World) -> None:
    """When the audit sink is down, nothing is written."""

    def down(*_: Any) -> None:
        raise UnavailableError("the sink is down", outcome=Outcome.NOT_APPLIED)

    world.audit.append = down
    with world.nexus.request(context()) as n, pytest.raises(UnavailableError):
        n.raw.put("k", b"x", kind="data", space="s")
    assert not world.raw.objects


def test_a_read_without_an_access_record_is_not_released(world: World) -> None:
    """When the audit sink is down, nothing that was read is released."""
    with world.nexus.request(context()) as n:
        n.raw.put("k", CANARY.encode(), kind="data", space="s")

        def down(*_: Any) -> None:
            raise UnavailableError("the sink is down", outcome=Outcome.NOT_APPLIED)

        world.audit.append = down
        with pytest.raises(UnavailableError):
            n.raw.get("k")
        with pytest.raises(UnavailableError), n.raw.open("k") as stream:
            pytest.fail(f"released {next(stream.chunks)!r}")


def test_an_effect_whose_outcome_cannot_be_recorded_says_applied(world: World) -> None:
    """When the sink fails between effect and outcome, the error says that the effect stands."""
    honest = world.audit.append

    def down_after_one(*args: Any) -> None:
        honest(*args)

        def down(*_: Any) -> None:
            raise UnavailableError("the sink is down", outcome=Outcome.NOT_APPLIED)

        world.audit.append = down

    world.audit.append = down_after_one
    with world.nexus.request(context()) as n, pytest.raises(StoreError) as caught:
        n.raw.put("k", b"x", kind="data", space="s")
    assert caught.value.outcome is Outcome.APPLIED
    world.audit.append = honest
    with world.nexus.request(context()) as n:
        assert n.raw.get("k").data == b"x"
        assert n.recover(older_than=0).settled == 1
    assert ("outcome", "raw.put", "recovered") in world.trail(context())


def test_every_mutation_is_an_intent_and_an_outcome(world: World) -> None:
    """A mutation that succeeds and one that fails both leave intent and outcome, in that order."""
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"x", kind="data", space="s")
        with pytest.raises(StoreError):
            n.raw.put("k", b"y", kind="data", space="s")
    assert world.trail(context()) == [
        ("intent", "raw.put", None),
        ("outcome", "raw.put", "ok"),
        ("intent", "raw.put", None),
        ("outcome", "raw.put", "store.already_exists"),
    ]


@pytest.mark.parametrize("raised", [ValueError(CANARY), KeyError(CANARY), RuntimeError(CANARY)])
def test_no_foreign_exception_escapes(
    world: World, raised: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """What a backend raises outside the tree becomes BackendError without its text anywhere."""

    def broken(*_: Any) -> None:
        raise raised

    world.raw.head = broken
    with world.nexus.request(context()) as n, pytest.raises(BackendError) as caught:
        n.raw.head("k")
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert CANARY not in f"{error!r} {error} {error.args} {error.__dict__} {caplog.text}"


def test_an_interrupted_mutation_is_recorded_as_unknown(world: World) -> None:
    """A mutation that is interrupted leaves an outcome that says nobody knows."""

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    world.raw.put = interrupted
    with world.nexus.request(context()) as n, pytest.raises(KeyboardInterrupt):
        n.raw.put("k", b"x", kind="data", space="s")
    assert world.trail(context())[-1] == ("outcome", "raw.put", "interrupted")


def test_a_foreign_answer_trips_the_alarm(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A foreign record is not released, is on record, and closes the store for that scope alone."""
    with world.nexus.request(context("other")) as n:
        n.raw.put("k", CANARY.encode(), kind="data", space="s")
    foreign = next(iter(world.raw.objects.values()))
    with world.nexus.request(context()) as n:
        n.raw.put("mine", b"x", kind="data", space="s")
        scope = context().scope
        world.raw.objects[scope, "k"] = foreign
        with pytest.raises(TenantIsolationError) as caught:
            n.raw.get("k")
        assert CANARY not in str(caught.value)
        assert "other" not in str(caught.value)
        with pytest.raises(UnavailableError):
            n.raw.get("mine")
        assert n.atoms.count() == 0
    with world.nexus.request(context("other")) as n:
        assert n.raw.get("k").data == CANARY.encode()
    assert ("event", "isolation.alarm", "isolation.violated") in world.trail(context())
    assert "isolation violation" in caplog.text


def test_a_listing_outside_the_scope_trips_the_alarm(world: World) -> None:
    """A listed name that the codec does not make from scope and key is refused."""
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"x", kind="data", space="s")
        place = (context().scope, "k")
        found = world.raw.objects[place]
        world.raw.objects[place] = attrs.evolve(found, name="v1/dev/acme2/k")
        with pytest.raises(TenantIsolationError):
            n.raw.list()


def test_absent_and_foreign_are_one_answer(world: World) -> None:
    """Asking for what another scope has is answered exactly as asking for what nobody has."""
    with world.nexus.request(context("other")) as n:
        n.raw.put("k", b"x", kind="data", space="s")
    answers = []
    with world.nexus.request(context()) as n:
        for key in ("k", "never"):
            with pytest.raises(NotFoundError) as caught:
                n.raw.get(key)
            answers.append((type(caught.value), str(caught.value), caught.value.__dict__))
    assert answers[0] == answers[1]


def test_a_scope_outside_the_served_environments_is_refused(
    opened: Callable[..., World],
) -> None:
    """An environment that the deployment does not serve has no request."""
    world = opened()
    narrow = attrs.evolve(world.nexus.config, environments=("dev",))
    object.__setattr__(world.nexus._deployment, "config", narrow)
    with pytest.raises(ConfigurationError), world.nexus.request(context(env="prod")):
        pass


def test_a_forked_child_is_refused(world: World) -> None:
    """A child process gets a clean error from a deployment that its parent opened, never a hang."""
    with world.nexus.request(context()) as n:
        read, write = os.pipe()
        with warnings.catch_warnings():
            # Python 3.12 warns of threads that the child will not have; that is what is tried here.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            try:
                n.raw.list()
                answer = b"worked"
            except ClosedError:
                answer = b"closed"
            except BaseException:  # noqa: BLE001  # whatever it is, the parent has to hear of it
                answer = b"other"
            os.write(write, answer)
            os._exit(0)
        os.close(write)
        assert os.read(read, 16) == b"closed"
        os.waitpid(child, 0)
        os.close(read)
        assert n.raw.list().items == ()


def policy(answer: Callable[[RequestContext, str], object]) -> ModuleType:
    """A plugin module whose policy answers as told and whose observer remembers or raises."""
    module = ModuleType("policy_for_test")

    @hookimpl
    def nexus_authorize(context: RequestContext, action: str, ids: Any) -> object:
        return answer(context, action)

    seen: list[Any] = []

    @hookimpl
    def nexus_observe(event: Any) -> None:
        seen.append(event)
        raise SystemExit

    module.__dict__.update(nexus_authorize=nexus_authorize, nexus_observe=nexus_observe, seen=seen)
    return module


@pytest.mark.parametrize("answer", [False, "no", 0, True, RuntimeError("no")])
def test_anything_but_none_denies(opened: Callable[..., World], answer: object) -> None:
    """A policy consents with None alone: any other answer, and any exception, denies."""

    def judge(_: RequestContext, action: str) -> object:
        if action != "raw.put":
            return None
        if isinstance(answer, Exception):
            raise answer
        return answer

    world = opened('[extensions]\nuse = ["policy"]\n', policy=policy(judge))
    with world.nexus.request(context()) as n, pytest.raises(AccessDeniedError):
        n.raw.put("k", b"x", kind="data", space="s")
    assert not world.raw.objects
    assert ("denied", "raw.put", "access.denied") in world.trail(context())


def test_an_observer_can_change_nothing(opened: Callable[..., World]) -> None:
    """An observer sees what happened, and what it raises, even SystemExit, goes no further."""
    module = policy(lambda *_: None)
    world = opened('[extensions]\nuse = ["policy"]\n', policy=module)
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"x", kind="data", space="s")
    assert [(e.action, e.outcome, e.count) for e in module.seen] == [("raw.put", "ok", 1)]


def test_an_installed_extension_that_nobody_names_does_not_run(
    opened: Callable[..., World],
) -> None:
    """Being installed is never enough to be asked or to look on."""
    module = policy(lambda *_: "no")
    world = opened("", policy=module)
    with world.nexus.request(context()) as n:
        n.raw.put("k", b"x", kind="data", space="s")
    assert module.seen == []


class Masks(Redactor):
    """Puts stars in place of one name."""

    def redact(self, text: str) -> str:
        if "explode" in text:
            raise ValueError(text)
        return text.replace(CANARY, "***")


def masking() -> ModuleType:
    """A plugin module with a redactor."""
    module = ModuleType("masking_for_test")

    @hookimpl
    def nexus_redact() -> Sequence[RedactorSpec]:
        return [RedactorSpec(name="masks", version="1", summary="stars", factory=Masks)]

    module.__dict__.update(nexus_redact=nexus_redact)
    return module


def test_names_are_redacted_before_they_are_kept(opened: Callable[..., World]) -> None:
    """A configured redactor sees every name before trail and events do; the store keeps the key."""
    world = opened('[extensions]\nuse = ["masking"]\n', masking=masking())
    with world.nexus.request(context()) as n:
        n.raw.put(f"{CANARY}.txt", b"x", kind="data", space="s")
        n.assets.register(f"{CANARY}.txt")
        n.raw.get(f"{CANARY}.txt")
    log = next(iter(world.audit.logs.values()))
    kept = b"".join((entry.sealed or b"") + entry.leaf for entry in log.entries)
    events = [r.body for r in world.atoms.records.values() if r.collection == "events"]
    assert CANARY.encode() not in kept + b"".join(events)
    assert b"***.txt" in kept
    assert any(b"***.txt" in body for body in events)


def test_a_redactor_that_fails_stops_the_call(opened: Callable[..., World]) -> None:
    """What could not be redacted is not kept, and what could not be kept is not done."""
    world = opened('[extensions]\nuse = ["masking"]\n', masking=masking())
    with world.nexus.request(context()) as n, pytest.raises(BackendError) as caught:
        n.raw.put("explode", b"x", kind="data", space="s")
    assert "explode" not in str(caught.value)
    assert caught.value.outcome is Outcome.NOT_APPLIED
    assert not world.raw.objects
