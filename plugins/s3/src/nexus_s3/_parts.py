"""Multipart uploads: a bounded pool sends the parts, and one last request makes the object.

What a dead writer leaves is an unfinished upload, which is never visible. It is found by its age by
the next writer of the scope that sends in parts, and when the scope is erased.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from nexus_core.spi import StoreError
from nexus_s3._engine import Patience, Target, call, given
from nexus_s3._failures import Failure, Kind, translate
from nexus_s3._spool import Spooled

_MOST: Final = 10_000
_MIB: Final = 1 << 20
# How many abandoned uploads one write removes: what is left goes soon, and no write pays for all.
_SWEEP: Final = 20


class Parts:
    """Sends objects in parts. Safe for threads; the pool starts at first use."""

    def __init__(
        self,
        patience: Patience,
        now: Callable[[], int],
        *,
        workers: int,
        part_bytes: int,
        abandoned_seconds: int,
        with_checksum: bool,
    ) -> None:
        self._patience = patience
        self._now = now
        self._workers = workers
        self._part_bytes = part_bytes
        self._abandoned = abandoned_seconds
        self._with_checksum = with_checksum
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def close(self) -> None:
        """Let the parts that are under way end, and send no more."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def sender(
        self,
        target: Target,
        spooled: Spooled,
        described: Mapping[str, Any],
        condition: Mapping[str, str],
    ) -> Callable[[], Mapping[str, Any]]:
        """Send all parts now; return the request that makes them the object.

        Raises an error of the tree, and then nothing is left of the upload.
        """
        size = max(self._part_bytes, -(-spooled.size // _MOST))
        starts = range(0, max(spooled.size, 1), size)
        bounds = [(start, min(size, spooled.size - start)) for start in starts]

        def part(upload: str, number: int) -> Mapping[str, Any]:
            start, length = bounds[number - 1]
            checksum = self._checksum(spooled, start, length)
            answer = self._patience.repeat(
                lambda: target.call(
                    "upload_part",
                    UploadId=upload,
                    PartNumber=number,
                    Body=spooled.window(start, length),
                    ContentLength=length,
                    **checksum,
                )
            )
            return {"PartNumber": number, "ETag": given(answer, "ETag"), **checksum}

        return self.assembled(
            target, len(bounds), part, described, condition, checksums=self._with_checksum
        )

    def assembled(
        self,
        target: Target,
        count: int,
        part: Callable[[str, int], Mapping[str, Any]],
        described: Mapping[str, Any],
        condition: Mapping[str, str],
        *,
        checksums: bool,
    ) -> Callable[[], Mapping[str, Any]]:
        """Make an upload of ``count`` parts, each by ``part(upload, number)``; see ``sender``."""
        algorithm = {"ChecksumAlgorithm": "SHA256"} if checksums else {}
        upload = self._patience.told(
            lambda: given(
                target.call("create_multipart_upload", **described, **algorithm), "UploadId"
            )
        )
        error: StoreError | None = None
        try:
            made = self._all(upload, count, part)
        except Failure as failure:
            error = translate(failure)
        except BaseException:
            abort(target, upload)
            raise
        if error is not None:
            abort(target, upload)
            raise error

        def complete() -> Mapping[str, Any]:
            try:
                answer: Mapping[str, Any] = target.call(
                    "complete_multipart_upload",
                    UploadId=upload,
                    MultipartUpload={"Parts": made},
                    **condition,
                )
            except Failure as failure:
                # Where it may have been completed, aborting could do no harm but would tell less.
                if not failure.in_doubt and not failure.passes:
                    abort(target, upload)
                raise
            return answer

        return complete

    def _all(
        self, upload: str, count: int, part: Callable[[str, int], Mapping[str, Any]]
    ) -> list[Mapping[str, Any]]:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="nexus-s3-part")
            pool = self._pool
        waiting: list[Future[Mapping[str, Any]]] = []
        try:
            for number in range(1, count + 1):
                waiting.append(pool.submit(part, upload, number))
            return [each.result() for each in waiting]
        finally:
            for each in waiting:
                each.cancel()
            # A part that arrives after the upload was aborted would be kept for ever.
            for each in waiting:
                if not each.cancelled():
                    each.exception()

    def _checksum(self, spooled: Spooled, start: int, length: int) -> dict[str, str]:
        if not self._with_checksum:
            return {}
        digest = hashlib.sha256()
        window = spooled.window(start, length)
        while chunk := window.read(_MIB):
            digest.update(chunk)
        return {"ChecksumSHA256": base64.b64encode(digest.digest()).decode("ascii")}

    def sweep(self, client: Any, bucket: str, prefix: str) -> int:
        """Abort some uploads below a prefix that no living writer can have; returns how many."""
        done = 0
        with suppress(Failure):
            for name, upload, begun in uploads(self._patience, client, bucket, prefix):
                if self._now() / 1_000_000 - begun < self._abandoned:
                    continue
                abort(Target(client, bucket, name), upload)
                done += 1
                if done == _SWEEP:
                    break
        return done


def abort(target: Target, upload: str) -> None:
    """Forget an upload and its parts; what cannot be reached now is swept later."""
    with suppress(Failure):
        target.call("abort_multipart_upload", UploadId=upload)


def uploads(
    patience: Patience, client: Any, bucket: str, prefix: str
) -> Iterator[tuple[str, str, float]]:
    """Unfinished uploads below a prefix: name, id, and when they were begun, in seconds.

    Raises ``Failure``.
    """
    marker: dict[str, str] = {}
    asked = {"Bucket": bucket, "Prefix": prefix}
    while True:
        page = patience.repeat(partial(call, client, "list_multipart_uploads", **asked, **marker))
        for each in page.get("Uploads") or ():
            if str(each["Key"]).startswith(prefix):
                yield given(each, "Key"), given(each, "UploadId"), _seconds(each.get("Initiated"))
        if not page.get("IsTruncated") or not page.get("NextKeyMarker"):
            return
        following = {
            "KeyMarker": page["NextKeyMarker"],
            "UploadIdMarker": page.get("NextUploadIdMarker") or "",
        }
        if following == marker:
            raise Failure(Kind.STRANGE)
        marker = following


def _seconds(moment: object) -> float:
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()
    raise Failure(Kind.STRANGE)
