"""The conformance suite on buckets of yours, whose project the environment names; docs/servers.md.

    tox run -e live -- plugins/gcs/tests/live_gcs.py
    nexus conformance run --harness plugins.gcs.tests.live_gcs:harness

Its name keeps it out of every run that does not ask for it. A store has its bucket to itself, and
one that was not provisioned has none, so the suite makes a bucket for each of its stores: the name
that is given, a hyphen, and a token. No other bucket is looked at or written. They are removed at
the end; who kills the run finds what is left by that name.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import json
import os
import secrets
import socket
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import attrs
import nexus_gcs
from nexus_contracts import BackendHarness, Namespace, Report
from nexus_contracts.faults import TcpFaults
from nexus_gcs import GcsConfig

from nexus_core.spi import ConfigurationError, Problem, Runtime

with warnings.catch_warnings():
    # On being imported it looks for a gRPC, which is not used here, and warns of its age.
    warnings.simplefilter("ignore")
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage  # type: ignore[import-untyped]  # it brings no types
    from google.oauth2 import service_account

NEEDED = {
    "NEXUS_LIVE_GCS_BUCKET": "what the names of the buckets begin with, 40 characters at most",
    "NEXUS_LIVE_GCS_ENDPOINT": "google, or an address: https://host[:port]",
    "NEXUS_LIVE_GCS_PROJECT": "the id of the project in which to make them",
    "NEXUS_LIVE_GCS_LOCATION": "where to make them",
}
KEY = "GOOGLE_APPLICATION_CREDENTIALS"
IDENTITY = "NEXUS_LIVE_GCS_IDENTITY"
REALITY = "NEXUS_LIVE_GCS_REALITY"
TRANSPORT = "NEXUS_LIVE_GCS_TRANSPORT"
# Google takes about one bucket made or removed in two seconds, from a whole project.
PAUSE = 2.0


def _variables() -> dict[str, str]:
    """What the environment says; raises ``ConfigurationError`` that names all that it does not."""
    said = {name: os.environ.get(name, "") for name in (*NEEDED, KEY, IDENTITY, REALITY, TRANSPORT)}
    needed = dict(NEEDED)
    if said[IDENTITY] != "anonymous":
        needed[KEY] = f"the file of a service account's key, or {IDENTITY} to anonymous"
    problems = [
        Problem(path=name, what="is not set in the environment", fix=f"set it to {what}")
        for name, what in needed.items()
        if not said[name]
    ]
    if said["NEXUS_LIVE_GCS_ENDPOINT"] == "google":
        said[REALITY] = "real"
    elif said[REALITY] not in ("real", "emulator"):
        what = "is neither real nor emulator"
        fix = "say what answers at an address that is not Google's"
        problems.append(Problem(path=REALITY, what=what, fix=fix))
    said[TRANSPORT] = said[TRANSPORT] or "sdk"
    if said[TRANSPORT] not in ("sdk", "obstore"):
        what, fix = "is neither sdk nor obstore", "leave it out for the vendor's own library"
        problems.append(Problem(path=TRANSPORT, what=what, fix=fix))
    if problems:
        raise ConfigurationError(problems)
    return said


@attrs.define
class Live:
    """A project, and the buckets that this run makes in it."""

    said: Mapping[str, str] = attrs.field(repr=False)
    client: Any = attrs.field(repr=False)
    tokens: list[str] = attrs.field(factory=list)
    _ready: float = 0.0

    def config(self, token: str, **more: Any) -> GcsConfig:
        """Settings of a store in a bucket of its own."""
        given: dict[str, Any] = {
            "endpoint": self.said["NEXUS_LIVE_GCS_ENDPOINT"],
            "project": self.said["NEXUS_LIVE_GCS_PROJECT"],
            "location": self.said["NEXUS_LIVE_GCS_LOCATION"],
            "bucket": self.bucket(token),
            "identity": "anonymous",
            "transport": self.said[TRANSPORT],
            **more,
        }
        if self.said[IDENTITY] != "anonymous":
            given |= {"identity": "key", "key": {"file": str(Path(self.said[KEY]).absolute())}}
        return GcsConfig.model_validate(given)

    def bucket(self, token: str) -> str:
        """The name of a bucket."""
        return f"{self.said['NEXUS_LIVE_GCS_BUCKET']}-{token}"

    def paced(self) -> None:
        """Wait until Google would take another bucket."""
        if self.said["NEXUS_LIVE_GCS_ENDPOINT"] == "google":
            time.sleep(max(0.0, self._ready - time.monotonic()))
            self._ready = time.monotonic() + PAUSE

    def provision(self, config: GcsConfig, runtime: Runtime) -> Sequence[str]:
        """What the plugin's own provisioning does, no faster than Google takes it."""
        make = nexus_gcs.nexus_raw_store().provision
        assert make is not None
        assert config.bucket is not None
        self.paced()
        self.tokens.append(config.bucket.rpartition("-")[2])
        return make(config, runtime)

    def clean(self) -> None:
        """Remove the buckets that were made, with all that is in them."""
        for token in sorted(set(self.tokens)):
            self.drop(token)

    def drop(self, token: str) -> None:
        """Remove a bucket, if it is there, with all that is in it."""
        bucket = self.client.bucket(self.bucket(token))
        if not bucket.exists():
            return
        while found := list(self.client.list_blobs(bucket, versions=True)):
            for blob in found:
                bucket.delete_blob(blob.name, generation=blob.generation)
        self.paced()
        bucket.delete()

    def proved(self) -> Mapping[str, Any]:
        """What the endpoint was seen to honour."""
        prove = nexus_gcs.nexus_raw_store().prove
        assert prove is not None
        with tempfile.TemporaryDirectory() as base:
            runtime = Runtime(store="files", base=Path(base), now=lambda: time.time_ns() // 1000)
            config = self.config(secrets.token_hex(6))
            self.provision(config, runtime)
            return prove(config, runtime)

    def harness(self) -> BackendHarness:
        """A harness that declares what the endpoint was seen to honour, as the core would."""
        spec, proofs = nexus_gcs.nexus_raw_store(), self.proved()
        off: Any = {name: False for name in spec.proves if proofs.get(name) is not True}

        def settings(namespace: Namespace, port: int | None = None, **more: Any) -> GcsConfig:
            if port is not None:
                more |= {"endpoint": f"http://127.0.0.1:{port}", "attempts": 2}
                more |= {"connect_seconds": 1, "read_seconds": 1}
            return self.config(namespace.token, **more)

        # No proxy of ours can stand on a road that is encrypted.
        address = urlsplit(self.said["NEXUS_LIVE_GCS_ENDPOINT"])
        road = (str(address.hostname), address.port or 80)
        plain = address.scheme == "http"
        return BackendHarness(
            spec=attrs.evolve(
                spec,
                capabilities=attrs.evolve(spec.capabilities, **off),
                provision=self.provision,
                prove=None,
                proves=frozenset(),
            ),
            settings=settings,
            reality=cast("Any", self.said[REALITY]),
            back_door=lambda namespace: BucketDoor(self.client, self.bucket(namespace.token)),
            remove=lambda namespace: self.drop(namespace.token),
            broken_settings=lambda namespace: {
                "a bucket that is not there": self.config(secrets.token_hex(6)),
                "nobody at the address": settings(namespace, _unused_port()),
            },
            faults=(lambda: TcpFaults([road], settings, http=True)) if plain else None,
        )


@attrs.frozen
class BucketDoor:
    """The back door: objects of one bucket, by the client library itself."""

    client: Any
    bucket: str

    def snapshot(self) -> Mapping[str, bytes]:
        """Every object's bytes and metadata."""
        found: dict[str, bytes] = {}
        for blob in self.client.list_blobs(self.bucket):
            found[blob.name] = blob.download_as_bytes()
            found[f"{blob.name} metadata"] = repr(sorted((blob.metadata or {}).items())).encode()
        return found

    def write(self, name: str, data: bytes) -> None:
        """Put other bytes in an object's place, and leave its metadata."""
        bucket = self.client.bucket(self.bucket)
        before = bucket.get_blob(name)
        blob = bucket.blob(name)
        blob.metadata = None if before is None else before.metadata
        blob.upload_from_string(data)

    def remove(self, name: str) -> None:
        """Delete an object."""
        self.client.bucket(self.bucket).delete_blob(name)


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Key(service_account.Credentials):
    """A service account's key, and no look-up of regions at another service."""

    def _after_refresh(self, request: Any, method: str, url: str, headers: Any) -> None:
        """Nothing: newer versions of the library ask in a thread of their own."""


def _client(said: Mapping[str, str]) -> Any:
    endpoint = said["NEXUS_LIVE_GCS_ENDPOINT"]
    options = {} if endpoint == "google" else {"client_options": {"api_endpoint": endpoint}}
    if said[IDENTITY] == "anonymous":
        nobody: Any = AnonymousCredentials
        credentials = nobody()
    else:
        try:
            key = json.loads(Path(said[KEY]).read_text(encoding="utf-8"))
            read: Any = _Key.from_service_account_info
            credentials = read(
                key, scopes=["https://www.googleapis.com/auth/devstorage.full_control"]
            )
        except (OSError, ValueError):  # their texts may hold the key
            credentials = None
    if credentials is None:
        what, fix = "names no file of a service account's key", "name the JSON that Google gave out"
        raise ConfigurationError([Problem(path=KEY, what=what, fix=fix)])
    client = storage.Client(
        project=said["NEXUS_LIVE_GCS_PROJECT"], credentials=credentials, **options
    )
    client._bucket_metadata_cache = None  # it looks at buckets in threads of its own
    return client


@contextlib.contextmanager
def live() -> Iterator[Live]:
    """The project that the environment names; the buckets made in it are removed at the end."""
    said = _variables()
    place = Live(said, _client(said))
    try:
        yield place
    finally:
        place.clean()
        place.client.close()


def __getattr__(name: str) -> BackendHarness:
    """``harness``, for ``nexus conformance run --harness``; its buckets are removed at exit."""
    if name != "harness":
        raise AttributeError(name)
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(live()).harness()


def test_gcs_live_is_conformant(conformant: Callable[[BackendHarness, str], Report]) -> None:
    """Everything that applies was run in buckets that the environment names, and holds."""
    faulthandler.cancel_dump_traceback_later()  # how far away the buckets are, nobody knows
    with live() as place:
        conformant(place.harness(), f"live-gcs-{place.said[TRANSPORT]}")
