"""Raw stores that sign what they should not, or are not held to what they signed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from nexus_contracts.memory import MemoryRaw
from nexus_contracts.zoo._mutant import Mutant
from nexus_core.spi import Scope, SignedUrl, StoreRole


class CutsDownloads(MemoryRaw):
    """Gives at most a thousand bytes of a signed download."""

    def send(self, *args: Any, **options: Any) -> bytes:
        return super().send(*args, **options)[:1000]


class GivesTheDeleted(MemoryRaw):
    """Answers a signed download of nothing with nothing."""

    def send(self, url: str, *args: Any, **options: Any) -> bytes:
        _, scope, key = self._granted(url)
        return super().send(url, *args, **options) if (scope, key) in self.objects else b""


class BindsNoBytes(MemoryRaw):
    """Holds an upload to its length and its type."""

    def _ensure_bound(self, signed: SignedUrl, data: bytes, headers: Mapping[str, str]) -> None:
        if str(len(data)) != signed.headers["content-length"]:
            raise PermissionError("another length was signed")


class BindsNoLength(MemoryRaw):
    """Holds an upload to the bytes that were announced, and keeps whatever comes after them."""

    def _ensure_bound(self, signed: SignedUrl, data: bytes, headers: Mapping[str, str]) -> None:
        super()._ensure_bound(signed, data[: int(signed.headers["content-length"])], headers)


class BindsNoType(MemoryRaw):
    """Holds an upload to its bytes alone."""

    def _ensure_bound(self, signed: SignedUrl, data: bytes, headers: Mapping[str, str]) -> None:
        super()._ensure_bound(signed, data, signed.headers)


class KeepsRefused(MemoryRaw):
    """Stores an upload before it looks whether it is the one that was signed."""

    def send(self, url: str, data: bytes = b"", **options: Any) -> bytes:
        signed, scope, key = self._granted(url)
        if signed.method == "PUT":
            self._receive(signed, scope, key, data)
        return super().send(url, data, **options)


class ForgetsType(MemoryRaw):
    """Keeps an upload as bytes of no known type."""

    def _receive(self, signed: SignedUrl, scope: Scope, key: str, data: bytes) -> None:
        unknown = {**signed.headers, "content-type": "application/octet-stream"}
        super()._receive(attrs.evolve(signed, headers=unknown), scope, key, data)


class SignsForever(MemoryRaw):
    """Never looks at the clock."""

    def _ensure_in_time(self, signed: SignedUrl) -> None:
        pass


class KeepsLate(MemoryRaw):
    """Refuses an upload that comes too late, and keeps it."""

    def _ensure_in_time(self, signed: SignedUrl) -> None:
        try:
            super()._ensure_in_time(signed)
        except PermissionError:
            _, scope, key = self.signed[signed.url]
            self._receive(signed, scope, key, b"late")
            raise


class SignsAnyPlace(MemoryRaw):
    """Looks whether a signature is one of its own, and not what it was made for."""

    def _granted(self, url: str) -> tuple[SignedUrl, Scope, str]:
        path, _, signature = url.partition("?")
        for mine, (signed, scope, key) in self.signed.items():
            for theirs, (_, other, name) in self.signed.items():
                if mine.endswith(signature) and theirs.startswith(f"{path}?"):
                    return self._followed(signed, (scope, key), (other, name))
        raise PermissionError("nobody signed that")

    def _followed(
        self, signed: SignedUrl, _signed_for: tuple[Scope, str], place: tuple[Scope, str]
    ) -> tuple[SignedUrl, Scope, str]:
        return signed, *place


class SignsTheKey(SignsAnyPlace):
    """Signs the key and leaves the scope out of the signature."""

    def _followed(
        self, signed: SignedUrl, signed_for: tuple[Scope, str], place: tuple[Scope, str]
    ) -> tuple[SignedUrl, Scope, str]:
        if signed_for[1] != place[1]:
            raise PermissionError("another key was signed")
        return signed, *place


class SignsAnyKey(SignsAnyPlace):
    """Signs the scope and leaves the key out of the signature."""

    def _followed(
        self, signed: SignedUrl, signed_for: tuple[Scope, str], place: tuple[Scope, str]
    ) -> tuple[SignedUrl, Scope, str]:
        if signed_for[0] != place[0]:
            raise PermissionError("another scope was signed")
        return signed, *place


class SignsAnyMethod(MemoryRaw):
    """Leaves the method out of the signature."""

    def _ensure_method(self, signed: SignedUrl, method: str) -> None:
        pass

    def _receive(self, signed: SignedUrl, scope: Scope, key: str, data: bytes) -> None:
        typed = {"content-type": "text/plain", **signed.headers}
        super()._receive(attrs.evolve(signed, headers=typed), scope, key, data)


def _m(name: str, kind: Any, killed_by: str, says: str) -> Mutant:
    return Mutant(
        name=f"raw-{name}",
        role=StoreRole.RAW,
        what=(kind.__doc__ or "").strip(),
        killed_by=killed_by,
        says=says,
        make=lambda runtime: kind(runtime.now),
    )


MUTANTS: Final[tuple[Mutant, ...]] = (
    _m("cuts-downloads", CutsDownloads, "RAW-030", "gave other bytes"),
    _m("gives-the-deleted", GivesTheDeleted, "RAW-030", "deleted object was answered"),
    _m("binds-no-bytes", BindsNoBytes, "RAW-031", "took other bytes"),
    _m("binds-no-length", BindsNoLength, "RAW-031", "took a longer body"),
    _m("binds-no-type", BindsNoType, "RAW-031", "took another type"),
    _m("keeps-refused", KeepsRefused, "RAW-031", "refused for other bytes left an object"),
    _m("forgets-type", ForgetsType, "RAW-031", "other attributes than its type"),
    _m("signs-gets-forever", SignsForever, "RAW-032", "GET outlives its time"),
    _m("signs-puts-forever", SignsForever, "RAW-033", "PUT outlives its time"),
    _m("keeps-late", KeepsLate, "RAW-033", "too late left an object"),
    _m("signs-any-place", SignsAnyPlace, "TEN-107", "what was signed for `k`"),
    _m("signs-the-key", SignsTheKey, "TEN-107", "gave 'k' of"),
    _m("signs-any-key", SignsAnyKey, "TEN-108", "wrote 'l' of"),
    _m("signs-the-key-of-uploads", SignsTheKey, "TEN-108", "wrote 'k' of"),
    _m("signs-gets-for-puts", SignsAnyMethod, "TEN-107", "GET was good for a PUT"),
    _m("signs-puts-for-gets", SignsAnyMethod, "TEN-108", "PUT was good for a GET"),
)
