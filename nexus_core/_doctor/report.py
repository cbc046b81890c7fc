"""What the doctor says: named checks, each in order or with what is wrong."""

from __future__ import annotations

import attrs

from nexus_core._model.errors import Problem


@attrs.frozen(kw_only=True)
class Check:
    """One thing that was looked at.

    ``area`` says what it was about (``configuration``, ``stores.files``, ``prod/raw/files``) and
    ``law`` what has to hold. It is in order when there is no problem. ``notes`` are remarks.
    """

    area: str
    law: str
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.problems
