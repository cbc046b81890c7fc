"""What is told of a write is true: also when its answer is lost, late, or an echo of itself."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from nexus_core.spi import (
    AlreadyExistsError,
    Body,
    Outcome,
    PreconditionFailedError,
    RateLimitedError,
    Scope,
    StoreError,
    StoreTimeoutError,
    UnavailableError,
)

T1 = Scope("t1", "dev")
NAME = "v1/dev/t1/k"
MIB = 1 << 20


def failing(lab: Any, answer: Any, *, verb: str = "PUT", times: int = 1, done: bool) -> None:
    """Let requests fail ``times`` times, before their work is done or after it."""
    left = [times]

    def strike(asked: Any, usual: Any = None) -> Any:
        if asked.verb == verb and asked.bucket and left[0]:
            left[0] -= 1
            return answer
        return usual

    if done:
        lab.engine.after = lambda asked, usual: strike(asked, usual)
    else:
        # An answer without a status breaks the connection off before anything is done.
        answer = lab.broken if answer is None else answer
        lab.engine.before = strike


@pytest.fixture
def said(s3_module: Any) -> Callable[..., Any]:
    """An answer of the engine's."""

    def make(status: int, code: str = "InternalError") -> Any:
        body = f"<Error><Code>{code}</Code><Message>the-bucket {NAME}</Message></Error>".encode()
        return s3_module.Answer(status, {}, body)

    return make


@pytest.mark.parametrize("status", [None, 500, 503])
@pytest.mark.parametrize("options", [{"if_absent": True}, {"if_match": "current"}, {}])
def test_lost_answer_of_our_own_write_is_success(
    lab: Any, said: Any, status: int | None, options: dict[str, Any]
) -> None:
    """A write that won is a success although its answer never came, and its ETag is of use."""
    if "if_match" in options:
        options = {"if_match": lab.put("k", b"old").etag}
    failing(lab, None if status is None else said(status), done=True)
    info = lab.put("k", b"new", **options)
    assert lab.get("k") == b"new"
    lab.put("k", b"newer", if_match=info.etag)


def test_lost_write_is_sent_again(lab: Any, said: Any) -> None:
    """A write that failed before it was done is sent again, and done once."""
    failing(lab, said(500), times=2, done=False)
    info = lab.put("k", b"x", if_absent=True)
    assert lab.store.head(T1, "k") == info


def test_echo_of_our_own_write_is_no_conflict(lab: Any) -> None:
    """A second attempt that is refused because the first was done is a success."""
    seen = []

    def lose(asked: Any, answer: Any) -> Any:
        if asked.verb == "PUT":
            seen.append(answer.status)
            # The look that follows fails as well, so that the write is sent again.
            return None if len(seen) == 1 else answer
        if asked.verb == "HEAD" and len(seen) == 1:
            return None
        return answer

    lab.engine.after = lose
    lab.put("k", b"x", if_absent=True)
    assert seen == [200, 412]


def test_conflict_of_another_is_told(lab: Any, said: Any) -> None:
    """A key that another writer took first is taken, and nothing of ours was applied."""
    lab.put("k", b"theirs")
    with pytest.raises(AlreadyExistsError) as caught:
        lab.put("k", b"ours", if_absent=True)
    assert caught.value.outcome is Outcome.NOT_APPLIED
    assert lab.get("k") == b"theirs"


