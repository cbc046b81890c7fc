"""One object: what is put is what is got, under its own name, whole, or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nexus_core.spi import (
    AlreadyExistsError,
    Body,
    ByteRange,
    ChecksumMismatchError,
    ClosedError,
    IntegrityError,
    InvalidArgumentError,
    NotFoundError,
    ObjectAttributes,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    Scope,
    StoreError,
)

T1 = Scope("t1", "dev")
MIB = 1 << 20

# Names that one careless rule or another would turn into each other, or into something special.
TWINS = [
    *("n", "n/m", "n/m/o", "N", "n~o", "n~", "~o", "~lock", "~tmp", "~tmp/x", "~gone", "n!", "n0"),
    *(
        "%2e%2e/k",
        "%2F",
        "cA",
        "c%41",
        "a+b",
        "a b",
        "a?b",
        "a#b",
        "a&b",
        "a;b",
        "a=b",
        "a*",
        "[a]",
    ),
    *("con", "nul.txt", "aux/x", "com1", "lpt9.tar.gz", "x.", "x ", ".x", "..x", "x..", "...", "_"),
    *("é", "ß", "ss", "SS", "ﬁ", "fi", "K", "k", "ı", "i", "İ", "I", "👩‍👩‍👧", "\u202eabc", "ſ"),
    *("%o", "%m", "%tmp", "-", "--", "a-b", "a_b", "a/b", "ab", "a/b-c", "a-b/c", "v1/prod/b/k"),
    *("x" * 198, "x" * 199, "x" * 200, "x" * 198 + "/y", "x" * 1024, "X" * 1024, "é" * 512),
    *("/".join("d" * 512), "." * 3 + "x" * 300, "x" * 197 + ".", "x" * 197 + ".y", "x" * 198 + "."),
]


def test_round_trip(lab: Any) -> None:
    """Bytes, size, SHA-256, attributes and time come back exactly, from ``put``, ``head``,
    ``open`` and ``list`` alike."""
    attributes = ObjectAttributes(
        content_type="text/plain; charset=utf-8",
        metadata={"b": "2", "a": "é\n\"\\\u2028'"},
        system={"stamp": "ff", "": ""},
    )
    info = lab.store.put(T1, "k", Body(b"hello"), attributes)
    assert info.key == "k"
    assert info.size == 5
    assert info.sha256 == hashlib.sha256(b"hello").hexdigest()
    assert info.modified_at == lab.time
    assert info.attributes == attributes
    assert info.version_id is None
    assert lab.store.head(T1, "k") == info
    with lab.store.open(T1, "k") as stream:
        assert stream.info == info
        assert (stream.start, stream.stop) == (0, 5)
        assert b"".join(stream.chunks) == b"hello"
    (entry,) = lab.store.list(T1).items
    assert (entry.key, entry.size, entry.etag) == ("k", 5, info.etag)
    assert (entry.modified_at, entry.name) == (info.modified_at, "v1/dev/t1/k")


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 17])
def test_sizes_and_sources(lab: Any, size: int) -> None:
    """Any size from bytes, a file or an iterator of odd pieces is stored and streamed the same."""
    data = os.urandom(size)

    def pieces() -> Iterator[bytes]:
        for start in range(0, size, 70_001):
            yield data[start : start + 70_001]

    for source in (data, bytearray(data), memoryview(data), io.BytesIO(data), pieces()):
        assert lab.put(T1, "k", source).size == size
        with lab.store.open(T1, "k") as stream:
            chunks = list(stream.chunks)
        assert b"".join(chunks) == data
        assert all(0 < len(chunk) <= MIB for chunk in chunks)


def test_large_header(lab: Any) -> None:
    """Attributes that do not fit the first read come back whole; none that are not text go in."""
    large = ObjectAttributes(content_type="a/b", metadata={"k": "v" * 10_000}, system={})
    lab.store.put(T1, "k", Body(b"x"), large)
    assert lab.store.head(T1, "k").attributes == large
    for broken in ("\ud800", "v" * (1 << 20)):
        bad = ObjectAttributes(content_type="a/b", metadata={"k": broken}, system={})
        with pytest.raises(InvalidArgumentError):
            lab.store.put(T1, "k", Body(b"y"), bad)
    assert lab.get(T1, "k") == b"x"


def test_twins_stay_apart(lab: Any, unsynced: None) -> None:
    """Keys that look alike, and scopes that do, hold their own bytes and delete their own."""
    scopes = [Scope(t, e) for t in ("t1", "t10", "t-1", "t1_", "con") for e in ("dev", "prod")]
    for scope in scopes[:2]:
        for key in TWINS:
            lab.put(scope, key, f"{scope} {key}".encode())
    for scope in scopes[2:]:
        lab.put(scope, "n", f"{scope} n".encode())
    for scope in scopes[:2]:
        assert sorted(lab.keys(scope)) == sorted(TWINS)
        for key in TWINS:
            assert lab.get(scope, key) == f"{scope} {key}".encode()
    for gone in TWINS[::2]:
        lab.store.delete(scopes[0], gone)
    assert sorted(lab.keys(scopes[0])) == sorted(TWINS[1::2])
    assert sorted(lab.keys(scopes[1])) == sorted(TWINS)
    assert lab.store.erase(scopes[0]) == len(TWINS[1::2])
    assert lab.keys(scopes[0]) == []
    assert sorted(lab.keys(scopes[1])) == sorted(TWINS)
    assert all(lab.get(scope, "n") == f"{scope} n".encode() for scope in scopes[1:])


def test_physical_names_are_portable(lab: Any, unsynced: None) -> None:
    """No two physical names are equal under case folding, none is reserved, hidden or too long."""
    for key in TWINS:
        lab.put(T1, key, b"x")
    files = [str(path.relative_to(lab.home(T1))) for path in lab.files(T1)]
    assert len({name.casefold() for name in files}) == len(files) == len(TWINS)
    reserved = {"con", "nul", "aux", "prn", "com1", "lpt9"}
    for name in files:
        for part in name.split("/"):
            assert part.isascii()
            assert part == part.lower()
            assert len(part) <= 202
            assert part.partition(".")[0] not in reserved
            assert part[0] != "."
            assert part[-1] not in ". "


def test_object_beside_subtree(lab: Any) -> None:
    """``n`` and ``n/m`` coexist, and deleting either leaves the other."""
    for first, second in (("n", "n/m"), ("n/m", "n")):
        lab.put(T1, "n", b"1")
        lab.put(T1, "n/m", b"2")
        lab.store.delete(T1, first)
        assert lab.keys(T1) == [second]
        lab.store.delete(T1, second)


def test_overwrite_replaces_all_and_leaves_one_file(lab: Any) -> None:
    """A second put replaces bytes and attributes together and leaves nothing of the first."""
    first = lab.put(T1, "k", b"long content")
    other = ObjectAttributes(content_type="a/b", metadata={"new": "1"}, system={})
    second = lab.store.put(T1, "k", Body(b"x"), other)
    assert second.etag != first.etag
    assert lab.get(T1, "k") == b"x"
    assert lab.store.head(T1, "k").attributes == other
    assert len(lab.files(T1)) == 1
    assert lab.unfinished(T1) == []


def test_etag_changes_with_each_write(lab: Any) -> None:
    """Writing the same bytes again, or elsewhere, gives an ETag that was never there before."""
    etags = [lab.put(s, k, b"x").etag for s in (T1, Scope("t1", "prod")) for k in ("k", "k", "l")]
    assert len(set(etags)) == 6


def test_absent(lab: Any) -> None:
    """Head, open and copy of an absent key say "not found" alike, before and after there is a
    scope; deleting it is no error."""
    texts = set()
    for _ in range(2):
        calls: list[Callable[[], object]] = [
            lambda: lab.store.head(T1, "k"),
            lambda: lab.get(T1, "k"),
            lambda: lab.store.copy(T1, "k", "l", lab.attributes()),
            lambda: lab.store.head(T1, "o/k"),
        ]
        for call in calls:
            with pytest.raises(NotFoundError) as caught:
                call()
            texts.add((str(caught.value), caught.value.args, repr(caught.value.__context__)))
        lab.store.delete(T1, "k")
        lab.store.delete(T1, "o/k")
        assert lab.store.list(T1).items == ()
        lab.put(T1, "o", b"x")
        lab.store.delete(T1, "o")
    assert len(texts) == 1


def test_create_once(lab: Any) -> None:
    """``if_absent`` succeeds on an absent key only, and a refused body is not even read."""
    lab.put(T1, "k", b"1", if_absent=True)
    body = Body(b"2")
    with pytest.raises(AlreadyExistsError):
        lab.store.put(T1, "k", body, lab.attributes(), if_absent=True)
    assert body.read_size == 0
    assert lab.get(T1, "k") == b"1"
    lab.store.delete(T1, "k")
    lab.put(T1, "k", b"3", if_absent=True)
    assert lab.get(T1, "k") == b"3"


def test_create_once_is_decided_at_the_end(lab: Any) -> None:
    """A key that is taken while the body is read is not created, nor is its new owner harmed."""

    def body() -> Iterator[bytes]:
        yield b"late"
        lab.put(T1, "k", b"early")

    with pytest.raises(AlreadyExistsError):
        lab.put(T1, "k", body(), if_absent=True)
    assert lab.get(T1, "k") == b"early"
    assert lab.unfinished(T1) == []


def test_replace_by_etag(lab: Any) -> None:
    """``if_match`` replaces exactly the current version: not an older, another key's, another
    scope's, or none."""
    other = lab.put(T1, "other", b"x")
    foreign = lab.put(Scope("t1", "prod"), "k", b"x")
    with pytest.raises(PreconditionFailedError):
        lab.put(T1, "k", b"0", if_match=foreign.etag)
    with pytest.raises(PreconditionFailedError):
        lab.put(Scope("t9", "dev"), "k", b"0", if_match=foreign.etag)
    assert not lab.home(Scope("t9", "dev")).exists()
    first = lab.put(T1, "k", b"1")
    second = lab.put(T1, "k", b"2", if_match=first.etag)
    for stale in (first.etag, other.etag, foreign.etag, ""):
        with pytest.raises(PreconditionFailedError):
            lab.put(T1, "k", b"3", if_match=stale)
    assert lab.store.head(T1, "k") == second


