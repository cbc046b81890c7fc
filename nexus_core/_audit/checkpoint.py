"""Checkpoints: https://c2sp.org/tlog-checkpoint as signed notes, one extension line each.

::

    nexus.audit/v1/<env>/<tenant>
    <size>
    <base64 of the root>
    config sha256 <base64 of the hash of the scope's view of the configuration>

    — nexus.audit/v1/<env>/<tenant> <base64 of key id and signature>
"""

from __future__ import annotations

import re
from typing import Final, NoReturn, final

import attrs

from nexus_core._audit.keys import Keys
from nexus_core._audit.merkle import HASH_BYTES
from nexus_core._audit.note import Note, NoteKey, Verifier, strict_base64, to_base64
from nexus_core._model.errors import AuditVerificationError, InvalidArgumentError
from nexus_core._model.scope import Scope

MAX_SIZE: Final = (1 << 53) - 1

_CONFIG: Final = "config sha256 "
_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")


def origin_of(scope: Scope) -> str:
    """The name of a scope's log: its checkpoints' origin line and its key's name."""
    return f"nexus.audit/v1/{scope.env}/{scope.tenant_id}"


@attrs.frozen(kw_only=True)
class Checkpoint:
    """A signed statement that the log ``origin`` has ``size`` entries under ``root``.

    ``config_hash`` is the SHA-256 of what of the configuration concerned the scope when it was
    signed. ``note`` is the checkpoint as it was read, cosignatures and all.
    """

    origin: str
    size: int
    root: bytes = attrs.field(repr=bytes.hex)
    config_hash: bytes = attrs.field(repr=bytes.hex)
    note: bytes = attrs.field(repr=False)

    @classmethod
    def open(cls, data: bytes, verifier: Verifier, *, bare: bool = False) -> Checkpoint:
        """Read a checkpoint of the log that ``verifier`` belongs to, and check its signature.

        Cosignatures of other keys are let through, unless ``bare``: a sink holds exactly what was
        written, which has one signature. Raises ``AuditVerificationError`` for anything else.
        """
        note = verifier.verify(data)
        if bare and len(note.signatures) != 1:
            _refuse("it has been given further signatures")
        origin, size, root, config = _lines(note)
        if origin != verifier.name:
            _refuse("it belongs to another log")
        return cls(
            origin=origin,
            size=size,
            root=root,
            config_hash=config,
            note=data,
        )


@final
class Signer:
    """Signs one scope's checkpoints. Deterministic: the same arguments give the same bytes."""

    __slots__ = ("_key",)

    def __init__(self, scope: Scope, seed: bytes) -> None:
        self._key = NoteKey(origin_of(scope), seed)

    @classmethod
    def of(cls, keys: Keys, scope: Scope) -> Signer:
        """The signer of a scope, its seed derived by the key ring."""
        return cls(scope, keys.signing_seed(scope))

    @property
    def verifier(self) -> Verifier:
        """The public half, which may be given to anyone; ``str`` of it is the verifier key."""
        return self._key.verifier

    def checkpoint(self, size: int, root: bytes, config_hash: bytes) -> bytes:
        """The signed note. Never sign what contradicts a checkpoint that was stored."""
        if not 0 <= size <= MAX_SIZE or not len(root) == len(config_hash) == HASH_BYTES:
            raise InvalidArgumentError("a checkpoint needs a size and two 32-byte hashes")
        return self._key.sign(
            f"{self.verifier.name}\n{size}\n{to_base64(root)}\n{_CONFIG}{to_base64(config_hash)}\n"
        )

    def __repr__(self) -> str:
        return f"Signer({self.verifier.name!r})"


def _lines(note: Note) -> tuple[str, int, bytes, bytes]:
    lines = note.text[:-1].split("\n")
    if len(lines) != 4 or _SIZE.fullmatch(lines[1]) is None or not lines[3].startswith(_CONFIG):
        _refuse("its lines are not those of a checkpoint")
    try:
        root, config = strict_base64(lines[2]), strict_base64(lines[3].removeprefix(_CONFIG))
    except ValueError:
        _refuse("a hash in it is not base64")
    size = int(lines[1])
    if size > MAX_SIZE or not len(root) == len(config) == HASH_BYTES:
        _refuse("a number or hash in it is out of range")
    return lines[0], size, root, config


def _refuse(why: str) -> NoReturn:
    raise AuditVerificationError(f"the checkpoint is not acceptable: {why}")
