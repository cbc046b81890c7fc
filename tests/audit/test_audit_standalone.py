"""The stand-alone verifier: standard library only, and of one mind with the framework."""

from __future__ import annotations

import ast
import base64
import functools
import hashlib
import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_core._audit import Verifier, export_bundle, verify

from .making import OTHER, SCOPE, filled, verifier
from .sink import MemorySink, Stored
from .tampering import BATCHES, BOUNDS, SIZE, Tampering, deeds, flip, flipped, rolled_back

TOOL = Path(__file__).parents[2] / "tools" / "verify_audit.py"
LOG = filled(BATCHES).of(SCOPE)
DEEDS = list(deeds(LOG))


def loaded() -> Any:
    spec = importlib.util.spec_from_file_location("verify_audit_under_test", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL_MODULE = loaded()
KEY = TOOL_MODULE.Key(str(verifier()))
# Thousands of bundles, and the same few signatures in all of them; judged once each.
KEY.signed = functools.cache(KEY.signed)


def holding(log: Stored) -> MemorySink:
    sink = MemorySink()
    sink.logs[SCOPE] = log
    return sink


def bundle(log: Stored) -> bytes:
    return b"".join(export_bundle(holding(log), SCOPE, verifier()))


def agree(log: Stored, folder: Path, trusted: bytes | None = None) -> str:
    """Ask both about a log, require one answer, and return what it was."""
    path = folder / "bundle.jsonl"
    path.write_bytes(bundle(log))
    theirs = TOOL_MODULE.Verification(path, KEY, trusted)
    ours = verify(holding(log), SCOPE, verifier(), trusted_checkpoint=trusted)
    said = [f"records: {ours.size}, {ours.erased} erased, root {ours.root}"]
    said.append(f"rollback: {ours.rollback}")
    if ours.first_bad is not None:
        assert ours.bad_range is not None
        start, stop = ours.bad_range
        said.append(f"first bad record: {ours.first_bad} (one of {start} to {stop - 1})")
    told = [line for line in theirs.report() if not line.startswith("finding: ")]
    assert told == said
    assert (not theirs.findings) is ours.ok
    assert len(theirs.findings) == ours.finding_count
    return "\n".join(told)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundles")


# -- on its own feet ---------------------------------------------------------------------------


def test_it_needs_nothing_but_the_standard_library() -> None:
    """The tool imports standard modules only, and stays short enough to be read."""
    source = TOOL.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 300
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or "."]
        )
    }
    assert imported <= sys.stdlib_module_names


# RFC 8032, section 7.1, tests 1 to 3: public key, message, the signature's two halves.
RFC_8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155",
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac",
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


def key_of(public: bytes) -> Any:
    return TOOL_MODULE.Key(str(Verifier("k", public)))


@pytest.mark.parametrize(("public", "message", "first", "second"), RFC_8032)
def test_published_signatures_verify(public: str, message: str, first: str, second: str) -> None:
    """The first vectors of RFC 8032 verify, and no other message does."""
    key = key_of(bytes.fromhex(public))
    signature = bytes.fromhex(first + second)
    assert key.signed(signature, bytes.fromhex(message))
    assert not key.signed(signature, bytes.fromhex(message) + b"\x00")


ORDER = 2**252 + 27742317777372353535851937790883648493


@settings(max_examples=25, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=80), st.integers(0, 511))
def test_signatures_are_judged_alike(seed: bytes, message: bytes, bit: int) -> None:
    """A signature, a damaged one, and its non-canonical twin are judged as OpenSSL judges them."""
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public = private.public_key().public_bytes_raw()
    good = private.sign(message)
    twin = good[:32] + (int.from_bytes(good[32:], "little") + ORDER).to_bytes(32, "little")
    key = key_of(public)
    for signature in (good, flip(good, bit // 8, 1 << bit % 8), twin, good[:-1], good + b"\x00"):
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        except InvalidSignature:
            assert not key.signed(signature, message)
        else:
            assert signature == good
            assert key.signed(signature, message)


# -- of one mind with the framework ----------------------------------------------------------


def test_both_find_an_untouched_log_whole(folder: Path) -> None:
    """A whole log, an erased one and an empty one are whole to both."""
    assert "first bad" not in agree(LOG, folder, dict(LOG.checkpoints)[4])
    sink = holding(LOG.copy())
    for entry in LOG.entries:
        if entry.subject_tag is not None:
            sink.erase_sealed(SCOPE, entry.subject_tag)
    assert "records: 7, 5 erased" in agree(sink.of(SCOPE), folder)
    assert "records: 0" in agree(Stored(), folder)


@pytest.mark.parametrize("part", range(12))
def test_both_place_every_deed_alike(part: int, folder: Path) -> None:
    """For every deed, both name the same first bad record, the same range and the same counts."""
    for deed in DEEDS[part::12]:
        log = LOG.copy()
        deed.do(log)
        agree(log, folder)


@pytest.mark.parametrize("size", BOUNDS[:-1])
def test_both_judge_a_rollback_alike(size: int, folder: Path) -> None:
    """With every trusted checkpoint, and with false ones, both say the same of a rollback."""
    log = LOG.copy()
    rolled_back(size)(log)
    for trusted in (None, b"", b"\xff", *(note for _, note in LOG.checkpoints)):
        agree(log, folder, trusted)
    agree(log, folder, filled(BATCHES, OTHER).of(OTHER).checkpoints[0][1])


flips = st.builds(
    lambda index, field, at: Tampering("flip", flipped(index, field, at), index),
    st.integers(0, SIZE - 1),
    st.sampled_from(["leaf", "salt", "sealed", "subject_tag"]),
    st.integers(0, 31),
)


@settings(max_examples=60, deadline=None)
@given(
    chosen=st.lists(st.sampled_from(DEEDS) | flips, min_size=1, max_size=4),
    trusted=st.none() | st.sampled_from([note for _, note in LOG.checkpoints]),
)
def test_both_place_several_deeds_alike(
    chosen: Sequence[Tampering], trusted: bytes | None, folder: Path
) -> None:
    """Whatever is combined, both come to the same first bad record and the same verdict."""
    log = LOG.copy()
    for deed in chosen:
        try:
            deed.do(log)
        except (IndexError, TypeError, AssertionError, KeyError):
            continue  # nothing left to do it to
    agree(log, folder, trusted)


WHOLE = bundle(LOG)


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, len(WHOLE) - 2), byte=st.integers(0, 255))
def test_a_bundle_is_as_protected_as_the_log(at: int, byte: int, folder: Path) -> None:
    """Any changed byte of a bundle is a finding, and never a crash."""
    if WHOLE[at] == byte:
        return
    path = folder / "changed.jsonl"
    path.write_bytes(WHOLE[:at] + bytes([byte]) + WHOLE[at + 1 :])
    assert TOOL_MODULE.Verification(path, KEY, None).findings


