"""Routes: for each scope and role one store, the most specific that is named, or none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias

import attrs

from nexus_core._config.document import Place, path_of
from nexus_core._config.draft import Draft
from nexus_core._config.model import RouteTable
from nexus_core._model.errors import Problem
from nexus_core._model.scope import ENVIRONMENTS, RESERVED_TENANTS, Env, Scope
from nexus_core._plugins.faults import did_you_mean
from nexus_core._spi.capabilities import StoreRole

Selector: TypeAlias = tuple[str | None, Env | None]

_DATA: Final = (StoreRole.RAW, StoreRole.ATOMS, StoreRole.VECTORS)


@attrs.frozen(kw_only=True)
class ScopeRoutes:
    """Names of the stores that serve one scope; ``None`` where no route covers the role."""

    raw: str | None = None
    atoms: str | None = None
    vectors: str | None = None
    audit: str | None = None

    def store(self, role: StoreRole) -> str | None:
        """The store for a role."""
        found: str | None = getattr(self, role.value)
        return found


@attrs.frozen
class Router:
    """Routes by selector; tenant and env together win over tenant, then env, then neither."""

    environments: tuple[Env, ...]
    table: Mapping[Selector, Mapping[StoreRole, str]]

    def route(self, scope: Scope) -> ScopeRoutes:
        """The stores of a scope; none in an environment that is not served."""
        if scope.env not in self.environments:
            return ScopeRoutes()
        found = {role: self.find(scope.tenant_id, scope.env, role) for role in StoreRole}
        return ScopeRoutes(**{role.value: name for role, name in found.items()})

    def find(self, tenant: str | None, env: Env, role: StoreRole) -> str | None:
        """The store for one role; ``tenant`` is ``None`` for one that no route names."""
        for selector in ((tenant, env), (tenant, None), (None, env), (None, None)):
            name = self.table.get(selector, {}).get(role)
            if name is not None:
                return name
        return None


@attrs.frozen
class RouteUse:
    """A store that a route gives a role, and where it does."""

    store: str
    role: StoreRole
    place: Place


def build_router(draft: Draft) -> tuple[Router, list[RouteUse], list[Problem]]:
    """Put the routes in order; return them, what they use, and all that is wrong with them."""
    served = draft.environments or ENVIRONMENTS
    environments = tuple(env for env in ENVIRONMENTS if env in served)
    table: dict[Selector, dict[StoreRole, str]] = {}
    first: dict[tuple[Selector, StoreRole], int] = {}
    uses: list[RouteUse] = []
    problems: list[Problem] = []
    for position, route in draft.routes.items():
        if route is None:
            continue
        problems += _selector_problems(position, route, environments)
        named = _named(route)
        if not named:
            problems.append(
                _problem(position, None, "names no store", "name one for raw, atoms, … or drop it")
            )
        selector: Selector = (route.tenant, route.env)
        for role, store in named.items():
            place = ("routes", position, role.value)
            if store not in draft.stores:
                fix = did_you_mean(store, draft.stores) or f"stores: {', '.join(draft.stores)}"
                problems.append(_problem(position, role.value, "names no store of this file", fix))
            if (selector, role) in first:
                problems.append(
                    _problem(
                        position,
                        role.value,
                        f"is given for the same scopes by routes.{first[selector, role]} already",
                        "keep one of the two, or make one more specific",
                    )
                )
                continue
            first[selector, role] = position
            table.setdefault(selector, {})[role] = store
            uses.append(RouteUse(store, role, place))
    frozen = {key: MappingProxyType(value) for key, value in table.items()}
    router = Router(environments, MappingProxyType(frozen))
    # An unread route may be the one that has the sink; what is wrong with it is said already.
    if None not in draft.routes.values():
        problems += _unaudited(router, first)
    return router, uses, problems


def _named(route: RouteTable) -> dict[StoreRole, str]:
    found = {role: getattr(route, role.value) for role in StoreRole}
    return {role: store for role, store in found.items() if store is not None}


def _selector_problems(
    position: int, route: RouteTable, environments: Sequence[Env]
) -> Iterator[Problem]:
    if route.tenant in RESERVED_TENANTS:
        yield _problem(
            position, "tenant", "is reserved for the framework", "name a tenant of yours"
        )
    if route.env is not None and route.env not in environments:
        yield _problem(
            position,
            "env",
            "is not one of the environments that are served",
            f"use one of {', '.join(environments)}, or add it to `environments`",
        )


def _unaudited(
    router: Router, first: Mapping[tuple[Selector, StoreRole], int]
) -> Iterator[Problem]:
    """Routes that let data into scopes without an audit sink; every such call would be refused."""
    data = {selector: position for (selector, role), position in first.items() if role in _DATA}
    for (tenant, env), position in data.items():
        for each in router.environments if env is None else (env,):
            if router.find(tenant, each, StoreRole.AUDIT) is None:
                yield _problem(
                    position,
                    None,
                    f"lets data into {each} where no route names an audit sink",
                    'add audit = "STORE" here, or in a route that covers the same scopes',
                )
                break


def _problem(position: int, key: str | None, what: str, fix: str) -> Problem:
    place: Place = ("routes", position) if key is None else ("routes", position, key)
    return Problem(path=path_of(place), what=what, fix=fix, code="config.route")
