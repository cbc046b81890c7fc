"""Dataset events on their way out: what one says, and the exporters that carry it elsewhere."""

from __future__ import annotations

from nexus_core._events.event import DatasetEvent
from nexus_core._events.exporter import EventExporter
from nexus_core._events.jsonl import JsonLinesExporter
from nexus_core._events.openlineage import OpenLineageExporter

__all__ = ["DatasetEvent", "EventExporter", "JsonLinesExporter", "OpenLineageExporter"]
