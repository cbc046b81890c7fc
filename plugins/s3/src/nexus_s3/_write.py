"""Writing one object: one request decides, and what came of it is known or said to be unknown.

Every write carries an id of its own in the object's metadata. Where an answer is lost, or a refusal
might be the echo of our own success, the object is looked at: if it carries our id, we won.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from nexus_core.spi import (
    AlreadyExistsError,
    IntegrityError,
    ObjectAttributes,
    ObjectInfo,
    Outcome,
    PreconditionFailedError,
    QuotaExceededError,
    StoreError,
    UnavailableError,
)
from nexus_s3._engine import Patience, Target
from nexus_s3._failures import Failure, Kind, translate
from nexus_s3._locking import rounded, said
from nexus_s3._look import look
from nexus_s3._parts import Parts
from nexus_s3._record import Found, Sealed, bare, parts_of
from nexus_s3._spool import Spooled

SINGLE_LIMIT: Final = 5 << 30


@attrs.frozen(kw_only=True)
class Condition:
    """What must hold of the present object at the instant of the write."""

    if_absent: bool = False
    expected: Found | None = None

    def parameters(self) -> dict[str, str]:
        """The condition as a request says it. ETags go without quotes; see ``bare``."""
        if self.if_absent:
            return {"IfNoneMatch": "*"}
        return {} if self.expected is None else {"IfMatch": self.expected.etag}

    def broken_by(self, present: Found | None) -> bool:
        """Whether what is there now rules the write out."""
        if self.if_absent:
            return present is not None
        if self.expected is None:
            return False
        return present is None or present.write != self.expected.write

    def error(self, outcome: Outcome = Outcome.NOT_APPLIED) -> StoreError:
        """The error for a condition that does not hold."""
        if self.if_absent:
            return AlreadyExistsError("there is an object under this key", outcome=outcome)
        return mismatch(outcome)


FREE: Final = Condition()
ABSENT: Final = Condition(if_absent=True)


def mismatch(outcome: Outcome = Outcome.NOT_APPLIED) -> PreconditionFailedError:
    """The error for an ETag that is not the current one."""
    return PreconditionFailedError(
        "the object's ETag is not the one that was expected", outcome=outcome
    )


def expected(patience: Patience, target: Target, if_match: str) -> Found:
    """The present object, if its ETag is the given one; raises ``PreconditionFailedError``."""
    named = parts_of(if_match)
    present = None if named is None else look(patience, target)
    if present is None or named is None:
        raise mismatch()
    etag, write = named
    if present.etag != etag or write not in (None, present.write):
        raise mismatch()
    return present


class Writer:
    """Writes spooled bodies, in one request or in parts."""

    def __init__(
        self,
        patience: Patience,
        parts: Parts,
        now: Callable[[], int],
        *,
        multipart_from: int,
        conditions_on_parts: bool,
        locks_on_parts: bool,
        with_checksum: bool,
    ) -> None:
        self._patience = patience
        self._parts = parts
        self._now = now
        self._multipart_from = multipart_from
        self._conditions_on_parts = conditions_on_parts
        self._locks_on_parts = locks_on_parts
        self._with_checksum = with_checksum

    def write(
        self,
        target: Target,
        spooled: Spooled,
        attributes: ObjectAttributes,
        condition: Condition,
    ) -> ObjectInfo:
        """Make the bytes the object; see ``RawBackend.put`` for what is promised."""
        sealed = self.sealed(spooled.sha256, attributes)
        send = self._sender(target, spooled, sealed, condition)
        return self.settle(target, spooled.size, sealed, condition, send)

    def sealed(self, sha256: str, attributes: ObjectAttributes) -> Sealed:
        """A new write's identity."""
        now = self._now()
        return Sealed(
            write=os.urandom(16).hex(),
            sha256=sha256,
            at=now,
            attributes=rounded(attributes, now),
        )

    def described(self, target: Target, sealed: Sealed) -> dict[str, Any]:
        """What the request that makes an object says of it, beside its bytes."""
        return {
            "Metadata": sealed.header(),
            "ContentType": sealed.attributes.content_type,
            **said(sealed.attributes, target.lock),
        }

    def _sender(
        self, target: Target, spooled: Spooled, sealed: Sealed, condition: Condition
    ) -> Callable[[], Mapping[str, Any]]:
        described = self.described(target, sealed)
        in_parts = self._in_parts(spooled, condition, sealed)
        if in_parts:
            return self._parts.sender(target, spooled, described, condition.parameters())
        described |= condition.parameters()
        described["ContentLength"] = spooled.size
        if self._with_checksum:
            described["ChecksumSHA256"] = _checksum(spooled.sha256)

        def send() -> Mapping[str, Any]:
            answer: Mapping[str, Any] = target.call("put_object", Body=spooled.whole(), **described)
            return answer

        return send

    def divisible(self, condition: Condition, attributes: ObjectAttributes) -> bool:
        """Whether the engine keeps what is asked for where an object is made of parts."""
        free = attributes.retain_until is None and not attributes.legal_hold
        return (self._conditions_on_parts or condition == FREE) and (self._locks_on_parts or free)

    def _in_parts(self, spooled: Spooled, condition: Condition, sealed: Sealed) -> bool:
        """Whether to send in parts."""
        present = condition.expected
        if present is None and spooled.size < self._multipart_from:
            return False
        possible = self.divisible(condition, sealed.attributes)
        if possible and present is not None and present.info.sha256 == spooled.sha256:
            # Equal bytes would keep the engine's ETag, and two writers who name it would both win.
            # In the other form they have another.
            return "-" not in present.etag or spooled.size > SINGLE_LIMIT
        if spooled.size > SINGLE_LIMIT and not possible:
            raise QuotaExceededError(
                "the object is larger than the 5 GiB that this engine writes under a condition "
                "or lock"
            )
        return possible and spooled.size >= self._multipart_from

    def settle(
        self,
        target: Target,
        size: int,
        sealed: Sealed,
        condition: Condition,
        send: Callable[[], Mapping[str, Any]],
    ) -> ObjectInfo:
        """Send until it is known what came of it, or until patience ends."""
        doubt = False
        error: StoreError | None = None
        for turn in self._patience.turns():
            try:
                answer = send()
            except Failure as failure:
                last = failure
            else:
                return self._done(target, size, sealed, answer)
            if _refused(last, condition):
                if not doubt:
                    error = condition.error()
                    break
            elif not last.in_doubt and last.kind is not Kind.NO_UPLOAD:
                if last.passes and self._patience.pause(turn):
                    continue
                error = translate(last, Outcome.UNKNOWN if doubt else None)
                break
            doubt = True
            mine, broken = self._looked(target, sealed, condition)
            if mine is not None:
                return mine
            if broken or _refused(last, condition):
                error = condition.error(Outcome.UNKNOWN)
                break
            if last.kind is Kind.NO_UPLOAD or not (last.passes and self._patience.pause(turn)):
                error = _gone() if last.kind is Kind.NO_UPLOAD else translate(last)
                break
        assert error is not None
        raise error

    def _done(
        self, target: Target, size: int, sealed: Sealed, answer: Mapping[str, Any]
    ) -> ObjectInfo:
        etag = bare(answer.get("ETag"))
        version = answer.get("VersionId")
        if not etag:
            # Some engines leave it out of the answer that completes an upload.
            mine, _ = self._looked(target, sealed, FREE)
            if mine is not None:
                return mine
            etag = "replaced"
        return sealed.info(
            target.key, size, etag, None if version in (None, "null") else str(version)
        )

    def _looked(
        self, target: Target, sealed: Sealed, condition: Condition
    ) -> tuple[ObjectInfo | None, bool]:
        """The object if it is ours, and whether what is there rules our write out."""
        try:
            present = look(self._patience, target)
        except IntegrityError:
            return None, condition != FREE
        except StoreError:
            return None, False
        if present is not None and present.write == sealed.write:
            return present.info, False
        return None, condition.broken_by(present)


def _refused(failure: Failure, condition: Condition) -> bool:
    """Whether the engine says that the condition does not hold; it also says so by absence."""
    absent = failure.kind is Kind.ABSENT and condition.expected is not None
    return failure.kind is Kind.CONDITION or absent


def _gone() -> UnavailableError:
    return UnavailableError("the upload was aborted while it was being made")


def _checksum(sha256: str) -> str:
    return base64.b64encode(bytes.fromhex(sha256)).decode("ascii")
