"""Checks of an atom store at its largest, and of values as they were given.

Where the interface states no limit, there is none up to what the core sends in one call.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from nexus_contracts._bench import SCOPES, Bench, Violation
from nexus_contracts._checks.atom_filters import operators
from nexus_contracts._checks.atoms import edge, ids, insert, one, record
from nexus_contracts._checks.canaries import canaries, places
from nexus_contracts._nested import Large, nested
from nexus_contracts._registry import check
from nexus_core import NewAtom, Scope
from nexus_core.spi import (
    AlreadyExistsError,
    And,
    Eq,
    Filter,
    Ge,
    Gt,
    In,
    Insert,
    InvalidArgumentError,
    Le,
    Lt,
    Ne,
    Not,
    NotIn,
    Or,
    PreconditionFailedError,
    QuotaExceededError,
    Record,
    Remove,
    Replace,
    Require,
    StoreError,
)

SCOPE = SCOPES[0]
# What the core sends at most in one call: ids, starts of a walk, edges, records of a page; and how
# far a store that declares more is tried.
MANY: Final = 10_000
PAGE: Final = 1000
LARGEST_BODY: Final = 16 << 20
# More than two pages, and than the chunks of a thousand that are usual.
CROWD: Final = 2100
VALUES: Final = 1000  # of one filter
TEXT_BYTES: Final = 1024  # of one value
DEEP: Final = 200
# Operations of one kind, and starts of walks: more than there are where a store usually begins to
# go another way.
BATCH: Final = 1100
WIDTHS: Final = (130, 1050)

INTEGERS: Final = (
    *(sign * 2**power + step for power in (31, 53, 60) for sign in (1, -1) for step in (-1, 0, 1)),
    *(0, 1, -1, 2**63 - 2, 2**63 - 1, -(2**63) + 1, -(2**63)),
)  # fmt: skip
TEXTS: Final = (
    "", " ", "a", "A", "a ", " a", "a\n", "a\r\n", "a\t", "a\x01", "\x7f", "\x85", "\u2028",
    "\xe9", "e\u0301", "\xc5", "\u212b", "A\u030a", "\ufb01", "fi", "\uac00", "\u1100\u1161",
    "\u1e9e", "ss", "\u200d", "\ufeffa", "\uffff", "\U0001f9ea", "\U0001f9ea\u200d", "\U0010ffff",
    "null", "true", "1", "1.0", "01", "\\0", "\\u0000", "[]", "{}",
    "x" * (TEXT_BYTES - 1) + "y", "x" * TEXT_BYTES, "x" * (TEXT_BYTES - 1),
    "\xe9" * (TEXT_BYTES // 2), "\U0001f9ea" * (TEXT_BYTES // 4),
)  # fmt: skip


def most(bench: Bench) -> int:
    """How many operations a commit may have."""
    declared: int = bench.spec.capabilities.max_batch  # type: ignore[union-attr]
    return min(declared, MANY)


def parts(things: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    """A sequence, in pieces of a size."""
    return (things[start : start + size] for start in range(0, len(things), size))


def load(bench: Bench, store: Any, records: Sequence[Record], scope: Scope = SCOPE) -> None:
    """Insert records, in commits as large as may be."""
    for some in parts(records, most(bench)):
        insert(store, *some, scope=scope)


def numbered(count: int) -> list[str]:
    """Ids that sort by number."""
    return [f"n{number:05}" for number in range(count)]


def whole(ask: Callable[[str | None], Any], part: str, after: str | None = None) -> Iterator[Any]:
    """Everything of an answer in pages: what is asked after an id, and where a page holds it."""
    while True:
        page = ask(after)
        yield from getattr(page, part)
        if page.next_after is None:
            return
        if after is not None and page.next_after <= after:
            raise Violation("a page's next_after does not move on")
        after = page.next_after


def queried(
    store: Any,
    limit: int,
    scope: Scope = SCOPE,
    *,
    collection: str = "atoms",
    where: Filter | None = None,
) -> Iterator[Record]:
    """Every record that matches, in pages of that size."""
    ask = partial(store.query, scope, collection, where, limit=limit)
    return whole(lambda after: ask(after=after), "records")


def taken(bench: Bench, what: str, call: Callable[[], Any]) -> Any:
    """What a call gives; the requirement is broken where it is refused, in words that say which."""
    try:
        return call()
    except StoreError as error:
        bench.fail(f"{what} is refused: {type(error).__name__} ({error.message})")


@check("ATOM-060")
def largest_commits_are_one(bench: Bench) -> None:
    """Commits of the declared size, that fail at the end and that do not; all ids in one call; all
    pages; a remove of half of it, and the erasure of the rest."""
    store = bench.open()
    size = most(bench)
    *names, last = numbered(size)
    insert(store, record(last))
    added = [Insert(record(name)) for name in names]
    what = f"a commit of {size} operations, which is what may be sent,"
    bench.raises(
        AlreadyExistsError,
        partial(store.commit, SCOPE, [*added, Insert(record(last))]),
        f"{what} whose last fails",
    )
    left = store.count(SCOPE, "atoms", None)
    bench.expect(left == 1, f"{what} failed, and left {left - 1} of its records")
    changed = taken(bench, what, partial(store.commit, SCOPE, [*added, Remove("atoms", last)]))
    bench.expect(all(changed), f"{what} is not all new")
    asked = [names[-1 - number % len(names)] for number in range(MANY)]
    found = store.get(SCOPE, "atoms", asked)
    wrong = [
        n
        for n, (each, name) in enumerate(zip(found, asked, strict=True))
        if not each or each.id != name
    ]
    bench.expect(
        not wrong, f"of {MANY} ids asked for in one call, {len(wrong)} get no record or another's"
    )
    bench.expect(ids(store, limit=PAGE) == names, f"pages of {PAGE} miss or repeat records")
    bench.expect(
        store.count(SCOPE, "atoms", None) == len(names), "the largest commit is incomplete"
    )
    store.commit(SCOPE, [Replace(record(names[-1], version=2, kind="rare"))])
    if "eq" in bench.spec.capabilities.filter_ops:  # type: ignore[union-attr]
        rare = ids(store, Eq("kind", "rare"), limit=PAGE)
        bench.expect(rare == names[-1:], f"a filter misses the one that matches of {len(names)}")
    half = [Remove("atoms", name) for name in names[::2]]
    refused = partial(store.commit, SCOPE, [*half, Require("atoms", "absent")])
    bench.raises(PreconditionFailedError, refused, "a remove of many whose last operation fails")
    bench.expect(store.count(SCOPE, "atoms", None) == len(names), "a refused commit removed")
    bench.expect(all(store.commit(SCOPE, half)), "not all that was removed is said to be")
    bench.expect(ids(store, limit=PAGE) == names[1::2], "a remove of many was not exact")
    gone = store.erase(SCOPE)
    bench.expect(gone == len(names[1::2]), f"erase counted {gone} of {len(names[1::2])} records")
    bench.expect(store.count(SCOPE, "atoms", None) == 0, "erase left records")


def body_sizes(bench: Bench) -> list[int]:
    """Nothing, around the sizes of usual chunks, and up to what is declared."""
    largest = min(bench.spec.capabilities.max_body_bytes, LARGEST_BODY)  # type: ignore[union-attr]
    usual = {at + step for at in (1 << 12, 1 << 16, 1 << 20) for step in (-1, 0, 1)}
    return sorted({size for size in (0, 1, *usual) if size < largest} | {largest - 1, largest})


@check("ATOM-061")
def bodies_are_whole(bench: Bench) -> None:
    """Random bytes of every size up to the declared one, inserted, replaced, and shortened."""
    store = bench.open()
    sizes = body_sizes(bench)
    bodies = {f"b{size}": bench.random.randbytes(size) for size in sizes}
    for name, body in bodies.items():
        what = f"a body of {len(body)} bytes, of the {sizes[-1]} that may be,"
        taken(bench, what, partial(insert, store, record(name, body=body)))
    _whole(bench, store.get(SCOPE, "atoms", list(bodies)), bodies, "read by id")
    largest = f"b{sizes[-1]}"
    for version, body in ((2, bench.random.randbytes(sizes[-1])), (3, b"short")):
        store.commit(SCOPE, [Replace(record(largest, version=version, body=body))])
        bodies[largest] = body
        _whole(bench, [one(store, largest)], {largest: body}, "replaced")
    found = list(queried(store, PAGE))
    _whole(bench, found, {name: bodies[name] for name in sorted(bodies)}, "read by a query")


def _whole(bench: Bench, found: Sequence[Any], bodies: dict[str, bytes], how: str) -> None:
    names = [each.id for each in found if each is not None]
    bench.expect(names == list(bodies), f"not every record with a large body is there, {how}")
    for each in found:
        body = bodies[each.id]
        if each.body != body:
            same = next((n for n, pair in enumerate(zip(each.body, body, strict=False))
                         if pair[0] != pair[1]), min(len(each.body), len(body)))  # fmt: skip
            bench.fail(
                f"a body of {len(body)} bytes comes back with {len(each.body)}, {how}, and is "
                f"another from byte {same} on"
            )


@check("ATOM-062")
def values_come_back(bench: Bench) -> None:
    """Integers to both ends of 64 bits, texts that something folds, composes or cuts."""
    store = bench.open()
    rows = {f"i{n:02}": {"position": value} for n, value in enumerate(INTEGERS)}
    rows |= {f"t{n:02}": {"subject": value, "position": 7} for n, value in enumerate(TEXTS)}
    insert(store, *(record(name, **fields) for name, fields in rows.items()))
    for each in (
        *store.get(SCOPE, "atoms", list(rows)),
        *queried(store, PAGE),
    ):
        bench.expect(each is not None, "a record with an unusual value is lost")
        for name, value in rows[each.id].items():
            given = each.fields.get(name)
            bench.expect(
                type(given) is type(value) and given == value,
                f"the value {value!r} of a field comes back as {given!r}",
            )
    allowed = bench.spec.capabilities.filter_ops  # type: ignore[union-attr]
    for number, text in enumerate(TEXTS):
        found = ids(store, Eq("subject", text))
        bench.expect(found == [f"t{number:02}"], f"the value {text!r} matches {found}")
    everywhere = In("subject", TEXTS)
    if operators(everywhere) <= allowed:
        bench.expect(len(ids(store, everywhere)) == len(TEXTS), "`in` misses one of its values")
        exact = ids(store, In("position", (float(2**53), 2**60 + 1, 0.5)))
        wanted = [name for name in rows if rows[name]["position"] in (2**53, 2**60 + 1)]
        bench.expect(exact == wanted, f"`in` with an integer and floats finds {exact}")
    comparing: tuple[tuple[Any, Any], ...] = (
        *((Eq, operator.eq), (Ne, operator.ne), (Lt, operator.lt), (Le, operator.le)),
        *((Gt, operator.gt), (Ge, operator.ge)),
    )
    near = (2**53, 2**53 + 1, 2**60 + 1, 2**63 - 1, -(2**63), float(2**53), float(2**60), 0.5)
    for value in near:
        for kind, holds in comparing:
            where = kind("position", value)
            if operators(where) > allowed:
                continue
            # Python compares integers with floats exactly.
            wanted = [
                name for name, fields in sorted(rows.items()) if holds(fields["position"], value)
            ]
            if operators(where) <= allowed:
                found = ids(store, where)
                odd = sorted({*found} ^ {*wanted})[:1]
                bench.expect(
                    found == wanted, f"{where} is wrong about {[rows[name] for name in odd]}"
                )


def long_filters(rows: Sequence[int]) -> list[tuple[Filter, list[int]]]:
    """Filters as large as they may be, over rows whose ``position`` is their number and whose
    ``subject`` is long; with the numbers that match."""
    some = [number for number in rows if number % 3]
    long = [long_text(number) for number in some]
    filler = VALUES - len(some)
    deep: Filter = Eq("position", some[0])
    for _ in range(7):
        deep = Not(deep)
    return [
        (In("position", (*range(-filler, 0), *some)), some),
        (NotIn("position", (*some, *range(-filler, 0))), [n for n in rows if n not in some]),
        (In("subject", (*long, *(long_text(-n) for n in range(1, filler + 1)))), some),
        (Or(tuple(Eq("position", n) for n in (*range(len(some) - 255, 0), *some))), some),
        (And(tuple(Ne("position", n) for n in (*some, *range(len(some) - 255, 0)))),
         [n for n in rows if n not in some]),
        (deep, [n for n in rows if n != some[0]]),
    ]  # fmt: skip


def long_text(number: int) -> str:
    """A text as long as a value may be, that is told from others at its end only."""
    return f"{number:0{TEXT_BYTES}}"


@check("ATOM-063")
def filters_may_be_large(bench: Bench) -> None:
    """As many values, as many parts, as long texts and as deep as the core lets through."""
    store = bench.open()
    rows = range(60)
    insert(store, *(record(f"r{n:02}", position=n, subject=long_text(n)) for n in rows))
    allowed = bench.spec.capabilities.filter_ops  # type: ignore[union-attr]
    for where, matching in long_filters(rows):
        if operators(where) <= allowed:
            what = f"a filter by {type(where).__name__} as large as may be"
            found = taken(bench, what, partial(ids, store, where))
            bench.expect(
                found == [f"r{n:02}" for n in matching], f"{what} finds {len(found)} records"
            )
            counted = store.count(SCOPE, "atoms", where)
            bench.expect(counted == len(matching), f"{what} counts {counted} records")


@check("ATOM-064")
def walks_may_be_long(bench: Bench) -> None:
    """A long chain, a wide fan, and as many starts as there are ids in a call."""
    store = bench.open()
    names = numbered(CROWD)
    chain = [edge(f"c{n:03}", f"c{n + 1:03}", f"x{n:03}") for n in range(DEEP + 20)]
    load(bench, store, [*chain, *(edge("root", name) for name in names)])
    steps = store.walk(SCOPE, ["c000"], "down", max_depth=DEEP, limit=MANY)
    met = [(step.depth, step.edge.id) for step in steps]
    bench.expect(
        met == [(n + 1, f"x{n:03}") for n in range(DEEP)],
        f"a walk of at most {DEEP} edges down a chain met {len(met)}",
    )
    fan = [f"root>{name}" for name in names]
    crowd = [f"absent{number}" for number in range(MANY - len(names))]
    for start, way in ((["root"], "down"), ([*crowd, *names], "up"), ([*names, *crowd], "up")):
        steps = store.walk(SCOPE, start, way, max_depth=1, limit=MANY)
        found = [step.edge.id for step in steps]
        bench.expect(
            found == fan, f"a walk {way} from {len(start)} ids met {len(found)} of {len(fan)} edges"
        )
    steps = store.walk(SCOPE, ["root"], "down", max_depth=1, limit=PAGE)
    bench.expect([step.edge.id for step in steps] == fan[:PAGE], "a walk's limit is not exact")


@check("ATOM-065")
def more_than_declared_is_refused(bench: Bench) -> None:
    """Through the core: a record of exactly the declared size, one byte more, and a batch of more
    operations than are declared."""
    can: Any = bench.spec.capabilities
    store = bench.open()
    with bench.nexus(store) as nexus, nexus.request(bench.context(SCOPE)) as n:
        n.raw.put("k", b"x", kind="data", space="s")
        parent = n.assets.register("k").id

        def put(*sizes: int, version: str = "1") -> str:
            new = [
                NewAtom(position=at, text="", metadata={"m": "x" * size})
                for at, size in enumerate(sizes)
            ]
            given: dict[str, Any] = {"kind": "data", "space": "s", "operation": "o"}
            return n.atoms.put(parent, new, version=version, **given)[0].id

        around = len(one(store, put(0)).body)
        largest = min(can.max_body_bytes, LARGEST_BODY) - around
        written = taken(bench, "a record of the declared size", partial(put, largest, version="2"))
        (found,) = n.atoms.get(written)
        bench.expect(
            found is not None and len(found.metadata["m"]) == largest,
            "a record of the declared size is read otherwise than it was written",
        )
        refused: list[tuple[type[StoreError], Callable[[], object]]] = []
        if can.max_body_bytes <= LARGEST_BODY:
            refused.append((QuotaExceededError, partial(put, largest + 1, version="3")))
        if can.max_batch <= 2 * PAGE:  # an atom is two operations, and the core takes 2000 at once
            refused.append((InvalidArgumentError, partial(put, *[0] * can.max_batch, version="3")))
        for kind, call in refused:
            bench.raises(kind, call, "what is more than the store declares")
            bench.expect(n.atoms.count() == 2, "what was refused left atoms")


@check("ATOM-066")
def removed_is_gone(bench: Bench) -> None:
    """Remove and replace beside records that stay; close; look by the back door."""
    namespace = bench.provisioned()
    door = bench.back_door(namespace)
    assert door is not None
    store = bench.open(namespace)
    kept, removed, replaced = canaries(bench, [SCOPE] * 3)
    for own in (kept, removed, replaced):
        new = record(own.name, kind=own.meta, body=own.value.encode(), subject=own.value)
        insert(store, new, edge(own.name, f"{own.name}-child"))
    stored = places(door.snapshot(), removed.told)
    store.commit(
        SCOPE,
        [Remove("atoms", removed.name), Remove("edges", f"{removed.name}>{removed.name}-child")],
    )
    store.commit(SCOPE, [Replace(record(replaced.name, version=2, body=b"new"))])
    store.close()
    found = door.snapshot()
    left = places(found, [*removed.told, replaced.value, replaced.meta])
    bench.expect(
        not left,
        f"after remove, replace and close {len(left)} places below the store still hold what is "
        "gone",
    )
    bench.expect(places(found, kept.told) or not stored, "a remove took what another record held")


@check("TEN-230")
def large_bodies_are_apart(bench: Bench) -> None:
    """Bodies of one length under one id and version, that differ in one byte in the middle."""
    store = bench.open()
    scopes = bench.cast(3)
    sizes = [size for size in body_sizes(bench)[-5:] if size]
    common = {f"b{size}": bench.random.randbytes(size) for size in sizes}

    def body(name: str, turn: int) -> bytes:
        alike = common[name]
        middle = len(alike) // 2
        return alike[:middle] + bytes([alike[middle] ^ (turn + 1)]) + alike[middle + 1 :]

    def fill(scope: Scope, turn: int) -> None:
        for name in common:
            insert(store, record(name, body=body(name, turn)), scope=scope)

    def look(scope: Scope, turn: int) -> None:
        found = store.get(scope, "atoms", list(common))
        for name, each in zip(common, found, strict=True):
            bench.expect(
                each is not None and each.body == body(name, turn),
                f"{scope} reads another body of {len(common[name])} bytes than it wrote, where "
                "another scope holds one under the same id",
            )

    for turn, scope in enumerate(scopes):
        fill(scope, turn)
        look(scope, turn)
    store.erase(scopes[0])
    fill(scopes[0], 7)
    for turn, scope in ((7, scopes[0]), *enumerate(scopes[1:], 1)):
        look(scope, turn)


@check("TEN-231")
def crowds_are_apart(bench: Bench) -> None:
    """Thousands of records under ids that all have: read, walked, removed and erased in one."""
    store = bench.open()
    scopes = bench.cast(3)
    names = numbered(CROWD)
    for place, scope in enumerate(scopes):
        records = [record(name, body=str(place).encode(), position=place) for name in names]
        records += [edge(name, f"m{place}", name) for name in names[:PAGE]]
        records += [record(f"v{n:03}", "definitions", name=f"v{n}-{place}") for n in range(40)]
        load(bench, store, records, scope)
    for place, scope in enumerate(scopes[:2]):
        _all_own(bench, store, place, scope, names)
    subject, *others = scopes
    nested(bench, store, _large(store, subject, others[0], names))
    gone = names[: CROWD // 2 + 50]
    for some in parts(gone, most(bench)):
        store.commit(subject, [Remove("atoms", name) for name in some])
    _others_stay(bench, store, others, names, f"removing {len(gone)} records in {subject}")
    count = store.erase(subject)
    wanted = CROWD - len(gone) + PAGE + 40
    bench.expect(count == wanted, f"erase counted {count} of {wanted} records")
    _others_stay(bench, store, others, names, f"erasing {wanted} records of {subject}")
    size = min(BATCH, most(bench))
    _batches_of_each_kind(bench, store, subject, names[:size])
    _others_stay(bench, store, others, names, f"batches of {size} operations in {subject}")
    _walks_after_others(bench, store, (subject, others[0]))


def _large(store: Any, subject: Scope, other: Scope, names: Sequence[str]) -> Mapping[str, Large]:
    """Calls about thousands of records, of two scopes that ask alike."""
    calls: Mapping[str, Callable[[Scope], Any]] = {
        "get": lambda scope: store.get(scope, "atoms", names),
        "query": lambda scope: store.query(scope, "atoms", None, limit=PAGE),
        "query by a filter": lambda scope: store.query(
            scope, "atoms", Eq("position", 0), limit=PAGE
        ),
        "count": lambda scope: store.count(scope, "atoms", Eq("position", 1)),
        "walk": lambda scope: store.walk(scope, names, "down", max_depth=3, limit=MANY),
    }
    return {
        name: Large(partial(each, subject), partial(each, other)) for name, each in calls.items()
    }


def _batches_of_each_kind(bench: Bench, store: Any, scope: Scope, names: Sequence[str]) -> None:
    """Commits of one kind of operation, in a scope that has nothing, where others have all ids."""
    new, next_ = [record(name) for name in names], [record(name, version=2) for name in names]
    for what, operations, wanted in (
        ("requirements of absences", [Require("atoms", n, present=False) for n in names], None),
        ("inserts that keep what is there", [Insert(each, if_exists="keep") for each in new], True),
        ("the same inserts again", [Insert(each, if_exists="keep") for each in next_], False),
        ("requirements", [Require("atoms", name, version=1) for name in names], None),
        ("replaces", [Replace(each) for each in next_], True),
        ("removes", [Remove("atoms", name) for name in names], True),
        ("the same removes again", [Remove("atoms", name) for name in names], False),
        ("inserts", [Insert(each) for each in new], True),
        ("removes of a version", [Remove("atoms", name, 1) for name in names], True),
    ):
        told = f"where others have the same ids, a commit of {len(names)} {what} in {scope}"
        changed = taken(bench, told, partial(store.commit, scope, operations))
        wrong = [name for name, each in zip(names, changed, strict=True) if each is not wanted]
        bench.expect(
            wanted is None or not wrong,
            f"{told} says of {len(wrong)} that they {'changed nothing' if wanted else 'changed'}",
        )
        left = store.count(scope, "atoms", None)
        there = 0 if what.startswith(("requirements of absences", "removes", "the same rem")) else 1
        bench.expect(left == there * len(names), f"{told} leaves {left} records")


def _walks_after_others(bench: Bench, store: Any, scopes: tuple[Scope, Scope]) -> None:
    """Walks from few ids and from many, each after one of another scope that met as many, and ended
    at its limit, at its depth, or where there was nothing more."""
    left, right = scopes
    ends = numbered(2 * max(WIDTHS))
    for scope in scopes:
        store.erase(scope)
    fans = [edge(f"root{size}", name) for size in WIDTHS for name in ends[:size]]
    load(bench, store, [*fans, *(edge(name, f"end-{name}") for name in ends)], left)
    load(bench, store, [edge(name, f"end-{name}") for name in ends], right)
    for size in WIDTHS:
        asked = ends[size : 2 * size]
        for depth, limit in ((5, size + size // 4), (5, MANY), (1, MANY), (5, 1)):
            met = store.walk(left, [f"root{size}"], "down", max_depth=depth, limit=limit)
            most_ = size if depth == 1 else 2 * size
            bench.expect(len(met) == min(most_, limit), f"a walk in {left} met {len(met)} edges")
            found = store.walk(right, asked, "down", max_depth=1, limit=MANY)
            bench.expect(
                [step.edge.fields["parent"] for step in found] == asked,
                f"after a walk in {left} that met {len(met)} edges, one in {right} from "
                f"{size} ids met {len(found)}: what one walk collects is another's to clear away",
            )


def _all_own(bench: Bench, store: Any, place: int, scope: Scope, names: Sequence[str]) -> None:
    body = str(place).encode()

    def own(found: Sequence[Any], how: str) -> None:
        bench.expect(
            [each and each.id for each in found] == list(names),
            f"{how} {scope} gets other records than it has",
        )
        strange = sum(each.body != body for each in found)
        bench.expect(not strange, f"{how} {scope} gets {strange} records of other scopes")

    own(store.get(scope, "atoms", names), f"asking for {len(names)} ids")
    for limit in (PAGE, len(names) // 2 + 1, MANY):
        own(list(queried(store, limit, scope)), f"in pages of {limit}")
    many = In("name", tuple(f"v{n % 40}-{n // 40}" for n in range(VALUES)))
    if operators(many) <= bench.spec.capabilities.filter_ops:  # type: ignore[union-attr]
        held = list(queried(store, PAGE, scope, collection="definitions", where=many))
        bench.expect(
            [each.fields["name"] for each in held] == [f"v{n}-{place}" for n in range(40)],
            f"by `in` with {VALUES} values {scope} gets records of other scopes",
        )
    steps = store.walk(scope, names, "down", max_depth=3, limit=MANY)
    ends = {step.edge.fields["child"] for step in steps}
    bench.expect(
        len(steps) == PAGE and ends == {f"m{place}"},
        f"a walk in {scope} from {len(names)} ids met edges of other scopes",
    )


def _others_stay(
    bench: Bench, store: Any, others: Sequence[Scope], names: Sequence[str], what: str
) -> None:
    for place, scope in enumerate(others, 1):
        found = store.get(scope, "atoms", names)
        bench.expect(
            all(each is not None and each.body == str(place).encode() for each in found),
            f"{what} took records from {scope}",
        )
        kept = store.count(scope, "edges", None)
        bench.expect(kept == PAGE, f"{what} took edges from {scope}")
