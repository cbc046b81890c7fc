"""Checks of isolation, hygiene and durability in the atom store."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from typing import Any

from nexus_contracts._bench import IDS, SCOPES, SUBJECTS, Bench
from nexus_contracts._checks.atoms import dump, edge, ids, insert, one, record
from nexus_contracts._checks.common import (
    broken_settings_are_reported,
    errors_are_clean,
    ready_check_is_silent,
    survives_reopening,
    unprovisioned_is_refused,
)
from nexus_contracts._checks.held_alike import stays
from nexus_contracts._registry import check
from nexus_contracts._twins import Call, interference, interleaved
from nexus_core import NewAtom, Scope
from nexus_core.spi import (
    COLLECTIONS,
    And,
    Eq,
    Insert,
    Ne,
    Or,
    Remove,
    Replace,
    Require,
)

check("CFG-201")(ready_check_is_silent)
check("CFG-202")(unprovisioned_is_refused)
check("CFG-203")(broken_settings_are_reported)

SHARED_IDS = ("a", "A", "a%", "a_", "ab")


VERBS = tuple(
    "insert insert keep link replace remove require get query filter count walk".split()  # noqa: SIM905
)


def stream_of(bench: Bench, scope: Scope, length: int) -> list[Call]:
    """One scope's calls: every verb over few shared ids, so that scopes meet in all of them."""
    rng = bench.random
    calls: list[Call] = []
    for _ in range(length):
        name = rng.choice(SHARED_IDS)
        kind = rng.choice(("data", "chat", scope.tenant_id))
        body = rng.choice((b"same", b"other"))
        verb = rng.choice(VERBS)
        new = record(name, kind=kind, body=body)
        if verb == "insert":
            calls.append(Call(scope, "commit", ([Insert(new)],)))
        elif verb == "keep":
            calls.append(Call(scope, "commit", ([Insert(new, if_exists="keep")],)))
        elif verb == "link":
            link = edge(name, rng.choice(SHARED_IDS))
            calls.append(Call(scope, "commit", ([Insert(link, if_exists="keep")],)))
        elif verb == "replace":
            version = rng.randint(2, 4)
            later = record(name, kind=kind, body=body, version=version)
            calls.append(Call(scope, "commit", ([Replace(later)],)))
        elif verb == "remove":
            calls.append(Call(scope, "commit", ([Remove("atoms", name)],)))
        elif verb == "require":
            calls.append(Call(scope, "commit", ([Require("atoms", name)],)))
        elif verb == "get":
            calls.append(Call(scope, "get", ("atoms", list(SHARED_IDS))))
        elif verb == "query":
            calls.append(Call(scope, "query", ("atoms", None), {"limit": rng.randint(1, 4)}))
        elif verb == "filter":
            where = rng.choice(
                (
                    Eq("kind", kind),
                    Ne("kind", kind),
                    Or((Eq("kind", kind), Eq("kind", "data"))),
                    And((Ne("kind", kind), Ne("kind", "x"))),
                )
            )
            calls.append(Call(scope, "query", ("atoms", where), {"limit": 100}))
        elif verb == "count":
            calls.append(Call(scope, "count", (rng.choice(("atoms", "edges")), None)))
        else:
            way = rng.choice(("up", "down"))
            calls.append(Call(scope, "walk", ([name], way), {"max_depth": 9, "limit": 50}))
    return calls


@check("TEN-201")
def atoms_two_run(bench: Bench) -> None:
    """Two-run over all verbs, for several subjects among adversarial twins."""
    for subject in SUBJECTS:
        scopes = bench.cast(subject=subject)
        mixed, _places = interleaved(
            bench.random, [stream_of(bench, scope, 28) for scope in scopes]
        )
        interference(bench, mixed, scopes[0])


@check("TEN-202")
def atoms_twins_outlive(bench: Bench) -> None:
    """Every twin keeps every record while one scope removes and is erased; also what two hold
    in the same bytes."""
    store = bench.open()
    scopes = bench.cast(6)
    for scope in scopes:
        for name in COLLECTIONS:
            insert(store, *(record(each, name) for each in IDS), scope=scope)
    subject = scopes[0]
    before = {scope: dump(store, scope) for scope in scopes[1:]}
    store.commit(subject, [Remove("atoms", each) for each in IDS[:4]])
    store.erase(subject)
    for scope in scopes[1:]:
        bench.expect(
            dump(store, scope) == before[scope], f"erasing {subject} took records from {scope}"
        )
    bench.expect(not any(dump(store, subject).values()), f"{subject} was not erased")
    stays(bench)


