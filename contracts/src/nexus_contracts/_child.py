"""The process that writes until it is stopped: ``python -m nexus_contracts._child``.

The first line of standard input is the job, a pickle in hexadecimal, from the suite that started
it. What it says, it says in lines of JSON. In the mode ``die`` it forks: the fork opens the store,
writes, and is killed, as often as the job says; in the mode ``fill`` it may write no file beyond a
size; in the mode ``answer`` it opens the store and answers calls, a pickle in
hexadecimal a line.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from nexus_contracts._answers import answer_all
from nexus_contracts._arena import Hangs, Process, bouts
from nexus_contracts._duels import duels_of, erasures
from nexus_contracts._kinds import kinds_of
from nexus_contracts._lives import WARM, lives, warm
from nexus_contracts._work import SCOPE, work_of
from nexus_core import NexusError
from nexus_core.spi import Backend, Capabilities, Proof, Runtime, StoreError, StoreRole

# For each duel and side: lines at most, and seconds until those that are left are let be.
LINES, BUDGET = 10, 2.5

Factory = Callable[[Any, Runtime], Backend]


@attrs.frozen(kw_only=True)
class Job:
    """How to open the store, and what to do to it."""

    factory: Factory
    settings: Any
    base: str
    proofs: Mapping[str, Proof]
    role: StoreRole
    capabilities: Capabilities
    mode: str
    seed: int
    rounds: int
    first: int
    limit: int = 0

    def open(self) -> Backend:
        """Open the store, as the core would."""
        runtime = Runtime(
            store="subject", base=Path(self.base), now=microseconds, proofs=self.proofs
        )
        return self.factory(self.settings, runtime)


def microseconds() -> int:
    """The time."""
    return time.time_ns() // 1000


def say(**words: Any) -> None:
    """Tell the suite."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Read the job and do it."""
    # Written by the suite that started this process, over a pipe that nobody else has.
    job: Job = pickle.loads(bytes.fromhex(sys.stdin.readline()))  # noqa: S301
    say(ready=True)
    if job.mode not in ("fill", "answer"):
        warm(job.open, kinds_of(job.role, job.capabilities), WARM)
    if job.mode == "die":
        die(job)
    elif job.mode == "steps":
        for each in lives(job.role, job.capabilities, job.open, job.rounds):
            say(lives=each)
            sys.stdin.readline()
        say(lives=[])
    elif job.mode == "duel":
        duel(job)
    elif job.mode == "answer":
        serve(job)
    else:
        fill(job)


def die(job: Job) -> None:
    """Have a fork killed in the middle of its work, again and again; tell how far it was."""
    chance = random.Random(job.seed)  # noqa: S311  # the same moments, as far as can be
    number = job.first
    for _ in range(job.rounds):
        wanted, pause = chance.randint(2, 9), chance.uniform(0, 0.004)
        # Half of them have nothing under way, so that nothing later makes good what was held back.
        rests = chance.random() < 0.5
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _write_until_killed(job, writer, number, number + wanted if rests else None)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            lines: list[bytes] = []
            while sum(line.startswith(b"done") for line in lines) < wanted:
                line = pipe.readline()
                if not line:
                    break
                lines.append(line)
            time.sleep(pause)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            lines += pipe.readlines()
        words = [line.decode().split(None, 1) for line in lines if line.endswith(b"\n")]
        begun = [int(rest) for verb, rest in words if verb == "begin"]
        done = [int(rest) for verb, rest in words if verb == "done"]
        failed = [rest.strip() for verb, rest in words if verb == "failed"]
        say(begun=begun, done=done, failed=failed)
        number = max([number, *begun]) + 1
        sys.stdin.readline()


def _write_until_killed(job: Job, writer: int, number: int, last: int | None) -> None:
    try:
        store, work = job.open(), kinds_of(job.role, job.capabilities)
        while number != last:
            os.write(writer, f"begin {number}\n".encode())
            work.write(store, SCOPE, number)
            os.write(writer, f"done {number}\n".encode())
            number += 1
        time.sleep(60)
    except BaseException as error:  # noqa: BLE001  # told to the suite, which judges it
        os.write(writer, f"failed {type(error).__name__} at number {number}\n".encode())
    finally:
        os._exit(1)


def duel(job: Job) -> None:
    """Have two forks fight; tell what they fought for, and what came of it."""
    duels = [*duels_of(job.role, job.capabilities), *erasures(job.role, job.capabilities)]
    sides = []
    try:
        for _ in range(2):
            sides.append(Process(job.open, duels))
            if sides[-1].refused:
                say(refused=sides[-1].refused, opened=len(sides) - 1)
                return
        count = 0
        for each in bouts(sides, duels, SCOPE.tenant_id, LINES, BUDGET):
            count += 1
            if each.wrong:
                say(wrong=each.wrong, where=each.words(), title=duels[each.duel].title)
                return
        say(bouts=count)
    except Hangs as why:
        say(wrong=str(why), where="", title="")
    finally:
        for side in sides:
            side.end()


def serve(job: Job) -> None:
    """Answer calls until there are no more."""
    try:
        store = job.open()
        problems = store.check()
    except NexusError as error:
        say(refused=f"{type(error).__name__} ({error.code})")
        return
    say(refused=problems[0].what if problems else "")
    while line := sys.stdin.readline():
        # As above.
        calls = pickle.loads(bytes.fromhex(line))  # noqa: S301
        sys.stdout.write(pickle.dumps(list(answer_all(store, calls))).hex() + "\n")
        sys.stdout.flush()
    store.close()


def fill(job: Job) -> None:
    """Write with a limit on the size of files until something fails; then without."""
    work = work_of(job.role, job.capabilities)
    store = job.open()
    work.prepare(store, SCOPE)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (job.limit, hard))
    number, outcome, foreign = job.first, "", ""
    for _ in range(job.rounds):
        try:
            work.write(store, SCOPE, number)
        except StoreError as error:
            outcome = error.outcome.value
            break
        except Exception as error:  # noqa: BLE001  # told to the suite, which judges it
            foreign = type(error).__name__
            break
        number += 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    say(stopped=number, outcome=outcome, foreign=foreign)
    sys.stdin.readline()
    again = ""
    for _ in range(3):
        again = _try(work, store, number + 1)
        if not again:
            break
    say(again=again)
    store.close()


def _try(work: Any, store: Backend, number: int) -> str:
    try:
        work.write(store, SCOPE, number)
    except Exception as error:  # noqa: BLE001  # as above
        return type(error).__name__
    return ""


if __name__ == "__main__":
    main()