def test_delete_by_etag(lab: Any) -> None:
    """``delete`` with ``if_match`` deletes exactly the current version; with none there is
    nothing to match."""
    for key in ("k", "o/k"):
        with pytest.raises(PreconditionFailedError):
            lab.store.delete(T1, key, if_match="x")
        first = lab.put(T1, key, b"1")
        second = lab.put(T1, key, b"2")
        with pytest.raises(PreconditionFailedError):
            lab.store.delete(T1, key, if_match=first.etag)
        assert lab.get(T1, key) == b"2"
        lab.store.delete(T1, key, if_match=second.etag)
        assert lab.keys(T1) == []
        with pytest.raises(PreconditionFailedError):
            lab.store.delete(T1, key, if_match=second.etag)


def test_open_by_etag(lab: Any) -> None:
    """``open`` with ``if_match`` opens the version it names or raises."""
    first = lab.put(T1, "k", b"1")
    with lab.store.open(T1, "k", if_match=first.etag) as stream:
        assert b"".join(stream.chunks) == b"1"
    lab.put(T1, "k", b"2")
    with pytest.raises(PreconditionFailedError), lab.store.open(T1, "k", if_match=first.etag):
        pytest.fail("an old version was opened")


def test_delete_many(lab: Any, unsynced: None) -> None:
    """Deletes each key, absent, doubled and odd ones too, and takes none for a pattern."""
    for key in TWINS:
        lab.put(T1, key, b"x")
    assert lab.store.delete_many(T1, [*TWINS[:40], *TWINS[:5], "absent", "?", "**"]) == {}
    assert sorted(lab.keys(T1)) == sorted(TWINS[40:])


