"""The error tree: what every error carries, and that it survives a process boundary."""

from __future__ import annotations

import copy
import inspect
import pickle
import traceback
from typing import Any, TypeVar

import pytest

from nexus_core._model import errors, naming
from nexus_core._model.errors import (
    ConfigurationError,
    ContextMismatchError,
    IndexLockedError,
    NexusError,
    Outcome,
    PartialWriteError,
    Problem,
    RateLimitedError,
    StoreError,
    UnsupportedError,
)

# Errors whose constructor wants something other than a message.
SPECIAL: dict[type[NexusError], tuple[tuple[Any, ...], dict[str, Any]]] = {
    ConfigurationError: (([Problem(path="a.b", what="is wrong", fix="mend it")],), {}),
    ContextMismatchError: ((["tenant_id", "env"],), {}),
    UnsupportedError: (("copy",), {}),
    IndexLockedError: ((), {"expected": "aa", "actual": "bb"}),
    PartialWriteError: (({"id-1": "store.unavailable"},), {}),
    RateLimitedError: (("slow down",), {"retry_after": 1.5}),
}


E = TypeVar("E", bound=NexusError)


def descendants(kind: type[NexusError]) -> list[type[NexusError]]:
    """Every class below ``kind`` that the model defines."""
    found: list[type[NexusError]] = []
    for child in kind.__subclasses__():
        if child.__module__ in (errors.__name__, naming.__name__):
            found += [child, *descendants(child)]
    return list(dict.fromkeys(found))


ALL: list[type[NexusError]] = [NexusError, *descendants(NexusError)]
STORE: list[type[StoreError]] = [kind for kind in ALL if issubclass(kind, StoreError)]


def make(kind: type[E], **changes: Any) -> E:
    args, kwargs = SPECIAL.get(kind, (("something is wrong",), {}))
    return kind(*args, **{**kwargs, **changes})


def state(error: NexusError) -> dict[str, Any]:
    """All that a handler can see of an error."""
    names = [name for name in vars(error) if not name.startswith("__")]
    return {
        "type": type(error),
        "args": error.args,
        "str": str(error),
        "repr": repr(error),
        "code": error.code,
        **{name: getattr(error, name) for name in names},
    }


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("changes", [{}, {"hint": "do this"}], ids=["plain", "hint"])
def test_every_error_survives_a_pickle(kind: type[NexusError], changes: dict[str, Any]) -> None:
    """Any error, pickled twice over or copied, comes back with the same type, text and data."""
    error = make(kind, **changes)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        once = pickle.loads(pickle.dumps(error, protocol))
        twice = pickle.loads(pickle.dumps(once, protocol))
        assert state(once) == state(error)
        assert state(twice) == state(error)
    assert state(copy.copy(error)) == state(error)
    assert state(copy.deepcopy(error)) == state(error)


def test_data_survives_a_pickle() -> None:
    """What an error carries beside its text is there on the other side."""
    problem = Problem(path="a.b", what="is wrong", fix="mend it", code="x.y")
    assert pickle.loads(pickle.dumps(ConfigurationError([problem]))).problems == (problem,)
    assert pickle.loads(pickle.dumps(PartialWriteError({"i": "c"}))).failed == {"i": "c"}
    assert pickle.loads(pickle.dumps(RateLimitedError("x", retry_after=2.0))).retry_after == 2.0
    locked = pickle.loads(pickle.dumps(IndexLockedError(expected="a", actual="b")))
    assert (locked.expected, locked.actual) == ("a", "b")
    changed = pickle.loads(pickle.dumps(StoreError("x", retryable=True, outcome=Outcome.APPLIED)))
    assert (changed.retryable, changed.outcome) == (True, Outcome.APPLIED)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_text_is_message_and_hint(kind: type[NexusError]) -> None:
    """An error's text is its message with the hint in brackets, and one line in a traceback."""
    error = make(kind, hint="do this")
    assert error.hint == "do this"
    assert str(error) == f"{error.message} (do this)"
    assert str(make(kind, hint="")) == error.message
    assert traceback.format_exception_only(error)[0].startswith(
        f"{kind.__module__}.{kind.__name__}"
    )


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_codes_are_dotted_and_belong_to_the_branch(kind: type[NexusError]) -> None:
    """A code is two lower-case words, the class states it itself, and the first is its branch."""
    branch, _, name = kind.code.partition(".")
    assert "code" in vars(kind)
    assert branch.isidentifier()
    assert branch.islower()
    assert name.isidentifier()
    assert name.islower()
    assert (branch == "store") == issubclass(kind, StoreError)


