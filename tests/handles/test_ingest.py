"""Laws of ingest, recovery and retrieval."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from nexus_core import (
    AccessDeniedError,
    Eq,
    IndexDefinition,
    IngestReport,
    InvalidArgumentError,
    InvalidVectorError,
    NotFoundError,
    Outcome,
    RequestContext,
    Source,
    UnavailableError,
)
from nexus_core._flows.sources import guess_media_type
from nexus_core.spi import StoreRole

from .conftest import World, context

OWN: dict[str, Any] = {"kind": "data", "space": "docs"}
TEXT = b"a cab\nbad face\n\nfig\n"


def source(data: bytes = TEXT, name: str = "a.txt") -> Source:
    return Source(logical_key=name, content_type="text/plain", body=data)


def ingest(world: World, data: bytes = TEXT, **who: Any) -> IngestReport:
    with world.nexus.request(context(**who)) as n:
        return n.ingest([source(data)], kind="data", space="docs")


def contents(world: World) -> dict[str, Any]:
    """Everything that the stores hold except trails and events, in a form that can be compared."""
    return {
        "objects": {place: found.data for place, found in world.raw.objects.items()},
        "records": {
            place: record.body
            for place, record in world.atoms.records.items()
            if place[1] in ("assets", "atoms", "edges")
        },
        "vectors": {
            place: {row_id: row.vector for row_id, row in index.rows.items()}
            for place, index in world.vectors.indexes.items()
        },
    }


def test_documents_go_all_the_way(world: World) -> None:
    """An ingested source is an object, an asset, its atoms with edges and vectors, and events."""
    report = ingest(world)
    (item,) = report.items
    assert (item.state, item.atoms, item.vectors) == ("created", 4, 3)
    with world.nexus.request(context()) as n:
        asset = n.assets.get(str(item.asset))[0]
        assert asset is not None
        assert (asset.logical_key, asset.size) == ("a.txt", len(TEXT))
        atoms = n.atoms.children(asset.id).items
        assert sorted(atom.text or "" for atom in atoms) == sorted(TEXT.decode().splitlines())
        assert n.vectors.count("main") == 3
        edges = n.lineage.descendants(asset.id)
        assert {edge.child for edge in edges} == {atom.id for atom in atoms}
        assert {(e.operation, e.operation_version) for e in edges} == {("lines", "1")}
    actions = {r.fields["action"] for r in world.atoms.records.values() if r.collection == "events"}
    assert actions - {"atom.query"} == {"asset.put", "atom.put", "ingest"}


def test_the_same_input_again_writes_nothing(world: World) -> None:
    """Ingesting the same bytes under the same name changes no store, and says so."""
    ingest(world)
    before = (contents(world), len(world.atoms.records))
    report = ingest(world)
    assert [item.state for item in report.items] == ["unchanged"]
    assert (report.items[0].atoms, report.items[0].vectors) == (4, 3)
    assert (contents(world), len(world.atoms.records)) == before


def test_other_bytes_under_one_name_are_another_asset(world: World) -> None:
    """An asset is its bytes: the same name with other bytes is a second asset."""
    first = ingest(world).items[0]
    second = ingest(world, b"other\n").items[0]
    assert first.asset != second.asset
    with world.nexus.request(context()) as n:
        assert len(n.assets.query(Eq("logical_key", "a.txt")).items) == 2


def test_two_users_never_share_an_asset(world: World) -> None:
    """Two subjects that ingest the same bytes have two assets, so erasing one spares the other."""
    ids = {ingest(world, subject=user).items[0].asset for user in ("u1", "u2")}
    assert len(ids) == 2


def test_two_tenants_never_share_an_id(world: World) -> None:
    """The same input in two scopes gives ids of which none is the same."""
    ingest(world)
    ingest(world, tenant="globex")
    ingest(world, env="prod")
    ids = [place[2] for place in world.atoms.records]
    assert len(ids) == len(set(ids))


def test_a_file_that_cannot_be_cut_leaves_nothing(world: World) -> None:
    """A source that its atomizer refuses is reported and undone; the others go on."""
    with world.nexus.request(context()) as n:
        report = n.ingest(
            [source(b"good\n" * 300 + b"!bad\n", "bad.txt"), source(b"fine\n", "fine.txt")],
            kind="data",
            space="docs",
        )
    assert [item.state for item in report.items] == ["failed", "created"]
    assert report.items[0].error == "store.invalid_argument"
    left = contents(world)
    assert len(left["objects"]) == 1
    assert all(len(rows) == 1 for rows in left["vectors"].values())
    assert [
        r.fields["logical_key"]
        for r in world.atoms.records.values()
        if "size" in r.fields and r.collection == "assets"
    ] == ["fine.txt"]
    with world.nexus.request(context()) as n:
        assert not n.recover(older_than=0).ingests


def test_a_parser_that_crashes_fails_its_source_and_shows_no_content(world: World) -> None:
    """An atomizer's own exception fails that source with its type and none of its text."""
    (item,) = ingest(world, b"fine\n!crash\n").items
    assert item.state == "failed"
    assert "RuntimeError" in str(item.message)
    assert "!crash" not in repr(item)
    assert not contents(world)["objects"]
    assert not contents(world)["records"]


