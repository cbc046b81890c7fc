"""Where duels are fought: threads or processes that make a call when told to, and may be held up.

A side is told to prepare, to get ready, or to act; while it acts it may be held up before one line
of the backend's own code, until it is told to go on. The conductor decides who moves when: nothing
is left to chance but how long the other one takes.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing import Pipe
from typing import Any, Final, NoReturn, Protocol

import attrs

from nexus_contracts._duel import Answers, Duel
from nexus_contracts._steps import Line, Lines, thinned
from nexus_core import NexusError, Scope

PATIENCE: Final = 60.0
# For each duel and side: seconds until the lines that are left are let be, and lines at most.
BUDGET: Final = 5.0
LINES: Final = 32
FEWEST: Final = 8

Command = tuple[Any, ...]


class Side(Protocol):
    """One who fights."""

    def tell(self, command: Command | None) -> None:
        """Have it do something; ``None`` ends it."""

    def hear(self, patience: float = PATIENCE) -> Any:
        """What it says next; ``None`` if nothing in so many seconds."""


@attrs.frozen
class Server:
    """What does as it is told. ``receive`` gives the next command, ``answer`` says something."""

    store: Any
    backend: object
    duels: Sequence[Duel]
    receive: Callable[[], Command | None]
    answer: Callable[[list[Any]], None]

    def serve(self) -> None:
        """Do what is told until nothing more is."""
        lines, known = Lines(self.backend), None
        while (command := self.receive()) is not None:
            verb, which, tenant, place, side, at = command
            duel, scope = self.duels[which], Scope(tenant, "dev")
            try:
                if verb == "prepare":
                    duel.prepare(self.store, scope, place)
                    self.answer(["ready"])
                elif verb == "ready":
                    known = duel.ready(self.store, scope, place)
                    self.answer(["ready"])
                elif verb == "judge":
                    self.answer(["said", duel.wrong(self.store, scope, place, at), []])
                else:
                    act = partial(duel.act, self.store, scope, place, side, known)
                    self.answer(self._acted(lines, act, at))
            except NexusError as error:
                self.answer(["said", f"raised {type(error).__name__} ({error.code})", []])
            except BaseException as error:  # noqa: BLE001  # the conductor knows whose it is
                self.answer(["escaped", error])

    def _acted(self, lines: Lines, act: Callable[[], str], at: Any) -> list[Any]:
        def hold() -> None:
            self.answer(["held"])
            self.receive()

        if at == "look":
            said, met = lines.met(act)
            return ["said", said, met]
        said = act() if at is None else lines.held(act, (at[0], at[1]), hold)
        return ["said", said, []]


class Thread:
    """A side in a thread of this process."""

    def __init__(self, store: Any, backend: object, duels: Sequence[Duel]) -> None:
        self._told: queue.Queue[Command | None] = queue.Queue()
        self._said: queue.Queue[Any] = queue.Queue()
        server = Server(store, backend, duels, self._told.get, self._said.put)
        threading.Thread(target=server.serve, daemon=True).start()

    def tell(self, command: Command | None) -> None:
        """Have it do something; ``None`` ends it."""
        self._told.put(command)

    def hear(self, patience: float = PATIENCE) -> Any:
        """What it says next."""
        try:
            return self._said.get(timeout=patience)
        except queue.Empty:
            return None


@attrs.frozen
class Bout:
    """What came of a duel in one place, with one side held up before a line."""

    duel: int
    tenant: str
    place: str
    held: int
    line: Line | None
    answers: Answers
    wrong: str

    def words(self) -> str:
        """Where it was held up."""
        if self.line is None:
            return "one after the other"
        name = self.line[0].replace("\\", "/").rpartition("/")[2]
        which = ("first", "second")[self.held]
        return f"with the {which} held up before {name}:{self.line[1]}"


class Process:
    """A side in a process of its own, forked from this one. ``refused`` says why it does not open
    the store, where it may not."""

    def __init__(self, opens: Callable[[], Any], duels: Sequence[Duel]) -> None:
        self._pipe, theirs = Pipe()
        self._id = os.fork()
        if self._id == 0:
            # With this end open here too, a conductor that is killed would be waited for for ever.
            self._pipe.close()
            _serve_alone(opens, duels, theirs)
        theirs.close()
        self.refused = str(self.hear()[1])

    def tell(self, command: Command | None) -> None:
        """Have it do something; ``None`` ends it."""
        self._pipe.send(command)

    def hear(self, patience: float = PATIENCE) -> Any:
        """What it says next."""
        return self._pipe.recv() if self._pipe.poll(patience) else None

    def end(self) -> None:
        """End it, whatever it does."""
        os.kill(self._id, signal.SIGKILL)
        os.waitpid(self._id, 0)


def _serve_alone(opens: Callable[[], Any], duels: Sequence[Duel], pipe: Any) -> NoReturn:
    def answer(said: list[Any]) -> None:
        if said[0] == "escaped":
            said = ["said", f"raised {type(said[1]).__name__}, outside the error tree", []]
        pipe.send(said)

    try:
        store = opens()
        problems = store.check()
        answer(["open", "; ".join(problem.what for problem in problems)])
        Server(store, store, duels, pipe.recv, answer).serve()
    except NexusError as error:
        answer(["open", f"{type(error).__name__} ({error.code})"])
    finally:
        os._exit(0)
    raise AssertionError


class Hangs(Exception):  # it is what befell a side
    """A side does not come back."""


def said_by(side: Side, patience: float = PATIENCE) -> Any:
    """What a side says, which it must; raises what escaped from the backend there."""
    heard = side.hear(patience)
    if heard is None:
        raise Hangs("racing calls hang: one did not come back within a minute")
    if heard[0] == "escaped":
        raise heard[1]
    return heard


def bouts(
    sides: Sequence[Side],
    duels: Sequence[Duel],
    tenant: str,
    most: int = LINES,
    budget: float = BUDGET,
) -> Iterator[Bout]:
    """Fight every duel: once one after the other, then with one side held up at line after line."""
    for which, duel in enumerate(duels):
        for held in (0,) if duel.symmetric else (0, 1):
            yield from _of_one(sides, (which, held), tenant, most, budget)


def _of_one(
    sides: Sequence[Side], chosen: tuple[int, int], tenant: str, most: int, budget: float
) -> Iterator[Bout]:
    which, held = chosen
    first, second = sides[held], sides[1 - held]

    def command(verb: str, place: str, side: int, at: Any = None) -> Command:
        return (verb, which, tenant, place, side, at)

    def set_out(place: str) -> None:
        for side, verb in ((first, "prepare"), (first, "ready"), (second, "ready")):
            side.tell(command(verb, place, 0))
            heard = said_by(side)
            if heard[0] != "ready":
                raise Hangs(f"what a race needs was not to be had: it {heard[1]}")

    def bout(place: str, line: Line | None, answers: Sequence[str]) -> Bout:
        one, other = answers if held == 0 else answers[::-1]
        wrong = next((f"one {each}" for each in answers if each.startswith("raised ")), "")
        if not wrong:
            first.tell(command("judge", place, held, (one, other)))
            wrong = said_by(first)[1]
        return Bout(which, tenant, place, held, line, (one, other), wrong)

    began = time.monotonic()
    place = f"d{which}-{held}"
    set_out(f"{place}-0")
    acted = time.monotonic()
    first.tell(command("act", f"{place}-0", held, "look"))
    _, said, met = said_by(first)
    looked = time.monotonic()
    second.tell(command("act", f"{place}-0", 1 - held))
    _, also, _ = said_by(second)
    took = max(looked - acted, time.monotonic() - looked)
    yield bout(f"{place}-0", None, (said, also))
    # Whoever is locked out is not waited for much longer than it takes when it is not.
    patience = min(max(0.005, 2 * took), 0.25)
    # As many as there is time for, evenly, rather than the first of them.
    fitting = max(FEWEST, int(budget / (time.monotonic() - began)))
    for number, line in enumerate(thinned(met, min(most, fitting)), 1):
        if time.monotonic() - began > budget:
            return
        where = f"{place}-{number}"
        set_out(where)
        first.tell(command("act", where, held, line))
        heard = said_by(first)
        second.tell(command("act", where, 1 - held))
        late = None
        if heard[0] == "held":
            late = second.hear(patience)
            first.tell(command("go", where, held))
            heard = said_by(first)
        also = late if late is not None else said_by(second)
        if also[0] == "escaped":
            raise also[1]
        yield bout(where, (line[0], line[1]), (heard[1], also[1]))
