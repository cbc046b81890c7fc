"""A request as whoever was handed a signed URL would send it: by plain HTTP, and past the store."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

SCHEMES: Final = {"http": HTTPConnection, "https": HTTPSConnection}
SECONDS: Final = 30


def send_http(method: str, url: str, headers: Mapping[str, str], data: bytes) -> tuple[int, bytes]:
    """Send one request on a connection of its own; gives the status and the whole answer.

    Through no proxy, and after no redirect. The length is always the body's own, whatever the
    headers say. A connection that ends without an answer has the status 0.
    """
    parts = urlsplit(url)
    given = {name: value for name, value in headers.items() if name.lower() != "content-length"}
    connection = SCHEMES[parts.scheme](parts.netloc, timeout=SECONDS)
    try:
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request(method, target, None if method == "GET" else data, given)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, HTTPException):
        # An engine may hang up on what it refuses.
        return 0, b""
    finally:
        connection.close()
