"""The shape of ``nexus.toml``, at the edge. What the docstrings say is what the schema says.

Every table is closed, strict and without a default that names a place. Backends, embedders and
atomizers have settings of their own beside the keys listed here.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from nexus_core._config.secrets import SecretRef
from nexus_core._model.scope import ENVIRONMENTS, Env, normalise_env
from nexus_core._model.vectors import MAX_DIMENSION, Metric
from nexus_core._spi.spec import NAME_TOKEN, VERSION_TOKEN, BackendConfig

DEFAULT_KINDS: Final = ("data", "research", "style", "content", "chat", "plan")

# Names that an operator gives to stores, embedders and atomizers; kinds have the same grammar.
NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")

_ENV_SPELLINGS: Final = ("dev", "development", "staging", "stage", "prod", "production")
_USE: Final = f"^{NAME_TOKEN.pattern}@{VERSION_TOKEN.pattern}$"


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise PydanticCustomError("nexus_repeated", "names something twice")
    return values


def _canonical(value: object) -> object:
    """The short spelling of a long one; what is neither is left for the type to refuse."""
    return normalise_env(value) if value in _ENV_SPELLINGS else value


Profile: TypeAlias = Literal["development", "production"]
Name: TypeAlias = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
Family: TypeAlias = Annotated[str, Field(pattern=f"^{NAME_TOKEN.pattern}$")]
Use: TypeAlias = Annotated[str, Field(pattern=_USE)]
TenantId: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
EnvName: TypeAlias = Annotated[
    Env,
    BeforeValidator(_canonical),
    WithJsonSchema({"type": "string", "enum": list(_ENV_SPELLINGS)}),
]
MediaType: TypeAlias = Annotated[
    str, Field(pattern=r"^[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*$")
]


class Table(BaseModel):
    """A closed table: an unknown key is an error."""

    model_config = BackendConfig.model_config


class OpenTable(BaseModel):
    """A table whose further keys are the settings of a plugin, checked by the plugin's model."""

    model_config = ConfigDict({**BackendConfig.model_config, "extra": "allow"})

    @property
    def settings(self) -> dict[str, Any]:
        """The further keys, as they stand in the file."""
        return dict(self.model_extra or {})


class KeysTable(Table):
    """Where the secret is that all keys are derived from."""

    root: SecretRef
    """The root secret: exactly 64 hexadecimal digits (32 random bytes), by reference."""


class StoreTable(OpenTable):
    """One store: a backend by name, and that backend's own settings beside it."""

    backend: Family
    """Name of an installed backend family; `nexus plugins list` shows them."""


class RouteTable(Table):
    """Which stores serve which scopes. Without tenant and env it is the default.

    The most specific route that names a role wins: tenant and env, then tenant, then env.
    """

    tenant: TenantId | None = None
    """The only tenant that this route is for."""

    env: EnvName | None = None
    """The only environment that this route is for."""

    raw: Name | None = None
    """Store for raw objects."""

    atoms: Name | None = None
    """Store for the catalogue, atoms and lineage."""

    vectors: Name | None = None
    """Store for vectors."""

    audit: Name | None = None
    """Store for the audit trail."""


class IndexTable(Table):
    """A vector index of the operator's, made in every scope that has vectors, and then locked."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    """Name of the index."""

    version: Annotated[int, Field(ge=1, lt=2**31)]
    """Version of the definition; a change needs a new one."""

    dimension: Annotated[int, Field(ge=1, le=MAX_DIMENSION)]
    """Number of components of every vector."""

    metric: Metric
    """Distance that neighbours are ranked by."""

    embedder: Use
    """What makes the vectors, as `name@version`; one of the [embedders]."""

    fields: dict[str, Literal["str", "int", "float", "bool", "str[]"]] = {}
    """Fields that queries may filter by, beside the system's own."""


class EmbedderTable(OpenTable):
    """One embedder: a plugin's, with that embedder's settings beside it, or one of your own."""

    use: Use
    """The embedder, as `name@version`; the version is its code's."""

    plugin: Family | None = None
    """Name of the installed plugin that has it."""

    external: bool = False
    """true when the application makes these vectors itself and no plugin has the embedder."""

    @model_validator(mode="after")
    def _one_source(self) -> EmbedderTable:
        if (self.plugin is None) is not self.external:
            raise PydanticCustomError(
                "nexus_source", "needs either plugin or external = true, and not both"
            )
        if self.external and self.settings:
            raise PydanticCustomError("nexus_source", "takes no settings when it is external")
        return self


