"""Writes of every kind about one thing, and every read that can tell of it: calls that overlap.

Each role has its *ground*: states that can be made again and again in a scope, writes of which each
changes what most reads give, and those reads. ETags and the like are in the answers as they are;
whoever compares answers renames them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs

from nexus_core import Scope

# What a read of a ground is given: the store, the scope, and what is known of it.
Read = Callable[[Any, Scope, Any], Any]


@attrs.frozen
class Write:
    """A write: in words, the states that it starts from and leaves, and the call."""

    words: str
    start: str
    leaves: str
    make: Read


class Ground(Protocol):
    """What one role's calls overlap about."""

    @property
    def writes(self) -> Sequence[Write]:
        """One of each kind. There are the states ``"empty"``, where the scope has nothing, and
        ``"full"``, others that the role knows, and ``""``, which may be any."""

    @property
    def reads(self) -> Mapping[str, Read]:
        """All of them, by name."""

    def prepare(self, store: Any, scope: Scope, start: str, left: str) -> Any:
        """Bring the scope into a state from another, by a write; gives what is known of it then."""

    def known(self, before: Any, made: Any) -> Any:
        """What is known after a write that gave something."""


class Plain:
    """Where a write changes nothing of what is known."""

    def known(self, before: Any, made: Any) -> Any:
        """The same."""
        return before
