"""Checks that plant unique texts and look for them where they must not be.

Each scope has canaries of its own in values, ids and metadata. They are looked for in what other
scopes are answered, in errors, in the log, in the audit trail and, by the back door, in files.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import attrs

from nexus_contracts._bench import SCOPES, Bench
from nexus_contracts._catalogue.shared import IDS
from nexus_contracts._checks import atoms, audit, raw, vectors
from nexus_contracts._checks.refused import attempt
from nexus_contracts._redact import secrets_of
from nexus_contracts._registry import check
from nexus_contracts._steps import Lines
from nexus_contracts._twins import plain
from nexus_core import NewAtom, NexusError, Scope, VectorItem
from nexus_core.spi import (
    Body,
    Eq,
    IndexDefinition,
    Insert,
    Isolation,
    LogEntry,
    Remove,
    Replace,
    StoreRole,
)

Calls = list[tuple[str, Callable[[], object]]]

# Seconds that the one slow write of a run takes, more than is usually called slow; a store in
# memory is slow before that. And how often its body stalls.
A_WHILE: Final = 2.5
WHILE: Final[Mapping[str, float]] = {"memory": 0.25}
PIECES: Final = 5


@attrs.frozen
class Canary:
    """One scope's texts. ``name`` is used in ids and keys, which others may ask for by name, and
    ``label`` as the name of an index, of a field and of metadata."""

    scope: Scope
    name: str
    value: str
    meta: str
    label: str

    @property
    def told(self) -> tuple[str, ...]:
        """All that is stored."""
        return self.name, self.value, self.meta


def canaries(bench: Bench, scopes: Sequence[Scope]) -> list[Canary]:
    """A canary for each scope, that nothing contains by accident."""

    def text(kind: str) -> str:
        return f"canary{kind}{bench.random.randbytes(8).hex()}"

    return [Canary(scope, *map(text, "nvml")) for scope in scopes]


class Listener(logging.Handler):
    """Everything that is logged while it listens, with what a formatter might make of it."""

    def __init__(self) -> None:
        super().__init__(level=0)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record's texts."""
        self.heard.append(f"{record.getMessage()} {record.args!r} {record.exc_info!r}")
        if record.exc_info and record.exc_info[1] is not None:
            self.heard.append(repr(vars(record.exc_info[1])))

    def attend(self) -> None:
        """Listen to those loggers too that are there by now and pass nothing on. Idempotent."""
        for each in _loggers():
            if not each.propagate:
                each.addHandler(self)


def _loggers() -> list[logging.Logger]:
    found = list(logging.root.manager.loggerDict.values())
    return [each for each in found if isinstance(each, logging.Logger)]


@contextmanager
def listening() -> Iterator[Listener]:
    """Listen to everything, down to the details."""
    root, listener = logging.getLogger(), Listener()
    level, disabled = root.level, root.manager.disable
    root.addHandler(listener)
    root.setLevel(logging.DEBUG)
    logging.disable(logging.NOTSET)
    listener.attend()
    try:
        yield listener
    finally:
        for each in (root, *_loggers()):
            each.removeHandler(listener)
        root.setLevel(level)
        logging.disable(disabled)


# -- planting, and asking for everything ----------------------------------------------------------


def _raw_plant(store: Any, own: Canary) -> None:
    given = raw.attributes(**{own.label: own.meta})
    store.put(own.scope, own.name, Body(own.value.encode() * 3), given)
    store.put(own.scope, f"k/{own.name}", Body(own.value.encode()), given)


def _raw_ask(store: Any, own: Canary, key: str) -> Calls:
    scope = own.scope
    return [
        ("list", lambda: store.list(scope)),
        ("list", lambda: store.list(scope, prefix=key)),
        ("head", lambda: store.head(scope, key)),
        ("open", lambda: raw.read(store, key, scope)),
        ("delete", lambda: store.delete(scope, "absent")),
    ]


def _atoms_plant(store: Any, own: Canary) -> None:
    new = atoms.record(own.name, kind=own.meta, body=own.value.encode())
    link = atoms.edge(own.name, f"{own.name}-child")
    store.commit(own.scope, [Insert(new), Insert(link)])