def test_deleting_leaves_no_directories(lab: Any) -> None:
    """The last object of a subtree takes the subtree's directories along."""
    for key in ("a/b/c", "a/b/d/e", "a"):
        lab.put(T1, key, b"x")
    lab.store.delete(T1, "a/b/c")
    assert (lab.home(T1) / "a/b/d").is_dir()
    lab.store.delete(T1, "a/b/d/e")
    assert not (lab.home(T1) / "a").exists()
    assert lab.keys(T1) == ["a"]


RANGES: list[tuple[int, int | None, bytes | None]] = [
    (0, None, b"0123456789"),
    (0, 10, b"0123456789"),
    (0, 11, b"0123456789"),
    (0, 1, b"0"),
    (3, 7, b"3456"),
    (9, None, b"9"),
    (9, 10, b"9"),
    (9, 99, b"9"),
    (10, None, None),
    (10, 11, None),
    (11, None, None),
    (5, 5, None),
    (5, 4, None),
    (0, 0, None),
    (-1, None, b"9"),
    (-10, None, b"0123456789"),
    (-11, None, b"0123456789"),
]


@pytest.mark.parametrize(("start", "stop", "expected"), RANGES)
def test_ranges(lab: Any, start: int, stop: int | None, expected: bytes | None) -> None:
    """A range gives exactly its bytes, is cut off at the end, or is not satisfiable."""
    lab.put(T1, "k", b"0123456789")
    lab.put(T1, "empty", b"")
    wanted = ByteRange(start, stop)
    if expected is None:
        with pytest.raises(RangeNotSatisfiableError):
            lab.get(T1, "k", wanted)
    else:
        assert lab.get(T1, "k", wanted) == expected
    with pytest.raises(RangeNotSatisfiableError):
        lab.get(T1, "empty", wanted)


