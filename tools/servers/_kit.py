"""What every server's module is made of: free ports, processes that end, words for what is missing.

A module ``_NAME.py`` beside this one has ``install()``, which gets what the server needs or raises,
and ``serve(directory)``, a context manager that yields what a client must know once the server
answers, and leaves no process behind. ``NEEDS`` are the fields of that, with their types, that
every client needs; ``OWN`` are those that only a server which was started here has.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

Info = Mapping[str, Any]
HOST = "127.0.0.1"
STOP_SECONDS = 15.0


class ServerError(Exception):
    """A server is not there or does not start; the text says which and how to mend it."""


class ServerModule(Protocol):
    """What ``_NAME.py`` offers."""

    NEEDS: Mapping[str, type]
    OWN: Mapping[str, type]

    def install(self) -> None:
        """Get the programs, at once if they are there."""
        ...

    def serve(self, directory: Path) -> contextlib.AbstractContextManager[Info]:
        """Run with all files below ``directory``; yield what a client needs when it answers."""
        ...


def free_port() -> int:
    """A port of the loopback interface that nothing listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def find(program: str, advice: str, *folders: str) -> str:
    """The path of a program, also where Debian keeps it off an ordinary user's path."""
    places = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin", *folders))
    found = shutil.which(program, path=places)
    if found is None:
        raise ServerError(f"the program {program} is not on this machine: {advice}")
    return found


def apt(*packages: str) -> None:
    """Install Debian packages without starting what they bring as a service."""
    if shutil.which("apt-get") is None:
        raise ServerError(f"no apt-get here: install {', '.join(packages)} by other means")
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    first = subprocess.run([*sudo, *install], env=environment, capture_output=True, check=False)
    if first.returncode:
        run([*sudo, "apt-get", "update", "-qq"], env=environment)
        run([*sudo, *install], env=environment)


def run(command: Sequence[str | Path], **options: Any) -> str:
    """Run a program to its end; return what it said, or raise with the end of it."""
    done = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        **options,
    )
    if done.returncode:
        raise ServerError(
            f"{command[0]} ended with exit code {done.returncode}:\n{done.stdout[-2000:]}"
        )
    return str(done.stdout)


# Found before a fork, after which little may be called.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def _end_with_parent(stop: signal.Signals) -> None:
    """Even who is killed on the spot leaves no server behind, where the kernel knows how."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(stop))


@contextlib.contextmanager
def process(
    command: Sequence[str | Path],
    log: Path,
    *,
    stop: signal.Signals = signal.SIGTERM,
    **options: Any,
) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a process group of its own: asked to stop at the end, killed if it does not."""
    with log.open("ab") as out:
        child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=functools.partial(_end_with_parent, stop),  # noqa: PLW1509  # one call
            **options,
        )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(stop)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def wait_until(
    ready: Callable[[], object], child: subprocess.Popen[bytes], log: Path, seconds: float = 60
) -> None:
    """Ask until ``ready`` answers with something true; an exception of it is a no."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(Exception):
            if ready():
                return
        if child.poll() is not None or time.monotonic() > end:
            said = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            what = "ended" if child.poll() is not None else f"did not answer in {seconds:g} s"
            raise ServerError(f"the server {what}; it last said:\n{said}")
        time.sleep(0.05)


def connects(port: int) -> bool:
    """Whether something listens there."""
    with socket.create_connection((HOST, port), timeout=1):
        return True
