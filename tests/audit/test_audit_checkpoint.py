"""Checkpoints and notes against the published examples, and against every kind of damage."""

from __future__ import annotations

import base64
import hashlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_core._audit import Checkpoint, Signer, Verifier, origin_of
from nexus_core._audit.note import Note, NoteKey
from nexus_core._model.errors import AuditVerificationError, InvalidArgumentError

from .making import CONFIG_HASH, OTHER, SCOPE, signer, verifier

ROOT = hashlib.sha256(b"a root").digest()
NOTE = signer().checkpoint(42, ROOT, CONFIG_HASH)
# A second key under the log's own name: whatever it signs is refused for its form alone.
SEED = hashlib.sha256(f"seed {SCOPE}".encode()).digest()

PUBLISHED_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
PUBLISHED_NOTE = (
    "This is an example message.\n"
    "\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1E"
    "RYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def resigned(text: str) -> bytes:
    """A text signed genuinely by the log's own key."""
    return NoteKey(origin_of(SCOPE), SEED).sign(text)


def test_the_published_note_verifies() -> None:
    """The example of the signed-note specification verifies under its example key."""
    key = Verifier.parse(PUBLISHED_KEY)
    assert str(key) == PUBLISHED_KEY
    note = key.verify(PUBLISHED_NOTE.encode())
    assert note.text == "This is an example message.\n"
    assert [signature.name for signature in note.signatures] == ["example.com/foo"]


def test_the_published_checkpoint_has_the_form_of_a_note() -> None:
    """The example of the checkpoint specification is taken apart as described there."""
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    line = (
        "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7"
        "u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    )
    note = Note.parse(f"{text}\n{line}".encode())
    assert note.text == text
    assert note.signatures[0].key_id.hex() == "033de0ae"


def test_every_byte_is_as_specified() -> None:
    """A checkpoint is four lines, a blank one, and one signature line that the key id begins."""
    name = "nexus.audit/v1/prod/acme"
    key = base64.b64decode(str(verifier()).split("+", 2)[2])
    key_id = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
    text = f"{name}\n42\n{b64(ROOT)}\nconfig sha256 {b64(CONFIG_HASH)}\n"
    head, _, last = NOTE.decode().partition("\n\n")
    assert head + "\n" == text
    assert last.startswith(f"— {name} ")
    assert last.endswith("=\n")
    value = base64.b64decode(last.split(" ")[2])
    assert value[:4] == key_id
    assert len(value) == 68
    assert str(verifier()) == f"{name}+{key_id.hex()}+{b64(key)}"
    assert key[0] == 1


def test_a_checkpoint_is_read_back() -> None:
    """What was signed is what is read: origin, size, root, configuration, and the bytes."""
    assert Checkpoint.open(NOTE, verifier(), bare=True) == Checkpoint(
        origin="nexus.audit/v1/prod/acme",
        size=42,
        root=ROOT,
        config_hash=CONFIG_HASH,
        note=NOTE,
    )


def test_signing_is_deterministic() -> None:
    """The same size, root and configuration give the same bytes, in any process."""
    assert signer().checkpoint(42, ROOT, CONFIG_HASH) == NOTE


def test_any_changed_byte_is_refused() -> None:
    """Whatever single byte of a checkpoint is changed, dropped or doubled, it is refused."""
    for at in range(len(NOTE)):
        for byte in {NOTE[at] ^ bit for bit in (1, 2, 0x20, 0x80)} | {10, 32, 65} - {NOTE[at]}:
            if byte == NOTE[at]:
                continue
            refuse(NOTE[:at] + bytes([byte]) + NOTE[at + 1 :])
        refuse(NOTE[:at] + NOTE[at + 1 :])
        refuse(NOTE[:at] + NOTE[at : at + 1] + NOTE[at:])
        refuse(NOTE[:at])


def refuse(note: bytes) -> None:
    with pytest.raises(AuditVerificationError):
        Checkpoint.open(note, verifier(), bare=True)


@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    """Bytes that are no note are refused with the verification error and no other."""
    refuse(noise)


@given(
    st.integers(0, len(NOTE)),
    st.integers(0, len(NOTE)),
    st.binary(max_size=8),
)
def test_any_spliced_piece_is_refused(start: int, stop: int, piece: bytes) -> None:
    """A checkpoint in which any stretch was replaced by anything else is refused."""
    spliced = NOTE[: min(start, stop)] + piece + NOTE[max(start, stop) :]
    if spliced != NOTE:
        refuse(spliced)


@pytest.mark.parametrize(
    "size",
    ["", "042", "+42", "-1", " 42", "42 ", "4_2", "0x2a", "4.2e1", "٤٢", str(1 << 53), "9" * 40],
)
def test_a_size_has_one_spelling(size: str) -> None:
    """Even under a genuine signature, a size is plain decimal digits below 2**53."""
    refuse(resigned(f"{origin_of(SCOPE)}\n{size}\n{b64(ROOT)}\nconfig sha256 {b64(ROOT)}\n"))


@pytest.mark.parametrize(
    "text",
    [
        "{origin}\n42\n{root}\n",
        "{origin}\n42\n{root}\nconfig sha256 {root}\nmore\n",
        "{origin}\n42\n{root}\n\nconfig sha256 {root}\n",
        "{origin}\n42\n{root}\nconfig sha512 {root}\n",
        "{origin}\n42\n{root}\nconfig sha256  {root}\n",
        "{origin}\n42\n{root}\n{root}\n",
        "{origin}\n42\nAAAA\nconfig sha256 {root}\n",
        "{origin}\n42\n{loose}\nconfig sha256 {root}\n",
        "{origin}\n42\n{root}\nconfig sha256 {loose}\n",
        "{origin}\n42\n{bare}\nconfig sha256 {root}\n",
        "{origin} \n42\n{root}\nconfig sha256 {root}\n",
        "nexus.audit/v1/prod/acme-2\n42\n{root}\nconfig sha256 {root}\n",
        "\n42\n{root}\nconfig sha256 {root}\n",
    ],
)
def test_a_checkpoint_has_one_form(text: str) -> None:
    """Even under a genuine signature, other lines, another origin or loose base64 are refused."""
    root = b64(ROOT)
    loose = root[:-2] + chr(ord(root[-2]) + 1) + "="
    assert base64.b64decode(loose) == ROOT
    filled = text.format(origin=origin_of(SCOPE), root=root, loose=loose, bare=root.rstrip("="))
    refuse(resigned(filled))


def test_another_log_s_checkpoint_is_refused() -> None:
    """A checkpoint of one scope is refused under another's key, and its key under any name."""
    refuse(signer(OTHER).checkpoint(42, ROOT, CONFIG_HASH))
    refuse(NoteKey(origin_of(SCOPE), b"\x07" * 32).sign(NOTE.decode().partition("\n\n")[0] + "\n"))


def test_cosignatures_are_kept_and_not_judged() -> None:
    """Other keys' lines, even under this log's name, neither help nor hurt, and stay in place."""
    witness = NoteKey("witness.example/w1", b"\x01" * 32)
    namesake = NoteKey(origin_of(SCOPE), b"\x02" * 32)
    body, _, own = NOTE.decode().partition("\n\n")
    text = body + "\n"
    for key in (witness, namesake):
        line = key.sign(text).decode().partition("\n\n")[2]
        for cosigned in (f"{text}\n{own}{line}", f"{text}\n{line}{own}"):
            checkpoint = Checkpoint.open(cosigned.encode(), verifier())
            assert checkpoint.size == 42
            assert checkpoint.note == cosigned.encode()
            with pytest.raises(AuditVerificationError, match="further signatures"):
                Checkpoint.open(cosigned.encode(), verifier(), bare=True)
        with pytest.raises(AuditVerificationError, match="has not signed"):
            Checkpoint.open(key.sign(text), verifier())


def test_one_false_signature_of_the_log_spoils_the_note() -> None:
    """A note with a genuine line and a false one of the same key is refused."""
    line = NOTE.decode().partition("\n\n")[2]
    name, encoded = line.split(" ")[1], line.split(" ")[2]
    value = bytearray(base64.b64decode(encoded))
    value[40] ^= 1
    with pytest.raises(AuditVerificationError, match="false"):
        Checkpoint.open(NOTE + f"— {name} {b64(bytes(value))}\n".encode(), verifier())


def test_sixteen_cosignatures_are_accepted() -> None:
    """As the specification asks, at least sixteen signatures are read, of any length."""
    lines = "".join(f"— witness.example/{i} {b64(bytes(4 + 4900))}\n" for i in range(16))
    assert Checkpoint.open(NOTE + lines.encode(), verifier()).size == 42


def test_an_oversized_note_is_refused() -> None:
    """A note above a mebibyte is refused before it is looked at."""
    with pytest.raises(AuditVerificationError, match="too long"):
        Checkpoint.open(NOTE + b"x" * (1 << 20), verifier())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+530d903a",
        PUBLISHED_KEY.replace("530d903a", "530d903b"),
        PUBLISHED_KEY.replace("530d903a", "530D903A"),
        PUBLISHED_KEY.replace("example.com/foo", "example.com/bar"),
        PUBLISHED_KEY.replace("example.com/foo", "example.com/ foo"),
        PUBLISHED_KEY.replace("+Ae", "+Be"),
        PUBLISHED_KEY[:-1],
        PUBLISHED_KEY + "\n",
        PUBLISHED_KEY[:-1] + "l",
        "+530d903a+" + PUBLISHED_KEY.rpartition("+")[2],
    ],
)
def test_a_malformed_verifier_key_is_refused(text: str) -> None:
    """A verifier key whose parts do not belong together is an invalid argument."""
    with pytest.raises(InvalidArgumentError):
        Verifier.parse(text)


def test_a_verifier_survives_its_text() -> None:
    """A verifier key is the same key after being written down and read."""
    assert Verifier.parse(str(verifier())) == verifier()
    assert len({verifier(), Verifier.parse(str(verifier())), verifier(OTHER)}) == 2


def test_a_signer_gives_nothing_away() -> None:
    """Neither the text of a signer nor a pickle of it shows its seed."""
    made = signer()
    assert "acme" in repr(made)
    assert SEED.hex() not in repr(made)
    with pytest.raises(TypeError):
        pickle.dumps(made)


def test_a_signer_needs_whole_arguments() -> None:
    """A seed, root or hash of another length, or a size out of range, is refused."""
    with pytest.raises(InvalidArgumentError):
        Signer(SCOPE, b"short")
    for size, root, config in ((-1, ROOT, ROOT), (1 << 53, ROOT, ROOT), (1, b"", ROOT)):
        with pytest.raises(InvalidArgumentError):
            signer().checkpoint(size, root, config)
    with pytest.raises(InvalidArgumentError):
        signer().checkpoint(1, ROOT, b"")
