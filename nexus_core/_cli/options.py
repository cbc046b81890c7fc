"""What commands take on the command line: the options of all, and who acts and where."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from nexus_core._cli.failure import UsageError

if TYPE_CHECKING:
    from nexus_core import Request, RequestContext

# The configuration's overrides are NEXUS__… with two underscores; these have one.
CONTEXT: Final[Mapping[str, str]] = {
    "tenant": "NEXUS_TENANT",
    "env": "NEXUS_ENV",
    "actor": "NEXUS_ACTOR",
    "actor_kind": "NEXUS_ACTOR_KIND",
    "role": "NEXUS_ROLE",
}
CONFIG: Final = "NEXUS_CONFIG"

_FIRST_WORDS: Final = re.compile(r"[.,:;]")

Run = Callable[..., int]
Subparsers = Any


def command_parser(command: str) -> argparse.ArgumentParser:
    """An empty parser for a command; its module fills it in."""
    return argparse.ArgumentParser(
        prog=f"nexus {command}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def describe(parser: argparse.ArgumentParser, text: str, examples: str) -> None:
    """Give a command's page its opening and its examples."""
    parser.description = text
    parser.epilog = "examples:\n" + "\n".join(
        f"  {line}".rstrip() for line in examples.strip().splitlines()
    )


def verbs(parser: argparse.ArgumentParser) -> Subparsers:
    """The place for the verbs of a family of commands."""
    return parser.add_subparsers(dest="verb", metavar="VERB", required=True)


def verb(
    subparsers: Subparsers, name: str, run: Run, text: str, examples: str, *, takes: str = ""
) -> argparse.ArgumentParser:
    """One verb of a family, with the options that all commands take."""
    parser = cast(
        "argparse.ArgumentParser",
        subparsers.add_parser(
            name,
            help=_FIRST_WORDS.split(text[0].lower() + text[1:], maxsplit=1)[0],
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        ),
    )
    describe(parser, text, examples)
    common(parser, run, takes=takes)
    return parser


def common(parser: argparse.ArgumentParser, run: Run, *, takes: str = "") -> None:
    """The options that every command takes, and what the command runs.

    ``takes`` are the words that the command cannot do without, for the first line of its page.
    """
    parser.usage = " ".join(filter(None, (parser.prog, takes, "[OPTIONS]")))
    parser.set_defaults(run=run)
    group = parser.add_argument_group("every command takes")
    group.add_argument(
        "--config", metavar="FILE", help=f"the configuration ({CONFIG}, or nexus.toml right here)"
    )
    group.add_argument("--json", action="store_true", help="JSON on standard output")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")


def scoped(parser: argparse.ArgumentParser) -> None:
    """The options that say who acts, and in which scope."""
    group = parser.add_argument_group(
        "who and where", "each can come from the environment; none has a default"
    )
    group.add_argument("--tenant", metavar="ID", help=f"the tenant ({CONTEXT['tenant']})")
    group.add_argument("--env", metavar="ENV", help=f"dev, staging or prod ({CONTEXT['env']})")
    group.add_argument("--actor", metavar="ID", help=f"who acts ({CONTEXT['actor']})")
    group.add_argument(
        "--actor-kind",
        metavar="KIND",
        help=f"human, agent or system ({CONTEXT['actor_kind']})",
    )
    group.add_argument(
        "--role", metavar="ROLE", help=f"owner, admin, member or viewer ({CONTEXT['role']})"
    )
    group.add_argument("--subject", metavar="ID", help="the user whom the data is about or for")
    group.add_argument(
        "--purpose", metavar="TOKEN", default="unspecified", help="goes into the audit trail"
    )


def config_path(options: argparse.Namespace) -> Path:
    """Where the configuration is: the option, the environment, or ``nexus.toml`` right here."""
    return Path(options.config or os.environ.get(CONFIG) or "nexus.toml")


def context_of(options: argparse.Namespace) -> RequestContext:
    """The request context; everything that is missing is named at once (``UsageError``)."""
    from nexus_core import RequestContext

    given: dict[str, str] = {
        name: getattr(options, name) or os.environ.get(CONTEXT[name], "") for name in CONTEXT
    }
    missing = [name for name, value in given.items() if not value]
    if missing:
        raise UsageError(
            "it has to be said who acts, and where; missing: "
            + ", ".join(f"--{name.replace('_', '-')}" for name in missing),
            "give the options, or set " + ", ".join(CONTEXT[name] for name in missing),
        )
    return RequestContext.build(
        tenant_id=given["tenant"],
        env=given["env"],
        actor_id=given["actor"],
        actor_kind=given["actor_kind"],
        role=given["role"],
        subject=options.subject,
    )


@contextmanager
def requested(options: argparse.Namespace) -> Iterator[Request]:
    """Open the configuration and begin a request in the scope that was named."""
    context = context_of(options)
    from nexus_core import Nexus

    with (
        Nexus.open(config_path(options)) as nexus,
        nexus.request(context, purpose=options.purpose) as request,
    ):
        yield request
