"""``nexus conformance``: run the suite, verify a report, explain a requirement."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from nexus_contracts._configured import UnsafeStoreError, configured_harness
from nexus_contracts._engine import DEFAULT_SEED
from nexus_contracts._harness import BackendHarness
from nexus_contracts._report import InvalidReportError, Report
from nexus_contracts._requirements import Profile
from nexus_contracts._run import explain, ids_of, run
from nexus_contracts._verdict import Status
from nexus_contracts._verify import verify_report
from nexus_core._cli.console import Console, printable_lines
from nexus_core._cli.failure import FINDINGS, OK, UsageError
from nexus_core._cli.options import config_path, verb, verbs
from nexus_core.spi import StoreRole

_QUIET: Final = (Status.PASSED, Status.REFUSED, Status.UNTESTED, Status.NOT_RUN)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the family."""
    parser.description = "Find out whether a storage backend keeps the promises of its role."
    family = verbs(parser)
    running = verb(
        family,
        "run",
        run_suite,
        "Run the suite over one backend, in fresh temporary places only.\n"
        "--store takes a configured store's backend and settings, but never its data: one whose\n"
        "settings name anything but a local place is refused, and needs --harness.",
        """
nexus conformance run --store records
nexus conformance run --harness my_plugin.harness:harness --output reports
nexus conformance run --store records --role atoms --only ATOM-001 TEN-201
""",
        takes="(--store NAME | --harness MODULE:NAME)",
    )
    subject = running.add_mutually_exclusive_group(required=True)
    subject.add_argument("--store", metavar="NAME", help="a store of the configuration")
    subject.add_argument(
        "--harness", metavar="MODULE:NAME", help="a BackendHarness; its module is imported"
    )
    running.add_argument(
        "--role", choices=[role.value for role in StoreRole], help="one role of the store (all)"
    )
    running.add_argument("--profile", choices=[each.value for each in Profile], default="core")
    running.add_argument("--seed", type=int, default=DEFAULT_SEED, metavar="N")
    running.add_argument(
        "--only", nargs="+", metavar="ID", help="these requirements; the verdict is INCOMPLETE"
    )
    running.add_argument(
        "--deviations", metavar="FILE", help="TOML: a table [deviations] of reasons by id"
    )
    running.add_argument("--output", metavar="DIR", help="write JSON, JUnit XML and HTML here")
    verifying = verb(
        family,
        "verify",
        run_verify,
        "Hold a report against the catalogue and against itself: is anything missing or changed?",
        "nexus conformance verify reports/records-atoms.json",
        takes="REPORT",
    )
    verifying.add_argument("report", metavar="REPORT", help="the JSON of a report")
    explaining = verb(
        family,
        "explain",
        run_explain,
        "Say what a requirement asks, how binding it is, and why it is there.",
        "nexus conformance explain TEN-101",
        takes="ID",
    )
    explaining.add_argument("id", metavar="ID", help="such as TEN-101")


def run_suite(options: argparse.Namespace, console: Console) -> int:
    """Run; one report for each role."""
    harnesses = list(_harnesses(options))
    wanted = None if options.only is None else {each.upper() for each in options.only}
    applying = set[str]().union(*(ids_of(harness) for harness in harnesses))
    if wanted is not None and wanted - applying:
        raise UsageError(
            f"no such requirements here: {', '.join(sorted(wanted - applying))}",
            "docs/requirements.md lists them, and `nexus conformance explain ID` says what one is",
        )
    reports = []
    for harness in harnesses:
        only = None if wanted is None else wanted & ids_of(harness)
        with console.progress(f"testing {harness.spec.name} {harness.spec.role}") as tick:
            report = _run(options, harness, only, tick)
        _show(console, report)
        if options.output is not None:
            for path in report.write(Path(options.output)):
                console.say(f"  wrote {path}")
        reports.append(report)
    console.document({"reports": [report.to_data() for report in reports]})
    return OK if all(report.conformant for report in reports) else FINDINGS


def run_verify(options: argparse.Namespace, console: Console) -> int:
    """Verify a report; one that was not conformant is still a sound report, but no success."""
    try:
        text = Path(options.report).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"{options.report} cannot be read", "name the JSON of a report") from None
    try:
        report = verify_report(text)
    except InvalidReportError as error:
        console.document({"sound": False, "problems": list(error.problems)})
        console.say(console.bad("this report must not be relied on"))
        for problem in error.problems:
            console.say_all(f"  {line}" for line in printable_lines(problem))
        return FINDINGS
    console.document({"sound": True, "verdict": report.verdict.value, "problems": []})
    console.say(f"the report is whole and agrees with itself: {report.verdict}")
    return OK if report.conformant else FINDINGS


