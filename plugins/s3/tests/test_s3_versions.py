"""What a bucket says of the versions that it keeps, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nexus_core.spi import Scope, UnsupportedError

T1 = Scope("t1", "dev")
FORBIDDEN = "<Error><Code>AccessDenied</Code></Error>"


def says(lab: Any, status: int, body: str) -> None:
    """Have the engine answer the question for a bucket's versioning."""

    def before(asked: Any) -> Any:
        if "versioning" in asked.query:
            return type(lab.broken)(status, {"Content-Type": "application/xml"}, body.encode())
        return None

    lab.engine.before = before


def told(status: str) -> str:
    """A bucket's versioning, as the protocol says it."""
    return f"<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>"


@pytest.mark.parametrize(
    ("wanted", "status", "body", "wrong"),
    [
        (False, 200, "<VersioningConfiguration/>", ""),
        (True, 200, "<VersioningConfiguration/>", "keeps no old versions"),
        (False, 200, told("Enabled"), "of which erasing a subject would know nothing"),
        (True, 200, told("Enabled"), ""),
        (False, 200, told("Suspended"), "of which erasing a subject would know nothing"),
        (True, 200, told("Suspended"), "keeps no old versions"),
        (False, 403, FORBIDDEN, ""),
        (True, 403, FORBIDDEN, "does not tell whether it keeps old versions"),
    ],
)
def test_s3_a_bucket_that_is_not_what_was_asked_for(
    lab: Any, wanted: bool, status: int, body: str, wrong: str
) -> None:
    """A bucket whose versioning is not what the settings say is refused, and so is one that will
    not say where versions are wanted."""
    lab.reopen(versions=wanted)
    says(lab, status, body)
    problems = list(lab.store.check())
    assert [each.path for each in problems] == (["versions"] if wrong else [])
    assert all(wrong in each.what for each in problems)


def test_s3_an_engine_that_keeps_no_versions_proves_none(lab: Any) -> None:
    """An engine that says it keeps versions, and keeps none, has the capability disproved."""
    says(lab, 200, told("Enabled"))
    lab.reopen(versions=True)
    assert lab.prove()["versions"] is False
    calls: list[Callable[[], Any]] = [
        lambda: lab.store.list_versions(T1, "k"),
        lambda: lab.store.head_version(T1, "k", "1"),
        lambda: lab.store.open_version(T1, "k", "1"),
        lambda: lab.store.restore(T1, "k", "1"),
        lambda: lab.store.purge(T1, "k", ["1"]),
    ]
    for call in calls:
        with pytest.raises(UnsupportedError):
            call()
    assert lab.objects() == {}
