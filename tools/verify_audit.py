#!/usr/bin/env python3
"""Verify an exported audit bundle with nothing but Python's standard library.

    verify_audit.py BUNDLE --key VERIFIER_KEY [--trusted CHECKPOINT_FILE]

BUNDLE is what the bundle export wrote; VERIFIER_KEY the log's public key (or a file with it), got
from elsewhere; a checkpoint kept elsewhere shows whether the log was rolled back. The formats and
rules are in docs/formats.md. This file shares no code with the framework: the two check each other.
Exit status: 0 nothing found, 1 something found, 2 the arguments are unusable.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int, int, int]
JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
NUMBERS, TEXTS = ("at", "base", "index"), ("action", "operation", "phase")


def require(condition: object, what: str) -> None:
    if not condition:
        raise ValueError(what)


def add(p: Point, q: Point) -> Point:
    """Ed25519, RFC 8032, in extended coordinates."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def decompress(data: bytes) -> Point:
    sign, y = divmod(int.from_bytes(data, "little"), 1 << 255)
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    require(y < P and x * x % P == square and (x or not sign), "it is no point of the curve")
    x = x if x & 1 == sign else P - x
    return (x, y, 1, x * y % P)


class Key:
    """A verifier key: <name>+<key id in hex>+<base64 of 0x01 and the Ed25519 key>."""

    def __init__(self, text: str) -> None:
        self.name, key_id, encoded = text.split("+", 2)
        data = unbase64(encoded)
        self.key_id = hashlib.sha256(self.name.encode() + b"\n" + data).digest()[:4]
        good = data[:1] == b"\x01" and len(data) == 33 and self.key_id.hex() == key_id
        require(good, "the key is no Ed25519 verifier key")
        self.raw = data[1:]
        x, y, z, t = decompress(self.raw)
        base, minus = decompress(b"\x58" + b"\x66" * 31), (P - x, y, z, P - t)
        self.sums: list[Point] = [(0, 1, 1, 0), base, minus, add(base, minus)]

    def signed(self, signature: bytes, text: bytes) -> bool:
        s = int.from_bytes(signature[32:], "little")
        h = int.from_bytes(hashlib.sha512(signature[:32] + self.raw + text).digest(), "little")
        h, total = h % ORDER, self.sums[0]
        for bit in reversed(range(256)):
            total = add(add(total, total), self.sums[(s >> bit & 1) | (h >> bit & 1) << 1])
        inverse = pow(total[2], -1, P)
        x, y = total[0] * inverse % P, total[1] * inverse % P
        encoded = (y | (x & 1) << 255).to_bytes(32, "little")
        return len(signature) == 64 and s < ORDER and encoded == signature[:32]


