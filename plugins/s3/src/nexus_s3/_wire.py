"""The fast road: small requests that obstore carries, behind the face of the SDK's own client.

A request is the name of an operation of the SDK and its parameters, an answer is the SDK's mapping,
and whatever answers those is a client. This one carries a conditional put in one piece, a get, a
head and an unconditional deletion where obstore can say all of what is asked; everything else, and
every answer that obstore can make nothing of, is the SDK's.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import threading
from bisect import bisect_left
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from botocore.credentials import Credentials  # type: ignore[import-untyped]  # it brings no types
from botocore.httpsession import get_cert_path  # type: ignore[import-untyped]  # the same

from nexus_core.spi import ConfigurationError, Problem
from nexus_s3._config import AWS, S3Config
from nexus_s3._failures import Failure, Kind
from nexus_s3._spool import Window
from nexus_s3._wire_failures import classified

CHUNK: Final = 1 << 20
# A request may take `read_seconds`, and a body's size class a second more for each 256 KiB of it:
# obstore counts the time that a body takes to send, and the SDK does not.
_CLASSES: Final = (1 << 20, 16 << 20, 256 << 20)
_SLOWEST: Final = 256 << 10
# Nothing listens there: obstore follows redirects, and to another host it must go through here.
_NOWHERE: Final = "http://127.0.0.1:1"
# Of these variables alone nothing that is said to obstore takes the place.
_AMBIENT: Final = frozenset(
    (
        "aws_checksum_algorithm",
        "aws_server_side_encryption",
        "aws_sse_bucket_key_enabled",
        "aws_sse_customer_key_base64",
        "aws_sse_kms_key_id",
    )
)
_BODIES: Final = (bytes, Window)
# Names that obstore would take for others, and headers that it would sign otherwise than engines.
_ODD_NAME: Final = re.compile(r"\A/|/\Z|//|(?:\A|/)\.{1,2}(?:/|\Z)|[\x00-\x1f\x7f\ud800-\udfff]")
_PLAIN_HEADER: Final = re.compile(r"[a-z]+")
_RANGE: Final = re.compile(r"bytes=(\d{1,18})?-(\d{1,18})?")

_PUT: Final = frozenset(
    (
        *("Bucket", "Key", "Body", "ContentLength", "Metadata", "ContentType", "ChecksumSHA256"),
        *("IfNoneMatch", "IfMatch"),
    )
)
_GET: Final = frozenset(("Bucket", "Key", "IfMatch", "Range", "VersionId"))
_HEAD: Final = frozenset(("Bucket", "Key", "VersionId"))
_DELETE: Final = frozenset(("Bucket", "Key"))


class Wire:
    """A client whose small requests obstore carries. Safe for threads; connects at first use.

    ``held`` gives the credentials, as the SDK's session has them at that moment: whatever limits a
    session limits this. Raises ``ConfigurationError`` where obstore is not installed, and where the
    environment would decide what it does.
    """

    def __init__(self, client: Any, config: S3Config, held: Any, trust: str | bool) -> None:
        self._obstore = library()
        self._client = client
        self._config = config
        self._held = held
        # Plain keys never change, and need not be asked for again.
        self._lasting = type(held) is Credentials
        self._trust = trust
        self._stores: dict[tuple[str, int, bool], Any] = {}
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        """What this does not carry, the SDK's client does."""
        return getattr(self._client, name)

    def close(self) -> None:
        """Close every connection that no stream holds."""
        with self._lock:
            self._stores.clear()
        self._client.close()

    def put_object(self, **asked: Any) -> Any:
        """One request under one condition; whatever is larger, or unconditional, is the SDK's."""
        expected = asked.get("IfMatch")
        size = _size(asked.get("Body"))
        conditional = asked.get("IfNoneMatch") == ("*" if expected is None else None)
        described = _described(asked) if conditional and asked.keys() <= _PUT else None
        if size is None or size > _CLASSES[-1] or described is None or not _able(asked["Key"]):
            return self._usual("put_object", asked)
        checksum = asked.get("ChecksumSHA256")
        data = _data(asked["Body"], checksum)
        answer = self._carried(
            self._obstore.put,
            self._store(asked["Bucket"], size, with_checksum=checksum is not None),
            asked["Key"],
            data,
            attributes=described,
            mode="create" if expected is None else {"e_tag": expected},
            use_multipart=False,
        )
        etag = answer.get("e_tag")
        if expected is not None and str(etag).strip('"') == expected:
            # A redirect to a GET would be answered so: only another look can tell.
            raise Failure(Kind.STRANGE)
        return {"ETag": etag, "VersionId": answer.get("version")}

    def get_object(self, **asked: Any) -> Any:
        """The bytes of one version or range of it, as a stream."""
        return self._read("get_object", asked, _GET)

    def head_object(self, **asked: Any) -> Any:
        """What is kept with one version. An answer of obstore's says nothing of locks."""
        return self._read("head_object", asked, _HEAD)

    def delete_object(self, **asked: Any) -> Any:
        """One key whatever is there; under a condition, or of a version, it is the SDK's."""
        if not asked.keys() <= _DELETE or not _able(asked["Key"]):
            return self._usual("delete_object", asked)
        store = self._store(asked["Bucket"])
        self._carried(self._obstore.delete, store, asked["Key"])
        return {}

    def _read(self, operation: str, asked: Mapping[str, Any], known: frozenset[str]) -> Any:
        # An answer of obstore's says nothing of locks.
        able = asked.keys() <= known and self._config.object_lock is None
        options = _options(asked) if able else None
        if options is None or not _able(asked["Key"]):
            return self._usual(operation, asked)
        if operation == "head_object":
            options["head"] = True
        store = self._store(asked["Bucket"])
        try:
            result = self._carried(self._obstore.get, store, asked["Key"], options=options or None)
        except Failure as failure:
            if failure.kind is not Kind.STRANGE:
                raise
        else:
            return _answer(result, ranged="Range" in asked)
        return self._usual(operation, asked)

    def _usual(self, operation: str, asked: Mapping[str, Any]) -> Any:
        return getattr(self._client, operation)(**asked)

    def _carried(self, request: Callable[..., Any], *given: Any, **named: Any) -> Any:
        if not self._lasting:
            # Renewed here, in the caller's thread: what fails in obstore's has no name any more.
            self._held.get_frozen_credentials()
        failure: Failure
        try:
            return request(*given, **named)
        except Exception as error:  # noqa: BLE001  # whatever it is, only what it means comes out
            failure = classified(error)
        raise failure

    def _store(self, bucket: str, size: int = 0, *, with_checksum: bool = False) -> Any:
        name = (bucket, _CLASSES[bisect_left(_CLASSES, size)], with_checksum)
        found = self._stores.get(name)
        if found is not None:
            return found
        with self._lock:
            if name not in self._stores:
                self._stores[name] = self._made(*name)
            return self._stores[name]

    def _made(self, bucket: str, most: int, with_checksum: bool) -> Any:
        refuse_ambient()
        config = self._config
        virtual = config.endpoint == AWS
        address = urlsplit(str(self._client.meta.endpoint_url))
        host = f"{bucket}.{address.netloc}" if virtual else address.netloc
        endpoint = urlunsplit((address.scheme, host, "", "", ""))
        seconds = config.read_seconds + (most // _SLOWEST if most > _CLASSES[0] else 0)
        options: dict[str, Any] = {
            "allow_http": address.scheme == "http",
            "allow_invalid_certificates": False,
            "connect_timeout": timedelta(seconds=config.connect_seconds),
            "disable_system_certificates": True,
            "pool_max_idle_per_host": str(config.connections),
            "proxy_excludes": str(urlsplit(endpoint).hostname),
            "proxy_url": _NOWHERE,
            "read_timeout": timedelta(seconds=seconds),
            # For all of an answer, however long it is read; a silence is what is limited.
            "timeout": timedelta(days=30),
        }
        if address.scheme == "https":
            with open(get_cert_path(self._trust), encoding="ascii") as file:  # noqa: PTH123
                options["root_certificate"] = file.read()
        return self._obstore.store.S3Store(
            bucket,
            # Everything that a variable of the environment could say is said here.
            config={
                "aws_endpoint_url_s3": endpoint,
                "conditional_put": "etag",
                "copy_if_not_exists": "multipart",
                "disable_bulk_delete": True,
                "disable_tagging": False,
                "endpoint": endpoint,
                "imdsv1_fallback": False,
                "region": config.region,
                "request_payer": False,
                "s3_express": False,
                "skip_signature": False,
                "unsigned_payload": False,
                "virtual_hosted_style_request": virtual,
                **({"checksum_algorithm": "sha256"} if with_checksum else {}),
            },
            client_options=options,
            retry_config={"max_retries": 0},
            credential_provider=self._credentials,
        )

    def _credentials(self) -> dict[str, Any]:
        """What the SDK's session holds now; what may change is asked for ten times a second."""
        held = self._held.get_frozen_credentials()
        return {
            "access_key_id": held.access_key,
            "secret_access_key": held.secret_key,
            "token": held.token,
            "expires_at": None if self._lasting else datetime.now(UTC) + timedelta(minutes=1),
        }


class _Body:
    """The bytes of an answer, as the SDK hands them out; raises ``Failure``."""

    def __init__(self, result: Any, length: int) -> None:
        self._result = result
        self._stream: Any = None
        self._left = length
        self._held = b""

    def __enter__(self) -> _Body:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, size: int | None = None) -> bytes:
        """Up to ``size`` bytes, none at the end; all of them where no size is given."""
        if size is None:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        held = self._held
        if not held and self._left:
            held = self._next()
            self._left = max(0, self._left - len(held))
        self._held = held[size:]
        return held[:size]

    def _next(self) -> bytes:
        failure: Failure
        try:
            if self._stream is None:
                if self._left <= CHUNK:
                    return bytes(self._result.bytes())
                self._stream = self._result.stream(CHUNK)
            return bytes(next(self._stream, b""))
        except Exception as error:  # noqa: BLE001  # whatever it is, only what it means comes out
            failure = classified(error)
        raise failure

    def close(self) -> None:
        """Give the connection up. Idempotent."""
        self._result = self._stream = None
        self._held, self._left = b"", 0


