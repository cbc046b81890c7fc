"""The four models, and the calls that are made on them: a dictionary for each store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from nexus_contracts._bench import Bench
from nexus_contracts._checks import atoms, audit, raw, vectors
from nexus_contracts._models import Refused, agree
from nexus_contracts._registry import check
from nexus_contracts._twins import Call
from nexus_core import Scope
from nexus_core.spi import Body, Eq, Insert, Ne, Remove, Replace, Require

KEYS: Final = ("k", "k/m", "K", "k_", "b-k")
BODIES: Final = (b"", b"a", b"same", b"x" * 5000)
NAMES: Final = ("a", "A", "a_", "b")


def call(scopes: SearchStrategy[Scope], method: str, *args: Any, **options: Any) -> Any:
    """Calls of one method, with its arguments drawn."""
    drawn = [each if isinstance(each, SearchStrategy) else st.just(each) for each in args]
    given = st.fixed_dictionaries(options)
    return st.builds(Call, scopes, st.just(method), st.tuples(*drawn), given)


def few(values: Sequence[Any]) -> SearchStrategy[Any]:
    """One of the values; a schedule keeps to one of them, to two, or has them all.

    What it takes several calls at one place to see is seldom met where there are many places.
    """
    some = st.integers(1, len(values)).flatmap(
        lambda many: st.permutations(values).map(lambda mixed: tuple(mixed[: min(many, 2)]))
    )
    kept = st.shared(st.just(tuple(values)) | some, key=f"few {values!r}")
    return kept.flatmap(st.sampled_from)


def seldom(often: list[SearchStrategy[Call]], ending: SearchStrategy[Call]) -> Any:
    """Calls, and now and then one after which there is nothing left to go wrong."""
    table = [*often, *often, *often, *often, ending]
    # By place: `one_of` takes equal alternatives for one.
    return st.integers(0, len(table) - 1).flatmap(table.__getitem__)


class RawModel:
    """Objects by scope and key: a number for the version, the bytes, and one word of metadata."""

    def __init__(self) -> None:
        self.objects: dict[tuple[Scope, str], tuple[int, bytes, str]] = {}
        self.written = 0
        self.etags: dict[int, str] = {}
        self.first: dict[tuple[Scope, str], int] = {}
        self.before: dict[tuple[Scope, str], int] = {}

    def _held(self, place: tuple[Scope, str], condition: str) -> None:
        """Whether a condition on a version holds; a stale one is the key's first."""
        if condition == "any":
            return
        current = self.objects.get(place)
        if condition == "absent":
            if current is not None:
                raise Refused("AlreadyExistsError")
        elif current is None or (condition == "stale" and self.first.get(place, 0) != current[0]):
            raise Refused("PreconditionFailedError")

    def _find(self, scope: Scope, key: str) -> tuple[int, bytes, str]:
        found = self.objects.get((scope, key))
        if found is None:
            raise Refused("NotFoundError")
        return found

    def _write(self, place: tuple[Scope, str], data: bytes, word: str) -> Any:
        self.written += 1
        self.objects[place] = (self.written, data, word)
        self.first.setdefault(place, self.written)
        return _known(len(data), hashlib.sha256(data).hexdigest(), word)

    def expected(self, made: Call) -> Any:
        """The answer that is due."""
        scope, args = made.scope, made.args
        mine = {key: found for (owner, key), found in self.objects.items() if owner == scope}
        self.before = {place: found[0] for place, found in self.objects.items()}
        if made.method == "put":
            key, data, word, condition = args
            self._held((scope, key), condition)
            return self._write((scope, key), data, word)
        if made.method == "head":
            _, data, word = self._find(scope, args[0])
            return _known(len(data), hashlib.sha256(data).hexdigest(), word)
        if made.method == "read":
            return self._find(scope, args[0])[1]
        if made.method == "list":
            prefix = made.kwargs["prefix"]
            return sorted((key for key in mine if key.startswith(prefix)), key=str.encode)
        if made.method == "delete":
            key, condition = args
            self._held((scope, key), condition)
            self.objects.pop((scope, key), None)
            return None
        if made.method == "delete_many":
            for key in args[0]:
                self.objects.pop((scope, key), None)
            return {}
        if made.method == "copy":
            source, target, word = args
            return self._write((scope, target), self._find(scope, source)[1], word)
        for key in mine:
            del self.objects[scope, key]
        return len(mine)

    def actual(self, store: Any, made: Call) -> Any:
        """The store's answer."""
        scope, args = made.scope, made.args
        if made.method == "put":
            key, data, word, condition = args
            options = self._options((scope, key), condition)
            info = store.put(scope, key, Body(data), raw.attributes(w=word), **options)
            self.etags[self.written] = info.etag
            return _of(info)
        if made.method == "head":
            return _of(store.head(scope, args[0]))
        if made.method == "read":
            return raw.read(store, args[0], scope)
        if made.method == "list":
            return raw.names(store, scope, **made.kwargs)
        if made.method == "delete":
            key, condition = args
            return store.delete(scope, key, **self._options((scope, key), condition))
        if made.method == "delete_many":
            return dict(store.delete_many(scope, args[0]))
        if made.method == "copy":
            source, target, word = args
            info = store.copy(scope, source, target, raw.attributes(w=word))
            self.etags[self.written] = info.etag
            return _of(info)
        return store.erase(scope)

    def _options(self, place: tuple[Scope, str], condition: str) -> dict[str, Any]:
        if condition == "any":
            return {}
        if condition == "absent":
            return {"if_absent": True}
        number = self.before.get(place) if condition == "current" else self.first.get(place)
        return {"if_match": self.etags.get(number or 0, "none-such")}


