"""Settings of both roles. What an engine makes of a URL is asked of the engine itself."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from nexus_core.spi import BackendConfig, SecretRef


class SqlConfig(BackendConfig):
    """Settings of one SQL database, the same for atoms and for audit."""

    url: str
    """Where the database is, for instance ``sqlite:///data/records.db``. A relative path is
    relative to the configuration's directory (four slashes make it absolute). It has no default,
    and never holds a password."""

    password: SecretRef | None = None
    """The password, by reference, for engines that have one. SQLite has none."""

    busy_timeout_seconds: float = Field(default=5.0, gt=0, le=600)
    """How long a write waits for another writer of the same SQLite file before it is refused."""

    @field_validator("url")
    @classmethod
    def _served(cls, value: str) -> str:
        from nexus_sql._engines import refusal

        reason = refusal(value)
        if reason is not None:
            raise ValueError(reason)
        return value

    @model_validator(mode="after")
    def _password_has_a_use(self) -> SqlConfig:
        from nexus_sql._engines import takes_password

        if self.password is not None and not takes_password(self.url):
            raise ValueError(
                "`password` is set, and this engine has none: remove it; who may read the file "
                "is decided by its permissions"
            )
        return self