def _atoms_ask(store: Any, own: Canary, key: str) -> Calls:
    scope = own.scope
    new = atoms.record(f"new-{own.name}", version=9, body=own.value.encode(), kind=own.meta)
    return [
        ("query", lambda: store.query(scope, "atoms", None)),
        ("query", lambda: store.query(scope, "atoms", Eq("kind", "absent"))),
        ("query", lambda: store.query(scope, "atoms", Eq("kind", own.meta), after=own.name)),
        ("count", lambda: store.count(scope, "atoms", Eq("kind", own.value))),
        ("get", lambda: store.get(scope, "atoms", [key])),
        ("walk", lambda: store.walk(scope, [key], "down", max_depth=9, limit=99)),
        ("commit", lambda: store.commit(scope, [Replace(new)])),
        ("commit", lambda: store.commit(scope, [Remove("atoms", "absent", 3)])),
    ]


def _vectors_plant(bench: Bench) -> Callable[[Any, Canary], None]:
    def plant(store: Any, own: Canary) -> None:
        ref = store.create_index(own.scope, vectors.definition(bench))
        rows = {own.name: [1.0, 0.0, 0.0, 0.0]}
        fields = {own.name: {"label": own.value, "tags": (own.meta,)}}
        store.upsert(own.scope, ref, vectors.batch(rows, fields))

    return plant


def _vectors_ask(store: Any, own: Canary, key: str) -> Calls:
    scope = own.scope
    ref = store.get_index(scope, "main", 1)
    asked = [1.0, 0.0, 0.0, 0.0]
    options: dict[str, Any] = {"include_fields": True, "include_vectors": True, "scope": scope}
    return [
        ("query", lambda: vectors.hits(store, ref, asked, 10, **options)),
        ("query", lambda: vectors.hits(store, ref, asked, 1, where=Eq("label", "x"), **options)),
        ("get", lambda: store.get(scope, ref, [key])),
        ("scan", lambda: store.scan(scope, ref)),
        ("list_indexes", lambda: store.list_indexes(scope)),
        ("get_index", lambda: store.get_index(scope, "absent", 1)),
        ("count", lambda: store.count(scope, ref, Eq("label", own.value))),
        ("query", lambda: vectors.hits(store, ref, asked, where=Eq("label", own.value), **options)),
        ("delete_where", lambda: store.delete_where(scope, ref, Eq("label", own.name))),
    ]


def _labelled(bench: Bench, store: Any, own: Canary) -> None:
    """An index and a field that are named like nothing else, asked by, emptied and dropped."""
    scope, asked = own.scope, [1.0, 0.0]
    shape = vectors.definition(bench, 2, name=own.label, fields={own.label: "str"})
    ref = store.create_index(scope, shape)
    store.upsert(scope, ref, vectors.batch({own.name: asked}, {own.name: {own.label: own.value}}))
    for where in (Eq(own.label, own.value), Eq(own.label, own.meta)):
        vectors.hits(store, ref, asked, where=where, scope=scope, include_fields=True)
        store.count(scope, ref, where)
        store.delete_where(scope, ref, where)
    store.delete(scope, ref, [own.name])
    store.get_index(scope, own.label, 1)
    store.drop_index(scope, ref)


def _audit_plant(store: Any, own: Canary) -> None:
    current = store.head(own.scope)
    size = 0 if current is None else current.size
    new = LogEntry(
        index=size,
        leaf=own.meta.encode(),
        salt=bytes(32),
        sealed=own.value.encode(),
        subject_tag=None,
        operation=own.name,
        phase="intent",
        recorded_at=1,
    )
    store.append(own.scope, size, [new], audit.head(size + 1, own.meta))


def _audit_ask(store: Any, own: Canary, _key: str) -> Calls:
    scope = own.scope
    late = audit.entry(7, leaf=own.value.encode())
    return [
        ("head", lambda: store.head(scope)),
        ("read", lambda: store.read(scope, 0, 100)),
        ("checkpoints", lambda: store.checkpoints(scope, 0, 100)),
        ("unsettled", lambda: store.unsettled(scope, 2, 100)),
        ("append", lambda: store.append(scope, 7, [late], audit.head(8))),
    ]


def ways(bench: Bench) -> tuple[Callable[[Any, Canary], None], Callable[..., Calls]]:
    """How the role is planted, and how everything is asked of it."""
    return {
        StoreRole.RAW: (_raw_plant, _raw_ask),
        StoreRole.ATOMS: (_atoms_plant, _atoms_ask),
        StoreRole.VECTORS: (_vectors_plant(bench), _vectors_ask),
        StoreRole.AUDIT: (_audit_plant, _audit_ask),
    }[bench.spec.role]


