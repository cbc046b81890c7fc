"""Signed URLs (V4): the engine itself holds the bearer to what was signed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from nexus_core.spi import InvalidArgumentError, SignedUrl, UnsupportedError
from nexus_gcs._engine import Engine, Target, once
from nexus_gcs._failures import Failure, translate
from nexus_gcs._record import SHA256


def sign_get(engine: Engine, target: Target, expires_in: int) -> SignedUrl:
    """See ``RawBackend.presign_get``."""
    return _signed(engine, target, "GET", expires_in, {})


def sign_put(
    engine: Engine, target: Target, *, expires_in: int, size: int, sha256: str, content_type: str
) -> SignedUrl:
    """See ``RawBackend.presign_put``. A URL creates its object once, and replaces none."""
    if not content_type:
        raise InvalidArgumentError("an upload needs a content type")
    bound = {
        "Content-Type": content_type,
        "x-goog-content-length-range": f"{size},{size}",
        "x-goog-content-sha256": sha256,
        "x-goog-if-generation-match": "0",
        f"x-goog-meta-{SHA256}": sha256,
    }
    return _signed(engine, target, "PUT", expires_in, bound)


def _signed(
    engine: Engine,
    target: Target,
    method: Literal["GET", "PUT"],
    expires_in: int,
    headers: Mapping[str, str],
) -> SignedUrl:
    if engine.config.identity != "key":
        engine.ready()
        raise UnsupportedError(
            f"presign_{method.lower()}", hint="only a service account's key can sign"
        )

    def sign() -> Any:
        return target.blob().generate_signed_url(
            version="v4",
            expiration=expires_in,
            method=method,
            headers=dict(headers),
            api_access_endpoint=engine.config.address,
        )

    try:
        url = str(once(sign))
    except Failure as failure:
        error = translate(failure)
    else:
        return SignedUrl(
            method=method,
            url=url,
            headers=dict(headers),
            expires_at=engine.now() + expires_in * 1_000_000,
        )
    raise error
