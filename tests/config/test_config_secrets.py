"""Secrets: by reference, read once, shown by nothing."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from nexus_core._config import Secret, SecretRef
from nexus_core._model.errors import SecretUnavailableError


def test_a_secret_is_read_where_the_reference_leads(tmp_path: Path) -> None:
    """A variable or a file gives the secret without trailing line ends, and nothing else is cut."""
    (tmp_path / "key").write_bytes(b"  s3cret \r\n\n")
    assert SecretRef(file="key").resolve(tmp_path).reveal() == b"  s3cret "
    assert SecretRef(file=str(tmp_path / "key")).resolve(Path("/")).text() == "  s3cret "
    assert SecretRef(env="A").resolve(tmp_path, {"A": "x\n"}).reveal() == b"x"
    (tmp_path / "long").write_bytes(b"x" * 65_536)
    assert len(SecretRef(file="long").resolve(tmp_path).reveal()) == 65_536


def test_a_reference_says_where_it_leads() -> None:
    """As text it is the kind of place and its name."""
    assert str(SecretRef(env="A")) == "environment variable A"
    assert str(SecretRef(file="b")) == "file b"


def test_the_environment_is_the_process_own_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A factory that resolves a reference later reads the same variable."""
    monkeypatch.setenv("MADE_UP_SECRET", "x")
    assert SecretRef(env="MADE_UP_SECRET").resolve(tmp_path).text() == "x"


def _fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b"\r\n\n", "is empty"),
        (b"x" * 65_537, "larger than 65536"),
        (Path.mkdir, "not a regular file"),
        (_fifo, "not a regular file"),
    ],
)
def test_a_file_that_gives_no_secret_is_refused(tmp_path: Path, content: Any, reason: str) -> None:
    """Absent, empty, endless and irregular files are unavailable secrets, never empty ones."""
    if callable(content):
        content(tmp_path / "key")
    elif content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(SecretUnavailableError, match=reason) as caught:
        SecretRef(file="key").resolve(tmp_path)
    assert "key" not in caught.value.reason
    assert caught.value.__context__ is None


@pytest.mark.parametrize("value", [None, "", "\n"])
def test_a_variable_that_gives_no_secret_is_refused(tmp_path: Path, value: str | None) -> None:
    """Unset and blank are the same: unavailable."""
    environ = {} if value is None else {"A": value}
    with pytest.raises(SecretUnavailableError, match="not set, or empty"):
        SecretRef(env="A").resolve(tmp_path, environ)


@pytest.mark.parametrize("path", ["a\x00b", "~nobody-of-that-name/key"])
def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path, path: str) -> None:
    """A path that no system call accepts is an unavailable secret too."""
    with pytest.raises(SecretUnavailableError, match="leads nowhere"):
        SecretRef(file=path).resolve(tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"env": "A", "file": "b"},
        {"env": ""},
        {"env": "not a name"},
        {"env": "1A"},
        {"env": "A\n"},
        {"file": ""},
        {"value": "x"},
        "plain",
        b"plain",
        None,
        [],
    ],
)
def test_a_reference_is_exactly_one_place(data: Any) -> None:
    """Neither both nor none, no blank name, and no secret in place of a reference."""
    with pytest.raises(ValidationError) as caught:
        SecretRef.model_validate(data)
    assert "plain" not in str(caught.value)


def test_a_secret_shows_itself_to_nobody() -> None:
    """Text, representation, format, attributes and pickle hold nothing of it."""
    secret = Secret(b"hunter2")
    for shown in (str(secret), repr(secret), f"{secret}", f"{secret!r:>40}", repr([secret])):
        assert "hunter2" not in shown
    with pytest.raises(TypeError):
        vars(secret)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(secret)
    assert secret.reveal() == b"hunter2"


def test_a_secret_that_is_no_text_says_so_without_showing_it() -> None:
    """The error for bytes that are not UTF-8 carries none of them, nor is it chained."""
    with pytest.raises(ValueError, match="not UTF-8") as caught:
        Secret(b"hunter2\xff").text()
    assert type(caught.value) is ValueError
    assert caught.value.__context__ is None


def test_a_root_key_must_be_random(site: Any, full: Any) -> None:
    """A key that somebody typed is refused: too short, too long, not hexadecimal, too regular."""
    key = site.folder / "secrets" / "root.key"
    good = key.read_text().strip()
    for text in (good[:-1], good + "0", good[:-1] + "g", " " + good, "0" * 64, "deadbeef" * 8):
        key.write_text(text)
        problems = site.bad(full)
        assert list(problems) == ["keys.root"]
        assert text.strip() not in repr(problems)
    for text in (good.upper(), good, good + "\n"):
        key.write_text(text)
        assert len(site.good(full).root_key.reveal()) == 32


def test_every_reference_is_resolved_at_start(site: Any, full: Any) -> None:
    """A secret that is missing is found when the configuration is read, not at first use."""
    full["stores"]["files"]["password"] = {"env": "UNSET"}
    problems = site.bad(full)
    assert list(problems) == ["stores.files.password"]
    assert "UNSET" not in repr(problems)
