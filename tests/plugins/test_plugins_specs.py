"""Specs of atomizers, embedders and redactors, and extensions as plain callables."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest

from nexus_core._model.errors import PluginContractError
from nexus_core._plugins import Registry

ALL = """
from nexus_core import spi


class Model(spi.BackendConfig):
    path: str


@spi.hookimpl
def nexus_atomizer():
    return [
        spi.AtomizerSpec(
            name="lines", version="1", summary="Lines.", media_types=("text/plain",),
            factory=lambda: None, parameters={"max_bytes": 100},
        )
    ]


@spi.hookimpl
def nexus_embedder():
    return (
        spi.EmbedderSpec(
            name="tiny", version="1", summary="Tiny.", factory=lambda config: None, config=Model,
        ),
        spi.EmbedderSpec(name="tiny", version="2", summary="T.", factory=lambda config: None),
    )


@spi.hookimpl
def nexus_redact():
    return [spi.RedactorSpec(name="mail", version="1", summary="M.", factory=lambda: None)]


seen = []


@spi.hookimpl
def nexus_authorize(ids, context):
    return (context, ids)


@spi.hookimpl
def nexus_observe(event):
    seen.append(event)
"""


def test_specs_of_a_family_are_given_as_offered(site: Any) -> None:
    """Atomizers, embedders and redactors come back in the plugin's order."""
    site.offer(ALL)
    registry = Registry.discover()
    assert registry.check("fake") == []
    assert [each.name for each in registry.atomizers("fake")] == ["lines"]
    assert [each.version for each in registry.embedders("fake")] == ["1", "2"]
    assert [each.name for each in registry.redactors("fake")] == ["mail"]
    assert registry.backends("fake") == {}


def test_an_extension_is_called_by_position_whatever_order_it_chose(site: Any) -> None:
    """Arguments reach an implementation by name, though it takes fewer, in another order."""
    module = site.offer(ALL)
    extension = Registry.discover().extension("fake")
    assert (extension.distribution, extension.version) == ("nexus-fake", "1.0")
    (authorize,), (observe,) = extension.authorize, extension.observe
    assert authorize("context", "action", ["id"]) == ("context", ["id"])  # type: ignore[arg-type]
    event = object()
    observe(event)
    assert sys.modules[module].seen == [event]
    assert [each.name for each in extension.redactors] == ["mail"]


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('name="lines"', 'name="Lines!"', "unusable name"),
        ('name="lines", version="1"', 'name="lines", version=1', "unusable version"),
        ('version="2"', 'version="1"', "tiny@1 twice"),
        ('version="2"', 'version=""', "unusable version"),
        ('summary="M."', 'summary=" "', "one line"),
        ('("text/plain",)', '"text/plain"', "media types"),
        ('("text/plain",)', "()", "media types"),
        ('("text/plain",)', '("Text/Plain",)', "media types"),
        ('{"max_bytes": 100}', '{"max_bytes": None}', "parameters"),
        ('{"max_bytes": 100}', '{"use": 100}', "parameter 'use'"),
        ('{"max_bytes": 100}', "[1]", "parameters"),
        ('{"max_bytes": 100}', '{"api_key": "x"}', "secret 'api_key'"),
        (
            "factory=lambda config: None, config=Model",
            "factory=lambda: None, config=Model",
            "does not take 1",
        ),
        (
            "factory=lambda: None, parameters",
            "factory=lambda config: None, parameters",
            "does not take 0",
        ),
        ("config=Model", "config=dict", "not a BackendConfig"),
        ("path: str", "use: str", "use 'use'"),
        ("return [spi.RedactorSpec", "return [None, spi.RedactorSpec", "nothing at position 0"),
        ("return [spi.RedactorSpec", "return [spi, spi.RedactorSpec", "type module at position 0"),
        (
            "    return [spi.Redactor",
            "    raise ValueError('x')\n    return [spi.Redactor",
            "nexus_redact raised ValueError",
        ),
    ],
)
def test_a_spec_with_a_fault_refuses_the_plugin(site: Any, old: str, new: str, text: str) -> None:
    """Each rule of the three kinds of spec is checked, and the whole plugin refused."""
    assert old in ALL
    site.offer(ALL.replace(old, new, 1))
    registry = Registry.discover()
    assert any(text in each.what for each in registry.check("fake")), registry.check("fake")
    with pytest.raises(PluginContractError):
        registry.embedders("fake")


def test_modules_can_be_given_directly(site: Any, good: str) -> None:
    """A registry of modules needs no distribution and blames the name ``given``."""
    sound = importlib.import_module(site.module(good))
    unsound = importlib.import_module(site.module(good, family="other"))
    registry = Registry.of({"fake": sound, "lying": unsound})
    assert registry.check("fake") == []
    assert ["given 0" in each.what for each in registry.check("lying")] == [True]


def test_what_pluggy_minds_is_a_fault_too(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should some pluggy refuse what the registry accepts, the plugin is refused by name."""
    site.offer(ALL)

    def refuse(*_: object) -> None:
        raise ValueError("pluggy minds")

    monkeypatch.setattr("nexus_core._plugins.registry.register", refuse)
    (problem,) = Registry.discover().check("fake")
    assert "nexus-fake 1.0: registering it failed: ValueError: pluggy minds" in problem.what
