"""Raw keys: what a caller may name an object, and the part of the key space that is ours."""

from __future__ import annotations

import unicodedata
from typing import Final

from nexus_core._model.errors import InvalidKeyError

MAX_KEY_BYTES: Final = 1024
RESERVED_ROOT: Final = "_nexus"


def check_key(value: object, *, what: str = "the key") -> str:
    """Return the key if it is one; raise ``InvalidKeyError`` otherwise, naming the rule broken.

    A key is 1 to 1024 bytes of UTF-8 in NFC, made of ``/``-separated segments. No segment is
    empty, ``.`` or ``..``; there is no control character, surrogate or backslash.
    """
    if type(value) is not str:
        raise InvalidKeyError(f"{what} is not a str")
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError:
        raise InvalidKeyError(f"{what} holds a lone surrogate") from None
    if not 1 <= size <= MAX_KEY_BYTES:
        raise InvalidKeyError(f"{what} is not 1 to {MAX_KEY_BYTES} bytes of UTF-8")
    _check_characters(value, what)
    for segment in value.split("/"):
        if segment in ("", ".", ".."):
            raise InvalidKeyError(
                f"{what} has an empty, '.' or '..' segment",
                hint="separate plain segments with single slashes, none at either end",
            )
    return value


def check_prefix(value: object) -> str:
    """Return a list prefix: empty, or the beginning of some key.

    Raises ``InvalidKeyError`` for one that no key can begin with.
    """
    if type(value) is not str:
        raise InvalidKeyError("the prefix is not a str")
    # These are no keys themselves, and begin one if something may follow: `a/`, and `..` of `..a`.
    unfinished = value.rpartition("/")[2] in ("", ".", "..")
    check_key(value + "a" if unfinished else value, what="the prefix")
    return value


def check_user_key(value: object, *, what: str = "the key") -> str:
    """``check_key``, and outside the root that the framework keeps for itself."""
    key = check_key(value, what=what)
    if key == RESERVED_ROOT or key.startswith(RESERVED_ROOT + "/"):
        raise InvalidKeyError(
            f"{what} begins with the reserved segment {RESERVED_ROOT!r}",
            hint="choose another first segment",
        )
    return key


def _check_characters(value: str, what: str) -> None:
    if value.isascii():
        if not value.isprintable() or "\\" in value:
            raise InvalidKeyError(f"{what} holds a control character or a backslash")
        return
    if any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or char == "\\" for char in value):
        raise InvalidKeyError(f"{what} holds a control character or a backslash")
    if not unicodedata.is_normalized("NFC", value):
        raise InvalidKeyError(f"{what} is not in Unicode form NFC", hint="normalise it first")
