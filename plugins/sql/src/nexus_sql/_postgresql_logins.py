"""One database login for each scope: its name, its password, and who has which.

A scope's name may be longer than a role's, so a login is called by a hash of it, and a table says
which login is whose. Passwords are derived from one secret, so that none needs to be kept.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence
from typing import Final

from nexus_core.spi import Scope, hashed_name

_PREFIX: Final = "nexus_"  # with 52 characters of a hash: 58 of the 63 that a role's name has
_ENVIRONMENTS: Final = ("dev", "staging", "prod")
_RESERVED: Final = ("t_system", "t_probe_a", "t_probe_b")


def login_of(database: str, schema: str, scope: Scope) -> str:
    """The login of a scope in one store. Roles belong to a whole server, so the place counts."""
    return hashed_name(_PREFIX, database, schema, scope.tenant_id, scope.env)


def password_of(secret: bytes, login: str) -> str:
    """The login's password. Nobody who knows one can find another."""
    return hmac.digest(secret, b"nexus/sql/login/v1\0" + login.encode(), "sha256").hex()


def scopes_of(tenants: Sequence[str]) -> Iterator[Scope]:
    """Every scope that gets a login: of the named tenants and of the framework's own."""
    for tenant in dict.fromkeys((*_RESERVED, *tenants)):
        for env in _ENVIRONMENTS:
            yield Scope(tenant, env)
