"""Destinations of dataset events: where each leads, and the token that opens it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from nexus_core._config.config import ExporterUse
from nexus_core._config.document import Place, path_of
from nexus_core._config.draft import Draft
from nexus_core._config.secrets import Secret
from nexus_core._config.stores import Surroundings
from nexus_core._model.errors import Problem


def build_exporters(
    draft: Draft, around: Surroundings
) -> tuple[dict[str, ExporterUse], list[Problem]]:
    """Resolve each exporter's place and token; say what is wrong with any of them."""
    made: dict[str, ExporterUse] = {}
    problems: list[Problem] = []
    for name, table in draft.exporters.items():
        if table is None:
            continue
        at: Place = ("exporters", name)
        if table.url is not None and not is_plain_url(table.url):
            problems.append(
                Problem(
                    path=path_of((*at, "url")),
                    what="is no URL of http or https with a host and without credentials",
                    fix="give the endpoint's address, and its token by reference as `token`",
                    code="config.invalid",
                )
            )
        token = None
        if table.token is not None:
            token = around.secret(table.token, (*at, "token"), problems)
        made[name] = ExporterUse(
            name=name,
            format=table.format,
            path=None if table.path is None else around.base / Path(table.path).expanduser(),
            url=table.url,
            token=None if token is None else Secret(token),
            namespace=table.namespace,
        )
    return made, problems


def is_plain_url(value: str) -> bool:
    """Whether it is an http or https URL with a host, and without credentials or a fragment."""
    try:
        parts = urlsplit(value)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return sound and "@" not in parts.netloc and not parts.fragment