def run_explain(options: argparse.Namespace, console: Console) -> int:
    """Explain a requirement."""
    try:
        text = explain(options.id)
    except ValueError as error:
        raise UsageError(str(error), "docs/requirements.md lists them all") from None
    console.document({"id": options.id.upper(), "text": text})
    console.say(text)
    return OK


def _harnesses(options: argparse.Namespace) -> Iterator[BackendHarness]:
    if options.harness is not None:
        harness = _named(options.harness)
        if options.role is not None and harness.spec.role != options.role:
            raise UsageError(f"the harness is one of the role {harness.spec.role}")
        yield harness
        return
    from nexus_core._config import load
    from nexus_core._plugins import Registry

    config = load(config_path(options), registry=Registry.discover())
    store = config.stores.get(options.store)
    if store is None:
        raise UsageError(
            f"the configuration has no store {options.store!r}",
            f"it has {', '.join(config.stores)}",
        )
    roles = [role for role in store.specs if options.role in (None, role.value)]
    if not roles:
        raise UsageError(f"no route gives the store {options.store!r} this role, or any")
    for role in roles:
        try:
            yield configured_harness(store.specs[role], store.settings[role])
        except UnsafeStoreError as error:
            raise UsageError(
                f"the store {options.store!r} is not tested: {error}",
                "write a BackendHarness that says what a fresh place is, and name it by --harness",
            ) from None


def _named(text: str) -> BackendHarness:
    module, colon, name = text.partition(":")
    if not colon or not name.isidentifier():
        raise UsageError(f"{text!r} is not MODULE:NAME", "for example my_plugin.harness:harness")
    # A harness usually stands beside the tests, which no installation knows.
    sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise UsageError(f"{module} cannot be imported: {error}", _cure(module, error)) from None
    finally:
        sys.path.remove("")
    if not isinstance(found, BackendHarness):
        raise UsageError(f"{text} is not a BackendHarness", f"it is a {type(found).__name__}")
    return found


def _cure(module: str, error: ImportError) -> str:
    """What to do about an import that failed: that of the module, or of what it needs itself."""
    absent = error.name or ""
    if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{absent}."):
        return "is it spelt right, and does the command run in its folder?"
    if absent.partition(".")[0] == "pytest":
        return "it imports pytest: pip install 'nexus-contracts[pytest]'"
    return f"{module} is there; install or mend what it imports"


def _run(
    options: argparse.Namespace,
    harness: BackendHarness,
    only: set[str] | None,
    tick: Callable[[str], None],
) -> Report:
    deviations = None if options.deviations is None else Path(options.deviations)
    chosen = [f"--store {options.store} --role {harness.spec.role}"]
    if options.harness is not None:
        chosen = [f"--harness {options.harness}"]
    chosen.append(f"--profile {options.profile} --seed {options.seed}")
    if only is not None:
        chosen.append(f"--only {' '.join(sorted(only))}")
    if deviations is not None:
        chosen.append(f"--deviations {deviations.name}")
    try:
        return run(
            harness,
            profile=options.profile,
            seed=options.seed,
            only=only,
            deviations=deviations,
            progress=lambda outcome: tick(outcome.requirement.id),
            reproduce=f"nexus conformance run {' '.join(chosen)}",
        )
    except (ValueError, OSError) as error:
        raise UsageError(f"the run cannot begin: {error}") from None


def _show(console: Console, report: Report) -> None:
    backend = report.backend
    console.heading(f"{backend.name}, {backend.role} ({backend.reality}, {report.profile})")
    for line in report.requirements:
        if line.status in _QUIET:
            continue
        console.say(f"{console.bad(line.status)}  {line.id}  {line.sentence}")
        console.say_all(f"    {text}" for text in printable_lines(line.message))
    counts = ", ".join(
        f"{number} {status}" for status in Status if (number := len(report.of_status(status)))
    )
    verdict = report.verdict.value
    console.say(console.good(verdict) if report.conformant else console.bad(verdict), f"  {counts}")