def test_codes_are_unique() -> None:
    """No two classes share a code, except a class and none other."""
    codes = [kind.code for kind in ALL]
    assert sorted(set(codes)) == sorted(codes)


@pytest.mark.parametrize("kind", STORE, ids=lambda kind: kind.__name__)
def test_store_errors_say_what_became_of_the_write(kind: type[StoreError]) -> None:
    """Every store error says whether to retry and what is known of the outcome, by its type."""
    error = make(kind)
    assert type(error.retryable) is bool
    assert isinstance(error.outcome, Outcome)


def test_only_lost_answers_are_unknown() -> None:
    """By default an outcome is unknown where the answer may be lost, and not applied elsewhere."""
    unknown = {kind.__name__ for kind in STORE if make(kind).outcome is Outcome.UNKNOWN}
    assert unknown == {
        "PartialWriteError",
        "UnavailableError",
        "StoreTimeoutError",
        "BackendError",
    }
    retryable = {kind.__name__ for kind in STORE if make(kind).retryable}
    assert retryable == {"RateLimitedError", "UnavailableError", "StoreTimeoutError"}


def test_a_caller_may_state_the_outcome() -> None:
    """Where a constructor takes an outcome and retryability, what is stated wins."""
    for kind in STORE:
        if "outcome" in inspect.signature(kind).parameters:
            error = make(kind, outcome=Outcome.APPLIED, retryable=True)
            assert (error.outcome, error.retryable) == (Outcome.APPLIED, True)


def test_errors_can_be_caught_as_builtins() -> None:
    """Where a builtin fits, an error is one, so that code which knows no Nexus handles it."""
    fits: dict[type[BaseException], set[str]] = {
        LookupError: {"NotFoundError", "PluginNotFoundError"},
        PermissionError: {"AccessDeniedError", "PermissionDeniedError"},
        ConnectionError: {"UnavailableError"},
        TimeoutError: {"StoreTimeoutError"},
        ImportError: {"PluginLoadError"},
        TypeError: {"PluginContractError", "ContextMissingError"},
        ValueError: {
            "ConfigurationError",
            "ContextInvalidError",
            "ContextMismatchError",
            "InvalidArgumentError",
            "InvalidKeyError",
            "InvalidFilterError",
            "InvalidVectorError",
        },
    }
    for builtin, names in fits.items():
        assert {kind.__name__ for kind in ALL if issubclass(kind, builtin)} == names


def test_all_problems_are_reported_at_once() -> None:
    """A configuration error lists every problem with its place and its remedy."""
    problems = [
        Problem(path=f"stores.s{number}", what=f"lacks {number}", fix=f"add {number}")
        for number in range(3)
    ]
    text = str(ConfigurationError(problems))
    for problem in problems:
        assert f"{problem.path}: {problem.what} ({problem.fix})" in text
    assert text.startswith("3 problems")
    assert str(ConfigurationError(problems[:1])).startswith("1 problem in")


def test_a_failed_batch_prints_no_ids() -> None:
    """A partial write says how many failed in its text, and which only as data."""
    error = PartialWriteError({"id-secret": "store.unavailable"})
    assert "id-secret" not in str(error)


def test_a_caller_cannot_reach_into_an_error() -> None:
    """An error keeps what it was made with, though the caller's own list or dict changes."""
    fields, failed = ["tenant_id"], {"a": "b"}
    mismatch, partial = ContextMismatchError(fields), PartialWriteError(failed)
    fields.append("env")
    failed["c"] = "d"
    assert mismatch.fields == ("tenant_id",)
    assert partial.failed == {"a": "b"}
