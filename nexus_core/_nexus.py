"""The front door: ``Nexus.open`` and the request, which is the only way to any I/O."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, final

from nexus_core._config import Config, load
from nexus_core._flows.ingest import Ingested, IngestFlow, IngestReport
from nexus_core._flows.recover import RecoverFlow, Recovery
from nexus_core._flows.retrieve import Retrieval, RetrieveFlow
from nexus_core._flows.sources import Source
from nexus_core._handles.assets import AssetsHandle
from nexus_core._handles.atoms import AtomsHandle
from nexus_core._handles.audit import AuditHandle
from nexus_core._handles.definitions import DefinitionsHandle
from nexus_core._handles.deployment import Clock, Deployment, wall_clock
from nexus_core._handles.erasure import ErasureHandle
from nexus_core._handles.events import EventsHandle
from nexus_core._handles.gate import Gate
from nexus_core._handles.lineage import LineageHandle
from nexus_core._handles.opening import open_deployment
from nexus_core._handles.raw import RawHandle
from nexus_core._handles.rows import VectorLike
from nexus_core._handles.vectors import VectorsHandle
from nexus_core._model.context import RequestContext, check_context
from nexus_core._model.errors import InvalidArgumentError
from nexus_core._model.filters import Filter
from nexus_core._plugins import Registry

_PURPOSE = re.compile(r"[a-z][a-z0-9_]{0,31}")


@final
class Request:
    """One request in one scope. Every member is admitted, audited and checked; nothing here works
    after the ``with`` block that ``Nexus.request`` opened."""

    __slots__ = (
        "_gate",
        "_ingest",
        "_recover",
        "_retrieve",
        "assets",
        "atoms",
        "audit",
        "definitions",
        "erasure",
        "events",
        "lineage",
        "raw",
        "vectors",
    )

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.raw = RawHandle(gate)
        self.assets = AssetsHandle(gate)
        self.atoms = AtomsHandle(gate)
        self.vectors = VectorsHandle(gate)
        self.lineage = LineageHandle(gate)
        self.definitions = DefinitionsHandle(gate)
        self.events = EventsHandle(gate)
        self.erasure = ErasureHandle(gate)
        self.audit = AuditHandle(gate)
        self._ingest = IngestFlow(gate)
        self._retrieve = RetrieveFlow(gate)
        self._recover = RecoverFlow(gate, self._ingest)

    @property
    def context(self) -> RequestContext:
        """The context that every operation of this request carries."""
        return self._gate.context

    def ingest(
        self,
        what: Source | str | Path | Iterable[Source | str | Path],
        *,
        kind: str,
        space: str,
        index: str | None = None,
        index_version: int | None = None,
        parameters: Mapping[str, Any] | None = None,
        pii_flags: Iterable[str] = (),
        train_ok: bool = False,
        retain_until: int | None = None,
        legal_hold: bool = False,
        progress: Callable[[Ingested], None] | None = None,
    ) -> IngestReport:
        """Take files, folders or sources from raw bytes to atoms to vectors; blocking.

        Each source is whole or not there at all, also over a kill: what was interrupted is finished
        by the next ingest of the same source, or by ``recover``. Idempotent: the same bytes under
        the same name, atomizer and index write nothing and are reported ``unchanged``. A source
        that cannot be read or cut is reported ``failed`` and the others go on; a store that is
        unavailable raises. ``index`` is the configured one where none is named. ``progress`` is
        called after each source.
        """
        return self._ingest.run(
            what,
            kind=kind,
            space=space,
            index=index,
            index_version=index_version,
            parameters=parameters,
            pii_flags=pii_flags,
            train_ok=train_ok,
            retain_until=retain_until,
            legal_hold=legal_hold,
            progress=progress,
        )

    def retrieve(
        self,
        text: str | None = None,
        *,
        vector: VectorLike | None = None,
        index: str | None = None,
        index_version: int | None = None,
        k: int = 10,
        where: Filter | None = None,
    ) -> Retrieval:
        """Return the ``k`` nearest atoms: ids, exact distances and pointers, in the store's order.

        Give a text, which the index's own embedder embeds, or a vector. Nothing is ranked, cut or
        rewritten; the explanation is of metadata only. The text itself is kept nowhere.
        """
        return self._retrieve.run(
            text, vector=vector, index=index, index_version=index_version, k=k, where=where
        )

    def recover(self, *, older_than: float | None = None) -> Recovery:
        """Finish or undo what a killed process left open in this scope, and settle its records.

        Idempotent. Only what is older than ``older_than`` seconds (the configured age, if not
        said) is touched, because younger work may still be alive; 0 is right when no other process
        is running.
        """
        return self._recover.run(older_than=older_than)


@final
class Nexus:
    """An opened deployment. Safe for use by threads; a forked child has to open its own."""

    __slots__ = ("__weakref__", "_deployment")

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    @classmethod
    def open(
        cls,
        path: str | Path = "nexus.toml",
        *,
        environ: Mapping[str, str] | None = None,
        now: Clock = wall_clock,
    ) -> Nexus:
        """Validate everything, build and check every store, or raise ``ConfigurationError``.

        All problems are reported at once and nothing is written, created or repaired. ``environ``
        replaces the process environment for overrides; ``now`` the clock (µs since the epoch).
        """
        config = load(
            Path(path),
            registry=Registry.discover(),
            environ=os.environ if environ is None else environ,
        )
        return cls.from_config(config, now=now)

    @classmethod
    def from_config(cls, config: Config, *, now: Clock = wall_clock) -> Nexus:
        """Open a configuration that was loaded before; raises ``ConfigurationError``."""
        return cls(open_deployment(config, now=now))

    @contextmanager
    def request(
        self, context: RequestContext, *, purpose: str = "unspecified"
    ) -> Iterator[Request]:
        """Begin a request; there is no I/O surface without one.

        ``purpose`` (``[a-z][a-z0-9_]{0,31}``) goes into every record of the request. Raises
        ``ContextMissingError`` for anything that is not a ``RequestContext``,
        ``ConfigurationError`` for a scope without an audit route, and ``ClosedError``.
        """
        check_context(context)
        if type(purpose) is not str or _PURPOSE.fullmatch(purpose) is None:
            raise InvalidArgumentError("the purpose does not match [a-z][a-z0-9_]{0,31}")
        gate = Gate(self._deployment, context, purpose)
        try:
            yield Request(gate)
        finally:
            gate.end()

    @property
    def config(self) -> Config:
        """The validated configuration."""
        return self._deployment.config

    def ensure_open(self) -> None:
        """Raise ``ClosedError`` after ``close``, and in a process forked after ``open``."""
        self._deployment.ensure_open()

    def close(self) -> None:
        """Close every store. Idempotent; later calls raise ``ClosedError``."""
        self._deployment.close()

    def __enter__(self) -> Nexus:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Nexus({self._deployment.config.hash[:12]})"
