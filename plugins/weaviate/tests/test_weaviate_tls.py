"""TLS on both interfaces: certificates of one's own are trusted, and no others."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from nexus_core.spi import Scope

if TYPE_CHECKING:
    from plugins.weaviate.tests.conftest import Lab

SCOPE = Scope("acme", "dev")

pytestmark = pytest.mark.servers


def certified(folder: Path, name: str) -> Path:
    """A certificate for this machine that nobody vouches for, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([here]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(
        encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(encoding))
    (folder / f"{name}.key").write_bytes(private)
    return folder / f"{name}.pem"


async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes until one side ends."""
    with contextlib.suppress(OSError, ssl.SSLError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.contextmanager
def tunnel(certificate: Path, host: str, port: int, protocol: str) -> Iterator[int]:
    """A port that speaks TLS and passes everything on to one that does not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    context.set_alpn_protocols([protocol])

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inward, outward = await asyncio.open_connection(host, port)
        await asyncio.gather(pour(reader, outward), pour(inward, writer))

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        started = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(accept, "127.0.0.1", 0, ssl=context), loop
        ).result(10)
        yield started.sockets[0].getsockname()[1]
        loop.call_soon_threadsafe(started.close)
    finally:

        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_only_certificates_that_are_trusted_are_spoken_to(lab: Lab, tmp_path: Path) -> None:
    """Both interfaces work over TLS with the roots of the settings, and neither without them."""
    ours, others = certified(tmp_path, "ours"), certified(tmp_path, "others")
    info = lab.server.info
    with (
        tunnel(ours, info["host"], info["port"], "http/1.1") as rest,
        tunnel(ours, info["host"], info["grpc_port"], "h2") as grpc,
    ):
        places = {"url": f"https://127.0.0.1:{rest}", "grpc": f"127.0.0.1:{grpc}"}
        store = lab.open(**places, tls_roots=str(ours))
        assert store.check() == []
        ref = store.create_index(SCOPE, lab.definition())
        store.upsert(SCOPE, ref, lab.batch({"a": [1.0, 0, 0]}))
        assert lab.ask(store, ref, [1.0, 0, 0]) == [("a", 0.0)]
        store.close()
        for roots in ({}, {"tls_roots": str(others)}):
            stranger = lab.open(**places, **roots)
            assert [problem.code for problem in stranger.check()] == ["weaviate.unreachable"]
            stranger.close()
