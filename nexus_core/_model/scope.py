"""Scope: the ``(tenant_id, env)`` pair that everything stored belongs to, and its grammar."""

from __future__ import annotations

import re
from typing import Any, Final, Literal, TypeAlias

import attrs

from nexus_core._model.errors import ContextInvalidError

Env: TypeAlias = Literal["dev", "staging", "prod"]

ENVIRONMENTS: Final[tuple[Env, ...]] = ("dev", "staging", "prod")
_ENV_ALIASES: Final[dict[str, Env]] = {
    "dev": "dev",
    "development": "dev",
    "staging": "staging",
    "stage": "staging",
    "prod": "prod",
    "production": "prod",
}

SYSTEM_TENANT: Final = "t_system"
PROBE_TENANTS: Final = ("t_probe_a", "t_probe_b")
RESERVED_TENANTS: Final = frozenset((SYSTEM_TENANT, *PROBE_TENANTS))

_TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def normalise_env(value: object) -> Env:
    """Give the canonical environment for one of its six accepted spellings.

    Raises ``ContextInvalidError`` for anything else; case is not folded.
    """
    if type(value) is str and (env := _ENV_ALIASES.get(value)) is not None:
        return env
    raise ContextInvalidError(
        "the environment is not one of dev, staging, prod",
        hint="development, stage and production are accepted too; case matters",
    )


def check_tenant_id(value: object) -> str:
    """Return the tenant id if it fully matches ``[a-z0-9][a-z0-9_-]{0,62}``.

    Raises ``ContextInvalidError`` otherwise; a subclass of ``str`` is refused as well, because it
    can lie about equality.
    """
    if type(value) is str and _TENANT.fullmatch(value) is not None:
        return value
    raise ContextInvalidError(
        "the tenant id does not match [a-z0-9][a-z0-9_-]{0,62}",
        hint="use 1 to 63 of a-z, 0-9, '_' and '-', starting with a letter or digit",
    )


@attrs.frozen(order=True)
class Scope:
    """One tenant in one environment. Immutable, hashable, validated when made."""

    tenant_id: str = attrs.field(converter=check_tenant_id)
    env: Env = attrs.field(converter=normalise_env)

    @property
    def reserved(self) -> bool:
        """Whether the tenant is one of the framework's own (system and probes)."""
        return self.tenant_id in RESERVED_TENANTS

    def __str__(self) -> str:
        return f"{self.tenant_id}/{self.env}"


def check_scope(value: Any) -> Scope:
    """Return the scope if it is exactly a ``Scope``; refuse look-alikes before any I/O."""
    if type(value) is Scope:
        return value
    raise ContextInvalidError("a Scope is required", hint="build one with Scope(tenant_id, env)")
