"""Copying inside a scope: by the engine where it keeps conditions on that, else through here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from nexus_core.spi import Body, ObjectAttributes, ObjectInfo
from nexus_s3._engine import Patience, Target, given
from nexus_s3._failures import Failure, Kind
from nexus_s3._parts import Parts
from nexus_s3._read import head, opened
from nexus_s3._record import Found, parts_of
from nexus_s3._spool import Spool
from nexus_s3._write import Condition, Writer, mismatch

# Below this the bytes are cheaper to carry than the two requests more.
_FROM: Final = 8 << 20
_PART: Final = 1 << 30


class Copier:
    """Copies objects. ``by_engine`` says that the engine keeps the conditions of its own copies."""

    def __init__(
        self, patience: Patience, writer: Writer, parts: Parts, spool: Spool, *, by_engine: bool
    ) -> None:
        self._patience = patience
        self._writer = writer
        self._parts = parts
        self._spool = spool
        self._by_engine = by_engine

    def copy(
        self,
        source: Target,
        target: Target,
        attributes: ObjectAttributes,
        *,
        if_absent: bool,
        if_source_match: str | None,
    ) -> ObjectInfo:
        """See ``RawBackend.copy``. Copies made here verify the SHA-256 of what they copy."""
        present = head(self._patience, source)
        if if_source_match is not None and parts_of(if_source_match) not in (
            (present.etag, present.write),
            (present.etag, None),
        ):
            raise mismatch()
        return self.carried(source, present, target, attributes, Condition(if_absent=if_absent))

    def carried(
        self,
        source: Target,
        present: Found,
        target: Target,
        attributes: ObjectAttributes,
        condition: Condition,
    ) -> ObjectInfo:
        """Copy what was found at ``source``, and nothing else, under a condition on ``target``."""
        divisible = self._writer.divisible(condition, attributes)
        if self._by_engine and divisible and present.info.size >= _FROM:
            return self._copied(source, present, target, attributes, condition)
        with opened(self._patience, source, None, present.info.etag) as stream:
            body = Body(stream.chunks, sha256=stream.info.sha256, size=stream.info.size)
            with self._spool.filled(body) as spooled:
                return self._writer.write(target, spooled, attributes, condition)

    def _copied(
        self,
        source: Target,
        present: Found,
        target: Target,
        attributes: ObjectAttributes,
        condition: Condition,
    ) -> ObjectInfo:
        size = present.info.size
        sealed = self._writer.sealed(present.info.sha256, attributes)
        described = self._writer.described(target, sealed)
        version = present.info.version_id
        origin = {"Bucket": source.bucket, "Key": source.name} | (
            {} if version is None else {"VersionId": version}
        )

        def part(upload: str, number: int) -> Mapping[str, Any]:
            start = (number - 1) * _PART
            stop = min(start + _PART, size)
            try:
                answer = self._patience.repeat(
                    lambda: target.call(
                        "upload_part_copy",
                        UploadId=upload,
                        PartNumber=number,
                        CopySource=origin,
                        CopySourceIfMatch=present.etag,
                        CopySourceRange=f"bytes={start}-{stop - 1}",
                    )
                )
            except Failure as failure:
                if failure.kind not in (Kind.CONDITION, Kind.ABSENT):
                    raise
                raise mismatch() from None
            return {"PartNumber": number, "ETag": given(answer.get("CopyPartResult"), "ETag")}

        count = -(-size // _PART)
        send = self._parts.assembled(
            target, count, part, described, condition.parameters(), checksums=False
        )
        return self._writer.settle(target, size, sealed, condition, send)
