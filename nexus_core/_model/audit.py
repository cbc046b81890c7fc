"""Values of the audit sink: log entries and heads. The sink stores bytes; the core gives them
meaning (formats in ``docs/formats.md``)."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

Phase: TypeAlias = Literal["intent", "outcome", "access", "denied", "event"]


@attrs.frozen(kw_only=True)
class LogEntry:
    """One entry of a scope's log.

    ``leaf`` is the permanent part, hashed into the tree. ``salt`` and ``sealed`` are what its
    commitment opens to; erasing a subject sets them and ``subject_tag`` to ``None`` and leaves the
    leaf, so every proof stays valid. ``operation`` and ``phase`` let a sink find intents that have
    no outcome.
    """

    index: int
    leaf: bytes
    salt: bytes | None = attrs.field(repr=False)
    sealed: bytes | None = attrs.field(repr=False)
    subject_tag: bytes | None = attrs.field(repr=False)
    operation: str
    phase: Phase
    recorded_at: int


@attrs.frozen(kw_only=True)
class LogHead:
    """The end of a scope's log: its size, the tree's right edge, and the signed checkpoint.

    ``edge`` is the concatenated 32-byte hashes of the perfect subtrees, largest first.
    """

    size: int
    edge: bytes = attrs.field(repr=False)
    checkpoint: bytes
