"""Settings models: none may be laxer than the base, at any depth, or hold a secret itself."""

from __future__ import annotations

from typing import Any

import pytest

from nexus_core._model.errors import PluginContractError
from nexus_core._plugins import Registry


def check(site: Any, good: str, before: str, body: str) -> list[str]:
    """Offer a plugin whose settings have this body; say what is wrong with it."""
    head = "import dataclasses, typing, pydantic\nfrom pydantic import Field, ConfigDict\n"
    head += "from typing import *\nfrom pathlib import Path\n"
    source = good.replace("class Settings", f"{before}\n\nclass Settings")
    source = source.replace('    root: str\n    """Where."""\n', f"    {body}\n")
    site.offer(head + source)
    registry = Registry.discover()
    problems = registry.check("fake")
    if problems:
        with pytest.raises(PluginContractError, match=r"nexus-fake 1\.0"):
            registry.plugin("fake")
    return [each.what for each in problems]


WEAKER = [
    ("extra", "'ignore'"),
    ("extra", "'allow'"),
    ("frozen", "False"),
    ("strict", "False"),
    ("hide_input_in_errors", "False"),
    ("validate_default", "False"),
]


@pytest.mark.parametrize(("key", "value"), WEAKER)
def test_a_model_that_weakens_the_base_is_refused(
    site: Any, good: str, key: str, value: str
) -> None:
    """Each locked setting of the base model must hold in the subclass."""
    (what,) = check(site, good, "", f"model_config = ConfigDict({key}={value})\n    root: str")
    assert f"Settings, in the settings of nexus_raw_store, weakens {key!r}" in what


@pytest.mark.parametrize(("key", "value"), WEAKER)
@pytest.mark.parametrize(
    "field", ["Inner", "list[Inner]", "Inner | None", "dict[str, list[Inner]]"]
)
def test_a_nested_model_that_weakens_is_refused(
    site: Any, good: str, key: str, value: str, field: str
) -> None:
    """A nested model is held to the same rules, wherever in the annotation it stands."""
    before = f"class Inner(spi.BackendConfig):\n    model_config = ConfigDict({key}={value})\n"
    (what,) = check(site, good, before, f"inner: {field}")
    assert f"Inner, in the settings of nexus_raw_store, weakens {key!r}" in what


@pytest.mark.parametrize(
    ("before", "body", "text"),
    [
        ("class Inner(pydantic.BaseModel):\n    a: int", "inner: Inner", "weakens 'extra'"),
        (
            "class Inner(spi.BackendConfig):\n    class Deep(pydantic.BaseModel): ...\n    d: Deep",
            "inner: Inner",
            "Deep, in",
        ),
        ("class Inner(pydantic.RootModel[int]): ...", "inner: Inner", "weakens 'extra'"),
        ("class Ref(spi.SecretRef): ...", "key: Ref", "Ref, in"),
        ("@dataclasses.dataclass\nclass Inner:\n    a: int", "inner: Inner", "nests Inner"),
        (
            "import typing_extensions as te\nclass Inner(te.TypedDict):\n    a: int",
            "inner: list[Inner]",
            "nests Inner",
        ),
        ("class Inner(NamedTuple):\n    a: int", "inner: Inner", "nests Inner"),
        ("", "root: str = Field(default=1, validate_default=False)", "weakens 'validate_default'"),
        ("", "port: int = Field(strict=False)", "weakens 'strict'"),
        ("", "port: Annotated[int, Field(strict=False)]", "weakens 'strict'"),
        ("", "ports: list[Annotated[int, Field(strict=False)]]", "weakens 'strict'"),
        ("", "ports: list[Annotated[int, pydantic.Strict(False)]]", "weakens 'strict'"),
        ("", "backend: str", "use 'backend'"),
        ("", "kind: str = Field(alias='backend')", "use 'kind'"),
        ("", "password: str", "inline secret"),
        ("", "db_password: str | None = None", "inline secret"),
        ("", "api_key: bytes", "inline secret"),
        ("", "auth_token: Annotated[str, Field(min_length=3)]", "inline secret"),
        ("class Inner(spi.BackendConfig):\n    secret: str", "inner: list[Inner]", "inline secret"),
        ("", "password: pydantic.SecretStr", "holds a secret itself"),
        ("", "anything: pydantic.SecretBytes | None = None", "holds a secret itself"),
        ("", "other: 'Missing'", "lead nowhere"),
        (
            "class Odd: ...",
            "model_config = ConfigDict(arbitrary_types_allowed=True)\n    o: Odd",
            "no JSON schema",
        ),
    ],
)
def test_settings_that_leave_a_hole_are_refused(
    site: Any, good: str, before: str, body: str, text: str
) -> None:
    """Loose nested records, lax fields, taken names and inline secrets are each refused."""
    problems = check(site, good, before, body)
    assert any(text in what for what in problems), problems


@pytest.mark.parametrize(
    ("before", "body"),
    [
        ("", "pass"),
        ("", "key: spi.SecretRef"),
        ("", "password: spi.SecretRef | None = None"),
        ("", "secret_name: str\n    token_seconds: int = 5\n    access_key_id: str = 'a'"),
        ("class Inner(spi.BackendConfig):\n    a: int", "inner: dict[str, Inner]"),
        ("", "paths: tuple[Path, ...] = ()\n    mode: Literal['a', 'b'] = 'a'\n    r: float = 1.0"),
        ("", "model_config = ConfigDict(title='Mine', frozen=True)\n    root: str"),
    ],
)
def test_sound_settings_are_accepted(site: Any, good: str, before: str, body: str) -> None:
    """Nothing that keeps the base's promises is refused."""
    assert check(site, good, before, body) == []
