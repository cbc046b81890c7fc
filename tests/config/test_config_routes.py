"""Routes: the most specific that names a role wins, for each role on its own."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexus_core._config import ScopeRoutes
from nexus_core._model.scope import Scope
from nexus_core._spi.capabilities import StoreRole

TENANTS = ("t1", "t10", "t-1", "t_1")
ENVS = ("dev", "staging", "prod")
SPELLINGS = {"dev": "development", "staging": "stage", "prod": "production"}


def document(routes: list[dict[str, str]]) -> dict[str, Any]:
    """A configuration with three stores of two roles each, and these routes."""
    stores = {name: {"backend": "sql", "url": f"sqlite:{name}"} for name in ("a", "b", "c")}
    return {
        "version": 1,
        "profile": "production",
        "keys": {"root": {"file": "secrets/root.key"}},
        "stores": stores,
        "routes": routes,
    }


def oracle(routes: list[dict[str, str]], tenant: str, env: str, role: str) -> str | None:
    """The store by scoring every route that covers the scope; the highest score wins."""
    best: tuple[int, str] | None = None
    for route in routes:
        names = {SPELLINGS[e]: e for e in ENVS} | {e: e for e in ENVS}
        if route.get("tenant", tenant) != tenant or names[route.get("env", env)] != env:
            continue
        score = 2 * ("tenant" in route) + ("env" in route)
        if role in route and (best is None or score > best[0]):
            best = (score, route[role])
    return None if best is None else best[1]


SELECTORS = st.fixed_dictionaries(
    {}, optional={"tenant": st.sampled_from(TENANTS), "env": st.sampled_from(ENVS)}
)
ROUTES = st.lists(
    st.tuples(SELECTORS, st.sampled_from("abc"), st.sampled_from(("a", "b", "c", None))),
    max_size=6,
    unique_by=lambda each: tuple(sorted(each[0].items())),
)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(found=ROUTES, swap=st.booleans())
def test_the_most_specific_route_wins(site: Any, found: list[Any], swap: bool) -> None:
    """For every scope and role the answer is that of scoring all routes, in any order of them."""
    routes = [{"audit": "a"}]
    for selector, audit, atoms in found:
        route = {**selector, "audit": audit, **({"atoms": atoms} if atoms else {})}
        if not selector:
            routes[0] = route
            continue
        if swap and "env" in route:
            route["env"] = SPELLINGS[route["env"]]
        routes.append(route)
    config = site.good(document(routes if swap else routes[::-1]))
    for tenant, env in itertools.product((*TENANTS, "other"), ENVS):
        given_routes = config.route(Scope(tenant, env))
        for role in StoreRole:
            assert given_routes.store(role) == oracle(routes, tenant, env, role.value)


def test_a_scope_without_a_route_has_no_store(site: Any) -> None:
    """Nothing stands in for a route that is not there."""
    config = site.good(document([{"tenant": "t1", "env": "prod", "audit": "a", "atoms": "a"}]))
    for scope in (Scope("t1", "dev"), Scope("t10", "prod"), Scope("t_system", "prod")):
        assert config.route(scope) == ScopeRoutes()


def test_an_environment_that_is_not_served_has_no_store(site: Any) -> None:
    """Narrowing the environments takes the default route away from the others."""
    config = site.good({**document([{"audit": "a"}]), "environments": ["production"]})
    assert config.environments == ("prod",)
    assert config.route(Scope("t1", "prod")) == ScopeRoutes(audit="a")
    assert config.route(Scope("t1", "dev")) == ScopeRoutes()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {}),
        ({"tenant": "t1"}, {"tenant": "t1"}),
        ({"env": "prod"}, {"env": "production"}),
        ({"tenant": "t1", "env": "dev"}, {"env": "development", "tenant": "t1"}),
    ],
)
def test_two_routes_for_the_same_scopes_and_role_are_refused(
    site: Any, first: dict[str, str], second: dict[str, str]
) -> None:
    """Equal selectors, however spelt, may not both name a role; different roles they may."""
    base = [{"audit": "c"}] if first else []
    at = len(base)
    problems = site.bad(document([*base, {**first, "audit": "a"}, {**second, "audit": "b"}]))
    assert list(problems) == [f"routes.{at + 1}.audit"]
    assert f"routes.{at} already" in problems[f"routes.{at + 1}.audit"].what
    config = site.good(document([*base, {**first, "audit": "a"}, {**second, "atoms": "b"}]))
    assert config.route(Scope("t1", "prod")).audit in {"a", "c"}


def test_a_route_without_a_store_is_refused(site: Any) -> None:
    """A route that routes nothing is a mistake."""
    problems = site.bad(document([{"audit": "a"}, {"tenant": "t1"}]))
    assert list(problems) == ["routes.1"]
