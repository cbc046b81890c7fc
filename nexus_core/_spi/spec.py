"""What a plugin registers: a ``BackendSpec`` for each store role, and specs of extensions."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import attrs
from pydantic import BaseModel, ConfigDict

from nexus_core._model.vectors import Metric, Vectors
from nexus_core._spi.atoms import AtomBackend
from nexus_core._spi.audit import AuditBackend
from nexus_core._spi.backend import Backend
from nexus_core._spi.capabilities import Capabilities, Durability, Isolation, StoreRole
from nexus_core._spi.raw import RawBackend
from nexus_core._spi.vectors import VectorBackend

# The version of the SPI that this core offers. The first number breaks plugins, the second adds.
API_VERSION: Final = (1, 0)

ABC_OF: Final[Mapping[StoreRole, type]] = {
    StoreRole.RAW: RawBackend,
    StoreRole.ATOMS: AtomBackend,
    StoreRole.VECTORS: VectorBackend,
    StoreRole.AUDIT: AuditBackend,
}


class BackendConfig(BaseModel):
    """Base of every backend's settings. Strict, frozen, closed, and never prints its input.

    Subclass it and declare fields with types and, where sensible, defaults; a secret is a field of
    type ``SecretRef``. A place (bucket, directory, URL) never has a default. The registry refuses a
    subclass that weakens ``model_config``.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
        validate_default=True,
        use_attribute_docstrings=True,
    )


Proof: TypeAlias = bool | int | str


def _read_only(proofs: Mapping[str, Proof]) -> Mapping[str, Proof]:
    return MappingProxyType(dict(proofs))


@attrs.frozen(kw_only=True)
class Runtime:
    """What the core hands a factory beside the settings.

    ``store`` is the store's name in the configuration; ``base`` the directory that relative paths
    are relative to; ``now`` the clock, in microseconds since the epoch, UTC. ``proofs`` is what the
    spec's ``prove`` found out last about this store in this role, read-only: empty where it never
    ran, and where the store's settings have changed since.
    """

    store: str
    base: Path
    now: Callable[[], int]
    proofs: Mapping[str, Proof] = attrs.field(factory=dict, converter=_read_only)

    def path(self, value: str) -> Path:
        """Resolve a configured path against ``base``."""
        return self.base / Path(value).expanduser()


@attrs.frozen(kw_only=True)
class BackendSpec:
    """One backend: a role on an engine, what it can do, and how to build it.

    ``factory(config, runtime)`` builds it without writing anything. ``provision(config, runtime)``
    creates what must exist before (directory, schema, bucket) and returns a line for each thing it
    made; it is idempotent, keeps what is there, makes nothing in a folder that holds somebody
    else's things, and is called only by an explicit command.

    ``prove(config, runtime)`` is for what only a write can tell of an endpoint, such as whether it
    honours conditions. It may write in scopes of the reserved tenants ``t_probe_a`` and
    ``t_probe_b`` alone, removes what it wrote, and returns what it found by name (a token), whole:
    it replaces what was known. ``nexus init`` and ``nexus doctor`` call it and keep the answer in
    the configuration's ``state`` folder; factories get it as ``Runtime.proofs``. ``proves`` names
    declared flags that hold only where ``prove`` answered ``True`` under that name: until then the
    core refuses the calls that need one (``UnsupportedError``), and says to run the doctor.
    """

    name: str
    role: StoreRole
    summary: str
    config: type[BackendConfig]
    capabilities: Capabilities
    isolation: Isolation
    durability: Durability
    factory: Callable[[Any, Runtime], Backend]
    provision: Callable[[Any, Runtime], Sequence[str]] | None = None
    prove: Callable[[Any, Runtime], Mapping[str, Proof]] | None = None
    proves: frozenset[str] = frozenset()
    api_version: tuple[int, int] = API_VERSION


VERSION_TOKEN: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,31}")
NAME_TOKEN: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


@attrs.frozen(kw_only=True)
class Piece:
    """One atom-to-be: its text and where it came from (page, line, row, character span)."""

    text: str = attrs.field(repr=False)
    locator: Mapping[str, int | str] = attrs.field(factory=dict)


class Atomizer(ABC):
    """Cuts one asset into pieces, in order. Deterministic: equal bytes give equal pieces."""

    @abstractmethod
    def atomize(self, path: Path, parameters: Mapping[str, Any]) -> Iterator[Piece]:
        """Yield the pieces of the file at ``path``; raises ``InvalidArgumentError`` for a file
        that is not what its media type says."""


class Embedder(ABC):
    """Turns texts into vectors. Deterministic for a named version; used from several threads.

    A text with nothing to embed gives a zero vector; the core stores no vector for it.
    """

    @property
    @abstractmethod
    def version(self) -> str:
        """What decides the vectors: code, model files and settings. Index definitions name the
        embedder as ``name@version``, so another model must be another version (a version token:
        at most 32 characters). Where there is only code, it is the spec's version."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """The dimension of every vector it makes."""

    @property
    @abstractmethod
    def metric(self) -> Metric:
        """The metric that its vectors are made for."""

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one vector for each text, in order."""


class Redactor(ABC):
    """Removes personal data from a short text before it is kept in a log, event or trail."""

    @abstractmethod
    def redact(self, text: str) -> str:
        """Return the text without what must not be kept."""


@attrs.frozen(kw_only=True)
class AtomizerSpec:
    """An atomizer by name and version, the media types it reads, and its default parameters."""

    name: str
    version: str
    summary: str
    media_types: tuple[str, ...]
    factory: Callable[[], Atomizer]
    parameters: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class EmbedderSpec:
    """An embedder by name and code version, and how to build it.

    ``factory(config)`` takes the validated settings, or ``None`` where ``config`` is ``None`` (then
    no settings are accepted). It only reads, never downloads, and raises ``ConfigurationError`` for
    a model that is absent or unfit.
    """

    name: str
    version: str
    summary: str
    factory: Callable[[Any], Embedder]
    config: type[BackendConfig] | None = None


@attrs.frozen(kw_only=True)
class RedactorSpec:
    """A redactor by name and version."""

    name: str
    version: str
    summary: str
    factory: Callable[[], Redactor]