@check("TEN-203")
def atoms_ids_are_per_scope(bench: Bench) -> None:
    """One id in many scopes: inserted, replaced, removed, each on its own."""
    store = bench.open()
    scopes = bench.cast(5)
    for scope in scopes:
        changed = insert(store, record("same", body=str(scope).encode()), scope=scope)
        bench.expect(changed == [True], f"{scope} could not insert an id that another scope has")
    subject = scopes[0]
    store.commit(subject, [Replace(record("same", version=2, body=b"moved"))])
    for scope in scopes[1:]:
        found = one(store, "same", scope=scope)
        bench.expect(
            found is not None and (found.body, found.version) == (str(scope).encode(), 1),
            f"{subject} changed the record of {scope}",
        )
    store.commit(subject, [Remove("atoms", "same")])
    for scope in scopes[1:]:
        bench.expect(
            one(store, "same", scope=scope) is not None, f"{subject} removed {scope}'s record"
        )


@check("TEN-204")
def walks_stay_inside(bench: Bench) -> None:
    """The same node ids in several scopes, other edges in each."""
    store = bench.open()
    scopes = bench.cast(4)
    for number, scope in enumerate(scopes):
        insert(
            store,
            edge("root", "shared", f"e0-{number}"),
            edge("shared", f"leaf{number}", f"e1-{number}"),
            edge(f"leaf{number}", "deep", f"e2-{number}"),
            scope=scope,
        )
    for number, scope in enumerate(scopes):
        for start, way in ((["root"], "down"), (["deep"], "up")):
            steps = store.walk(scope, start, way, max_depth=9, limit=100)
            found = sorted(step.edge.id for step in steps)
            wanted = [f"e0-{number}", f"e1-{number}", f"e2-{number}"]
            bench.expect(found == wanted, f"a walk in {scope} met the edges {found}")


@check("TEN-205")
def atoms_scopes_through_the_core(bench: Bench) -> None:
    """The same documents in two scopes, through the handles, with a canary in each."""
    scopes = bench.cast(2)
    logs = io.StringIO()
    handler = logging.StreamHandler(logs)
    logging.getLogger().addHandler(handler)
    try:
        with bench.nexus(bench.open()) as nexus:
            known: dict[Scope, list[str]] = {}
            for scope in scopes:
                with nexus.request(bench.context(scope)) as n:
                    n.raw.put("k", b"same", kind="data", space="s")
                    parent = n.assets.register("k").id
                    text = f"CANARY<{scope}>"
                    written = n.atoms.put(
                        parent,
                        [NewAtom(position=0, text=text)],
                        kind="data",
                        space="s",
                        operation="o",
                        version="1",
                    )
                    known[scope] = [parent, written[0].id]
            for scope, other in (scopes, scopes[::-1]):
                with nexus.request(bench.context(scope)) as n:
                    texts = [atom.text for atom in n.atoms.query().items]
                    bench.expect(texts == [f"CANARY<{scope}>"], f"{scope} sees other atoms")
                    foreign = [*n.assets.get(known[other]), *n.atoms.get(known[other])]
                    bench.expect(not any(foreign), f"{scope} read {other}'s records by their ids")
                    bench.expect(
                        n.lineage.descendants(known[other][0]) == [],
                        f"{scope} walked {other}'s lineage",
                    )
                    bench.expect(n.audit.verify().ok, "the trail does not verify")
    finally:
        logging.getLogger().removeHandler(handler)
    bench.expect("CANARY" not in logs.getvalue(), "stored content was written to a log")


@check("SEC-201")
def atoms_errors_are_clean(bench: Bench) -> None:
    """Failing calls of the atom store, with a canary in every value."""

    def failing(store: Any) -> list[Callable[[], object]]:
        insert(store, record("a", kind="CANARY-VALUE"))
        return [
            lambda: insert(store, record("a", kind="CANARY-VALUE")),
            lambda: store.commit(SCOPES[0], [Replace(record("a", version=9, kind="CANARY-VALUE"))]),
            lambda: store.commit(SCOPES[0], [Require("atoms", "absent")]),
            lambda: store.commit(SCOPES[0], [Remove("atoms", "a", 7)]),
            store.close,
            lambda: one(store, "a"),
        ]

    errors_are_clean(bench, failing, hidden="CANARY-VALUE")


@check("DUR-201")
def atoms_survive_reopening(bench: Bench) -> None:
    """Records of every collection, over closing and opening."""

    def write(store: Any) -> None:
        for name in COLLECTIONS:
            insert(store, *(record(each, name, body=each.encode()) for each in IDS))

    def seen(store: Any) -> object:
        return [store.get(SCOPES[0], name, list(IDS)) for name in COLLECTIONS], ids(store)

    survives_reopening(bench, write, seen)
