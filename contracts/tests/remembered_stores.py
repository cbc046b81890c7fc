"""Factories of stores that another process opens as well.

A module of its own, since a test's module has no name under which another process could import it.
"""

from __future__ import annotations

import os
from typing import Any

from nexus_contracts.zoo._filed import opened

from nexus_core.spi import Backend, Runtime, StoreRole, UnavailableError

ROLE = StoreRole.AUDIT


def once(_config: object, runtime: Runtime) -> Backend:
    """Open a store that nobody else has open, in whatever process."""
    mark = runtime.base / "open"
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        raise UnavailableError("somebody has it open") from None
    store: Any = opened(ROLE, "whole", None, runtime)
    close = store.close

    def leave() -> None:
        close()
        mark.unlink(missing_ok=True)

    store.close = leave
    backend: Backend = store
    return backend


def escaping(_config: object, runtime: Runtime) -> Backend:
    """Open a store that has an error of its own in every process but one, whose id is noted."""
    store: Any = opened(ROLE, "whole", None, runtime)
    note = runtime.base / "first"
    if not note.exists():
        note.write_text(str(os.getpid()), encoding="utf-8")

    def broken(*_: object) -> Any:
        raise RuntimeError

    if note.read_text(encoding="utf-8") != str(os.getpid()):
        store.head = broken
    backend: Backend = store
    return backend
