"""Indexes, states and accidents on a real server: fail closed, make nothing, say what is known."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nexus_contracts.faults import Fault, FaultKind, TcpFaults

from nexus_core.spi import (
    BackendError,
    Eq,
    IndexLockedError,
    IndexRef,
    IndexState,
    IntegrityError,
    NotFoundError,
    Outcome,
    Scope,
    StaleReferenceError,
    StoreTimeoutError,
    TenantInactiveError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
    VectorBackend,
    Vectors,
)

if TYPE_CHECKING:
    from plugins.weaviate.tests.conftest import Lab

SCOPE, OTHER = Scope("acme", "dev"), Scope("acme-2", "dev")

pytestmark = pytest.mark.servers


def calls(lab: Lab, store: VectorBackend, ref: IndexRef) -> dict[str, Callable[[], object]]:
    """Every data call on an index."""
    one = Vectors.from_rows([[1.0, 0, 0]], 3)
    return {
        "upsert": lambda: store.upsert(SCOPE, ref, lab.batch({"a": [1.0, 0, 0]})),
        "get": lambda: store.get(SCOPE, ref, ["a"]),
        "delete": lambda: store.delete(SCOPE, ref, ["a"]),
        "delete_where": lambda: store.delete_where(SCOPE, ref, Eq("page", 1)),
        "query": lambda: store.query(SCOPE, ref, one, 3),
        "query where": lambda: store.query(SCOPE, ref, one, 3, where=Eq("page", 1)),
        "count": lambda: store.count(SCOPE, ref, None),
        "scan": lambda: store.scan(SCOPE, ref),
        "statistics": lambda: store.statistics(SCOPE, ref),
    }


def made(lab: Lab, store: VectorBackend, **other: Any) -> IndexRef:
    """An index with two rows."""
    ref = store.create_index(SCOPE, lab.definition(**other))
    store.upsert(SCOPE, ref, lab.batch({"a": [1.0, 0, 0], "b": [0.0, 1, 0]}))
    return ref


# -- the place -------------------------------------------------------------------------------


def test_provisioning_makes_the_lists_once(lab: Lab) -> None:
    """The collections of the lists are tenanted, make and activate nothing by themselves, and stay
    as they are when provisioned again."""
    before = lab.behind.snapshot()
    assert sorted(before) == [f"{lab.prefix}_{env}_indexes" for env in ("dev", "prod", "staging")]
    for text in before.values():
        assert json.loads(text)["multiTenancyConfig"] == {
            "enabled": True,
            "autoTenantCreation": False,
            "autoTenantActivation": False,
        }
    assert lab.provision() == []
    assert lab.behind.snapshot() == before


def test_a_collection_of_somebody_elses_is_refused(lab: Lab) -> None:
    """A list that is not as the store makes it is a problem, and provisioning does not take it."""
    name = f"{lab.prefix}_prod_indexes"
    lab.server.rest("DELETE", f"/schema/{name}")
    lab.server.rest("POST", "/schema", {"class": name, "vectorizer": "none"})
    (problem,) = lab.open().check()
    assert (problem.path, problem.code) == ("prefix", "weaviate.foreign_collection")
    with pytest.raises(IntegrityError):
        lab.provision()


def test_a_store_that_is_not_set_up_is_refused(lab: Lab) -> None:
    """Without its lists nothing works, reads and writes alike, and nothing is made."""
    store = lab.open(prefix="Nothing")
    assert {problem.code for problem in store.check()} == {"weaviate.not_provisioned"}
    tries: list[Callable[[], object]] = [
        lambda: store.create_index(SCOPE, lab.definition()),
        lambda: store.get_index(SCOPE, "main", 1),
        lambda: store.list_indexes(SCOPE),
        lambda: store.erase(SCOPE),
    ]
    for call in tries:
        with pytest.raises(UnavailableError) as caught:
            call()
        assert not caught.value.retryable
        assert caught.value.outcome is Outcome.NOT_APPLIED
    assert lab.server.collections("Nothing") == {}


def test_a_key_that_the_server_does_not_know_is_refused(lab: Lab) -> None:
    """The check names the setting; every call raises, reads and writes alike."""
    ref = made(lab, lab.open())
    store = lab.open(api_key={"env": "NEXUS_TEST_WEAVIATE_WRONG"})
    (problem,) = store.check()
    assert (problem.path, problem.code) == ("api_key", "weaviate.unauthenticated")
    for call in calls(lab, store, ref).values():
        with pytest.raises(UnauthenticatedError):
            call()


# -- indexes ---------------------------------------------------------------------------------


def test_an_index_is_a_native_tenant_of_its_own(lab: Lab, store: VectorBackend) -> None:
    """An operator finds a scope's rows in a collection of the definition, and a list by its id."""
    ref = made(lab, store)
    collection, tenant = lab.shard(ref)
    assert lab.server.tenants(collection) == {tenant: "HOT"}
    assert lab.server.tenants(lab.lists) == {SCOPE.tenant_id: "HOT"}
    defined = lab.server.collections(lab.prefix)[collection]
    assert defined["vectorIndexType"] == "flat"
    assert defined["multiTenancyConfig"]["autoTenantCreation"] is False
    assert defined["multiTenancyConfig"]["autoTenantActivation"] is False


def test_an_old_reference_leads_nowhere(lab: Lab, store: VectorBackend) -> None:
    """After drop and re-creation every call with the old reference is stale, and writes nothing."""
    old = made(lab, store)
    store.drop_index(SCOPE, old)
    assert lab.server.tenants(lab.shard(old)[0]) == {}
    new = store.create_index(SCOPE, lab.definition())
    for call in calls(lab, store, old).values():
        with pytest.raises(StaleReferenceError):
            call()
    with pytest.raises(StaleReferenceError):
        store.drop_index(SCOPE, old)
    assert store.get_index(SCOPE, "main", 1) == new
    assert store.count(SCOPE, new, None) == 0


def test_a_reference_of_another_scope_leads_nowhere(lab: Lab, store: VectorBackend) -> None:
    """With it every call finds no index, and makes nothing, whoever else has one."""
    ref = store.create_index(OTHER, lab.definition())
    before = lab.behind.snapshot()
    for call in calls(lab, store, ref).values():
        with pytest.raises(NotFoundError):
            call()
    assert lab.behind.snapshot() == before


def test_makers_of_one_name_agree(lab: Lab) -> None:
    """Of makers at once with two definitions one definition wins, for all stores and for good."""
    stores = [lab.open() for _ in range(6)]
    for version in range(1, 6):
        start = threading.Barrier(len(stores))

        def make(number: int, version: int = version, start: Any = start) -> IndexRef | None:
            shape = lab.definition(version=version, dimension=3 + number % 2)
            start.wait()
            with contextlib.suppress(IndexLockedError):
                return stores[number].create_index(SCOPE, shape)
            return None

        with ThreadPoolExecutor(len(stores)) as pool:
            refs = [ref for ref in pool.map(make, range(len(stores))) if ref is not None]
        assert len({ref.incarnation for ref in refs}) == 1
        assert len(refs) == len(stores) // 2
        assert stores[0].get_index(SCOPE, "main", version) == refs[0]
    native = [
        tenant
        for name in lab.server.collections(lab.prefix)
        if not name.endswith("_indexes")
        for tenant in lab.server.tenants(name)
    ]
    assert len(native) == 5


def test_a_maker_that_was_stopped_blocks_nobody(lab: Lab, store: VectorBackend) -> None:
    """What was claimed and not made is no index, and after a while somebody else's to make."""
    ref = made(lab, store)
    (name,) = [n for n in lab.behind.snapshot() if n.startswith(f"{lab.lists}/acme/")]
    path = f"/objects/{lab.lists}/{name.rsplit('/', 1)[1]}?tenant=acme"
    found = lab.server.rest("GET", path)
    found["properties"]["nx_state"] = "making"
    lab.server.rest("PUT", path, found)
    with pytest.raises(NotFoundError):
        store.get_index(SCOPE, "main", 1)
    new = store.create_index(SCOPE, lab.definition())
    assert new.incarnation != ref.incarnation
    assert list(lab.server.tenants(lab.shard(new)[0])) == [lab.shard(new)[1]]


def test_a_drop_that_was_cut_short_is_finished(lab: Lab, store: VectorBackend) -> None:
    """An index whose end has begun is gone for every reader; its maker anew starts from nothing."""
    ref = made(lab, store)
    (name,) = [n for n in lab.behind.snapshot() if n.startswith(f"{lab.lists}/acme/")]
    path = f"/objects/{lab.lists}/{name.rsplit('/', 1)[1]}?tenant=acme"
    found = lab.server.rest("GET", path)
    found["properties"]["nx_state"] = "leaving"
    lab.server.rest("PUT", path, found)
    with pytest.raises(NotFoundError):
        store.get_index(SCOPE, "main", 1)
    assert store.list_indexes(SCOPE) == ()
    new = store.create_index(SCOPE, lab.definition())
    assert new.incarnation != ref.incarnation
    assert list(lab.server.tenants(lab.shard(new)[0])) == [lab.shard(new)[1]]
    assert store.count(SCOPE, new, None) == 0


