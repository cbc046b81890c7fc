"""Embedders that turn texts into vectors without a network: by words, or by a model on disk."""

from __future__ import annotations

from collections.abc import Sequence

from nexus_core.spi import Embedder, EmbedderSpec, hookimpl
from nexus_embedders._settings import SentenceTransformerConfig

__all__ = ["SentenceTransformerConfig", "nexus_embedder"]


def _build_lexical(_: None) -> Embedder:
    from nexus_embedders._lexical import LexicalEmbedder

    return LexicalEmbedder()


def _load_model(config: SentenceTransformerConfig) -> Embedder:
    from nexus_embedders._transformer import load

    return load(config)


@hookimpl
def nexus_embedder() -> Sequence[EmbedderSpec]:
    """Offer ``lexical`` and ``sentence-transformer``."""
    return (
        EmbedderSpec(
            name="lexical",
            version="1",
            summary="words and parts of words, hashed into 384 dimensions; no model",
            factory=_build_lexical,
        ),
        EmbedderSpec(
            name="sentence-transformer",
            version="1",
            summary="a sentence-transformers model in a local directory",
            factory=_load_model,
            config=SentenceTransformerConfig,
        ),
    )
