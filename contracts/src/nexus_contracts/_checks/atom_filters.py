"""Filters over a handful of records, with the answers written out by hand."""

from __future__ import annotations

from typing import Any

from nexus_core.spi import (
    And,
    Eq,
    Exists,
    Filter,
    Ge,
    Gt,
    In,
    Le,
    Lt,
    Ne,
    Not,
    NotIn,
    Or,
    Prefix,
)

ROWS: dict[str, dict[str, Any]] = {
    "r0": {"kind": "data", "position": 1, "subject": "u1", "train_ok": True},
    "r1": {"kind": "data", "position": 2, "train_ok": False},
    "r2": {"kind": "chat", "position": 3, "subject": "u2", "retain_until": 5, "train_ok": True},
    "r3": {"kind": "Data", "position": -1, "subject": "", "retain_until": 0, "train_ok": False},
    "r4": {"kind": "da_a", "position": 2**53, "subject": "u%", "train_ok": False},
}
# Which rows each filter gives, written out by hand: an oracle that shares no code with anyone.
FILTERS: list[tuple[Filter, str]] = [
    (Eq("kind", "data"), "r0 r1"),
    (Ne("kind", "data"), "r2 r3 r4"),
    (Eq("subject", "u1"), "r0"),
    (Ne("subject", "u1"), "r1 r2 r3 r4"),
    (Eq("subject", ""), "r3"),
    (In("kind", ("chat", "da_a")), "r2 r4"),
    (NotIn("kind", ("chat", "da_a")), "r0 r1 r3"),
    (In("subject", ("u1", "u2")), "r0 r2"),
    (NotIn("subject", ("u1", "u2")), "r1 r3 r4"),
    (Lt("position", 2), "r0 r3"),
    (Le("position", 2), "r0 r1 r3"),
    (Gt("position", 2), "r2 r4"),
    (Ge("position", 2), "r1 r2 r4"),
    (Lt("retain_until", 5), "r3"),
    (Ge("retain_until", 0), "r2 r3"),
    (Not(Ge("retain_until", 0)), "r0 r1 r4"),
    (Exists("subject"), "r0 r2 r3 r4"),
    (Not(Exists("subject")), "r1"),
    (Exists("kind"), "r0 r1 r2 r3 r4"),
    (Prefix("kind", "da"), "r0 r1 r4"),
    (Prefix("kind", "da_"), "r4"),
    (Prefix("kind", ""), "r0 r1 r2 r3 r4"),
    (Prefix("subject", "u%"), "r4"),
    (Not(Prefix("subject", "u")), "r1 r3"),
    (And((Eq("kind", "data"), Gt("position", 1))), "r1"),
    (Or((Eq("kind", "chat"), Eq("subject", "u1"))), "r0 r2"),
    (Not(Or((Eq("kind", "chat"), Eq("subject", "u1")))), "r1 r3 r4"),
    (And((Or((Eq("kind", "data"), Eq("kind", "chat"))), Ne("subject", "u1"))), "r1 r2"),
    (Or((And((Eq("kind", "data"), Eq("position", 1))), Eq("position", 3))), "r0 r2"),
    (Not(And((Eq("kind", "data"), Eq("subject", "u1")))), "r1 r2 r3 r4"),
    (Not(Not(Eq("kind", "data"))), "r0 r1"),
    (Eq("position", 2**53), "r4"),
]


def operators(where: Any) -> set[str]:
    """Every operator that a filter uses."""
    from nexus_core._model.filters import FILTER_OPS

    below = getattr(where, "parts", None) or ([where.part] if isinstance(where, Not) else [])
    return {FILTER_OPS[type(where)]}.union(*(operators(part) for part in below))
