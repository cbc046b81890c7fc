"""``nexus audit``: the scope's trail, read, verified, and carried elsewhere."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from nexus_core import AuditProof, AuditRecord, ErasedRecord, VerificationReport
from nexus_core._cli.console import Console, plural, when
from nexus_core._cli.failure import FINDINGS, OK, UsageError
from nexus_core._cli.files import written_whole
from nexus_core._cli.options import requested, scoped, verb, verbs


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the family."""
    parser.description = (
        "Every scope has an audit trail of its own. Records hold ids, actors, actions and times,\n"
        "never content. Reading the trail is recorded in it, too."
    )
    family = verbs(parser)
    tail = verb(
        family,
        "tail",
        run_tail,
        "Show the latest records, the newest last.",
        "nexus audit tail -n 50",
    )
    tail.add_argument("-n", type=int, default=20, metavar="N", help="how many (20)")
    scoped(tail)
    check = verb(
        family,
        "verify",
        run_verify,
        "Check the whole trail: that no record was changed, removed, moved or put in. Whether its\n"
        "end was cut off or all of it rolled back shows only against a checkpoint that was kept\n"
        "elsewhere.",
        """
nexus audit verify
nexus audit verify --checkpoint /mnt/elsewhere/acme.checkpoint
""",
    )
    check.add_argument("--checkpoint", metavar="FILE", help="a checkpoint that was kept elsewhere")
    scoped(check)
    checkpoint = verb(
        family,
        "checkpoint",
        run_checkpoint,
        "Print the trail's signed checkpoint: its size and the root of its hash tree. Keep it\n"
        "where whoever can write to the audit sink cannot.",
        "nexus audit checkpoint --output /mnt/elsewhere/acme.checkpoint",
    )
    checkpoint.add_argument("--output", metavar="FILE", help="write it there instead")
    scoped(checkpoint)
    prove = verb(
        family,
        "prove",
        run_prove,
        "Prove that one record is in the trail, or with --grown-from that the trail has only been\n"
        "added to since it had that many records. Check it with tools/verify_proof.py, the public\n"
        "key and, for growth, the checkpoint that was kept.",
        """
nexus audit prove 17 --output record17.proof
nexus audit prove --grown-from 120
""",
        takes="[INDEX]",
    )
    prove.add_argument("index", metavar="INDEX", type=int, nargs="?", help="number of the record")
    prove.add_argument("--grown-from", type=int, metavar="SIZE", help="the older size")
    prove.add_argument("--output", metavar="FILE", help="a file, instead of standard output")
    scoped(prove)
    export = verb(
        family,
        "export",
        run_export,
        "Write the whole trail, one JSON object a line: records (jsonl), OCSF events in\n"
        "CloudEvents (ocsf), or all that a stranger needs to verify it with the public key\n"
        "(bundle).",
        """
nexus audit export > acme.jsonl
nexus audit export --format bundle --output acme.bundle
""",
    )
    export.add_argument("--format", choices=("jsonl", "ocsf", "bundle"), default="jsonl")
    export.add_argument("--output", metavar="FILE", help="a file, instead of standard output")
    scoped(export)


def run_tail(options: argparse.Namespace, console: Console) -> int:
    """Show the latest records."""
    with requested(options) as request:
        records: tuple[AuditRecord | ErasedRecord, ...] = request.audit.tail(options.n).items
    for record in records:
        console.document(record_data(record))
    if not records:
        console.say("nothing has happened in this scope yet")
    console.table(
        [_row(record) for record in records],
        ("no", "time", "phase", "action", "outcome", "actor", "ids"),
    )
    return OK


def run_verify(options: argparse.Namespace, console: Console) -> int:
    """Verify."""
    trusted = None if options.checkpoint is None else _read(Path(options.checkpoint))
    with requested(options) as request, console.progress("verifying") as tick:
        key: str = request.audit.verifier_key
        report = request.audit.verify(
            trusted_checkpoint=trusted, progress=lambda done, _: tick(f"record {done:,}")
        )
    console.document(report_data(report) | {"verifier_key": key})
    show(console, report, key)
    return OK if report.ok else FINDINGS


