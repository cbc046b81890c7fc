"""Appending: order, durability, sharing, conflicts, failing sinks and killed leaders."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import attrs
import pytest

from nexus_core._audit import AuditRecord, ScopeLog, decode
from nexus_core._audit import log as log_module
from nexus_core._model.errors import (
    AuditVerificationError,
    BackendError,
    InvalidArgumentError,
    NexusError,
    Outcome,
    PermissionDeniedError,
    PreconditionFailedError,
    StoreError,
    StoreTimeoutError,
    UnavailableError,
)
from nexus_core.spi import LogEntry, LogHead, Scope

from .making import CONFIG_HASH, OTHER, SCOPE, START, filled, open_log, record, signer
from .running import HeldSink, joined, operations, started, until, valid
from .sink import MemorySink

# -- the plain path ----------------------------------------------------------------------------


def test_records_are_appended_in_order() -> None:
    """Each call gets the indexes of its records, and they stand there in the order given."""
    sink = MemorySink()
    log = open_log(sink)
    calls = [[record() for _ in range(size)] for size in (1, 3, 2)]
    assert [log.append(records) for records in calls] == [range(1), range(1, 4), range(4, 6)]
    assert [decode(entry, SCOPE) for entry in sink.of(SCOPE).entries] == [
        made for records in calls for made in records
    ]
    assert valid(sink, 6)


def test_nothing_to_append_is_nothing() -> None:
    """An empty call writes nothing and does not touch the sink."""
    sink = MemorySink()
    assert open_log(sink).append([]) == range(0)
    assert sink.appends == 0


def test_the_log_stamps_the_time_a_record_lacks() -> None:
    """A record without a time gets the clock's, and one with a time keeps it."""
    sink = MemorySink()
    log = open_log(sink, now=lambda: START + 5)
    log.append([record(at=None), record(at=START)])
    assert [entry.recorded_at for entry in sink.of(SCOPE).entries] == [START + 5, START]


def test_no_two_salts_are_equal() -> None:
    """Equal records have different commitments, so that nobody can tell that they are equal."""
    sink = MemorySink()
    made = record()
    open_log(sink).append([made] * 50)
    entries = sink.of(SCOPE).entries
    assert len({entry.salt for entry in entries}) == 50
    assert len({entry.leaf[-32:] for entry in entries}) == 50


def test_a_record_that_was_read_is_not_appended_again() -> None:
    """A record that knows its index is refused, and so is a call above the sink's limit."""
    sink = filled()
    read = decode(sink.of(SCOPE).entries[0], SCOPE)
    assert isinstance(read, AuditRecord)
    with pytest.raises(InvalidArgumentError, match="read from a log"):
        open_log(sink).append([read])
    with pytest.raises(InvalidArgumentError, match="several calls"):
        open_log(sink, max_batch=2).append([record()] * 3)
    assert valid(sink, 8)


def test_the_signer_must_be_the_scope_s() -> None:
    """A log is not opened with another scope's signer."""
    with pytest.raises(InvalidArgumentError, match="another scope"):
        ScopeLog(MemorySink(), SCOPE, signer(OTHER), config_hash=CONFIG_HASH)


def test_the_checkpoint_is_the_end_s() -> None:
    """The checkpoint is that of the last commit, whoever made it, and none of an empty log."""
    sink = MemorySink()
    log, other = open_log(sink), open_log(sink)
    assert log.checkpoint() is None
    log.append([record()])
    other.append([record()])
    head = sink.of(SCOPE).head
    assert head is not None
    assert head.size == 2
    assert log.checkpoint() == head.checkpoint


# -- many at once ------------------------------------------------------------------------------


def test_64_threads_make_one_chain() -> None:
    """64 threads that append at once get every index exactly once, and one valid chain."""
    sink = MemorySink()
    log = open_log(sink, max_batch=40)
    placed: dict[int, str] = {}

    def work() -> None:
        for size in (1, 2, 1, 3, 1, 1, 1, 5):
            records = [record() for _ in range(size)]
            indexes = log.append(records)
            assert len(indexes) == size
            for index, made in zip(indexes, records, strict=True):
                assert placed.setdefault(index, made.operation) == made.operation

    joined(*[started(work) for _ in range(64)])
    assert len(placed) == 64 * 15
    assert operations(sink) == [placed[index] for index in range(64 * 15)]
    assert valid(sink, 64 * 15)


