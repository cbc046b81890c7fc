"""Signed notes: https://c2sp.org/signed-note, read strictly, with Ed25519 signatures.

One note has one spelling: what would be a second one (base64 with loose bits, a missing last
newline, a control character) is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final, NoReturn, final

import attrs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from nexus_core._model.errors import AuditVerificationError, InvalidArgumentError

MAX_NOTE_BYTES: Final = 1 << 20
SEED_BYTES: Final = 32

_ED25519: Final = b"\x01"
_KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64


def strict_base64(text: str) -> bytes:
    """Decode standard base64 that is the one encoding of its bytes; raises ``ValueError``."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode("ascii") != text:
        raise binascii.Error("not the canonical encoding")
    return data


def to_base64(data: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(data).decode("ascii")


@attrs.frozen
class Signature:
    """One signature line, not yet checked."""

    name: str
    key_id: bytes
    value: bytes = attrs.field(repr=False)


@attrs.frozen
class Note:
    """A note taken apart: the signed text with its last newline, and the signature lines."""

    text: str
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """Take a note apart, checking its form and no signature.

        Raises ``AuditVerificationError`` for anything that is not exactly a signed note.
        """
        if len(data) > MAX_NOTE_BYTES:
            _refuse("it is too long")
        try:
            whole = data.decode("utf-8")
        except UnicodeDecodeError:
            _refuse("it is not UTF-8")
        if any(char < " " and char != "\n" for char in whole):
            _refuse("it holds a control character")
        # "\n\n" ends the text and is the blank line; the last one in the note separates.
        body, separator, tail = whole.rpartition("\n\n")
        if not separator or not tail.endswith("\n") or not body:
            _refuse("it has no signature lines")
        return cls(body + "\n", tuple(_signature(line) for line in tail[:-1].split("\n")))


@final
class Verifier:
    """A named Ed25519 public key; ``str`` gives the verifier key, ``parse`` reads it back."""

    __slots__ = ("_key", "_raw", "key_id", "name")

    def __init__(self, name: str, public_key: bytes) -> None:
        if not _is_key_name(name) or len(public_key) != _KEY_BYTES:
            raise InvalidArgumentError("a verifier needs a key name and a 32-byte public key")
        self.name = name
        self.key_id = _key_id(name, public_key)
        self._raw = public_key
        self._key = Ed25519PublicKey.from_public_bytes(public_key)

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """Read ``<name>+<key id in hex>+<base64 of 0x01 and the key>``.

        Raises ``InvalidArgumentError`` for any other form, and for a key id that is not the key's.
        """
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            data = strict_base64(encoded)
        except ValueError:
            data = b""
        if data[:1] == _ED25519 and len(data) == 1 + _KEY_BYTES and _is_key_name(name):
            verifier = cls(name, data[1:])
            if verifier.key_id.hex() == key_id:
                return verifier
        raise InvalidArgumentError(
            "the verifier key is malformed",
            hint="expected <name>+<8 hex digits>+<base64>, an Ed25519 key, as `Signer` prints it",
        )

    def verify(self, data: bytes) -> Note:
        """Return the note if it carries this key's signature and no false one under its name.

        Signatures of other keys are kept and not judged. Raises ``AuditVerificationError``.
        """
        note = Note.parse(data)
        own = [s for s in note.signatures if s.name == self.name and s.key_id == self.key_id]
        if not own:
            _refuse("this log's key has not signed it")
        text = note.text.encode("utf-8")
        for signature in own:
            try:
                self._key.verify(signature.value, text)
            except InvalidSignature:
                _refuse("its signature is false")
        return note

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{to_base64(_ED25519 + self._raw)}"

    def __repr__(self) -> str:
        return f"Verifier({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Verifier) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


@final
class NoteKey:
    """A named Ed25519 private key. Signing is deterministic; no text shows the seed."""

    __slots__ = ("_key", "verifier")

    def __init__(self, name: str, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise InvalidArgumentError("a signing seed is 32 bytes")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = Verifier(name, self._key.public_key().public_bytes_raw())

    def sign(self, text: str) -> bytes:
        """The note: the text, which must end in a newline, and this key's signature line."""
        value = self.verifier.key_id + self._key.sign(text.encode("utf-8"))
        return f"{text}\n— {self.verifier.name} {to_base64(value)}\n".encode()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signing key cannot be pickled")

    def __repr__(self) -> str:
        return f"NoteKey({self.verifier.name!r})"


def _key_id(name: str, public_key: bytes) -> bytes:
    return hashlib.sha256(name.encode("utf-8") + b"\n" + _ED25519 + public_key).digest()[:4]


def _is_key_name(name: str) -> bool:
    return bool(name) and not any(c.isspace() or c == "+" or c < " " for c in name)


def _signature(line: str) -> Signature:
    mark, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    try:
        data = strict_base64(encoded)
    except ValueError:
        data = b""
    if mark != "—" or not _is_key_name(name) or len(data) <= 4:
        _refuse("a signature line is malformed")
    return Signature(name, data[:4], data[4:])


def _refuse(why: str) -> NoReturn:
    raise AuditVerificationError(f"the checkpoint is not acceptable: {why}")
