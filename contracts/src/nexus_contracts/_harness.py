"""The one object a plugin author supplies: how to open the backend, and how to look behind it."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import attrs

from nexus_contracts.faults._model import FaultInjector
from nexus_core import PluginContractError
from nexus_core._spi.capabilities import CAPABILITIES_OF
from nexus_core.spi import Backend, BackendSpec, Proof, Runtime, SignedUrl

# How Python begins to say that a class lacks methods, and which.
_ABSTRACT: Final = "Can't instantiate abstract class"

Reality = Literal["real", "emulator", "memory"]
# Sends a signed request with a body; gives the status, as HTTP has them, and what was answered.
Send = Callable[[Backend, SignedUrl, bytes], tuple[int, bytes]]


@attrs.frozen
class Namespace:
    """A place of its own for one store: an empty folder, and a token for names on a server."""

    path: Path
    token: str = attrs.field(factory=lambda: secrets.token_hex(6))


class BackDoor(Protocol):
    """Reads and writes below the SPI, so that what a backend says can be held against what is."""

    def snapshot(self) -> Mapping[str, bytes]:
        """Everything stored, by physical name."""

    def write(self, name: str, data: bytes) -> None:
        """Put bytes under a physical name, behind the backend's back."""

    def remove(self, name: str) -> None:
        """Delete a physical name, behind the backend's back."""


@attrs.frozen
class FolderBackDoor:
    """The back door of a backend that keeps files in a folder."""

    root: Path

    def snapshot(self) -> Mapping[str, bytes]:
        """Every file's bytes by path relative to the folder."""
        found: dict[str, bytes] = {}
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = Path(folder) / name
                try:
                    found[path.relative_to(self.root).as_posix()] = path.read_bytes()
                except OSError:
                    continue
        return found

    def write(self, name: str, data: bytes) -> None:
        """Write a file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def remove(self, name: str) -> None:
        """Delete a file."""
        (self.root / name).unlink(missing_ok=True)


@attrs.frozen(kw_only=True)
class BackendHarness:
    """Everything the suite needs to know about one backend.

    ``settings`` gives the validated settings of a fresh store in a namespace; the suite provisions
    it with the spec's own ``provision``. ``broken_settings`` names settings that must be refused by
    ``check``, such as a place that is not there. ``back_door`` opens the way below the SPI.
    ``reality`` says what stands behind it; a run against an emulator or memory says so in its
    verdict. ``survives_reopen`` is false for a store that keeps nothing. ``faults`` makes an
    injector of faults between the backend and its engine, which the suite closes again. ``send``
    sends a presigned request where plain HTTP cannot. ``proofs`` is what ``spec.prove`` answered of
    the engine, for the backend to find in its runtime. ``remove`` takes a store's whole place away,
    as who drops a bucket or a schema does; a place behind a ``FolderBackDoor`` the suite removes by
    itself. ``bare`` gives settings of a place that nobody provisioned, where those of a fresh store
    lead into one that is there for all. What is not given leaves its requirements untested, and the
    verdict incomplete.
    """

    spec: BackendSpec = attrs.field()
    settings: Callable[[Namespace], Any]
    reality: Reality = attrs.field(
        default="real", validator=attrs.validators.in_(("real", "emulator", "memory"))
    )
    back_door: Callable[[Namespace], BackDoor] | None = None
    broken_settings: Callable[[Namespace], Mapping[str, Any]] | None = None
    survives_reopen: bool = True
    faults: Callable[[], FaultInjector] | None = None
    send: Send | None = None
    proofs: Mapping[str, Proof] = attrs.field(factory=dict)
    remove: Callable[[Namespace], None] | None = None
    bare: Callable[[Namespace], Any] | None = None

    @spec.validator
    def _of_its_role(self, _: object, spec: BackendSpec) -> None:
        if not isinstance(spec.capabilities, CAPABILITIES_OF[spec.role]):
            raise ValueError(f"the spec's capabilities are not those of the role {spec.role}")

    def build(
        self, namespace: Namespace, now: Callable[[], int], settings: Any | None = None
    ) -> Backend:
        """Build the backend on what is there, as the core would; with other settings if given.

        Raises ``PluginContractError``, which names the factory, where that cannot be called, or
        would make a class with a method of the role missing.
        """
        given = self.settings(namespace) if settings is None else settings
        runtime = self.runtime(namespace, now)
        try:
            return self.spec.factory(given, runtime)
        except TypeError as error:
            # Without a frame of the factory's own it was the call that failed, not its code.
            called = error.__traceback__ is not None and error.__traceback__.tb_next is not None
            why = str(error)
            if called and not why.startswith(_ABSTRACT):
                raise
        name = getattr(self.spec.factory, "__qualname__", type(self.spec.factory).__name__)
        raise PluginContractError(
            f"the factory {name} gives no {self.spec.role} backend: {why}",
            hint="write every method of the role's class, and take (config, runtime)",
        )

    def runtime(self, namespace: Namespace, now: Callable[[], int]) -> Runtime:
        """What the core would hand the factory."""
        return Runtime(store="subject", base=namespace.path, now=now, proofs=self.proofs)

    def provision(self, namespace: Namespace, now: Callable[[], int]) -> Sequence[str]:
        """Create what a fresh store needs, as ``nexus init`` would; what was made, in words."""
        if self.spec.provision is None:
            return ()
        runtime = Runtime(store="subject", base=namespace.path, now=now)
        return self.spec.provision(self.settings(namespace), runtime)

    def removes(self, namespace: Namespace) -> bool:
        """Whether a place can be taken away."""
        return self.remove is not None or self.folder(namespace) is not None

    def take_away(self, namespace: Namespace) -> None:
        """Take a store's whole place away, behind the backend's back."""
        if self.remove is not None:
            self.remove(namespace)
        elif (folder := self.folder(namespace)) is not None:
            for each in folder.iterdir() if folder == namespace.path else (folder,):
                if each.is_dir() and not each.is_symlink():
                    shutil.rmtree(each)
                else:
                    each.unlink(missing_ok=True)

    def folder(self, namespace: Namespace) -> Path | None:
        """The folder that a store of files has for itself; ``None`` for any other store."""
        door = None if self.back_door is None else self.back_door(namespace)
        return door.root if isinstance(door, FolderBackDoor) else None
