"""JUnit XML, the one format that every build server reads."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Final

from nexus_contracts._report import Line, Report
from nexus_contracts._verdict import Status

# What XML 1.0 cannot hold, not even escaped.
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FAILURES: Final = (Status.FAILED, Status.INDETERMINATE)
_SKIPPED: Final = (Status.UNTESTED, Status.NOT_RUN, Status.REFUSED, Status.DEVIATES)


def junit(report: Report) -> str:
    """A suite with a case for each requirement; the verdict is among its properties."""
    lines = report.requirements
    suite = ET.Element(
        "testsuite",
        name=f"nexus conformance: {report.backend.name} {report.backend.role}",
        tests=str(len(lines)),
        failures=str(sum(line.status in _FAILURES for line in lines)),
        errors=str(sum(line.status is Status.ERROR for line in lines)),
        skipped=str(sum(line.status in _SKIPPED for line in lines)),
        time=f"{report.seconds:.3f}",
        timestamp=report.made_at.removesuffix("Z"),
    )
    properties = ET.SubElement(suite, "properties")
    facts = {"verdict": report.verdict.value, "profile": report.profile.value}
    facts |= {"catalogue": report.catalogue, "seed": str(report.seed)}
    for name, value in facts.items():
        ET.SubElement(properties, "property", name=name, value=value)
    for line in lines:
        _case(suite, report, line)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ET.Element, report: Report, line: Line) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=f"nexus.{report.backend.role}.{line.level}",
        name=f"{line.id} {line.sentence}",
        time=f"{line.seconds:.3f}",
    )
    message = _NOT_XML.sub("\ufffd", line.message)
    if line.status is Status.ERROR:
        kind = "error"
    elif line.status in _FAILURES:
        kind = "failure"
    elif line.status in _SKIPPED:
        kind = "skipped"
    else:
        return
    first = message.partition("\n")[0]
    found = ET.SubElement(case, kind, message=f"{line.status}: {first}")
    if kind != "skipped":
        found.text = message
