"""A report says what was run, hides what must be hidden, and cannot be edited unseen."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from nexus_contracts import InvalidReportError, Report, Verdict, run, verify_report
from nexus_contracts._report import digest_of
from nexus_contracts._requirements import Level
from nexus_contracts._verdict import Status
from nexus_contracts.memory import MemoryRaw
from nexus_contracts.zoo import harness_for, mutants, variant_harness

from nexus_core.spi import BackendConfig, Problem, Runtime, SecretRef, StoreRole


@pytest.fixture(scope="module")
def good() -> Report:
    """A whole run over a sound store."""
    return run(variant_harness(StoreRole.RAW))


@pytest.fixture(scope="module")
def bad() -> Report:
    """A run over a store that leaks."""
    leaking = next(each for each in mutants() if each.killed_by == "TEN-101")
    return run(harness_for(leaking), only=["TEN-101", "RAW-001"])


def test_contracts_report_survives_json(good: Report, bad: Report) -> None:
    """A report read from its JSON is the report, and passes its verification."""
    for report in (good, bad):
        assert Report.from_json(report.to_json()) == report
        assert verify_report(report.to_json()) == report
        assert verify_report(report.to_data()).to_json() == report.to_json()


def test_contracts_report_says_what_was_run(good: Report) -> None:
    """A report has the versions, the seed, the catalogue and the calls that it is about."""
    assert good.verdict is Verdict.CONFORMANT_MEMORY
    assert good.versions.plugin == "nexus-contracts"
    assert good.versions.plugin_editable == (good.versions.plugin_record is None)
    assert f"seed={good.seed}" in good.reproduce
    calls = [
        line.figures["two_run_calls"]
        for line in good.requirements
        if "two_run_calls" in line.figures
    ]
    assert min(calls) > 0


def edit(data: Any, name: str, **values: Any) -> None:
    """Change a line of a report."""
    next(line for line in data["requirements"] if line["id"] == name).update(values)


def drop(data: Any, name: str) -> None:
    data["requirements"] = [line for line in data["requirements"] if line["id"] != name]


EDITS: Final[dict[str, tuple[Callable[[Any], object], str]]] = {
    "a better verdict": (lambda d: d.update(verdict="CONFORMANT"), "but what it lists is"),
    "a failure hidden": (lambda d: edit(d, "RAW-001", status="failed"), "but what it lists is"),
    "a line dropped": (lambda d: drop(d, "TEN-101"), "TEN-101 is missing"),
    "a line twice": (
        lambda d: d["requirements"].append(d["requirements"][0]),
        "is there 2 times",
    ),
    "a line renamed": (lambda d: edit(d, "TEN-101", id="ATOM-001"), "ATOM-001 does not apply"),
    "a must made a should": (lambda d: edit(d, "RAW-001", level="should"), "worded or ranked"),
    "another sentence": (lambda d: edit(d, "RAW-001", sentence="Nothing."), "worded or ranked"),
    "tested by nobody": (lambda d: edit(d, "TEN-101", status="untested"), "cannot be untested"),
    "not applicable": (lambda d: edit(d, "TEN-101", status="refused"), "said not to apply"),
    "an absolute deviation": (lambda d: edit(d, "TEN-101", status="deviates"), "may not"),
    "an undeclared pass": (
        lambda d: d["backend"]["capabilities"].update(copy=False),
        "RAW-016 is said to hold",
    ),
    "another reality": (lambda d: d["backend"].update(reality="real"), "but what it lists is"),
    "another catalogue": (lambda d: d.update(catalogue="0" * 64), "another catalogue"),
}


@pytest.mark.parametrize("name", EDITS)
def test_contracts_report_edited_is_refused(good: Report, name: str) -> None:
    """A report whose lines, verdict or catalogue were changed is refused, saying where, even with
    a digest that was made anew."""
    data = good.to_data()
    change, said = EDITS[name]
    change(data)
    with pytest.raises(InvalidReportError, match="its digest is not that"):
        verify_report(data)
    data["digest"] = digest_of(data)
    with pytest.raises(InvalidReportError, match=said):
        verify_report(data)


def test_contracts_report_digest_covers_every_field(good: Report) -> None:
    """A change of any field, also of one that decides nothing, is seen."""
    for name, value in good.to_data().items():
        data = good.to_data()
        if name in ("format", "digest", "requirements", "backend", "versions", "deviations"):
            continue
        data[name] = value * 2 + 1 if isinstance(value, int | float) else f"{value}x"
        with pytest.raises(InvalidReportError):
            verify_report(data)


@pytest.mark.parametrize(
    "data",
    ["", "{", "[]", "null", {}, {"format": "nexus-conformance/1"}, {"format": "other/1"}],
)
def test_contracts_report_of_another_kind_is_refused(data: Any) -> None:
    """What is no report at all is refused in words, without another error."""
    with pytest.raises(InvalidReportError):
        verify_report(data)


def test_contracts_report_with_strange_parts_is_refused(good: Report) -> None:
    """A field that is missing, unknown or of another type is refused."""
    changes: list[Callable[[Any], object]] = [
        lambda d: d.pop("seed"),
        lambda d: d.update(approved_by="us"),
        lambda d: d.update(seed="1"),
        lambda d: d["requirements"][0].update(status="fine"),
        lambda d: d["backend"].update(role="cache"),
        lambda d: d.update(requirements=7),
    ]
    for change in changes:
        data = good.to_data()
        change(data)
        with pytest.raises(InvalidReportError):
            verify_report(data)


class Placed(BackendConfig):
    """Settings with places and a secret."""

    url: str
    bucket: str
    password: SecretRef | None = None
    timeout: float = 2.5
    mode: str = "fast"


class Talkative(MemoryRaw):
    """A store that says in its problems where it is and how it gets there."""

    def __init__(self, config: Placed, runtime: Runtime) -> None:
        super().__init__(runtime.now)
        assert config.password is not None
        secret = config.password.resolve(runtime.base).text()
        self.said = f"{config.url} {config.bucket} {secret} {runtime.base}/x {Path.home()}/y"

    def check(self) -> list[Problem]:
        return [Problem(path="url", what=self.said, fix="none")]


def test_contracts_report_hides_places_and_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """No place, credential or secret is in any form of a report, whatever the backend says."""
    monkeypatch.setenv("THE_PASSWORD", "open-sesame-4711")
    honest = variant_harness(StoreRole.RAW)
    harness = attrs.evolve(
        honest,
        spec=attrs.evolve(honest.spec, config=Placed, factory=Talkative),
        settings=lambda namespace: Placed(
            url=f"https://ana:pw-0815@db.internal.example/{namespace.token}",
            bucket=f"tenants-{namespace.token}",
            password=SecretRef(env="THE_PASSWORD"),
        ),
    )
    report = run(harness, only=["CFG-101"])
    assert [line.id for line in report.of_status(Status.FAILED)] == ["CFG-101"]
    for text in (report.to_json(), report.to_junit(), report.to_html()):
        for hidden in ("sesame", "pw-0815", "db.internal", "nexus-contracts-", str(Path.home())):
            assert hidden not in text
        assert re.search("tenants-[0-9a-f]", text) is None
    assert report.backend.settings == {
        "url": "…", "bucket": "…", "password": "…", "timeout": 2.5, "mode": "fast",
    }  # fmt: skip


def test_contracts_report_as_junit(good: Report, bad: Report) -> None:
    """JUnit XML has a case for each requirement and a failure for each that failed."""
    for report in (good, bad):
        root = ET.fromstring(report.to_junit())  # noqa: S314  # our own text
        cases = root.findall("./testsuite/testcase")
        assert len(cases) == len(report.requirements)
        failed = {case.attrib["name"][:7] for case in cases if case.find("failure") is not None}
        assert failed == {line.id for line in report.of_status(Status.FAILED)}
    assert failed == {"TEN-101"}


class Tags(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_contracts_report_as_a_page(bad: Report) -> None:
    """The page has the verdict, the smallest schedule, what was left out, and fetches nothing."""
    message = next(line.message for line in bad.requirements if line.id == "TEN-101")
    assert "The smallest schedule" in message
    evil = attrs.evolve(bad.requirements[0], message="<script>alert(1)</script>\x00")
    report = attrs.evolve(bad, requirements=(*bad.requirements, evil))
    text = report.to_html()
    tags = Tags()
    tags.feed(text)
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in tags.found}
    assert not [each for _, each in tags.found if {"src", "href", "onclick"} & set(each)]
    assert "NOT CONFORMANT" in text
    assert "The smallest schedule" in text
    assert "What was not run, and why" in text
    ET.fromstring(report.to_junit())  # noqa: S314  # our own text


def test_contracts_report_page_says_what_nobody_tests(good: Report) -> None:
    """What is untested is on the page with its reason."""
    text = good.to_html()
    untested = [line for line in good.requirements if line.level is Level.UNTESTED]
    assert untested
    assert all(line.id in text and line.message in text for line in untested)


def test_contracts_report_writes_three_files(good: Report, tmp_path: Path) -> None:
    """Writing gives JSON, XML and HTML, named by backend and role."""
    paths = good.write(tmp_path / "new" / "folder")
    assert [path.name for path in paths] == [
        "memory-raw.json", "memory-raw.xml", "memory-raw.html",
    ]  # fmt: skip
    assert json.loads(paths[0].read_text(encoding="utf-8"))["verdict"] == good.verdict