def test_undoing_one_ingest_spares_what_another_completed(world: World) -> None:
    """Atoms, asset and bytes that a completed ingest has as well outlive the undoing of another."""
    ingest(world)
    before = contents(world)
    with world.nexus.request(context()) as n:
        flow = n._ingest
        (intent,) = [r for p, r in world.atoms.records.items() if p[1] == "intents"]
        plan = flow._intents.plan_of(intent)
        for other in (
            attrs.evolve(plan, index_version=7, index="main"),
            attrs.evolve(
                plan,
                made_by=attrs.evolve(plan.made_by, parameters={"x": 1}, canonical='{"x":1}'),
            ),
        ):
            opened = flow._intents.open(other, None)
            if other.index_version == 7:
                n._ingest._rows.define(
                    IndexDefinition(
                        name="main", version=7, dimension=16, metric="dot", embedder="letters@1"
                    )
                )
            flow._undo(other, opened)
    after = contents(world)
    after["vectors"].pop((context().scope, "main", 7))
    assert after == before


def test_unknown_media_types_fail_by_name(world: World) -> None:
    """A source that no atomizer reads is reported with its media type."""
    with world.nexus.request(context()) as n:
        report = n.ingest(
            [Source(logical_key="x.bin", content_type="application/x-thing", body=b"x")],
            kind="data",
            space="docs",
        )
    assert report.items[0].state == "failed"
    assert "application/x-thing" in str(report.items[0].message)


def test_a_folder_is_walked_in_order_without_links_and_hidden_files(
    world: World, tmp_path: Path
) -> None:
    """A folder's files are named by relative path; links and dot files are left out."""
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "b.txt").write_text("b")
    (folder / "sub" / "a.txt").write_text("a")
    (folder / ".hidden.txt").write_text("no")
    (tmp_path / "outside.txt").write_text("no")
    (folder / "link.txt").symlink_to(tmp_path / "outside.txt")
    with world.nexus.request(context()) as n:
        report = n.ingest(folder, kind="data", space="docs")
        assert [item.logical_key for item in report.items] == ["b.txt", "sub/a.txt"]
        with pytest.raises(NotFoundError):
            n.ingest(folder / "absent", kind="data", space="docs")


def test_long_texts_become_objects(world: World) -> None:
    """An atom above 64 KiB is kept as an object, reads back whole, and goes when the atom goes."""
    long = "ab " * 30_000
    report = ingest(world, f"{long}\nshort\n".encode())
    with world.nexus.request(context()) as n:
        atoms = {a.position: a for a in n.atoms.children(str(report.items[0].asset)).items}
        assert atoms[0].text is None
        assert n.atoms.text(atoms[0]) == long
        assert n.atoms.text(atoms[1]) == "short"
        assert n.atoms.delete([atoms[0].id]) == 1
        assert n.raw.list().items == ()
    assert len(world.raw.objects) == 1


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("README", "text/plain"),
        ("License", "text/plain"),
        ("a.MD", "text/markdown"),
        ("a.ndjson", "application/x-ndjson"),
        ("a.pdf", "application/pdf"),
        ("a.unheard-of", "application/octet-stream"),
        ("binary", "application/octet-stream"),
    ],
)
def test_media_types_go_by_name(name: str, wanted: str) -> None:
    """A file's type comes from its suffix, or from a name that is text by custom."""
    assert guess_media_type(Path(name)) == wanted


@pytest.mark.parametrize("bad", [{"kind": "nonsense"}, {"space": "No Spaces"}, {"kind": ""}])
def test_kind_and_space_are_required_and_closed(world: World, bad: dict[str, Any]) -> None:
    """An unknown kind or a malformed space is refused before anything is written."""
    with world.nexus.request(context()) as n, pytest.raises(InvalidArgumentError):
        n.ingest([source()], **{**OWN, **bad})
    assert not world.raw.objects
    assert not world.atoms.records


def test_a_viewer_cannot_ingest(world: World) -> None:
    """Ingest needs the permission to write."""
    with pytest.raises(AccessDeniedError):
        ingest(world, role="viewer")
    assert not world.atoms.records


def without_bodies(found: dict[str, Any]) -> dict[str, Any]:
    """Contents that two runs share: bodies hold times and traces."""
    return {**found, "records": sorted(found["records"])}


class Killed(BaseException):
    """Stands for a process that ends at some call to some store."""


def kill_at(world: World, number: int) -> Callable[[], None]:
    """Let the ``number``-th call to any store end the process, before or after its effect."""
    state = {"left": number}
    originals: list[tuple[Any, str, Any]] = []
    for role in StoreRole:
        backend = world.backend(role)
        for name in ("put", "commit", "upsert", "append", "create_index"):
            honest = getattr(backend, name, None)
            if honest is None:
                continue
            originals.append((backend, name, honest))

            def wrapped(*args: Any, honest: Any = honest, **options: Any) -> Any:
                state["left"] -= 1
                if state["left"] < 0:
                    raise Killed
                if state["left"] == 0:
                    if number % 2:
                        honest(*args, **options)
                    raise Killed
                return honest(*args, **options)

            setattr(backend, name, wrapped)

    def revive() -> None:
        for backend, name, _ in originals:
            delattr(backend, name)

    return revive


