"""A plugin in one file: an atomizer for SubRip subtitles, one atom for each caption.

A plugin is a module with hooks, and an entry point that names it. To install this one, put beside
it a ``pyproject.toml`` with::

    [project]
    name = "nexus-subtitles"
    version = "0.1.0"
    dependencies = ["nexus-core"]

    [project.entry-points."nexus.plugins"]
    subtitles = "subtitles"

and name it in ``nexus.toml``::

    [atomizers.subtitles]
    plugin = "subtitles"
    use = ["subrip@1"]

``nexus plugins check subtitles`` says whether it is sound. Run as a script it cuts a file::

    python subtitles.py film.srt
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nexus_core.spi import Atomizer, AtomizerSpec, InvalidArgumentError, Piece, hookimpl

CAPTION = re.compile(
    r"(?P<number>\d+)\n(?P<begin>\d\d:\d\d:\d\d,\d{3}) --> \d\d:\d\d:\d\d,\d{3}\n(?P<text>.+)",
    re.DOTALL,
)


class SubRipAtomizer(Atomizer):
    """One piece for each caption; equal files give equal pieces."""

    def atomize(self, path: Path, parameters: Mapping[str, Any]) -> Iterator[Piece]:
        """Yield the captions in order; raises ``InvalidArgumentError`` naming the first bad one."""
        text = path.read_text(encoding="utf-8-sig")
        for position, block in enumerate(re.split(r"\n{2,}", text.strip()), 1):
            match = CAPTION.fullmatch(block.strip())
            if match is None:
                # Say where, never what: an error must not carry content.
                raise InvalidArgumentError(f"caption {position} is not in the SubRip format")
            yield Piece(
                text=" ".join(match["text"].split()),
                locator={"caption": int(match["number"]), "at": match["begin"]},
            )


@hookimpl
def nexus_atomizer() -> Sequence[AtomizerSpec]:
    """Offer ``subrip``."""
    return [
        AtomizerSpec(
            name="subrip",
            version="1",
            summary="captions of SubRip subtitles",
            media_types=("application/x-subrip",),
            factory=SubRipAtomizer,
        )
    ]


if __name__ == "__main__":
    for piece in SubRipAtomizer().atomize(Path(sys.argv[1]), {}):
        print(piece.locator, piece.text)
