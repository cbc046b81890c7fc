"""``docs/formats.md``: its worked example is what the code makes, and what its own rules give."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import struct
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from nexus_core._audit import DETAILS, AuditRecord, Signer
from nexus_core._audit.leaf import encode_leaf, seal
from nexus_core._audit.merkle import Edge, leaf_hash
from nexus_core.spi import Scope

DOCUMENT = Path(__file__).parents[2] / "docs" / "formats.md"
MARK = "<!-- example: checked by tests/audit/test_audit_formats.py -->\n"

SCOPE = Scope("acme", "prod")
SEED = bytes(range(32))
CONFIG_HASH = hashlib.sha256(b"example").digest()
INTENT = AuditRecord(
    phase="intent",
    action="raw.put",
    operation="01890a5d-ac96-774b-bcce-b302099a8057",
    at=1_700_000_000_000_000,
    actor="importer-1",
    actor_kind="agent",
    role="member",
    trace_id="0af7651916cd43dd8448eb211c80319c",
    request_id="req-1",
    subject="alice",
    subject_tag=hashlib.sha256(b"example tag").digest(),
    purpose="ingest",
    store="raw",
    kind="data",
    space="letters",
    ids=("letters/ü.pdf",),
)
READ = AuditRecord(
    phase="access",
    action="asset.get",
    operation="01890a5d-b4e8-7c1d-9f6e-3a5b7c9d1e2f",
    outcome="ok",
    at=1_700_000_002_000_000,
    actor="dr-who",
    actor_kind="human",
    role="viewer",
    trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
    request_id="req-2",
    ids=("ast_1", "ast_2"),
    count=2,
    details={"index": "letters-v1", "k": 10},
)
BATCHES = (
    (INTENT,),
    (INTENT.settled("ok", at=1_700_000_001_000_000, details={"bytes": 1024}), READ),
)


PREAMBLE = """\
The log of tenant `acme` in `prod`, signed with the seed `00 01 02 … 1f`; the configuration hash is
SHA-256 of `example`, and the salt of entry *i* is the byte `a0 + i`, 32 times. Two batches: an
intent; then its outcome and an access. Long hex is broken into lines of 32 bytes.
"""


def encoded(record: AuditRecord, salt: bytes, *, index: int, base: int) -> tuple[bytes, bytes]:
    sealed = seal(record)
    origin = f"nexus.audit/v1/{SCOPE.env}/{SCOPE.tenant_id}"
    at = record.at or 0
    leaf = encode_leaf(record, sealed, salt, origin=origin, index=index, base=base, at=at)
    return leaf, sealed


def block(text: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in text.splitlines()) + "\n"


def folded(data: bytes) -> str:
    digits = data.hex()
    return "\n".join(digits[at : at + 64] for at in range(0, len(digits), 64))


def example() -> str:
    """The section, made by the code that writes logs."""
    signer = Signer(SCOPE, SEED)
    edge = Edge()
    parts = [PREAMBLE, "Verifier key:\n", block(str(signer.verifier))]
    for batch in BATCHES:
        base = edge.size
        for record in batch:
            index = edge.size
            salt = bytes([0xA0 + index]) * 32
            leaf, sealed = encoded(record, salt, index=index, base=base)
            edge.append(leaf_hash(leaf))
            parts += [
                f"### Entry {index}\n",
                "Open part:\n",
                block(leaf[5:-32].decode()),
                "Sealed part:\n",
                block(sealed.decode()),
                "Commitment:\n",
                block(leaf[-32:].hex()),
                f"Leaf, {len(leaf)} bytes:\n",
                block(folded(leaf)),
                "Hash of the leaf:\n",
                block(leaf_hash(leaf).hex()),
            ]
        note = signer.checkpoint(edge.size, edge.root(), CONFIG_HASH)
        parts += [
            f"### Checkpoint {edge.size}\n",
            "Edge:\n",
            block(folded(edge.to_bytes())),
            "Root:\n",
            block(edge.root().hex()),
            "Checkpoint:\n",
            block(note.decode()),
        ]
    return "\n".join(parts)


def documented() -> str:
    return DOCUMENT.read_text(encoding="utf-8").partition(MARK)[2]


def blocks(title: str) -> list[str]:
    """The indented blocks that follow a title in the document's example."""
    found = re.findall(rf"^{title}:\n\n((?:(?:    .*)?\n)+?)(?=\S|\Z)", documented(), re.MULTILINE)
    return [re.sub(r"^    ", "", text, flags=re.MULTILINE).rstrip("\n") + "\n" for text in found]


