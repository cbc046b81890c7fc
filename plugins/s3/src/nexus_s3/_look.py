"""Looking at one object, without its bytes."""

from __future__ import annotations

from typing import Any

from nexus_core.spi import StoreError
from nexus_s3._engine import Patience, Target, call
from nexus_s3._failures import Failure, Kind, translate
from nexus_s3._record import Found, found


def look(patience: Patience, target: Target) -> Found | None:
    """What is under a name now; ``None`` for nothing.

    Raises an error of the tree where that cannot be said, among them ``IntegrityError`` for an
    object that this store did not write.
    """
    response = described(patience, target)
    if response is None:
        return None
    return found(target, response, int(response.get("ContentLength") or 0))


def described(patience: Patience, target: Target) -> Any:
    """The engine's description of an object, ``None`` where there is none."""
    error: StoreError
    try:
        return patience.repeat(lambda: target.call("head_object"))
    except Failure as failure:
        if failure.kind is Kind.ABSENT:
            return _absent(patience, target)
        if failure.kind is Kind.DENIED and is_unlisted(patience, target):
            return None
        error = translate(failure)
    raise error


def _absent(patience: Patience, target: Target) -> Any:
    """``None``, unless it is the bucket that is absent: an answer to HEAD does not say which."""
    error: StoreError
    try:
        response = patience.repeat(lambda: target.call("get_object", Range="bytes=0-0"))
    except Failure as failure:
        if failure.kind is Kind.ABSENT:
            return None
        # Made a moment ago: it is looked at anew, and an empty object has no first byte.
        if failure.kind is Kind.RANGE:
            return patience.told(lambda: target.call("head_object"))
        error = translate(failure)
        raise error from None
    response["Body"].close()
    return patience.told(lambda: target.call("head_object"))


def is_unlisted(patience: Patience, target: Target) -> bool:
    """Whether a name that may not be looked at is not there at all.

    Some engines answer "forbidden" about what is absent where not everything may be listed.
    """
    try:
        page = patience.repeat(
            lambda: call(
                target.client,
                "list_objects_v2",
                Bucket=target.bucket,
                Prefix=target.name,
                MaxKeys=1,
            )
        )
    except Failure:
        return False
    return all(item.get("Key") != target.name for item in page.get("Contents") or ())
