"""What only a write can tell of a store's endpoint: asked of its backend, and kept for ``open``."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from nexus_core._config import Config, StoreConfig
from nexus_core._doctor.report import Check
from nexus_core._handles.deployment import wall_clock
from nexus_core._handles.proofs import prove, read_proofs
from nexus_core._model.errors import ConfigurationError, NexusError, Problem
from nexus_core._spi.capabilities import StoreRole
from nexus_core._spi.spec import Runtime


def prove_stores(config: Config, *, missing_only: bool = False) -> list[Check]:
    """Prove every store of which something has to be proved; one check for each, in its role.

    With ``missing_only``, those whose proof is current are passed over.
    """
    return [
        _check(config, store, role)
        for store, role in _provable(config)
        if not missing_only or not read_proofs(config.state, store, role)
    ]


def _provable(config: Config) -> Iterator[tuple[StoreConfig, StoreRole]]:
    for store in config.stores.values():
        for role, spec in store.specs.items():
            if spec.prove is not None:
                yield store, role


def _check(config: Config, store: StoreConfig, role: StoreRole) -> Check:
    assert config.state is not None
    spec = store.specs[role]
    runtime = Runtime(store=store.name, base=config.base, now=wall_clock)
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    try:
        found = prove(config.state, store, role, runtime)
    except ConfigurationError as error:
        problems = error.problems
    except NexusError as error:
        problems = (Problem(path="", what=error.message, fix=error.hint or "see the docs"),)
    except OSError as error:
        what = f"what was proved cannot be kept in {config.state}: {error.strerror}"
        fix = "name a folder in `state` that the operator's commands may write to"
        problems = (Problem(path="", what=what, fix=fix, code="store.proofs"),)
    except Exception as error:  # noqa: BLE001  # a plugin may raise anything
        what = f"prove of the backend {spec.name!r} failed with {type(error).__name__}"
        problems = (
            Problem(
                path="", what=what, fix="report it to the backend's author", code="store.failed"
            ),
        )
    else:
        refused = sorted(name for name in spec.proves if found.get(name) is not True)
        if refused:
            notes = (f"this endpoint does not honour, and so refused: {', '.join(refused)}",)
    return Check(
        area=f"stores.{store.name}",
        law=f"what it honours as {role.value} store is proved and kept",
        problems=tuple(
            attrs.evolve(each, path=".".join(filter(None, ("stores", store.name, each.path))))
            for each in problems
        ),
        notes=notes,
    )
