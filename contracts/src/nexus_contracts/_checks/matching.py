"""Checks of filters whose values other types take for their own, and of filters and indexes that
have all rows or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from nexus_contracts._bench import SCOPES, Bench
from nexus_contracts._checks.atom_filters import operators
from nexus_contracts._checks.atoms import ids, insert, record
from nexus_contracts._checks.vectors import batch, definition, hits
from nexus_contracts._registry import check
from nexus_contracts._twins import plain
from nexus_core import Scope
from nexus_core.spi import (
    Eq,
    Exists,
    Filter,
    Ge,
    In,
    Lt,
    Ne,
    Not,
    NotFoundError,
    NotIn,
    Or,
)

SCOPE, OTHER = SCOPES[0], SCOPES[3]

Form = Callable[[str, Any], Filter]
# How a filter asks for a value, and whether for what has it or for what has not.
FORMS: Final[tuple[tuple[Form, bool], ...]] = (
    (Eq, True),
    (Ne, False),
    (lambda field, value: In(field, (value,)), True),
    (lambda field, value: NotIn(field, (value,)), False),
)


def _usable(bench: Bench, where: Filter) -> bool:
    return operators(where) <= bench.spec.capabilities.filter_ops  # type: ignore[union-attr]


# -- the atom store -------------------------------------------------------------------------------

# A field, a value of its type, and values of other types that equal it, or look like it.
_TYPED: Final[tuple[tuple[str, Any, tuple[Any, ...]], ...]] = (
    ("train_ok", True, (1, 1.0, "1", "True", "true")),
    ("pii", False, (0, 0.0, -0.0, "", "0", "False")),
    ("position", 1, (True, "1")),
    ("size", 0, (False, "0", "")),
    ("created_at", 1.0, (True, "1.0")),
    ("retain_until", -0.0, (False, "-0.0", "")),
    ("kind", "1", (1, True, 1.0)),
    ("subject", "", (0, False)),
    ("space", "True", (True,)),
)


def _rows(*, swapped: bool) -> Mapping[str, dict[str, Any]]:
    """Three records: with each value that is asked for, with its opposite, and with neither where
    a field may be absent."""
    yes = {field: value for field, value, _ in _TYPED}
    yes |= {"created_at": 1, "retain_until": 0}
    no: dict[str, Any] = {"train_ok": False, "pii": True, "position": 0, "size": 1, "created_at": 0}
    no |= {"retain_until": 1, "kind": "0", "subject": "1", "space": "true"}
    neither = {**no, "position": 7, "size": 7, "created_at": 7, "kind": "", "space": "1"}
    del neither["retain_until"], neither["subject"]
    return {"a": no if swapped else yes, "b": yes if swapped else no, "c": neither}


@check("ATOM-092")
def atom_filters_mind_types(bench: Bench) -> None:
    """Each value after those of other types that equal it were asked for in another scope, whatever
    came of that; then filters of all records, of none and of one."""
    store = bench.open()
    for scope in (SCOPE, OTHER):
        rows = _rows(swapped=scope == OTHER)
        insert(store, *(record(name, **fields) for name, fields in rows.items()), scope=scope)
    for field, value, strange in _TYPED:
        for form, positive in FORMS:
            if not _usable(bench, form(field, value)):
                continue
            for each in strange:
                # No filter that the core has checked is like this. What is judged comes after it.
                with suppress(Exception):
                    store.query(OTHER, "atoms", form(field, each))
            for scope in (SCOPE, OTHER):
                have = {
                    name
                    for name, fields in _rows(swapped=scope == OTHER).items()
                    if field in fields
                    and fields[field] == value
                    and isinstance(fields[field], bool) is isinstance(value, bool)
                }
                wanted = sorted(have if positive else {"a", "b", "c"} - have)
                _answered(bench, store, scope, form(field, value), wanted)
    everything: tuple[tuple[Filter, str], ...] = (
        (Exists("kind"), "abc"),
        (Ge("position", 0), "abc"),
        (Not(Eq("kind", "absent")), "abc"),
        (Eq("kind", "absent"), ""),
        (Lt("position", 0), ""),
        (Ge("position", 7), "c"),
        (Not(Exists("subject")), "c"),
    )
    for where, text in everything:
        for scope in (OTHER, SCOPE):
            if _usable(bench, where):
                _answered(bench, store, scope, where, list(text))


def _answered(bench: Bench, store: Any, scope: Scope, where: Filter, wanted: Sequence[str]) -> None:
    found, counted = ids(store, where, scope=scope), store.count(scope, "atoms", where)
    bench.expect(
        found == wanted and counted == len(wanted),
        f"asked for {where}, {scope} gets {found} and counts {counted} instead of {wanted}, after "
        "another scope asked for values of other types that equal it: to a key of a cache 1, 1.0 "
        "and True are one, and by their text 1 and '1'",
    )


# -- the vector store: one name of a field, and its types -----------------------------------------

# Of each type, ways to write the value of a row called yes, and of one called no.
_VALUES: Final[Mapping[str, tuple[tuple[Any, ...], tuple[Any, ...]]]] = {
    "bool": ((True,), (False,)),
    "int": ((1, 1.0), (0, 0.0, -0.0)),
    "str": (("1",), ("",)),
    "float": ((1.0, 1), (-0.0, 0.0, 0)),
}


def _kinds(bench: Bench, store: Any) -> Iterator[tuple[Scope, str, Any]]:
    """Indexes under names that both scopes have, with a field of one name and of every type."""
    kinds = list(_VALUES)
    for place, scope in enumerate((SCOPE, OTHER)):
        for number in range(len(kinds)):
            kind = kinds[(number + place) % len(kinds)]
            shape = definition(bench, 2, name=f"k{number}", fields={"x": kind})
            ref = store.create_index(scope, shape)
            (yes, *_), (no, *_) = _VALUES[kind]
            held: dict[str, dict[str, Any]] = {"yes": {"x": yes}, "no": {"x": no}, "without": {}}
            if kind == "str":
                held |= {"word": {"x": "True"}, "zero": {"x": "0"}}
            store.upsert(scope, ref, batch({name: [1.0, 1.0] for name in held}, held))
            yield scope, kind, ref


@check("VEC-092")
def vector_filters_mind_types(bench: Bench) -> None:
    """One field's name in indexes of two scopes, of another type in each: values that equal one
    another are asked for in turn, first the true ones, then the false ones the other way round."""
    store = bench.open()
    indexes = list(_kinds(bench, store))
    for which, order in enumerate((indexes, indexes[::-1])):
        for form, positive in FORMS:
            for scope, kind, ref in order:
                for value in _VALUES[kind][which]:
                    if not _usable(bench, form("x", value)):
                        continue
                    named = {"yes" if which == 0 else "no"}
                    wanted = named if positive else _held(kind) - named
                    found = hits(store, ref, [1.0, 1.0], 9, where=form("x", value), scope=scope)
                    counted = store.count(scope, ref, form("x", value))
                    bench.expect(
                        {hit.id for hit in found} == wanted and counted == len(wanted),
                        f"asked for {form('x', value)}, where the field is {kind}, {scope} gets "
                        f"{sorted(hit.id for hit in found)} and counts {counted} instead of "
                        f"{sorted(wanted)}: in another index the field of that name is of another "
                        "type, and to a key of a cache 1, 1.0 and True are one",
                    )
    for scope, kind, ref in indexes:
        where = Eq("x", _VALUES[kind][0][0])
        if _usable(bench, where):
            gone = store.delete_where(scope, ref, where)
            bench.expect(gone == 1, f"delete_where of {where} takes {gone} rows of {scope}")
    for scope, kind, ref in indexes:
        left = {row.id for row in store.scan(scope, ref).rows}
        bench.expect(
            left == _held(kind) - {"yes"}, f"delete_where of a value took other rows of {scope}"
        )


def _held(kind: str) -> set[str]:
    return {"yes", "no", "without"} | ({"word", "zero"} if kind == "str" else set())


# -- the vector store: all rows, and none ---------------------------------------------------------

_ROWS: Final = {name: {"page": number} for number, name in enumerate("abc")}
_ALL: Final[tuple[Filter, ...]] = (
    Ge("page", 0),
    Exists("page"),
    Not(Eq("page", 77)),
    In("page", (0, 1, 2)),
    Or((Eq("page", 0), Ne("page", 0))),
)
_SOME: Final[tuple[tuple[Filter, str], ...]] = (
    (Eq("page", 77), ""),
    (Lt("page", 0), ""),
    (Eq("page", 1), "b"),
    (Ge("page", 2), "c"),
)


@check("VEC-093")
def all_rows_and_none(bench: Bench) -> None:
    """Indexes of one definition in several scopes, emptied by filter and by ids, refilled, and
    dropped while they are empty; others have rows in theirs, or none."""
    store = bench.open()
    subject, twin, near = bench.cast(3)
    third = Scope(subject.tenant_id, ({"dev", "staging", "prod"} - {subject.env, twin.env}).pop())
    shapes = [definition(bench, 2), definition(bench, 2, version=2), definition(bench, 2, name="s")]
    refs = {
        scope: [store.create_index(scope, shape) for shape in shapes]
        for scope in (subject, twin, near, third)
    }
    # In the third nothing is stored, and in nobody's last index.
    for scope in (subject, twin, near):
        for ref in refs[scope][:2]:
            _fill(store, scope, ref)
    others = (twin, near, third)
    before = {scope: _state(store, scope, refs[scope]) for scope in others}
    main, second, spare = refs[subject]

    def unharmed(what: str) -> None:
        for scope in others:
            try:
                now: object = _state(store, scope, refs[scope])
            except NotFoundError:
                now = None
            bench.expect(
                now == before[scope], f"{what} in {subject} changed what {scope} has under the name"
            )

    for where, text in _SOME:
        if _usable(bench, where):
            _taken(bench, store, (subject, main), where, text)
            unharmed(f"a delete_where of {len(text) or 'no'} rows")
            _fill(store, subject, main)
    for where in filter(partial(_usable, bench), _ALL):
        _taken(bench, store, (subject, main), where, "abc")
        unharmed("a delete_where of all rows")
        _taken(bench, store, (subject, main), where, "")
        unharmed("a delete_where in an empty index")
        here = store.get_index(subject, main.definition.name, 1)
        bench.expect(here == main, "an index whose rows were all deleted is another index")
        size = store.statistics(subject, main).rows
        bench.expect(size == 0, f"an index whose rows were all deleted has {size} of them")
        _fill(store, subject, main)
    kept = _state(store, subject, [second])
    store.drop_index(subject, spare)
    unharmed("dropping an index in which nothing ever was")
    store.delete(subject, main, list(_ROWS))
    unharmed("deleting all rows")
    for _ in range(2):
        store.drop_index(subject, main)
        unharmed("dropping an index that is empty again")
    listed = list(store.list_indexes(subject))
    bench.expect(
        listed == [second] and _state(store, subject, [second]) == kept,
        "dropping an empty index changed another version of it",
    )
    again = store.create_index(subject, shapes[0])
    store.drop_index(subject, again)
    unharmed("dropping an index that was just made")
    store.delete(subject, second, list(_ROWS))
    bench.expect(store.erase(subject) == 0, "erasing a scope without rows counts some")
    unharmed("erasing empty indexes")


def _fill(store: Any, scope: Scope, ref: Any) -> None:
    rows = {name: [1.0, float(number)] for number, name in enumerate(_ROWS)}
    store.upsert(scope, ref, batch(rows, _ROWS))


def _state(store: Any, scope: Scope, refs: Sequence[Any]) -> object:
    """All that a scope sees of indexes."""
    return [
        (
            store.get_index(scope, ref.definition.name, ref.definition.version),
            plain(store.scan(scope, ref).rows, {}),
            store.count(scope, ref, None),
        )
        for ref in refs
    ]


def _taken(
    bench: Bench, store: Any, index: tuple[Scope, Any], where: Filter, names: Sequence[str]
) -> None:
    """Delete by a filter, and see that these and no others are gone."""
    scope, ref = index
    had = [row.id for row in store.scan(scope, ref).rows]
    gone = store.delete_where(scope, ref, where)
    left = [row.id for row in store.scan(scope, ref).rows]
    wanted = [name for name in had if name not in names]
    bench.expect(
        gone == len(names) and left == wanted,
        f"delete_where of {where} tells of {gone} rows, and leaves {left} of {had}",
    )
