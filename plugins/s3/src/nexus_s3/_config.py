"""Settings of the raw store. Whatever is not said here is not looked for anywhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from nexus_core.spi import BackendConfig, Scope, SecretRef

AWS: Final = "aws"
BucketName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$")]

_LOOPBACK: Final = frozenset(("127.0.0.1", "localhost", "::1"))
_SCOPE: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}/(?:dev|staging|prod)")


class S3Config(BackendConfig):
    """Settings of one raw store on S3."""

    endpoint: str
    """``aws``, or the address of an engine that speaks S3: ``https://host[:port]``. Plain http is
    accepted for the loopback interface only, or with ``plaintext``."""

    region: str = Field(pattern=r"^[a-z0-9-]{1,40}$")
    """Region of the buckets; what requests are signed for."""

    bucket: BucketName | None = None
    """The bucket that all scopes share, each under a prefix of its own. Only provisioning creates
    it. Either this or ``buckets``."""

    buckets: dict[str, BucketName] = Field(default_factory=dict)
    """A bucket for each scope, by ``tenant/env``; a scope that is not here is refused. The doctor
    needs one each for ``t_probe_a`` and ``t_probe_b``."""

    versions: bool = False
    """Whether the buckets keep old versions. A bucket that does otherwise is refused, and one that
    provisioning makes is made so."""

    object_lock: Literal["governance", "compliance"] | None = None
    """Whether holds and retention periods are the engine's own object lock, and in which mode the
    periods are. Takes ``versions``, and buckets that were made with it; provisioning makes them so.
    """

    prefix: str = Field(default="", pattern=r"^([a-z0-9][a-z0-9_.-]*/)*$", max_length=40)
    """What all names begin with, where the bucket holds other things too: empty, or ``a/b/``."""

    identity: Literal["keys", "instance"] = "keys"
    """``keys``: the three settings below. ``instance``: what the machine's metadata service
    gives. Nothing else is ever tried."""

    access_key: SecretRef | None = None
    """The access key's id, by reference."""

    secret_key: SecretRef | None = None
    """The access key's secret, by reference."""

    session_token: SecretRef | None = None
    """The session's token, by reference, where the keys are those of a session."""

    role_arn: str | None = Field(default=None, pattern=r"^arn:[!-~]{1,500}$")
    """A role that is assumed anew for each scope, by a session that can reach nothing but what
    belongs to it."""

    sts_endpoint: str | None = None
    """Where roles are assumed: ``aws`` or an address as above; required with ``role_arn``."""

    session_seconds: int = Field(default=3600, ge=900, le=43200)
    """How long a scope's session lasts; it is renewed before its end."""

    plaintext: bool = False
    """Whether an address that is not of this machine may be plain http."""

    ca_bundle: str | None = None
    """File of certificates to trust in place of the usual ones."""

    transport: Literal["sdk", "obstore"] = "sdk"
    """What carries small requests: ``sdk`` is boto3, ``obstore`` is faster and an extra."""

    spool: str = Field(min_length=1, pattern=r"^[^\x00]+$")
    """Folder for what is being written, since an object's digest must be known before its first
    byte is sent. Only provisioning creates it; nothing in it has a name or outlives the program."""

    spool_bytes: int = Field(default=8 << 30, ge=1 << 20)
    """How much of it all writes together may use; a write beyond is refused."""

    connections: int = Field(default=32, ge=1, le=1024)
    """Connections that are kept open."""

    part_bytes: int = Field(default=16 << 20, ge=5 << 20, le=1 << 30)
    """Size of a part of a multipart upload, for objects of up to 10,000 parts; larger ones have
    larger parts."""

    part_workers: int = Field(default=4, ge=1, le=64)
    """Parts that are sent at once, all writes together."""

    multipart_from: int = Field(default=64 << 20, ge=5 << 20, le=5 << 30)
    """Size from which an object is sent in parts, where the engine honours conditions on that."""

    abandoned_hours: int = Field(default=24, ge=1, le=8760)
    """Age from which an unfinished multipart upload is taken for a dead writer's and aborted."""

    attempts: int = Field(default=4, ge=1, le=20)
    """How often a request is sent before its failure is told."""

    connect_seconds: int = Field(default=5, ge=1, le=300)
    """How long making a connection may take."""

    read_seconds: int = Field(default=60, ge=1, le=3600)
    """How long a connection may be silent."""

    @field_validator("endpoint", "sts_endpoint")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value in (None, AWS):
            return value
        assert value is not None
        try:
            parts = urlsplit(value)
            bare = f"{parts.scheme}://{parts.netloc}"
            sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port, True)[1]
        except ValueError:
            sound = False
        if not sound or value != bare or "@" in parts.netloc or not value.isascii():
            raise PydanticCustomError("nexus_endpoint", "is neither aws nor https://host[:port]")
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
    def _fits_together(self) -> S3Config:
        if (self.bucket is None) == (not self.buckets):
            raise PydanticCustomError("nexus_bucket", "name exactly one of bucket and buckets")
        if self.object_lock is not None and not self.versions:
            raise PydanticCustomError("nexus_lock", "object_lock takes versions = true")
        if self.identity == "keys" and (self.access_key is None or self.secret_key is None):
            raise PydanticCustomError(
                "nexus_identity", "name access_key and secret_key, or another identity"
            )
        if self.identity != "keys" and (self.access_key or self.secret_key or self.session_token):
            raise PydanticCustomError("nexus_identity", "keys are of no use to this identity")
        if (self.role_arn is None) != (self.sts_endpoint is None):
            raise PydanticCustomError(
                "nexus_role", "role_arn and sts_endpoint are given together or not at all"
            )
        for address in (self.endpoint, self.sts_endpoint):
            if address is not None and not self.plaintext and _exposed(address):
                raise PydanticCustomError(
                    "nexus_plaintext", "plain http to another machine needs plaintext = true"
                )
        return self

    @property
    def lock_mode(self) -> str | None:
        """The mode of periods, as the protocol spells it."""
        return None if self.object_lock is None else self.object_lock.upper()

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


def _exposed(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme == "http" and parts.hostname not in _LOOPBACK
