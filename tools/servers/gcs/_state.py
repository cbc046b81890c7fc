"""Buckets, objects and their generations."""

from __future__ import annotations

import base64
import bisect
import hashlib
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import attrs
import google_crc32c

from tools.servers.gcs._locks import Locks
from tools.servers.gcs._refusal import Refusal

PERMISSIONS: Final = frozenset(
    f"storage.{what}"
    for what in (
        *("buckets.create", "buckets.delete", "buckets.get", "buckets.update"),
        *("buckets.enableObjectRetention", "objects.create", "objects.delete", "objects.get"),
        *("objects.list", "objects.overrideUnlockedRetention", "objects.setRetention"),
        "objects.update",
    )
)
# What a client asks the real service for may take several calls as well.
REWRITTEN_AT_ONCE: Final = 32 << 20
WEEK: Final = "604800"
_EDITABLE: Final = frozenset(
    ("contentType", "eventBasedHold", "metadata", "retention", "temporaryHold")
)


def no_bucket() -> Refusal:
    return Refusal(404, "notFound", "The specified bucket does not exist.")


def condition_not_met() -> Refusal:
    what = "At least one of the pre-conditions you specified did not hold."
    return Refusal(412, "conditionNotMet", what)


def stamp(moment: float) -> str:
    """A time as the service writes it: to the millisecond."""
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


@attrs.define
class Content:
    """Bytes in a file, with what is known of them so far."""

    path: Path
    size: int = 0
    crc: int = 0
    md5: Any = attrs.field(factory=lambda: hashlib.md5(usedforsecurity=False))
    sha256: Any = attrs.field(factory=hashlib.sha256)

    def write(self, pieces: Iterable[bytes]) -> None:
        with self.path.open("ab") as file:
            for piece in pieces:
                file.write(piece)
                self.size += len(piece)
                self.crc = google_crc32c.extend(self.crc, piece)
                self.md5.update(piece)
                self.sha256.update(piece)

    @property
    def crc32c(self) -> str:
        return base64.b64encode(self.crc.to_bytes(4, "big")).decode()

    @property
    def md5_hash(self) -> str:
        return base64.b64encode(self.md5.digest()).decode()

    def check(self, resource: Mapping[str, Any]) -> None:
        """Refuse bytes whose checksum is not the one that was announced."""
        for name, mine in (("crc32c", self.crc32c), ("md5Hash", self.md5_hash)):
            said = resource.get(name)
            if said is not None and said != mine:
                label = "CRC32C" if name == "crc32c" else "MD5 hash"
                what = f'Provided {label} "{said}" doesn\'t match calculated {label} "{mine}".'
                raise Refusal(400, "invalid", what)


@attrs.define
class Version:
    """One generation of an object."""

    name: str
    generation: int
    content: Content
    content_type: str
    metadata: dict[str, str]
    created: float
    metageneration: int = 1
    updated: float = 0.0
    deleted: float | None = None
    locks: Locks = attrs.field(factory=Locks)

    def resource(self, bucket: str) -> dict[str, Any]:
        found: dict[str, Any] = {
            "kind": "storage#object",
            "id": f"{bucket}/{self.name}/{self.generation}",
            "bucket": bucket,
            "name": self.name,
            "generation": str(self.generation),
            "metageneration": str(self.metageneration),
            "contentType": self.content_type,
            "storageClass": "STANDARD",
            "size": str(self.content.size),
            "md5Hash": self.content.md5_hash,
            "crc32c": self.content.crc32c,
            "etag": base64.b64encode(f"{self.generation}/{self.metageneration}".encode()).decode(),
            "timeCreated": stamp(self.created),
            "updated": stamp(self.updated or self.created),
        }
        if self.metadata:
            found["metadata"] = dict(self.metadata)
        found |= self.locks.resource()
        if self.deleted is not None:
            found["timeDeleted"] = stamp(self.deleted)
        return found


