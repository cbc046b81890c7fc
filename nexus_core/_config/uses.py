"""What else the file names of plugins: embedders, atomizers and extensions; and the indexes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from nexus_core._config.config import EmbedderUse
from nexus_core._config.document import Place, path_of
from nexus_core._config.draft import Draft
from nexus_core._config.model import AtomizerTable, EmbedderTable
from nexus_core._config.stores import Surroundings
from nexus_core._model.errors import InvalidArgumentError, Problem
from nexus_core._model.vectors import IndexDefinition, check_field_name
from nexus_core._plugins import Extension
from nexus_core._plugins.faults import did_you_mean
from nexus_core._plugins.specs import EMBEDDER_KEYS, NamedSpec, find_version, uses
from nexus_core._spi.capabilities import VectorCapabilities
from nexus_core._spi.spec import AtomizerSpec, BackendConfig, BackendSpec, EmbedderSpec

_KINDS: Final[Mapping[type, str]] = {
    str: "text",
    int: "a whole number",
    float: "a number with a point",
    bool: "true or false",
}


def build_embedders(
    draft: Draft, around: Surroundings
) -> tuple[dict[str, EmbedderUse], list[Problem]]:
    """Check every embedder that a plugin has; external ones are only names."""
    made: dict[str, EmbedderUse] = {}
    problems: list[Problem] = []
    for name, table in draft.embedders.items():
        if table is None or table.plugin is None:
            continue
        at: Place = ("embedders", name)
        plugin = around.plugin(table.plugin, (*at, "plugin"), problems)
        if plugin is None:
            continue
        spec = _find(plugin.embedders, table.use, (*at, "use"), "embedder", problems)
        if isinstance(spec, EmbedderSpec):
            settings = _embedder_settings(spec, table, at, around, problems)
            made[name] = EmbedderUse(name=name, plugin=table.plugin, spec=spec, settings=settings)
    return made, problems


def _embedder_settings(
    spec: EmbedderSpec,
    table: EmbedderTable,
    at: Place,
    around: Surroundings,
    problems: list[Problem],
) -> BackendConfig | None:
    if spec.config is not None:
        return around.settings(spec.config, table.settings, at, EMBEDDER_KEYS, problems)
    problems += [
        _problem((*at, key), "is not a known key", "take it out; this embedder has no settings")
        for key in table.settings
    ]
    return None


def build_atomizers(
    draft: Draft, around: Surroundings
) -> tuple[dict[str, AtomizerSpec], list[Problem]]:
    """Check every atomizer; return them by media type, with their parameters filled in."""
    made: dict[str, AtomizerSpec] = {}
    claimed: dict[str, str] = {}
    problems: list[Problem] = []
    for name, table in draft.atomizers.items():
        if table is None:
            continue
        at: Place = ("atomizers", name)
        plugin = around.plugin(table.plugin, (*at, "plugin"), problems)
        if plugin is None:
            continue
        specs: list[AtomizerSpec] = []
        for position, use in enumerate(table.use):
            spec = _find(plugin.atomizers, use, (*at, "use", position), "atomizer", problems)
            if isinstance(spec, AtomizerSpec):
                parameters = _parameters(spec, table, at, problems)
                specs.append(attrs.evolve(spec, parameters=parameters))
        if len(specs) < len(table.use):
            continue
        for media_type, spec in _by_media_type(specs, table, at, problems).items():
            if media_type in claimed:
                what = f"reads {media_type}, which atomizers.{claimed[media_type]} reads already"
                fix = "give each of them the media_types that it is used for"
                problems.append(_problem(at, what, fix))
            else:
                claimed[media_type] = name
                made[media_type] = spec
    return made, problems


def _by_media_type(
    specs: Sequence[AtomizerSpec], table: AtomizerTable, at: Place, problems: list[Problem]
) -> dict[str, AtomizerSpec]:
    found: dict[str, AtomizerSpec] = {}
    for spec in specs:
        for media_type in spec.media_types:
            if media_type in found and media_type in (table.media_types or spec.media_types):
                what = f"reads {media_type} with {found[media_type].name} and with {spec.name}"
                problems.append(_problem((*at, "use"), what, "use one of them"))
            found.setdefault(media_type, spec)
    if table.media_types is None:
        return found
    for position, media_type in enumerate(table.media_types):
        if media_type not in found:
            place = (*at, "media_types", position)
            fix = f"they read {', '.join(sorted(found))}"
            problems.append(_problem(place, "is a type that none of them reads", fix))
    return {each: found[each] for each in table.media_types if each in found}


def _parameters(
    spec: AtomizerSpec, table: AtomizerTable, at: Place, problems: list[Problem]
) -> dict[str, Any]:
    parameters = dict(spec.parameters)
    for key, value in table.settings.items():
        if key not in spec.parameters:
            known = did_you_mean(key, spec.parameters)
            offer = f"parameters of {spec.name}: {', '.join(spec.parameters) or 'none'}"
            problems.append(_problem((*at, key), "is not a known key", known or offer))
        elif type(value) is not type(spec.parameters[key]):
            what = f"must be {_KINDS[type(spec.parameters[key])]}"
            problems.append(_problem((*at, key), what, "write it as the default is written"))
        else:
            parameters[key] = value
    return parameters


def build_extensions(
    draft: Draft, around: Surroundings
) -> tuple[tuple[Extension, ...], list[Problem]]:
    """Load the extensions, in the order in which they are asked."""
    made: list[Extension] = []
    problems: list[Problem] = []
    for position, name in enumerate(draft.extensions.use if draft.extensions else ()):
        at: Place = ("extensions", "use", position)
        plugin = around.plugin(name, at, problems)
        if plugin is None:
            continue
        if plugin.is_extension:
            made.append(around.registry.extension(name))
        else:
            fix = "take it out; an extension implements nexus_authorize, _observe or _redact"
            problems.append(_problem(at, "names a plugin that is no extension", fix))
    return tuple(made), problems


def build_indexes(
    draft: Draft,
    embedders: Mapping[str, EmbedderUse],
    vector_stores: Sequence[tuple[str, BackendSpec]],
) -> tuple[tuple[IndexDefinition, ...], list[Problem]]:
    """Make the definitions, and hold each against its embedder and the stores it will live in."""
    made: list[IndexDefinition] = []
    problems: list[Problem] = []
    seen: dict[tuple[str, int], int] = {}
    for position, table in draft.indexes.items():
        if table is None:
            continue
        at: Place = ("indexes", position)
        wrong = _field_problems(table.fields, at)
        if (table.name, table.version) in seen:
            wrong.append(
                _problem(
                    (*at, "version"),
                    f"is defined by indexes.{seen[table.name, table.version]} already",
                    "give it another version, or another name",
                )
            )
        seen.setdefault((table.name, table.version), position)
        wrong += _embedder_problems(table.embedder, at, draft, embedders)
        if not wrong:
            definition = IndexDefinition(**table.model_dump())
            wrong += _capacity_problems(definition, at, vector_stores)
            made.append(definition)
        problems += wrong
    if draft.ingest is not None and draft.ingest.index is not None:
        known = {f"{name}@{version}": position for (name, version), position in seen.items()}
        if draft.ingest.index not in known:
            fix = _meant(draft.ingest.index, known, "indexes") or "define it under [[indexes]]"
            problems.append(_problem(("ingest", "index"), "names no index of this file", fix))
    return tuple(made), problems


def _field_problems(fields: Mapping[str, str], at: Place) -> list[Problem]:
    problems: list[Problem] = []
    for name in fields:
        try:
            check_field_name(name)
        except InvalidArgumentError as error:
            problems.append(_problem((*at, "fields", name), error.message, error.hint))
    return problems


def _embedder_problems(
    use: str, at: Place, draft: Draft, embedders: Mapping[str, EmbedderUse]
) -> list[Problem]:
    """The definition names an embedder of the file; where only code decides, in this version.

    An embedder with settings knows its version only once it is built, so that is checked then.
    """
    known: dict[str, str] = {}
    for name, table in draft.embedders.items():
        made = embedders.get(name)
        if table is None or (made is None and not table.external):
            return []  # it may be the one; what is wrong with it is said already
        if made is not None and made.spec.config is not None:
            if use.partition("@")[0] == made.spec.name:
                return []
            known[f"{made.spec.name}@"] = name
        else:
            known[table.use] = name
    if use in known:
        return []
    fix = _meant(use, known, "embedders") or "add it under [embedders]"
    return [_problem((*at, "embedder"), "names no embedder of this file", fix)]


def _meant(name: str, known: Mapping[str, object], section: str) -> str:
    """A suggestion that gives the place of what was meant, since names may be anybody's."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean that of {section}.{known[close[0]]}?"
    return f"see {', '.join(f'{section}.{place}' for place in known.values())}" if known else ""


