"""The server: requests in, answers out."""

from __future__ import annotations

import email.parser
import email.policy
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from tools.servers.gcs import _xml
from tools.servers.gcs._identity import Account, Identities
from tools.servers.gcs._refusal import Refusal
from tools.servers.gcs._state import Session, State, Version

_PIECE: Final = 1 << 18
_QUANTUM: Final = 256 << 10
_OBJECTS: Final = re.compile(r"/(?:download/)?storage/v1/b/([^/]+)/o(?:/([^/]+))?")
_REWRITE: Final = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)/rewriteTo/b/([^/]+)/o/([^/]+)")
_BUCKETS: Final = re.compile(r"/storage/v1/b(?:/([^/]+)(/iam/testPermissions)?)?")
_UPLOAD: Final = re.compile(r"/upload/storage/v1/b/([^/]+)/o")
_SPAN: Final = re.compile(r"bytes (?:\*|([0-9]+)-([0-9]+))/(?:\*|([0-9]+))")
_RANGE: Final = re.compile(r"bytes=([0-9]*)-([0-9]*)")
_JSON: Final = re.compile(r"/(?:(?:download/|upload/)?storage/v1/.*|token|forget-tokens)")
_XML: Final = re.compile(r"/([a-z0-9][a-z0-9._-]+)/(.+)", re.DOTALL)
# Of a hold the service's list of errors has a reason of its own; its answers are seen to give the
# one that missing rights have.
_SAID: Final = {"objectUnderActiveHold": "forbidden"}
_MEANT: Final = {
    "GET": "get",
    "HEAD": "get",
    "DELETE": "delete",
    "POST": "create",
    "PUT": "create",
    "PATCH": "update",
}