def _known(size: int, digest: str, word: str) -> Any:
    return {"size": size, "sha256": digest, "w": word}


def _of(info: Any) -> Any:
    return _known(info.size, info.sha256, info.attributes.metadata.get("w"))


@check("RAW-027")
def raw_model(bench: Bench) -> None:
    """Every verb over few keys, with every condition that is declared."""
    can: Any = bench.spec.capabilities
    scopes, keys = few(bench.cast(3)), few(KEYS)
    writing = ["any"] + ["absent"] * can.conditional_create
    writing += ["current", "stale"] * can.conditional_replace
    deleting = ["any"] + ["current", "stale"] * can.conditional_delete
    words, bodies = st.sampled_from(("word", "Word")), st.sampled_from(BODIES)
    put = call(scopes, "put", keys, bodies, words, st.sampled_from(writing))
    listed = {"prefix": st.sampled_from(("", "k", "k/")), "limit": st.sampled_from((1, 2, 1000))}
    calls = [
        put,
        put,
        call(scopes, "head", keys),
        call(scopes, "read", keys),
        call(scopes, "list", **listed),
        call(scopes, "delete", keys, st.sampled_from(deleting)),
        call(scopes, "delete_many", st.lists(keys, max_size=3)),
    ]
    if can.copy:
        pair = st.permutations(KEYS).map(lambda shuffled: (shuffled[0], shuffled[1]))
        copying = st.tuples(pair, words).map(lambda drawn: (*drawn[0], drawn[1]))
        calls.append(st.builds(Call, scopes, st.just("copy"), copying))
    agree(bench, seldom(calls, call(scopes, "erase")), RawModel)