def test_two_processes_share_one_log() -> None:
    """Two logs on one sink, as of two processes, interleave without a gap or a lost record."""
    sink = MemorySink()
    logs = [open_log(sink, sleep=time.sleep) for _ in range(2)]
    got: list[range] = []

    def work(log: ScopeLog) -> None:
        for _ in range(60):
            got.append(log.append([record(), record()]))

    joined(*[started(partial(work, log)) for log in logs for _ in range(4)])
    assert sorted(i for indexes in got for i in indexes) == list(range(960))
    assert valid(sink, 960)


def test_those_who_come_meanwhile_share_the_next_commit() -> None:
    """The first caller commits at once; ten who come meanwhile are one commit, not ten."""
    sink = HeldSink()
    log = open_log(sink)
    leader = started(lambda: log.append([record()]))
    assert sink.arrived.acquire(timeout=60)
    followers = [started(lambda: log.append([record()])) for _ in range(10)]
    until(lambda: len(log._waiting) == 10)
    for _ in range(2):
        sink.let_go.release()
    joined(leader, *followers)
    assert sink.batches == [1, 10]
    assert valid(sink, 11)


def test_a_commit_is_no_larger_than_the_sink_takes() -> None:
    """Waiting calls are shared out over commits of at most ``max_batch``, none of them split."""
    sink = HeldSink()
    log = open_log(sink, max_batch=7)
    leader = started(lambda: log.append([record()]))
    assert sink.arrived.acquire(timeout=60)
    followers = []
    for number in range(5):
        followers.append(started(lambda: log.append([record()] * 3)))
        until(lambda number=number: len(log._waiting) == number + 1)  # type: ignore[misc]
    for _ in range(4):
        sink.let_go.release()
    joined(leader, *followers)
    assert sink.batches == [1, 6, 6, 3]
    assert valid(sink, 16)


# -- the end of the log must be genuine ------------------------------------------------------


def foreign_head() -> LogHead:
    head = filled(scope=OTHER).of(OTHER).head
    assert head is not None
    return head


SPOILT: dict[str, Callable[[LogHead], LogHead]] = {
    "edge": lambda h: attrs.evolve(h, edge=h.edge[:-1] + bytes([h.edge[-1] ^ 1])),
    "no edge": lambda h: attrs.evolve(h, edge=b""),
    "half an edge": lambda h: attrs.evolve(h, edge=h.edge[:-1]),
    "size": lambda h: attrs.evolve(h, size=h.size + 1),
    "negative size": lambda h: attrs.evolve(h, size=-h.size),
    "another log's": lambda _: foreign_head(),
    "another log's checkpoint": lambda h: attrs.evolve(h, checkpoint=foreign_head().checkpoint),
    "unsigned": lambda h: attrs.evolve(h, checkpoint=b""),
    "cosigned": lambda h: attrs.evolve(h, checkpoint=h.checkpoint + "— w AAAAAAA=\n".encode()),
    "another root": lambda h: attrs.evolve(
        h, checkpoint=signer().checkpoint(h.size, b"r" * 32, CONFIG_HASH)
    ),
}


@pytest.mark.parametrize("name", SPOILT)
@pytest.mark.parametrize("warm", [False, True])
def test_a_head_that_was_tampered_with_is_not_extended(name: str, warm: bool) -> None:
    """An end that the scope's key did not sign as it stands is refused, and nothing is written."""
    sink = filled()
    log = open_log(sink)
    if warm:
        log.append([record()])
        open_log(sink).append([record()])
    head = sink.of(SCOPE).head
    assert head is not None
    sink.of(SCOPE).head = SPOILT[name](head)
    before = len(sink.of(SCOPE).entries)
    with pytest.raises(AuditVerificationError):
        log.append([record()])
    with pytest.raises(AuditVerificationError):
        log.checkpoint()
    assert len(sink.of(SCOPE).entries) == before
    sink.of(SCOPE).head = head
    log.append([record()])
    assert valid(sink, before + 1)


def test_a_log_that_shrinks_under_a_process_is_not_extended() -> None:
    """A sink that was rolled back to a genuine older end is noticed by whoever saw the newer."""
    sink = filled()
    log = open_log(sink)
    older = sink.of(SCOPE).copy()
    log.append([record()])
    sink.logs[SCOPE] = older
    with pytest.raises(AuditVerificationError, match="lost records"):
        log.append([record()])
    assert valid(sink, 8)
    # As large as before, and another log all the same.
    open_log(sink).append([record()])
    with pytest.raises(AuditVerificationError, match="lost records"):
        log.checkpoint()
    del sink.logs[SCOPE]
    with pytest.raises(AuditVerificationError, match="lost records"):
        log.append([record()])


