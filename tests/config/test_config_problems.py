"""Errors of settings models as problems: where and what, whatever a plugin's validator says."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError, field_validator, model_validator

from nexus_core._config.problems import explain
from nexus_core._config.secrets import SecretRef
from nexus_core._model.errors import Problem
from nexus_core._spi.spec import BackendConfig

said = ""


class Loud(BackendConfig):
    """Settings whose validator says whatever the test wants it to."""

    place: str
    """Where it is: a path or sqlite:///file.db. More is said here."""

    @field_validator("place")
    @classmethod
    def _say(cls, value: str) -> str:
        raise ValueError(said)


class Inner(BackendConfig):
    """A nested model."""

    size: int = Field(default=1, ge=1)
    """How large."""


class Nested(BackendConfig):
    """Everything that a location can lead through."""

    inners: tuple[Inner, ...] = ()
    """Several."""

    by_name: dict[str, Inner] = Field(default_factory=dict)
    """Named."""

    either: Inner | Literal["none"] | None = None
    """One or none."""

    keys: dict[str, list[SecretRef]] = Field(default_factory=dict)
    """Secrets."""

    named: str = Field(default="x", alias="called", min_length=1)
    """Known by another name."""

    @model_validator(mode="after")
    def _whole(self) -> Nested:
        if len(self.inners) > 2:
            raise ValueError("at most two")
        return self


def problems(model: type[BackendConfig], data: Any, *beside: str) -> dict[str, Problem]:
    """Validate and explain."""
    try:
        model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        return {each.path: each for each in explain(error, model, data, ("at",), beside=beside)}
    raise AssertionError("accepted")


SECRETS = st.text(st.sampled_from("abcxyz019_-:/@ .éß\u0130\n"), min_size=8, max_size=24).filter(
    str.strip
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    value=SECRETS,
    cut=st.tuples(st.integers(0, 8), st.integers(4, 24)),
    change=st.sampled_from([str, str.upper, str.title, str.swapcase]),
    frame=st.sampled_from(["{}", "cannot use '{}' here", "<{}>", "x{}x"]),
)
def test_no_part_of_a_value_is_repeated(value: str, cut: Any, change: Any, frame: str) -> None:
    """Of what a validator quotes, in any case and cut, no five characters in a row are shown."""
    global said  # noqa: PLW0603  # what the model's validator says
    said = frame.format(change(value[cut[0] : cut[0] + cut[1]]))
    (problem,) = problems(Loud, {"place": value}).values()
    known = (
        "where it is: a path or sqlite:///file.db. more is said here. is not accepted cannot use"
    )
    shown = f"{problem.what} {problem.fix}".casefold()
    folded = value.casefold()
    for at in range(len(folded) - 4):
        run = folded[at : at + 5]
        assert run not in shown or run in known


@pytest.mark.parametrize(
    ("value", "message", "shown"),
    [
        ("sqlite:", "sqlite: needs a file", "sqlite: needs a file"),
        ("/srv/x", "the folder is not empty", "the folder is not empty"),
        ("hunter2", "hunter2 is weak", "is not accepted"),
        ("user:1234", "pin 1234 is weak", "is not accepted"),
        ("pin", "the pin is weak", "is not accepted"),
        ("pin", "spinning", "spinning"),
        ("pinn", "spinning", "is not accepted"),
        ("a", "a path is needed", "a path is needed"),
    ],
)
def test_a_harmless_message_is_shown(value: str, message: str, shown: str) -> None:
    """What a validator says reaches the operator unless it repeats what only the input has."""
    global said  # noqa: PLW0603  # as above
    said = message
    (problem,) = problems(Loud, {"place": value}).values()
    assert problem.what == shown
    assert problem.fix == "correct it. Where it is: a path or sqlite:///file.db"


@pytest.mark.parametrize(
    ("data", "paths"),
    [
        ({"inners": [{"size": 1}, {"size": 0}]}, {"at.inners.1.size"}),
        ({"inners": [{"siz": 1}]}, {"at.inners.0.siz"}),
        ({"by_name": {"a b": {"size": "x"}}}, {'at.by_name."a b".size'}),
        ({"either": {"size": "x"}}, {"at.either.size", "at.either"}),
        ({"either": 3}, {"at.either"}),
        ({"keys": {"a": [{"env": "A"}, {}]}}, {"at.keys.a.1"}),
        ({"keys": {"a": ["inline"]}}, {"at.keys.a.0"}),
        ({"called": ""}, {"at.called"}),
        ({"named": "x"}, {"at.named"}),
        ({"inners": [{}, {}, {}]}, {"at"}),
        ([], {"at"}),
        ({"x\ny" * 60: 1}, {"at." + ('"' + "x\\ny" * 60)[:80]}),
    ],
)
def test_a_problem_stands_where_the_file_has_it(data: Any, paths: set[str]) -> None:
    """Paths are those of the file, through lists, tables, unions and other names."""
    assert set(problems(Nested, data)) == paths


def test_a_suggestion_knows_the_table_it_is_in() -> None:
    """Keys are suggested from the innermost model, and from what the table has beside it."""
    assert (
        "did you mean 'size'" in problems(Nested, {"inners": [{"siz": 1}]})["at.inners.0.siz"].fix
    )
    assert (
        "did you mean 'env'"
        in problems(Nested, {"keys": {"a": [{"evn": "A"}]}})["at.keys.a.0.evn"].fix
    )
    found = problems(Nested, {"backnd": 1, "inners": [{"backnd": 1}]}, "backend")
    assert "did you mean 'backend'" in found["at.backnd"].fix
    assert found["at.inners.0.backnd"].fix == "known keys: size"
    assert "called" in problems(Nested, {"zzz": 1})["at.zzz"].fix


def test_a_secret_in_the_file_has_a_code_of_its_own() -> None:
    """Inline secrets can be told from other mistakes."""
    problem = problems(Nested, {"keys": {"a": ["inline"]}})["at.keys.a.0"]
    assert problem.code == "config.inline_secret"
    assert "inline" not in problem.what + problem.fix


class Wrapped(BackendConfig):
    """A model whose descriptions are broken into lines."""

    place: str = "x"
    """The first line ends here,
    volume and a second one begins."""

    @field_validator("place")
    @classmethod
    def _refuse(cls, value: str) -> str:
        raise ValueError("no such volume here,\n volume and folder")


@pytest.mark.parametrize("value", ["volume", "here", "here,\nvolume"])
def test_a_line_break_in_a_description_joins_no_words(value: str) -> None:
    """A word that begins a line of a description is known, and so no sign of the input."""
    (problem,) = problems(Wrapped, {"place": value}).values()
    assert problem.what.startswith("no such volume here")


def test_a_line_break_hides_no_input() -> None:
    """Input that a message repeats across a line break is still found."""
    (problem,) = problems(Wrapped, {"place": "volume  and\nfolder"}).values()
    assert problem.what == "is not accepted"
