"""An S3 of our own for tests, over a real socket: it keeps every condition, or ignores those told.

It knows what the store asks of an engine and nothing more, checks every signature and digest by
itself, writes down every request, and can be told to fail in any way before or after its work.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import re
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

import attrs

ACCESS_KEY = "AKIDTEST"
SECRET_KEY = "wJalr/test+secret"
REGION = "eu-test-1"


@attrs.define
class Stored:
    """One object."""

    data: bytes
    headers: dict[str, str]
    etag: str
    at: datetime
    version: str = "null"


@attrs.define
class Pending:
    """One multipart upload."""

    bucket: str
    key: str
    headers: dict[str, str]
    at: datetime
    parts: dict[int, tuple[str, bytes]] = attrs.field(factory=dict)


@attrs.frozen
class Asked:
    """One request as it came."""

    method: str
    bucket: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = attrs.field(repr=False)
    raw_path: str = attrs.field(repr=False, default="")
    raw_query: str = attrs.field(repr=False, default="")

    @property
    def verb(self) -> str:
        """What is asked for, in a word."""
        marks = ("uploads", "uploadId", "versions", "delete", "list-type")
        mark = next((m for m in marks if m in self.query), "")
        part = "part" if "partNumber" in self.query else ""
        return " ".join(filter(None, (self.method, part or mark)))


class Refused(Exception):
    """An error that the server answers with."""

    def __init__(self, status: int, code: str, text: str = "") -> None:
        super().__init__(code)
        self.status, self.code, self.text = status, code, text


@attrs.frozen
class Answer:
    """What the server says."""

    status: int = 200
    headers: dict[str, str] = attrs.field(factory=dict)
    body: bytes = b""


Before = Callable[[Asked], Answer | None]
After = Callable[[Asked, Answer], Answer | None]


class Engine:
    """The state, and the rules. ``ignores`` names conditions that get a yes and no heed."""

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, Stored]] = {}
        self.uploads: dict[str, Pending] = {}
        self.asked: list[Asked] = []
        self.ignores: set[str] = set()
        self.before: Before | None = None
        self.after: After | None = None
        self.unsigned = 0
        self._lock = threading.RLock()
        self._ids = itertools.count(1)

    def answer(self, asked: Asked) -> Answer | None:
        """Answer a request; ``None`` breaks the connection off."""
        self.asked.append(asked)
        try:
            check_signature(asked)
            if self.before is not None and (early := self.before(asked)) is not None:
                return early if early.status else None
            with self._lock:
                answer = self._answer(asked)
        except Refused as refused:
            text = refused.text or "no"
            body = f"<Error><Code>{refused.code}</Code><Message>{text}</Message></Error>"
            answer = Answer(refused.status, {}, b"" if asked.method == "HEAD" else body.encode())
        return answer if self.after is None else self.after(asked, answer)

    def _answer(self, asked: Asked) -> Answer:
        if not asked.key and asked.method == "PUT":
            self.buckets.setdefault(asked.bucket, {})
            return Answer()
        if asked.bucket not in self.buckets:
            raise Refused(404, "NoSuchBucket", f"the bucket {asked.bucket} is not here")
        return {
            "HEAD": self._get,
            "GET": self._get,
            "PUT": self._put,
            "PUT part": self._part,
            "DELETE": self._delete,
            "DELETE uploadId": self._abort,
            "POST uploads": self._begin,
            "POST uploadId": self._complete,
            "POST delete": self._delete_many,
            "GET list-type": self._list,
            "GET versions": self._versions,
            "GET uploads": self._pending,
        }[asked.verb](asked)

    def _check(self, asked: Asked, what: str) -> None:
        """See that the conditions of a write hold."""
        present = self.buckets[asked.bucket].get(asked.key)
        if what not in self.ignores:
            if asked.headers.get("if-none-match") == "*" and present is not None:
                raise Refused(412, "PreconditionFailed")
            wanted = asked.headers.get("if-match")
            if wanted is not None and present is None:
                raise Refused(404, "NoSuchKey")
            if wanted is not None and present is not None and wanted.strip('"') != present.etag:
                raise Refused(412, "PreconditionFailed")

    def _store(self, asked: Asked, data: bytes, headers: Mapping[str, str], etag: str) -> Answer:
        kept = {
            name: value
            for name, value in headers.items()
            if name.startswith("x-amz-meta-") or name == "content-type"
        }
        self.buckets[asked.bucket][asked.key] = Stored(data, kept, etag, datetime.now(UTC))
        return Answer(200, {"ETag": f'"{etag}"'})

    def _put(self, asked: Asked) -> Answer:
        check_digest(asked)
        self._check(asked, "put")
        return self._store(asked, asked.body, asked.headers, md5(asked.body))

    def _get(self, asked: Asked) -> Answer:
        if not asked.key:
            return Answer()
        found = self.buckets[asked.bucket].get(asked.key)
        if found is None:
            raise Refused(404, "NoSuchKey", f"{asked.bucket}/{asked.key} is not here")
        wanted = asked.headers.get("if-match")
        if wanted is not None and "get" not in self.ignores and wanted.strip('"') != found.etag:
            raise Refused(412, "PreconditionFailed")
        headers = {
            **found.headers,
            "ETag": f'"{found.etag}"',
            "Last-Modified": format_datetime(found.at, usegmt=True),
        }
        data, status = found.data, 200
        if "range" in asked.headers and "range" not in self.ignores:
            start, stop = bounds(asked.headers["range"], len(data))
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
            data, status = data[start:stop], 206
        return Answer(status, headers, data)

    def _delete(self, asked: Asked) -> Answer:
        self._check(asked, "delete")
        self.buckets[asked.bucket].pop(asked.key, None)
        return Answer(204)

    def _delete_many(self, asked: Asked) -> Answer:
        for each in ET.fromstring(asked.body).iter():  # noqa: S314  # made by the store under test
            if each.tag.endswith("Key"):
                self.buckets[asked.bucket].pop(str(each.text), None)
        return Answer(200, {}, b"<DeleteResult></DeleteResult>")

    def _begin(self, asked: Asked) -> Answer:
        upload = f"upload-{next(self._ids)}"
        self.uploads[upload] = Pending(asked.bucket, asked.key, asked.headers, datetime.now(UTC))
        return xml("InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>")

    def _upload(self, asked: Asked) -> Pending:
        found = self.uploads.get(asked.query["uploadId"])
        if found is None or (found.bucket, found.key) != (asked.bucket, asked.key):
            raise Refused(404, "NoSuchUpload")
        return found

    def _part(self, asked: Asked) -> Answer:
        upload = self._upload(asked)
        number = int(asked.query["partNumber"])
        if "x-amz-copy-source" not in asked.headers:
            check_digest(asked)
            upload.parts[number] = (md5(asked.body), asked.body)
            return Answer(200, {"ETag": f'"{md5(asked.body)}"'})
        bucket, _, key = unquote(asked.headers["x-amz-copy-source"].lstrip("/")).partition("/")
        source = self.buckets[bucket].get(key)
        if source is None:
            raise Refused(404, "NoSuchKey")
        wanted = asked.headers.get("x-amz-copy-source-if-match", source.etag)
        if wanted.strip('"') != source.etag and "copy" not in self.ignores:
            raise Refused(412, "PreconditionFailed")
        start, stop = bounds(asked.headers["x-amz-copy-source-range"], len(source.data))
        data = source.data[start:stop]
        upload.parts[number] = (md5(data), data)
        return xml("CopyPartResult", f'<ETag>"{md5(data)}"</ETag>')

    def _complete(self, asked: Asked) -> Answer:
        upload = self._upload(asked)
        self._check(asked, "complete")
        named = re.findall(rb"<PartNumber>(\d+)</PartNumber>", asked.body)
        parts = [upload.parts[int(number)] for number in named]
        sums = b"".join(bytes.fromhex(etag) for etag, _ in parts)
        etag = f"{md5(sums)}-{len(parts)}"
        self._store(asked, b"".join(data for _, data in parts), upload.headers, etag)
        del self.uploads[asked.query["uploadId"]]
        return xml("CompleteMultipartUploadResult", f'<ETag>"{etag}"</ETag>')

    def _abort(self, asked: Asked) -> Answer:
        self._upload(asked)
        del self.uploads[asked.query["uploadId"]]
        return Answer(204)

    def _pending(self, asked: Asked) -> Answer:
        prefix = asked.query.get("prefix", "")
        rows = "".join(
            f"<Upload><Key>{escape(each.key)}</Key><UploadId>{upload}</UploadId>"
            f"<Initiated>{each.at:%Y-%m-%dT%H:%M:%S.000Z}</Initiated></Upload>"
            for upload, each in self.uploads.items()
            if each.bucket == asked.bucket and each.key.startswith(prefix)
        )
        return xml("ListMultipartUploadsResult", f"<IsTruncated>false</IsTruncated>{rows}")

    def _list(self, asked: Asked) -> Answer:
        prefix, delimiter = asked.query.get("prefix", ""), asked.query.get("delimiter")
        after = asked.query.get("continuation-token") or asked.query.get("start-after") or ""
        limit = min(1000, int(asked.query.get("max-keys", "1000")))
        encoded = asked.query.get("encoding-type") == "url"
        told: Callable[[str], str] = quote if encoded else escape
        rows: dict[str, str] = {}
        more = False
        for key in sorted(self.buckets[asked.bucket], key=str.encode):
            if not key.startswith(prefix):
                continue
            head, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            shown = prefix + head + str(delimiter) if cut else key
            if shown in rows or shown.encode() <= after.encode():
                continue
            if len(rows) == limit:
                more = True
                break
            found = self.buckets[asked.bucket][key]
            rows[shown] = (
                f"<CommonPrefixes><Prefix>{told(shown)}</Prefix></CommonPrefixes>"
                if cut
                else f"<Contents><Key>{told(key)}</Key><Size>{len(found.data)}</Size>"
                f'<ETag>"{found.etag}"</ETag>'
                f"<LastModified>{found.at:%Y-%m-%dT%H:%M:%S.000Z}</LastModified></Contents>"
            )
        token = f"<NextContinuationToken>{escape(next(reversed(rows), ''))}</NextContinuationToken>"
        text = f"<IsTruncated>{str(more).lower()}</IsTruncated>{token if more else ''}"
        text += "<EncodingType>url</EncodingType>" if encoded else ""
        return xml("ListBucketResult", text + "".join(rows.values()))

    def _versions(self, asked: Asked) -> Answer:
        prefix = asked.query.get("prefix", "")
        keys = [key for key in sorted(self.buckets[asked.bucket]) if key.startswith(prefix)]
        rows = "".join(
            f"<Version><Key>{escape(key)}</Key><VersionId>null</VersionId>"
            "<IsLatest>true</IsLatest></Version>"
            for key in keys[:1000]
        )
        return xml("ListVersionsResult", f"<IsTruncated>false</IsTruncated>{rows}")


def xml(name: str, text: str) -> Answer:
    """An answer in XML."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<{name}>{text}</{name}>'
    return Answer(200, {"Content-Type": "application/xml"}, body.encode())


