"""Unusual raw stores that keep every promise."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

import attrs

from nexus_contracts._harness import BackendHarness
from nexus_contracts.memory import MemoryRaw
from nexus_contracts.zoo._mutant import variant_harness
from nexus_core.spi import ObjectInfo, ObjectPage, Scope, SignedUrl, StoreRole


class SmallPages(MemoryRaw):
    """Gives at most three entries a page, or a hundred where more than that are asked for."""

    def list(self, scope: Scope, *, limit: int = 1000, **options: Any) -> ObjectPage:
        return super().list(scope, limit=min(limit, 3 if limit <= 100 else 100), **options)


class Slow(MemoryRaw):
    """Takes its time."""

    def head(self, scope: Scope, key: str) -> ObjectInfo:
        time.sleep(0.0002)
        return super().head(scope, key)


class LongETags(MemoryRaw):
    """Makes ETags of two hundred characters."""

    def _write(self, scope: Scope, key: str, *args: Any, **options: Any) -> ObjectInfo:
        super()._write(scope, key, *args, **options)
        found = self.objects[scope, key]
        info = attrs.evolve(found.info, etag=secrets.token_hex(100))
        self.objects[scope, key] = attrs.evolve(found, info=info)
        return info


class OpaqueUrls(MemoryRaw):
    """Signs URLs that name no place, only the grant that it keeps."""

    def _signed(self, *args: Any) -> SignedUrl:
        shown = super()._signed(*args)
        signed = attrs.evolve(shown, url=f"memory:{secrets.token_hex(16)}")
        self.signed[signed.url] = (signed, *self.signed.pop(shown.url)[1:])
        return signed


LEGAL: Final[Mapping[str, BackendHarness]] = {
    "raw-small-pages": variant_harness(StoreRole.RAW, lambda r: SmallPages(r.now)),
    "raw-slow": variant_harness(StoreRole.RAW, lambda r: Slow(r.now)),
    "raw-long-etags": variant_harness(StoreRole.RAW, lambda r: LongETags(r.now)),
    "raw-opaque-urls": variant_harness(StoreRole.RAW, lambda r: OpaqueUrls(r.now)),
    "raw-few-capabilities": variant_harness(
        StoreRole.RAW,
        capabilities={
            "conditional_replace": False,
            "conditional_delete": False,
            "ranges": False,
            "delimiter": False,
            "copy": False,
            "presign_get": False,
            "presign_put": False,
        },
    ),
}
