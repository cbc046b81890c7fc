"""A sentence-transformers model, loaded from a local directory and from nowhere else."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from nexus_core.spi import (
    BackendError,
    ConfigurationError,
    Embedder,
    Metric,
    Outcome,
    Problem,
    Vectors,
)
from nexus_embedders._model_files import fingerprint, refusal
from nexus_embedders._settings import SentenceTransformerConfig

VERSION: Final = "1"
# 96 bits of the fingerprint: what a version token has room for, and more than chance can meet.
_FINGERPRINT_DIGITS: Final = 24
# Read by the library's own dependencies when they are imported.
_OFFLINE: Final = {
    "DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}


def load(config: SentenceTransformerConfig) -> Embedder:
    """Load the model. Reads files only; the hub's libraries are told to stay offline.

    Raises ``ConfigurationError`` for a model that is absent, unsafe or does not load, and where the
    extra is not installed.
    """
    folder = Path(config.model)
    found = fingerprint(folder, {"normalise": config.normalise})
    os.environ.update(_OFFLINE)
    try:
        library = import_module("sentence_transformers")
    except ImportError:
        problem = Problem(
            path="use",
            what="needs the package sentence-transformers, which is not installed",
            fix="pip install 'nexus-embedders[sentence-transformers]'",
            code="embedder.extra",
        )
        raise ConfigurationError([problem]) from None
    try:
        model = library.SentenceTransformer(
            str(folder),
            device=config.device,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  the libraries below raise anything for a broken model
        raise refusal("the model does not load", "check its files, and the device") from None
    version = f"{VERSION}+{found[:_FINGERPRINT_DIGITS]}"
    try:
        return SentenceTransformerEmbedder(model, config, version)
    except BackendError:
        raise refusal("the model loads, but gives no vectors", "check its files") from None


class SentenceTransformerEmbedder(Embedder):
    """Vectors of one model; zero for a text of blanks. Threads take turns.

    Equal versions mean equal files and settings. The last bits of a vector may differ between
    machines and releases of the libraries below, as floating point does.
    """

    def __init__(self, model: Any, config: SentenceTransformerConfig, version: str) -> None:
        self._model = model
        self._config = config
        self._version = version
        self._turn = threading.Lock()
        # Asked of a vector: what a model says of its dimension has changed its name, and can be
        # unknown to it.
        self._dimension = len(self._encoded(["probe"])[0])
        if not self._dimension:
            raise _failed("the model gave a vector without a number")

    @property
    def version(self) -> str:
        return self._version

    @property
    def dimension(self) -> int:
        return self._dimension

    @property
    def metric(self) -> Metric:
        return self._config.metric

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one vector for each text, in order; raises ``BackendError`` if the model fails."""
        said = [text for text in texts if text.strip()]
        made = iter(self._encoded(said) if said else ())
        zero = [0.0] * self._dimension
        rows = [next(made) if text.strip() else zero for text in texts]
        return Vectors.from_rows(rows, self._dimension)

    def _encoded(self, texts: list[str]) -> list[list[float]]:
        try:
            with self._turn:
                made: list[list[float]] = self._model.encode(
                    texts,
                    batch_size=self._config.batch_size,
                    show_progress_bar=False,
                    convert_to_numpy=True,
                    normalize_embeddings=self._config.normalise,
                ).tolist()
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001  and their errors may quote the text
            raise _failed("the model failed") from None
        if len(made) != len(texts):
            raise _failed("the model gave another number of vectors than it was given texts")
        return made


def _failed(what: str) -> BackendError:
    return BackendError(what, outcome=Outcome.NOT_APPLIED)
