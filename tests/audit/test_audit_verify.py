"""Verification: every deed is noticed and placed, and nothing honest is."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_core._audit import VerificationReport, verify
from nexus_core._audit.note import NoteKey
from nexus_core._model.errors import AuditVerificationError, InvalidArgumentError
from nexus_core.spi import LogEntry, LogHead, Phase, Scope

from .making import OTHER, SCOPE, filled, open_log, record, tag, verifier
from .sink import MemorySink, Stored
from .tampering import BATCHES, BOUNDS, SIZE, Tampering, batch_of, change, deeds, flip, rolled_back

LOG = filled(BATCHES).of(SCOPE)
DEEDS = list(deeds(LOG))


def holding(log: Stored) -> MemorySink:
    sink = MemorySink()
    sink.logs[SCOPE] = log
    return sink


def checked(log: Stored, trusted: bytes | None = None) -> VerificationReport:
    return verify(holding(log), SCOPE, verifier(), trusted_checkpoint=trusted)


def after(deed: Tampering) -> VerificationReport:
    log = LOG.copy()
    deed.do(log)
    return checked(log)


def checkpoint_of(size: int) -> bytes:
    return dict(LOG.checkpoints)[size]


# -- nothing wrong -----------------------------------------------------------------------------


def test_an_untouched_log_is_whole() -> None:
    """A log that nobody touched verifies, with its size, root and counts."""
    report = checked(LOG)
    assert report.ok
    assert (report.size, report.first_bad, report.bad_range) == (SIZE, None, None)
    assert (report.erased, report.unsettled, report.rollback) == (0, SIZE, "not checked")
    assert report.checkpoint is not None
    assert report.checkpoint.encode() == checkpoint_of(SIZE)
    report.raise_for_findings()


def test_an_empty_log_is_whole() -> None:
    """A scope without a log verifies as one of no records."""
    report = verify(MemorySink(), SCOPE, verifier())
    assert report.ok
    assert (report.size, report.checkpoint) == (0, None)
    assert report.root == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("page", [1, 2, 3, 7, 8])
def test_pages_make_no_difference(page: int) -> None:
    """However small the sink's pages are, the report is the same."""
    sink = holding(LOG)
    sink.page = page
    assert verify(sink, SCOPE, verifier()) == checked(LOG)


def test_progress_is_told() -> None:
    """Whoever waits is told how far verification has come, and at last that it is done."""
    sink = MemorySink()
    log = open_log(sink)
    for _ in range(3):
        log.append([record()] * 1000)
    told: list[tuple[int, int]] = []
    verify(sink, SCOPE, verifier(), progress=lambda done, size: told.append((done, size)))
    assert told == [(1000, 3000), (2000, 3000), (3000, 3000), (3000, 3000)]


def test_the_key_must_be_the_scope_s() -> None:
    """Verification with another scope's key is refused, rather than reported as tampering."""
    with pytest.raises(InvalidArgumentError):
        verify(holding(LOG), SCOPE, verifier(OTHER))


def test_settled_intents_are_not_counted() -> None:
    """Only intents without an outcome count as unsettled, and they are no finding."""
    sink = MemorySink()
    log = open_log(sink)
    intents = [record() for _ in range(5)]
    log.append(intents)
    log.append([intents[1].settled("ok", at=1), intents[3].settled("store.timeout", at=1)])
    others: list[Phase] = ["access", "denied", "event"]
    log.append([record(phase=phase, operation=intents[0].operation) for phase in others])
    report = verify(sink, SCOPE, verifier())
    assert report.ok
    assert report.unsettled == 3


def test_erasing_a_subject_leaves_the_log_whole() -> None:
    """After a subject's erasure the same checkpoints vouch for the same root, and it is counted."""
    sink = holding(LOG.copy())
    erased = sink.erase_sealed(SCOPE, tag(SCOPE, "alice"))
    report = verify(sink, SCOPE, verifier(), trusted_checkpoint=checkpoint_of(4))
    assert erased == 3
    assert report == attrs.evolve(checked(LOG), erased=3, rollback="checked")
    open_log(sink).append([record()])
    assert verify(sink, SCOPE, verifier()).ok


