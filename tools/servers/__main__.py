"""``python -m tools.servers NAME`` and ``python -m tools.servers install NAME ...``.

The first prints one line of JSON when the server answers, and runs until its standard input closes
or it is told to terminate; then it stops the server and removes its files. Exit code 3: the server
is not to be had here, and standard error says why.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import cast

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
            print(json.dumps({"name": name, **info}), flush=True)
            sys.stdin.read()


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tools.servers", description=__doc__)
    parser.add_argument("name", choices=("install", *NAMES), metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("more", nargs="*", choices=(*NAMES, []), metavar="NAME")
    arguments = parser.parse_args()
    # The servers are stopped on the way out, which a plain death by SIGTERM would skip.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        if arguments.name == "install":
            for name in arguments.more or NAMES:
                print(f"{name} ...", flush=True)
                module(name).install()
        else:
            serve(arguments.name)
    except ServerError as error:
        print(f"{arguments.name}: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
