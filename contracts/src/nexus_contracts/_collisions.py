"""Names that hashes of 32 bits take for one another, in the grammar of tenants.

Each of them has the hash that ``CENTRE`` has, so that one scope meets all the others. All are of
one length: whatever stands behind them (``/dev``) makes no difference to any of these hashes, and
whatever stands before them (``v1/dev/``) none to those that are sums or polynomials. For the two
others there is a name that collides by itself, and one that does behind ``v1/dev/``, as the core's
codec writes a scope.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from nexus_core import Scope

CENTRE: Final = "plumless"
CODEC: Final = "v1/dev/"
COLLIDING: Final[Mapping[str, str]] = {
    "CRC-32": "buckeroo",
    "Adler-32": "qjvmless",
    # A hash that multiplies by 31 (Java's) or by 33 (djb2): one letter more before, as many less
    # behind.
    "times 31": "pn7mless",
    "times 33": "plumlg1s",
    "FNV-1a": "pxngcsgo",
    "Murmur3": "agaricol",
    "FNV-1a behind v1/dev/": "ugffrgvj",
    "Murmur3 behind v1/dev/": "sibrulbs",
}
"""By the hash under which it is one with ``CENTRE``."""
NAMES: Final = (CENTRE, *COLLIDING.values())
SCOPES: Final = tuple(Scope(name, "dev") for name in NAMES)
