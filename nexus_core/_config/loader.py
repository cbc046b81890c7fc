"""From a file to a ``Config``, or to every problem it has. Reads only; writes nothing, anywhere."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import attrs

from nexus_core._config.config import Config, EmbedderUse, Limits, StoreConfig
from nexus_core._config.document import plain, read_file, value_problems
from nexus_core._config.draft import Draft, read_draft
from nexus_core._config.exporters import build_exporters
from nexus_core._config.overrides import apply_overrides, origin_of
from nexus_core._config.resolve import build_router
from nexus_core._config.secrets import Secret
from nexus_core._config.stores import Surroundings, build_stores
from nexus_core._config.uses import (
    build_atomizers,
    build_embedders,
    build_extensions,
    build_indexes,
)
from nexus_core._config.views import document_of
from nexus_core._model.errors import ConfigurationError, Problem
from nexus_core._model.vectors import IndexDefinition
from nexus_core._plugins import Registry
from nexus_core._spi.capabilities import StoreRole

_ROOT_KEY: Final = re.compile(rb"[0-9A-Fa-f]{64}")
_LEAST_VARIETY: Final = 8


def load(path: Path, *, registry: Registry, environ: Mapping[str, str] = os.environ) -> Config:
    """Read and check the configuration, or raise ``ConfigurationError`` with every problem.

    Writes nothing. Imports only the plugins that the file names. The error holds no value of the
    file, of a variable or of a secret, and neither does anything it is chained to.
    """
    config, problems = inspect(path, registry=registry, environ=environ)
    if config is None:
        raise ConfigurationError(problems)
    return config


def inspect(
    path: Path, *, registry: Registry, environ: Mapping[str, str] = os.environ
) -> tuple[Config | None, list[Problem]]:
    """Like ``load``, but return the problems; there is a configuration only if there are none."""
    document, problems = read_file(path)
    if problems:
        return None, problems
    origins, problems = apply_overrides(document, environ)
    config, found = _check(path, document, registry, environ)
    for problem in found:
        name = origin_of(problem.path, origins)
        if name is not None:
            problem = attrs.evolve(problem, fix=f"{problem.fix}; {name} sets it")  # noqa: PLW2901
        problems.append(problem)
    return (None if problems else config), problems


def _check(
    path: Path, document: Mapping[str, Any], registry: Registry, environ: Mapping[str, str]
) -> tuple[Config | None, list[Problem]]:
    problems = list(value_problems(document))
    base = path.absolute().parent
    around = Surroundings(registry, base, environ)
    said = {problem.path for problem in problems}
    draft, found = read_draft(plain(document))
    problems += found
    root_key = _root_key(draft, around, problems)
    router, uses, found = build_router(draft)
    problems += found
    stores, found = build_stores(draft, uses, around)
    problems += found
    problems += _stateless(draft, stores)
    embedders, found = build_embedders(draft, around)
    problems += found
    atomizers, found = build_atomizers(draft, around)
    problems += found
    extensions, found = build_extensions(draft, around)
    problems += found
    exporters, found = build_exporters(draft, around)
    problems += found
    vector_stores = [
        (store.name, store.specs[StoreRole.VECTORS])
        for store in stores.values()
        if StoreRole.VECTORS in store.specs
    ]
    indexes, found = build_indexes(draft, embedders, vector_stores)
    problems += found
    if problems:
        return None, _once(problems, said)
    assert draft.profile is not None
    assert draft.kinds is not None
    assert draft.ingest is not None
    assert draft.limits is not None
    assert draft.recovery is not None
    assert root_key is not None
    external = frozenset(t.use for t in draft.embedders.values() if t is not None and t.external)
    config = Config(
        path=path.absolute(),
        base=base,
        state=None if draft.state is None else base / Path(draft.state).expanduser(),
        profile=draft.profile,
        environments=router.environments,
        kinds=draft.kinds,
        root_key=root_key,
        stores=MappingProxyType(stores),
        router=router,
        indexes=indexes,
        embedders=MappingProxyType(embedders),
        external_embedders=external,
        atomizers=MappingProxyType(atomizers),
        ingest_index=_index_name(draft.ingest.index),
        extensions=extensions,
        exporters=MappingProxyType(exporters),
        limits=Limits(max_object_bytes=draft.limits.max_object_bytes),
        recovery_after_seconds=draft.recovery.after_seconds,
        notes=tuple(_notes(stores, embedders, indexes, bool(vector_stores))),
        document=MappingProxyType(document_of(draft)),
    )
    return config, []


def _root_key(draft: Draft, around: Surroundings, problems: list[Problem]) -> Secret | None:
    if draft.keys is None:
        return None
    value = around.secret(draft.keys.root, ("keys", "root"), problems)
    if value is None:
        return None
    if _ROOT_KEY.fullmatch(value) is None:
        what = "refers to a root key that is not 64 hexadecimal digits"
    elif len(set(bytes.fromhex(value.decode()))) < _LEAST_VARIETY:
        what = "refers to a root key that is not random"
    else:
        return Secret(bytes.fromhex(value.decode()))
    problems.append(
        Problem(
            path="keys.root",
            what=what,
            fix="make one with `openssl rand -hex 32`",
            code="config.secret",
        )
    )
    return None


def _stateless(draft: Draft, stores: Mapping[str, StoreConfig]) -> Iterator[Problem]:
    """Stores of which something has to be proved, where there is no place to keep it."""
    wanting = [s.name for s in stores.values() if any(spec.prove for spec in s.specs.values())]
    if wanting and draft.state is None:
        yield Problem(
            path="state",
            what=f"is missing, and what is proved of {', '.join(wanting)} has to be kept somewhere",
            fix='name a folder: state = "…", above the first table',
            code="config.missing",
        )


def _once(problems: list[Problem], said: set[str]) -> list[Problem]:
    """Without repeats, and without what follows from a value that is blank or worse."""
    kept: dict[Problem, None] = {}
    seen: set[str] = set()
    for problem in problems:
        if problem.path in said and problem.path in seen:
            continue
        seen.add(problem.path)
        kept[problem] = None
    return list(kept)


def _index_name(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    name, _, version = text.partition("@")
    return name, int(version)


def _notes(
    stores: Mapping[str, StoreConfig],
    embedders: Mapping[str, EmbedderUse],
    indexes: tuple[IndexDefinition, ...],
    has_vectors: bool,
) -> list[str]:
    named = {definition.embedder.partition("@")[0] for definition in indexes}
    notes = [f"stores.{s.name}: no route uses it" for s in stores.values() if not s.specs]
    notes += [
        f"embedders.{use.name}: no index of this file names it"
        for use in embedders.values()
        if use.spec.name not in named
    ]
    if indexes and not has_vectors:
        notes.append("indexes: no route names a store for vectors, so they are not made")
    return notes
