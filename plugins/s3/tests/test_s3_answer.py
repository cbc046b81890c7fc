"""A listing that is read in one pass says what the client library reads in it."""

from __future__ import annotations

from typing import Any

import botocore.parsers  # type: ignore[import-untyped]
import botocore.session  # type: ignore[import-untyped]
import pytest
from nexus_s3._answer import read_listing

HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
NAMED = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
ENTRY = (
    "<Contents><Key>{key}</Key><LastModified>{at}</LastModified><ETag>{etag}</ETag>"
    "<Size>{size}</Size><Owner><ID>me</ID><Key>not this</Key></Owner>"
    "<StorageClass>STANDARD</StorageClass></Contents>"
)
WANTED = ("Key", "Size", "ETag", "LastModified")


@pytest.fixture(scope="module")
def library() -> Any:
    """The client library's own reading of the same bytes."""
    service = botocore.session.Session().get_service_model("s3")
    shape = service.operation_model("ListObjectsV2").output_shape
    parser = botocore.parsers.create_parser("rest-xml")

    def read(body: bytes) -> dict[str, Any]:
        found: dict[str, Any] = parser.parse(
            {"status_code": 200, "headers": {}, "body": body}, shape
        )
        return found

    return read


def entry(
    key: str = "k",
    at: str = "2026-03-04T05:06:07.089Z",
    etag: str = "&quot;e-1&quot;",
    size: str = "5",
) -> str:
    """What an engine says of one object."""
    return ENTRY.format(key=key, at=at, etag=etag, size=size)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "<IsTruncated>false</IsTruncated>",
        "<IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b</NextContinuationToken>"
        + entry(),
        entry("a &lt;b&gt; &amp;amp; &#x1F600; ü\u0308")
        + entry("a  b ")
        + entry("<![CDATA[<k>]]>"),
        entry(at="2026-03-04T05:06:07+02:00") + entry(at="Wed, 04 Mar 2026 05:06:07 GMT"),
        entry(size="0", etag="bare") + entry(size=str(5 << 40), etag=""),
        "<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>"
        "<CommonPrefixes><Prefix>b &amp;/</Prefix></CommonPrefixes>" + entry("b"),
        "<!-- <Contents> --><Name>b</Name><Contents2><Key>x</Key></Contents2>"
        + entry("k<!-- x -->l"),
        "<EncodingType>url</EncodingType>" + entry("a%2Fb+c"),
        entry("x" * 900) * 1000,
    ],
    ids=["empty", "last", "more", "characters", "times", "sizes", "rolled", "odd", "url", "long"],
)
@pytest.mark.parametrize("named", [NAMED, "<ListBucketResult>"], ids=["named", "bare"])
def test_a_listing_says_what_the_library_reads(library: Any, said: str, named: str) -> None:
    """Whatever an engine lists is read as the client library reads it."""
    body = f"{HEAD}{named}{said}</ListBucketResult>".encode()
    response: dict[str, Any] = {"status_code": 200, "headers": {}, "body": body}
    found: dict[str, Any] = {}
    read_listing(response, found)
    assert response["body"] == b""
    due = library(body)
    for name in ("IsTruncated", "NextContinuationToken", "EncodingType", "CommonPrefixes"):
        assert found.get(name) == due.get(name), name
    lines = [{name: each[name] for name in WANTED} for each in due.get("Contents", ())]
    assert found.get("Contents", []) == lines


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<Error><Code>InternalError</Code></Error>"),
        (200, f"{NAMED}{entry()}".encode()),
        (200, f"{NAMED}<Contents><Key>k</Key></Contents></ListBucketResult>".encode()),
        (200, f"{NAMED}{entry(size='many')}</ListBucketResult>".encode()),
        (200, f"{NAMED}{entry(at='late')}</ListBucketResult>".encode()),
        (200, f"{NAMED}{entry('&#1;')}</ListBucketResult>".encode()),
        (200, f"{NAMED}<IsTruncated>perhaps</IsTruncated></ListBucketResult>".encode()),
        (200, b""),
        (503, f"{NAMED}</ListBucketResult>".encode()),
    ],
)
def test_what_is_no_whole_listing_is_left_to_the_library(status: int, body: bytes) -> None:
    """An answer that is not plainly a whole listing goes on to the library untouched."""
    response: dict[str, Any] = {"status_code": status, "headers": {}, "body": body}
    found: dict[str, Any] = {}
    read_listing(response, found)
    assert response["body"] == body
    assert found == {}
