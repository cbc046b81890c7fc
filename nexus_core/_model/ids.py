"""Identifiers: time-ordered random ones for requests and events, derived ones for content.

A derived id is a hash over length-framed parts that begin with the scope, so equal input in one
scope gives an equal id and no id means anything in another scope.
"""

from __future__ import annotations

import base64
import re
import secrets
import time

from nexus_core._model.canonical import digest
from nexus_core._model.errors import InvalidArgumentError
from nexus_core._model.scope import Scope

_TOKEN = re.compile(r"[a-z][a-z0-9_]{0,31}")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_ID = re.compile(r"[\x21-\x7e]{1,128}")


def new_id(now: float | None = None) -> str:
    """Make a UUIDv7 (RFC 9562, section 5.7): time-ordered to the millisecond, then random."""
    milliseconds = int((time.time() if now is None else now) * 1000)
    value = (milliseconds & (2**48 - 1)) << 80 | 0x7 << 76 | secrets.randbits(12) << 64
    value |= 0b10 << 62 | secrets.randbits(62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def derived_id(prefix: str, scope: Scope, *parts: str) -> str:
    """Derive ``<prefix>_<32 base32 characters>`` (160 bits of SHA-256) from scope and parts."""
    value = digest(f"nexus/{prefix}/v1", scope.tenant_id, scope.env, *parts)[:20]
    return f"{prefix}_{base64.b32encode(value).decode().lower()}"


def asset_id(scope: Scope, *, subject: str | None, logical_key: str, sha256: str) -> str:
    """Id of a raw asset; two subjects never share one, so erasing one cannot reach the other."""
    who = ("none",) if subject is None else ("subject", subject)
    return derived_id("ast", scope, *who, logical_key, sha256)


def atom_id(
    scope: Scope,
    *,
    parent: str,
    operation: str,
    version: str,
    parameters: str,
    position: int,
) -> str:
    """Id of an atom: the same input under the same operation is the same atom."""
    return derived_id("atm", scope, parent, operation, version, parameters, str(position))


def edge_id(scope: Scope, *, parent: str, child: str, relation: str) -> str:
    """Id of a lineage edge."""
    return derived_id("edg", scope, parent, child, relation)


def check_token(value: object, what: str) -> str:
    """Return a short lower-case token (``kind``, operation, field); raise if it is not one."""
    if type(value) is str and _TOKEN.fullmatch(value) is not None:
        return value
    raise InvalidArgumentError(f"{what} does not match [a-z][a-z0-9_]{{0,31}}")


def check_name(value: object, what: str) -> str:
    """Return a name (``space``, index); raise unless it matches ``[a-z0-9][a-z0-9_-]{0,62}``."""
    if type(value) is str and _NAME.fullmatch(value) is not None:
        return value
    raise InvalidArgumentError(f"{what} does not match [a-z0-9][a-z0-9_-]{{0,62}}")


def check_id(value: object, what: str = "the id") -> str:
    """Return a record id: 1 to 128 printable ASCII characters without blanks."""
    if type(value) is str and _ID.fullmatch(value) is not None:
        return value
    raise InvalidArgumentError(f"{what} is not 1 to 128 printable ASCII characters without blanks")
