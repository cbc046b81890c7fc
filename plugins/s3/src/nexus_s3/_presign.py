"""Signing one request for somebody else: this method, name and headers, for so many seconds."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import urlsplit, urlunsplit

import attrs
from botocore.auth import S3SigV4QueryAuth  # type: ignore[import-untyped]  # it brings no types
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]  # the same

from nexus_core.spi import StoreError
from nexus_s3._engine import call
from nexus_s3._failures import Failure, translate

# How an engine is made to refuse other bytes than those announced: it knows the checksum header, or
# it holds the body against the payload digest that the signature is made over.
Binding = Literal["checksum", "payload"]
BINDINGS: Final[tuple[Binding, ...]] = ("checksum", "payload")


@attrs.frozen(kw_only=True)
class Signer:
    """Signs requests for one physical name."""

    client: Any = attrs.field(repr=False)
    credentials: Any = attrs.field(repr=False)
    bucket: str = attrs.field(repr=False)
    name: str = attrs.field(repr=False)
    region: str

    def get(self, seconds: int) -> str:
        """A URL that gets the object."""
        return self._url("get_object", seconds)

    def put(
        self,
        seconds: int,
        *,
        size: int,
        sha256: str,
        content_type: str,
        metadata: Mapping[str, str],
        binding: Binding,
    ) -> tuple[str, dict[str, str]]:
        """A URL that puts these bytes, and the headers to send, all of them signed."""
        headers = {
            "content-length": str(size),
            "content-type": content_type,
            **{f"x-amz-meta-{name}": value for name, value in metadata.items()},
        }
        if binding == "checksum":
            digest = base64.b64encode(bytes.fromhex(sha256)).decode("ascii")
            headers["x-amz-checksum-sha256"] = digest
        else:
            headers["x-amz-content-sha256"] = sha256
        parts = urlsplit(self._url("put_object", seconds))
        plain = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
        request = AWSRequest(method="PUT", url=plain, headers=headers)
        auth = _Bound if binding == "payload" else S3SigV4QueryAuth
        auth(self.credentials, "s3", self.region, expires=seconds).add_auth(request)
        return str(request.url), headers

    def _url(self, operation: str, seconds: int) -> str:
        error: StoreError
        try:
            return str(
                call(
                    self.client,
                    "generate_presigned_url",
                    ClientMethod=operation,
                    Params={"Bucket": self.bucket, "Key": self.name},
                    ExpiresIn=seconds,
                )
            )
        except Failure as failure:
            error = translate(failure)
        raise error


class _Bound(S3SigV4QueryAuth):  # type: ignore[misc]  # the library brings no types
    """A signature over the digest of the body, which the engine must then hold it against."""

    def payload(self, request: Any) -> str:
        """The digest that the request announces."""
        return str(request.headers["x-amz-content-sha256"])
