"""Settings of the embedders that have any."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from nexus_core.spi import BackendConfig, Metric


class SentenceTransformerConfig(BackendConfig):
    """A model on this machine, and how to run it."""

    model: str
    """Directory of the model, as an absolute path. Nothing is ever fetched from elsewhere."""
    metric: Metric = "cosine"
    """The metric that the model was trained for."""
    normalise: bool = True
    """Scale every vector to length 1."""
    device: str = Field(default="cpu", pattern=r"^(cpu|mps|cuda(:[0-9]{1,3})?)$")
    """Where the model runs: ``cpu``, ``cuda``, ``cuda:1``, ``mps``."""
    batch_size: int = Field(default=32, ge=1, le=4096)
    """How many texts the model is given at once."""

    @field_validator("model")
    @classmethod
    def _absolute(cls, value: str) -> str:
        # Neither the working directory nor a model hub is a place that the operator has named.
        if not Path(value).is_absolute():
            raise ValueError("give the absolute path of a directory on this machine")
        return value