def test_the_example_is_what_the_code_makes() -> None:
    """The worked example in the documentation is byte for byte what the code writes."""
    assert documented() == "\n" + example()


def test_the_example_follows_from_the_rules() -> None:
    """By the rules on the page alone, with no code of ours, the example's values come out."""
    origin = b"nexus.audit/v1/prod/acme"

    def frame(*parts: bytes) -> bytes:
        return b"".join(struct.pack(">I", len(part)) + part for part in parts)

    opens = [text.strip().encode() for text in blocks("Open part")]
    sealed = [text.strip().encode() for text in blocks("Sealed part")]
    leaves = [bytes.fromhex(text) for text in blocks(r"Leaf, \d+ bytes")]
    assert len(opens) == len(sealed) == len(leaves) == 3
    for index, (head, body) in enumerate(zip(opens, sealed, strict=True)):
        for part in (head, body):
            form = json.dumps(
                json.loads(part), sort_keys=True, separators=(",", ":"), ensure_ascii=False
            )
            assert form.encode() == part
        salt = bytes([0xA0 + index]) * 32
        commitment = hmac.new(salt, frame(origin, head, body), hashlib.sha256).digest()
        assert bytes.fromhex(blocks("Commitment")[index]) == commitment
        assert leaves[index] == b"\x01" + frame(head) + commitment
        assert json.loads(head)["index"] == index

    hashes = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in leaves]
    assert [bytes.fromhex(text) for text in blocks("Hash of the leaf")] == hashes
    pair = hashlib.sha256(b"\x01" + hashes[0] + hashes[1]).digest()
    root = hashlib.sha256(b"\x01" + pair + hashes[2]).digest()
    assert [bytes.fromhex(text) for text in blocks("Edge")] == [hashes[0], pair + hashes[2]]
    assert [bytes.fromhex(text) for text in blocks("Root")] == [hashes[0], root]

    name, key_id, encoded = blocks("Verifier key")[0].strip().split("+", 2)
    key = base64.b64decode(encoded)
    assert hashlib.sha256(name.encode() + b"\n" + key).digest()[:4].hex() == key_id
    for size, expected, note in zip((1, 3), (hashes[0], root), blocks("Checkpoint"), strict=True):
        config = base64.b64encode(hashlib.sha256(b"example").digest()).decode()
        encoded_root = base64.b64encode(expected).decode()
        text = f"{name}\n{size}\n{encoded_root}\nconfig sha256 {config}\n"
        signed, _, line = note.partition("\n\n")
        assert signed + "\n" == text
        dash, signer, value = line.strip().split(" ")
        assert (dash.encode(), signer) == (b"\xe2\x80\x94", name)
        signature = base64.b64decode(value)
        assert signature[:4].hex() == key_id
        Ed25519PublicKey.from_public_bytes(key[1:]).verify(signature[4:], text.encode())


def members(heading: str) -> set[str]:
    section = DOCUMENT.read_text(encoding="utf-8").partition(f"### {heading}\n")[2]
    return set(re.findall(r"^\| `(\w+)` \|", section.partition("\n#")[0], re.MULTILINE))


def test_the_tables_name_every_member() -> None:
    """The tables of the two parts name the members that a full record has, and no others."""
    full = AuditRecord(
        phase="outcome",
        action="a",
        operation="o",
        outcome="ok",
        at=1,
        actor="a",
        actor_kind="human",
        role="owner",
        trace_id="0" * 31 + "1",
        request_id="r",
        subject="s",
        subject_tag=bytes(32),
        purpose="p",
        store="s",
        kind="k",
        space="s",
        ids=("i",),
        count=1,
        details=dict.fromkeys(sorted(DETAILS)[:16], 1),
    )
    leaf, sealed = encoded(full, bytes(32), index=0, base=0)
    assert members("The open part") == json.loads(leaf[5:-32]).keys()
    assert members("The sealed part") == json.loads(sealed).keys()
