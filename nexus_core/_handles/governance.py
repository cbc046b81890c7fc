"""What every persisted record says about itself: kind, space, subject, flags, retention.

One value object for all roles, checked once, with one spelling for each place it is stored.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import attrs

from nexus_core._model.context import RequestContext
from nexus_core._model.errors import (
    AlreadyExistsError,
    ContextMismatchError,
    IntegrityError,
    InvalidArgumentError,
    RetentionError,
)
from nexus_core._model.filters import FieldValue
from nexus_core._model.ids import check_name, check_token

_SUBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}")
_MAX_FLAGS = 32
# Engines keep periods in units of their own, of a second at most; in microseconds.
ENGINE_UNIT: Final = 1_000_000


@attrs.frozen(kw_only=True)
class Governance:
    """Kind and space (always said), subject, and what may be done with the record.

    ``train_ok`` is false unless said; ``retain_until`` (µs since the epoch) and ``legal_hold``
    forbid deletion. A child's kind, space and subject are its parent's, its flags are at least as
    strict.
    """

    kind: str
    space: str
    subject: str | None = None
    pii_flags: tuple[str, ...] = ()
    train_ok: bool = False
    retain_until: int | None = None
    legal_hold: bool = False

    @classmethod
    def build(
        cls,
        context: RequestContext,
        kinds: Collection[str],
        *,
        kind: object,
        space: object,
        pii_flags: Iterable[str] = (),
        train_ok: object = False,
        retain_until: object = None,
        legal_hold: object = False,
    ) -> Governance:
        """Check a caller's words; raises ``InvalidArgumentError``. The subject is the context's."""
        if check_token(kind, "the kind") not in kinds:
            raise InvalidArgumentError(
                "the kind is not one that this deployment knows",
                hint=f"kinds here: {', '.join(sorted(kinds))}",
            )
        if type(train_ok) is not bool or type(legal_hold) is not bool:
            raise InvalidArgumentError("train_ok and legal_hold are True or False")
        if retain_until is not None and (type(retain_until) is not int or retain_until < 0):
            raise InvalidArgumentError("retain_until is not microseconds since the epoch")
        if isinstance(pii_flags, str):
            raise InvalidArgumentError("pii_flags is a sequence of tokens, not one string")
        flags = tuple(sorted({check_token(flag, "a pii flag") for flag in pii_flags}))
        if len(flags) > _MAX_FLAGS:
            raise InvalidArgumentError(f"there are more than {_MAX_FLAGS} pii flags")
        return cls(
            kind=check_token(kind, "the kind"),
            space=check_name(space, "the space"),
            subject=context.subject,
            pii_flags=flags,
            train_ok=train_ok,
            retain_until=retain_until,
            legal_hold=legal_hold,
        )

    def require_parent(self, parent: Governance) -> None:
        """Refuse a child whose kind, space or subject is not its parent's."""
        wrong = [
            name
            for name in ("kind", "space", "subject")
            if getattr(self, name) != getattr(parent, name)
        ]
        if wrong:
            raise ContextMismatchError(wrong, hint="a child has its parent's kind, space, subject")

    def tightened(self, parent: Governance) -> Governance:
        """These words and the parent's, the stricter of each."""
        ends = [end for end in (self.retain_until, parent.retain_until) if end is not None]
        return attrs.evolve(
            self,
            pii_flags=tuple(sorted({*self.pii_flags, *parent.pii_flags})),
            train_ok=self.train_ok and parent.train_ok,
            retain_until=max(ends) if ends else None,
            legal_hold=self.legal_hold or parent.legal_hold,
        )

    def ensure_kept_by(self, stored: Governance) -> None:
        """Refuse to pass off what is stored as this, where it is elsewhere or less protected."""
        self.require_parent(stored)
        if self.tightened(stored) != stored:
            raise AlreadyExistsError(
                "it is here already, with less protection than was asked for",
                hint="ask with the flags and retention it has, or under another logical key",
            )

    def stands_for(self, wanted: Governance) -> bool:
        """Whether this is what was wanted, but for a period that an engine has rounded up."""
        if attrs.evolve(self, retain_until=wanted.retain_until) != wanted:
            return False
        if wanted.retain_until is None or self.retain_until is None:
            return self.retain_until == wanted.retain_until
        return 0 <= self.retain_until - wanted.retain_until < ENGINE_UNIT

    @property
    def protects(self) -> bool:
        """Whether it holds something, or retains it, at any time."""
        return self.legal_hold or self.retain_until is not None

    def ensure_deletable(self, now: int) -> None:
        """Raise ``RetentionError`` under a legal hold or before the end of retention."""
        if self.legal_hold:
            raise RetentionError(
                "a legal hold protects this", hint="lift it first: set_legal_hold(..., hold=False)"
            )
        if self.retain_until is not None and self.retain_until > now:
            raise RetentionError(
                "its retention period has not ended", hint="wait: nothing shortens the period"
            )

    # -- spellings ---------------------------------------------------------------------------

    def to_data(self) -> dict[str, Any]:
        """JSON data, for record bodies and events."""
        return {
            "kind": self.kind,
            "space": self.space,
            "subject": self.subject,
            "pii_flags": list(self.pii_flags),
            "train_ok": self.train_ok,
            "retain_until": self.retain_until,
            "legal_hold": self.legal_hold,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Governance:
        """Inverse of ``to_data``."""
        return cls(
            kind=data["kind"],
            space=data["space"],
            subject=data["subject"],
            pii_flags=tuple(data["pii_flags"]),
            train_ok=data["train_ok"] is True,
            retain_until=data["retain_until"],
            legal_hold=data["legal_hold"] is True,
        )

    def to_strings(self) -> dict[str, str]:
        """ASCII strings, for the system metadata of objects."""
        out = {
            "kind": self.kind,
            "space": self.space,
            "train-ok": "1" if self.train_ok else "0",
            "legal-hold": "1" if self.legal_hold else "0",
        }
        if self.subject is not None:
            out["subject"] = self.subject
        if self.pii_flags:
            out["pii-flags"] = ",".join(self.pii_flags)
        if self.retain_until is not None:
            out["retain-until"] = str(self.retain_until)
        return out

    @classmethod
    def from_strings(cls, data: Mapping[str, str]) -> Governance:
        """Inverse of ``to_strings``; raises ``IntegrityError`` for anything else."""
        try:
            retain = data.get("retain-until")
            flags = data.get("pii-flags")
            return cls(
                kind=data["kind"],
                space=data["space"],
                subject=data.get("subject"),
                pii_flags=tuple(flags.split(",")) if flags else (),
                train_ok=data["train-ok"] == "1",
                retain_until=None if retain is None else int(retain),
                legal_hold=data["legal-hold"] == "1",
            )
        except (KeyError, ValueError):
            raise IntegrityError("an object's own metadata is incomplete") from None

    def record_fields(self) -> dict[str, str | int | float | bool]:
        """Fields of a record in the ledger."""
        out: dict[str, str | int | float | bool] = {
            "kind": self.kind,
            "space": self.space,
            "pii": bool(self.pii_flags),
            "train_ok": self.train_ok,
            "legal_hold": self.legal_hold,
        }
        if self.subject is not None:
            out["subject"] = self.subject
        if self.retain_until is not None:
            out["retain_until"] = self.retain_until
        return out

    def vector_fields(self) -> dict[str, FieldValue]:
        """System fields of a vector."""
        out: dict[str, FieldValue] = {
            "kind": self.kind,
            "space": self.space,
            "pii_flags": self.pii_flags,
            "train_ok": self.train_ok,
            "legal_hold": self.legal_hold,
        }
        if self.subject is not None:
            out["subject"] = self.subject
        if self.retain_until is not None:
            out["retain_until"] = self.retain_until
        return out

    @classmethod
    def from_vector_fields(cls, fields: Mapping[str, FieldValue]) -> Governance:
        """Inverse of ``vector_fields``; other fields are ignored."""
        subject = fields.get("subject")
        retain = fields.get("retain_until")
        flags = fields.get("pii_flags", ())
        return cls(
            kind=str(fields["kind"]),
            space=str(fields["space"]),
            subject=None if subject is None else str(subject),
            pii_flags=flags if isinstance(flags, tuple) else (),
            train_ok=fields.get("train_ok") is True,
            retain_until=retain if isinstance(retain, int) else None,
            legal_hold=fields.get("legal_hold") is True,
        )


def check_subject(value: object) -> str:
    """Return a subject id; raise ``InvalidArgumentError`` if it is not one."""
    if type(value) is str and _SUBJECT.fullmatch(value) is not None:
        return value
    raise InvalidArgumentError("the subject does not match [A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}")
