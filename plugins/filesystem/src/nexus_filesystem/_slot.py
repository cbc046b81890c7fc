"""One key of one scope: where its object is, and what must hold of it before a change."""

from __future__ import annotations

import os

import attrs

from nexus_core.spi import (
    AlreadyExistsError,
    IntegrityError,
    NotFoundError,
    PreconditionFailedError,
    Scope,
)
from nexus_filesystem._names import place
from nexus_filesystem._record import find


@attrs.frozen
class Slot:
    """A key, and its directories and file name below its scope's directory."""

    scope: Scope
    key: str
    directories: tuple[str, ...]
    name: str

    @classmethod
    def of(cls, scope: Scope, key: str) -> Slot:
        """Find out where a key's object belongs."""
        return cls(scope, key, *place(key))

    @property
    def path(self) -> str:
        """Path of the object below the scope's directory."""
        return "/".join((*self.directories, self.name))


@attrs.frozen(kw_only=True)
class Condition:
    """What must hold of the present object, at the instant of the change."""

    if_absent: bool = False
    if_match: str | None = None

    def holds(self, slot: Slot, directory: int, path: str) -> bool:
        """Whether there is an object at a path; raise unless the condition holds.

        A damaged object counts as one: it can be replaced and deleted, not created over.
        """
        etag: str | None = None
        damage: IntegrityError | None = None
        try:
            descriptor, record = find(directory, path, slot.scope, slot.key)
            os.close(descriptor)
            etag = record.info.etag
        except NotFoundError:
            self.allows_absence()
            return False
        except IntegrityError as error:
            damage = error
        if self.if_absent:
            raise AlreadyExistsError("there is an object under this key")
        if self.if_match is not None and damage is not None:
            raise damage
        if self.if_match not in (None, etag):
            raise mismatch()
        return True

    def allows_absence(self) -> None:
        """Raise unless the condition holds where there is no object."""
        if self.if_match is not None:
            raise mismatch()


def mismatch() -> PreconditionFailedError:
    """The error for an ETag that is not the current one."""
    return PreconditionFailedError("the object's ETag is not the one that was expected")