def test_erasure_leaves_nothing_behind(lab: Lab, store: VectorBackend) -> None:
    """Every native tenant of the scope is gone from the server, and no other."""
    made(lab, store)
    made(lab, store, version=2, metric="dot")
    theirs = store.create_index(OTHER, lab.definition())
    store.upsert(OTHER, theirs, lab.batch({"a": [1.0, 0, 0]}))
    assert store.erase(SCOPE) == 4
    left = {
        tenant for name in lab.server.collections(lab.prefix) for tenant in lab.server.tenants(name)
    }
    assert left == {"acme-2", lab.shard(theirs, OTHER)[1]}
    assert store.count(OTHER, theirs, None) == 1
    assert store.erase(SCOPE) == 0


# -- states ----------------------------------------------------------------------------------


def test_a_native_tenant_that_is_switched_off_stays_off(lab: Lab, store: VectorBackend) -> None:
    """Every call says so and activates nothing; activated again it is as it was; a drop works."""
    ref = made(lab, store)
    before = store.scan(SCOPE, ref)
    collection, tenant = lab.shard(ref)
    lab.server.switch(collection, tenant, "COLD")
    for call in calls(lab, store, ref).values():
        with pytest.raises(TenantInactiveError):
            call()
    assert lab.server.tenants(collection) == {tenant: "COLD"}
    lab.server.switch(collection, tenant, "HOT")
    after = store.scan(SCOPE, ref)
    assert [(r.id, bytes(r.vector), dict(r.fields), r.stamp) for r in after.rows] == [
        (r.id, bytes(r.vector), dict(r.fields), r.stamp) for r in before.rows
    ]
    lab.server.switch(collection, tenant, "COLD")
    store.drop_index(SCOPE, ref)
    assert lab.server.tenants(collection) == {}


def test_the_state_of_an_index_is_its_native_tenants(lab: Lab, store: VectorBackend) -> None:
    """Deactivating and activating switch that one native tenant, once, and no other scope's."""
    ref, theirs = made(lab, store), store.create_index(OTHER, lab.definition())
    before = store.scan(SCOPE, ref)
    collection, tenant = lab.shard(ref)
    neighbour = lab.shard(theirs, OTHER)[1]
    told = [store.set_state(SCOPE, ref, IndexState.INACTIVE) for _ in range(2)]
    assert told == [True, False]
    assert lab.server.tenants(collection) == {tenant: "COLD", neighbour: "HOT"}
    for call in calls(lab, store, ref).values():
        with pytest.raises(TenantInactiveError) as caught:
            call()
        assert caught.value.outcome is Outcome.NOT_APPLIED
    assert lab.server.tenants(collection) == {tenant: "COLD", neighbour: "HOT"}
    assert store.count(OTHER, theirs, None) == 0
    told = [store.set_state(SCOPE, ref, IndexState.ACTIVE) for _ in range(2)]
    assert told == [True, False]
    assert [(r.id, bytes(r.vector), r.stamp) for r in store.scan(SCOPE, ref).rows] == [
        (r.id, bytes(r.vector), r.stamp) for r in before.rows
    ]


def test_a_state_is_set_only_where_there_is_an_index(lab: Lab, store: VectorBackend) -> None:
    """Old and foreign references change no state, and offloading is refused."""
    theirs = store.create_index(OTHER, lab.definition())
    with pytest.raises(NotFoundError):
        store.set_state(SCOPE, theirs, IndexState.INACTIVE)
    old = made(lab, store)
    with pytest.raises(UnsupportedError):
        store.set_state(SCOPE, old, IndexState.OFFLOADED)
    store.drop_index(SCOPE, old)
    new = store.create_index(SCOPE, lab.definition())
    with pytest.raises(StaleReferenceError):
        store.set_state(SCOPE, old, IndexState.INACTIVE)
    assert set(lab.server.tenants(lab.shard(new)[0]).values()) == {"HOT"}