def show(console: Console, report: VerificationReport, key: str, *, indent: int = 0) -> None:
    """What a verification found."""
    blank = " " * indent
    if report.ok:
        console.say(f"{blank}{console.good('ok')}  {plural(report.size, 'record')}, all as signed")
    else:
        console.say(f"{blank}{console.bad('finding')}  the trail does not verify")
        if report.bad_range is not None:
            first, end = report.bad_range
            console.say(f"{blank}  the first record that is wrong is one of {first} to {end - 1}")
        console.say(*(f"{blank}  {finding}" for finding in report.findings))
    rows = [("root", report.root), ("rollback", report.rollback), ("public key", key)]
    if report.unsettled:
        rows.append(("unsettled", f"{plural(report.unsettled, 'intent')}; see `nexus recover`"))
    if report.erased:
        rows.append(("erased", plural(report.erased, "record")))
    for name, value in rows:
        console.say(blank + console.dim(name.ljust(12)) + value)
    if report.rollback == "not checked":
        console.say(f"{blank}give --checkpoint FILE, kept elsewhere, to check against rollback too")


def run_checkpoint(options: argparse.Namespace, console: Console) -> int:
    """Print or write the checkpoint."""
    with requested(options) as request:
        note: bytes | None = request.audit.checkpoint()
        key: str = request.audit.verifier_key
    text = None if note is None else note.decode("utf-8")
    console.document({"checkpoint": text, "verifier_key": key})
    if text is None:
        console.warn("nothing has happened in this scope yet, so there is no checkpoint")
        return FINDINGS
    if options.output is None:
        console.say(text.removesuffix("\n"))
        return OK
    with written_whole(Path(options.output)) as file:
        file.write(text.encode("utf-8"))
    console.say(f"wrote {options.output}")
    return OK


def run_prove(options: argparse.Namespace, console: Console) -> int:
    """Write a proof."""
    if (options.index is None) == (options.grown_from is None):
        raise UsageError("say which record, or --grown-from which size", "one of the two")
    with requested(options) as request:
        proof: AuditProof
        if options.index is not None:
            proof = request.audit.prove(options.index)
        else:
            proof = request.audit.prove_growth(options.grown_from)
        key: str = request.audit.verifier_key
    if options.output is None:
        sys.stdout.buffer.write(proof.to_json())
        return OK
    with written_whole(Path(options.output)) as file:
        file.write(proof.to_json())
    console.document({"output": options.output, "size": proof.size, "verifier_key": key})
    console.say(f"wrote {options.output}", f"public key  {key}")
    return OK


def run_export(options: argparse.Namespace, console: Console) -> int:
    """Write the trail."""
    with requested(options) as request, console.progress("exporting") as tick:
        lines: Iterator[bytes] = request.audit.export(options.format)
        count = 0
        if options.output is None:
            for line in lines:
                sys.stdout.buffer.write(line)
            return OK
        with written_whole(Path(options.output)) as file:
            for line in lines:
                file.write(line)
                count += 1
                tick(f"line {count:,}")
    console.document({"output": options.output, "format": options.format, "lines": count})
    console.say(f"wrote {plural(count, 'line')} to {options.output}")
    return OK


def record_data(record: AuditRecord | ErasedRecord) -> dict[str, Any]:
    """A record as JSON data."""
    erased = isinstance(record, ErasedRecord)
    data = attrs.asdict(record, filter=lambda field, _: field.name != "subject_tag")
    return data | {"erased": erased}


def report_data(report: VerificationReport) -> dict[str, Any]:
    """A verification's report as JSON data."""
    return attrs.asdict(report) | {"ok": report.ok}


def _row(record: AuditRecord | ErasedRecord) -> tuple[str, ...]:
    if isinstance(record, ErasedRecord):
        actor, ids = "(erased)", ""
    else:
        actor = record.actor
        ids = " ".join(record.ids[:2]) + (" …" if len(record.ids) > 2 else "")
    at = "" if record.at is None else when(record.at)
    return (
        str(record.index),
        at,
        record.phase,
        record.action,
        record.outcome or "",
        actor,
        ids,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"the checkpoint {path} cannot be read: {error.strerror}",
            "`nexus audit checkpoint --output FILE` writes one",
        ) from None