def library() -> Any:
    """obstore; raises ``ConfigurationError`` where it is not installed."""
    try:
        import obstore.store
    except ImportError:
        pass
    else:
        return obstore
    problem = Problem(
        path="transport",
        what="needs the package obstore, which is not installed",
        fix="pip install 'nexus-s3[obstore]'",
        code="store.extra",
    )
    raise ConfigurationError([problem])


def refuse_ambient() -> None:
    """Raise ``ConfigurationError`` where a variable would decide what obstore sends."""
    found = sorted(
        name for name in os.environ if name.startswith("AWS_") and name.lower() in _AMBIENT
    )
    if found:
        problem = Problem(
            path="transport",
            what=f"obstore would take its orders from the environment: {', '.join(found)}",
            fix='unset them, or set transport = "sdk"',
            code="store.ambient",
        )
        raise ConfigurationError([problem])


class _Threads:
    """obstore's own threads, which a child that is forked off does not have, and would wait for."""

    process: int | None = None

    def are_here(self) -> bool:
        """Whether this process is the first that asks, or no other was."""
        if self.process is None:
            self.process = os.getpid()
        return self.process == os.getpid()


_THREADS: Final = _Threads()


def _able(name: str) -> bool:
    """Whether obstore would take a name as it is, and can work in this process."""
    return _ODD_NAME.search(name) is None and _THREADS.are_here()


