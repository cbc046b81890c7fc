"""What carries events elsewhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from nexus_core._events.event import DatasetEvent


class EventExporter(ABC):
    """A destination of events. Used by one relay at a time in a thread, by several in processes.

    The relay calls it again with the same events where a kill or an error left open whether they
    arrived, so what it does must bear repetition.
    """

    @abstractmethod
    def export(self, events: Sequence[DatasetEvent]) -> None:
        """Deliver events of one scope, in order, durably; all of them when it returns.

        Raises ``InvalidArgumentError`` for what the destination will never take: the relay finds
        out which event it is, puts it aside and reports it. Anything else that is raised stops this
        exporter in this scope until the next run, and no event is passed over.
        """

    def close(self) -> None:  # noqa: B027  # most have nothing to close
        """Release what is held. Idempotent."""
