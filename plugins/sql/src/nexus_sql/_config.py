"""Settings of both roles. What an engine makes of them is asked of the engine itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from nexus_core.spi import BackendConfig, Runtime, Secret, SecretRef

_OF_SOME_ENGINES = (
    "password",
    "owner",
    "schema_name",
    "logins",
    "login_secret",
    "tenants",
    "tls",
    "tls_roots",
    "tls_client",
    "pool_size",
    "pool_timeout_seconds",
    "connect_timeout_seconds",
    "answer_timeout_seconds",
    "connection_lifetime_seconds",
)


class OwnerRef(BackendConfig):
    """Where the owner's URL is: ``{ env = "VARIABLE" }`` or ``{ file = "path" }``, one of them.

    Unlike other references it is followed only by provisioning, so that the programs that use a
    store need not have what it leads to.
    """

    env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")
    """Name of the environment variable that holds the URL."""

    file: str | None = Field(default=None, min_length=1)
    """Path of the file that holds the URL, relative to the configuration's folder."""

    @model_validator(mode="after")
    def _exactly_one(self) -> OwnerRef:
        if (self.env is None) == (self.file is None):
            raise PydanticCustomError("nexus_reference", "name exactly one of env and file")
        return self

    def resolve(self, runtime: Runtime) -> Secret:
        """Read the URL now; raises ``SecretUnavailableError``."""
        return SecretRef(env=self.env, file=self.file).resolve(runtime.base)


class SqlConfig(BackendConfig):
    """Settings of one SQL database, the same for atoms and for audit."""

    # The core repeats the text of a refusal only if none of its words could come from the input.
    # A description's words could not, so engines are named in this one.
    url: str
    """Where the database is: ``sqlite:///data/records.db``, relative to the configuration's
    directory, or with four slashes an absolute path; or a server's database,
    ``postgresql+psycopg://user@host/database`` or ``mariadb+pymysql://user@host/database``. Refused
    are a database in memory and a password in the URL. MySQL is not served by this version."""

    password: SecretRef | None = None
    """The password of the URL's user, by reference. SQLite has none."""

    owner: OwnerRef | None = None
    """Reference to a URL, with its password, as whose user provisioning creates and grants."""

    schema_name: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]{0,47}$")
    """PostgreSQL: the schema that holds the store's tables, and nothing else."""

    logins: Literal["shared", "per_scope"] = "shared"
    """PostgreSQL: one login for all scopes, or one for each, which no statement can change."""

    login_secret: SecretRef | None = None
    """With ``per_scope``: what the logins' passwords are derived from, by reference."""

    tenants: tuple[str, ...] = ()
    """With ``per_scope``: the tenants that provisioning makes logins for."""

    tls: Literal["verify-full", "verify-ca", "require", "disable"] = "verify-full"
    """Servers: how a connection is protected. ``require`` encrypts without knowing to whom."""

    tls_roots: str | None = Field(default=None, min_length=1)
    """Servers: file with the certificates that are trusted; without it, the system's."""

    tls_client: str | None = Field(default=None, min_length=1)
    """Servers: file with the client's certificate and its private key, as PEM."""

    busy_timeout_seconds: float = Field(default=5.0, gt=0, le=600)
    """How long a write waits for another writer before it is refused."""

    pool_size: int = Field(default=10, ge=1, le=1000)
    """Servers: most connections that one opened store has at a time."""

    pool_timeout_seconds: float = Field(default=10.0, gt=0, le=600)
    """Servers: how long a call waits for one of them before it is refused."""

    connect_timeout_seconds: int = Field(default=10, ge=2, le=600)
    """Servers: how long a new connection may take."""

    answer_timeout_seconds: int = Field(default=300, ge=2, le=86400)
    """Servers: how long one may take over a statement before it is given up for lost."""

    connection_lifetime_seconds: float = Field(default=1800.0, gt=0)
    """Servers: after how long a connection is replaced by a new one."""

    @field_validator("url")
    @classmethod
    def _served(cls, value: str) -> str:
        from nexus_sql._engines import refusal

        reason = refusal(value)
        if reason is not None:
            raise ValueError(reason)
        return value

    @field_validator(*_OF_SOME_ENGINES)
    @classmethod
    def _has_a_use(cls, value: object, info: ValidationInfo) -> object:
        from nexus_sql._engines import use_of

        # Without a URL there is nothing to judge by, and that is reported already.
        url, name = info.data.get("url"), info.field_name
        assert name is not None
        given = value != cls.model_fields[name].default
        if isinstance(url, str) and (reason := use_of(url, name, info.data, given=given)):
            raise ValueError(reason)
        return value