def test_the_state_is_no_obstacle_to_erasure(lab: Lab, store: VectorBackend) -> None:
    """An inactive index goes with the rest of the scope, uncounted and without waking."""
    made(lab, store)
    asleep = made(lab, store, version=2)
    store.set_state(SCOPE, asleep, IndexState.INACTIVE)
    assert store.erase(SCOPE) == 2
    assert lab.server.tenants(lab.shard(asleep)[0]) == {}
    assert lab.server.tenants(lab.lists) == {}


def test_a_scope_that_is_switched_off_stays_off(lab: Lab, store: VectorBackend) -> None:
    """Where the list is off no index is found, made or erased, and other scopes go on."""
    made(lab, store)
    lab.server.switch(lab.lists, "acme", "COLD")
    tries: list[Callable[[], object]] = [
        lambda: store.get_index(SCOPE, "main", 1),
        lambda: store.list_indexes(SCOPE),
        lambda: store.create_index(SCOPE, lab.definition(version=2)),
        lambda: store.erase(SCOPE),
    ]
    for call in tries:
        with pytest.raises(TenantInactiveError):
            call()
    assert lab.server.tenants(lab.lists) == {"acme": "COLD"}
    assert store.list_indexes(OTHER) == ()


def test_rows_that_are_gone_are_damage(lab: Lab, store: VectorBackend) -> None:
    """Where an operator removed a collection every call says so, and none makes it again."""
    ref = made(lab, store)
    collection, _ = lab.shard(ref)
    lab.server.rest("DELETE", f"/schema/{collection}")
    for call in calls(lab, store, ref).values():
        with pytest.raises(IntegrityError):
            call()
    with pytest.raises(IntegrityError):
        made(lab, store)
    assert collection not in lab.server.collections(lab.prefix)
    store.drop_index(SCOPE, ref)
    assert store.count(SCOPE, made(lab, store), None) == 2


def test_what_something_else_wrote_is_damage(lab: Lab, store: VectorBackend) -> None:
    """A row changed below the store is refused, and its content stands in no text."""
    ref = made(lab, store)
    place = "/".join(lab.shard(ref))
    (one, _) = sorted(n for n in lab.behind.snapshot() if n.startswith(f"{place}/"))
    lab.behind.write(one, b"secret")
    with pytest.raises(IntegrityError) as caught:
        store.scan(SCOPE, ref)
    assert "secret" not in str(caught.value)


# -- accidents -------------------------------------------------------------------------------


@pytest.fixture
def road(lab: Lab) -> Iterator[tuple[TcpFaults, VectorBackend]]:
    """A store behind a road where things go wrong."""
    host = lab.server.info["host"]
    faults = TcpFaults(
        [(host, lab.server.info["port"]), (host, lab.server.info["grpc_port"])], dict
    )
    rest, grpc = (proxy.port for proxy in faults.proxies)
    store = lab.open(
        url=f"http://127.0.0.1:{rest}",
        grpc=f"127.0.0.1:{grpc}",
        connect_timeout=2.0,
        read_timeout=2.0,
        write_timeout=2.0,
    )
    yield faults, store
    store.close()
    faults.close()


WRITES = ("upsert", "delete", "delete_where")