class Server(ThreadingHTTPServer):
    """Listens on the loopback interface; a thread for each connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, directory: Path, project: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.state = State(directory)
        self.identities = Identities(project)
        self.project = project
        self.address = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that breaks off is none of the server's affairs."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: Server

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def handle_any(self) -> None:
        """Answer one request, whatever it is."""
        self._left = int(self.headers.get("Content-Length") or 0)
        parts = urlsplit(self.path)
        self._query = {k: v[-1] for k, v in parse_qs(parts.query, keep_blank_values=True).items()}
        self._all = parse_qs(parts.query)
        signed = "X-Goog-Signature" in self._query
        xml = signed or _JSON.fullmatch(parts.path) is None
        try:
            if "chunked" in (self.headers.get("Transfer-Encoding") or ""):
                raise Refusal(501, "notImplemented", "chunked bodies")
            if xml:
                self._xml(parts.path, signed=signed)
            else:
                self._json(parts.path)
        except Refusal as refusal:
            self._refuse(refusal, xml=xml)
        except (KeyError, ValueError) as error:
            self._refuse(Refusal(400, "invalid", f"{type(error).__name__}"), xml=xml)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = handle_any  # noqa: N815

    # -- bodies and answers ------------------------------------------------------------------

    def _pieces(self) -> Iterator[bytes]:
        while self._left:
            piece = self.rfile.read(min(_PIECE, self._left))
            if not piece:
                raise ConnectionError
            self._left -= len(piece)
            yield piece

    def _body(self) -> bytes:
        return b"".join(self._pieces())

    def _said(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self._body() or b"{}")
        return said

    def _answer(
        self, status: int, data: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        # What was not read would be taken for the next request.
        for _ in self._pieces():
            pass
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _tell(self, result: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        kind = {"Content-Type": "application/json; charset=UTF-8"}
        self._answer(200, json.dumps(result).encode(), {**kind, **(headers or {})})

    def _refuse(self, refusal: Refusal, *, xml: bool) -> None:
        if refusal.status == 304:
            self._answer(304)
        elif xml:
            kind = {"Content-Type": "application/xml; charset=UTF-8"}
            self._answer(refusal.status, _xml.error(refusal), kind)
        else:
            reason = _SAID.get(refusal.reason, refusal.reason)
            said = {"message": refusal.message, "domain": "global", "reason": reason}
            error = {"code": refusal.status, "message": refusal.message, "errors": [said]}
            data = json.dumps({"error": error}).encode()
            self._answer(refusal.status, data, {"Content-Type": "application/json"})

    def _may(self, account: Account, permission: str) -> None:
        if permission not in account.permissions:
            what = f"{account.email} does not have {permission} access."
            raise Refusal(403, "forbidden", what)

    def _may_retain(self, account: Account, said: Mapping[str, Any]) -> None:
        if said.get("retention"):
            self._may(account, "storage.objects.setRetention")

    # -- the JSON API ------------------------------------------------------------------------

    def _json(self, path: str) -> None:
        if path == "/token":
            form = {k: v[-1] for k, v in parse_qs(self._body().decode()).items()}
            self._tell(self.server.identities.token(form))
            return
        account = self.server.identities.bearer(self.headers.get("Authorization"))
        if path == "/forget-tokens":
            self.server.identities.forget()
            self._tell({})
        elif match := _UPLOAD.fullmatch(path):
            self._may(account, "storage.objects.create")
            self._upload(account, unquote(match[1]))
        elif match := _REWRITE.fullmatch(path):
            self._may(account, "storage.objects.create")
            names = [unquote(each) for each in match.groups()]
            source, target = (names[0], names[1]), (names[2], names[3])
            said = self._said()
            self._may_retain(account, said)
            self._tell(self.server.state.rewrite(source, target, said, self._query))
        elif match := _OBJECTS.fullmatch(path):
            self._objects(account, unquote(match[1]), match[2] and unquote(match[2]))
        elif match := _BUCKETS.fullmatch(path):
            self._buckets(account, match[1] and unquote(match[1]), asks=bool(match[2]))
        else:
            raise Refusal(501, "notImplemented", "not a part of this server")

    def _buckets(self, account: Account, name: str | None, *, asks: bool) -> None:
        state = self.server.state
        self._may(account, f"storage.buckets.{_MEANT[self.command]}")
        if name is None and self.command == "POST":
            if self._query["project"] != self.server.project:
                raise Refusal(403, "forbidden", "The project is not known.")
            # Clients write it as their language does.
            retention = self._query.get("enableObjectRetention", "").lower() == "true"
            if retention:
                self._may(account, "storage.buckets.enableObjectRetention")
            made = state.make_bucket(self._query["project"], self._said(), retention=retention)
            self._tell(made)
        elif name is None:
            raise Refusal(501, "notImplemented", "not a part of this server")
        elif asks:
            state.bucket(name)
            wanted = self._all.get("permissions", [])
            self._tell({"permissions": [each for each in wanted if each in account.permissions]})
        elif self.command == "GET":
            self._tell(state.bucket(name).resource())
        elif self.command == "PATCH":
            self._tell(state.change_bucket(name, self._said()))
        elif self.command == "DELETE":
            state.drop_bucket(name)
            self._answer(204)
        else:
            raise Refusal(501, "notImplemented", "not a part of this server")

    def _objects(self, account: Account, bucket: str, name: str | None) -> None:
        state = self.server.state
        meant = "list" if name is None else _MEANT[self.command]
        self._may(account, f"storage.objects.{meant}")
        if name is None and self.command == "GET":
            self._tell(state.page(bucket, self._query))
        elif name is None:
            raise Refusal(501, "notImplemented", "not a part of this server")
        elif self.command == "GET":
            found = state.find(bucket, name, self._query)
            if self._query.get("alt") == "media":
                self._media(found)
            else:
                self._tell(found.resource(bucket))
        elif self.command == "DELETE":
            state.delete(bucket, name, self._query)
            self._answer(204)
        elif self.command == "PATCH":
            said = self._said()
            self._may_retain(account, said)
            if "overrideUnlockedRetention" in self._query:
                self._may(account, "storage.objects.overrideUnlockedRetention")
            self._tell(state.patch(bucket, name, said, self._query))
        else:
            raise Refusal(501, "notImplemented", "not a part of this server")

    def _media(self, found: Version, said: Mapping[str, str] | None = None) -> None:
        size = found.content.size
        start, stop = 0, size
        match = _RANGE.fullmatch(self.headers.get("Range") or "")
        if match and (match[1] or match[2]):
            start = int(match[1]) if match[1] else max(0, size - int(match[2]))
            stop = min(size, int(match[2]) + 1) if match[1] and match[2] else size
            if start >= size or stop <= start:
                raise Refusal(416, "requestedRangeNotSatisfiable", "Request range not satisfiable")
        headers = {
            "Content-Type": found.content_type,
            "X-Goog-Generation": str(found.generation),
            "X-Goog-Metageneration": str(found.metageneration),
            "X-Goog-Stored-Content-Length": str(size),
            "X-Goog-Hash": f"crc32c={found.content.crc32c},md5={found.content.md5_hash}",
            **(said or {}),
        }
        status = 200
        if match:
            status = 206
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        self._answer(status, headers={**headers, "Content-Length": str(stop - start)})
        if self.command == "HEAD":
            return
        # A content is never changed, and a file that is open stays readable.
        with found.content.path.open("rb") as file:
            file.seek(start)
            while start < stop and (piece := file.read(min(_PIECE, stop - start))):
                self.wfile.write(piece)
                start += len(piece)

    # -- uploads -----------------------------------------------------------------------------

    def _upload(self, account: Account, bucket: str) -> None:
        kind = self._query.get("uploadType")
        state = self.server.state
        state.bucket(bucket)
        if kind == "multipart":
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            said, media = _related(head, self._body())
            content = state.content()
            content.write([media])
            resource = json.loads(said)
            self._may_retain(account, resource)
            self._tell(state.finish(bucket, resource["name"], content, resource, self._query))
        elif kind == "media":
            content = state.content()
            content.write(self._pieces())
            resource = {"contentType": self.headers.get("Content-Type")}
            name = self._query["name"]
            self._tell(state.finish(bucket, name, content, resource, self._query))
        elif kind == "resumable" and "upload_id" not in self._query:
            resource = self._said()
            self._may_retain(account, resource)
            resource.setdefault("contentType", self.headers.get("X-Upload-Content-Type"))
            name = str(resource.get("name") or self._query["name"])
            state.admit(bucket, name, self._query)
            session = secrets.token_urlsafe(16)
            content = state.content()
            state.sessions[session] = Session(bucket, name, resource, dict(self._query), content)
            target = f"{self.server.address}/upload/storage/v1/b/{bucket}/o"
            # Through whatever road the client has come.
            if host := self.headers.get("Host"):
                target = f"http://{host}/upload/storage/v1/b/{bucket}/o"
            where = f"{target}?uploadType=resumable&upload_id={session}"
            self._answer(200, headers={"Location": where, "X-GUploader-UploadID": session})
        elif kind == "resumable":
            self._resume(self._query["upload_id"])
        else:
            raise Refusal(501, "notImplemented", "not a part of this server")

    def _resume(self, name: str) -> None:
        state = self.server.state
        session = state.sessions.get(name)
        if session is None:
            raise Refusal(404, "notFound", "The upload is not known.")
        if session.made is not None:
            self._tell(session.made)
            return
        if self.command == "DELETE":
            del state.sessions[name]
            self._answer(499)
            return
        match = _SPAN.fullmatch(self.headers.get("Content-Range") or "")
        if match is None:
            raise Refusal(400, "invalid", "Content-Range")
        content = session.content
        # Who is cut off may still be reading what had come: a later request goes before him.
        turn = session.next_turn()
        if match[1] is not None:
            if int(match[1]) != content.size:
                raise Refusal(503, "backendError", "Invalid request: not where the upload is.")
            if self._left != int(match[2]) - int(match[1]) + 1:
                raise Refusal(400, "invalid", "Content-Length")
            if match[3] is None and self._left % _QUANTUM:
                raise Refusal(400, "invalid", "Not a multiple of 256 KiB.")
            for piece in self._pieces():
                session.write(piece, turn)
        if match[3] is None or content.size < int(match[3]):
            kept = {"Range": f"bytes=0-{content.size - 1}"} if content.size else {}
            self._answer(308, headers=kept)
            return
        made = state.finish(session.bucket, session.name, content, session.resource, session.query)
        session.made = made
        self._tell(made)

    # -- the XML API -------------------------------------------------------------------------

    def _xml(self, path: str, *, signed: bool) -> None:
        identities = self.server.identities
        if signed:
            account = identities.signer(self.command, self.path, dict(self.headers.items()))
        else:
            account = identities.bearer(self.headers.get("Authorization"))
        match = _XML.fullmatch(unquote(path))
        if match is None or self.command not in ("GET", "HEAD", "PUT"):
            raise Refusal(501, "notImplemented", "not a part of this server")
        bucket, name = match[1], match[2]
        self._may(account, f"storage.objects.{_MEANT[self.command]}")
        headers = _xml.heard(dict(self.headers.items()), self._query)
        state = self.server.state
        if self.command != "PUT":
            named = {k: v for k, v in self._query.items() if k == "generation"}
            found = state.find(bucket, name, {**named, **_xml.conditions(headers)})
            self._media(found, _xml.told(found))
            return
        if "content-length" not in headers:
            raise Refusal(411, "MissingContentLength", "")
        low, _, high = headers.get("x-goog-content-length-range", "0,").partition(",")
        if self._left < int(low):
            raise Refusal(400, "EntityTooSmall", "")
        if high and self._left > int(high):
            raise Refusal(400, "EntityTooLarge", "")
        state.bucket(bucket)
        content = state.content()
        content.write(self._pieces())
        wanted = headers.get("x-goog-content-sha256")
        if wanted is not None and wanted != content.sha256.hexdigest():
            raise Refusal(400, "XGoogContentSHA256Mismatch", "")
        given = _xml.resource(headers)
        made = state.finish(bucket, name, content, given, _xml.conditions(headers))
        self._answer(
            200,
            headers={
                "ETag": f'"{content.md5.hexdigest()}"',
                "x-goog-generation": made["generation"],
                "x-goog-metageneration": made["metageneration"],
                "x-goog-hash": f"crc32c={content.crc32c},md5={content.md5_hash}",
            },
        )


def _related(head: bytes, body: bytes) -> tuple[bytes, bytes]:
    """The two parts of a ``multipart/related`` body, whose second is not to be touched."""
    parsed = email.parser.BytesHeaderParser(policy=email.policy.HTTP).parsebytes(head)
    boundary = b"--" + str(parsed.get_boundary()).encode()
    # Some clients end lines as their system does.
    end = b"\r\n" if boundary + b"\r\n" in body else b"\n"
    _, _, rest = body.partition(boundary + end)
    first, _, rest = rest.partition(end + boundary + end)
    second, _, _ = rest.rpartition(end + boundary + b"--")
    return first.partition(end * 2)[2], second.partition(end * 2)[2]