def unbase64(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    require(base64.b64encode(data).decode() == text, "it is not canonical base64")
    return data


def optional(text: str | None) -> bytes | None:
    return None if text is None else unbase64(text)


def frame(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def canonical(data: bytes) -> dict[str, Any]:
    value = json.loads(data.decode())
    require(type(value) is dict and JSON.encode(value).encode() == data, "its JSON is not ours")
    return dict(value)


def open_checkpoint(data: bytes, key: Key, *, bare: bool) -> tuple[int, bytes]:
    """Size and root of a checkpoint that this key signed; ``ValueError`` for anything else."""
    whole = data.decode()
    body, blank, tail = whole.rpartition("\n\n")
    require(len(data) <= 1 << 20 and body and blank and tail[-1:] == "\n", "it is no signed note")
    require(not re.search(r"[\0-\x09\x0b-\x1f]", whole), "it holds a control character")
    signatures = []
    for line in tail[:-1].split("\n"):
        mark, name, encoded = line.split(" ", 2)
        value = unbase64(encoded)
        require(mark == "—" and re.fullmatch(r"[^\s+]+", name) and value[4:], "a line is malformed")
        signatures.append((name, value[:4], value[4:]))
    own = [value for *who, value in signatures if who == [key.name, key.key_id]]
    require(own and all(key.signed(value, f"{body}\n".encode()) for value in own), "it is unsigned")
    require(not bare or len(signatures) == 1, "it has been given further signatures")
    origin, size, root, config = body.split("\n")
    require(origin == key.name, "it belongs to another log")
    require(re.fullmatch("0|[1-9][0-9]{0,15}", size) and int(size) < 1 << 53, "its size is none")
    require(config.startswith("config sha256 "), "its lines are not those of a checkpoint")
    require(len(unbase64(root)) == len(unbase64(config[14:])) == 32, "a hash in it is none")
    return int(size), unbase64(root)


def check_entry(line: dict[str, Any], leaf: bytes, position: int, origin: str) -> dict[str, Any]:
    """The open part of an entry that is right by itself; ``ValueError`` says what is wrong."""
    head, commitment = leaf[5:-32], leaf[-32:]
    part = canonical(head)
    texts = TEXTS if part.get("phase") == "intent" else (*TEXTS, "outcome")
    types = {**dict.fromkeys(NUMBERS, int), **dict.fromkeys(texts, str), "erasable": bool}
    require(leaf[:-32] == b"\x01" + frame(head), "its leaf is not one")
    require({name: type(part[name]) for name in part} == types, "its leaf has other fields")
    require(all(0 <= part[name] < 1 << 53 for name in NUMBERS), "its leaf's numbers are too large")
    require(re.fullmatch("intent|outcome|access|denied|event", part["phase"]), "its phase is none")
    require(line["index"] == part["index"] == position, "entries are missing, moved or repeated")
    beside = [line["operation"], line["phase"], line["recorded_at"]]
    require(beside == [part["operation"], part["phase"], part["at"]], "beside its leaf is a lie")
    salt, sealed, tag = (optional(line[name]) for name in ("salt", "sealed", "subject_tag"))
    if salt is None and sealed is None:
        require(part["erasable"] and tag is None, "it was not to be erased, or not like this")
        return part
    salt, sealed = salt or b"", sealed or b""
    opened = hmac.digest(salt, frame(origin.encode(), head, sealed), "sha256")
    require(len(salt) == 32 and opened == commitment, "its parts do not open its commitment")
    same = optional(canonical(sealed).get("subject_tag")) == tag
    require(same and part["erasable"] is (tag is not None), "its tag is not the sealed one")
    return part


def grow(edge: list[bytes], size: int, leaf: bytes) -> None:
    """Append to the roots of the perfect subtrees, largest first, of a tree of ``size`` leaves."""
    edge.append(hashlib.sha256(b"\x00" + leaf).digest())
    for _ in range((~size & size + 1).bit_length() - 1):
        edge[-2:] = [hashlib.sha256(b"\x01" + edge[-2] + edge[-1]).digest()]


def fold(edge: list[bytes]) -> bytes:
    root = edge[-1] if edge else hashlib.sha256(b"").digest()
    for left in reversed(edge[:-1]):
        root = hashlib.sha256(b"\x01" + left + root).digest()
    return root


class Verification:
    """Two passes over a bundle: first what is signed, then what is there."""

    def __init__(self, bundle: Path, key: Key, trusted: bytes | None) -> None:
        self.bundle, self.key = bundle, key
        self.findings: list[str] = []
        self.bad: int | None = None
        self.broken: int | None = None
        self.roots: dict[int, bytes] = {}
        self.edge: list[bytes] = []
        self.count = self.size = self.proved = self.erased = 0
        self.trusted = self.signed(trusted, "the trusted checkpoint", bare=False)
        self.rollback = "not checked" if self.trusted is None else "checked"
        try:
            self.read_signed()
            self.walk()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self.found("the bundle is malformed")

    def found(self, what: str, index: int | None = None) -> None:
        self.findings.append(what)
        if index is not None and (self.bad is None or index < self.bad):
            self.bad = index

    def signed(self, note: bytes | None, what: str, *, bare: bool = True) -> Any:
        try:
            return None if note is None else open_checkpoint(note, self.key, bare=bare)
        except ValueError as error:
            self.found(f"{what} is not acceptable: {error}")

    def lines(self, wanted: str) -> Iterator[dict[str, Any]]:
        with self.bundle.open("rb") as file:
            yield from (line for line in map(json.loads, file) if line["type"] == wanted)

    def read_signed(self) -> None:
        headers = [(line["format"], line["origin"]) for line in self.lines("bundle")]
        if headers != [("nexus.audit.bundle/v1", self.key.name)]:
            self.found("the bundle is of another log or format")
        largest, last = 0, b""
        for line in self.lines("checkpoint"):
            note = unbase64(line["checkpoint"])
            size, root = self.signed(note, "a stored checkpoint") or (-1, b"")
            if size > largest:
                largest, last, self.roots[size] = size, note, root
            elif size >= 0:
                self.found("a stored checkpoint is repeated or out of order")
        heads = list(self.lines("head"))
        if len(heads) > 1 or (self.roots and not heads):
            self.found("the log does not have one end")
        for head in heads[:1]:
            size, note, data = head["size"], unbase64(head["checkpoint"]), unbase64(head["edge"])
            end = self.signed(note, "the checkpoint at the end of the log")
            self.size = end[0] if end else max(size, 0)
            edge = [data[at : at + 32] for at in range(0, len(data), 32)]
            if size < 0 or len(data) != 32 * size.bit_count() or end != (size, fold(edge)):
                self.found("the end of the log is not what its checkpoint says")
            if note != last:
                self.found("the last stored checkpoint is not that of the end")
            if end:
                self.roots.setdefault(*end)

    def walk(self) -> None:
        base: int | None = None
        for line in self.lines("entry"):
            if self.count >= self.size:
                self.found("there are records behind the end of the log", self.count)
                break
            leaf = b""
            try:
                leaf = unbase64(line["leaf"])
                base = self.check(line, leaf, base)
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                self.found(f"audit record {self.count} was tampered with: {error}", self.count)
                base = None
            grow(self.edge, self.count, leaf)
            self.count += 1
            self.compare()
        if self.count < self.size:
            self.found("records are missing", self.count)
        if any(size > self.size for size in self.roots):
            self.found("a checkpoint is newer than the end of the log", self.size)
        if self.trusted is not None and self.trusted[0] > self.count:
            self.rollback = "detected"
            self.found(f"the log once had {self.trusted[0]} records and was cut", self.count)

    def check(self, line: dict[str, Any], leaf: bytes, base: int | None) -> int:
        part = check_entry(line, leaf, self.count, self.key.name)
        own: int = part["base"]
        begins = own == self.count
        require(begins or (own < self.count and base in (own, None)), "it is of another batch")
        if begins and own and own not in self.roots:
            self.found(f"the checkpoint of size {own} is missing or false")
        self.erased += line["sealed"] is None
        return own

    def compare(self) -> None:
        stored = self.roots.get(self.count) if self.broken is None else None
        if stored is not None and stored == fold(self.edge):
            self.proved = self.count
        elif stored is not None:
            self.broken = self.count
            self.found(f"records {self.proved} to {self.count - 1} are not those signed for")
        size, root = self.trusted or (0, b"")
        if size == self.count and root != fold(self.edge):
            self.rollback = "detected"
            self.found(f"the first {size} records are not those once signed for")

    def report(self) -> Iterator[str]:
        yield f"records: {self.count}, {self.erased} erased, root {fold(self.edge).hex()}"
        yield f"rollback: {self.rollback}"
        first, last = self.bad, self.bad
        if self.broken is not None and (first is None or first >= self.broken):
            first, last = self.proved, self.broken - 1
        if first is not None:
            yield f"first bad record: {first} (one of {min(self.proved, first)} to {last})"
        yield from (f"finding: {what}" for what in self.findings)


def main() -> int:
    parser = argparse.ArgumentParser(description="Verify an exported audit bundle.")
    parser.add_argument("bundle", type=Path, help="what the bundle export wrote")
    parser.add_argument("--key", required=True, help="the log's verifier key, or a file with it")
    parser.add_argument("--trusted", type=Path, help="a checkpoint that was kept elsewhere")
    options = parser.parse_args()
    try:
        key = Key(options.key if "+" in options.key else Path(options.key).read_text().strip())
        trusted = options.trusted.read_bytes() if options.trusted else None
        verification = Verification(options.bundle, key, trusted)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(*verification.report(), sep="\n")
    return 1 if verification.findings else 0


if __name__ == "__main__":
    sys.exit(main())
