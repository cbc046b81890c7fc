"""Where a block stands among the headings: by numbers, for a locator holds no words."""

from __future__ import annotations

import attrs


@attrs.define
class _Heading:
    level: int
    number: int
    below: int = 0


class Sections:
    """Counts headings as they come. The path ``"2.1"`` is the first section in the second.

    Levels that a document leaves out do not appear in the path.
    """

    def __init__(self) -> None:
        self._open: list[_Heading] = [_Heading(0, 0)]

    def enter(self, level: int) -> None:
        """A heading of this level, from 1, begins a section."""
        while self._open[-1].level >= level:
            self._open.pop()
        outer = self._open[-1]
        outer.below += 1
        self._open.append(_Heading(level, outer.below))

    def locator(self) -> dict[str, int | str]:
        """``section`` and ``level`` of the innermost section; empty before the first heading."""
        if len(self._open) == 1:
            return {}
        path = ".".join(str(heading.number) for heading in self._open[1:])
        return {"section": path, "level": self._open[-1].level}