class AtomModel:
    """Records by scope and id: a version, a kind, a body. One collection is enough."""

    def __init__(self) -> None:
        self.records: dict[tuple[Scope, str], tuple[int, str, bytes]] = {}

    def expected(self, made: Call) -> Any:
        """The answer that is due."""
        scope, args = made.scope, made.args
        mine = {name: found for (owner, name), found in self.records.items() if owner == scope}
        if made.method == "commit":
            changed = [self._apply(mine, *operation) for operation in args[0]]
            for name in [name for owner, name in self.records if owner == scope]:
                del self.records[scope, name]
            self.records |= {(scope, name): found for name, found in mine.items()}
            return changed
        if made.method == "get":
            return [(name, *mine[name]) if name in mine else None for name in args[0]]
        if made.method == "erase":
            for name in mine:
                del self.records[scope, name]
            return len(mine)
        verb, kind = args[0]
        wanted = {"all": lambda _: True, "is": kind.__eq__, "is not": kind.__ne__}[verb]
        found = sorted(name for name, record in mine.items() if wanted(record[1]))
        return found if made.method == "query" else len(found)

    @staticmethod
    def _apply(
        mine: dict[str, tuple[int, str, bytes]], verb: str, name: str, kind: str, body: bytes
    ) -> bool:
        current = mine.get(name)
        if verb in ("insert", "keep"):
            if current is not None:
                if verb == "keep":
                    return False
                raise Refused("AlreadyExistsError")
            mine[name] = (1, kind, body)
            return True
        if verb == "replace":  # of version 1 by version 2
            if current is None or current[0] != 1:
                raise Refused("PreconditionFailedError")
            mine[name] = (2, kind, body)
            return True
        if verb == "remove":
            return mine.pop(name, None) is not None
        if verb == "remove first" and (current is None or current[0] != 1):
            raise Refused("PreconditionFailedError")
        if verb == "remove first":
            del mine[name]
            return True
        if (current is None) != (verb == "absent"):
            raise Refused("PreconditionFailedError")
        return False

    def actual(self, store: Any, made: Call) -> Any:
        """The store's answer."""
        scope, args = made.scope, made.args
        if made.method == "commit":
            return list(store.commit(scope, [_operation(*each) for each in args[0]]))
        if made.method == "get":
            found = store.get(scope, "atoms", args[0])
            return [r and (r.id, r.version, r.fields["kind"], bytes(r.body)) for r in found]
        if made.method == "erase":
            return store.erase(scope)
        verb, kind = args[0]
        where = {"all": None, "is": Eq("kind", kind), "is not": Ne("kind", kind)}[verb]
        if made.method == "query":
            return atoms.ids(store, where, scope=scope, **made.kwargs)
        return store.count(scope, "atoms", where)


def _operation(verb: str, name: str, kind: str, body: bytes) -> Any:
    new = atoms.record(name, kind=kind, body=body)
    made: dict[str, Callable[[], Any]] = {
        "insert": lambda: Insert(new),
        "keep": lambda: Insert(new, if_exists="keep"),
        "replace": lambda: Replace(atoms.record(name, kind=kind, body=body, version=2)),
        "remove": lambda: Remove("atoms", name),
        "remove first": lambda: Remove("atoms", name, 1),
        "present": lambda: Require("atoms", name),
        "absent": lambda: Require("atoms", name, present=False),
    }
    return made[verb]()


@check("ATOM-023")
def atom_model(bench: Bench) -> None:
    """Commits of up to three operations, and everything that reads."""
    scopes, names = few(bench.cast(3)), few(NAMES)
    kinds, bodies = st.sampled_from(("data", "chat")), st.sampled_from(BODIES[:3])
    verbs = st.sampled_from(
        ("insert", "insert", "keep", "replace", "remove", "remove first", "present", "absent")
    )
    operation = st.tuples(verbs, names, kinds, bodies)
    # In a larger batch several operations may fail, and it is not promised which of them is told.
    certain = st.tuples(st.sampled_from(("keep", "remove")), names, kinds, bodies)
    batch = st.one_of(
        st.lists(operation, min_size=1, max_size=1),
        st.builds(
            lambda before, one: [*before, one], st.lists(certain, min_size=1, max_size=2), operation
        ),
    )
    where = st.tuples(st.sampled_from(("all", "is", "is not")), kinds)
    calls = [
        call(scopes, "commit", batch),
        call(scopes, "commit", batch),
        call(scopes, "get", st.lists(names, max_size=4)),
        call(scopes, "query", where, limit=st.sampled_from((1, 2, 1000))),
        call(scopes, "count", where),
    ]
    agree(bench, seldom(calls, call(scopes, "erase")), AtomModel)


Rows = dict[str, tuple[tuple[float, float], int]]


