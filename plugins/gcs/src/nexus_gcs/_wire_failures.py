"""What went wrong with a request of obstore's.

Its exceptions are texts. The part that is written for debugging says on lines of their own what
happened, and escapes whatever the engine said; nothing else is looked at, and what is not
recognised leaves open whether the engine did what it was asked to.
"""

from __future__ import annotations

import re
from typing import Final

from nexus_gcs._failures import Failure, Kind, refused

_DEBUG: Final = "\n\nDebug source:\n"
_STATUS: Final = re.compile(r"^ +inner: Status \{\n +status: (\d{3}),$", re.MULTILINE)
_CODE: Final = re.compile(r'^ +".*?<Code>(\w+)</Code>', re.MULTILINE)
_HTTP: Final = re.compile(r"\bHttpError \{\n +kind: (\w+),$", re.MULTILINE)
_CONNECT: Final = re.compile(r"legacy::Error\(\n +Connect,$", re.MULTILINE)
# Where redirects to another host end; see `_wire`.
_ELSEWHERE: Final = re.compile(r"^ +127\.0\.0\.1:1,$", re.MULTILINE)
_CODES: Final = {
    "NoSuchBucket": Kind.NO_BUCKET,
    "ObjectUnderActiveHold": Kind.RETAINED,
    "RetentionPolicyNotMet": Kind.RETAINED,
    "BadDigest": Kind.DIGEST,
}


def classified(error: BaseException) -> Failure:
    """What an exception of obstore's means, whatever it is."""
    said = str(error).rpartition(_DEBUG)[2]
    if (status := _STATUS.search(said)) is not None:
        found = _CODE.search(said)
        return _refused(int(status[1]), "" if found is None else found[1])
    kind = _HTTP.search(said)
    if kind is None or _ELSEWHERE.search(said) is not None:
        return Failure(Kind.STRANGE)
    if _CONNECT.search(said) is not None:
        return Failure(Kind.UNREACHABLE)
    return Failure(Kind.TIMEOUT if kind[1] == "Timeout" else Kind.LOST)


def _refused(status: int, code: str) -> Failure:
    kind = _CODES.get(code) if status in (400, 403, 404) else None
    if status == 404 and kind is None and code != "NoSuchKey":
        # Anything on the way may say so, and the answer to a HEAD never says what is absent.
        kind = Kind.STRANGE
    return refused(status, None) if kind is None else Failure(kind, status)