@pytest.mark.parametrize("name", WRITES)
def test_a_write_whose_answer_is_lost_is_unknown(
    name: str,
    lab: Lab,
    road: tuple[TcpFaults, VectorBackend],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the connection breaks in a write its outcome is unknown, it may be tried again, and
    nothing tries for it."""
    faults, store = road
    ref = made(lab, store)
    look: Any = getattr(store, "_require_shard")  # noqa: B009  # not of the interface
    with contextlib.ExitStack() as broken:

        def look_and_break(*args: Any) -> None:
            look(*args)
            broken.enter_context(faults.inject(Fault(FaultKind.BLACKHOLE)))

        monkeypatch.setattr(store, "_require_shard", look_and_break)
        with pytest.raises((UnavailableError, StoreTimeoutError)) as caught:
            calls(lab, store, ref)[name]()
    assert (caught.value.retryable, caught.value.outcome) == (True, Outcome.UNKNOWN)
    assert store.count(SCOPE, ref, None) == 2


def test_a_call_that_cannot_look_first_has_done_nothing(
    lab: Lab, road: tuple[TcpFaults, VectorBackend]
) -> None:
    """Where the connection is gone before a call has found its index, reads and writes are not
    applied, and may be tried again."""
    faults, store = road
    ref = made(lab, store)
    with faults.inject(Fault(FaultKind.BLACKHOLE)):
        for call in calls(lab, store, ref).values():
            with pytest.raises((UnavailableError, StoreTimeoutError)) as caught:
                call()
            assert (caught.value.retryable, caught.value.outcome) == (True, Outcome.NOT_APPLIED)
    assert store.count(SCOPE, ref, None) == 2


# In a process of its own, where no client's threads are: a server is started by a fork.
SERVE = """
import json, sys
from pathlib import Path
from tools.servers import _weaviate
with _weaviate.serve(Path(sys.argv[1])) as info:
    print(json.dumps(info), flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def own_server(directory: Path, lab: Lab) -> Iterator[tuple[Any, int]]:
    """A server that no other test uses, on a directory: settings of a store there, its process."""
    root = Path(__file__).parents[3]
    with (
        pytest.MonkeyPatch.context() as patch,
        subprocess.Popen(
            [sys.executable, "-c", SERVE, str(directory)],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as child,
    ):
        assert child.stdout is not None
        info = json.loads(child.stdout.readline())
        patch.setenv("NEXUS_TEST_WEAVIATE_OWN", info["key"])
        other = type(lab.server)(info)
        yield other.settings("Own", api_key={"env": "NEXUS_TEST_WEAVIATE_OWN"}), info["pid"]


def built(lab: Lab, config: Any) -> VectorBackend:
    """A backend on settings."""
    store = lab.spec.factory(config, lab.runtime)
    assert isinstance(store, VectorBackend)
    return store


def test_what_was_acknowledged_survives_the_servers_death(lab: Lab, tmp_path: Path) -> None:
    """After kill -9 each call says at once that the server is away; once it is back every row and
    every deletion that was acknowledged is there, for each way of asking."""
    rows = {f"r{number:02}": [1.0, float(number), 0.0] for number in range(40)}
    fields = {name: {"page": number} for number, name in enumerate(rows)}
    with own_server(tmp_path, lab) as (config, process):
        assert lab.spec.provision is not None
        lab.spec.provision(config, lab.runtime)
        store = built(lab, config)
        ref = store.create_index(SCOPE, lab.definition(metric="l2sq"))
        for name, row in rows.items():
            if name == "r39":  # the last one counts: it is followed by nothing
                assert store.delete(SCOPE, ref, ["r05"]) == 1
            store.upsert(SCOPE, ref, lab.batch({name: row}, fields))
        os.kill(process, signal.SIGKILL)
        for name, call in calls(lab, store, ref).items():
            with pytest.raises(UnavailableError) as caught:
                call()
            # What was connected before may have been cut in the middle of this call.
            assert caught.value.outcome is Outcome.NOT_APPLIED or name.startswith("delete")
        assert [problem.code for problem in store.check()] == ["weaviate.unreachable"]
        store.close()
    del rows["r05"]
    with own_server(tmp_path, lab) as (config, _):
        store = built(lab, config)
        assert store.get_index(SCOPE, "main", 1) == ref
        assert [row.id for row in store.scan(SCOPE, ref).rows] == sorted(rows)
        assert store.count(SCOPE, ref, None) == 39
        assert store.count(SCOPE, ref, Eq("page", 39)) == 1
        nearest = [name for name, _ in lab.ask(store, ref, [1.0, 39.0, 0.0], 3)]
        assert nearest == ["r39", "r38", "r37"]
        everything = [name for name, _ in lab.ask(store, ref, [1.0, 0.0, 0.0], 100)]
        assert everything == sorted(rows)
        store.close()


def test_logs_say_nothing_of_the_place(
    lab: Lab, store: VectorBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """Every call and the end are silent at any level; the libraries' own use still logs."""
    caplog.set_level(0)
    assert store.check() == []
    for call in calls(lab, store, made(lab, store)).values():
        call()
    store.erase(SCOPE)
    store.close()
    assert [record.name for record in caplog.records] == []
    info = lab.server.info
    httpx: Any = import_module("httpx")
    httpx.get(f"http://{info['host']}:{info['port']}/v1/.well-known/live", trust_env=False)
    assert "httpx" in {record.name for record in caplog.records}


def test_errors_of_the_server_say_nothing_of_the_place(lab: Lab, store: VectorBackend) -> None:
    """What the server refuses for no reason of ours is told in our words."""
    ref = made(lab, store)
    with pytest.raises(BackendError) as caught:
        store.query(SCOPE, ref, Vectors.from_rows([[1.0, 0, 0]], 3), 20_000)
    assert lab.prefix not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
