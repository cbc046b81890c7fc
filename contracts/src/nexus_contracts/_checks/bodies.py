"""What a put's body may do while it is read: call the same store for others, in the same thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import attrs

from nexus_contracts._bench import Bench
from nexus_contracts._checks.raw import attributes, names, read
from nexus_contracts._halves import SIZE
from nexus_contracts._hands import PATIENCE, aside, ended
from nexus_contracts._twins import named
from nexus_core import Scope
from nexus_core.spi import (
    Body,
    RateLimitedError,
    StoreError,
    StoreTimeoutError,
    UnavailableError,
    UnsupportedError,
)

SMALL: Final = 90
# How a store says that it cannot take a call at this moment.
BUSY: Final = (UnavailableError, StoreTimeoutError, RateLimitedError, UnsupportedError)

# A piece of a body, or what is done when the body has come so far, which may give another piece.
Part = bytes | Callable[[], bytes]


@attrs.define
class Composer:
    """Puts objects that are made of others, and keeps account of what each scope has."""

    store: Any
    held: dict[Scope, dict[str, bytes]]
    wrong: list[str] = attrs.field(factory=list)
    refused: int = 0

    def put(self, scope: Scope, key: str, *parts: Part) -> bytes:
        """Put an object whose body does something on its way."""
        given: list[bytes] = []

        def body() -> Iterator[bytes]:
            for part in parts:
                data = part if isinstance(part, bytes) else part()
                if data:
                    given.append(data)
                    yield data

        def put() -> bytes:
            self.store.put(scope, key, Body(body()), attributes(of=scope.tenant_id))
            self.held[scope][key] = b"".join(given)
            return b""

        return self._made(f"a put of {key!r} in {named(scope)}", put)

    def read(self, scope: Scope, key: str) -> bytes:
        """Look an object up and read it; its bytes, for a body to go on with."""

        def look() -> bytes:
            data, info = read(self.store, key, scope), self.store.head(scope, key)
            listed = names(self.store, scope)
            told = data, info.size, listed
            if told != (mine := self.held[scope][key], len(mine), sorted(self.held[scope])):
                self.wrong.append(f"reads of {key!r} in {named(scope)} gave something else")
            return data

        return self._made(f"a read of {key!r} in {named(scope)}", look)

    def delete(self, scope: Scope, key: str) -> bytes:
        """Delete an object."""

        def delete() -> bytes:
            self.store.delete(scope, key)
            del self.held[scope][key]
            return b""

        return self._made(f"a delete of {key!r} in {named(scope)}", delete)

    def erase(self, scope: Scope) -> bytes:
        """Erase a scope."""

        def erase() -> bytes:
            self.store.erase(scope)
            self.held[scope] = {}
            return b""

        return self._made(f"an erasure of {named(scope)}", erase)

    def _made(self, what: str, call: Callable[[], bytes]) -> bytes:
        try:
            return call()
        except BUSY:
            self.refused += 1
        except StoreError as error:
            self.wrong.append(f"{what} raised {type(error).__name__}")
        return b""


def bodies_that_call(bench: Bench) -> None:
    """Bodies that read others' objects, put, delete and erase while they are read themselves."""
    most = bench.spec.capabilities.max_object_bytes  # type: ignore[union-attr]
    large = SIZE if most is None else min(SIZE, most)
    writer, sibling, twin = bench.cast(3)
    for size in (min(SMALL, large), large):
        with bench.fresh_place() as place:
            made = Composer(place.store, {scope: {} for scope in (writer, sibling, twin)})
            said = aside(partial(_composed, bench, made, writer, size))
            if not ended(said, PATIENCE):
                bench.abandon(place.store)
                bench.fail(
                    "a put hangs whose body calls the store for another scope: hold no lock, and "
                    "nothing else that such a call waits for, while the body is read"
                )
            said.result()
            _as_told(bench, made)
            for wrong in made.wrong[:1]:
                bench.fail(f"in the body of a put of another scope {wrong}")
            bench.figures["refused in bodies"] = made.refused


def _composed(bench: Bench, made: Composer, writer: Scope, size: int) -> None:
    """Puts of one key by all, one within another; and one body for each kind of call."""
    _, sibling, twin = made.held

    def data() -> bytes:
        return bench.random.randbytes(size // 3)

    for scope in made.held:
        made.put(scope, "a", data())
        made.put(scope, "b", data(), data())
    made.put(writer, "all", data(), lambda: made.read(sibling, "a"), lambda: made.read(twin, "b"))
    made.put(writer, "c", lambda: made.read(sibling, "b"), data())
    inner = data(), lambda: made.read(writer, "a"), data()
    made.put(
        sibling,
        "r",
        data(),
        lambda: made.put(writer, "r", data(), lambda: made.put(twin, "r", *inner), data()),
        data(),
    )
    made.put(twin, "a", data(), lambda: made.put(writer, "a", data()), data())
    made.put(writer, "b", data(), lambda: made.delete(twin, "b"), data())
    made.put(writer, "r", data(), lambda: made.erase(twin), data())


def _as_told(bench: Bench, made: Composer) -> None:
    """Each scope has what was put in it, and nothing else."""
    for scope, held in made.held.items():
        found = {key: read(made.store, key, scope) for key in names(made.store, scope)}
        if found != held:
            keys = sorted(key for key in held | found if held.get(key) != found.get(key))
            bench.fail(
                f"puts whose bodies call the store for other scopes, in the same thread, left "
                f"something else in {named(scope)} than was put there, under {keys[:3]}: keep "
                "nothing of a call outside it while its body is read"
            )