@attrs.define
class Bucket:
    """A bucket: its settings, what is current, and what was."""

    name: str
    project: str
    settings: dict[str, Any]
    created: float
    metageneration: int = 1
    live: dict[str, Version] = attrs.field(factory=dict)
    old: dict[str, list[Version]] = attrs.field(factory=dict)
    names: list[bytes] = attrs.field(factory=list)

    @property
    def versioned(self) -> bool:
        return bool(self.settings.get("versioning", {}).get("enabled"))

    def check_replaceable(self, found: Version, now: float) -> None:
        """Refuse to put something else in the place of what a lock protects there."""
        found.locks.check_held(f"{self.name}/{found.name}")
        if not self.versioned:
            self.check_destroyable(found, now)

    def check_destroyable(self, found: Version, now: float) -> None:
        """Refuse to destroy what a hold, its own period or the bucket's policy protects."""
        where = f"{self.name}/{found.name}"
        period = int(self.settings.get("retentionPolicy", {}).get("retentionPeriod", 0))
        found.locks.check_held(where)
        found.locks.check_period(where, found.created + period, now)

    def locks(
        self, said: Mapping[str, Any], now: float, before: Locks | None = None, *, override: bool
    ) -> Locks:
        """The locks of an object after what a request says of them."""
        enabled = self.settings.get("objectRetention", {}).get("mode") == "Enabled"
        return (before or Locks()).changed(said, enabled=enabled, override=override, now=now)

    def resource(self) -> dict[str, Any]:
        return {
            "kind": "storage#bucket",
            "id": self.name,
            "name": self.name,
            "projectNumber": "1",
            "metageneration": str(self.metageneration),
            "timeCreated": stamp(self.created),
            "updated": stamp(self.created),
            "storageClass": "STANDARD",
            **self.settings,
        }

    def note(self, name: str) -> None:
        """Keep the names in order of their bytes."""
        encoded = name.encode()
        place = bisect.bisect_left(self.names, encoded)
        there = place < len(self.names) and self.names[place] == encoded
        wanted = name in self.live or name in self.old
        if wanted and not there:
            self.names.insert(place, encoded)
        elif there and not wanted:
            del self.names[place]

    def from_name(self, first: bytes) -> Iterator[str]:
        for encoded in self.names[bisect.bisect_left(self.names, first) :]:
            yield encoded.decode()


@attrs.define
class Session:
    """A resumable upload."""

    bucket: str
    name: str
    resource: dict[str, Any]
    query: dict[str, str]
    content: Content
    made: dict[str, Any] | None = None
    turn: int = 0
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    def next_turn(self) -> int:
        """Begin a request; what an earlier one still has to write is refused from now on."""
        with self.lock:
            self.turn += 1
            return self.turn

    def write(self, piece: bytes, turn: int) -> None:
        """Add a piece for the request that has the turn."""
        with self.lock:
            if self.turn != turn:
                raise Refusal(503, "backendError", "A later request goes on with this upload.")
            self.content.write([piece])


