"""The fast road: what obstore can ask for in full, and what it makes of the answers.

It speaks Google's XML API. Of an answer it shows the bytes, the generation, the ETag, the content
type and the metadata, and neither a checksum nor when the object was made: whoever uses this must
know those from the metadata. Of a request it sends no digest.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import attrs

from nexus_core.spi import ConfigurationError, Problem
from nexus_gcs._config import GcsConfig
from nexus_gcs._failures import Failure, Kind, classify
from nexus_gcs._wire_failures import classified

T = TypeVar("T")

# A request may take `read_seconds`, and a body of the second class a second more for each 256 KiB:
# obstore counts the time that a body takes to send.
_CLASSES: Final = (1 << 20, 8 << 20)
_SLOWEST: Final = 256 << 10
# Nothing listens there: obstore follows redirects, and to another host it must go through here.
_NOWHERE: Final = "http://127.0.0.1:1"
# Nothing that is said to obstore keeps it from reading what these name.
_AMBIENT: Final = frozenset(
    ("google_service_account", "google_service_account_key", "google_service_account_path")
)
# Names that obstore would take for others.
_ODD_NAME: Final = re.compile(r"\A/|/\Z|//|(?:\A|/)\.{1,2}(?:/|\Z)|[\x00-\x1f\x7f\ud800-\udfff]")


@attrs.frozen(kw_only=True)
class Answer:
    """What the engine said of one generation, and those of its bytes that were asked for."""

    generation: int
    size: int
    etag: str
    content_type: str
    metadata: Mapping[str, str] = attrs.field(repr=False)
    start: int
    data: bytes = attrs.field(repr=False)


class Wire:
    """Requests that obstore carries; nothing but ``Failure`` comes out. Safe for threads.

    ``credentials`` are those of the session of the client library, renewed by ``renewal``.
    """

    def __init__(
        self, config: GcsConfig, credentials: Any, renewal: Any, trust: str | bool
    ) -> None:
        self._obstore = library()
        self._config = config
        self._credentials = credentials
        self._renewal = renewal
        self._trust = trust
        self._stores: dict[tuple[str, int], Any] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Give every connection up. Idempotent."""
        with self._lock:
            self._stores.clear()

    def create(
        self, bucket: str, name: str, data: bytes, headers: Mapping[str, str]
    ) -> tuple[int, str]:
        """Put bytes where nothing is; give the generation and the ETag of what was made."""
        store = self._store(bucket, len(data))

        def request() -> tuple[int, str]:
            made = self._obstore.put(
                store, name, data, attributes=dict(headers), mode="create", use_multipart=False
            )
            return int(made["version"]), str(made["e_tag"]).strip('"')

        return self._carried(request)

    def look(self, bucket: str, name: str) -> Answer:
        """What is known of the current generation."""
        return self._read(bucket, name, {"head": True})

    def read(
        self, bucket: str, name: str, span: tuple[int, int] | int, generation: int | None = None
    ) -> Answer:
        """Bytes of the current generation, or of the one that is named: from one place up to
        another, or as many as that from the end."""
        options: dict[str, Any] = {"range": {"suffix": span} if isinstance(span, int) else span}
        if generation is not None:
            options["version"] = str(generation)
        return self._read(bucket, name, options)

    def _read(self, bucket: str, name: str, options: dict[str, Any]) -> Answer:
        store = self._store(bucket)

        def request() -> Answer:
            result = self._obstore.get(store, name, options=options)
            meta, metadata = result.meta, dict(result.attributes)
            return Answer(
                generation=int(meta["version"]),
                size=int(meta["size"]),
                etag=str(meta["e_tag"]).strip('"'),
                content_type=metadata.pop("Content-Type", ""),
                metadata=metadata,
                start=int(result.range[0]),
                data=b"" if "head" in options else bytes(result.bytes()),
            )

        try:
            return self._carried(request)
        except Failure as failure:
            # Broken off, or more than obstore can read: the other library may make something of it.
            if failure.kind is not Kind.LOST:
                raise
        raise Failure(Kind.STRANGE)

    def _carried(self, request: Callable[[], T]) -> T:
        self._renew()
        failure: Failure
        try:
            return request()
        except Exception as error:  # noqa: BLE001  # whatever it is, only what it means comes out
            failure = classified(error)
        raise failure

    def _renew(self) -> None:
        """Here, in the caller's thread: what fails in obstore's has no name any more."""
        if self._credentials.valid:
            return
        failure: Failure
        try:
            self._credentials.refresh(self._renewal)
        except Exception as error:  # noqa: BLE001  # ambient credentials fail in many ways
            failure = classify(error)
        else:
            return
        # Nothing was sent, so that nothing is in doubt.
        raise Failure(Kind.UNREACHABLE) if failure.in_doubt else failure

    def _store(self, bucket: str, size: int = 0) -> Any:
        most = next(each for each in _CLASSES if size <= each)
        with self._lock:
            found = self._stores.get((bucket, most))
            if found is None:
                found = self._stores[bucket, most] = self._made(bucket, most)
            return found

    def _made(self, bucket: str, most: int) -> Any:
        refuse_ambient()
        config = self._config
        address = urlsplit(config.address)
        seconds = config.read_seconds + (most // _SLOWEST if most > _CLASSES[0] else 0)
        options: dict[str, Any] = {
            "allow_http": address.scheme == "http",
            "allow_invalid_certificates": False,
            "connect_timeout": timedelta(seconds=config.connect_seconds),
            "disable_system_certificates": True,
            "pool_max_idle_per_host": str(config.connections),
            "proxy_excludes": str(address.hostname),
            "proxy_url": _NOWHERE,
            "read_timeout": timedelta(seconds=seconds),
            # For all of an answer, however long it is read; a silence is what is limited.
            "timeout": timedelta(days=30),
        }
        if address.scheme == "https":
            with open(self._certificates(), encoding="ascii") as file:  # noqa: PTH123
                options["root_certificate"] = file.read()
        return self._obstore.store.GCSStore(
            bucket,
            # Everything that a variable of the environment could say is said here.
            config={
                "base_url": config.address,
                "skip_signature": config.identity == "anonymous",
            },
            client_options=options,
            retry_config={"max_retries": 0},
            # Also where it is not asked: without one obstore looks for files of credentials.
            credential_provider=self._token,
        )

    def _certificates(self) -> str:
        from requests.utils import DEFAULT_CA_BUNDLE_PATH

        return self._trust if isinstance(self._trust, str) else str(DEFAULT_CA_BUNDLE_PATH)

    def _token(self) -> dict[str, Any]:
        """The token of the moment; what may be renewed is asked for ten times a second."""
        return {
            "token": self._credentials.token or "",
            "expires_at": datetime.now(UTC) + timedelta(minutes=1),
        }


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
        fix="pip install 'nexus-gcs[obstore]'",
        code="store.extra",
    )
    raise ConfigurationError([problem])


def refuse_ambient() -> None:
    """Raise ``ConfigurationError`` where a variable would have obstore read credentials."""
    found = sorted(
        name for name in os.environ if name.startswith("GOOGLE_") and name.lower() in _AMBIENT
    )
    if found:
        problem = Problem(
            path="transport",
            what=f"obstore would take credentials from the environment: {', '.join(found)}",
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


def able(name: str) -> bool:
    """Whether obstore would take a name as it is, and can work in this process."""
    return _ODD_NAME.search(name) is None and _THREADS.are_here()
