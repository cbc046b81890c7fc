"""What holds for all atomizers: registration, parameters, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from nexus_core.spi import (
    Atomizer,
    AtomizerSpec,
    InvalidArgumentError,
    NotFoundError,
    Piece,
    UnavailableError,
)

Cut = Callable[..., list[Piece]]
NAMES = ("text", "markdown", "html", "pdf", "csv", "json", "jsonl")
TEXTUAL = ("text", "markdown", "html", "csv", "json", "jsonl")
SECRET = "Rumpelstilzchen"


def test_the_entry_point_offers_seven_atomizers(specs: dict[str, AtomizerSpec]) -> None:
    """The installed distribution is found by its family name and offers each atomizer once."""
    (entry,) = entry_points(group="nexus.plugins", name="atomizers")
    offered = entry.load().nexus_atomizer()
    assert [spec.name for spec in offered] == list(specs) == list(NAMES)
    assert all(isinstance(spec.factory(), Atomizer) for spec in offered)


def test_no_media_type_is_read_by_two(specs: dict[str, AtomizerSpec]) -> None:
    """A media type decides the atomizer."""
    types = [media_type for spec in specs.values() for media_type in spec.media_types]
    assert len(types) == len(set(types))


def test_importing_the_plugin_imports_no_parser() -> None:
    """A parser is loaded when its atomizer is built, not when the plugin is looked at."""
    script = (
        "import sys, nexus_atomizers as n; n.nexus_atomizer(); "
        "print({'pypdf', 'markdown_it'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_accepted_as_parameters(name: str, specs: dict[str, AtomizerSpec]) -> None:
    """The defaults that a spec states are themselves valid, before any file is opened."""
    spec = specs[name]
    spec.factory().atomize(Path("nowhere"), spec.parameters)


@pytest.mark.parametrize("value", [99, 16_001, 2000.0, "2000", True, None, -1])
@pytest.mark.parametrize("name", NAMES)
def test_a_size_out_of_range_is_refused(
    name: str, value: object, specs: dict[str, AtomizerSpec]
) -> None:
    """``max_chars`` is a whole number in its range, checked at the call and not at the first
    piece."""
    with pytest.raises(InvalidArgumentError, match="max_chars"):
        specs[name].factory().atomize(Path("nowhere"), {"max_chars": value})


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_parameter_is_refused(name: str, specs: dict[str, AtomizerSpec]) -> None:
    """A misspelt parameter is an error, not a default; the text names no value."""
    with pytest.raises(InvalidArgumentError, match="unknown parameter") as caught:
        specs[name].factory().atomize(Path("nowhere"), {"max_char": SECRET})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("value", ["", ",,", "x", "\n", '"', 5, None])
def test_a_delimiter_that_is_none_is_refused(value: object, specs: dict[str, AtomizerSpec]) -> None:
    """Fields are parted by one of four characters."""
    with pytest.raises(InvalidArgumentError, match="delimiter"):
        specs["csv"].factory().atomize(Path("nowhere"), {"delimiter": value})


@pytest.mark.parametrize("name", NAMES)
def test_an_absent_file_is_an_error_of_the_tree(
    name: str, tmp_path: Path, specs: dict[str, AtomizerSpec]
) -> None:
    """No exception of the operating system escapes, and no path is told."""
    with pytest.raises(NotFoundError) as absent:
        list(specs[name].factory().atomize(tmp_path / SECRET, {}))
    with pytest.raises(UnavailableError) as folder:
        list(specs[name].factory().atomize(tmp_path, {}))
    assert SECRET not in str(absent.value)
    assert str(tmp_path) not in f"{absent.value}{folder.value}"


@pytest.mark.parametrize("name", TEXTUAL)
@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-32-le"])
def test_another_encoding_is_refused_at_its_byte(name: str, encoding: str, cut: Cut) -> None:
    """What is not UTF-8 is refused with the offset of the first bad byte, and nothing of it."""
    source = f'"{SECRET} ä"'.encode(encoding)
    with pytest.raises(InvalidArgumentError, match=r"byte \d+") as caught:
        cut(name, source)
    assert SECRET not in str(caught.value)


def test_the_offset_of_a_bad_byte_counts_from_the_beginning_of_the_file(cut: Cut) -> None:
    """Neither a byte order mark nor a chunk boundary moves the offset."""
    long = b"word " * 500_000
    for before in (b"", b"\xef\xbb\xbf", long, "ä".encode() * 600_000 + b"x"):
        with pytest.raises(InvalidArgumentError, match=f"byte {len(before)} does not decode"):
            cut("text", before + b"\xff after")
        with pytest.raises(InvalidArgumentError, match=f"byte {len(before)} is NUL"):
            cut("text", before + b"\0 after")


@pytest.mark.parametrize("name", TEXTUAL)
def test_nul_is_refused(name: str, cut: Cut) -> None:
    """A NUL byte is in no text."""
    with pytest.raises(InvalidArgumentError, match="byte 3 is NUL"):
        cut(name, b'"a \0"')


@pytest.mark.parametrize("name", TEXTUAL)
def test_a_byte_order_mark_is_no_character(name: str, cut: Cut) -> None:
    """With and without a byte order mark the pieces, and their offsets, are the same."""
    source = b'["one", "two"]'
    assert cut(name, b"\xef\xbb\xbf" + source) == cut(name, source) != []


@pytest.mark.parametrize(("name", "mebibytes"), [("markdown", 4), ("html", 16), ("json", 16)])
def test_a_file_that_must_be_read_whole_is_bounded(name: str, mebibytes: int, cut: Cut) -> None:
    """A format that cannot be streamed has a largest size."""
    limit = mebibytes * 1024 * 1024
    with pytest.raises(InvalidArgumentError, match=f"longer than {limit} bytes"):
        cut(name, b" " * (limit + 1))


@pytest.mark.parametrize("name", NAMES)
def test_locators_hold_no_words_of_the_source(
    name: str, cut: Cut, pdf: Callable[..., bytes], page: Callable[..., bytes]
) -> None:
    """Locators are numbers and a closed set of names: content stays in the text."""
    sources: dict[str, str | bytes] = {
        "text": "zulu yankee\n\nxray",
        "markdown": "# zulu\n\n## yankee\n\nxray\n\n- zulu\n",
        "html": "<title>zulu</title><h1 id=zulu>yankee</h1><p class=xray>xray</p>",
        "pdf": pdf([page(b"zulu yankee"), page(b"xray")]),
        "csv": "zulu,yankee\nxray,zulu\n",
        "json": '{"zulu": ["yankee"], "xray": 1}',
        "jsonl": '{"zulu": "yankee"}\n"xray"\n',
    }
    pieces = cut(name, sources[name])
    assert pieces
    kinds = {"paragraph", "heading", "list", "title"}
    for piece in pieces:
        for key, value in piece.locator.items():
            assert type(value) is int or key in ("block", "section")
        assert piece.locator.get("block", "paragraph") in kinds
        assert str(piece.locator.get("section", "1")).replace(".", "").isdigit()
