"""Lives of a process that ends after a chosen effect of a chosen write, each in its own scope.

For every kind of write one life is lived to its end, and dies when the write has returned; it tells
the effects that the write has. Each of the others dies after one of those.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, NoReturn

import attrs

from nexus_contracts._bench import SCOPES
from nexus_contracts._kinds import Kinds, kinds_of
from nexus_contracts._steps import Effect, Effects, thinned
from nexus_core import Scope
from nexus_core.spi import ENVIRONMENTS, Backend, Capabilities, StoreRole

PATIENCE: Final = 60
# Of tenants whom a harness knows that has to name them all, more than die of one kind of write. The
# last two are for a state with nothing in it, and for a first try that imports what is needed.
*HOMES, BLANK, WARM = (
    Scope(tenant, env)
    for env in ENVIRONMENTS
    for tenant in dict.fromkeys(scope.tenant_id for scope in SCOPES)
)


def scope_of(life: int) -> Scope:
    """The scope in which a life is lived; the suite erases it before it is another's."""
    return HOMES[life % len(HOMES)]


def lives(
    role: StoreRole, capabilities: Capabilities, opens: Callable[[], Backend], most: int
) -> Iterator[list[dict[str, Any]]]:
    """Live them; ``most`` of each kind of batch or erasure die within it, fewer of other writes.
    What became of each, as data, one kind after the other."""
    work = kinds_of(role, capabilities)
    life = 0
    for number in range(work.turns):
        lived = [Life(work, opens, number, life, None).lived()]
        share = most if number in work.batches or work.gone(number) else most // 3
        for file, name, instruction, time in thinned(lived[0].pop("effects", []), share):
            life += 1
            lived.append(Life(work, opens, number, life, (file, name, instruction, time)).lived())
        life += 1
        yield lived


def warm(opens: Callable[[], Backend], work: Kinds, scope: Scope) -> None:
    """Import in this process, which opens no store, what a store imports when it is first used."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            store = opens()
            work.prepare(store, scope)
            work.write(store, scope, 0)
            work.observe(store, scope)
        except BaseException:  # noqa: BLE001, S110  # whoever does this in earnest tells of it
            pass
        finally:
            os.write(writer, "\n".join(sys.modules).encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        names = pipe.read().decode().splitlines()
    os.waitpid(child, 0)
    for name in names:
        with suppress(Exception):
            importlib.import_module(name)


@attrs.frozen
class Life:
    """One life: the number of its write, and the effect after which it ends, if any."""

    work: Kinds
    opens: Callable[[], Backend]
    number: int
    life: int
    fatal: Effect | None

    def lived(self) -> dict[str, Any]:
        """Live it in a fork; what became of it, as data."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            self._to_the_end(writer)
        os.close(writer)
        said = b""
        with os.fdopen(reader, "rb") as pipe:
            while select.select([pipe], [], [], PATIENCE)[0]:
                more = os.read(pipe.fileno(), 1 << 16)
                if not more:
                    break
                said += more
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        told: dict[str, Any] = {"life": self.life, "number": self.number, "done": False}
        for line in said.splitlines():
            told |= json.loads(line)
        return told

    def _to_the_end(self, writer: int) -> NoReturn:
        def say(**words: Any) -> None:
            os.write(writer, json.dumps(words).encode() + b"\n")

        try:
            effects = Effects()
            store, scope = self.opens(), scope_of(self.life)
            self.work.prepare(store, scope)
            for each in self.work.needs(self.number):
                self.work.write(store, scope, each)
            effects.arm(self.fatal, lambda where: say(at=where))
            self.work.write(store, scope, self.number)
            effects.disarm()
            say(done=True, effects=effects.chosen() if self.fatal is None else [])
        except BaseException as error:  # noqa: BLE001  # told to the suite, which judges it
            say(failed=type(error).__name__)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError
