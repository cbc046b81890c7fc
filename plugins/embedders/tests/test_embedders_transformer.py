"""Models on disk: loaded offline and safely, and told apart by their files.

The library itself is too heavy for these tests. ``sentence_transformers`` is a stand-in here, made
below: it records how it is called and gives vectors from character counts. What is tested is this
plugin's own code around the library, with real model directories; not the library.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import nexus_embedders
import pytest
from nexus_embedders import SentenceTransformerConfig
from pydantic import ValidationError

from nexus_core.spi import (
    BackendError,
    ConfigurationError,
    Embedder,
    IndexDefinition,
    InvalidVectorError,
    Outcome,
)

SECRET = "Rumpelstilzchen"
SPEC = nexus_embedders.nexus_embedder()[1]


class Rows(list[list[float]]):
    """Stands in for an array of numbers."""

    def tolist(self) -> list[list[float]]:
        return list(self)


class StandInModel:
    """Stands in for a model: the vector of a text is its length and its count of the letter e."""

    loads: ClassVar[list[tuple[str, dict[str, Any]]]]
    calls: ClassVar[list[tuple[list[str], dict[str, Any]]]]
    fails: ClassVar[str] = ""
    environment: ClassVar[dict[str, str]]

    def __init__(self, path: str, **options: Any) -> None:
        if self.fails == "load":
            raise RuntimeError(f"{SECRET} at {path}")
        type(self).environment = dict(os.environ)
        self.loads.append((path, options))
        self.busy = threading.Lock()

    def encode(self, texts: list[str], **options: Any) -> Rows:
        assert self.busy.acquire(blocking=False), "two threads in the model at once"
        try:
            self.calls.append((list(texts), options))
            if self.fails == "encode":
                raise RuntimeError(f"cannot embed {texts[0]} {SECRET}")
            if self.fails == "few":
                return Rows([[1.0, 0.0]])
            if self.fails == "empty":
                return Rows([[] for _ in texts])
            return Rows([[float(len(text)), float(text.count("e"))] for text in texts])
        finally:
            self.busy.release()


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[StandInModel]]:
    """The stand-in under the library's name, and the environment put back afterwards."""

    class Model(StandInModel):
        loads: ClassVar[list[tuple[str, dict[str, Any]]]] = []
        calls: ClassVar[list[tuple[list[str], dict[str, Any]]]] = []

    module = ModuleType("sentence_transformers")
    module.SentenceTransformer = Model  # type: ignore[attr-defined]  # a stand-in for the library
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    before = dict(os.environ)
    yield Model
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A directory as the library's ``save`` makes it, but with few numbers in it."""
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "modules.json").write_text(
        json.dumps(
            [
                {
                    "idx": 0,
                    "name": "0",
                    "path": "",
                    "type": "sentence_transformers.models.Transformer",
                },
                {
                    "idx": 1,
                    "name": "1",
                    "path": "1_Pooling",
                    "type": "sentence_transformers.models.Pooling",
                },
            ]
        )
    )
    (folder / "config.json").write_text("{}")
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    (folder / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    return folder


def build(model: Path, **settings: Any) -> Embedder:
    """Build the embedder by way of the spec."""
    return SPEC.factory(SentenceTransformerConfig(model=str(model), **settings))


def problem(model: Path) -> tuple[str, str]:
    """Code and text of the one problem that building raises."""
    with pytest.raises(ConfigurationError) as caught:
        build(model)
    (found,) = caught.value.problems
    assert SECRET not in str(caught.value)
    return found.code, str(found)


def test_texts_become_vectors_in_order(library: type[StandInModel], model: Path) -> None:
    """One vector for each text; a text of blanks is zero and is not given to the model."""
    embedder = build(model, normalise=False, batch_size=7)
    made = embedder.embed(["three", " \n", "", "e"])
    assert [list(row) for row in made] == [[5.0, 2.0], [0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]
    texts, options = library.calls[-1]
    assert texts == ["three", "e"]
    assert (options["batch_size"], options["normalize_embeddings"]) == (7, False)
    assert options["show_progress_bar"] is False
    before = len(library.calls)
    assert len(embedder.embed([])) == 0
    assert list(embedder.embed([" "]).row(0)) == [0.0, 0.0]
    assert len(library.calls) == before


def test_it_is_loaded_from_the_directory_and_offline(
    library: type[StandInModel], model: Path
) -> None:
    """Loading names the local directory, allows neither download nor foreign code, and tells the
    hub's libraries so before they are imported."""
    build(model, device="cuda:1")
    ((path, options),) = library.loads
    assert path == str(model)
    assert options == {
        "device": "cuda:1",
        "local_files_only": True,
        "trust_remote_code": False,
        "model_kwargs": {"use_safetensors": True},
    }
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        assert library.environment[name] == "1"


def test_an_index_can_name_it(library: type[StandInModel], model: Path) -> None:
    """Version, dimension and metric are known once it is built, and make an index definition."""
    embedder = build(model, metric="dot")
    made = IndexDefinition(
        name="main",
        version=1,
        dimension=embedder.dimension,
        metric=embedder.metric,
        embedder=f"{SPEC.name}@{embedder.version}",
    )
    assert (made.dimension, made.metric) == (2, "dot")
    assert embedder.version.startswith("1+")
    assert len(embedder.version) == 26


def _add(model: Path) -> None:
    (model / "vocab.txt").write_text("a")


def _change(model: Path) -> None:
    (model / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0[]")


def _move(model: Path) -> None:
    (model / "1_Pooling").rename(model / "1_pooling")


def _remove(model: Path) -> None:
    (model / "config.json").unlink()


@pytest.mark.parametrize("alter", [_add, _change, _move, _remove])
def test_another_model_is_another_version(
    alter: Callable[[Path], None], library: type[StandInModel], model: Path
) -> None:
    """A file more, less, changed or moved gives another version."""
    before = build(model).version
    assert build(model).version == before
    alter(model)
    assert build(model).version != before


def test_what_does_not_change_vectors_does_not_change_the_version(
    library: type[StandInModel], model: Path, tmp_path: Path
) -> None:
    """Where a model lies, how it is run, and hidden files are no part of the version; whether
    vectors are scaled is."""
    before = build(model).version
    (model / ".gitattributes").write_text("x")
    (model / ".cache").mkdir()
    (model / ".cache" / "x.bin").write_text("x")
    os.utime(model / "config.json", (1, 1))
    other = model.rename(tmp_path / "elsewhere")
    assert build(other, batch_size=1, device="mps", metric="l2sq").version == before
    assert build(other, normalise=False).version != before


def test_links_to_files_are_followed(library: type[StandInModel], model: Path) -> None:
    """A model whose files are links to a store of blobs is that model."""
    before = build(model).version
    blob = (model / "model.safetensors").rename(model.parent / "blob")
    (model / "model.safetensors").symlink_to(blob)
    assert build(model).version == before


def test_a_directory_that_is_no_model_is_refused(
    library: type[StandInModel], model: Path, tmp_path: Path
) -> None:
    """Absent, a file, unreadable, or not made by the library: nothing is loaded."""
    assert "the directory is not there" in problem(tmp_path / "absent")[1]
    assert "the directory is not there" in problem(model / "config.json")[1]
    (model / "dangling.json").symlink_to(tmp_path / "absent")
    assert "cannot be read" in problem(model)[1]
    (model / "dangling.json").unlink()
    (tmp_path / "linked").mkdir()
    (model / "2_Dense").symlink_to(tmp_path / "linked")
    assert "is a link to a directory" in problem(model)[1]
    (model / "2_Dense").unlink()
    (model / "modules.json").write_text("{")
    assert "cannot be read" in problem(model)[1]
    for modules in ("[]", "{}", "null"):
        (model / "modules.json").write_text(modules)
        assert "modules.json is absent or empty" in problem(model)[1]
    (model / "modules.json").unlink()
    assert "modules.json is absent or empty" in problem(model)[1]
    assert library.loads == []


@pytest.mark.parametrize("kind", ["evil.Module", "os.system", "sentence_transformersx.A", None, 5])
def test_a_model_that_names_foreign_code_is_refused(
    kind: object, library: type[StandInModel], model: Path
) -> None:
    """The library would import what ``modules.json`` names; only its own modules pass."""
    (model / "modules.json").write_text(json.dumps([{"type": kind}]))
    assert "names code that is not the library's own" in problem(model)[1]
    (model / "modules.json").write_text(json.dumps(["sentence_transformers.models.Pooling"]))
    assert "names code that is not the library's own" in problem(model)[1]
    assert library.loads == []


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "1_Pooling/w.PT", "x.pkl", "x.ckpt", "x.pth"]
)
def test_a_format_that_can_run_code_is_refused(
    name: str, library: type[StandInModel], model: Path
) -> None:
    """Pickled weights are not even left beside safe ones."""
    (model / name).write_bytes(b"x")
    assert "can run code" in problem(model)[1]
    assert library.loads == []


def test_without_the_extra_the_operator_is_told(
    model: Path, monkeypatch: pytest.MonkeyPatch, library: type[StandInModel]
) -> None:
    """If the library is not installed, the error says which extra brings it."""
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    code, text = problem(model)
    assert code == "embedder.extra"
    assert "pip install 'nexus-embedders[sentence-transformers]'" in text


@pytest.mark.parametrize("fails", ["load", "encode", "few", "empty"])
def test_a_model_that_does_not_work_is_refused(
    fails: str, library: type[StandInModel], model: Path
) -> None:
    """A model that raises or gives no vectors is found when it is built, and no text of it told."""
    library.fails = fails
    if fails == "few":
        build(model)  # one vector for one probe is right
    else:
        assert problem(model)[0] == "embedder.model"


@pytest.mark.parametrize("fails", ["encode", "few"])
def test_a_failure_is_an_error_of_the_tree_without_content(
    fails: str, library: type[StandInModel], model: Path
) -> None:
    """What the library raises goes no further, for it may quote the text; nothing was applied."""
    embedder = build(model)
    library.fails = fails
    with pytest.raises(BackendError) as caught:
        embedder.embed(["one", "two"])
    assert caught.value.outcome is Outcome.NOT_APPLIED
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    library.fails = ""
    assert len(embedder.embed(["one"])) == 1


def test_a_vector_of_another_length_is_refused(library: type[StandInModel], model: Path) -> None:
    """A model that changes its dimension gives an error, not a shifted vector."""
    embedder = build(model)
    library.fails = "empty"
    with pytest.raises(InvalidVectorError):
        embedder.embed(["one"])


def test_threads_take_turns(library: type[StandInModel], model: Path) -> None:
    """The model is never entered twice at once."""
    embedder = build(model, normalise=False)
    made: list[array[float]] = []

    def work() -> None:
        made.extend(embedder.embed(["three"] * 50))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [list(row) for row in made] == [[5.0, 2.0]] * 400


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"model": ""},
        {"model": "all-MiniLM-L6-v2"},
        {"model": "org/model"},
        {"model": "./model"},
        {"model": "~/model"},
        {"model": "/m", "device": "cuda:x"},
        {"model": "/m", "device": "cpu\n"},
        {"model": "/m", "batch_size": 0},
        {"model": "/m", "batch_size": "8"},
        {"model": "/m", "metric": "euclid"},
        {"model": "/m", "trust_remote_code": True},
    ],
)
def test_settings_are_closed_and_name_a_place(settings: dict[str, Any]) -> None:
    """A model is named by an absolute path, never by a hub's name; nothing unknown is taken."""
    with pytest.raises(ValidationError):
        SentenceTransformerConfig(**settings)
