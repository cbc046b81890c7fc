"""What a report may say of settings and messages: no secret, no place, no name of a namespace."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from nexus_contracts._harness import BackendHarness, Namespace
from nexus_core._plugins.settings import names_a_secret
from nexus_core.spi import SecretRef

MASK: Final = "…"
_NAMESPACE: Final = r"nexus-contracts-[A-Za-z0-9_]+"
# A token that no text contains by accident, so that where it went can be seen.
_MARK: Final = "f0e1d2c3b4a5"
_CREDENTIALS: Final = re.compile(r"://[^/\s@]+@")
_SHORTEST: Final = 4

Scrub = Callable[[str], str]


def scrubber(harness: BackendHarness) -> Scrub:
    """A function that takes out of a text every place and secret that the settings name."""
    folder = Path(tempfile.gettempdir()) / f"nexus-contracts-{_MARK}"
    # A place inside a namespace is a place for each: the pattern stands for all of them.
    patterns = [re.escape(str(folder.parent)) + r"[/\\]" + _NAMESPACE, _NAMESPACE]
    patterns.append(re.escape(str(Path.home())) if len(str(Path.home())) > 1 else _NAMESPACE)
    namespace = Namespace(folder, _MARK)
    try:
        values = list(_texts(harness.settings(namespace), folder))
    except Exception:  # noqa: BLE001  # settings that cannot be made have failed every check already
        values = []
    patterns += [
        re.escape(text)
        .replace(re.escape(str(folder)), r"\S*?" + _NAMESPACE)
        .replace(_MARK, "[0-9a-f]{12}")
        for text in values
    ]
    found = re.compile("|".join(sorted(set(patterns), key=len, reverse=True)))

    def scrub(text: str) -> str:
        return _CREDENTIALS.sub(f"://{MASK}@", found.sub(MASK, text))

    return scrub


def secrets_of(harness: BackendHarness, namespace: Namespace) -> list[str]:
    """Every place, name made for the namespace, and secret in the settings of a namespace."""
    found = _texts(harness.settings(namespace), namespace.path)
    texts = [text for text in found if len(text) >= _SHORTEST and text != str(namespace.path)]
    return sorted({*texts, str(namespace.path)})


def shown_settings(harness: BackendHarness) -> Mapping[str, Any]:
    """The settings by name: numbers, flags and the code's own defaults; all else masked."""
    folder = Path(tempfile.gettempdir()) / f"nexus-contracts-{_MARK}"
    try:
        settings = harness.settings(Namespace(folder, _MARK))
        fields = type(settings).model_fields
    except Exception:  # noqa: BLE001  # as above
        return {}
    return {
        name: _shown(name, getattr(settings, name), field.default) for name, field in fields.items()
    }


def _shown(name: str, value: Any, default: Any) -> Any:
    if names_a_secret(name):
        return None if value is None else MASK
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str) and value == default:
        return str(value)
    return MASK


def _texts(value: Any, folder: Path, *, secret: bool = False) -> Iterator[str]:
    """Every text in settings that is a place, a name made from the namespace, or a secret."""
    if isinstance(value, SecretRef):
        try:
            yield value.resolve(folder).reveal().decode("utf-8", "replace")
        except Exception:  # noqa: BLE001  # a secret that cannot be read cannot be shown either
            return
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _texts(getattr(value, name), folder, secret=names_a_secret(name))
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _texts(each, folder, secret=names_a_secret(str(name)))
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from _texts(each, folder, secret=secret)
    elif isinstance(value, str | Path):
        text = str(value)
        place = any(mark in text for mark in ("/", "\\", _MARK))
        if text and (secret or (place and len(text) >= _SHORTEST)):
            yield text