# -- looking --------------------------------------------------------------------------------------


def _text(answer: object) -> str:
    return repr(plain(answer, {}))


def stay_at_home(bench: Bench) -> None:
    """Plant in several scopes; ask each for its own, for others' by name, and for what fails."""
    namespace = bench.provisioned()
    plant, ask = ways(bench)
    planted = canaries(bench, bench.cast(4))
    hidden = [*secrets_of(bench.harness, namespace)]
    with listening() as log:
        store = bench.open(namespace)
        log.attend()
        *quick, slow = planted
        for own in quick:
            plant(store, own)
        _planted_slowly(bench, store, slow)
        log.attend()
        for own in planted:
            others = [each for each in planted if each is not own]
            foreign = [text for each in others for text in each.told]
            for key in (own.name, *(each.name for each in others)):
                log.attend()
                for name, call in ask(store, own, key):
                    _asked(bench, own, (name, call, key), foreign, hidden)
        _files_are_apart(bench, namespace, planted)
        if bench.spec.role is StoreRole.VECTORS:
            for own in planted[:2]:
                _labelled(bench, store, own)
        planted += _through_the_core(bench, store, planted)
    _not_in(bench, log.heard, [t for own in planted for t in (own.value, own.meta)], "the log")
    ids = [t for own in planted for t in (own.name, own.label)]
    _not_in(bench, log.heard, ids, "the log", what="a key, an id or a name that a caller gave")
    _not_in(bench, log.heard, hidden, "the log", what="a secret or place of the settings")


