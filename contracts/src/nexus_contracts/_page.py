"""The report as one page: what was proved, what failed and how, what nobody tested and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import Any, Final

from nexus_contracts._report import Line, Report
from nexus_contracts._verdict import Status, Verdict

_MEANING: Final = {
    Verdict.CONFORMANT: "Everything that applies was run, against the real thing, and holds.",
    Verdict.CONFORMANT_EMULATOR: "Everything that applies holds against an emulator. That is no "
    "statement about the real service.",
    Verdict.CONFORMANT_MEMORY: "Everything that applies holds, in memory. Nothing outlives the "
    "process.",
    Verdict.PARTIAL: "A declared deviation, or a recommendation that is not met. No deviation from "
    "isolation, fail-closed configuration or hygiene is ever accepted.",
    Verdict.NOT_CONFORMANT: "At least one promise is broken. The backend must not be relied on.",
    Verdict.INCOMPLETE: "Something was not run, or could not be decided. This is no pass.",
    Verdict.ERROR: "The suite itself failed, so nothing can be said about the backend.",
}
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem;border-bottom:1px solid #ccd}
.verdict{padding:1rem;border-radius:6px;margin:1rem 0;color:#fff;background:#8a5a00}
.verdict b{font-size:1.3rem}.good{background:#136c3a}.bad{background:#a01822}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;vertical-align:top;padding:.2rem .6rem .2rem 0}
th{font-weight:600;white-space:nowrap;width:11rem}td{overflow-wrap:anywhere}
pre{background:#f4f5f7;padding:.6rem;overflow-wrap:anywhere;white-space:pre-wrap;margin:.3rem 0}
.small{color:#57606a;font-size:.85rem}
"""


def page(report: Report) -> str:
    """One page of HTML with its style in it; no script, nothing fetched, every text escaped."""
    title = f"Nexus conformance: {report.backend.name}, {report.backend.role}"
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1>",
            *_verdict(report),
            *_failures(report),
            *_proved(report),
            *_left_out(report),
            *_facts(report),
            "</body></html>\n",
        ]
    )


def _verdict(report: Report) -> Iterator[str]:
    tone = "good" if report.conformant else ""
    if report.verdict in (Verdict.NOT_CONFORMANT, Verdict.ERROR):
        tone = "bad"
    counts = ", ".join(
        f"{number} {status.value.replace('_', ' ')}"
        for status in Status
        if (number := len(report.of_status(status)))
    )
    yield (
        f'<div class="verdict {tone}"><b>{escape(report.verdict)}</b><br>'
        f"{escape(_MEANING[report.verdict])}</div>"
    )
    yield f"<p>{len(report.requirements)} requirements: {escape(counts)}.</p>"


def _failures(report: Report) -> Iterator[str]:
    lines = report.of_status(Status.FAILED, Status.ERROR, Status.INDETERMINATE)
    if not lines:
        return
    yield "<h2>What failed</h2>"
    for line in lines:
        yield (
            f"<p><b>{escape(line.id)}</b> ({escape(line.level)}, {escape(line.status)}) "
            f"{escape(line.sentence)}</p><pre>{escape(line.message)}</pre>"
        )


def _proved(report: Report) -> Iterator[str]:
    lines = report.of_status(Status.PASSED)
    if not lines:
        return
    calls = sum(int(line.figures.get("two_run_calls", 0)) for line in lines)
    yield "<h2>What was shown to hold</h2>"
    if calls:
        yield (
            f"<p>Non-interference was tested with {calls:,} calls: schedules of several tenants "
            "were run, then one tenant's calls alone, and what that tenant saw was the same.</p>"
        )
    yield from _table(
        (line.id, line.sentence + (f" ({_figures(line)})" if line.figures else ""))
        for line in lines
    )
    yield (
        '<p class="small">Tests show that no counterexample was found with this seed. They are '
        "not a proof that there is none.</p>"
    )


def _left_out(report: Report) -> Iterator[str]:
    titles = {
        Status.UNTESTED: "What no run can test here, and why",
        Status.NOT_RUN: "What was not run, and why",
        Status.DEVIATES: "Declared deviations",
        Status.REFUSED: "What does not apply; where it is a call, the core was seen to refuse it",
    }
    for status, title in titles.items():
        lines = report.of_status(status)
        if lines:
            yield f"<h2>{title}</h2>"
            yield from _table((line.id, f"{line.sentence} — {line.message}") for line in lines)
    if not report.backend.back_door:
        yield (
            "<p>There was no way below the backend's interface: whether checks and refused calls "
            "change what is stored was not seen.</p>"
        )


def _facts(report: Report) -> Iterator[str]:
    backend, versions = report.backend, report.versions
    if versions.plugin is None:
        plugin = "not from an installed distribution"
    else:
        where = "an editable install, so its files may change" if versions.plugin_editable else ""
        record = f"RECORD sha256 {versions.plugin_record}" if versions.plugin_record else where
        plugin = f"{versions.plugin} {versions.plugin_version}, {record or 'no RECORD'}"
    yield "<h2>What was run</h2>"
    yield from _table(
        [
            ("backend", f"{backend.name}, role {backend.role}, against: {backend.reality}"),
            ("declared", f"isolation {backend.isolation}, durability {backend.durability}"),
            ("capabilities", _pairs(backend.capabilities)),
            ("settings", _pairs(backend.settings) or "none"),
            ("plugin", plugin),
            ("suite and core", f"{versions.suite} and {versions.core}"),
            ("machine", f"{versions.python}, {versions.platform}"),
            ("profile and seed", f"{report.profile}, {report.seed}"),
            ("when", f"{report.made_at}, {report.seconds:.1f} s"),
            ("catalogue", report.catalogue),
        ]
    )
    yield f"<p>Repeat it with</p><pre>{escape(report.reproduce)}</pre>"
    yield (
        '<p class="small">This page and its JSON are what somebody\'s run said; they are not '
        "signed. Verify the JSON with <code>nexus conformance verify</code>, or repeat the run.</p>"
    )


def _table(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield "<table>"
    for name, text in rows:
        yield f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>"
    yield "</table>"


def _pairs(values: Any) -> str:
    return ", ".join(
        f"{name} = {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in values.items()
    )


def _figures(line: Line) -> str:
    return ", ".join(f"{name.replace('_', ' ')}: {each}" for name, each in line.figures.items())
