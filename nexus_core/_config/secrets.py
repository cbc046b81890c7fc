"""Secrets are given by reference and printed by nobody.

A ``SecretRef`` in a configuration says where a secret is (an environment variable or a file); its
``resolve`` gives a ``Secret``, whose text no ``str``, ``repr``, format or pickle shows.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NoReturn, final

from pydantic import BaseModel, ConfigDict, model_validator


class SecretUnavailableError(Exception):
    """A reference that leads nowhere; the text names the reference, never a value."""


@final
class Secret:
    """A secret in memory; only ``reveal`` shows it."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The secret itself. Hand it to a client library; do not keep, print or log it."""
        return self._value

    def text(self) -> str:
        """The secret as text (UTF-8)."""
        return self._value.decode("utf-8")

    def __repr__(self) -> str:
        return "Secret(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")


class SecretRef(BaseModel):
    """Where a secret is: ``{ env = "VARIABLE" }`` or ``{ file = "path" }``, exactly one of them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    env: str | None = None
    file: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _by_reference(cls, value: Any) -> Any:
        if isinstance(value, str | bytes):
            raise ValueError(
                'secrets are given by reference: { env = "NAME" } or { file = "PATH" }'
            )
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> SecretRef:
        if (self.env is None) == (self.file is None) or "" in (self.env, self.file):
            raise ValueError("name exactly one of env and file")
        return self

    def __str__(self) -> str:
        return f"environment variable {self.env}" if self.env is not None else f"file {self.file}"

    def resolve(self, base: Path) -> Secret:
        """Read the secret now; trailing line ends are dropped.

        Raises ``SecretUnavailableError`` when it is absent, empty or unreadable.
        """
        if self.env is not None:
            value = os.environ.get(self.env, "").encode("utf-8", "surrogateescape")
            absent = f"environment variable {self.env} is not set, or empty"
        else:
            assert self.file is not None
            try:
                value = (base / Path(self.file).expanduser()).read_bytes()
            except OSError as error:
                raise SecretUnavailableError(
                    f"file {self.file} cannot be read: {error.strerror}"
                ) from None
            absent = f"file {self.file} is empty"
        value = value.rstrip(b"\r\n")
        if not value:
            raise SecretUnavailableError(absent)
        return Secret(value)
