"""The survey of the raw store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nexus_contracts._bench import JOINED, Bench
from nexus_contracts._catalogue.shared import IDS
from nexus_contracts._registry import check
from nexus_contracts._survey import SCOPES, WORDS, Script, survey
from nexus_contracts._twins import Call, Ref, perform
from nexus_core import Scope
from nexus_core.spi import Body, ByteRange, ObjectAttributes, StoreRole

SHARED = (
    *JOINED,
    *("K", "k/m", "k%2fm", "k_", "ﬁ", "é", "日本", "🧪", "x" * 300, "deep/" * 20 + "end"),
    *(f"s/{number:02}" for number in range(12)),
)
# Keys of several kinds that only one scope has.
OWN = tuple(f"own/{place}" for place in range(len(SCOPES)))
ODD = tuple(f"🧪/{place}" for place in range(len(SCOPES)))
MUCH = 3 << 20


class RawLand:
    """Objects under shared keys, some of the same bytes, with metadata that differs by case."""

    def __init__(self, bench: Bench) -> None:
        can: Any = bench.spec.capabilities
        self.can = can
        self.first: dict[Scope, int] = {}
        long = min(900, can.max_key_bytes)
        self.shared = (*SHARED, "y" * long)
        self.long = [f"{place:z>{long}}" for place in range(len(SCOPES))]
        self.much = bytes(min(MUCH, can.max_object_bytes or MUCH))

    def _put(
        self, script: Script, place: int, scope: Scope, key: str, size: int, **options: Any
    ) -> int:
        word = WORDS[place % 3]
        data = b"same" if size % 4 == 0 else f"{place} ".encode() + word.encode() * size
        given = ObjectAttributes(
            content_type=f"text/plain; charset={('utf-8', 'UTF-8')[place % 2]}",
            metadata={"word": word, "size": str(size)},
            system={"stamp": f"{place:02x}", "kind": "data"},
        )
        return script.add(scope, "put", key, data, given, **options)

    def load(self, script: Script, place: int, scope: Scope, turn: int = 0) -> None:
        """The shared keys and the own ones."""
        for number, key in enumerate((*self.shared, OWN[place], ODD[place], self.long[place])):
            made = self._put(script, place, scope, key, number + place + turn)
            if number == 0:
                self.first[scope] = made
        for key, data in (
            ("plain", b"plain" * 1000),
            # One to whoever looks at the size and the beginning.
            ("twin", b"t" * 65_536 + bytes([place])),
        ):
            plain = {"owner": str(place)} if place % 2 else {}
            given = ObjectAttributes(content_type="text/plain", metadata=plain, system={})
            script.add(scope, "put", key, data, given)

    def bulk(self, script: Script, scope: Scope) -> None:
        """One object of some megabytes."""
        given = ObjectAttributes(content_type="text/plain", metadata={}, system={})
        script.add(scope, "put", "bulk", self.much, given)

    def ask(self, script: Script, place: int, scope: Scope) -> None:
        """Every key, every range, and listings from every place."""
        for key in (*self.shared, *OWN, *ODD, *self.long, "plain", "twin"):
            script.add(scope, "head", key)
            script.add(scope, "read", key)
        if self.can.ranges:
            for span in (ByteRange(0, 3), ByteRange(1, None), ByteRange.last(2), ByteRange.last(5)):
                for key in ("k", OWN[place - 1], "s/06", "s/07", "🧪", "twin"):
                    script.add(scope, "read", key, range=span)
        script.add(scope, "read", SHARED[0], if_match=Ref(self.first[scope], ("etag",)))
        for prefix in ("", "k", "s/", "own/", "b", "deep/", "x" * 299):
            script.add(scope, "list", prefix=prefix)
            script.add(scope, "list", prefix=prefix, limit=2)
            if self.can.delimiter:
                script.add(scope, "list", prefix=prefix, delimiter="/")
                script.add(scope, "list", prefix=prefix, delimiter="/", limit=1)
        for after in (*OWN, "k", "s/05", "bulk", "~"):
            script.add(scope, "list", after=after, limit=1)
            script.add(scope, "list", after=after, limit=1000)

    def change(self, script: Script, place: int, scope: Scope) -> None:
        """Keys that others have alone: deleted, made, replaced; and one's own, rightly and not."""
        can, foreign = self.can, OWN[place - 1]
        etag = Ref(self.first[scope], ("etag",))
        script.add(scope, "delete", foreign)
        script.add(scope, "delete_many", [foreign, OWN[place - 2], SHARED[5]])
        if can.conditional_create:
            self._put(script, place, scope, foreign, 5, if_absent=True)
            self._put(script, place, scope, foreign, 6, if_absent=True)
        if can.conditional_replace:
            self._put(script, place, scope, OWN[place - 2], 7, if_match=etag)
            self._put(script, place, scope, SHARED[0], 7, if_match=etag)
            self._put(script, place, scope, SHARED[0], 9, if_match=etag)
        if can.conditional_delete:
            script.add(scope, "delete", SHARED[1], if_match=etag)
        if can.copy:
            given = ObjectAttributes(content_type="text/plain", metadata={}, system={})
            script.add(scope, "copy", SHARED[2], "copied", given)
            script.add(scope, "copy", OWN[place - 3], "copied", given)
        script.add(scope, "broken_put", SHARED[3])
        script.add(scope, "broken_put", OWN[place - 2])

    def ravage(self, script: Script, place: int, scope: Scope) -> None:
        """One by one, together, and then all."""
        for key in SHARED[:4]:
            script.add(scope, "delete", key)
        script.add(scope, "delete_many", [*SHARED[4:8], *OWN])
        script.add(scope, "erase")


def act(backend: Any, call: Call, results: Mapping[int, Any]) -> Any:
    """Perform a call of the raw SPI: bodies are made here, and reads are read to their end."""
    if call.method == "put":
        body = Call(
            call.scope, "put", (call.args[0], Body(call.args[1]), call.args[2]), call.kwargs
        )
        return perform(backend, body, results)
    if call.method == "read":
        with perform(backend, Call(call.scope, "open", call.args, call.kwargs), results) as stream:
            return stream.info, stream.start, stream.stop, b"".join(stream.chunks)
    if call.method == "broken_put":
        given = ObjectAttributes(content_type="text/plain", metadata={}, system={})
        try:
            return backend.put(call.scope, call.args[0], Body(_broken()), given)
        except ArithmeticError:
            return "the body's own error"
    return perform(backend, call, results)


def _broken() -> Iterator[bytes]:
    yield b"half "
    raise ArithmeticError


@check(IDS[StoreRole.RAW].survey)
def raw_survey(bench: Bench) -> None:
    """Every key, range, prefix, delimiter and page."""
    survey(bench, RawLand(bench), act)