# -- sinks that fail ---------------------------------------------------------------------------

Fault = Callable[["FailingSink", Callable[[], None]], None]


class FailingSink(MemorySink):
    """Fails at the n-th call of any kind, in a given way; counts calls from one."""

    def __init__(self, at: int, fault: Fault) -> None:
        super().__init__()
        self.calls = itertools.count(1)
        self.at = at
        self.fault = fault
        self.failed = False

    def _maybe(self, call: Callable[[], None]) -> None:
        if next(self.calls) == self.at:
            self.failed = True
            self.fault(self, call)
        else:
            call()

    def head(self, scope: Scope) -> LogHead | None:
        got: list[LogHead | None] = []
        self._maybe(lambda: got.append(MemorySink.head(self, scope)))
        return got[0]

    def read(self, scope: Scope, start: int, limit: int) -> Sequence[LogEntry]:
        got: list[Sequence[LogEntry]] = []
        self._maybe(lambda: got.append(MemorySink.read(self, scope, start, limit)))
        return got[0]

    def append(
        self, scope: Scope, expected_size: int, entries: Sequence[LogEntry], head: LogHead
    ) -> None:
        self._maybe(lambda: MemorySink.append(self, scope, expected_size, entries, head))


def refuses(sink: FailingSink, call: Callable[[], None]) -> None:
    raise PermissionDeniedError("no")


def times_out(sink: FailingSink, call: Callable[[], None]) -> None:
    raise StoreTimeoutError("too slow")


def loses_the_answer(sink: FailingSink, call: Callable[[], None]) -> None:
    call()
    raise UnavailableError("the answer was lost")


def repeats_itself(sink: FailingSink, call: Callable[[], None]) -> None:
    call()
    raise PreconditionFailedError("the log has another size")


def falls_over(sink: FailingSink, call: Callable[[], None]) -> None:
    raise RuntimeError("a secret: hunter2")


def falls_over_late(sink: FailingSink, call: Callable[[], None]) -> None:
    call()
    raise RuntimeError("a secret: hunter2")


def is_overtaken(sink: FailingSink, call: Callable[[], None]) -> None:
    sink.at = -1
    open_log(sink).append([record(operation="other")])
    call()


def is_overtaken_silently(sink: FailingSink, call: Callable[[], None]) -> None:
    sink.at = -1
    open_log(sink).append([record(operation="other")])
    raise StoreTimeoutError("too slow")


FAULTS = [
    refuses,
    times_out,
    loses_the_answer,
    repeats_itself,
    falls_over,
    falls_over_late,
    is_overtaken,
    is_overtaken_silently,
]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("threads", [1, 4])
def test_a_sink_that_fails_anywhere_leaves_a_valid_log(fault: Fault, threads: int) -> None:
    """Whichever call of the sink fails, everyone gets an answer, it is true, and the log valid."""
    for at in itertools.count(1):
        sink = FailingSink(at, fault)
        log = open_log(sink, sleep=lambda _: None)
        answers: list[tuple[str, range | NexusError]] = []

        def work(log: ScopeLog = log, answers: list[Any] = answers) -> None:
            for _ in range(4):
                made = record()
                try:
                    answers.append((made.operation, log.append([made])))
                except NexusError as error:
                    answers.append((made.operation, error))

        joined(*[started(work) for _ in range(threads)])
        if threads == 1 and not sink.failed:
            assert at > 5
            return
        sink.at = -1
        assert len(answers) == 4 * threads
        stored = operations(sink)
        for operation, answer in answers:
            assert stored.count(operation) <= 1
            if isinstance(answer, range):
                assert [stored[index] for index in answer] == [operation]
            else:
                assert isinstance(answer, StoreError)
                assert "hunter2" not in str(answer)
                if answer.outcome is Outcome.NOT_APPLIED:
                    assert operation not in stored
        assert valid(sink, len(stored))
        open_log(sink).append([record()])
        assert valid(sink, len(stored) + 1)
        if at > 12:
            return