def md5(data: bytes) -> str:
    """What S3 takes for an ETag."""
    return hashlib.md5(data).hexdigest()  # noqa: S324  # it is what the protocol says


def bounds(text: str, size: int) -> tuple[int, int]:
    """Where a range header begins and stops."""
    first, _, last = text.removeprefix("bytes=").partition("-")
    start = max(0, size - int(last)) if not first else int(first)
    stop = min(size, int(last) + 1) if first and last else size
    if start >= stop:
        raise Refused(416, "InvalidRange")
    return start, stop


def check_digest(asked: Asked) -> None:
    """Hold a body against the digests that its headers announce."""
    digest = hashlib.sha256(asked.body).digest()
    said = asked.headers.get("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
    if said not in ("UNSIGNED-PAYLOAD", digest.hex()):
        raise Refused(400, "XAmzContentSHA256Mismatch")
    checksum = asked.headers.get("x-amz-checksum-sha256")
    if checksum is not None and base64.b64decode(checksum) != digest:
        raise Refused(400, "BadDigest")


def check_signature(asked: Asked) -> None:
    """Compute the request's signature (version 4) and hold it against the one it brings."""
    query = parse_qsl(asked.raw_query, keep_blank_values=True)
    if "X-Amz-Signature" in asked.query:
        said = asked.query
        credential, names = said["X-Amz-Credential"], said["X-Amz-SignedHeaders"]
        signature, stamp = said["X-Amz-Signature"], said["X-Amz-Date"]
        query = [pair for pair in query if pair[0] != "X-Amz-Signature"]
        begun = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if datetime.now(UTC) > begun + timedelta(seconds=int(said["X-Amz-Expires"])):
            raise Refused(403, "AccessDenied", "expired")
        payload = asked.headers.get("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
    else:
        found = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=(\S+), SignedHeaders=(\S+), Signature=(\w+)",
            asked.headers.get("authorization", ""),
        )
        if found is None:
            raise Refused(403, "AccessDenied", "anonymous")
        credential, names, signature = found.groups()
        stamp, payload = asked.headers["x-amz-date"], asked.headers["x-amz-content-sha256"]
    key, _, scope = credential.partition("/")
    if key != ACCESS_KEY:
        raise Refused(403, "InvalidAccessKeyId", key)
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query)
    canonical = "\n".join(
        (
            asked.method,
            asked.raw_path,
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{n}:{' '.join(asked.headers.get(n, '').split())}" for n in names.split(";")),
            "",
            names,
            payload,
        )
    )
    text = "\n".join(
        ("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest())
    )
    secret = b"AWS4" + SECRET_KEY.encode()
    for part in scope.split("/"):
        secret = hmac.digest(secret, part.encode(), "sha256")
    if hmac.digest(secret, text.encode(), "sha256").hex() != signature:
        raise Refused(403, "SignatureDoesNotMatch", canonical)


class Server:
    """The engine behind a socket of the loopback interface."""

    def __init__(self) -> None:
        self.engine = Engine()
        engine = self.engine

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_: Any) -> None:
                return

            def _serve(self) -> None:
                parts = urlsplit(self.path)
                bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
                asked = Asked(
                    method=self.command,
                    bucket=bucket,
                    key=key,
                    query=dict(parse_qsl(parts.query, keep_blank_values=True)),
                    headers={name.lower(): value for name, value in self.headers.items()},
                    body=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
                    raw_path=parts.path,
                    raw_query=parts.query,
                )
                answer = engine.answer(asked)
                if answer is None:
                    self.close_connection = True
                    return
                headers = {"Content-Length": str(len(answer.body)), **answer.headers}
                self.send_response(answer.status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)
                    if int(headers["Content-Length"]) != len(answer.body):
                        self.close_connection = True

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815  # its names

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                return  # clients that are killed on purpose break their connections off

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator[Server]:
        """Serve until the block ends."""
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
