"""The laws of a raw store, tried with objects under the same keys in two tenants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nexus_core._doctor.laws import (
    LOSS,
    BrokenLawError,
    Laws,
    Twin,
    Twins,
    answer_of,
    needed,
    never,
)
from nexus_core._model.errors import NexusError


def try_raw(twins: Twins, laws: Laws) -> None:
    """Write twins, and look whether either tenant can tell that the other is there."""
    a, b = twins.a, twins.b
    twin, own = f"{twins.nonce}/twin", f"{twins.nonce}/only-a"
    with laws.law("a tenant alone reads back what it wrote"):
        _put(twins, a, twin, b"of a")
        _put(twins, a, own, b"of a only")
        before = _seen(twins, a, twin)
        needed(before[0] == b"of a", "an object has other bytes than were written")
        needed(before[2] == (own, twin), "a listing is not what was written")
    if laws.broken:
        return
    with laws.law("the same key in two tenants is two objects"):
        _put(twins, b, twin, b"of b, and longer")
        never(_seen(twins, a, twin) != before, "one tenant's write changed what the other sees")
        bytes_of_b = b.n.raw.get(twin).data
        never(bytes_of_b == b"of a", "a tenant read the other's object")
        needed(bytes_of_b == b"of b, and longer", "an object has other bytes than were written")
    with laws.law("a listing has one's own keys only"):
        keys = tuple(item.key for item in b.n.raw.list(f"{twins.nonce}/").items)
        never(own in keys, "a listing has a key of the other tenant")
        needed(keys == (twin,), "a listing is not what was written")
    with laws.law("another tenant's object and none at all give the same answer"):
        for verb in (b.n.raw.head, b.n.raw.get):
            _same(verb, own, f"{twins.nonce}/never-was")
    with laws.law("a cursor opens for the tenant that it was made for"):
        cursor = a.n.raw.list(f"{twins.nonce}/", limit=1).cursor
        needed(cursor is not None, "a listing that goes on has no cursor")
        first = _refusal(lambda c: b.n.raw.list(f"{twins.nonce}/", limit=1, cursor=c), cursor)
        other = _refusal(lambda c: b.n.raw.list(f"{twins.nonce}/", limit=1, cursor=c), "x" * 40)
        never(first != other, "a cursor of the other tenant is told apart from a false one")
    with laws.law("deleting in one tenant deletes nothing in the other"):
        a.n.raw.delete(twin)
        never(b.n.raw.get(twin).data != b"of b, and longer", "the other tenant's object changed")
        _same(a.n.raw.head, twin, f"{twins.nonce}/never-was")


def _put(twins: Twins, twin: Twin, key: str, data: bytes) -> None:
    twin.n.raw.put(key, data, kind=twins.kind, space=twins.space)


def _seen(twins: Twins, twin: Twin, key: str) -> tuple[Any, ...]:
    """Everything that a tenant can see of its own objects."""
    content = twin.n.raw.get(key)
    keys = tuple(item.key for item in twin.n.raw.list(f"{twins.nonce}/").items)
    return content.data, content.object, keys


def _same(verb: Callable[[str], object], foreign: str, absent: str) -> None:
    never(
        _refusal(verb, foreign) != _refusal(verb, absent),
        "an object of the other tenant is told apart from one that never was",
    )


def _refusal(verb: Callable[[Any], object], argument: object) -> Any:
    try:
        verb(argument)
    except NexusError as error:
        return answer_of(error)
    raise BrokenLawError("a call that had to be refused was answered", LOSS)
