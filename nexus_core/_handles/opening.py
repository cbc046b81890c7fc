"""From a validated configuration to an opened deployment: build, check, or say all that is wrong.

``open`` and ``nexus doctor`` share these steps, so that they can never disagree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from nexus_core._config import Config, StoreConfig
from nexus_core._handles.deployment import Clock, Deployment, OpenStore, wall_clock
from nexus_core._handles.proofs import read_proofs
from nexus_core._model.errors import ConfigurationError, NexusError, Problem
from nexus_core._security.keyring import KeyRing
from nexus_core._spi.backend import Backend
from nexus_core._spi.capabilities import StoreRole
from nexus_core._spi.spec import ABC_OF, BackendSpec, Embedder, Redactor, Runtime


def build_stores(
    stores: Mapping[str, StoreConfig], base: Path, state: Path | None, *, now: Clock = wall_clock
) -> tuple[dict[tuple[str, StoreRole], OpenStore], list[Problem]]:
    """Build and check every store in every role it is used for; write nothing.

    Returns what could be built, and everything that is wrong; each problem's path begins with the
    store's place in the configuration. What was proved of a store is read from ``state``.
    """
    opened: dict[tuple[str, StoreRole], OpenStore] = {}
    problems: dict[Problem, None] = {}
    for store in stores.values():
        for role, spec in store.specs.items():
            proofs = read_proofs(state, store, role)
            runtime = Runtime(store=store.name, base=base, now=now, proofs=proofs)
            unproved = frozenset(name for name in spec.proves if proofs.get(name) is not True)
            off: Any = dict.fromkeys(unproved, False)
            here = attrs.evolve(spec, capabilities=attrs.evolve(spec.capabilities, **off))
            try:
                backend = _built(spec, store.settings[role], runtime)
                # Kept before it is checked, so that one whose check fails is closed like the rest.
                opened[store.name, role] = OpenStore(
                    store.name, role, here if off else spec, backend, unproved
                )
                found = list(backend.check())
            except ConfigurationError as error:
                found = list(error.problems)
            except NexusError as error:
                found = [Problem(path="", what=error.message, fix=error.hint or "see the docs")]
            except Exception as error:  # noqa: BLE001  # a plugin may raise anything
                found = [_failed(spec, error)]
            for problem in found:
                path = ".".join(filter(None, ("stores", store.name, problem.path)))
                problems[attrs.evolve(problem, path=path)] = None
    return opened, list(problems)


def _built(spec: BackendSpec, settings: object, runtime: Runtime) -> Backend:
    backend = spec.factory(settings, runtime)
    due = ABC_OF[spec.role]
    if not isinstance(backend, due):
        what = f"the factory of the backend {spec.name!r} made no {due.__name__}"
        fix = f"return an instance of a subclass of nexus_core.spi.{due.__name__}"
        raise ConfigurationError([Problem(path="", what=what, fix=fix, code="store.failed")])
    return backend


def _failed(spec: BackendSpec, error: Exception) -> Problem:
    """What a plugin's own failure is told as: its text may hold a secret, so its kind alone.

    Of one kind Python writes the text itself, from names in the plugin's source.
    """
    what, text = f"the backend {spec.name!r} failed with {type(error).__name__}", str(error)
    fix = "report it to the backend's author, who sees it by calling the factory alone"
    if type(error) is TypeError and text.startswith("Can't instantiate abstract class "):
        what = f"the factory of the backend {spec.name!r}: {text}"
        fix = "write every method that its base class leaves abstract"
    return Problem(path="", what=what, fix=fix, code="store.failed")


def close_stores(stores: Sequence[OpenStore]) -> None:
    """Close what was built and is not going to be used."""
    for store in stores:
        try:
            store.backend.close()
        except Exception:  # noqa: BLE001, S112  # the problem that led here is the one to report
            continue


def open_deployment(config: Config, *, now: Clock = wall_clock) -> Deployment:
    """Build and check everything, or raise ``ConfigurationError`` with all problems."""
    stores, problems = build_stores(config.stores, config.base, config.state, now=now)
    embedders, wrong = build_embedders(config)
    problems += wrong
    redactors, wrong = build_redactors(config)
    problems += wrong
    if problems:
        close_stores(list(stores.values()))
        raise ConfigurationError(problems, hint="`nexus doctor` shows the same list")
    return Deployment(
        config,
        KeyRing(config.root_key.reveal()),
        stores,
        atomizers=config.atomizers,
        embedders=embedders,
        authorizers=[call for extension in config.extensions for call in extension.authorize],
        redactors=redactors,
        observers=[call for extension in config.extensions for call in extension.observe],
        now=now,
    )


def build_redactors(config: Config) -> tuple[list[Redactor], list[Problem]]:
    """Build the redactors of every extension that the configuration names, in its order."""
    built: list[Redactor] = []
    problems: list[Problem] = []
    for extension in config.extensions:
        for spec in extension.redactors:
            try:
                redactor = spec.factory()
                if not isinstance(redactor, Redactor):
                    raise TypeError
            except Exception as error:  # noqa: BLE001  # a plugin may raise anything
                problems.append(
                    Problem(
                        path="extensions.use",
                        what=f"the redactor {spec.name!r} failed with {type(error).__name__}",
                        fix="report it to the plugin's author, who sees it by calling the factory",
                        code="redactor.failed",
                    )
                )
            else:
                built.append(redactor)
    return built, problems


def build_embedders(config: Config) -> tuple[dict[str, Embedder], list[Problem]]:
    """Build every configured embedder under the name and version that definitions use."""
    built: dict[str, Embedder] = {}
    problems: list[Problem] = []
    for name, use in config.embedders.items():
        try:
            embedder = use.spec.factory(use.settings)
            full = f"{use.spec.name}@{embedder.version}"
            _ = (embedder.dimension, embedder.metric)
        except ConfigurationError as error:
            problems += [
                attrs.evolve(p, path=".".join(filter(None, ("embedders", name, p.path))))
                for p in error.problems
            ]
        except Exception as error:  # noqa: BLE001  # a plugin may raise anything
            problems.append(
                Problem(
                    path=f"embedders.{name}",
                    what=f"the embedder failed with {type(error).__name__}",
                    fix="report it to the plugin's author, who sees it by calling the factory",
                    code="embedder.failed",
                )
            )
        else:
            if full in built:
                problems.append(
                    Problem(
                        path=f"embedders.{name}",
                        what=f"is {full}, which another entry is too",
                        fix="keep one of them",
                        code="embedder.repeated",
                    )
                )
            built[full] = embedder
    if not problems:
        problems = [*_unfit_indexes(config, built)]
    return built, problems


def _unfit_indexes(config: Config, built: Mapping[str, Embedder]) -> Iterator[Problem]:
    """Indexes whose embedder is not there, or makes vectors of another shape."""
    for position, definition in enumerate(config.indexes):
        if definition.embedder in config.external_embedders:
            continue
        made = built.get(definition.embedder)
        if made is None:
            what = f"no configured embedder is {definition.embedder}"
            fix = f"the configured ones are {', '.join(sorted(built)) or 'none'}"
        elif (made.dimension, made.metric) != (definition.dimension, definition.metric):
            what = (
                f"the embedder {definition.embedder} makes {made.metric} vectors of dimension "
                f"{made.dimension}"
            )
            fix = "give the index that dimension and metric, or another embedder"
        else:
            continue
        yield Problem(path=f"indexes.{position}", what=what, fix=fix, code="index.embedder")
