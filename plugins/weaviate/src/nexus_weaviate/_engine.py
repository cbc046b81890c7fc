"""The connection: opened at the first call, closed once; no write is repeated by itself.

The client library is used through its public interface, with three exceptions that stand here: its
gRPC stub is wrapped, because the library repeats calls for a minute where the server is away and
drops the status of an error; one REST path is read that the library does not offer; and where
certificates of one's own are to be trusted its REST client is replaced. Nothing is sent to anyone
but the server: the library's check for a newer release of itself is left out.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nexus_core.spi import (
    ClosedError,
    ConfigurationError,
    Outcome,
    Problem,
    Secret,
    StoreError,
    UnavailableError,
)
from nexus_weaviate._config import WeaviateConfig
from nexus_weaviate._errors import _CallError, from_client, from_status
from nexus_weaviate._hush import hushed, install
from nexus_weaviate._library import library

if TYPE_CHECKING:
    from weaviate import WeaviateClient
    from weaviate.collections import Collection

    Shard = Collection[Any, Any]


# A connection that broke is made anew at once, and not after up to two minutes.
_CHANNEL: Final = [
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
]
# What changes nothing is tried twice where the connection turns out to be broken.
_READS: Final = frozenset(("Aggregate", "Search", "TenantsGet"))
_PAUSE: Final = 0.3


class Engine:
    """One server, by its settings. Used from several threads at once; a fork closes it."""

    def __init__(self, config: WeaviateConfig, base: Path) -> None:
        self.config = config
        self._key = _resolved(config.api_key, base)
        self._client_secret = _resolved(config.client_secret, base)
        self._roots = None if config.tls_roots is None else _certificates(base, config.tls_roots)
        self._lock = threading.Lock()
        self._client: WeaviateClient | None = None
        self._closed = False
        self._owner = os.getpid()

    def close(self) -> None:
        """Close the connection; idempotent."""
        with self._lock:
            self._closed = True
            client, self._client = self._client, None
        if client is not None and self._owner == os.getpid():
            with hushed():
                client.close()

    @property
    def client(self) -> WeaviateClient:
        """The connected client; raises ``ClosedError``, or what stands against connecting."""
        self.ensure_open()
        client = self._client
        if client is not None:
            return client
        with self._lock:
            self.ensure_open()
            if self._client is None:
                with translated():
                    self._client = self._connected()
            return self._client

    def ensure_open(self) -> None:
        """Raise ``ClosedError`` after ``close``, and in a child that was forked with it."""
        if self._closed:
            raise ClosedError("the vector store was closed")
        if self._owner != os.getpid():
            raise ClosedError(
                "the vector store was opened before a fork", hint="open it in the child"
            )

    def shard(self, collection: str, name: str) -> Shard:
        """A native tenant of a collection, neither of which need be there."""
        return self.client.collections.use(collection).with_tenant(name)

    def get(self, path: str) -> Any:
        """Read a REST path that the library does not offer."""
        client = self.client
        with translated():
            answer: Any = client._connection.get(path)  # noqa: SLF001
            if answer.status_code != 200:
                raise from_status(answer.status_code, "", Outcome.NOT_APPLIED)
            return answer.json()

    def _connected(self) -> WeaviateClient:
        weaviate = library()
        install()
        config = self.config
        init = weaviate.classes.init
        client: WeaviateClient = weaviate.WeaviateClient(
            weaviate.connect.ConnectionParams.from_params(
                http_host=config.host,
                http_port=config.port,
                http_secure=config.secure,
                grpc_host=config.grpc_host,
                grpc_port=config.grpc_port,
                grpc_secure=config.secure,
            ),
            auth_client_secret=self._credentials(init.Auth),
            additional_config=init.AdditionalConfig(
                timeout=init.Timeout(
                    init=config.connect_timeout,
                    query=config.read_timeout,
                    insert=config.write_timeout,
                ),
                grpc_config=init.GrpcConfig(
                    channel_options=_CHANNEL, credentials=self._channel_credentials(weaviate)
                ),
                # Proxies and key files of the environment are places that nobody configured.
                trust_env=False,
            ),
            # They ask a public registry for the library's newest release; `check` asks the server
            # what matters.
            skip_init_checks=True,
        )
        connection: Any = client._connection  # noqa: SLF001
        if self._roots is not None:
            # The library takes certificates for one of its two interfaces only.
            own = weaviate.connect.v4.Client
            verify = ssl.create_default_context(cadata=self._roots)
            connection._make_client = lambda _colour: own(  # noqa: SLF001
                headers=connection._headers,  # noqa: SLF001
                verify=verify,
                trust_env=False,
            )
        try:
            client.connect()
        except BaseException:
            client.close()
            raise
        connection._grpc_stub = _Stub(connection._grpc_stub)  # noqa: SLF001
        return client

    def _channel_credentials(self, weaviate: Any) -> Any:
        if self._roots is None:
            return None
        return weaviate.connect.v4.grpc.ssl_channel_credentials(self._roots.encode("ascii"))

    def _credentials(self, auth: Any) -> Any:
        if self._key is not None:
            return auth.api_key(self._key.text())
        if self._client_secret is not None:
            return auth.client_credentials(
                client_secret=self._client_secret.text(), scope=self.config.client_scope
            )
        return None


def _resolved(reference: Any, base: Path) -> Secret | None:
    return None if reference is None else reference.resolve(base)


def _certificates(base: Path, file: str) -> str:
    try:
        text = (base / Path(file).expanduser()).read_text(encoding="ascii")
        ssl.create_default_context(cadata=text)
    except (OSError, ValueError):  # what is no certificate is an error of TLS, which is an OSError
        raise ConfigurationError(
            [
                Problem(
                    path="tls_roots",
                    what="the file cannot be read, or holds no certificates",
                    fix="name a file of certificates in PEM",
                    code="weaviate.tls_roots",
                )
            ]
        ) from None
    return text


class _Stub:
    """The library's gRPC stub, whose errors carry their status past the library's retries."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._stub, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return method(*args, **kwargs)
            except library().connect.v4.RpcError as error:
                raise _CallError(error.code().name, str(error.details())) from None

        def read(*args: Any, **kwargs: Any) -> Any:
            try:
                return call(*args, **kwargs)
            except _CallError as error:
                if error.status != "UNAVAILABLE":
                    raise
            time.sleep(_PAUSE)
            return call(*args, **kwargs)

        return read if name in _READS else call


@contextlib.contextmanager
def translated(outcome: Outcome = Outcome.NOT_APPLIED) -> Iterator[None]:
    """Turn what the library raises into the tree's errors, without its texts.

    ``outcome`` is what is known of the call where the connection breaks in the middle of it.
    """
    try:
        with hushed():
            yield
    except StoreError:  # some of the tree's errors are OSErrors too
        raise
    except Exception as error:  # noqa: BLE001  # a library raises what it likes
        raise from_client(error, outcome) from None


def unprovisioned() -> UnavailableError:
    """The answer where the store's own collections are not on the server."""
    return UnavailableError(
        "the vector store is not set up on its server",
        hint="run `nexus doctor`",
        retryable=False,
        outcome=Outcome.NOT_APPLIED,
    )
