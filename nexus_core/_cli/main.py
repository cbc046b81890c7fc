"""Find the command, run it, and turn whatever happens into words and an exit code.

This module, ``page`` and ``more`` are all that ``nexus --help`` imports; everything else waits
until a command runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import NoReturn

from nexus_core._cli.more import installed, listed
from nexus_core._cli.page import COMMANDS, HELP


def run() -> NoReturn:
    """The entry point: run the process's own command line and leave with its exit code."""
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Run one command line; return its exit code. Only ``SystemExit`` of argparse is raised."""
    first = argv[0] if argv else "--help"
    if first in ("-h", "--help", "help"):
        sys.stdout.write(HELP + listed(frozenset(COMMANDS)))
        return 0
    if first in ("-V", "--version"):
        sys.stdout.write(f"nexus {_version()}\n")
        return 0
    if first in COMMANDS:
        return _guarded(first, import_module(COMMANDS[first]), list(argv[1:]))
    others = installed(frozenset(COMMANDS))
    offers = others.get(first, ())
    if len(offers) > 1:
        sources = " and ".join(source for _, source in offers)
        sys.stderr.write(f"nexus: {first!r} is offered by {sources}\n  uninstall all but one\n")
        return 2
    if not offers:
        return _unknown(first, [*COMMANDS, *others])
    name, source = offers[0]
    try:
        module = import_module(name)
    except Exception as error:  # noqa: BLE001  # another distribution's code fails as it likes
        sys.stderr.write(f"nexus {first}: {source} cannot be loaded: {type(error).__name__}\n")
        return 1
    return _guarded(first, module, list(argv[1:]))


def _guarded(command: str, module: ModuleType, rest: list[str]) -> int:
    from nexus_core._cli.console import Console
    from nexus_core._cli.failure import FINDINGS, INTERRUPTED, describe, error_data, exit_code
    from nexus_core._cli.options import command_parser

    parser = command_parser(command)
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


def _unknown(word: str, known: list[str]) -> int:
    if word.startswith("-"):
        hint = "options come after the command, for example: nexus doctor --json"
    else:
        from difflib import get_close_matches

        close = get_close_matches(word, known, n=1, cutoff=0.6)
        hint = f"did you mean 'nexus {close[0]}'?" if close else "nexus --help lists the commands"
    sys.stderr.write(f"nexus: there is no command {word!r}\n  {hint}\n")
    return 2


if __name__ == "__main__":
    run()
