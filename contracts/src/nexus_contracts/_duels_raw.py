"""Duels of raw stores."""

from __future__ import annotations

from typing import Any, Final

import attrs

from nexus_contracts._duel import Alone, Answers, mark, one_wins, outcome
from nexus_core import Scope
from nexus_core.spi import (
    AlreadyExistsError,
    Body,
    ChecksumMismatchError,
    NotFoundError,
    ObjectAttributes,
    PreconditionFailedError,
)

_PLAIN: Final = ObjectAttributes(content_type="text/plain", metadata={}, system={"stamp": "00"})


def _put(store: Any, scope: Scope, key: str, data: bytes, **options: Any) -> None:
    store.put(scope, key, Body(data), _PLAIN, **options)


def _bytes(store: Any, scope: Scope, key: str) -> bytes | None:
    try:
        with store.open(scope, key) as stream:
            return b"".join(stream.chunks)
    except NotFoundError:
        return None


@attrs.frozen
class Create(Alone):
    """Two creators of one key; with ``copies`` they copy."""

    size: int
    copies: bool = False
    about = "create"

    @property
    def title(self) -> str:
        """The call."""
        return f"{'copy' if self.copies else 'put'}(if_absent) of {self.size} bytes"

    def _data(self, side: int) -> bytes:
        return f"side {side} ".encode().ljust(self.size, b".")

    def prepare(self, store: Any, scope: Scope, place: str) -> None:
        """Sources of copies."""
        for side in (0, 1) if self.copies else ():
            _put(store, scope, f"{place}/from{side}", self._data(side))

    def act(self, store: Any, scope: Scope, place: str, side: int, known: Any) -> str:
        """Create it."""

        def create() -> None:
            if self.copies:
                store.copy(scope, f"{place}/from{side}", place, _PLAIN, if_absent=True)
            else:
                _put(store, scope, place, self._data(side), if_absent=True)

        return outcome(create, AlreadyExistsError)

    def wrong(self, store: Any, scope: Scope, place: str, answers: Answers) -> str:
        """One creator, and its bytes."""
        winner = self._data(answers.index("won")) if "won" in answers else None
        held = _bytes(store, scope, place)
        return one_wins(answers) or ("" if held == winner else "the bytes are not the winner's")


@attrs.frozen
class Change(Alone):
    """Two who change the version that they saw: by a put, by a deletion, or one by each."""

    about: str
    size: int
    deletes: tuple[bool, bool]

    @property
    def symmetric(self) -> bool:
        """Where both put, or both delete."""
        return self.deletes[0] == self.deletes[1]

    @property
    def title(self) -> str:
        """The calls."""
        names = [f"put(if_match) of {self.size} bytes", "delete(if_match)"]
        return " and ".join(names[deletes] for deletes in dict.fromkeys(self.deletes))

    def _data(self, side: int) -> bytes:
        return f"side {side} ".encode().ljust(self.size, b".")

    def prepare(self, store: Any, scope: Scope, place: str) -> None:
        """What is changed."""
        _put(store, scope, place, b"before")

    def ready(self, store: Any, scope: Scope, place: str) -> Any:
        """The version."""
        return store.head(scope, place).etag

    def act(self, store: Any, scope: Scope, place: str, side: int, known: Any) -> str:
        """Change it."""
        if self.deletes[side]:
            return outcome(
                lambda: store.delete(scope, place, if_match=known), PreconditionFailedError
            )
        return outcome(
            lambda: _put(store, scope, place, self._data(side), if_match=known),
            PreconditionFailedError,
        )

    def wrong(self, store: Any, scope: Scope, place: str, answers: Answers) -> str:
        """One change, and its effect."""
        winner = answers.index("won") if "won" in answers else 0
        wanted = None if self.deletes[winner] else self._data(winner)
        held = _bytes(store, scope, place)
        return one_wins(answers) or ("" if held == wanted else "the object is not the winner's")


class PutBeside(Alone):
    """Puts of two keys."""

    about = "beside"
    title = "put of two keys"

    def act(self, store: Any, scope: Scope, place: str, side: int, known: Any) -> str:
        """Put one of them."""
        return outcome(lambda: _put(store, scope, f"{place}/{side}", mark(scope, side).encode()))

    def wrong(self, store: Any, scope: Scope, place: str, answers: Answers) -> str:
        """Both are there, and listed."""
        won = [side for side in (0, 1) if answers[side] == "won"]
        wanted = {f"{place}/{side}": mark(scope, side).encode() for side in won}
        page = store.list(scope, prefix=f"{place}/")
        listed = [entry.key for entry in page.items]
        held = {key: _bytes(store, scope, key) for key in wanted}
        right = listed == sorted(wanted) and held == wanted
        return "" if right else f"of the puts of {sorted(wanted)} in {scope} {listed} is listed"


@attrs.frozen
class PutRefused(PutBeside):
    """A put that is refused: of a version that is not there, or with another digest."""

    capabilities: Any

    def act(self, store: Any, scope: Scope, place: str, side: int, known: Any) -> str:
        """Put, in vain."""
        key, data = f"{place}/{side}", mark(scope, side).encode()
        if self.capabilities.conditional_replace:
            return outcome(
                lambda: _put(store, scope, key, data, if_match="nobodys"), PreconditionFailedError
            )
        wrong = Body(data, sha256="0" * 64)
        return outcome(lambda: store.put(scope, key, wrong, _PLAIN), ChecksumMismatchError)
