"""Secrets are given by reference and printed by nobody.

A ``SecretRef`` in a configuration says where a secret is (an environment variable or a file); its
``resolve`` gives a ``Secret``, whose text no ``str``, ``repr``, format or pickle shows.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn, final

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from nexus_core._model.errors import SecretUnavailableError

MAX_SECRET_BYTES: Final = 65_536


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
        """The secret as text; raises ``ValueError``, without the secret, if it is not UTF-8."""
        try:
            return self._value.decode("utf-8")
        except UnicodeDecodeError:
            pass  # that error carries the bytes, so the one below must not be chained to it
        raise ValueError("the secret is not UTF-8 text")

    def __repr__(self) -> str:
        return "Secret(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")


class SecretRef(BaseModel):
    """Where a secret is: ``{ env = "VARIABLE" }`` or ``{ file = "path" }``, exactly one of them."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")
    """Name of the environment variable that holds the secret."""

    file: str | None = Field(default=None, min_length=1)
    """Path of the file that holds the secret, relative to the configuration's folder."""

    @model_validator(mode="before")
    @classmethod
    def _by_reference(cls, value: Any) -> Any:
        if isinstance(value, str | bytes):
            raise PydanticCustomError(
                "nexus_inline_secret",
                'secrets are given by reference: { env = "NAME" } or { file = "PATH" }',
            )
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> SecretRef:
        if (self.env is None) == (self.file is None):
            raise PydanticCustomError("nexus_reference", "name exactly one of env and file")
        return self

    def __str__(self) -> str:
        return f"environment variable {self.env}" if self.env is not None else f"file {self.file}"

    def resolve(self, base: Path, environ: Mapping[str, str] = os.environ) -> Secret:
        """Read the secret now; trailing line ends are dropped.

        Raises ``SecretUnavailableError`` when it is absent, empty, unreadable, longer than 64 KiB
        or not in a regular file.
        """
        if self.env is not None:
            value, reason = environ.get(self.env, "").encode("utf-8", "surrogateescape"), ""
            absent = "the environment variable is not set, or empty"
        else:
            assert self.file is not None
            value, reason = _read(base, self.file)
            absent = "the file is empty"
        value = value.rstrip(b"\r\n")
        if not value or reason:
            raise _unavailable(self, reason or absent)
        return Secret(value)


def _read(base: Path, file: str) -> tuple[bytes, str]:
    try:
        path = base / Path(file).expanduser()
        # A FIFO would block for ever, a device might never end.
        if not stat.S_ISREG(path.stat().st_mode):
            return b"", "it is not a regular file"
        with path.open("rb") as stream:
            value = stream.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        return b"", f"the file cannot be read: {error.strerror}"
    except (ValueError, RuntimeError):  # a NUL in the path; a home that nobody has
        return b"", "the file's path leads nowhere"
    if len(value) > MAX_SECRET_BYTES:
        return b"", f"the file is larger than {MAX_SECRET_BYTES} bytes"
    return value, ""


def _unavailable(reference: SecretRef, reason: str) -> SecretUnavailableError:
    return SecretUnavailableError(f"{reference}: {reason}", reason=reason)
