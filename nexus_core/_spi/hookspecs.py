"""Every hook. pluggy carries registration, policy and observation only; data never travels here.

A plugin is a module, named by an entry point in the group ``nexus.plugins``, that marks functions
with ``hookimpl``. The names of the hooks and of their arguments are the whole interface.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import pluggy

if TYPE_CHECKING:
    from nexus_core._model.context import RequestContext
    from nexus_core._spi.spec import AtomizerSpec, BackendSpec, EmbedderSpec, RedactorSpec

PROJECT: Final = "nexus"
ENTRY_POINT_GROUP: Final = "nexus.plugins"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def nexus_raw_store() -> BackendSpec:  # type: ignore[empty-body]  # a hookspec has no body
    """Offer a raw store."""


@hookspec
def nexus_atom_store() -> BackendSpec:  # type: ignore[empty-body]
    """Offer an atom store."""


@hookspec
def nexus_vector_store() -> BackendSpec:  # type: ignore[empty-body]
    """Offer a vector store."""


@hookspec
def nexus_audit_sink() -> BackendSpec:  # type: ignore[empty-body]
    """Offer an audit sink."""


@hookspec
def nexus_atomizer() -> Sequence[AtomizerSpec]:  # type: ignore[empty-body]
    """Offer atomizers."""


@hookspec
def nexus_embedder() -> Sequence[EmbedderSpec]:  # type: ignore[empty-body]
    """Offer embedders."""


@hookspec
def nexus_redact() -> Sequence[RedactorSpec]:  # type: ignore[empty-body]
    """Offer redactors."""


@hookspec
def nexus_authorize(context: RequestContext, action: str, ids: Sequence[str]) -> object:
    """Say no to an action. ``None`` consents; any other answer, and any exception, denies.

    The core calls every implementation itself, after the role check; none can be skipped.
    """


@hookspec
def nexus_observe(event: Any) -> None:
    """See what happened, after it did. Can change nothing; what it raises goes no further."""