class VectorModel:
    """One index for each scope, with rows by id: two numbers, and a page."""

    def __init__(self, bench: Bench, metric: str) -> None:
        self.shape = vectors.definition(bench, 2, metric)
        self.can: Any = bench.spec.capabilities
        self.rows: dict[Scope, Rows] = {}

    def expected(self, made: Call) -> Any:
        """The answer that is due."""
        scope, args = made.scope, made.args
        if made.method == "create_index":
            self.rows.setdefault(scope, {})
            return None
        if made.method == "list_indexes":
            return ["main"] * (scope in self.rows)
        if made.method == "erase":
            return len(self.rows.pop(scope, {}))
        if scope not in self.rows:
            raise Refused("NotFoundError")
        mine = self.rows[scope]
        if made.method == "drop_index":
            del self.rows[scope]
            return None
        if made.method == "upsert":
            mine |= {name: (vector, page) for name, vector, page in args[0]}
            return None
        if made.method == "get":
            return [self._shown(mine.get(name)) for name in args[0]]
        if made.method == "scan":
            return [(name, self._shown(mine[name])) for name in sorted(mine)]
        if made.method == "delete":
            return sum(mine.pop(name, None) is not None for name in set(args[0]))
        return self._matching(mine, made)

    def _shown(self, row: Any) -> Any:
        if row is None:
            return None
        return row if self.can.round_trip == "bitexact" else row[1]

    def _matching(self, mine: Rows, made: Call) -> Any:
        page = made.args[0]
        found = {name: row for name, row in mine.items() if page is None or row[1] == page}
        if made.method == "count":
            return len(found)
        if made.method == "delete_where":
            for name in found:
                del mine[name]
            return len(found)
        _, asked, k = made.args
        near = sorted(
            (round(vectors.distance(self.shape.metric, asked, row[0]), 5), name)
            for name, row in found.items()
        )
        return self._promised(near[:k], [place for place, _ in near[k:]])

    def _promised(self, hits: list[tuple[float, str]], beyond: list[float]) -> Any:
        """Of the nearest, what is promised: with ties at the cut their distances, not their ids;
        from a store that is not exact only how many there are."""
        if not self.can.exact:
            return len(hits)
        if self.can.stable_ties or not (hits and beyond and beyond[0] == hits[-1][0]):
            return hits
        cut = hits[-1][0]
        return [(place, "" if place == cut else name) for place, name in hits]

    def actual(self, store: Any, made: Call) -> Any:
        """The store's answer."""
        scope, args = made.scope, made.args
        if made.method == "create_index":
            store.create_index(scope, self.shape)
            return None
        if made.method == "list_indexes":
            return [ref.definition.name for ref in store.list_indexes(scope)]
        if made.method == "erase":
            return store.erase(scope)
        ref = store.get_index(scope, "main", 1)
        if made.method == "drop_index":
            return store.drop_index(scope, ref)
        if made.method == "upsert":
            given = {name: vector for name, vector, _ in args[0]}
            fields = {name: {"page": page} for name, _, page in args[0]}
            return store.upsert(scope, ref, vectors.batch(given, fields))
        if made.method == "get":
            return [row and self._stored(row) for row in store.get(scope, ref, args[0])]
        if made.method == "scan":
            rows = vectors.scanned(store, ref, scope)
            return [(row.id, self._stored(row)) for row in rows]
        if made.method == "delete":
            return store.delete(scope, ref, args[0])
        where = None if args[0] is None else Eq("page", args[0])
        if made.method == "count":
            return store.count(scope, ref, where)
        if made.method == "delete_where":
            return store.delete_where(scope, ref, where)
        _, asked, k = args
        hits = vectors.hits(store, ref, asked, k, where=where, scope=scope)
        found = [(round(hit.distance, 5), hit.id) for hit in hits]
        mine = self.rows[scope]
        beyond = [
            round(vectors.distance(self.shape.metric, asked, row[0]), 5)
            for name, row in mine.items()
            if name not in {hit.id for hit in hits} and args[0] in (None, row[1])
        ]
        return self._promised(found, sorted(beyond))

    def _stored(self, row: Any) -> Any:
        vector = tuple(memoryview(bytes(row.vector)).cast("f"))
        return self._shown((vector, row.fields["page"]))


@check("VEC-025")
def vector_model(bench: Bench) -> None:
    """Every verb over one index for each scope, with vectors that tie often."""
    scopes, names = few(bench.cast(3)), few(NAMES)
    vector = st.sampled_from(((1.0, 0.0), (1.0, 2.0), (2.0, 1.0), (-1.0, 0.5)))
    pages = st.sampled_from((1, 2))
    rows = st.lists(
        st.tuples(names, vector, pages), min_size=1, max_size=3, unique_by=lambda row: row[0]
    )
    upsert = call(scopes, "upsert", rows)
    calls = [
        call(scopes, "create_index"),
        upsert,
        upsert,
        call(scopes, "list_indexes"),
        call(scopes, "get", st.lists(names, max_size=4)),
        call(scopes, "scan"),
        call(scopes, "count", st.none()),
        call(scopes, "count", pages),
        call(scopes, "query", st.none(), vector, st.sampled_from((1, 2, 10))),
        call(scopes, "query", pages, vector, st.sampled_from((1, 2, 10))),
        *(call(scopes, "delete", st.lists(names, min_size=1, max_size=2, unique=True)),) * 2,
        call(scopes, "delete_where", pages),
    ]
    begun = [Call(scope, "create_index") for scope in bench.cast(3)]
    ending = st.one_of(call(scopes, "drop_index"), call(scopes, "erase"))
    metrics = sorted(bench.spec.capabilities.metrics)  # type: ignore[union-attr]
    for metric in metrics:
        model = partial(VectorModel, bench, metric)
        agree(bench, seldom(calls, ending), model, first=begun, parts=len(metrics))