class AtomizerTable(OpenTable):
    """Atomizers of one plugin, with the parameters that they share beside them."""

    plugin: Family
    """Name of the installed plugin that has them."""

    use: Annotated[tuple[Use, ...], Field(min_length=1), AfterValidator(_distinct)]
    """The atomizers, each as `name@version`."""

    media_types: (
        Annotated[tuple[MediaType, ...], Field(min_length=1), AfterValidator(_distinct)] | None
    ) = None
    """Media types that they are used for; all that they read, if left out."""


class IngestTable(Table):
    """What ingest does when the call does not say."""

    index: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}@[1-9][0-9]{0,9}$")] | None = (
        None
    )
    """Index that atoms are embedded into, as `name@version`; one of the [[indexes]]."""


class ExtensionsTable(Table):
    """Plugins that may say no, look on, or redact. Being installed is not enough."""

    use: Annotated[tuple[Family, ...], AfterValidator(_distinct)] = ()
    """Names of installed plugins, in the order in which they are asked."""


class ExporterTable(Table):
    """A destination of dataset events, for `nexus events relay`."""

    format: Literal["jsonl", "openlineage"]
    """What is written: the events as they are, or OpenLineage run events."""

    path: Annotated[str, Field(min_length=1)] | None = None
    """File that lines of JSON are added to."""

    url: Annotated[str, Field(min_length=1)] | None = None
    """Endpoint that run events are posted to; only with `openlineage`."""

    token: SecretRef | None = None
    """Bearer token for the endpoint, by reference."""

    namespace: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._/-]{0,127}$")] = "nexus"
    """First part of OpenLineage's namespaces."""

    @model_validator(mode="after")
    def _one_place(self) -> ExporterTable:
        if (self.path is None) == (self.url is None):
            raise PydanticCustomError("nexus_place", "needs either path or url, and not both")
        if self.url is not None and self.format != "openlineage":
            raise PydanticCustomError("nexus_place", "takes a url with the format openlineage only")
        if self.token is not None and self.url is None:
            raise PydanticCustomError("nexus_place", "takes a token with a url only")
        return self


class LimitsTable(Table):
    """Bounds of the core, above those of the backends."""

    max_object_bytes: Annotated[int, Field(ge=1, lt=2**53)] = 5 * 1024**3
    """Largest raw object, and so the most disk that one upload may take while it is checked."""


class RecoveryTable(Table):
    """How interrupted work is picked up again."""

    after_seconds: Annotated[int, Field(ge=1, le=86_400)] = 60
    """Age at which an intent without an outcome counts as abandoned, in seconds."""


class File(Table):
    """The configuration of one Nexus deployment."""

    version: Annotated[int, Field(ge=1, le=1)]
    """Version of this file's format: 1."""

    profile: Profile
    """What the deployment is for; production refuses stores that forget."""

    environments: Annotated[tuple[EnvName, ...], Field(min_length=1), AfterValidator(_distinct)] = (
        ENVIRONMENTS
    )
    """Environments that are served: dev, staging, prod, or fewer."""

    kinds: Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(_distinct)] = (
        DEFAULT_KINDS
    )
    """Kinds that data may be of: a closed set."""

    state: Annotated[str, Field(min_length=1)] | None = None
    """Folder for what `nexus init` and `nexus doctor` proved of stores that need it."""

    keys: KeysTable
    """Where the root secret is: `root = { file = "PATH" }`, or `root = { env = "VARIABLE" }`."""

    stores: Annotated[dict[Name, StoreTable], Field(min_length=1)]
    """Stores by a name of your own."""

    routes: Annotated[tuple[RouteTable, ...], Field(min_length=1)]
    """Which stores serve which scopes."""

    indexes: tuple[IndexTable, ...] = ()
    """Vector indexes that every scope has from the start."""

    embedders: dict[Name, EmbedderTable] = {}
    """Embedders by a name of your own."""

    atomizers: dict[Name, AtomizerTable] = {}
    """Groups of atomizers by a name of your own."""

    ingest: IngestTable = IngestTable()
    """What ingest does when the call does not say."""

    extensions: ExtensionsTable = ExtensionsTable()
    """Plugins that may say no, look on, or redact."""

    exporters: dict[Name, ExporterTable] = {}
    """Destinations of dataset events, by a name of your own."""

    limits: LimitsTable = LimitsTable()
    """Bounds of the core."""

    recovery: RecoveryTable = RecoveryTable()
    """How interrupted work is picked up again."""
