"""Settings of the raw store. Whatever is not said here is not looked for anywhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from nexus_core.spi import BackendConfig, Scope, SecretRef

GOOGLE: Final = "google"
GOOGLE_ADDRESS: Final = "https://storage.googleapis.com"
BucketName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$")]

_LOOPBACK: Final = frozenset(("127.0.0.1", "localhost", "::1"))
_MODES: Final = {"governance": "Unlocked", "compliance": "Locked"}
_SCOPE: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}/(?:dev|staging|prod)")


class GcsConfig(BackendConfig):
    """Settings of one raw store on Google Cloud Storage."""

    endpoint: str
    """``google``, or the address of an emulator or of a private way to the service:
    ``https://host[:port]``. Plain http is accepted for the loopback interface only."""

    project: str = Field(pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$")
    """Id of the project that the buckets belong to. It is never taken from the surroundings."""

    bucket: BucketName | None = None
    """The bucket that all scopes share, each under a prefix of its own. Only provisioning creates
    it. Either this or ``buckets``."""

    buckets: dict[str, BucketName] = Field(default_factory=dict)
    """A bucket for each scope, by ``tenant/env``; a scope that is not here is refused. The doctor
    needs one for ``t_probe_a`` and one for ``t_probe_b`` in each environment."""

    versions: bool = False
    """Whether the buckets keep old versions. A bucket that does otherwise is refused, and one that
    provisioning makes is made so."""

    object_lock: Literal["governance", "compliance"] | None = None
    """Whether holds and retention periods are the engine's own, and in which mode the periods are:
    ``governance`` is what it calls unlocked, ``compliance`` locked. Takes ``versions``, and buckets
    that were made with object retention; provisioning makes them so."""

    location: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]{2,40}$")
    """Where provisioning creates a bucket that is not there; needed by it alone."""

    identity: Literal["key", "ambient", "anonymous"] = "key"
    """``key``: the service account whose key is named below. ``ambient``: what the machine or the
    environment gives (application default credentials), which cannot sign URLs. ``anonymous``: none
    at all, for emulators, never for ``google``."""

    key: SecretRef | None = None
    """The service account's key (JSON), by reference."""

    ca_bundle: str | None = None
    """File of certificates to trust in place of the usual ones."""

    transport: Literal["sdk", "obstore"] = "sdk"
    """What carries creating and reading: ``sdk`` is google-cloud-storage, ``obstore`` is faster and
    an extra."""

    accept_recoverable: bool = False
    """Whether buckets may keep what was deleted (soft delete), or forbid deleting for a time
    (retention policy): erasing a scope is then not final."""

    connections: int = Field(default=32, ge=1, le=1024)
    """Connections that are kept open."""

    delete_workers: int = Field(default=8, ge=1, le=64)
    """Deletions that are sent at once by one call that deletes many."""

    attempts: int = Field(default=4, ge=1, le=20)
    """How often a request is sent before its failure is told."""

    connect_seconds: int = Field(default=5, ge=1, le=300)
    """How long making a connection may take."""

    read_seconds: int = Field(default=60, ge=1, le=3600)
    """How long a connection may be silent."""

    @field_validator("endpoint")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if value != GOOGLE and not sound_address(value):
            raise PydanticCustomError("nexus_endpoint", "is neither google nor https://host[:port]")
        if value != GOOGLE and exposed(value):
            raise PydanticCustomError(
                "nexus_plaintext", "plain http is for the loopback interface only"
            )
        return value

    @field_validator("buckets")
    @classmethod
    def _are_scopes(cls, value: dict[str, str]) -> dict[str, str]:
        if any(_SCOPE.fullmatch(name) is None for name in value):
            raise PydanticCustomError("nexus_scope", "is not a table of tenant/env = bucket")
        if len(set(value.values())) != len(value):
            raise PydanticCustomError("nexus_bucket", "gives two scopes one bucket")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> GcsConfig:
        if (self.bucket is None) == (not self.buckets):
            raise PydanticCustomError("nexus_bucket", "name exactly one of bucket and buckets")
        if self.object_lock is not None and not self.versions:
            raise PydanticCustomError("nexus_lock", "object_lock takes versions = true")
        if (self.identity == "key") != (self.key is not None):
            raise PydanticCustomError(
                "nexus_identity", "name the key with the identity key, and with no other"
            )
        host = urlsplit(self.address).hostname or ""
        if self.identity == "anonymous" and f".{host}".endswith(".googleapis.com"):
            raise PydanticCustomError("nexus_identity", "anonymous is for emulators")
        return self

    @property
    def address(self) -> str:
        """The endpoint as a URL."""
        return GOOGLE_ADDRESS if self.endpoint == GOOGLE else self.endpoint

    @property
    def lock_mode(self) -> str | None:
        """The mode of periods, as the engine spells it."""
        return None if self.object_lock is None else _MODES[self.object_lock]

    @property
    def all_buckets(self) -> Mapping[str, str]:
        """Every bucket, by the setting that names it."""
        if self.bucket is not None:
            return {"bucket": self.bucket}
        return {f"buckets.{scope}": bucket for scope, bucket in self.buckets.items()}

    def bucket_of(self, scope: Scope) -> str | None:
        """The bucket of a scope, ``None`` where no setting gives one."""
        if self.bucket is not None:
            return self.bucket
        return self.buckets.get(f"{scope.tenant_id}/{scope.env}")


def sound_address(value: str) -> bool:
    """Whether a text is ``http[s]://host[:port]`` and nothing more."""
    try:
        parts = urlsplit(value)
        bare = f"{parts.scheme}://{parts.netloc}"
        sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port, True)[1]
    except ValueError:
        return False
    return bool(sound) and value == bare and "@" not in parts.netloc and value.isascii()


def exposed(address: str) -> bool:
    """Whether what is sent there can be read on the way."""
    parts = urlsplit(address)
    return parts.scheme != "https" and parts.hostname not in _LOOPBACK
