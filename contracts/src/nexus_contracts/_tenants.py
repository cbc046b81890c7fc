"""All tenants of the suite, for the harness of a backend that has to know them beforehand."""

from __future__ import annotations

from typing import Final

from nexus_contracts import _bench, _collisions, _survey

_ALL: Final = (*_bench.SCOPES, *_survey.SCOPES, *_collisions.SCOPES)
TENANTS: Final = tuple(sorted({scope.tenant_id for scope in _ALL}))
"""Whoever makes logins or places for each tenant makes them for these. One that does so when a
tenant first comes is met by hundreds more; see ``Isolation``."""
