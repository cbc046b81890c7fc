"""What the quickstart's tenants keep: real documents that are on this machine already.

One corpus is the documentation that comes with the installed packages, one is the folder that was
named, one the documentation of Nexus itself.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Collection, Iterator
from email.message import Message
from pathlib import Path
from typing import Final, cast

import attrs

import nexus_core
from nexus_core import Source
from nexus_core._cli.failure import UsageError
from nexus_core._flows.sources import expand

_OWN: Final = re.compile(r"nexus[-_.]", re.IGNORECASE)
_WORDS: Final = re.compile(r"[^\W\d_][\w'-]*")
_LEAST_TEXT: Final = 200


@attrs.frozen(kw_only=True)
class Corpus:
    """Documents with a name for the whole, and a question that some of them answer.

    ``left_out`` counts documents beyond the limit or of a kind that cannot be cut into atoms.
    """

    title: str
    sources: tuple[Source, ...]
    question: str
    left_out: int = 0


def packages(limit: int, *, own: bool = False) -> Corpus:
    """The long descriptions of installed distributions, by name; ``own`` are those of Nexus."""
    found: dict[str, tuple[Source, str]] = {}
    for distribution in importlib.metadata.distributions():
        described = _described(distribution)
        if described is not None and bool(_OWN.match(described[0].logical_key)) is own:
            found.setdefault(described[0].logical_key.casefold(), described)
    ordered = [found[key] for key in sorted(found)]
    summaries = [text for _, text in ordered[:limit] if 5 <= len(_WORDS.findall(text)) <= 12]
    return Corpus(
        title="the documentation of Nexus" if own else "the documentation of installed packages",
        sources=tuple(source for source, _ in ordered[:limit]),
        # One from the middle of the alphabet, so that it is not always the same well-known one.
        question=summaries[len(summaries) // 2] if summaries else "how is it installed?",
        left_out=max(len(ordered) - limit, 0),
    )


def folder(path: Path, limit: int, media_types: Collection[str]) -> Corpus:
    """The files below a path that can be cut into atoms, in order of name."""
    every = list(expand(path))
    fit = [source for source in every if source.content_type in media_types]
    if not fit:
        raise UsageError(
            f"there is nothing in {path} that the quickstart can read",
            f"it reads {', '.join(sorted(media_types))}",
        )
    kept = fit[:limit]
    return Corpus(
        title=str(path),
        sources=tuple(kept),
        question=_opening(kept),
        left_out=len(every) - len(kept),
    )


def project(limit: int, media_types: Collection[str]) -> Corpus:
    """The documentation of Nexus: the checkout's, or else that of the installed distributions."""
    root = Path(nexus_core.__file__).parents[1]
    if (root / "pyproject.toml").is_file() and (root / "README.md").is_file():
        readme = root / "README.md"
        parts = [Source(logical_key=readme.name, content_type="text/markdown", body=readme)]
        if (root / "docs").is_dir():
            parts += [
                attrs.evolve(source, logical_key=f"docs/{source.logical_key}")
                for source in expand(root / "docs")
                if source.content_type in media_types
            ]
        return Corpus(
            title="the documentation of Nexus",
            sources=tuple(parts[:limit]),
            question="how is one tenant kept apart from another?",
            left_out=max(len(parts) - limit, 0),
        )
    return attrs.evolve(packages(limit, own=True), question="how is one tenant kept from another?")


def _described(distribution: importlib.metadata.Distribution) -> tuple[Source, str] | None:
    """A distribution's long description as a source, and its summary; metadata may be anything."""
    try:
        metadata = cast("Message[str, str]", distribution.metadata)
        text = str(metadata.get("Description") or metadata.get_payload() or "")
        name, version = str(metadata["Name"]), str(metadata["Version"])
        declared = str(metadata.get("Description-Content-Type") or "text/plain")
        summary = str(metadata.get("Summary") or "")
        if len(text) < _LEAST_TEXT:
            return None
        # What is neither Markdown nor declared is reStructuredText, which reads as plain text.
        markdown = declared.partition(";")[0].strip().lower() == "text/markdown"
        source = Source(
            logical_key=f"{name} {version}",
            content_type="text/markdown" if markdown else "text/plain",
            body=text.encode("utf-8", "replace"),
        )
    except Exception:  # noqa: BLE001  # metadata of strangers fails in any way it likes
        return None
    return source, summary


def _opening(sources: list[Source]) -> str:
    """The first words of the longest text among the first files: somebody might ask for them."""
    best: tuple[int, str] = (0, "")
    for source in sources[:20]:
        if not isinstance(source.body, Path) or not source.content_type.startswith("text/"):
            continue
        try:
            text = source.body.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        words = list(_first_words(text))
        if len(words) >= 3:
            best = max(best, (len(text), " ".join(words)))
    return best[1] or "what is this about?"


def _first_words(text: str) -> Iterator[str]:
    for count, match in enumerate(_WORDS.finditer(text[:2000])):
        if count == 8:
            return
        yield match[0]
