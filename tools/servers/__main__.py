"""``python -m tools.servers NAME``, and with ``use``, ``install`` or ``compose`` before names.

``NAME`` prints one line of JSON when the server answers, and runs until its standard input closes
or it is told to terminate; then it stops the server and removes its files. ``use NAME`` does the
same, unless the environment names a server from elsewhere (``NEXUS_SERVER_<NAME>``), whose line it
prints. ``install`` gets what all of the names need, or all servers, but for those from elsewhere.
``compose`` runs the services of compose.yaml in Docker, and the conformance tests on them; what
follows ``--`` goes to pytest. Exit code 3: a server is not to be had, and standard error says why.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from tools.servers import compose, given
from tools.servers._kit import ServerError, ServerModule

HERE = Path(__file__).parent
NAMES = tuple(sorted(file.stem[1:] for file in HERE.glob("_[a-z]*.py") if file.stem != "_kit"))


def module(name: str) -> ServerModule:
    """The module of one server."""
    return cast("ServerModule", importlib.import_module(f"tools.servers._{name}"))


def serve(name: str) -> None:
    """Run one server until standard input closes."""
    # A server that changes to a user of its own must be able to reach its files.
    base = "/tmp" if os.geteuid() == 0 and Path("/tmp").is_dir() else None  # noqa: S108
    with tempfile.TemporaryDirectory(prefix=f"nexus-{name}-", dir=base) as directory:
        Path(directory).chmod(0o755)
        with module(name).serve(Path(directory)) as info:
            given.declared(module(name), info)
            print(json.dumps({"name": name, **info}), flush=True)
            sys.stdin.read()


def use(name: str) -> None:
    """Print what the environment says of a server; where it says nothing, run one."""
    given.no_strangers(NAMES)
    if given.is_given(name):
        print(json.dumps({"name": name, **given.given(name, module(name))}), flush=True)
    else:
        serve(name)


def install(names: Sequence[str]) -> None:
    """Get what servers need."""
    given.no_strangers(NAMES)
    for name in names or NAMES:
        if given.is_given(name):
            print(f"{name}: {given.variable(name)} names one", flush=True)
            continue
        print(f"{name} ...", flush=True)
        module(name).install()


def main() -> int:
    """Do what the command line says."""
    arguments, pytest = _split(sys.argv[1:])
    parser = argparse.ArgumentParser(prog="python -m tools.servers", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="NAME | VERB")
    for name in NAMES:
        verbs.add_parser(name)
    verbs.add_parser("use").add_argument("name", choices=NAMES)
    verbs.add_parser("install").add_argument("names", nargs="*", choices=[*NAMES, []])
    services = [*compose.SERVICES, []]
    verbs.add_parser("compose").add_argument("names", nargs="*", choices=services)
    options = parser.parse_args(arguments)
    # The servers are stopped on the way out, which a plain death by SIGTERM would skip.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        match options.verb:
            case "use":
                use(options.name)
            case "install":
                install(options.names)
            case "compose":
                return compose.run(options.names, pytest)
            case name:
                serve(name)
    except ServerError as error:
        print(f"{options.verb}: {error}", file=sys.stderr)
        return 3
    return 0


def _split(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


if __name__ == "__main__":
    sys.exit(main())
