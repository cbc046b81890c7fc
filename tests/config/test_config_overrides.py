"""Environment variables over the file: what they can set, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from nexus_core._spi.capabilities import StoreRole

CANARY = "zq7canaryzq7"


def _settings(config: Any, store: str, role: StoreRole) -> Any:
    return config.stores[store].settings[role]


def test_a_variable_sets_each_kind_of_value(site: Any, full: Any) -> None:
    """Text, numbers, booleans, lists and tables are set at places in tables and lists."""
    config = site.good(
        full,
        NEXUS__PROFILE="development",
        NEXUS__STORES__FILES__ROOT="2024-raw",
        NEXUS__STORES__FILES__RETRY__ATTEMPTS="9",
        NEXUS__STORES__FILES__RETRY__PAUSES="[1.5, 2]",
        NEXUS__INDEXES__1__DIMENSION="0x10",
        NEXUS__ROUTES__1__TENANT='"123"',
        NEXUS__LIMITS__MAX_OBJECT_BYTES="5_000",
        NEXUS__INDEXES__0__FIELDS__PAGE="float",
        NEXUS__ENVIRONMENTS__0="production",
    )
    assert config.profile == "development"
    files = _settings(config, "files", StoreRole.RAW)
    assert (files.root, files.retry.attempts, files.retry.pauses) == ("2024-raw", 9, (1.5, 2.0))
    assert config.indexes[1].dimension == 16
    assert config.limits.max_object_bytes == 5000
    assert config.indexes[0].fields["page"] == "float"
    assert ("123", "prod") in config.router.table


def test_a_variable_sets_what_the_file_leaves_out(site: Any, full: Any) -> None:
    """Keys that the format has can be set though the file has neither them nor their table."""
    del full["recovery"]
    del full["stores"]["files"]["root"]
    del full["stores"]["files"]["retry"]
    del full["keys"]
    config = site.good(
        full,
        NEXUS__RECOVERY__AFTER_SECONDS="7",
        NEXUS__STORES__FILES__ROOT="elsewhere",
        NEXUS__STORES__FILES__RETRY__ATTEMPTS="4",
        NEXUS__KEYS__ROOT__FILE="secrets/root.key",
    )
    assert config.recovery_after_seconds == 7
    files = _settings(config, "files", StoreRole.RAW)
    assert (files.root, files.retry.attempts) == ("elsewhere", 4)


def test_whole_tables_come_before_their_keys(site: Any, full: Any) -> None:
    """Setting a table and a key inside it means the same in any order of the variables."""
    both = {
        "NEXUS__STORES__RECORDS": '{ backend = "sql", url = "sqlite:a" }',
        "NEXUS__STORES__RECORDS__URL": "sqlite:b",
    }
    for environ in (both, dict(reversed(both.items()))):
        config = site.good(full, **environ)
        assert _settings(config, "records", StoreRole.ATOMS).url == "sqlite:b"


def test_names_with_underscores_are_found(site: Any, full: Any) -> None:
    """Names that hold single or double underscores are matched as they are."""
    full["stores"]["a__b_"] = {"backend": "embedded", "root": "x"}
    full["routes"][0]["vectors"] = "a__b_"
    config = site.good(full, NEXUS__STORES__A__B___ROOT="y")
    assert _settings(config, "a__b_", StoreRole.VECTORS).root == "y"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NEXUS__", "x"),
        ("NEXUS____PROFILE", "x"),
        ("NEXUS__PROFIL", "x"),
        ("NEXUS__profile", "development"),
        ("NEXUS__PROFILE__", "x"),
        ("NEXUS__PROFILE__X", "x"),
        ("NEXUS__STORES__NEW__BACKEND", "sql"),
        ("NEXUS__ROUTES__2__RAW", "files"),
        ("NEXUS__ROUTES__01__RAW", "files"),
        ("NEXUS__ROUTES__-1__RAW", "files"),
        ("NEXUS__ROUTES__0__STORE", "files"),
        ("NEXUS__INDEXES__0__FIELDS__NEW", "int"),
        ("NEXUS__STORES__FILES__ROOT__X", "x"),
        ("NEXUS__STORES__FILES__BACKEND__X", "x"),
        ("NEXUS__STORES__FILES__PASSWORD__ENV__X", "x"),
        ("NEXUS__KEYS__ROOT__VALUE", "x"),
        ("NEXUS__ROOT_KEY", "x"),
        ("NEXUS__STORES__FILES" + "__A" * 20_000, "x"),
    ],
)
def test_a_variable_that_names_no_setting_is_refused(
    site: Any, full: Any, name: str, value: str
) -> None:
    """Every variable that begins with the prefix must lead to a place that there is."""
    problems = site.bad(full, **{name: value})
    assert list(problems) == [name]
    assert problems[name].what == "names no setting"
    assert problems[name].code == "config.override"


def test_an_unknown_setting_of_a_backend_is_refused(site: Any, full: Any) -> None:
    """A new key among a backend's settings is the backend's to refuse, and names the variable."""
    problems = site.bad(full, NEXUS__STORES__FILES__ROT="x")
    assert list(problems) == ["stores.files.rot"]
    assert "did you mean 'root'" in problems["stores.files.rot"].fix
    assert "NEXUS__STORES__FILES__ROT sets it" in problems["stores.files.rot"].fix


def test_a_suggestion_is_a_whole_variable(site: Any, full: Any) -> None:
    """A misspelt variable is answered with the one that was meant."""
    problems = site.bad(full, NEXUS__STORES__FILES__PASSWRD__ENV__X="x", NEXUS__INGEST__INDX="x")
    assert "'NEXUS__INGEST__INDEX'" in problems["NEXUS__INGEST__INDX"].fix


@pytest.mark.parametrize("value", ["", " ", "\n"])
def test_a_blank_variable_is_refused(site: Any, full: Any, value: str) -> None:
    """Set but blank is not the same as unset."""
    problems = site.bad(full, NEXUS__PROFILE=value)
    assert list(problems) == ["NEXUS__PROFILE"]
    assert "not the same as unset" in problems["NEXUS__PROFILE"].what


@pytest.mark.parametrize(
    "value",
    [
        "[1,",
        '["a" "b"]',
        "{a = }",
        '"a" "b"',
        '"a\nb"',
        "[1]\nx = [2]",
        "{a=1}\nx={}",
        "[" + "[]" * 9,
    ],
)
def test_what_looks_like_toml_must_be_toml(site: Any, full: Any, value: str) -> None:
    """A value in brackets or quotes that does not parse is refused, not taken for text."""
    problems = site.bad(full, NEXUS__ENVIRONMENTS=value)
    assert set(problems) <= {"NEXUS__ENVIRONMENTS", "environments"}


@pytest.mark.parametrize("value", ["a\udcffb", "\udc80"])
def test_a_variable_that_is_not_text_is_refused(site: Any, full: Any, value: str) -> None:
    """Bytes that are not UTF-8 do not reach any setting."""
    problems = site.bad(full, NEXUS__STORES__FILES__ROOT=value)
    assert problems["NEXUS__STORES__FILES__ROOT"].what == "is not UTF-8"


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("007", "007"),
        ("1.2.3", "1.2.3"),
        ("1_", "1_"),
        ("nan", "nan"),
        ("2024-01-01", "2024-01-01"),
        ("True", "True"),
        ("[::1]:80", "[::1]:80"),
        ("'", "'"),
        ("it's", "it's"),
        ('"quo\\"ted"', 'quo"ted'),
        ("'8'", "8"),
        (" x ", " x "),
    ],
)
def test_what_does_not_look_like_toml_is_text(site: Any, full: Any, value: str, read: str) -> None:
    """Anything else is text as it stands; quotes make text of what would be a number."""
    config = site.good(full, NEXUS__STORES__FILES__ROOT=value)
    assert _settings(config, "files", StoreRole.RAW).root == read


def test_two_readings_of_a_variable_are_refused(site: Any, full: Any) -> None:
    """A variable that could mean two keys means neither."""
    full["stores"]["files"]["Root"] = "x"
    problems = site.bad(full, NEXUS__STORES__FILES__ROOT="y")
    assert problems["NEXUS__STORES__FILES__ROOT"].what == "can mean more than one setting"


@pytest.mark.parametrize(
    "name",
    [
        "NEXUS__KEYS__ROOT",
        "NEXUS__STORES__FILES__PASSWORD",
        "NEXUS__STORES__FILES__BACKEND",
        "NEXUS__STORES__RECORDS__URL",
        "NEXUS__PROFILE",
        "NEXUS__ROUTES__0__RAW",
        "NEXUS__WRONG",
    ],
)
def test_no_variable_is_ever_shown(site: Any, full: Any, name: str) -> None:
    """The value of a variable is in no problem, and its name is where it helps."""
    problems = site.bad(full, **{name: CANARY})
    for problem in problems.values():
        assert CANARY not in repr(problem)
        assert name in problem.path + problem.fix


def test_other_variables_are_left_alone(site: Any, full: Any) -> None:
    """Only the double underscore makes a variable one of these."""
    config = site.good(full, NEXUS_PROFILE="x", NEXUS="x", XNEXUS__PROFILE="x")
    assert config.profile == "production"
