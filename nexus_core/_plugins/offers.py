"""What is installed, read from metadata alone: nothing is imported to know it."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable
from typing import Final

import attrs

from nexus_core._spi.hookspecs import ENTRY_POINT_GROUP

_RUNS: Final = re.compile(r"[-_.]+")


@attrs.frozen(order=True)
class Offer:
    """One entry point: the family's name, who offers it, and the module that implements it."""

    name: str
    distribution: str
    version: str
    module: str

    @property
    def label(self) -> str:
        """Distribution and version, as errors name them."""
        return f"{self.distribution} {self.version}"


@attrs.frozen
class Installed:
    """Every offer found, and the distributions whose metadata could not be read."""

    offers: tuple[Offer, ...]
    unreadable: tuple[str, ...]


def read_installed() -> Installed:
    """Read the entry points of every installed distribution. Imports nothing.

    A distribution with broken metadata hides no other one; it is named in ``unreadable``.
    """
    offers: list[Offer] = []
    unreadable: list[str] = []
    for distribution in importlib.metadata.distributions():
        try:
            entries = [e for e in distribution.entry_points if e.group == ENTRY_POINT_GROUP]
        except Exception:  # noqa: BLE001  # metadata of strangers fails in any way it likes
            unreadable.append(_metadata(distribution, "Name"))
            continue
        if entries:
            name = _metadata(distribution, "Name")
            version = _metadata(distribution, "Version")
            offers += [Offer(entry.name, name, version, entry.value) for entry in entries]
    return Installed(without_repeats(offers), tuple(sorted(set(unreadable))))


def without_repeats(offers: Iterable[Offer]) -> tuple[Offer, ...]:
    """Sort, and drop offers that one distribution makes twice over.

    An editable install is often listed twice; the same module offered under the same name by the
    same distribution is one offer, of the version that comes first on the path.
    """
    kept: dict[tuple[str, str, str], Offer] = {}
    for offer in offers:
        kept.setdefault((offer.name, normalised(offer.distribution), offer.module), offer)
    return tuple(sorted(kept.values()))


def normalised(distribution: str) -> str:
    """A distribution's name in the one spelling that indexes compare (PEP 503)."""
    return _RUNS.sub("-", distribution).lower()


def _metadata(distribution: importlib.metadata.Distribution, key: str) -> str:
    try:
        value: object = distribution.metadata[key]
    except Exception:  # noqa: BLE001  # as above: a stranger's metadata
        value = None
    return value if isinstance(value, str) and value else "unknown"
