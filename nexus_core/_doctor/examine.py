"""The part of the doctor that only reads: the steps of ``open``, each one taken as far as it goes.

A broken line in the configuration hides no store that can still be built, so one run names all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs

from nexus_core._config import Config, StoreConfig, inspect
from nexus_core._config.document import plain, read_file
from nexus_core._config.draft import read_draft
from nexus_core._config.overrides import apply_overrides
from nexus_core._config.resolve import build_router
from nexus_core._config.stores import Surroundings
from nexus_core._config.stores import build_stores as configured_stores
from nexus_core._doctor.report import Check
from nexus_core._handles.deployment import OpenStore
from nexus_core._handles.opening import build_embedders, build_stores, close_stores
from nexus_core._model.errors import Problem
from nexus_core._plugins import Registry
from nexus_core._spi.capabilities import StoreRole


@attrs.frozen(kw_only=True)
class Examination:
    """What reading alone found. ``config`` and ``stores`` are of use only when all is ``ok``."""

    config: Config | None
    stores: Mapping[tuple[str, StoreRole], OpenStore]
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether ``open`` would succeed."""
        return self.config is not None and all(check.ok for check in self.checks)


@contextmanager
def examine(
    path: Path, *, registry: Registry, environ: Mapping[str, str] = os.environ
) -> Iterator[Examination]:
    """Examine a configuration and every store that it names; write nothing, raise nothing.

    The stores are open inside the ``with`` block and closed after it.
    """
    config, problems = inspect(path, registry=registry, environ=environ)
    base = path.absolute().parent
    wanted: Mapping[str, StoreConfig]
    notes: tuple[str, ...] = ()
    if config is None:
        wanted = _sound_stores(path, registry, environ, problems)
    else:
        wanted, notes = config.stores, config.notes
    checks = [
        Check(
            area="configuration",
            law="says all that is needed and nothing that is not known",
            problems=tuple(problems),
            notes=notes,
        )
    ]
    opened: dict[tuple[str, StoreRole], OpenStore] = {}
    try:
        for name, store in wanted.items():
            if not store.specs:
                continue
            built, found = build_stores(
                {name: store}, base, None if config is None else config.state
            )
            opened |= built
            roles = ", ".join(role.value for role in store.specs)
            law = f"is there and ready ({store.backend}: {roles})"
            unproved = sorted({flag for one in built.values() for flag in one.unproved})
            checks.append(
                Check(
                    area=f"stores.{name}",
                    law=law,
                    problems=tuple(found),
                    notes=(f"not proved, and so refused: {', '.join(unproved)}",)
                    if unproved
                    else (),
                )
            )
        if config is not None:
            _, found = build_embedders(config)
            law = "can be built, and make what the indexes hold"
            checks.append(Check(area="embedders", law=law, problems=tuple(found)))
        yield Examination(config=config, stores=opened, checks=tuple(checks))
    finally:
        close_stores(list(opened.values()))


def _sound_stores(
    path: Path, registry: Registry, environ: Mapping[str, str], problems: list[Problem]
) -> dict[str, StoreConfig]:
    """The stores of a broken configuration that nothing was found wrong with."""
    document, unreadable = read_file(path)
    if unreadable:
        return {}
    apply_overrides(document, environ)
    if any(problem.code == "config.number" for problem in problems):
        return {}
    draft, _ = read_draft(plain(document))
    _, uses, _ = build_router(draft)
    stores, _ = configured_stores(
        draft, uses, Surroundings(registry, path.absolute().parent, environ)
    )
    said = [problem.path for problem in problems]
    return {
        name: store
        for name, store in stores.items()
        if set(store.settings) == set(store.specs)
        and not any(f"{place}.".startswith(f"stores.{name}.") for place in said)
    }