def test_conflict_after_doubt_is_told_as_doubt(lab: Any, s3_module: Any) -> None:
    """Where another's object is found after our answer was lost, it is told as unknown."""

    def overtake(asked: Any, answer: Any) -> Any:
        if asked.verb == "PUT":
            lab.engine.after = None
            data = lab.objects()[NAME]
            record = data.headers["x-amz-meta-nexus"]
            start = record.index('"write":"') + len('"write":"')
            data.headers["x-amz-meta-nexus"] = record[:start] + "f" * 32 + record[start + 32 :]
            return None
        return answer

    lab.engine.after = overtake
    with pytest.raises(AlreadyExistsError) as caught:
        lab.put("k", b"ours", if_absent=True)
    assert caught.value.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("answer", "kind", "outcome"),
    [
        (None, UnavailableError, Outcome.UNKNOWN),
        ((500, "InternalError"), UnavailableError, Outcome.UNKNOWN),
        ((503, "ServiceUnavailable"), UnavailableError, Outcome.UNKNOWN),
        ((503, "SlowDown"), RateLimitedError, Outcome.NOT_APPLIED),
        ((429, "TooManyRequests"), RateLimitedError, Outcome.NOT_APPLIED),
        ((409, "ConditionalRequestConflict"), UnavailableError, Outcome.NOT_APPLIED),
        ((400, "RequestTimeout"), UnavailableError, Outcome.UNKNOWN),
    ],
)
def test_engine_that_keeps_failing(
    lab: Any, said: Any, answer: Any, kind: type[StoreError], outcome: Outcome
) -> None:
    """After the last attempt the error says whether the write may stand, and nothing stands."""
    failing(lab, None if answer is None else said(*answer), times=99, done=False)
    with pytest.raises(kind) as caught:
        lab.put("k", b"x", if_absent=True)
    assert caught.value.outcome is outcome
    assert caught.value.retryable
    assert lab.objects() == {}


def test_silent_engine_times_out(lab: Any) -> None:
    """An engine that does not answer in time gives a time-out whose outcome is unknown."""
    lab.reopen(read_seconds=1, attempts=1)

    def wait(asked: Any) -> None:
        if asked.verb == "PUT":
            time.sleep(1.5)

    lab.engine.before = wait
    with pytest.raises(StoreTimeoutError) as caught:
        lab.put("k", b"x", if_absent=True)
    assert caught.value.outcome is Outcome.UNKNOWN


def test_unreachable_engine_applied_nothing(lab: Any) -> None:
    """An engine that nobody listens for has done nothing, and it is said so."""
    lab.reopen(endpoint="http://127.0.0.1:9")
    with pytest.raises(UnavailableError) as caught:
        lab.put("k", b"x", if_absent=True)
    assert caught.value.outcome is Outcome.NOT_APPLIED


def test_replacing_an_absent_object(lab: Any) -> None:
    """An engine that answers "absent" to a condition is understood as "does not hold"."""
    info = lab.put("k", b"x")

    def vanish(asked: Any) -> None:
        if asked.verb == "PUT":
            lab.objects().pop(NAME, None)

    lab.engine.before = vanish
    with pytest.raises(PreconditionFailedError) as caught:
        lab.put("k", b"y", if_match=info.etag)
    assert caught.value.outcome is Outcome.NOT_APPLIED
    assert lab.objects() == {}


def test_equal_bytes_are_two_versions(proved: Any) -> None:
    """An object replaced by its own bytes has another ETag, here and in the engine, each time."""
    seen = [proved.put("k", b"same", if_absent=True)]
    for _ in range(3):
        seen.append(proved.put("k", b"same", if_match=seen[-1].etag))
    engine = [info.etag.rpartition(".")[0] for info in seen]
    assert all(one != two for one, two in itertools.pairwise(engine))
    for stale in seen[:-1]:
        with pytest.raises(PreconditionFailedError):
            proved.put("k", b"other", if_match=stale.etag)
    assert proved.store.head(T1, "k") == seen[-1]


@pytest.mark.parametrize("data", [b"", b"same"])
def test_one_of_two_equal_writers_wins(proved: Any, data: bytes) -> None:
    """A writer who looked before another put equal bytes there is refused by the engine."""
    first = proved.put("k", data, if_absent=True)
    rival = type(proved)(
        proved.engine, proved.config, proved.base, proved.clock, proofs=proved.proofs
    )

    def overtaken(asked: Any) -> None:
        if asked.verb in ("PUT", "POST uploads"):
            proved.engine.before = None
            rival.put("k", data, if_match=first.etag)

    proved.engine.before = overtaken
    with pytest.raises(PreconditionFailedError):
        proved.put("k", data, if_match=first.etag)
    rival.close()


