"""The conformance suite in a bucket of yours, which the environment names; see docs/servers.md.

    tox run -e live -- plugins/s3/tests/live_s3.py
    nexus conformance run --harness plugins.s3.tests.live_s3:harness

Its name keeps it out of every run that does not ask for it. Each store of the suite has a prefix of
its own below one that only this run has, and nothing outside of that is looked at or written. It is
removed at the end; who kills the run finds what is left under ``nexus-live-``.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import attrs
import botocore.session  # type: ignore[import-untyped]  # it brings no types
import nexus_s3
from botocore.config import Config  # type: ignore[import-untyped]  # the same
from nexus_contracts import BackendHarness, Namespace, Report
from nexus_contracts.faults import TcpFaults
from nexus_s3 import S3Config

from nexus_core.spi import ConfigurationError, Problem, Runtime, SecretRef

NEEDED = {
    "NEXUS_LIVE_S3_BUCKET": "the name of a bucket that is there",
    "NEXUS_LIVE_S3_ENDPOINT": "aws, or an address: https://host[:port]",
    "NEXUS_LIVE_S3_REGION": "the bucket's region",
    "AWS_ACCESS_KEY_ID": "the id of an access key",
    "AWS_SECRET_ACCESS_KEY": "that key's secret",
}
REALITY = "NEXUS_LIVE_S3_REALITY"
TRANSPORT = "NEXUS_LIVE_S3_TRANSPORT"
TOKEN = "AWS_SESSION_TOKEN"  # the variable's name


def _variables() -> dict[str, str]:
    """What the environment says; raises ``ConfigurationError`` that names all that it does not."""
    said = {name: os.environ.get(name, "") for name in (*NEEDED, REALITY, TRANSPORT)}
    problems = [
        Problem(path=name, what="is not set in the environment", fix=f"set it to {what}")
        for name, what in NEEDED.items()
        if not said[name]
    ]
    if said["NEXUS_LIVE_S3_ENDPOINT"] == "aws":
        said[REALITY] = "real"
    elif said[REALITY] not in ("real", "emulator"):
        what = "is neither real nor emulator"
        fix = "say what answers at an address that is not Amazon's"
        problems.append(Problem(path=REALITY, what=what, fix=fix))
    said[TRANSPORT] = said[TRANSPORT] or "sdk"
    if said[TRANSPORT] not in ("sdk", "obstore"):
        what, fix = "is neither sdk nor obstore", "leave it out for the vendor's own library"
        problems.append(Problem(path=TRANSPORT, what=what, fix=fix))
    if problems:
        raise ConfigurationError(problems)
    return said


@attrs.frozen
class Live:
    """A bucket, and a prefix in it that only this run has."""

    said: Mapping[str, str] = attrs.field(repr=False)
    client: Any = attrs.field(repr=False)
    root: str

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.said["NEXUS_LIVE_S3_BUCKET"]

    def config(self, token: str, **more: Any) -> S3Config:
        """Settings of a store below a prefix of its own."""
        given: dict[str, Any] = {
            "endpoint": self.said["NEXUS_LIVE_S3_ENDPOINT"],
            "region": self.said["NEXUS_LIVE_S3_REGION"],
            "bucket": self.bucket,
            "prefix": f"{self.root}{token}/",
            "access_key": SecretRef(env="AWS_ACCESS_KEY_ID"),
            "secret_key": SecretRef(env="AWS_SECRET_ACCESS_KEY"),
            "session_token": SecretRef(env=TOKEN) if os.environ.get(TOKEN) else None,
            "spool": "spool",
            "transport": self.said[TRANSPORT],
        }
        return S3Config(**{**given, **more})

    def check(self) -> None:
        """Raise ``ConfigurationError`` where the bucket is not there, since none is made here."""
        try:
            self.client.list_objects_v2(Bucket=self.bucket, MaxKeys=1)
            return
        except Exception as error:  # noqa: BLE001  # odd engines make the library raise anything
            what = f"names a bucket that cannot be listed ({type(error).__name__})"
        fix = "see that it is there, and that key, region and endpoint are its own"
        raise ConfigurationError([Problem(path="NEXUS_LIVE_S3_BUCKET", what=what, fix=fix)])

    def versions(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        """Every version and every delete marker below a prefix."""
        pages = self.client.get_paginator("list_object_versions")
        for page in pages.paginate(Bucket=self.bucket, Prefix=prefix):
            yield from page.get("Versions") or ()
            yield from page.get("DeleteMarkers") or ()

    def clean(self) -> None:
        """Remove all that is below the run's prefix: versions, delete markers, uploads."""
        # Engines are seen that do not list a name before another, which it begins with, is gone.
        while found := list(self.versions(self.root)):
            for each in found:
                self.client.delete_object(
                    Bucket=self.bucket, Key=each["Key"], VersionId=each["VersionId"]
                )
        uploads = self.client.list_multipart_uploads(Bucket=self.bucket, Prefix=self.root)
        for each in uploads.get("Uploads") or ():
            self.client.abort_multipart_upload(
                Bucket=self.bucket, Key=each["Key"], UploadId=each["UploadId"]
            )

    def proved(self) -> Mapping[str, Any]:
        """What the engine was seen to honour."""
        spec = nexus_s3.nexus_raw_store()
        assert spec.provision is not None
        assert spec.prove is not None
        with tempfile.TemporaryDirectory() as base:
            runtime = Runtime(
                store="files", base=Path(base), now=lambda: time.time_ns() // 1000, proofs={}
            )
            config = self.config("proof")
            spec.provision(config, runtime)
            return spec.prove(config, runtime)

    def harness(self) -> BackendHarness:
        """A harness that declares what the engine was seen to honour, as the core would."""
        spec, proofs = nexus_s3.nexus_raw_store(), self.proved()
        off: Any = {name: False for name in spec.proves if proofs.get(name) is not True}

        def settings(namespace: Namespace, port: int | None = None) -> S3Config:
            through: dict[str, Any] = {}
            if port is not None:
                through = {"endpoint": f"http://127.0.0.1:{port}"}
                through |= {"connect_seconds": 1, "read_seconds": 1, "attempts": 2}
            return self.config(namespace.token, **through)

        # No proxy of ours can stand on a road that is encrypted.
        address = urlsplit(self.said["NEXUS_LIVE_S3_ENDPOINT"])
        road = (str(address.hostname), address.port or 80)
        plain = address.scheme == "http"
        return BackendHarness(
            spec=attrs.evolve(
                spec,
                capabilities=attrs.evolve(spec.capabilities, **off),
                prove=None,
                proves=frozenset(),
            ),
            settings=settings,
            reality=cast("Any", self.said[REALITY]),
            back_door=lambda namespace: PrefixDoor(self, f"{self.root}{namespace.token}/"),
            bare=lambda _: self.config("x", bucket=f"x{secrets.token_hex(12)}"),
            broken_settings=lambda namespace: {
                "a bucket that is not there": self.config("x", bucket=f"x{secrets.token_hex(12)}"),
                "an engine that is not there": settings(namespace, _unused_port()),
            },
            faults=(lambda: TcpFaults([road], settings, http=True)) if plain else None,
        )


