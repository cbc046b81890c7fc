"""What all four roles have in common: a backend is checked without writing, and closed once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from nexus_core._model.errors import Problem


class Backend(ABC):
    """One store role on one engine, built by its spec's factory from a validated configuration.

    A backend is used from several threads at once. Every method that touches a scope takes it
    first and explicitly; there is no current scope. Methods raise the errors of
    ``nexus_core.spi`` and nothing else; what escapes otherwise reaches the caller as
    ``BackendError`` without its text.
    """

    @abstractmethod
    def check(self) -> Sequence[Problem]:
        """Say what would stop this backend from working, having written nothing.

        Called when the framework opens and by ``nexus doctor``. Reports everything at once: a
        missing directory or bucket, a schema that is absent or newer, a refused credential. An
        empty sequence means ready. Never creates anything.
        """

    @abstractmethod
    def close(self) -> None:
        """Release connections and files. Idempotent; calls after it raise ``ClosedError``."""
