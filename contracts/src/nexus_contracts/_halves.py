"""Raw calls that are left half way: streams that nobody ends, and bodies that come slowly.

A schedule is performed as always, with verbs of its own: ``hold`` opens streams and leaves them
open, ``go on`` reads them to their end, ``let go`` closes them; ``begin`` puts an object whose body
stops in the middle, ``end`` lets it come to its end. What each scope saw is kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from typing import Any, Final

import attrs

from nexus_contracts._bench import Bench
from nexus_contracts._hands import PATIENCE as HANGS
from nexus_contracts._hands import aside, ended
from nexus_contracts._twins import Call, perform, plain
from nexus_core import NexusError, Scope
from nexus_core.spi import Body, ByteRange, StoreError

# Over the dozens that a careless pool or table has, under the descriptors that a process has.
STREAMS: Final = 64
# Over the usual chunks, so that the rest of a stream is still to come.
SIZE: Final = 140_000
# Seconds until a call that is not answered is taken to wait for a body that is on its way. One that
# waits for nobody is given up as anywhere.
PATIENCE: Final = 0.5
# Microseconds by which the clock moves on while a body is on its way: forty days.
AGES: Final = 40 * 86_400 * 1_000_000

# What a scope saw, call by call.
Seen = list[tuple[Call, Any]]


@attrs.frozen
class Left:
    """A stream that is half way: the object, what is to come, and from where to where."""

    key: str
    chunks: Iterator[bytes]
    start: int
    stop: int


@attrs.define
class Put:
    """A put whose body is on its way."""

    more: threading.Event
    said: Future[Any]


@attrs.define
class Halves:
    """Performs the calls of a schedule on a store."""

    bench: Bench
    store: Any
    waited: int = 0
    _streams: dict[Scope, ExitStack] = attrs.field(factory=dict)
    _left: dict[Scope, list[Left]] = attrs.field(factory=dict)
    _puts: dict[Scope, Put] = attrs.field(factory=dict)

    def perform(self, call: Call, results: Mapping[int, Any]) -> Any:
        """Make one call."""
        if call.method == "put":
            key, data, *rest = call.args
            filled = attrs.evolve(call, args=(key, Body(data), *rest))
            return self._beside(lambda: perform(self.store, filled, results))
        own: dict[str, Callable[..., Any]] = {
            "read": self._read,
            "hold": self._hold,
            "go on": self._go_on,
            "let go": self._let_go,
            "begin": self._begin,
            "end": self._end,
        }
        if call.method in own:
            return own[call.method](call.scope, *call.args, **call.kwargs)
        return self._beside(lambda: perform(self.store, call, results))

    def close(self) -> None:
        """Leave nothing open."""
        for stack in self._streams.values():
            with suppress(NexusError):
                stack.close()
        for put in self._puts.values():
            put.more.set()
            ended(put.said, HANGS)

    # -- streams ---------------------------------------------------------------------------------

    def _read(self, scope: Scope, key: str, **options: Any) -> Any:
        def read() -> Any:
            with self.store.open(scope, key, **options) as stream:
                return stream.info, b"".join(stream.chunks)

        return self._beside(read)

    def _hold(self, scope: Scope, keys: Sequence[str], spans: Sequence[ByteRange | None]) -> int:
        """Open streams and ranges in turns, and read a chunk of every other one; how many the store
        lets the scope have open."""
        stack = self._streams[scope] = ExitStack()
        left = self._left[scope] = []
        for number in range(STREAMS):
            key, span = keys[number % len(keys)], spans[number // len(keys) % len(spans)]
            options = {} if span is None else {"range": span}
            try:
                stream = stack.enter_context(self.store.open(scope, key, **options))
                chunks = iter(stream.chunks)
                read = len(next(chunks)) if number % 2 else 0
            except StoreError:
                # As many as one scope may have are the store's affair.
                break
            left.append(Left(key, chunks, stream.start + read, stream.stop))
        return len(left)

    def _go_on(self, scope: Scope, objects: Mapping[str, bytes]) -> list[str]:
        """Read every stream to its end; what is wrong with them."""
        wrong = []
        for number, each in enumerate(self._left[scope]):
            try:
                data = b"".join(each.chunks)
            except NexusError as error:
                wrong.append(f"stream {number} raises {type(error).__name__}")
                continue
            if data != objects[each.key][each.start : each.stop]:
                wrong.append(f"stream {number} gives other bytes")
        return wrong

    def _let_go(self, scope: Scope) -> None:
        self._streams.pop(scope).close()

    # -- bodies ----------------------------------------------------------------------------------

    def _begin(self, scope: Scope, key: str, data: bytes, given: Any) -> str:
        """Put, until the body stops in the middle."""
        more, stopped = threading.Event(), threading.Event()

        def body() -> Iterator[bytes]:
            middle = len(data) // 2
            yield data[:middle]
            # Who sweeps up what was begun long ago must not take what is still on its way.
            self.bench.clock.time += AGES
            stopped.set()
            more.wait(HANGS)
            yield data[middle:]

        def call() -> Any:
            try:
                return self.store.put(scope, key, Body(body()), given)
            finally:
                stopped.set()

        self._puts[scope] = Put(more, aside(call))
        if not stopped.wait(PATIENCE):
            self._all_go_on()
            stopped.wait(HANGS)
        return "begun"

    def _end(self, scope: Scope) -> Any:
        put = self._puts.pop(scope)
        put.more.set()
        return self._at_last(put.said, "a put hangs whose body had come to an end")

    def _all_go_on(self) -> None:
        self.waited += 1
        for put in self._puts.values():
            put.more.set()

    def _beside(self, call: Callable[[], Any]) -> Any:
        """Make a call beside bodies that are on their way, which may have to wait for them."""
        if not self._puts:
            return call()
        said = aside(call)
        if not ended(said, PATIENCE):
            self._all_go_on()
        return self._at_last(said, "a call hangs that came while a body was on its way")

    def _at_last(self, said: Future[Any], hangs: str) -> Any:
        if not ended(said, HANGS):
            self.bench.fail(hangs)
        return said.result()


def seen(bench: Bench, calls: Sequence[tuple[int, Call]]) -> dict[Scope, Seen]:
    """Make the calls on a fresh store; what each scope saw, renamed."""
    found: dict[Scope, Seen] = {call.scope: [] for _, call in calls}
    names: dict[Scope, dict[tuple[str, Any], str]] = {scope: {} for scope in found}
    results: dict[int, Any] = {}
    with bench.fresh_place() as place:
        halves = Halves(bench, place.store)
        try:
            for number, call in calls:
                try:
                    results[number] = halves.perform(call, results)
                    answer = plain(results[number], names[call.scope])
                except NexusError as error:
                    answer = ("raised", type(error).__name__, str(error), error.code)
                found[call.scope].append((call, answer))
        finally:
            halves.close()
    bench.figures["waits"] = bench.figures.get("waits", 0) + halves.waited
    return found