def test_a_growing_log_is_whole_at_every_moment() -> None:
    """A log that is verified while others append to it is never reported as tampered with."""
    sink = filled(BATCHES)
    sink.page = 20

    def grow() -> None:
        log = open_log(sink)
        for _ in range(60):
            log.append([record(), record()])

    threads = [threading.Thread(target=grow, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    reports = []
    while any(thread.is_alive() for thread in threads):
        reports.append(verify(sink, SCOPE, verifier()))
    reports.append(verify(sink, SCOPE, verifier()))
    assert {report.findings for report in reports} == {()}
    assert reports[-1].size == SIZE + 240


def test_growth_between_any_two_reads_is_no_finding() -> None:
    """Wherever between two calls of the sink the log grows, it verifies."""

    class Growing(MemorySink):
        """Grows by one commit just before its n-th read."""

        def __init__(self, at: int) -> None:
            super().__init__(page=2)
            self.at, self.reads = at, 0

        def _grow(self) -> None:
            self.reads += 1
            if self.reads == self.at:
                self.logs[SCOPE] = longer.copy()

        def head(self, scope: Scope) -> LogHead | None:
            self._grow()
            return super().head(scope)

        def read(self, scope: Scope, start: int, limit: int) -> Sequence[LogEntry]:
            self._grow()
            return super().read(scope, start, limit)

        def checkpoints(self, scope: Scope, after_size: int, limit: int) -> Sequence[bytes]:
            self._grow()
            return super().checkpoints(scope, after_size, limit)

    grown = holding(LOG.copy())
    open_log(grown).append([record()] * 3)
    longer = grown.of(SCOPE)
    for at in range(1, 20):
        sink = Growing(at)
        sink.logs[SCOPE] = LOG.copy()
        report = verify(sink, SCOPE, verifier())
        assert report.findings == ()
        assert report.size == (SIZE + 3 if at == 1 else SIZE)
    assert sink.reads < at


# -- every deed --------------------------------------------------------------------------------


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.name)
def test_every_deed_is_noticed_and_placed(deed: Tampering) -> None:
    """Whatever is done to a log is found; the first bad record is named, or its batch."""
    report = after(deed)
    assert not report.ok
    assert report.findings
    with pytest.raises(AuditVerificationError):
        report.raise_for_findings()
    if deed.first is None:
        return
    assert report.bad_range is not None
    assert report.bad_range[0] <= deed.first < report.bad_range[1]
    if deed.exact is not None:
        assert report.first_bad == (deed.first if deed.exact else batch_of(deed.first)[0])


def test_any_flipped_byte_is_noticed_and_placed() -> None:
    """Any byte of leaf, salt, sealed part or tag of any record: found, and the record named."""
    log = filled((1, 2)).of(SCOPE)
    for index, entry in enumerate(log.entries):
        for field in ("leaf", "salt", "sealed", "subject_tag"):
            data: bytes = getattr(entry, field) or b""
            for at in range(len(data)):
                spoilt = log.copy()
                change(index, **{field: flip(data, at, 1 << at % 8)})(spoilt)
                assert checked(spoilt).first_bad == index


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(DEEDS), min_size=2, max_size=3, unique_by=lambda d: d.name))
def test_several_deeds_hide_nothing(chosen: list[Tampering]) -> None:
    """Two or three deeds at once are noticed, unless together they are nothing or an erasure."""
    log = LOG.copy()
    try:
        for deed in chosen:
            deed.do(log)
    except (IndexError, TypeError, AssertionError, KeyError):
        return  # the first left nothing for the second to work on
    report = checked(log, checkpoint_of(SIZE))
    assert report.ok is harmless(log)


def harmless(log: Stored) -> bool:
    """Whether a log differs from the untouched one by whole erasures of tagged records at most."""
    if (log.checkpoints, log.head, len(log.entries)) != (LOG.checkpoints, LOG.head, SIZE):
        return False
    return all(
        entry == whole
        or (
            whole.subject_tag is not None
            and entry == attrs.evolve(whole, salt=None, sealed=None, subject_tag=None)
        )
        for entry, whole in zip(log.entries, LOG.entries, strict=True)
    )


def test_findings_are_counted_beyond_the_list() -> None:
    """A log that is bad from end to end has a short list of findings and a true count."""
    sink = filled([300])
    log = sink.of(SCOPE)
    log.entries[:] = [attrs.evolve(entry, recorded_at=1) for entry in log.entries]
    report = verify(sink, SCOPE, verifier())
    assert (len(report.findings), report.finding_count) == (100, 300)
    assert report.first_bad == 0


# -- rollback ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", BOUNDS[:-1])
def test_a_rollback_is_noticed_against_a_checkpoint_kept_elsewhere(size: int) -> None:
    """A genuine older state passes by itself, saying so, and is caught by a later checkpoint."""
    log = LOG.copy()
    rolled_back(size)(log)
    alone = checked(log)
    assert alone.ok
    assert alone.rollback == "not checked"
    for trusted in BOUNDS[1:]:
        report = checked(log, checkpoint_of(trusted))
        if trusted <= size:
            assert report.ok
            assert report.rollback == "checked"
        else:
            assert report.rollback == "detected"
            assert (report.ok, report.first_bad) == (False, size)


@pytest.mark.parametrize("size", BOUNDS[:-1])
def test_a_rollback_that_was_grown_over_is_noticed(size: int) -> None:
    """A log that was rolled back and honestly continued differs from the one once signed for."""
    log = LOG.copy()
    rolled_back(size)(log)
    sink = holding(log)
    for _ in range(SIZE):
        open_log(sink).append([record()])
    assert verify(sink, SCOPE, verifier()).ok
    for trusted in BOUNDS[1:]:
        report = verify(sink, SCOPE, verifier(), trusted_checkpoint=checkpoint_of(trusted))
        assert report.rollback == ("checked" if trusted <= size else "detected")
        assert report.ok is (trusted <= size)


def test_a_cosigned_checkpoint_is_trusted_as_well() -> None:
    """A checkpoint that a witness has cosigned serves as well as the bare one."""
    note = checkpoint_of(4)
    witness = NoteKey("witness.example/w", b"\x05" * 32)
    line = witness.sign(note.decode().partition("\n\n")[0] + "\n").decode().partition("\n\n")[2]
    assert checked(LOG, note + line.encode()).rollback == "checked"


def untrustworthy() -> Iterator[bytes]:
    yield b""
    yield flip(checkpoint_of(4), 30)
    yield filled(BATCHES, OTHER).of(OTHER).checkpoints[1][1]


@pytest.mark.parametrize("note", list(untrustworthy()), ids=["nothing", "altered", "another log's"])
def test_a_trusted_checkpoint_must_be_genuine(note: bytes) -> None:
    """A trusted checkpoint of another log or without a true signature is itself a finding."""
    report = checked(LOG, note)
    assert not report.ok
    assert report.rollback == "not checked"
    assert "trusted checkpoint" in str(report.findings[0])
