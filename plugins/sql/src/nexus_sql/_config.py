"""Settings of both roles. What an engine makes of a URL is asked of the engine itself."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from nexus_core.spi import BackendConfig, SecretRef


class SqlConfig(BackendConfig):
    """Settings of one SQL database, the same for atoms and for audit."""

    # The core repeats the text of a refusal only if none of its words could come from the input.
    # A description's words could not, so engines are named in this one.
    url: str
    """Where the database is: ``sqlite:///data/records.db``, relative to the configuration's
    directory, or with four slashes an absolute path. Served is SQLite in a file. Refused are a
    database in memory and a password in the URL. PostgreSQL, MariaDB and MySQL are not served by
    this version."""

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

    @field_validator("password")
    @classmethod
    def _has_a_use(cls, value: SecretRef | None, info: ValidationInfo) -> SecretRef | None:
        from nexus_sql._engines import takes_password

        # Without a URL there is nothing to judge by, and that is reported already.
        url = info.data.get("url")
        if value is not None and isinstance(url, str) and not takes_password(url):
            raise ValueError("has no use: this engine knows no password, only the file's owner")
        return value