def kills() -> Iterator[int]:
    yield from range(1, 40)


@pytest.mark.parametrize("number", list(kills()))
def test_a_kill_at_any_store_call_is_completed_or_undone(
    opened: Callable[..., World], number: int
) -> None:
    """Whatever call to a store is a process's last, recovery leaves all of the document or none of
    it, no intent without an outcome, and a second run changes nothing."""
    whole = opened()
    ingest(whole)
    world = opened()
    revive = kill_at(world, number)
    try:
        ingest(world)
        killed = False
    except Killed:
        killed = True
    revive()
    with world.nexus.request(context(role="owner")) as n:
        n.recover(older_than=0)
        assert n.audit.verify().ok
        settled = n.audit.verify().unsettled
        again = n.recover(older_than=0)
    assert settled == 0
    assert (again.ingests, again.settled) == ((), 0)
    found = contents(world)
    everything = contents(whole)
    nothing = not found["objects"] and not found["records"]
    assert nothing or without_bodies(found) == without_bodies(everything)
    if not killed:
        assert without_bodies(found) == without_bodies(everything)
    assert ingest(world).items[0].state in ("created", "unchanged", "completed")
    assert without_bodies(contents(world)) == without_bodies(everything)


def test_recovery_leaves_young_work_alone(world: World) -> None:
    """An intent that is younger than asked for may be alive, and is not touched."""
    revive = kill_at(world, 8)
    with pytest.raises(Killed):
        ingest(world)
    revive()
    with world.nexus.request(context()) as n:
        assert n.recover(older_than=3600).ingests == ()
        assert len(n.recover(older_than=0).ingests) == 1


def test_a_store_that_is_down_is_not_one_sources_failure(world: World) -> None:
    """An unavailable store stops the ingest with its error instead of failing source by source."""

    def down(*_: Any, **__: Any) -> None:
        raise UnavailableError("down", outcome=Outcome.NOT_APPLIED)

    world.raw.put = down
    with pytest.raises(UnavailableError):
        ingest(world)


def test_retrieval_is_the_stores_order_with_pointers(world: World) -> None:
    """Hits come in the store's order with exact distances, pointers and an explanation."""
    item = ingest(world).items[0]
    with world.nexus.request(context()) as n:
        found = n.retrieve("face", k=3)
        hits = n.vectors.query("main", [float("face".count(c)) for c in "abcdefghijklmnop"], k=3)
        assert [(h.id, h.distance) for h in found.hits] == [(h.id, h.distance) for h in hits]
        best = found.hits[0].pointer
        assert best is not None
        assert (best.asset, best.logical_key) == (item.asset, "a.txt")
        assert (best.operation, best.locator) == ("lines", {"line": 2})
    why = found.explanation
    assert (why.index, why.metric, why.embedder, why.exact) == ("main", "cosine", "letters@1", True)


def test_retrieval_records_ids_and_never_the_question(world: World) -> None:
    """The access record and the event hold the ids of the hits; the question is kept nowhere."""
    ingest(world)
    with world.nexus.request(context()) as n:
        ids = {hit.id for hit in n.retrieve("badge CANARY", k=2).hits}
        last = n.audit.tail(1).items[0]
    assert set(getattr(last, "ids", ())) == ids
    assert not any(b"CANARY" in record.body for record in world.atoms.records.values())
    log = next(iter(world.audit.logs.values()))
    assert not any(b"CANARY" in (entry.sealed or b"") + entry.leaf for entry in log.entries)


@pytest.mark.parametrize("text", ["", "   ", "zzz"])
def test_a_question_without_anything_to_embed_is_refused(world: World, text: str) -> None:
    """A text that the embedder cannot embed is refused by name, not answered at random."""
    ingest(world)
    with world.nexus.request(context()) as n, pytest.raises(InvalidVectorError):
        n.retrieve(text)


def test_a_scope_without_the_index_is_refused(world: World) -> None:
    """Reading never creates an index: a scope that nothing was written to has none."""
    with world.nexus.request(context()) as n, pytest.raises(NotFoundError):
        n.retrieve("text")
    assert not world.vectors.indexes


def test_one_tenants_documents_are_nobody_elses(world: World) -> None:
    """A tenant's retrieval, catalogue and counts never change with what another tenant has."""

    def seen(ctx: RequestContext) -> Any:
        with world.nexus.request(ctx) as n:
            return (
                [(h.id, h.distance) for h in n.retrieve("face", k=10).hits],
                [a.id for a in n.assets.query().items],
                n.atoms.count(),
                n.vectors.count("main"),
            )

    ingest(world)
    before = seen(context())
    for tenant in ("acme2", "acm", "globex"):
        ingest(world, b"face\nface face\n" + TEXT, tenant=tenant)
    ingest(world, b"face\n", env="prod")
    assert seen(context()) == before