def test_range_across_chunks(lab: Any) -> None:
    """A range that begins and ends inside chunks is exact."""
    data = os.urandom(3 * MIB)
    lab.put(T1, "k", data)
    assert lab.get(T1, "k", ByteRange(MIB - 3, 2 * MIB + 5)) == data[MIB - 3 : 2 * MIB + 5]


def test_copy(lab: Any) -> None:
    """A copy has the bytes and SHA-256 of its source, new attributes and a new ETag."""
    data = os.urandom(2 * MIB + 3)
    source = lab.put(T1, "s", data)
    attributes = ObjectAttributes(content_type="a/b", metadata={"new": "1"}, system={"s": "2"})
    copied = lab.store.copy(T1, "s", "t/u", attributes)
    assert lab.store.head(T1, "t/u") == copied
    assert (copied.sha256, copied.size) == (source.sha256, source.size)
    assert copied.attributes == attributes
    assert copied.etag != source.etag
    assert lab.get(T1, "t/u") == data
    assert lab.store.head(T1, "s") == source
    lab.store.delete(T1, "s")
    assert lab.get(T1, "t/u") == data


def test_copy_conditions(lab: Any) -> None:
    """A copy keeps to the source's ETag and, if asked, creates only; onto itself it works."""
    source = lab.put(T1, "s", b"1")
    lab.put(T1, "t", b"2")
    with pytest.raises(AlreadyExistsError):
        lab.store.copy(T1, "s", "t", lab.attributes(), if_absent=True)
    with pytest.raises(PreconditionFailedError):
        lab.store.copy(T1, "s", "t", lab.attributes(), if_source_match="x")
    assert lab.get(T1, "t") == b"2"
    lab.store.copy(T1, "s", "t", lab.attributes(), if_source_match=source.etag)
    assert lab.get(T1, "t") == b"1"
    renewed = lab.store.copy(T1, "s", "s", lab.attributes(a="b"))
    assert lab.store.head(T1, "s") == renewed
    assert lab.get(T1, "s") == b"1"


