"""What an engine says yes to is believed only when a second look confirms it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from nexus_core.spi import ConfigurationError, Scope, UnavailableError, UnsupportedError


def test_honest_engine_proves_all(lab: Any, honest: Any, transport: str) -> None:
    """An engine that honours everything has everything proved, and nothing is left behind."""
    assert lab.prove() == {**honest, "transport": transport}
    assert lab.objects() == {}
    assert lab.engine.uploads == {}


def test_proof_writes_in_the_probe_scope_only(lab: Any) -> None:
    """Every name that is tried lies below a reserved probe tenant's prefix."""
    lab.put("k", b"mine")
    lab.engine.asked.clear()
    lab.prove()
    touched = {each.key for each in lab.engine.asked if each.key and each.method != "GET"}
    assert touched
    assert all(name.startswith("v1/dev/t_probe_a/_nexus/proof/") for name in touched)
    assert lab.get("k") == b"mine"


@pytest.mark.parametrize(
    ("ignored", "lost"),
    [
        ("put", {"conditional_create", "conditional_replace"}),
        ("delete", {"conditional_delete"}),
        ("complete", {"multipart_conditions"}),
        ("copy", {"copy_source_match"}),
        ("get", {"ranges"}),
        ("range", {"ranges"}),
    ],
)
def test_ignored_condition_costs_its_capability(lab: Any, ignored: str, lost: set[str]) -> None:
    """A yes to a condition that is then ignored loses exactly that capability."""
    lab.engine.ignores.add(ignored)
    proofs = lab.prove()
    unasked = {"versions", "object_lock", "multipart_locks"}
    assert {name for name, value in proofs.items() if value is False} == lost | unasked


def test_disproved_conditions_are_refused(lab: Any) -> None:
    """A store whose engine ignores conditions refuses to create, replace, delete by them."""
    lab.engine.ignores |= {"put", "delete"}
    lab.prove()
    seen = lab.put("k", b"1")
    lab.engine.asked.clear()
    for options in ({"if_absent": True}, {"if_match": seen.etag}):
        with pytest.raises(UnsupportedError):
            lab.put("k", b"2", **options)
    with pytest.raises(UnsupportedError):
        lab.store.delete(Scope("t1", "dev"), "k", if_match=seen.etag)
    assert lab.engine.asked == []


def test_engine_that_spoils_metadata_is_refused(lab: Any) -> None:
    """An engine that changes metadata is a configuration error that names the setting."""

    def spoil(asked: Any, answer: Any) -> Any:
        if asked.method == "HEAD" and asked.key:
            answer.headers["x-amz-meta-nexus"] = "{}"
        return answer

    lab.engine.after = spoil
    with pytest.raises(ConfigurationError) as caught:
        lab.prove()
    assert [problem.path for problem in caught.value.problems] == ["bucket"]


def test_engine_that_hides_names_is_refused(lab: Any) -> None:
    """An engine whose listing leaves out what lies below another name is a configuration error."""

    def hide(asked: Any, answer: Any) -> Any:
        if "list-type" in asked.query:
            return attrs.evolve(answer, body=answer.body.replace(b"below", b"other"))
        return answer

    lab.engine.after = hide
    with pytest.raises(ConfigurationError) as caught:
        lab.prove()
    assert [problem.code for problem in caught.value.problems] == ["store.listing"]


def test_unreachable_engine_proves_nothing(lab: Any) -> None:
    """An engine that fails while it is asked is unavailable, and no answer is made up."""
    lab.engine.before = lambda asked: type(lab.engine).answer.__globals__["Answer"](503)
    with pytest.raises(UnavailableError):
        lab.prove()
