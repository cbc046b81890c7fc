"""Writing: what is sent, under which condition, and what became of it when no answer came.

Every write names the generation that it replaces (0 for none), so that it can be sent again without
harm, and carries an id of its own, by which it is known again when its answer was lost. What is too
large for one request, or to be held, goes to a staging name first, which nothing reads, and is put
in its place by one conditional rewrite inside the engine: only then are bytes, digest, attributes
and lock an object.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import attrs

from nexus_core.spi import (
    AlreadyExistsError,
    Body,
    ChecksumMismatchError,
    ObjectAttributes,
    ObjectInfo,
    Outcome,
    PreconditionFailedError,
    Scope,
    StoreError,
    UnavailableError,
)
from nexus_gcs import _fast
from nexus_gcs._checksum import extended, spelt
from nexus_gcs._engine import Engine, Target, once
from nexus_gcs._failures import Failure, Kind, translate
from nexus_gcs._record import Found, Sealed, found, generation_of
from nexus_gcs._stage import INLINE, staged

# How often a write without a condition gives way to others who write the same key.
_ROUNDS: Final = 32


@attrs.frozen
class Condition:
    """What must hold of the key: ``generation`` 0 is nothing there, ``None`` is anything."""

    generation: int | None
    creates: bool = False

    @classmethod
    def of(cls, target: Target, *, if_absent: bool, if_match: str | None) -> Condition:
        """Read a caller's condition; raises at once for one that can never hold."""
        if if_match is None:
            return cls(0, creates=True) if if_absent else cls(None)
        generation = generation_of(target.name, if_match)
        if generation is None or if_absent:
            raise stale()
        return cls(generation)

    def refusal(self) -> StoreError:
        """The error for one that does not hold."""
        return AlreadyExistsError("the key is taken") if self.creates else stale()


def stale() -> PreconditionFailedError:
    """The answer where another version, or none, is current."""
    return PreconditionFailedError("the object has another version by now")


def find(engine: Engine, target: Target) -> Found | None:
    """What is stored under a name now, ``None`` if nothing is; raises errors of the tree."""

    def look() -> Any:
        blob = target.blob()
        blob.reload(projection="noAcl", timeout=engine.timeout, retry=None)
        return blob

    try:
        blob = engine.patience.repeat(look)
    except Failure as failure:
        if failure.kind is Kind.ABSENT:
            return None
        error = translate(failure, Outcome.NOT_APPLIED)
    else:
        return described(engine, target, blob)
    raise error


def described(engine: Engine, target: Target, blob: Any) -> Found:
    """Read the engine's description of an object as the settings want it."""
    config = engine.config
    locks = config.object_lock is not None
    return found(target.key, blob, versions=config.versions, locks=locks)


def put(
    engine: Engine,
    scope: Scope,
    target: Target,
    body: Body,
    *,
    attributes: ObjectAttributes,
    condition: Condition,
) -> ObjectInfo:
    """See ``RawBackend.put``."""
    chunks = iter(body)
    first: list[bytes] = []
    size = 0
    for chunk in chunks:
        first.append(chunk)
        size += len(chunk)
        if size > INLINE:
            return _put_staged(
                engine,
                scope,
                target,
                body,
                _onward(first, chunks),
                attributes=attributes,
                condition=condition,
            )
    data = first[0] if len(first) == 1 else b"".join(first)
    if attributes.legal_hold:
        # A hold does not go with an upload, and an object is never without one that it is to have.
        return _put_staged(
            engine, scope, target, body, iter([data]), attributes=attributes, condition=condition
        )
    free = attributes.retain_until is None
    creating = free and engine.wire(target.name) is not None and not condition.generation
    sealed = Sealed.of(
        attributes,
        body.sha256,
        spelt(extended(0, data)),
        at=engine.now(),
        mode=engine.config.lock_mode,
        md5=hashlib.md5(data, usedforsecurity=False).hexdigest() if creating else "",
    )

    def send(generation: int) -> Found:
        # What replaces something takes its digest along: what was there must not go for less.
        made = None if generation else _fast.create(engine, target, sealed, data)
        if made is not None:
            return made
        blob = sealed.onto(target.blob())
        blob.upload_from_string(
            data,
            content_type=sealed.content_type,
            if_generation_match=generation,
            checksum="crc32c",
            timeout=engine.timeout,
            retry=None,
        )
        return _made(engine, target, blob)

    return settle(engine, target, condition, sealed, send)