def test_a_lost_answer_is_found_out() -> None:
    """A commit whose answer was lost, or that the transport repeated, counts as what it is."""
    for fault in (loses_the_answer, repeats_itself, falls_over_late):
        sink = FailingSink(2, fault)
        log = open_log(sink)
        assert log.append([record(), record()]) == range(2)
        assert log.append([record()]) == range(2, 3)
        assert sink.failed
        assert valid(sink, 3)


def test_a_commit_that_may_still_arrive_is_unknown() -> None:
    """A time-out with nothing to be seen in the log is reported with outcome UNKNOWN."""
    log = open_log(FailingSink(2, times_out))
    with pytest.raises(StoreTimeoutError) as caught:
        log.append([record()])
    assert caught.value.outcome is Outcome.UNKNOWN


def test_a_late_commit_and_its_successor_do_not_both_apply() -> None:
    """What was reported as UNKNOWN may arrive late, and then the next commit makes room for it."""
    held: list[Callable[[], None]] = []

    def stalls(sink: FailingSink, call: Callable[[], None]) -> None:
        held.append(call)
        raise StoreTimeoutError("too slow")

    sink = FailingSink(2, stalls)
    log = open_log(sink, sleep=lambda _: None)
    first, second = record(), record()
    with pytest.raises(StoreTimeoutError):
        log.append([first])
    held[0]()
    assert log.append([second]) == range(1, 2)
    assert operations(sink) == [first.operation, second.operation]
    assert valid(sink, 2)


def test_a_commit_that_can_never_arrive_is_repeated() -> None:
    """A time-out after which the log has moved on is settled: the records go behind the others."""
    sink = FailingSink(2, is_overtaken_silently)
    made = record()
    assert open_log(sink, sleep=lambda _: None).append([made]) == range(1, 2)
    assert operations(sink) == ["other", made.operation]
    assert valid(sink, 2)


def test_a_failed_look_does_not_settle_anything() -> None:
    """When a commit fails and looking fails too, the outcome stays UNKNOWN."""
    for first in (times_out, repeats_itself):

        def both(sink: FailingSink, call: Callable[[], None], first: Fault = first) -> None:
            sink.at, sink.fault = 3, falls_over
            first(sink, call)

        with pytest.raises(StoreError) as caught:
            open_log(FailingSink(2, both)).append([record()])
        assert caught.value.outcome is Outcome.UNKNOWN


def test_a_head_that_cannot_be_read_means_nothing_was_written() -> None:
    """A sink that fails before anything was sent makes the outcome NOT_APPLIED."""
    for fault, kind in ((times_out, StoreTimeoutError), (falls_over, BackendError)):
        sink = FailingSink(1, fault)
        with pytest.raises(kind) as caught:
            open_log(sink).append([record()])
        assert caught.value.outcome is Outcome.NOT_APPLIED
        assert operations(sink) == []


def test_endless_conflicts_end() -> None:
    """A log that is always one step ahead is given up on, after pauses that stay short."""

    class Elusive(MemorySink):
        def append(
            self, scope: Scope, expected_size: int, entries: Sequence[LogEntry], head: LogHead
        ) -> None:
            raise PreconditionFailedError("the log has another size")

    pauses: list[float] = []
    with pytest.raises(UnavailableError) as caught:
        open_log(Elusive(), sleep=pauses.append).append([record()])
    assert caught.value.outcome is Outcome.NOT_APPLIED
    assert len(pauses) == log_module.ATTEMPTS
    assert max(pauses) <= 0.05


def test_every_caller_of_a_failed_commit_hears_of_it() -> None:
    """A commit that fails is reported to each caller in it, in an exception of their own."""

    class Refusing(HeldSink):
        def append(
            self, scope: Scope, expected_size: int, entries: Sequence[LogEntry], head: LogHead
        ) -> None:
            if expected_size:
                raise PermissionDeniedError("no")
            super().append(scope, expected_size, entries, head)

    sink = Refusing()
    log = open_log(sink)
    errors: list[PermissionDeniedError] = []

    def work() -> None:
        try:
            log.append([record()])
        except PermissionDeniedError as error:
            errors.append(error)

    leader = started(work)
    assert sink.arrived.acquire(timeout=60)
    followers = [started(work) for _ in range(8)]
    until(lambda: len(log._waiting) == 8)
    sink.let_go.release()
    joined(leader, *followers)
    assert len(errors) == len(set(map(id, errors))) == 8
    assert {error.outcome for error in errors} == {Outcome.NOT_APPLIED}
    assert valid(sink, 1)
