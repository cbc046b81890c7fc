"""Where the quickstart keeps what it makes, and that it touches no other deployment."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import attrs

from nexus_core._cli.failure import UsageError
from nexus_core._cli.files import create
from nexus_core._cli.init import FILE, Made, initialise

DEFAULT: Final = Path("nexus-quickstart")
_MARK: Final = "QUICKSTART.txt"
_TEXT: Final = """\
`nexus quickstart` made this folder. It holds a small deployment with two tenants, acme and
globex: nexus.toml is its configuration, secrets/ its root key, data/ what the tenants keep, and
checkpoints/ the signed ends of their audit trails. Delete the folder to start again.
"""


@attrs.frozen(kw_only=True)
class Place:
    """The quickstart's folder and what was made in it just now."""

    folder: Path
    made: Made

    @property
    def config(self) -> Path:
        """The configuration's path."""
        return self.folder / FILE

    def checkpoint(self, tenant: str) -> Path:
        """Where a tenant's checkpoint is kept between two runs."""
        return self.folder / "checkpoints" / f"{tenant}.checkpoint"


def prepare(folder: Path) -> Place:
    """Make the folder and a deployment in it, or find those of an earlier run.

    Raises ``UsageError`` for a folder that holds anything else: the tenants' names are common, and
    a deployment that is in use has no business with the quickstart's documents.
    """
    folder = folder.absolute()
    mark = folder / _MARK
    if folder.exists() and not mark.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder} is there already, and the quickstart did not make it",
            "name another with --dir",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not mark.exists():
            create(mark, _TEXT.encode())
        (folder / "checkpoints").mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written: {error.strerror}", "name another with --dir"
        ) from None
    return Place(folder=folder, made=initialise(folder))