def _capacity_problems(
    definition: IndexDefinition, at: Place, vector_stores: Sequence[tuple[str, BackendSpec]]
) -> list[Problem]:
    problems: list[Problem] = []
    for name, spec in vector_stores:
        capabilities = spec.capabilities
        assert isinstance(capabilities, VectorCapabilities)
        if definition.dimension > capabilities.max_dimension:
            what = f"is more than the store {name} takes, which is {capabilities.max_dimension}"
            problems.append(_problem((*at, "dimension"), what, "use a smaller model"))
        if definition.metric not in capabilities.metrics:
            what = f"is not offered by the store {name}"
            fix = f"it offers {', '.join(sorted(capabilities.metrics))}"
            problems.append(_problem((*at, "metric"), what, fix))
    return problems


def _find(
    specs: Sequence[NamedSpec], use: str, at: Place, kind: str, problems: list[Problem]
) -> NamedSpec | None:
    found = find_version(specs, use)
    if found is None:
        offered = uses(specs)
        fix = did_you_mean(use, offered) or f"it has {', '.join(offered) or 'none'}"
        problems.append(_problem(at, f"names no {kind} of this plugin", fix))
    return found


def _problem(at: Place, what: str, fix: str) -> Problem:
    return Problem(path=path_of(at), what=what, fix=fix, code=f"config.{at[0]}")
