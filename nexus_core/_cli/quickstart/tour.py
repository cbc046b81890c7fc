"""The quickstart's steps: each does one thing for real and returns what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from nexus_core import (
    Asset,
    Atom,
    IngestReport,
    NewAtom,
    Nexus,
    NexusError,
    Request,
    RequestContext,
    RetrievedHit,
    VerificationReport,
)
from nexus_core._cli.files import written_whole
from nexus_core._cli.lineage import find
from nexus_core._cli.quickstart.corpora import Corpus
from nexus_core._cli.quickstart.place import Place

ENV: Final = "dev"
KIND: Final = "data"
SPACE: Final = "docs"
HITS: Final = 3

_NEVER_ASSET: Final = "ast_" + "a" * 32
_NEVER_ATOM: Final = "atm_" + "a" * 32


@attrs.frozen(kw_only=True)
class Answer:
    """One tenant's hits for one question, and whether every one is of its own documents."""

    tenant: str
    question: str
    hits: tuple[RetrievedHit, ...]
    own: bool


@attrs.frozen(kw_only=True)
class Origin:
    """Where one answer comes from."""

    hit: RetrievedHit
    atom: Atom
    asset: Asset
    embedder: str


@attrs.frozen(kw_only=True)
class Attempt:
    """What a stranger hears of an id that exists elsewhere, and of one that never was."""

    asked: str
    foreign: str
    absent: str

    @property
    def same(self) -> bool:
        """Whether the two cannot be told apart."""
        return self.foreign == self.absent


@attrs.frozen(kw_only=True)
class Trail:
    """One tenant's verified audit trail."""

    tenant: str
    report: VerificationReport
    verifier_key: str


def context(tenant: str) -> RequestContext:
    """The context that the quickstart acts in."""
    return RequestContext.build(
        tenant_id=tenant, env=ENV, actor_id="quickstart", actor_kind="system", role="owner"
    )


def ingest(
    nexus: Nexus, tenant: str, corpus: Corpus, progress: Callable[[str], None]
) -> IngestReport:
    """Ingest a corpus into a tenant."""
    with nexus.request(context(tenant), purpose="quickstart") as n:
        return n.ingest(
            corpus.sources,
            kind=KIND,
            space=SPACE,
            progress=lambda item: progress(item.logical_key),
        )


def ask(nexus: Nexus, tenant: str, question: str) -> Answer:
    """Ask one tenant, and look up every hit among its own assets."""
    with nexus.request(context(tenant), purpose="quickstart") as n:
        found = n.retrieve(question, k=HITS)
        assets = [hit.pointer.asset for hit in found.hits if hit.pointer is not None]
        own = len(assets) == len(found.hits) and (not assets or all(n.assets.get(assets)))
    return Answer(tenant=tenant, question=question, hits=found.hits, own=own)


def trace(nexus: Nexus, tenant: str, hit: RetrievedHit) -> Origin | None:
    """Follow a hit to its atom, its asset and what embedded it."""
    with nexus.request(context(tenant), purpose="quickstart") as n:
        atom = find(n, hit.id)
        edges = n.lineage.ancestors(hit.id)
        asset = n.assets.get(edges[-1].parent)[0] if edges else None
        embedders = {index.name: index.embedder for index in n.vectors.indexes()}
    if not isinstance(atom, Atom) or asset is None:
        return None
    return Origin(hit=hit, atom=atom, asset=asset, embedder=", ".join(embedders.values()))


def try_as_stranger(nexus: Nexus, stranger: str, origin: Origin) -> list[Attempt]:
    """Ask for another tenant's ids, and for ids that never were; keep both answers."""
    with nexus.request(context(stranger), purpose="quickstart") as n:
        index = n.vectors.indexes()[0].name
        attempts: Mapping[str, tuple[Callable[[str], Any], str, str]] = {
            "its asset": (n.assets.get, origin.asset.id, _NEVER_ASSET),
            "its atom": (n.atoms.get, origin.atom.id, _NEVER_ATOM),
            "its vector": (lambda i: n.vectors.get(index, i), origin.atom.id, _NEVER_ATOM),
            "its lineage": (n.lineage.ancestors, origin.atom.id, _NEVER_ATOM),
            "an atom below it": (_put_below(n), origin.asset.id, _NEVER_ASSET),
        }
        return [
            Attempt(asked=asked, foreign=_heard(call, there), absent=_heard(call, never))
            for asked, (call, there, never) in attempts.items()
        ]


def verify(nexus: Nexus, place: Place, tenant: str) -> Trail:
    """Verify a trail against the checkpoint of the run before, and keep the new one."""
    kept = place.checkpoint(tenant)
    trusted = kept.read_bytes() if kept.exists() else None
    with nexus.request(context(tenant), purpose="quickstart") as n:
        report = n.audit.verify(trusted_checkpoint=trusted)
        key = n.audit.verifier_key
        checkpoint = n.audit.checkpoint()
    if report.ok and checkpoint is not None:
        with written_whole(kept) as file:
            file.write(checkpoint)
    return Trail(tenant=tenant, report=report, verifier_key=key)


def _put_below(n: Request) -> Callable[[str], object]:
    return lambda parent: n.atoms.put(
        parent,
        [NewAtom(position=0, text="a stranger's words")],
        kind=KIND,
        space=SPACE,
        operation="quickstart",
        version="1",
    )


def _heard(call: Callable[[str], Any], wanted: str) -> str:
    try:
        answer = call(wanted)
    except NexusError as error:
        return f"refused: {error.message}"
    return "nothing" if not answer or answer == [None] else "something"
