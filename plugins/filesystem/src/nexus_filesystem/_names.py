"""Physical names: the codec's path parts, and control names that the codec can never make.

A key's directories are all of its path parts but the last; its file is the last with ``~o``. In
the codec a ``~`` is followed by two hex digits or ``_``, so a name with ``~o``, ``~l``, ``~t`` or
``~g`` is nobody's key, and an object ``n`` (file ``n~o``) lives beside a subtree ``n/`` (directory
``n``).
"""

from __future__ import annotations

from typing import Final

from nexus_core.spi import encode_key_parts

MARKER: Final = "nexus-filesystem.json"
OBJECT: Final = "~o"
LOCK: Final = "~lock"
TEMPORARY: Final = "~tmp"
GONE: Final = "~gone"


def place(key: str) -> tuple[tuple[str, ...], str]:
    """The directories below the scope's own, and the file name, of the object under a key."""
    *directories, last = encode_key_parts(key)
    return tuple(directories), last + OBJECT