@attrs.frozen
class PrefixDoor:
    """The back door: objects below one prefix, by the client library itself."""

    live: Live
    prefix: str

    def snapshot(self) -> Mapping[str, bytes]:
        """Every object's bytes and metadata, by version where the bucket keeps them."""
        found: dict[str, bytes] = {}
        client, bucket = self.live.client, self.live.bucket
        for each in self.live.versions(self.prefix):
            if "Size" not in each:  # a delete marker
                continue
            name, version = each["Key"], each["VersionId"]
            seen = client.get_object(Bucket=bucket, Key=name, VersionId=version)
            said = repr(sorted(seen["Metadata"].items())).encode()
            found[name if version == "null" else f"{name}@{version}"] = seen["Body"].read()
            found[f"{name}@{version} metadata"] = said
        return found

    def write(self, name: str, data: bytes) -> None:
        """Put other bytes in an object's place, and leave its metadata."""
        client, bucket = self.live.client, self.live.bucket
        try:
            kept = client.head_object(Bucket=bucket, Key=name)["Metadata"]
        except client.exceptions.ClientError:
            kept = {}
        client.put_object(Bucket=bucket, Key=name, Body=data, Metadata=kept)

    def remove(self, name: str) -> None:
        """Delete an object."""
        self.live.client.delete_object(Bucket=self.live.bucket, Key=name)


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def live() -> Iterator[Live]:
    """The bucket that the environment names; what was written to it is removed at the end."""
    said = _variables()
    endpoint = said["NEXUS_LIVE_S3_ENDPOINT"]
    aws = endpoint == "aws"
    client = botocore.session.Session().create_client(
        "s3",
        region_name=said["NEXUS_LIVE_S3_REGION"],
        endpoint_url=None if aws else endpoint,
        aws_access_key_id=said["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=said["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=os.environ.get(TOKEN) or None,
        config=Config(
            s3={"addressing_style": "auto" if aws else "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    try:
        place = Live(said, client, f"nexus-live-{secrets.token_hex(4)}/")
        place.check()
        try:
            yield place
        finally:
            place.clean()
    finally:
        client.close()


def __getattr__(name: str) -> BackendHarness:
    """``harness``, for ``nexus conformance run --harness``; its prefix is removed at exit."""
    if name != "harness":
        raise AttributeError(name)
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(live()).harness()


def test_s3_live_is_conformant(conformant: Callable[..., Report]) -> None:
    """Everything that applies was run in the bucket that the environment names, and holds, but for
    what a bucket that stays there cannot show."""
    faulthandler.cancel_dump_traceback_later()  # how far away the bucket is, nobody knows
    with live() as place:
        conformant(place.harness(), f"live-s3-{place.said[TRANSPORT]}", untried={"CFG-111"})
