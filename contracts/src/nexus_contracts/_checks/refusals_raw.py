"""What a raw store may refuse: bodies that raise, and conditions that do not hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from nexus_contracts._bench import Bench
from nexus_contracts._checks import raw
from nexus_contracts._checks.refusals import Trials, Way, cut
from nexus_contracts._twins import Ref
from nexus_core import Scope
from nexus_core.spi import ByteRange

CHUNK: Final = 1 << 16
# More than the smallest part of an upload in several.
HUGE: Final = 9 << 20


@attrs.frozen
class Chunks:
    """A source of so many chunks, after which it ends, or raises."""

    chunk: bytes
    count: int
    breaks: bool = True

    def __call__(self) -> Iterator[bytes]:
        for _ in range(self.count):
            yield self.chunk
        if self.breaks:
            raise raw.Broken

    def __repr__(self) -> str:
        end = ", and then an error" if self.breaks else ""
        return f"<{self.count} chunks of {len(self.chunk)} bytes{end}>"


class RawRefusals:
    """Objects that are there, and others' that are not."""

    def __init__(self, bench: Bench) -> None:
        can: Any = bench.spec.capabilities
        self.can = can
        self.first: dict[Scope, int] = {}
        most = can.max_object_bytes
        self.largest = HUGE if most is None else min(most, HUGE)
        conditional: tuple[tuple[bool, Way], ...] = (
            (can.conditional_create, self._taken),
            (can.conditional_replace, self._stale),
            (can.conditional_delete, self._stale_delete),
            (can.copy, self._copies),
            (can.versions, self._versions),
        )
        self.ways: Sequence[Way] = (
            self._breaks,
            self._breaks_at_once,
            self._breaks_late,
            self._breaks_over_others,
            self._too_large,
            self._other_bytes,
            self._absent,
            self._in_vain,
            cut("list", limit=1),
            cut("read_some", "held"),
            *(way for able, way in conditional if able),
        )

    @staticmethod
    def given(text: str) -> Any:
        """Attributes that hold a text."""
        return raw.attributes(text=text)

    def _chunk(self, text: str) -> bytes:
        whole = f"{text} ".encode() * (CHUNK // len(text) + 1)
        return whole[: min(CHUNK, self.largest)]

    def _broken(self, script: Trials, scope: Scope, key: str, text: str, count: int) -> None:
        source = Chunks(self._chunk(text), count)
        script.refuse(scope, "put", key, source, self.given(text))

    def _breaks(self, script: Trials, scope: Scope, thing: str) -> None:
        self._broken(script, scope, thing, thing, min(5, self.largest // CHUNK))

    def _breaks_at_once(self, script: Trials, scope: Scope, thing: str) -> None:
        self._broken(script, scope, thing, thing, 0)

    def _breaks_late(self, script: Trials, scope: Scope, thing: str) -> None:
        self._broken(script, scope, thing, thing, self.largest // CHUNK)

    def _breaks_over_others(self, script: Trials, scope: Scope, thing: str) -> None:
        for key in ("held", "theirs"):
            self._broken(script, scope, key, thing, 2)

    def _too_large(self, script: Trials, scope: Scope, thing: str) -> None:
        source = Chunks(self._chunk(thing), 5, breaks=False)
        declared = {"limit": 3 * len(source.chunk)}
        script.refuse(scope, "put", thing, source, self.given(thing), declared)

    def _other_bytes(self, script: Trials, scope: Scope, thing: str) -> None:
        source, given = Chunks(self._chunk(thing), 2, breaks=False), self.given(thing)
        script.refuse(scope, "put", thing, source, given, {"sha256": "0" * 64})
        for size in (1, 3):
            declared = {"size": size * len(source.chunk)}
            script.refuse(scope, "put", thing, source, given, declared)

    def _absent(self, script: Trials, scope: Scope, thing: str) -> None:
        script.refuse(scope, "head", thing)
        script.refuse(scope, "read_all", thing)
        script.refuse(scope, "head", "theirs")

    def _in_vain(self, script: Trials, scope: Scope, thing: str) -> None:
        script.cut_short(scope, "delete", thing)
        script.cut_short(scope, "delete_many", [thing, "theirs"])
        if self.can.ranges:
            script.refuse(scope, "read_all", "held", range=ByteRange(CHUNK * 9, CHUNK * 9 + 1))
        script.cut_short(scope, "list", prefix=thing, limit=1)

    def _taken(self, script: Trials, scope: Scope, thing: str) -> None:
        source = self._chunk(thing) * 2
        script.refuse(scope, "put", "held", source, self.given(thing), if_absent=True)

    def _old(self, scope: Scope) -> Ref:
        return Ref(self.first[scope], ("etag",))

    def _stale(self, script: Trials, scope: Scope, thing: str) -> None:
        old, source, given = self._old(scope), self._chunk(thing) * 2, self.given(thing)
        script.refuse(scope, "put", "held", source, given, if_match=old)
        script.refuse(scope, "put", thing, b"small", given, if_match=old)
        script.refuse(scope, "set_system", "held", {"stamp": "ff"}, if_match=old)
        script.refuse(scope, "read_all", "held", if_match=old)

    def _stale_delete(self, script: Trials, scope: Scope, thing: str) -> None:
        script.refuse(scope, "delete", "held", if_match=self._old(scope))
        script.refuse(scope, "delete", thing, if_match=self._old(scope))

    def _copies(self, script: Trials, scope: Scope, thing: str) -> None:
        given, old = self.given(thing), self._old(scope)
        script.refuse(scope, "copy", f"{thing}-absent", thing, given)
        script.refuse(scope, "copy", "held", thing, given, if_source_match=old)
        if self.can.conditional_create:
            script.refuse(scope, "copy", "kept", "held", given, if_absent=True)

    def _versions(self, script: Trials, scope: Scope, thing: str) -> None:
        for verb in ("head_version", "restore"):
            script.refuse(scope, verb, "held", thing)
        version = Ref(self.first[scope], ("version_id",))
        script.refuse(scope, "restore", thing, version)
        if self.can.conditional_replace:
            script.refuse(scope, "restore", "held", version, if_match=self._old(scope))
        script.cut_short(scope, "purge", thing, [thing])
        script.cut_short(scope, "list_versions", limit=1)

    def load(self, script: Trials, scope: Scope, *, refuser: bool) -> None:
        """An object of which an older version's ETag is known, and others."""
        given = raw.attributes(of=f"{scope}")
        self.first[scope] = script.add(scope, "put", "held", b"old", given)
        script.add(scope, "put", "held", (f"{scope} ".encode() * 9000)[: self.largest], given)
        script.add(scope, "put", "kept", f"{scope}".encode(), given)
        if not refuser:
            script.add(scope, "put", "theirs", f"theirs, of {scope}".encode(), given)

    def look(self, script: Trials, scope: Scope, thing: str) -> None:
        """The thing, its neighbours, and the listing."""
        for key in (thing, "held"):
            script.add(scope, "read_all", key)
        script.add(scope, "list", prefix=thing)

    def write(self, script: Trials, scope: Scope, thing: str) -> None:
        """The thing, larger than a chunk; the next, small."""
        once = {"if_absent": True} if self.can.conditional_create else {}
        data = f"{scope} {len(thing)} ".encode() * 6000
        script.add(scope, "put", thing, data[: self.largest], raw.attributes(), **once)
        script.add(scope, "put", f"{thing}-next", f"next, of {scope}".encode(), raw.attributes())
        script.add(scope, "read_all", f"{thing}-next")

    def everything(self, script: Trials, scope: Scope) -> None:
        """The listing, the history, and what was there at first."""
        script.add(scope, "list", limit=1000)
        for key in ("held", "kept", "theirs"):
            script.add(scope, "read_all", key)
        if self.can.versions:
            for key in ("held", "theirs"):
                script.add(scope, "list_versions", key)

    def end(self, script: Trials, scope: Scope) -> None:
        """The erasure."""
        script.add(scope, "erase")
