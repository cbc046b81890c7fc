"""Files that commands write: whole or not there, and never over something else by accident."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from nexus_core import NexusError
from nexus_core._cli.failure import UsageError


def require_paths(paths: Iterable[str]) -> None:
    """Refuse before any work is done where one of the paths leads nowhere; name all of them."""
    missing = [path for path in paths if not Path(path).exists()]
    if missing:
        raise UsageError(f"there is no file or folder {', '.join(missing)}", "check the spelling")


def create(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a new file, durably; ``FileExistsError`` if there is one of any kind already."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Write a file beside its place and put it there at the end; an error leaves what was."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except NexusError:
        # Some errors of the tree are OSErrors as well; they are not about this file.
        beside.unlink(missing_ok=True)
        raise
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