def test_threads_take_turns_where_the_engine_cannot_tell(lab: Any) -> None:
    """Without conditions on parts, one of several threads that write equal bytes still wins."""
    from concurrent.futures import ThreadPoolExecutor

    first = lab.put("k", b"same")

    def replace(_: int) -> str:
        try:
            return str(lab.put("k", b"same", if_match=first.etag).etag)
        except PreconditionFailedError:
            return ""

    with ThreadPoolExecutor(4) as pool:
        won = [etag for etag in pool.map(replace, range(8)) if etag]
    assert len(won) == 1
    assert lab.store.head(T1, "k").etag == won[0]


def test_large_objects_go_in_parts(proved: Any) -> None:
    """From the configured size on an object is sent in parts, under its condition, and whole."""
    proved.reopen(multipart_from=5 * MIB, part_bytes=5 * MIB)
    data = bytes(range(256)) * (4 * MIB // 64) + b"end"
    info = proved.put("k", data, if_absent=True)
    assert proved.verbs().count("PUT part") == 4
    assert proved.get("k") == data
    assert proved.store.head(T1, "k") == info
    with pytest.raises(AlreadyExistsError):
        proved.put("k", data, if_absent=True)
    assert proved.engine.uploads == {}


def test_conditions_on_parts_are_not_taken_on_trust(lab: Any) -> None:
    """Where the engine has not proved that it keeps them, a conditional write is one request."""
    lab.reopen(multipart_from=5 * MIB, part_bytes=5 * MIB)
    lab.put("k", b"x" * 6 * MIB, if_absent=True)
    assert lab.verbs() == ["GET uploads", "PUT"]
    lab.put("k", b"x" * 6 * MIB)
    assert "PUT part" in lab.verbs()


@pytest.mark.parametrize("verb", ["PUT part", "POST uploadId", "POST uploads"])
def test_parts_survive_a_failure(proved: Any, said: Any, verb: str) -> None:
    """A part or a completion that fails once is sent again, and the object is whole."""
    proved.reopen(multipart_from=5 * MIB, part_bytes=5 * MIB)
    failing(proved, said(500), verb=verb, done=True)
    info = proved.put("k", b"x" * 6 * MIB, if_absent=True)
    assert proved.store.head(T1, "k") == info
    assert info.sha256 == proved.store.head(T1, "k").sha256


def test_failing_parts_leave_nothing(proved: Any, said: Any) -> None:
    """Parts that cannot be sent leave neither object nor upload."""
    proved.reopen(multipart_from=5 * MIB, part_bytes=5 * MIB)
    failing(proved, said(500), verb="PUT part", times=99, done=False)
    with pytest.raises(UnavailableError):
        proved.put("k", b"x" * 6 * MIB, if_absent=True)
    assert proved.objects() == {}
    assert proved.engine.uploads == {}


def test_abandoned_uploads_are_aborted(proved: Any) -> None:
    """The next large write of a scope aborts uploads of its own that are old, and no others."""
    proved.reopen(multipart_from=5 * MIB, part_bytes=5 * MIB)
    proved.clock.time = time.time_ns() // 1000
    client = proved.store._clients.own()
    for name in ("v1/dev/t1/old", "v1/dev/t10/theirs"):
        client.create_multipart_upload(Bucket="the-bucket", Key=name)
    proved.put("a", b"x" * 6 * MIB)
    left = sorted(each.key for each in proved.engine.uploads.values())
    proved.clock.time += 10**6 * 3600 * 25
    proved.put("b", b"x" * 6 * MIB)
    later = sorted(each.key for each in proved.engine.uploads.values())
    assert left == ["v1/dev/t1/old", "v1/dev/t10/theirs"]
    assert later == ["v1/dev/t10/theirs"]


def test_deletion_whose_answer_is_lost(proved: Any) -> None:
    """A conditional deletion that was done is a success although its answer never came."""
    info = proved.put("k", b"x")
    failing(proved, None, verb="DELETE", done=True)
    proved.store.delete(T1, "k", if_match=info.etag)
    assert proved.objects() == {}


def test_body_that_raises_sends_nothing(lab: Any, plain: Any) -> None:
    """A body that raises at its end has caused no request."""

    def body() -> Any:
        yield b"x" * MIB * 3
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        lab.store.put(T1, "k", Body(body()), plain())
    assert lab.verbs() == []