TAGS: Final = {"x": b"x" * 32, "y": b"y" * 32, "": None}


class AuditModel:
    """A list of entries for each scope (operation, phase, tag, forgotten), and sizes of heads."""

    def __init__(self) -> None:
        self.logs: dict[Scope, list[tuple[str, str, str, bool]]] = {}
        self.heads: dict[Scope, list[int]] = {}

    def expected(self, made: Call) -> Any:
        """The answer that is due."""
        scope, args = made.scope, made.args
        log, heads = self.logs.setdefault(scope, []), self.heads.setdefault(scope, [])
        if made.method == "append":
            new, shift = args
            if shift:
                raise Refused("PreconditionFailedError")
            log += [(*each, False) for each in new]
            heads.append(len(log))
            return None
        if made.method == "head":
            return audit.head(heads[-1]) if heads else None
        if made.method == "read":
            return [_entry(place, *each) for place, each in enumerate(log)][args[0] :]
        if made.method == "checkpoints":
            return [audit.head(size).checkpoint for size in heads if size > args[0]]
        if made.method == "unsettled":
            done = {each[0] for each in log if each[1] == "outcome"}
            return [
                _entry(place, *each)
                for place, each in enumerate(log)
                if each[1] == "intent" and each[0] not in done and place < args[0]
            ]
        if made.method == "erase_sealed":
            hit = [each[2] == args[0] and not each[3] for each in log]
            self.logs[scope] = [
                (*each[:3], each[3] or now) for each, now in zip(log, hit, strict=True)
            ]
            return sum(hit)
        count = len(self.logs.pop(scope))
        del self.heads[scope]
        return count

    def actual(self, store: Any, made: Call) -> Any:
        """The store's answer."""
        scope, args = made.scope, made.args
        if made.method == "append":
            new, shift = args
            current = store.head(scope)
            size = (0 if current is None else current.size) + shift
            entries = [_entry(size + place, *each) for place, each in enumerate(new)]
            return store.append(scope, size, entries, audit.head(size + len(entries)))
        if made.method == "head":
            return store.head(scope)
        if made.method == "read":
            return audit.everything(store, scope)[args[0] :]
        if made.method == "erase_sealed":
            return store.erase_sealed(scope, TAGS[args[0]])
        if made.method == "erase":
            return store.erase(scope)
        return list(getattr(store, made.method)(scope, args[0], 1000))


def _entry(place: int, operation: str, phase: Any, tag: str, forgotten: bool = False) -> Any:
    import attrs

    made = audit.entry(place, operation=operation, phase=phase, at=place, tag=TAGS[tag])
    if forgotten:
        return attrs.evolve(made, salt=None, sealed=None, subject_tag=None)
    return made


@check("AUD-013")
def audit_model(bench: Bench) -> None:
    """Appends in batches, some at the wrong place, and everything that reads or forgets."""
    scopes, number = few(bench.cast(3)), st.integers(0, 6)
    phases = st.sampled_from(("intent", "outcome", "access"))
    new = st.lists(
        st.tuples(st.sampled_from("abc"), phases, st.sampled_from(tuple(TAGS))),
        min_size=1,
        max_size=3,
    )
    append = call(scopes, "append", new, st.sampled_from((0, 0, 0, 1)))
    calls = [
        append,
        append,
        call(scopes, "head"),
        call(scopes, "read", number),
        call(scopes, "checkpoints", number),
        call(scopes, "unsettled", number),
    ]
    if bench.spec.capabilities.erase_sealed:  # type: ignore[union-attr]
        calls.append(call(scopes, "erase_sealed", st.sampled_from(("x", "y"))))
    agree(bench, seldom(calls, call(scopes, "erase")), AuditModel)