def _planted_slowly(bench: Bench, store: Any, own: Canary) -> None:
    """Plant so slowly that whoever writes down what takes long writes this down: a body comes in
    pieces, and where there are no bodies a write is held up in its midst."""
    pause = WHILE.get(bench.harness.reality, A_WHILE)
    plant, _ = ways(bench)
    if bench.spec.role is StoreRole.RAW:

        def body() -> Iterator[bytes]:
            for _ in range(PIECES):
                time.sleep(pause / PIECES)
                yield own.value.encode()

        store.put(own.scope, own.name, Body(body()), raw.attributes(**{own.label: own.meta}))
        return
    lines = Lines(store.backend)
    _, met = lines.met(lambda: plant(store, own))
    if bench.spec.role is not StoreRole.AUDIT:
        store.erase(own.scope)
    line = met[len(met) * 3 // 4] if met else ("", 0)
    lines.held(lambda: plant(store, own), line, lambda: time.sleep(pause))


def _asked(
    bench: Bench,
    own: Canary,
    asked: tuple[str, Callable[[], object], str],
    foreign: Sequence[str],
    hidden: Sequence[str],
) -> None:
    name, call, key = asked
    # What the caller says itself may be said back.
    others = [text for text in foreign if text != key]
    try:
        seen = _text(call())
    except NexusError as error:
        seen = f"{error} {error!r} {error.args!r} {vars(error)!r} {error.__cause__!r}"
        where = f"an error of {name}"
        _not_in(bench, [seen], (own.value, own.meta), where, what="stored content")
        _not_in(bench, [seen], hidden, where, what="a secret or place of the settings")
    _not_in(bench, [seen], others, f"what {name} told {own.scope}", what="what another scope has")


def _not_in(
    bench: Bench,
    texts: Sequence[str],
    wanted: Sequence[str],
    where: str,
    *,
    what: str = "stored content",
) -> None:
    for text in texts:
        found = [each for each in wanted if each in text]
        bench.expect(not found, f"{what} is found in {where}")


def _traces(data: bytes, texts: Sequence[str]) -> list[str]:
    """Those of the texts that are in the data: as they are, in hexadecimal or in base 64."""
    lowered = data.lower()
    return [
        each
        for each in texts
        if each.encode() in data
        or each.encode().hex().encode() in lowered
        or any(form in data for form in _base64(each.encode()))
    ]


def _base64(text: bytes) -> list[bytes]:
    """What becomes of a text in base 64, by its place within a larger one; without the ends, which
    what stands beside it changes."""
    forms = []
    for shift in range(3):
        whole = (shift + len(text)) // 3 * 4
        forms.append(base64.b64encode(bytes(shift) + text)[shift + (shift > 0) : whole])
    return forms


def _files_are_apart(bench: Bench, namespace: Any, planted: Sequence[Canary]) -> None:
    """Where every scope has files of its own, none of them holds two scopes' canaries."""
    door = bench.back_door(namespace)
    if door is None or bench.spec.isolation is not Isolation.FILE:
        return
    for name, data in door.snapshot().items():
        owners = [own for own in planted if _traces(name.encode() + b"\n" + data, own.told)]
        bench.expect(
            len(owners) < 2,
            f"isolation is declared to be by file, and one file holds what "
            f"{' and '.join(str(own.scope) for own in owners)} stored",
        )


def _through_the_core(bench: Bench, store: Any, planted: Sequence[Canary]) -> list[Canary]:
    """All four handles in two scopes; then the whole trail, and what the other scope is told.

    Gives what was planted there.
    """
    metrics = getattr(bench.spec.capabilities, "metrics", {"l2sq"})
    metric: Any = min(metrics)
    shape = IndexDefinition(name="core", version=1, dimension=2, metric=metric, embedder="e@1")
    # Scopes that hold nothing yet: what was planted below the core has no stamp, which it refuses.
    taken = {own.scope for own in planted}
    free = [scope for scope in SCOPES if scope not in taken and scope.env == "dev"][:2]
    pair = canaries(bench, free)
    with bench.nexus(store, indexes=[shape]) as nexus:
        for own in pair:
            with nexus.request(bench.context(own.scope)) as n:
                n.raw.put(
                    f"c/{own.name}",
                    own.value.encode(),
                    kind="data",
                    space="s",
                    metadata={own.label: own.meta},
                )
                parent = n.assets.register(f"c/{own.name}").id
                new = [NewAtom(position=0, text=own.value)]
                n.atoms.put(parent, new, kind="data", space="s", operation="o", version="1")
                row = VectorItem(id=own.name, vector=[1.0, 2.0])
                n.vectors.upsert(shape.name, [row], kind="data", space="s")
        for own, other in (pair, pair[::-1]):
            with nexus.request(bench.context(own.scope)) as n:
                seen: list[Any] = [n.raw.list().items, n.atoms.query().items]
                seen.append(n.vectors.query(shape.name, [1.0, 2.0], k=10))
                trail = [n.audit.read(limit=100).items, list(n.audit.export("bundle"))]
            _not_in(bench, [_text(seen)], other.told, f"what the core told {own.scope}")
            _not_in(bench, [_text(trail)], other.told, f"the audit trail of {own.scope}")
            _not_in(bench, [_text(trail)], (own.value, own.meta), "the audit trail")
    return pair


def erased_without_trace(bench: Bench) -> None:
    """Be refused, plant, replace, delete and erase in one scope beside others; look by the back
    door."""
    namespace = bench.provisioned()
    door = bench.back_door(namespace)
    assert door is not None
    plant, _ = ways(bench)
    scopes = bench.cast(3)
    planted, again = canaries(bench, scopes), canaries(bench, scopes[:1])
    refused = f"canaryr{bench.random.randbytes(8).hex()}"
    store = bench.open(namespace)
    attempt(bench, store, scopes[0], scopes[1:], refused)
    for own in (*planted, *again):
        plant(store, own)
    gone = [refused, *(text for own in (planted[0], *again) for text in own.told)]
    before = places(door.snapshot(), gone)
    bench.figures["places_before_erase"] = len(before)
    store.erase(planted[0].scope)
    for moment in ("after erase", "after erase and close"):
        found = door.snapshot()
        left = places(found, gone)
        what = "was refused" if places(found, [refused]) else "was stored"
        bench.expect(
            not left, f"{moment} {len(left)} places below the store still hold what {what}"
        )
        store.close()
    for own in planted[1:]:
        kept = places(door.snapshot(), own.told)
        bench.expect(kept or not before, f"erasing {planted[0].scope} took what {own.scope} stored")


def places(found: Any, texts: Sequence[str]) -> list[str]:
    """Names of the places that hold a text or its SHA-256: who guesses a text can try it there."""
    digests = [hashlib.sha256(each.encode()).digest() for each in texts]

    def holds(data: bytes) -> bool:
        lowered = data.lower()
        return bool(_traces(data, texts)) or any(
            each in data or each.hex().encode() in lowered or base64.b64encode(each) in data
            for each in digests
        )

    return [name for name, data in found.items() if holds(name.encode() + b"\n" + data)]


for _role in StoreRole:
    check(IDS[_role].canaries)(stay_at_home)
    check(IDS[_role].erased)(erased_without_trace)