def test_a_bundle_misses_no_line(folder: Path) -> None:
    """A bundle with any line gone, doubled, or only half there is a finding."""
    lines = WHOLE.splitlines(keepends=True)
    path = folder / "lines.jsonl"
    for at, line in enumerate(lines):
        for instead in (b"", line + line, line[: len(line) // 2] + b"\n", b"[]\n", b"7\n"):
            path.write_bytes(b"".join([*lines[:at], instead, *lines[at + 1 :]]))
            assert TOOL_MODULE.Verification(path, KEY, None).findings


# -- as a command ------------------------------------------------------------------------------


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the tool by an interpreter that sees no site packages and no environment."""
    command = [sys.executable, "-I", "-S", str(TOOL), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_command_says_what_it_found(tmp_path: Path) -> None:
    """Exit 0 for a whole log, 1 with the first bad record for another, and 2 for bad arguments."""
    path, key, trusted = tmp_path / "b.jsonl", tmp_path / "log.vkey", tmp_path / "kept"
    path.write_bytes(WHOLE)
    key.write_text(str(verifier()) + "\n", encoding="utf-8")
    trusted.write_bytes(LOG.checkpoints[-1][1])

    whole = run(path, "--key", str(verifier()))
    assert (whole.returncode, whole.stderr) == (0, "")
    root = verify(holding(LOG), SCOPE, verifier()).root
    assert whole.stdout == f"records: 7, 0 erased, root {root}\nrollback: not checked\n"
    checked = run(path, "--key", key, "--trusted", trusted)
    assert checked.returncode == 0
    assert "rollback: checked" in checked.stdout

    bad = LOG.copy()
    flipped(3, "sealed", 5)(bad)
    path.write_bytes(bundle(bad))
    found = run(path, "--key", key)
    assert found.returncode == 1
    assert "first bad record: 3 (one of 3 to 3)\n" in found.stdout

    older = LOG.copy()
    rolled_back(4)(older)
    path.write_bytes(bundle(older))
    back = run(path, "--key", key, "--trusted", trusted)
    assert back.returncode == 1
    assert "rollback: detected\nfirst bad record: 4 " in back.stdout
    assert run(path, "--key", key).returncode == 0

    foreign = run(path, "--key", str(verifier(OTHER)))
    assert foreign.returncode == 1
    assert "another log" in foreign.stdout
    for arguments in ((path,), (path, "--key", "a+b+c"), (path, "--key", tmp_path / "none")):
        assert run(*arguments).returncode == 2
    assert run(tmp_path / "none", "--key", key).returncode == 2
    assert run(path, "--key", key, "--trusted", tmp_path / "none").returncode == 2


def test_the_key_is_checked_before_it_is_used() -> None:
    """A key whose id is not its own, or that is no Ed25519 key, is refused."""
    name, key_id, encoded = str(verifier()).split("+", 2)
    data = base64.b64decode(encoded)
    other = base64.b64encode(b"\x02" + data[1:]).decode()
    other_id = hashlib.sha256(name.encode() + b"\n\x02" + data[1:]).digest()[:4].hex()
    for text in (
        f"{name}+00000000+{encoded}",
        f"x+{key_id}+{encoded}",
        f"{name}+{other_id}+{other}",
    ):
        with pytest.raises(ValueError, match="verifier key"):
            TOOL_MODULE.Key(text)