def _size(body: object) -> int | None:
    return len(body) if isinstance(body, _BODIES) else None


def _described(asked: Mapping[str, Any]) -> dict[str, str] | None:
    """The headers of an object as obstore takes them, ``None`` where it would send others."""
    metadata = asked.get("Metadata", {})
    given = {**metadata, "Content-Type": asked.get("ContentType", "application/octet-stream")}
    sound = all(map(_is_plain, given.values())) and all(map(_PLAIN_HEADER.fullmatch, metadata))
    return given if sound else None


def _is_plain(value: str) -> bool:
    """Whether a header's value is words of ASCII, with one blank between them."""
    blanks = "  " in value or value != value.strip()
    return value.isascii() and value.isprintable() and value != "" and not blanks


def _data(body: Any, checksum: str | None) -> Any:
    """A body as bytes or as memory that the spool's file backs, held against its checksum."""
    data = body.buffer() if isinstance(body, Window) else body
    # obstore computes what it announces from what it sends, so that a fault before would be hidden.
    if (
        checksum is not None
        and base64.b64encode(hashlib.sha256(data).digest()).decode() != checksum
    ):
        raise Failure(Kind.DIGEST)
    return data


def _options(asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a read asks for in obstore's words, ``None`` where it has none."""
    options: dict[str, Any] = {}
    if "IfMatch" in asked:
        options["if_match"] = asked["IfMatch"]
    if "VersionId" in asked:
        options["version"] = asked["VersionId"]
    if "Range" in asked:
        said = _RANGE.fullmatch(asked["Range"])
        first, last = ("", "") if said is None else said.groups("")
        if first and last:
            options["range"] = (int(first), int(last) + 1)
        elif first:
            options["range"] = {"offset": int(first)}
        elif last:
            options["range"] = {"suffix": int(last)}
        else:
            return None
    return options


def _answer(result: Any, *, ranged: bool) -> dict[str, Any]:
    """An answer of obstore's in the SDK's words."""
    meta, attributes = result.meta, dict(result.attributes)
    start, stop = result.range if ranged else (0, meta["size"])
    answer = {
        "Body": _Body(result, stop - start),
        "ContentLength": stop - start,
        "ContentType": attributes.pop("Content-Type", ""),
        "ETag": meta["e_tag"],
        "LastModified": meta["last_modified"],
        "Metadata": attributes,
        "VersionId": meta["version"],
    }
    if ranged:
        answer["ContentRange"] = f"bytes {start}-{stop - 1}/{meta['size']}"
    return answer
