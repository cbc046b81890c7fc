"""Find the command, run it, and turn whatever happens into words and an exit code.

This module and ``page`` are all that ``nexus --help`` imports; everything else waits until a
command runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from nexus_core._cli.page import COMMANDS, HELP


def run() -> NoReturn:
    """The entry point: run the process's own command line and leave with its exit code."""
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Run one command line; return its exit code. Only ``SystemExit`` of argparse is raised."""
    first = argv[0] if argv else "--help"
    if first in ("-h", "--help", "help"):
        sys.stdout.write(HELP)
        return 0
    if first in ("-V", "--version"):
        sys.stdout.write(f"nexus {_version()}\n")
        return 0
    if first not in COMMANDS:
        return _unknown(first)
    return _guarded(first, list(argv[1:]))


def _guarded(command: str, rest: list[str]) -> int:
    from nexus_core._cli.console import Console
    from nexus_core._cli.failure import FINDINGS, INTERRUPTED, describe, error_data, exit_code
    from nexus_core._cli.options import command_parser

    parser = command_parser(command)
    module = import_module(COMMANDS[command])
    module.arguments(parser)
    options = parser.parse_args(rest)
    console = Console(json=options.json)
    try:
        code = int(options.run(options, console))
        console.flush()
    except KeyboardInterrupt:
        console.warn(f"nexus {command}: interrupted")
        if command in ("ingest", "quickstart"):
            console.warn("  what it had begun is finished by the next run, or by `nexus recover`")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; Python must not complain about it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINDINGS
    except Exception as error:  # noqa: BLE001  # every error becomes words here, and only here
        if options.debug:
            console.traceback(error)
        first, *others = describe(error)
        console.warn(f"nexus {command}: {first}")
        for line in others:
            console.warn(line)
        console.document(error_data(error))
        console.flush()
        return exit_code(error)
    return code


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("nexus-core")
    except PackageNotFoundError:
        return "(run from a checkout that is not installed)"


def _unknown(word: str) -> int:
    if word.startswith("-"):
        hint = "options come after the command, for example: nexus doctor --json"
    else:
        from difflib import get_close_matches

        close = get_close_matches(word, COMMANDS, n=1, cutoff=0.6)
        hint = f"did you mean 'nexus {close[0]}'?" if close else "nexus --help lists the commands"
    sys.stderr.write(f"nexus: there is no command {word!r}\n  {hint}\n")
    return 2


if __name__ == "__main__":
    run()
