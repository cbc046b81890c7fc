"""The atomizers and embedders that a deployment has, found by name and kept from showing content.

Whatever a parser or a model raises may quote the text it choked on, so nothing of it is let out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nexus_core._handles.gate import Gate
from nexus_core._model.errors import (
    BackendError,
    InvalidArgumentError,
    NexusError,
    UnsupportedError,
)
from nexus_core._model.vectors import Vectors
from nexus_core._spi.spec import AtomizerSpec, Embedder, Piece


def atomizer_for(gate: Gate, content_type: str) -> AtomizerSpec:
    """The atomizer that is configured for a media type; raises ``UnsupportedError``."""
    media_type = content_type.partition(";")[0].strip()
    spec = gate.deployment.atomizers.get(media_type)
    if spec is None:
        raise UnsupportedError(
            f"media type {media_type}", hint="configure an atomizer for it under [atomizers]"
        )
    return spec


def embedder_for(gate: Gate, name: str) -> Embedder:
    """The embedder of an index, by ``name@version``; raises ``UnsupportedError``."""
    embedder = gate.deployment.embedders.get(name)
    if embedder is None:
        raise UnsupportedError(
            f"embedder:{name}",
            hint="configure it under [embedders], or write and ask with vectors of your own",
        )
    return embedder


def chosen_index(gate: Gate, index: str | None, version: int | None) -> tuple[str, int | None]:
    """The index that a caller named, else the one the configuration says is for ingest."""
    if index is not None:
        return index, version
    chosen = gate.deployment.config.ingest_index
    if chosen is None:
        raise InvalidArgumentError(
            "no index was named, and the configuration names none for ingest",
            hint="pass index=…, or set `index` under [ingest]",
        )
    return chosen


def guarded(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Pieces of an atomizer; whatever else it raises becomes an error that shows no content."""
    while True:
        failure: NexusError
        try:
            piece = next(pieces, None)
        except NexusError as error:
            failure = error
        except Exception as error:  # noqa: BLE001  # a parser's own exception may quote the text
            failure = InvalidArgumentError(
                f"the atomizer failed with {type(error).__name__}",
                hint="report it to the plugin's author",
            )
        else:
            if piece is None:
                return
            yield piece
            continue
        failure.__cause__ = failure.__context__ = None
        raise failure


def embed(embedder: Embedder, texts: Sequence[str]) -> Vectors:
    """Vectors for texts, one each; whatever an embedder raises shows no content."""
    failure: NexusError
    try:
        made = embedder.embed(texts)
    except NexusError as error:
        failure = error
    except Exception as error:  # noqa: BLE001  # a model's own exception may quote the text
        failure = BackendError(f"the embedder failed with {type(error).__name__}")
    else:
        if len(made) == len(texts) and made.dimension == embedder.dimension:
            return made
        failure = BackendError("the embedder returned another number or shape of vectors")
    failure.__cause__ = failure.__context__ = None
    raise failure
