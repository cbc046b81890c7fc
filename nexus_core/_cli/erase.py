"""``nexus erase``: forget a subject, or everything of a scope, for good."""

from __future__ import annotations

import argparse

import attrs

from nexus_core import Erasure, RetentionError
from nexus_core._cli.console import Console, plural
from nexus_core._cli.failure import FINDINGS, OK, UsageError
from nexus_core._cli.options import requested, scoped, verb, verbs


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the family."""
    parser.description = (
        "Erase objects, atoms, vectors, events and the sealed parts of the audit trail. What is\n"
        "under a legal hold or in its retention period refuses the whole erasure. Proofs of the\n"
        "trail still hold afterwards. There is no way back."
    )
    family = verbs(parser)
    subject = verb(
        family,
        "subject",
        run_subject,
        "Erase one subject from the scope. To be sure, it is named twice.",
        "nexus erase subject u-4711 --confirm u-4711",
        takes="ID",
    )
    subject.add_argument("id", metavar="ID", help="the user whom the data is about")
    _confirmed(subject)
    scope = verb(
        family,
        "scope",
        run_scope,
        "Erase everything of the scope but the permanent part of its trail, which says of nobody\n"
        "what was done. To be sure, the scope is named twice.",
        "nexus erase scope --tenant acme --env dev --confirm acme/dev",
    )
    _confirmed(scope)


def _confirmed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--confirm", metavar="NAME", required=True, help="what is erased, once more"
    )
    # The subject of the request is not what is erased, and an erasure is about nobody.
    scoped(parser)


def run_subject(options: argparse.Namespace, console: Console) -> int:
    """Erase a subject."""
    if options.confirm != options.id:
        raise UsageError("--confirm does not repeat the subject", "nothing was erased")
    with requested(options) as request:
        try:
            erased: Erasure = request.erasure.subject(options.id)
        except RetentionError as error:
            return _refused(console, error)
    return _said(console, erased)


def run_scope(options: argparse.Namespace, console: Console) -> int:
    """Erase a scope."""
    with requested(options) as request:
        try:
            erased: Erasure = request.erasure.scope(confirm=options.confirm)
        except RetentionError as error:
            return _refused(console, error)
    return _said(console, erased)


def _said(console: Console, erased: Erasure) -> int:
    console.document(attrs.asdict(erased))
    console.say(
        f"erased {plural(erased.objects, 'object')}, {plural(erased.vectors, 'vector')}, "
        f"{plural(erased.records, 'record')}, {plural(erased.sealed, 'sealed part')} of the trail"
    )
    return OK


def _refused(console: Console, error: RetentionError) -> int:
    console.document({"error": error.code, "message": error.message, "ids": list(error.ids)})
    console.warn(f"nexus erase: {error.message} [{error.code}]")
    for held in error.ids:
        console.warn(f"  {held}")
    return FINDINGS