def test_copy_stays_in_its_scope(lab: Any) -> None:
    """A key shaped like another scope's physical name is a key like any other."""
    lab.put(Scope("b", "prod"), "k", b"theirs")
    for key in ("v1/prod/b/k", "prod/b/k"):
        with pytest.raises(NotFoundError):
            lab.store.copy(T1, key, "mine", lab.attributes())


def test_copy_of_damaged_source(lab: Any) -> None:
    """A source whose bytes are not what was written is not copied."""
    lab.put(T1, "s", b"x" * 100)
    (file,) = lab.files(T1)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(IntegrityError) as caught:
        lab.store.copy(T1, "s", "t", lab.attributes())
    assert type(caught.value) is IntegrityError
    assert lab.keys(T1) == ["s"]
    assert lab.unfinished(T1) == []


def test_set_system_of_damaged_object(lab: Any) -> None:
    """What is said of an object whose bytes are not what was written stays as it was."""
    info = lab.put(T1, "s", b"x" * 100)
    held = lab.store.set_system(T1, "s", {"held": "1"}, if_match=info.etag)
    (file,) = lab.files(T1)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(IntegrityError) as caught:
        lab.store.set_system(T1, "s", {"held": "0"}, if_match=held.etag)
    assert type(caught.value) is IntegrityError
    assert lab.store.head(T1, "s") == held
    assert lab.unfinished(T1) == []


def test_layout_on_disk(lab: Any) -> None:
    """These names and bytes are the layout: a file written so, by whatever hand, is an object."""
    text = (
        b'{"content_type":"text/plain","etag":"e1","key":"a/B","metadata":{"m":"\xc3\xa9"},'
        b'"modified_at":1700000000000000,"scope":["t1","dev"],'
        b'"sha256":"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",'
        b'"size":5,"system":{}}   '
    )
    front = b"NXSOBJ\x01\n" + len(text).to_bytes(4, "big") + text
    (lab.root / "v1/dev/t1/a").mkdir(parents=True)
    file = lab.root / "v1/dev/t1/a/~42~o"
    file.write_bytes(front + hashlib.sha256(front).digest() + b"hello")
    assert lab.get(T1, "a/B") == b"hello"
    assert lab.keys(T1) == ["a/B"]
    info = lab.store.head(T1, "a/B")
    assert (info.etag, info.modified_at) == ("e1", 1_700_000_000_000_000)
    assert info.attributes == ObjectAttributes(
        content_type="text/plain", metadata={"m": "é"}, system={}
    )
    lab.store.put(T1, "a/B", Body(b"hello"), info.attributes)
    written = file.read_bytes()
    length = int.from_bytes(written[8:12], "big")
    assert written[:8] == front[:8]
    assert written[12 + length :] == hashlib.sha256(written[: 12 + length]).digest() + b"hello"
    fields = json.loads(written[12 : 12 + length])
    new = {"etag": lab.store.head(T1, "a/B").etag, "modified_at": lab.time}
    assert fields == {**json.loads(text), **new}


class Unreadable(Exception):
    """What a body raises in these tests."""


@pytest.mark.parametrize("error", [Unreadable(), OSError(28, "mine"), KeyboardInterrupt()])
@pytest.mark.parametrize("key", ["k", "new/k"])
def test_body_that_raises(lab: Any, key: str, error: BaseException) -> None:
    """A body that raises after three chunks leaves the old object and nothing else, and its
    error, of whatever kind, comes through as it was raised."""
    lab.put(T1, "k", b"old")

    def body() -> Iterator[bytes]:
        for _ in range(3):
            yield bytes(MIB)
        raise error

    with pytest.raises(type(error)) as caught:
        lab.put(T1, key, body())
    assert caught.value is error
    assert lab.keys(T1) == ["k"]
    assert lab.get(T1, "k") == b"old"
    assert lab.unfinished(T1) == []


