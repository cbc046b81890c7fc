"""The XML API as headers: what a request says with them, and what an answer does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final

from tools.servers.gcs._refusal import Refusal
from tools.servers.gcs._state import Version, no_bucket

_META: Final = "x-goog-meta-"
_CONDITIONS: Final = {
    "x-goog-if-generation-match": "ifGenerationMatch",
    "x-goog-if-metageneration-match": "ifMetagenerationMatch",
}
_KNOWN: Final = frozenset(
    (*_CONDITIONS, "x-goog-hash", "x-goog-content-length-range", "x-goog-content-sha256")
)
# What would change an answer and is not done here.
_UNDONE: Final = frozenset(
    ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "content-encoding")
)
_HASH: Final = re.compile(r" *(crc32c|md5)=([A-Za-z0-9+/]+=*) *")
_CODES: Final = {
    "conditionNotMet": "PreconditionFailed",
    "forbidden": "AccessDenied",
    "notImplemented": "NotImplemented",
    "objectUnderActiveHold": "ObjectUnderActiveHold",
    "required": "AuthenticationRequired",
    "requestedRangeNotSatisfiable": "InvalidRange",
    "retentionPolicyNotMet": "RetentionPolicyNotMet",
}


def heard(headers: Mapping[str, str], query: Mapping[str, str]) -> dict[str, str]:
    """The headers in lower case; refuses a request for what this server does not do."""
    lower = {name.lower(): value for name, value in headers.items()}
    own = [each for each in lower if each.startswith("x-goog-") and not each.startswith(_META)]
    asked = [each for each in query if each != "generation" and not each.startswith("X-Goog-")]
    if asked or _UNDONE & lower.keys() or not _KNOWN.issuperset(own):
        raise Refusal(501, "notImplemented", "not a part of this server")
    return lower


def conditions(headers: Mapping[str, str]) -> dict[str, str]:
    """The preconditions, as the JSON API names them."""
    return {said: headers[name] for name, said in _CONDITIONS.items() if name in headers}


def resource(headers: Mapping[str, str]) -> dict[str, Any]:
    """What an upload says of its object, as the JSON API says it."""
    said: dict[str, Any] = {
        "contentType": headers.get("content-type"),
        "metadata": {
            name[len(_META) :]: value for name, value in headers.items() if name.startswith(_META)
        },
    }
    if "content-md5" in headers:
        said["md5Hash"] = headers["content-md5"]
    for each in filter(None, headers.get("x-goog-hash", "").split(",")):
        match = _HASH.fullmatch(each)
        if match is None:
            raise Refusal(400, "InvalidArgument", "x-goog-hash")
        said["crc32c" if match[1] == "crc32c" else "md5Hash"] = match[2]
    return said


def told(found: Version) -> dict[str, str]:
    """What an answer says of a generation."""
    stamp = datetime.fromtimestamp(found.updated or found.created, UTC)
    return {
        "ETag": f'"{found.content.md5.hexdigest()}"',
        "Last-Modified": format_datetime(stamp.replace(microsecond=0), usegmt=True),
        **{_META + name: _line(value) for name, value in found.metadata.items()},
    }


def _line(value: str) -> str:
    """A value as a header carries it, which is not always what it was."""
    return re.sub(r"[\r\n]+", " ", value).encode().decode("latin-1")


def error(refusal: Refusal) -> bytes:
    """A refusal in this API's words."""
    code = _CODES.get(refusal.reason, refusal.reason)
    if refusal.status == 404:
        code = "NoSuchBucket" if refusal.message == no_bucket().message else "NoSuchKey"
    elif refusal.status == 400 and refusal.reason == "invalid":
        code = "BadDigest" if "calculated" in refusal.message else "InvalidArgument"
    elif refusal.status == 403 and code == refusal.reason and code[0].islower():
        code = "AccessDenied"
    text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code>"
    return f"{text}<Message>refused</Message></Error>".encode()
