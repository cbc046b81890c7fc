"""The report of a run: everything a reader needs to believe it, to doubt it, and to repeat it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

import attrs
from attrs.validators import deep_iterable, deep_mapping, in_, instance_of

from nexus_contracts._catalogue import catalogue_hash
from nexus_contracts._dist import Versions, versions
from nexus_contracts._harness import BackendHarness, Reality
from nexus_contracts._redact import Scrub, scrubber, shown_settings
from nexus_contracts._requirements import Level, Profile
from nexus_contracts._verdict import Outcome, Status, Verdict, verdict_of
from nexus_core.spi import Durability, Isolation, StoreRole

FORMAT: Final = "nexus-conformance/1"

_text = instance_of(str)
_number = instance_of((int, float))


class InvalidReportError(ValueError):
    """A report is not one, or was changed. ``problems`` says everything that is wrong."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@attrs.frozen(kw_only=True)
class Line:
    """What became of one requirement. ``seconds`` is the time it took, ``figures`` what it counted
    (``two_run_calls``: calls in the schedules that were run whole and by one scope alone)."""

    id: str = attrs.field(validator=_text)
    level: Level = attrs.field(converter=Level)
    sentence: str = attrs.field(validator=_text)
    status: Status = attrs.field(converter=Status)
    message: str = attrs.field(validator=_text)
    seconds: float = attrs.field(validator=_number)
    figures: Mapping[str, Any] = attrs.field(validator=deep_mapping(_text, instance_of(object)))


@attrs.frozen(kw_only=True)
class Subject:
    """What was tested. ``settings`` shows names, and values only of numbers, flags and defaults."""

    name: str = attrs.field(validator=_text)
    role: StoreRole = attrs.field(converter=StoreRole)
    isolation: Isolation = attrs.field(converter=Isolation)
    durability: Durability = attrs.field(converter=Durability)
    reality: Reality = attrs.field(validator=in_(("real", "emulator", "memory")))
    back_door: bool = attrs.field(validator=instance_of(bool))
    capabilities: Mapping[str, Any] = attrs.field(validator=instance_of(dict))
    settings: Mapping[str, Any] = attrs.field(validator=instance_of(dict))


@attrs.frozen(kw_only=True)
class Report:
    """One run of the suite over one backend.

    Holds no secret, and no place on the machine or server it ran on. ``digest`` in the JSON shows
    careless changes; it is no signature, and whoever has to rely on a report runs ``reproduce``.
    """

    verdict: Verdict = attrs.field(converter=Verdict)
    profile: Profile = attrs.field(converter=Profile)
    backend: Subject = attrs.field(validator=instance_of(Subject))
    versions: Versions = attrs.field(validator=instance_of(Versions))
    catalogue: str = attrs.field(validator=_text)
    seed: int = attrs.field(validator=instance_of(int))
    made_at: str = attrs.field(validator=_text)
    seconds: float = attrs.field(validator=_number)
    requirements: tuple[Line, ...] = attrs.field(validator=deep_iterable(instance_of(Line)))
    deviations: Mapping[str, str] = attrs.field(validator=deep_mapping(_text, _text))
    reproduce: str = attrs.field(validator=_text)

    @property
    def conformant(self) -> bool:
        """Whether everything that applies was run and holds, whatever stood behind the backend."""
        return self.verdict.value.startswith(Verdict.CONFORMANT.value)

    def of_status(self, *statuses: Status) -> tuple[Line, ...]:
        """The lines with one of these statuses."""
        return tuple(line for line in self.requirements if line.status in statuses)

    def to_data(self) -> dict[str, Any]:
        """The report as plain JSON data, with its format and digest."""
        data = json.loads(json.dumps(attrs.asdict(self)))
        return {"format": FORMAT, **data, "digest": digest_of(data)}

    def to_json(self) -> str:
        """The report as JSON text, the same for equal reports."""
        return json.dumps(self.to_data(), ensure_ascii=False, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote; raises ``InvalidReportError``. It believes what it reads:
        ``verify_report`` does not."""
        try:
            data = json.loads(text)
        except ValueError:
            raise InvalidReportError(["it is not JSON"]) from None
        return cls.from_data(data)

    @classmethod
    def from_data(cls, data: Any) -> Self:
        """Read what ``to_data`` gave; raises ``InvalidReportError``."""
        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            raise InvalidReportError([f"it is not a report of the format {FORMAT}"])
        values = {name: each for name, each in data.items() if name not in ("format", "digest")}
        try:
            return cls(
                **{
                    **values,
                    "backend": Subject(**values["backend"]),
                    "versions": Versions(**values["versions"]),
                    "requirements": tuple(Line(**line) for line in values["requirements"]),
                }
            )
        except (TypeError, ValueError, KeyError) as error:
            said = error.args[0] if error.args else ""
            raise InvalidReportError([f"it lacks a part, or one is malformed: {said}"]) from None

    def to_junit(self) -> str:
        """The report as JUnit XML, a test case for each requirement."""
        from nexus_contracts._junit import junit

        return junit(self)

    def to_html(self) -> str:
        """The report as one page for a reader, which needs nothing but a browser."""
        from nexus_contracts._page import page

        return page(self)

    def write(self, folder: Path) -> list[Path]:
        """Write JSON, JUnit XML and the page into a folder, which is made where it is absent.

        Returns the paths. Overwrites what an earlier run of the same backend wrote.
        """
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"{self.backend.name}-{self.backend.role.value}"
        texts = {"json": self.to_json(), "xml": self.to_junit(), "html": self.to_html()}
        paths = []
        for ending, text in texts.items():
            paths.append(folder / f"{stem}.{ending}")
            paths[-1].write_text(text, encoding="utf-8")
        return paths


def digest_of(data: Mapping[str, Any]) -> str:
    """SHA-256 over a report's data without its format and digest, 64 hex digits."""
    values = {name: each for name, each in data.items() if name not in ("format", "digest")}
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def report_of(
    harness: BackendHarness,
    outcomes: Sequence[Outcome],
    *,
    profile: Profile,
    seed: int,
    deviations: Mapping[str, str],
    reproduce: str,
) -> Report:
    """Make the report of what became of every applicable requirement."""
    spec, scrub = harness.spec, scrubber(harness)
    return Report(
        verdict=verdict_of(outcomes, harness.reality),
        profile=profile,
        backend=Subject(
            name=spec.name,
            role=spec.role,
            isolation=spec.isolation,
            durability=spec.durability,
            reality=harness.reality,
            back_door=harness.back_door is not None,
            capabilities={
                name: sorted(value) if isinstance(value, frozenset) else value
                for name, value in attrs.asdict(spec.capabilities).items()
            },
            settings=dict(shown_settings(harness)),
        ),
        versions=versions(spec),
        catalogue=catalogue_hash(),
        seed=seed,
        made_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds=round(sum(outcome.seconds for outcome in outcomes), 3),
        requirements=tuple(_line(outcome, scrub) for outcome in outcomes),
        deviations={name: scrub(reason) for name, reason in deviations.items()},
        reproduce=scrub(reproduce),
    )


def _line(outcome: Outcome, scrub: Scrub) -> Line:
    return Line(
        id=outcome.requirement.id,
        level=outcome.requirement.level,
        sentence=outcome.requirement.sentence,
        status=outcome.status,
        message=scrub(outcome.message),
        seconds=round(outcome.seconds, 3),
        figures={
            name: value if isinstance(value, bool | int | float) else scrub(str(value))
            for name, value in outcome.figures.items()
        },
    )