@pytest.mark.parametrize("declared", [{"sha256": "0" * 64}, {"size": 9}, {"size": 11}])
def test_body_that_is_not_as_declared(lab: Any, declared: dict[str, Any]) -> None:
    """Bytes that are not those declared never become visible."""
    body = Body(iter([b"0123456789"]), **declared)
    with pytest.raises(ChecksumMismatchError):
        lab.store.put(T1, "k", body, lab.attributes())
    assert lab.keys(T1) == []
    assert lab.unfinished(T1) == []


def test_open_stream_keeps_its_version(lab: Any) -> None:
    """What was opened is read to its end, through overwriting, deletion, erasure and ``close``."""
    data = os.urandom(3 * MIB)
    lab.put(T1, "k", data)
    store = lab.build()
    for change in (
        lambda: lab.put(T1, "k", b"x" * 5 * MIB),
        lambda: lab.store.delete(T1, "k"),
        lambda: lab.store.erase(T1),
        store.close,
    ):
        with store.open(T1, "k") as stream:
            got = next(stream.chunks)
            change()
            assert got + b"".join(stream.chunks) == data
        lab.put(T1, "k", data)


def test_stream_ends_with_its_block(lab: Any) -> None:
    """Chunks asked for after the block raise, rather than read whatever is open by then."""
    lab.put(T1, "k", os.urandom(2 * MIB))
    with lab.store.open(T1, "k") as stream:
        next(stream.chunks)
    with pytest.raises(ClosedError):
        next(stream.chunks)


def damage(content: bytes, kind: str) -> bytes:
    """Change a stored file as disks, editors and interrupted copies do."""
    middle = len(content) // 2
    return {
        "empty": b"",
        "short": content[:-1],
        "only a header": content[: -10 * MIB],
        "half a header": content[:60],
        "long": content + b"x",
        "magic": b"x" + content[1:],
        "newer magic": content[:6] + b"\x02" + content[7:],
        "length": content[:8] + b"\xff" + content[9:],
        "shorter length": content[:11] + bytes([content[11] ^ 3]) + content[12:],
        "header": content[:40] + bytes([content[40] ^ 1]) + content[41:],
        "sealed text": content.replace(b"text/plain", b"text/plaid"),
        "zeros": bytes(len(content)),
        "body only": content[middle:],
    }[kind]


KINDS = "empty|short|half a header|long|magic|newer magic|length|shorter length|header|zeros"


@pytest.mark.parametrize("kind", [*KINDS.split("|"), "sealed text", "only a header", "body only"])
def test_damage_is_told(lab: Any, unsynced: None, kind: str) -> None:
    """A file of the wrong length or with a header other than was written is never served; it can
    be replaced and deleted, but not created over."""
    lab.put(T1, "a", b"whole")
    lab.put(T1, "k", bytes(10 * MIB) if kind == "only a header" else b"0123456789" * 9)
    file = lab.home(T1) / "k~o"
    file.write_bytes(damage(file.read_bytes(), kind))
    with pytest.raises(IntegrityError):
        lab.store.head(T1, "k")
    with pytest.raises(IntegrityError):
        lab.get(T1, "k")
    with pytest.raises(IntegrityError, match="'k'"):
        lab.keys(T1)
    assert lab.keys(T1, prefix="a") == ["a"]
    with pytest.raises(AlreadyExistsError):
        lab.put(T1, "k", b"new", if_absent=True)
    with pytest.raises(IntegrityError):
        lab.put(T1, "k", b"new", if_match="x")
    with pytest.raises(IntegrityError):
        lab.store.delete(T1, "k", if_match="x")
    broken = file.read_bytes()
    lab.put(T1, "k", b"new")
    assert lab.get(T1, "k") == b"new"
    file.write_bytes(broken)
    lab.store.delete(T1, "k")
    assert lab.keys(T1) == ["a"]


def test_truncated_while_open(lab: Any) -> None:
    """A file that is cut short under an open stream raises instead of ending early."""
    lab.put(T1, "k", os.urandom(3 * MIB))
    (file,) = lab.files(T1)
    with lab.store.open(T1, "k") as stream:
        next(stream.chunks)
        os.truncate(file, 2 * MIB)
        with pytest.raises(IntegrityError):
            list(stream.chunks)