class State:
    """Everything that the server knows. Every public method is one step, under one lock."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.RLock()
        self._last = 0
        self.buckets: dict[str, Bucket] = {}
        self.sessions: dict[str, Session] = {}
        self._rewrites: dict[str, tuple[Version, str, str]] = {}

    def content(self) -> Content:
        """A new empty file."""
        return Content(self._directory / secrets.token_hex(12))

    # -- buckets -----------------------------------------------------------------------------

    def make_bucket(
        self, project: str, said: Mapping[str, Any], *, retention: bool = False
    ) -> dict[str, Any]:
        with self._lock:
            name = str(said["name"])
            if name in self.buckets:
                raise Refusal(409, "conflict", "Your previous request to create it succeeded.")
            derived = ("name", "objectRetention")
            settings = {key: value for key, value in said.items() if key not in derived}
            if retention:
                settings["objectRetention"] = {"mode": "Enabled"}
            settings.setdefault("location", "US")
            settings.setdefault("softDeletePolicy", {"retentionDurationSeconds": WEEK})
            self.buckets[name] = Bucket(name, project, settings, time.time())
            return self.buckets[name].resource()

    def bucket(self, name: str) -> Bucket:
        if name not in self.buckets:
            raise no_bucket()
        return self.buckets[name]

    def change_bucket(self, name: str, said: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            bucket = self.bucket(name)
            for key, value in said.items():
                if key == "objectRetention":
                    # It is had from the beginning or never; who asks later is not refused.
                    continue
                if value is None:
                    bucket.settings.pop(key, None)
                else:
                    bucket.settings[key] = value
            bucket.metageneration += 1
            return bucket.resource()

    def drop_bucket(self, name: str) -> None:
        with self._lock:
            if self.bucket(name).names:
                raise Refusal(409, "conflict", "The bucket you tried to delete is not empty.")
            del self.buckets[name]

    # -- objects -----------------------------------------------------------------------------

    def find(self, bucket: str, name: str, query: Mapping[str, str]) -> Version:
        """A generation, the current one where none is named, if the preconditions hold."""
        with self._lock:
            home = self.bucket(bucket)
            found = home.live.get(name)
            if "generation" in query:
                wanted = int(query["generation"])
                every = [*home.old.get(name, ()), *([found] if found else ())]
                found = next((each for each in every if each.generation == wanted), None)
            if found is None:
                raise Refusal(404, "notFound", f"No such object: {bucket}/{name}")
            # Whichever generation is asked for, conditions are on the current one.
            check_conditions(home.live.get(name), query, reading=True)
            return found

    def finish(
        self,
        bucket: str,
        name: str,
        content: Content,
        resource: Mapping[str, Any],
        query: Mapping[str, str],
    ) -> dict[str, Any]:
        """Make a content the current generation, if checksums and preconditions are right."""
        content.check(resource)
        with self._lock:
            home = self.bucket(bucket)
            self.admit(bucket, name, query)
            now = time.time()
            self._last = max(self._last + 1, int(now * 1_000_000))
            made = Version(
                name,
                self._last,
                content,
                str(resource.get("contentType") or "application/octet-stream"),
                dict(resource.get("metadata") or {}),
                now,
                locks=home.locks(resource, now, override=False),
            )
            self._retire(home, name, now)
            home.live[name] = made
            home.note(name)
            return made.resource(bucket)

    def admit(self, bucket: str, name: str, query: Mapping[str, str]) -> None:
        """Refuse a write whose preconditions do not hold now."""
        with self._lock:
            if not 0 < len(name.encode()) <= 1024 or set(name) & set("\r\n"):
                raise Refusal(400, "invalid", "The object's name is not one.")
            check_conditions(self.bucket(bucket).live.get(name), query)

    def _retire(self, home: Bucket, name: str, now: float) -> None:
        before = home.live.get(name)
        if before is None:
            return
        home.check_replaceable(before, now)
        del home.live[name]
        if home.versioned:
            before.deleted = now
            home.old.setdefault(name, []).append(before)
        home.note(name)

    def delete(self, bucket: str, name: str, query: Mapping[str, str]) -> None:
        with self._lock:
            home = self.bucket(bucket)
            found = self.find(bucket, name, {k: v for k, v in query.items() if k == "generation"})
            check_conditions(home.live.get(name), query)
            if "generation" not in query:
                self._retire(home, name, time.time())
                return
            home.check_destroyable(found, time.time())
            if home.live.get(name) is found:
                del home.live[name]
            elif left := [each for each in home.old[name] if each is not found]:
                home.old[name] = left
            else:
                del home.old[name]
            home.note(name)

    def patch(
        self, bucket: str, name: str, said: Mapping[str, Any], query: Mapping[str, str]
    ) -> dict[str, Any]:
        with self._lock:
            found = self.find(bucket, name, {k: v for k, v in query.items() if k == "generation"})
            check_conditions(found, query)
            if not _EDITABLE.issuperset(said):
                raise Refusal(501, "notImplemented", "not a part of this server")
            override = query.get("overrideUnlockedRetention", "").lower() == "true"
            home = self.bucket(bucket)
            found.locks = home.locks(said, time.time(), found.locks, override=override)
            for key, value in (said.get("metadata") or {}).items():
                if value is None:
                    found.metadata.pop(key, None)
                else:
                    found.metadata[key] = value
            found.content_type = str(said.get("contentType") or found.content_type)
            found.metageneration += 1
            found.updated = time.time()
            return found.resource(bucket)

    def rewrite(
        self,
        source: tuple[str, str],
        target: tuple[str, str],
        said: Mapping[str, Any],
        query: Mapping[str, str],
    ) -> dict[str, Any]:
        """Copy inside the service; what is large takes two calls, joined by a token."""
        own = {"sourceGeneration": "generation", "ifSourceGenerationMatch": "ifGenerationMatch"}
        with self._lock:
            found = self.find(*source, {own[k]: v for k, v in query.items() if k in own})
            self.admit(*target, query)
            token = query.get("rewriteToken")
            size = found.content.size
            if token is not None and self._rewrites.pop(token, None) != (found, *target):
                raise Refusal(400, "invalid", "The rewrite token is not of this rewrite.")
            if token is None and size > REWRITTEN_AT_ONCE:
                token = secrets.token_hex(16)
                self._rewrites[token] = (found, *target)
                return {
                    "kind": "storage#rewriteResponse",
                    "totalBytesRewritten": str(REWRITTEN_AT_ONCE),
                    "objectSize": str(size),
                    "done": False,
                    "rewriteToken": token,
                }
            resource = dict(said) or {
                "contentType": found.content_type,
                "metadata": found.metadata,
            }
            for derived in ("crc32c", "md5Hash"):
                resource.pop(derived, None)
            made = self.finish(*target, found.content, resource, query)
        return {
            "kind": "storage#rewriteResponse",
            "totalBytesRewritten": str(size),
            "objectSize": str(size),
            "done": True,
            "resource": made,
        }

    def page(self, bucket: str, query: Mapping[str, str]) -> dict[str, Any]:
        with self._lock:
            home = self.bucket(bucket)
            prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
            first = max(prefix.encode(), query.get("startOffset", "").encode())
            end = query.get("endOffset", "").encode()
            # The last thing that was shown before, rolled up or not.
            seen = base64.b64decode(query.get("pageToken", ""))
            limit = min(int(query.get("maxResults") or 1000), 1000)
            items: list[dict[str, Any]] = []
            prefixes: list[str] = []
            token: bytes | None = None
            for name in home.from_name(max(first, seen)):
                encoded = name.encode()
                if not name.startswith(prefix) or (end and encoded >= end):
                    break
                found = self._shown(home, name, query)
                head, rolled, _ = name[len(prefix) :].partition(delimiter or "\0")
                shown = prefix + head + delimiter if rolled and delimiter else name
                if not found or shown.encode() <= seen or shown in prefixes[-1:]:
                    continue
                if len(items) + len(prefixes) >= limit:
                    return _page(items, prefixes, token)
                token = shown.encode()
                if shown != name:
                    prefixes.append(shown)
                else:
                    items += [each.resource(bucket) for each in found]
            return _page(items, prefixes, None)

    def _shown(self, home: Bucket, name: str, query: Mapping[str, str]) -> list[Version]:
        live = [home.live[name]] if name in home.live else []
        # Clients write it as their language does.
        every = query.get("versions", "").lower() == "true"
        return [*home.old.get(name, ()), *live] if every else live


def _page(items: list[dict[str, Any]], prefixes: list[str], token: bytes | None) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": "storage#objects", "items": items, "prefixes": prefixes}
    if token is not None:
        found["nextPageToken"] = base64.b64encode(token).decode()
    return found


def check_conditions(
    found: Version | None, query: Mapping[str, str], *, reading: bool = False
) -> None:
    """Refuse where a precondition does not hold; what is absent has the generation 0."""
    has = {
        "Generation": 0 if found is None else found.generation,
        "Metageneration": 0 if found is None else found.metageneration,
    }
    for what, value in has.items():
        wanted = query.get(f"if{what}Match")
        if wanted is not None and int(wanted) != value:
            raise condition_not_met()
        unwanted = query.get(f"if{what}NotMatch")
        if unwanted is not None and int(unwanted) == value:
            raise Refusal(304, "notModified", "") if reading else condition_not_met()
