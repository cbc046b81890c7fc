"""Checks of raw calls that others leave half way: streams that are open, bodies that are slow."""

from __future__ import annotations

from typing import Any

from nexus_contracts._bench import Bench, Indeterminate
from nexus_contracts._checks.bodies import bodies_that_call
from nexus_contracts._checks.raw import attributes
from nexus_contracts._halves import SIZE, STREAMS, Seen, seen
from nexus_contracts._registry import check
from nexus_contracts._survey import Script
from nexus_contracts._twins import Ref, named, parting
from nexus_contracts._watch import short
from nexus_core import Scope
from nexus_core.spi import ByteRange

VERBS = ("hold", "go on", "let go", "begin", "end")
# Held open by one scope; all others have them too, with other bytes.
KEYS = ("k", "k/m", "r")


class Objects:
    """A schedule, and what its scopes put: the same keys, and bytes of their own."""

    def __init__(self, bench: Bench, scopes: list[Scope]) -> None:
        can: Any = bench.spec.capabilities
        self.can = can
        self.script = Script()
        most = SIZE if can.max_object_bytes is None else min(SIZE, can.max_object_bytes)
        self.bytes = {
            scope: {key: bench.random.randbytes(most) for key in KEYS} for scope in scopes
        }
        self.first: dict[Scope, int] = {}
        for scope, objects in self.bytes.items():
            self.first[scope] = self.put(scope, "a", f"{scope} a".encode())
            for key, data in objects.items():
                self.put(scope, key, data)

    def put(self, scope: Scope, key: str, data: bytes, **options: Any) -> int:
        """Put, with attributes that tell whose it is."""
        given = attributes(of=scope.tenant_id)
        return self.script.add(scope, "put", key, data, given, **options)

    def ask(self, scope: Scope) -> None:
        """Reads of every kind."""
        add = self.script.add
        for key in ("a", "k", "absent"):
            add(scope, "head", key)
            add(scope, "read", key)
        if self.can.ranges:
            add(scope, "read", "k/m", range=ByteRange(7, 90_000))
        add(scope, "list")
        add(scope, "list", prefix="k", after="k", limit=1)

    def change(self, scope: Scope, turn: str) -> None:
        """Writes of every kind of what nobody holds open."""
        can, add = self.can, self.script.add
        etag = Ref(self.first[scope], ("etag",))
        self.put(scope, f"{turn}/new", f"{scope} {turn}".encode() * 10_000)
        self.put(scope, "b", f"{scope} {turn} b".encode())
        if can.conditional_create:
            self.put(scope, "a", b"taken", if_absent=True)
        if can.conditional_replace:
            self.put(scope, "a", f"{scope} {turn} a".encode(), if_match=etag)
        if can.copy:
            add(scope, "copy", "k", f"{turn}/copy", attributes())
        if can.conditional_delete:
            add(scope, "delete", "b", if_match=etag)
        add(scope, "delete", "b")
        add(scope, "delete_many", [f"{turn}/new", "absent"])
        add(scope, "list", limit=2)

    def end(self, scope: Scope) -> None:
        """Deletions of what another scope holds open, the erasure, and a new beginning."""
        self.script.add(scope, "delete", "k")
        self.script.add(scope, "erase")
        self.put(scope, "k", f"{scope} once more".encode())
        self.ask(scope)


def compared(bench: Bench, made: Objects, meanwhile: str) -> dict[Scope, Seen]:
    """What each scope sees beside the others has to be what it sees alone."""
    calls = list(enumerate(made.script.calls))
    beside = seen(bench, calls)
    for scope, answers in beside.items():
        own = [(number, call) for number, call in calls if call.scope == scope]
        alone = seen(bench, own)[scope]
        if alone == answers:
            continue
        if seen(bench, own)[scope] != alone:
            raise Indeterminate("one scope alone, twice, saw different things")
        _told(bench, scope, (answers, alone), meanwhile)
    return beside


def _told(bench: Bench, scope: Scope, both: tuple[Seen, Seen], meanwhile: str) -> None:
    for (call, wrong), (_, right) in zip(*both, strict=True):
        if wrong != right:
            where, theirs, own = parting(wrong, right)
            bench.fail(
                f"{meanwhile} {named(scope)} is not answered as it is alone, in {call.words()}\n"
                f"{f'  at {where}' + chr(10) if where else ''}"
                f"  it saw  {short(theirs, 300)}\n  alone   {short(own, 300)}"
            )


@check("TEN-150")
def raw_open_streams_are_nobody_elses(bench: Bench) -> None:
    """Dozens of streams and ranges that one scope opens and leaves half read: the others' calls,
    its own, and the rest of the streams."""
    holder, *others = bench.cast(3)
    made = Objects(bench, [holder, *others])
    objects = made.bytes[holder]
    spans = [None, ByteRange(5), ByteRange.last(100_000)] if made.can.ranges else [None]
    held = made.script.add(holder, "hold", KEYS, spans)
    for scope in others:
        made.ask(scope)
        made.change(scope, "open")
    made.ask(holder)
    made.change(holder, "open")
    made.end(others[0])
    rest = made.script.add(holder, "go on", objects)
    made.script.add(holder, "let go")
    for scope in (holder, others[1]):
        made.ask(scope)
        made.change(scope, "closed")
    found = compared(bench, made, f"while another scope leaves {STREAMS} streams half read,")
    answers = {call.method: answer for call, answer in found[holder] if call.method in VERBS}
    wrong = answers["go on"]
    bench.expect(not wrong, f"of the streams that one scope left open for a while {wrong[:1]}")
    bench.figures["streams"] = answers["hold"]
    if answers["hold"] < STREAMS:
        return  # a scope's own limit is its own affair
    alone = [
        (number, call)
        for number, call in enumerate(made.script.calls)
        if call.scope == holder and number not in (held, rest, rest + 1)
    ]
    _own(bench, holder, found[holder], seen(bench, alone)[holder])


def _own(bench: Bench, holder: Scope, answers: Seen, wanted: Seen) -> None:
    """What the scope itself is answered while it holds streams open."""
    both = ([pair for pair in answers if pair[0].method not in VERBS], wanted)
    _told(bench, holder, both, f"while it leaves {STREAMS} streams of its own half read,")


@check("TEN-151")
def raw_slow_bodies_are_nobody_elses(bench: Bench) -> None:
    """Puts of one key by two scopes whose bodies stop in the middle: the others' calls, and what
    the two leave. Then bodies that make the others' calls themselves."""
    writer, sibling, twin = bench.cast(3)
    made = Objects(bench, [writer, sibling, twin])
    given = attributes(of="slow")

    def begin(scope: Scope) -> None:
        made.script.add(scope, "begin", "r", made.bytes[scope]["k"][::-1], given)

    begin(writer)
    made.ask(twin)
    made.change(twin, "first")
    begin(twin)
    made.ask(sibling)
    made.change(sibling, "second")
    made.end(sibling)
    for scope in (twin, writer):
        made.script.add(scope, "end")
        made.script.add(scope, "read", "r")
        made.ask(scope)
    found = compared(bench, made, "while other scopes' puts stop in the middle of their bodies,")
    for scope in (twin, writer):
        ((_, data),) = [
            answer for call, answer in found[scope] if (call.method, call.args) == ("read", ("r",))
        ]
        bench.expect(
            data == made.bytes[scope]["k"][::-1],
            f"a put of {named(scope)} whose body stopped in the middle left other bytes",
        )
    bodies_that_call(bench)