def test_object_moved_to_another_name_is_foreign(lab: Any) -> None:
    """A file is only ever the object that its header names: renamed or copied to another key or
    scope it is not there."""
    prod = Scope("t1", "prod")
    lab.put(T1, "k", b"mine")
    lab.put(prod, "k", b"theirs")
    (lab.home(T1) / "l~o").write_bytes((lab.home(T1) / "k~o").read_bytes())
    (lab.home(T1) / "m~o").write_bytes((lab.home(prod) / "k~o").read_bytes())
    (lab.home(T1) / "K~o").write_bytes((lab.home(T1) / "k~o").read_bytes())
    (lab.home(T1) / "~6b~o").write_bytes((lab.home(T1) / "k~o").read_bytes())
    (lab.home(prod) / "k~o").replace(lab.home(T1) / "k~o")
    for key in ("k", "l", "m", "K"):
        with pytest.raises(NotFoundError):
            lab.get(T1, key)
    assert lab.keys(T1) == []
    assert lab.keys(T1, delimiter="/") == []
    lab.put(T1, "k", b"new", if_absent=True)
    assert lab.get(T1, "k") == b"new"


def test_erase(lab: Any, unsynced: None) -> None:
    """Erasing counts the objects, leaves nothing of the scope on disk, and may be repeated."""
    assert lab.store.erase(T1) == 0
    lab.put(T1, "kept/elsewhere", b"x")
    deep = "/".join("d" * 512)
    for key in ("a", "a/b", "a/c/d", deep, "x" * 1024):
        lab.put(T1, key, b"x")
    (lab.home(T1) / "~tmp/dead").write_bytes(b"x")
    (lab.home(T1) / "a/stray.txt").write_bytes(b"x")
    assert lab.store.erase(T1) == 6
    assert not lab.home(T1).exists()
    assert list(lab.home(T1).parent.iterdir()) == []
    assert lab.store.erase(T1) == 0
    lab.put(T1, "a", b"new", if_absent=True)
    assert lab.keys(T1) == ["a"]


def test_erase_finishes_an_erasure(lab: Any) -> None:
    """What an erasure that died had moved away is not readable, and the next one deletes it."""
    lab.put(T1, "a/b", b"old")
    gone = lab.home(T1).with_name("t1~gone")
    gone.mkdir()
    lab.home(T1).rename(gone / "0")
    assert lab.keys(T1) == []
    lab.put(T1, "c", b"new")
    assert lab.store.erase(T1) == 2
    assert list(lab.home(T1).parent.iterdir()) == []


def test_upload_begun_before_an_erasure_does_not_survive_it(lab: Any) -> None:
    """A put whose scope is erased meanwhile fails, whether the scope was made anew or not."""
    for anew in (False, True):

        def body(anew: bool = anew) -> Iterator[bytes]:
            yield b"x"
            lab.store.erase(T1)
            if anew:
                lab.put(T1, "other", b"y")

        with pytest.raises(StoreError) as caught:
            lab.put(T1, "k", body())
        assert caught.value.retryable
        assert caught.value.outcome == "not_applied"
        assert lab.keys(T1) == (["other"] if anew else [])


def descriptors() -> list[str]:
    """The process's open descriptors, where the system shows them."""
    return sorted(path.name for path in Path("/proc/self/fd").glob("*"))


def test_store_is_inert(lab: Any) -> None:
    """A store keeps no descriptor open, and an error of it survives a pickle."""
    store = lab.build()
    before = descriptors()
    store.put(T1, "k", Body(b"x"), lab.attributes())
    store.list(T1)
    store.head(T1, "k")
    with store.open(T1, "k") as stream:
        list(stream.chunks)
    store.delete(T1, "k")
    with pytest.raises(NotFoundError) as caught:
        store.head(T1, "k")
    store.erase(T1)
    after = descriptors()
    assert after == before
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