def _onward(first: list[bytes], chunks: Iterator[bytes]) -> Iterator[bytes]:
    while first:
        yield first.pop(0)
    yield from chunks


def settle(
    engine: Engine,
    target: Target,
    condition: Condition,
    sealed: Sealed,
    send: Callable[[int], Found],
) -> ObjectInfo:
    """Send a write until it is known what became of it; return what is stored.

    ``send`` takes the generation to replace and tells what was stored. Raises
    the condition's refusal, and with the outcome UNKNOWN what leaves it open. A refusal that our
    own write has caused, whose answer was lost, is none.
    """
    doubt = False
    turn = rounds = 0
    generation = condition.generation or 0
    while True:
        try:
            return _kept(once(partial(send, generation)), sealed)
        except Failure as failed:
            failure = failed
        if failure.kind is Kind.CONDITION:
            try:
                current = find(engine, target)
            except StoreError as error:
                _told(error, doubt=doubt)
                raise
            if current is not None and current.write == sealed.write:
                return _kept(current, sealed)
            if condition.generation is not None:
                raise _told(condition.refusal(), doubt=doubt)
            rounds += 1
            if rounds == _ROUNDS:
                raise _told(
                    UnavailableError("others keep writing this key", outcome=Outcome.NOT_APPLIED),
                    doubt=doubt,
                )
            generation = 0 if current is None else current.generation
            continue
        doubt = doubt or failure.in_doubt
        if failure.passes and engine.patience.pause(turn, failure):
            turn += 1
            continue
        if doubt and (mine := _read_back(engine, target, sealed)) is not None:
            return _kept(mine, sealed)
        raise _told(translate(failure), doubt=doubt)


def _told(error: StoreError, *, doubt: bool) -> StoreError:
    """The error, which also says so if an earlier attempt may have been carried out."""
    if doubt:
        error.outcome = Outcome.UNKNOWN
    return error


def _read_back(engine: Engine, target: Target, sealed: Sealed) -> Found | None:
    try:
        current = find(engine, target)
    except StoreError:
        return None
    return current if current is not None and current.write == sealed.write else None


def _made(engine: Engine, target: Target, blob: Any) -> Found:
    """What the engine says it has made; where that is odd, nobody knows what it is."""
    try:
        return described(engine, target, blob)
    except StoreError as error:
        _told(error, doubt=True)
        raise


def _kept(current: Found, sealed: Sealed) -> ObjectInfo:
    """What was stored, if it is what was sent."""
    if current.write != sealed.write or current.info.sha256 != sealed.sha256:
        raise ChecksumMismatchError(
            "the engine stored something other than was sent", outcome=Outcome.UNKNOWN
        )
    if current.crc32c != sealed.crc32c:
        raise ChecksumMismatchError("the engine stored other bytes", outcome=Outcome.UNKNOWN)
    return current.info


def _put_staged(
    engine: Engine,
    scope: Scope,
    target: Target,
    body: Body,
    chunks: Iterator[bytes],
    *,
    attributes: ObjectAttributes,
    condition: Condition,
) -> ObjectInfo:
    if condition.generation is not None:
        # So that nobody sends a gigabyte to be told what was known before.
        current = find(engine, target)
        if (0 if current is None else current.generation) != condition.generation:
            raise condition.refusal()
    with staged(engine, scope, target, chunks) as (source, crc32c):
        sealed = resealed(engine, attributes, body.sha256, crc32c)
        send = rewriting(engine, target, source, sealed)
        return settle(engine, target, condition, sealed, send)


def resealed(engine: Engine, attributes: ObjectAttributes, sha256: str, crc32c: str) -> Sealed:
    """What a rewrite is known by, of bytes that the engine has."""
    mode = engine.config.lock_mode
    return Sealed.of(attributes, sha256, crc32c, at=engine.now(), mode=mode)


def rewriting(
    engine: Engine, target: Target, source: Any, sealed: Sealed, *, past: bool = False
) -> Callable[[int], Found]:
    """A write that copies one generation inside the engine, with attributes of its own.

    The generation is named; that it is also the current one is a condition unless it is ``past``.
    """

    def send(generation: int) -> Found:
        blob = sealed.onto(target.blob())
        token: str | None = None
        while True:
            token, _, _ = blob.rewrite(
                source,
                token=token,
                if_generation_match=generation,
                if_source_generation_match=None if past else source.generation,
                timeout=engine.timeout,
                retry=None,
            )
            if token is None:
                return _made(engine, target, blob)

    return send
