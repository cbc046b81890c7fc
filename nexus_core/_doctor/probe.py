"""The part of the doctor that writes: twins in the two reserved probe tenants, then their erasure.

Routes are by tenant, and the probe tenants are nobody's, so a probe runs on a deployment of its own
that routes them to the stores under test. Stores of one role are tried in turn until every store
that serves an environment was.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from types import MappingProxyType

import attrs

from nexus_core._config import Config
from nexus_core._config.resolve import Router
from nexus_core._doctor.atoms import try_atoms
from nexus_core._doctor.audit import try_audit
from nexus_core._doctor.erasure import erase, try_erasure
from nexus_core._doctor.laws import Laws, Twin, Twins
from nexus_core._doctor.raw import try_raw
from nexus_core._doctor.report import Check
from nexus_core._doctor.vectors import probe_indexes, try_vectors
from nexus_core._handles.deployment import Deployment, OpenStore, wall_clock
from nexus_core._handles.gate import Gate
from nexus_core._model.context import RequestContext
from nexus_core._model.errors import Problem
from nexus_core._model.scope import PROBE_TENANTS, Env, Scope
from nexus_core._nexus import Request
from nexus_core._security.keyring import KeyRing
from nexus_core._spi.capabilities import StoreRole

Stores = Mapping[tuple[str, StoreRole], OpenStore]

# The trail goes last: until then every step is recorded in it.
_ORDER = (StoreRole.RAW, StoreRole.ATOMS, StoreRole.VECTORS, StoreRole.AUDIT)


def probe(
    config: Config,
    stores: Stores,
    envs: Sequence[Env],
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Check]:
    """Try every store that serves one of the environments; leave nothing behind.

    Writes in the probe tenants only. Run one at a time: another probe of the same stores would
    erase what this one has just written, and this one would report it as lost.
    """
    checks: list[Check] = []
    for env in envs:
        done: set[tuple[str, StoreRole]] = set()
        for chosen in combinations(config, stores, env):
            fresh = {role for role, store in chosen.items() if (store.name, role) not in done}
            done |= {(store.name, role) for role, store in chosen.items()}
            progress(f"{env}: {', '.join(sorted({store.name for store in chosen.values()}))}")
            for role, laws in _probe(config, env, chosen).items():
                # A store that was tried before in other company is reported again if it fails.
                checks += [check for check in laws if role in fresh or not check.ok]
    return checks


def combinations(config: Config, stores: Stores, env: Env) -> Iterator[dict[StoreRole, OpenStore]]:
    """Choices of one store for each role, until every store that serves ``env`` was chosen."""
    serving: dict[StoreRole, list[OpenStore]] = {}
    for (_, route_env), table in config.router.table.items():
        if route_env not in (None, env):
            continue
        for role, name in table.items():
            store = stores[name, role]
            if store not in serving.setdefault(role, []):
                serving[role].append(store)
    for turn in range(max((len(each) for each in serving.values()), default=0)):
        yield {role: serving[role][turn % len(serving[role])] for role in _ORDER if role in serving}


def _probe(
    config: Config, env: Env, chosen: Mapping[StoreRole, OpenStore]
) -> dict[StoreRole, list[Check]]:
    laws = {role: Laws(env, store) for role, store in chosen.items()}
    scopes = tuple(Scope(tenant, env) for tenant in PROBE_TENANTS)
    try:
        with ExitStack() as stack:
            twins = _twins(config, env, chosen, stack)
            _try_all(twins, chosen, laws)
        try_erasure(chosen, laws, *scopes)
    finally:
        checks = {role: each.checks for role, each in laws.items()}
        _erase(env, chosen, scopes, checks)
    return checks


def _try_all(
    twins: Twins, chosen: Mapping[StoreRole, OpenStore], laws: Mapping[StoreRole, Laws]
) -> None:
    if StoreRole.RAW in chosen:
        try_raw(twins, laws[StoreRole.RAW])
    if StoreRole.ATOMS in chosen:
        has_raw = StoreRole.RAW in chosen and not laws[StoreRole.RAW].broken
        try_atoms(twins, laws[StoreRole.ATOMS], has_raw=has_raw)
    if StoreRole.VECTORS in chosen:
        try_vectors(twins, laws[StoreRole.VECTORS], chosen[StoreRole.VECTORS])
    try_audit(twins, laws[StoreRole.AUDIT])


def _twins(
    config: Config, env: Env, chosen: Mapping[StoreRole, OpenStore], stack: ExitStack
) -> Twins:
    """Both tenants over a deployment that has the stores under test and nothing else.

    Policies are left out: what they forbid to a system actor says nothing of a store.
    """
    nonce = secrets.token_hex(6)
    table = MappingProxyType({role: store.name for role, store in chosen.items()})
    vectors = chosen.get(StoreRole.VECTORS)
    own = attrs.evolve(
        config,
        router=Router((env,), {(tenant, env): table for tenant in PROBE_TENANTS}),
        indexes=() if vectors is None else probe_indexes(nonce, vectors),
        extensions=(),
    )
    # Never closed: the stores are the examination's.
    deployment = Deployment(
        own,
        KeyRing(config.root_key.reveal()),
        {(store.name, role): store for role, store in chosen.items()},
        atomizers={},
        embedders={},
        now=wall_clock,
    )
    twins: list[Twin] = []
    for tenant in PROBE_TENANTS:
        context = RequestContext.build(
            tenant_id=tenant, env=env, actor_id="nexus-doctor", actor_kind="system", role="owner"
        )
        gate = Gate(deployment, context, "doctor")
        stack.callback(gate.end)
        twins.append(Twin(gate=gate, n=Request(gate)))
    a, b = twins
    return Twins(a=a, b=b, nonce=nonce, kind=config.kinds[0])


def _erase(
    env: Env,
    chosen: Mapping[StoreRole, OpenStore],
    scopes: tuple[Scope, ...],
    checks: Mapping[StoreRole, list[Check]],
) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        erase(chosen, scopes)
    except Exception as error:  # noqa: BLE001  # said, and the other environments go on
        problems = (
            Problem(
                path=f"environments.{env}",
                what=f"the probe scopes could not be erased: {type(error).__name__}",
                fix=f"run `nexus doctor --env {env}` again; it ends by erasing them",
                code="probe.left",
            ),
        )
    law = f"the probe tenants {' and '.join(scope.tenant_id for scope in scopes)} are erased again"
    checks[StoreRole.AUDIT].append(Check(area=f"{env}", law=law, problems=problems))
