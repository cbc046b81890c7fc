"""Events as OpenLineage run events, into a file or to an endpoint of the operator's.

One event is one run of the job that is named like its action, in the namespace of its scope; ids
are datasets of that namespace. What OpenLineage has no word for is a run facet of our own. Mapping:
``docs/formats.md``; specification: https://openlineage.io/spec/2-0-2/OpenLineage.json
"""

from __future__ import annotations

import http.client
import json
import ssl
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, final
from urllib.parse import urlsplit

from nexus_core._config.exporters import is_plain_url
from nexus_core._config.secrets import Secret
from nexus_core._events.event import DatasetEvent
from nexus_core._events.exporter import EventExporter
from nexus_core._events.jsonl import JsonLinesExporter
from nexus_core._model.canonical import canonical_json
from nexus_core._model.errors import (
    InvalidArgumentError,
    StoreError,
    UnauthenticatedError,
    UnavailableError,
)

PRODUCER: Final = "urn:nexus-core"
SCHEMA: Final = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
FACET: Final = "urn:nexus-core:facet:dataset-event:1"
_DROPPED: Final = (
    "https://openlineage.io/spec/facets/1-0-1/LifecycleStateChangeDatasetFacet.json"
    "#/$defs/LifecycleStateChangeDatasetFacet"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_READS: Final = frozenset(("retrieve", "vector.query", "atom.query", "atom.export", "asset.query"))
_REFUSED: Final = frozenset((400, 413, 415, 422))


@final
class OpenLineageExporter(EventExporter):
    """Sends run events to exactly one place: a file of JSON lines, or an HTTP endpoint.

    Asks no one else anything: no proxy of the environment is used and no redirect followed.
    """

    def __init__(
        self,
        *,
        path: str | Path | None = None,
        url: str | None = None,
        token: Secret | None = None,
        namespace: str = "nexus",
        timeout: float = 10.0,
    ) -> None:
        if (path is None) == (url is None):
            raise InvalidArgumentError("an OpenLineage exporter has either a path or a url")
        self._file = None if path is None else JsonLinesExporter(path)
        self._url = None if url is None else check_url(url)
        self._token = token
        self._namespace = namespace
        self._timeout = timeout

    def export(self, events: Sequence[DatasetEvent]) -> None:
        """Append to the file, or post one after the other.

        Raises ``InvalidArgumentError`` where the endpoint refuses an event as such,
        ``UnauthenticatedError`` where it refuses us, and ``UnavailableError`` for anything else.
        """
        lines = [canonical_json(run_event(event, self._namespace)) for event in events]
        if self._file is not None:
            self._file.append(lines)
            return
        for line in lines:
            self._post(line)

    def _post(self, body: bytes) -> None:
        assert self._url is not None
        parts = urlsplit(self._url)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.reveal().decode('latin-1')}"
        host, port = parts.hostname or "", parts.port
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            tls = ssl.create_default_context()
            connection = http.client.HTTPSConnection(host, port, timeout=self._timeout, context=tls)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=self._timeout)
        where = parts.path or "/"
        try:
            connection.request(
                "POST", f"{where}?{parts.query}" if parts.query else where, body, headers
            )
            answer = connection.getresponse()
            answer.read(1 << 16)
            status = answer.status
        except (OSError, http.client.HTTPException, ValueError):
            status = None
        finally:
            connection.close()
        failure = _failure(status)
        if failure is not None:
            raise failure


def _failure(status: int | None) -> StoreError | None:
    if status is None:
        return UnavailableError("the endpoint for lineage events does not answer")
    if 200 <= status < 300:
        return None
    said = f"the endpoint for lineage events answered {status}"
    if status in _REFUSED:
        return InvalidArgumentError(said)
    return UnauthenticatedError(said) if status in (401, 403) else UnavailableError(said)


def check_url(value: str) -> str:
    """Return an http or https URL without credentials in it; raise ``InvalidArgumentError``."""
    if is_plain_url(value):
        return value
    raise InvalidArgumentError(
        "the url is not one of http or https with a host and without credentials"
    )


def run_event(event: DatasetEvent, namespace: str) -> dict[str, Any]:
    """One event as an OpenLineage ``RunEvent``; the subject stays at home."""
    place = f"{namespace}/{event.env}/{event.tenant_id}"
    read = event.action in _READS
    inputs = (*event.source_ids, *(event.result_ids if read else ()))
    outputs: list[dict[str, Any]] = [] if read else [_dataset(place, i) for i in event.result_ids]
    if event.action.endswith(".delete"):
        outputs += [_dataset(place, i, dropped=True) for i in event.source_ids]
    return {
        "eventType": "COMPLETE" if event.outcome == "ok" else "OTHER",
        "eventTime": (_EPOCH + timedelta(microseconds=event.time)).isoformat(
            timespec="microseconds"
        ),
        "run": {
            "runId": _run_id(event.event_id),
            "facets": {"nexus_datasetEvent": _facet(event)},
        },
        "job": {"namespace": place, "name": event.action, "facets": {}},
        "inputs": [_dataset(place, i) for i in inputs],
        "outputs": outputs,
        "producer": PRODUCER,
        "schemaURL": SCHEMA,
    }


def _dataset(place: str, name: str, *, dropped: bool = False) -> dict[str, Any]:
    facets: dict[str, Mapping[str, Any]] = {}
    if dropped:
        facets["lifecycleStateChange"] = {
            "_producer": PRODUCER,
            "_schemaURL": _DROPPED,
            "lifecycleStateChange": "DROP",
        }
    return {"namespace": place, "name": name, "facets": facets}


def _facet(event: DatasetEvent) -> dict[str, Any]:
    data = event.to_data()
    kept = (
        "schema_version",
        "event_id",
        "sequence",
        "actor_id",
        "actor_kind",
        "trace_id",
        "request_id",
        "outcome",
        "kind",
        "space",
        "pii_flags",
        "train_ok",
    )
    return {"_producer": PRODUCER, "_schemaURL": FACET, **{name: data[name] for name in kept}}


def _run_id(event_id: str) -> str:
    try:
        return str(uuid.UUID(event_id))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([PRODUCER, event_id])))
