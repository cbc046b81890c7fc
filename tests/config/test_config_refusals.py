"""Every field removed, blanked or mistyped, singly and in pairs: refused by name, in silence.

The fields are those of a configuration that uses the whole format; what must be refused is
written down here by hand, not taken from the models.
"""

from __future__ import annotations

import copy
import itertools
import logging
import pickle
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
import tomli_w

from nexus_core._config import load
from nexus_core._model.errors import ConfigurationError, Problem

CANARY = "zq7canaryzq7"

# Leaving one of these out is refused, at this path or at the one given.
REQUIRED = {
    "version": "version",
    "profile": "profile",
    "keys": "keys",
    "keys.root": "keys.root",
    "keys.root.file": "keys.root",
    "stores": "stores",
    "stores.files": "routes.0.raw",
    "stores.files.backend": "stores.files.backend",
    "stores.files.root": "stores.files.root",
    "stores.files.password.env": "stores.files.password",
    "stores.records": "routes.0.atoms",
    "stores.records.backend": "stores.records.backend",
    "stores.records.url": "stores.records.url",
    "stores.other": "routes.1.atoms",
    "stores.other.backend": "stores.other.backend",
    "stores.other.url": "stores.other.url",
    "stores.vectors": "routes.0.vectors",
    "stores.vectors.backend": "stores.vectors.backend",
    "stores.vectors.root": "stores.vectors.root",
    "routes": "routes",
    "routes.0": "routes.0",
    "routes.0.audit": "routes.0",
    "routes.1.atoms": "routes.1",
    "indexes": "ingest.index",
    "indexes.0": "ingest.index",
    "indexes.0.name": "indexes.0.name",
    "indexes.0.version": "indexes.0.version",
    "indexes.0.dimension": "indexes.0.dimension",
    "indexes.0.metric": "indexes.0.metric",
    "indexes.0.embedder": "indexes.0.embedder",
    "indexes.1.name": "indexes.1.name",
    "indexes.1.version": "indexes.1.version",
    "indexes.1.dimension": "indexes.1.dimension",
    "indexes.1.metric": "indexes.1.metric",
    "indexes.1.embedder": "indexes.1.embedder",
    "embedders": "indexes.0.embedder",
    "embedders.words": "indexes.0.embedder",
    "embedders.words.plugin": "embedders.words",
    "embedders.words.use": "embedders.words.use",
    "embedders.model.plugin": "embedders.model",
    "embedders.model.use": "embedders.model.use",
    "embedders.model.path": "embedders.model.path",
    "embedders.house": "indexes.1.embedder",
    "embedders.house.external": "embedders.house",
    "embedders.house.use": "embedders.house.use",
    "atomizers.documents.plugin": "atomizers.documents.plugin",
    "atomizers.documents.use": "atomizers.documents.use",
}

# Tables and lists that may be empty.
MAY_BE_EMPTY = {
    "stores.files.retry",
    "stores.files.retry.pauses",
    "indexes.0.fields",
    "atomizers",
    "ingest",
    "extensions",
    "extensions.use",
    "limits",
    "recovery",
}
# Empty ones that are refused elsewhere than at their own path.
EMPTY = {
    "stores.files": "stores.files.backend",
    "stores.records": "stores.records.backend",
    "stores.other": "stores.other.backend",
    "stores.vectors": "stores.vectors.backend",
    "keys": "keys.root",
    "indexes": "ingest.index",
    "indexes.0": "indexes.0.name",
    "indexes.1": "indexes.1.name",
    "embedders": "indexes.0.embedder",
    "embedders.words": "embedders.words.use",
    "embedders.model": "embedders.model.use",
    "embedders.house": "embedders.house.use",
    "atomizers.documents": "atomizers.documents.plugin",
}
# Below these nothing can be checked while the key itself is wrong: no plugin, no settings.
DECIDES = ("stores.*.backend", "embedders.*.plugin", "atomizers.*.plugin")


def places(value: Any, path: str = "") -> Iterator[str]:
    """Every place in a document, tables and lists too."""
    if path:
        yield path
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, each in items:
        yield from places(each, f"{path}.{key}" if path else str(key))


def at(document: Any, path: str) -> Any:
    """The value at a place."""
    for key in path.split("."):
        document = document[int(key)] if isinstance(document, list) else document[key]
    return document


def spoil(document: Any, path: str, how: str) -> None:
    """Remove, blank or mistype one place, in place."""
    parent, _, last = path.rpartition(".")
    target = at(document, parent) if parent else document
    key: Any = int(last) if isinstance(target, list) else last
    value = target[key]
    if how == "remove":
        if isinstance(target, list):
            target[key] = {}  # positions of the others stay as they are
        else:
            del target[key]
    elif how == "blank":
        target[key] = {} if isinstance(value, dict) else [] if isinstance(value, list) else " "
    else:
        target[key] = 731 if isinstance(value, str) else CANARY


def expected(document: Any, path: str, how: str) -> str | None:
    """The path at which this change must be refused; ``None`` where it need not be."""
    value = at(document, path)
    if how == "mistype":
        return path
    if how == "remove":
        if path in REQUIRED:
            return REQUIRED[path]
        last = path.rpartition(".")[2]
        if last.isdigit():
            return path if not isinstance(value, dict) else EMPTY.get(path, path)
        return None
    if not isinstance(value, dict | list):
        return path
    return None if path in MAY_BE_EMPTY else EMPTY.get(path, path)


def hides(one: str, other: str) -> bool:
    """Whether a fault at the first path may keep one at the second from being seen."""
    if one == other or one.startswith(other + ".") or other.startswith(one + "."):
        return True
    head, _, last = one.rpartition(".")
    section = head.split(".")[0]
    return f"{section}.*.{last}" in DECIDES and other.startswith(head + ".")


def mends(document: Any, one: str, how: str, other: str) -> bool:
    """Whether the second change touches what the first one would have left dangling.

    An index that nothing names any more may go. Whether a route lacks an audit sink, or an index
    its embedder, is not known while another route, or embedder, cannot be read.
    """
    where = expected(document, one, how)
    if where is None or where == one or where.startswith(one + "."):
        return False
    if where.endswith(".embedder") and other.startswith("embedders."):
        return True
    return where.split(".")[0] == other.split(".", maxsplit=1)[0]


def assert_silent(secrets: tuple[str, ...], *shown: object) -> None:
    """None of the secrets is in the text, arguments or representation of anything shown."""
    for each in shown:
        for text in (str(each), repr(each), repr(getattr(each, "args", "")), repr(vars_of(each))):
            for secret in secrets:
                assert secret not in text


def vars_of(value: object) -> object:
    """The attributes of an error or problem, if it has any."""
    return getattr(value, "__dict__", None)


def assert_sound_problems(problems: list[Problem]) -> None:
    """Each problem names a place, says what is wrong and how to fix it."""
    for problem in problems:
        assert problem.path.strip()
        assert problem.what.strip()
        assert problem.fix.strip()
        assert "." in problem.code
    assert len(set(problems)) == len(problems)


@pytest.mark.parametrize("how", ["remove", "blank", "mistype"])
def test_each_field_is_refused_by_name(
    site: Any, full: Any, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One field removed, blanked or mistyped is refused at its path, and nothing is written."""
    caplog.set_level(logging.DEBUG)
    site.good(full)
    before = site.listing()
    refused = 0
    for path in places(full):
        document = copy.deepcopy(full)
        spoil(document, path, how)
        config, problems = site.inspect(document)
        where = expected(full, path, how)
        if where is None:
            assert problems == [], (path, problems)
            continue
        refused += 1
        assert config is None
        assert where in {problem.path for problem in problems}, (path, where, problems)
        assert_sound_problems(problems)
        assert_silent((CANARY, "hunter2"), *problems)
    assert refused > 30
    assert site.listing() == before
    assert CANARY not in caplog.text


def test_pairs_of_faults_are_refused_together(site: Any, full: Any) -> None:
    """Of two faults neither hides the other, unless one decides what the other would mean."""
    site.good(full)
    before = site.listing()
    found = list(places(full))
    hows = ("remove", "blank", "mistype")
    checked = 0
    for (i, one), (j, other) in itertools.combinations(enumerate(found), 2):
        first, second = hows[(i + j) % 3], hows[(i * j + j) % 3]
        if hides(one, other) or hides(other, one):
            continue
        document = copy.deepcopy(full)
        spoil(document, one, first)
        spoil(document, other, second)
        wanted = set()
        if not mends(full, one, first, other):
            wanted.add(expected(full, one, first))
        if not mends(full, other, second, one):
            wanted.add(expected(full, other, second))
        wanted.discard(None)
        config, problems = site.inspect(document)
        assert wanted <= {problem.path for problem in problems}, (one, first, other, second)
        assert (config is None) is bool(problems)
        assert_silent((CANARY, "hunter2"), *problems)
        checked += bool(wanted)
    assert checked > 2000
    assert site.listing() == before


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("keys.root", CANARY),
        ("keys.root", {"env": f"not {CANARY}"}),
        ("keys.root", {"file": CANARY}),
        ("keys.root", {"env": CANARY}),
        ("keys.root", {"value": CANARY}),
        ("keys.root", [CANARY]),
        ("profile", CANARY),
        ("environments", [CANARY]),
        ("kinds", [CANARY.upper()]),
        ("stores.files.backend", CANARY),
        ("stores.files.backend", CANARY.upper()),
        ("stores.files.password", CANARY),
        ("stores.files.password", {"env": CANARY}),
        ("stores.files.password", {"file": f"{CANARY}/../\x00"}),
        ("stores.files.mode", CANARY),
        ("stores.files.retry", {"attempts": CANARY}),
        ("stores.files.retry.pauses", [CANARY]),
        ("stores.records.url", f"pg://{CANARY}"),
        ("stores.records.url", f"pg{CANARY}"),
        ("stores.records.url", f"boom {CANARY}"),
        ("stores.records.url", f"sqlite://user:{CANARY}@host/db"),
        ("stores.records.url", f"sqlite:///db?password={CANARY}"),
        ("routes.0.raw", CANARY),
        ("routes.1.tenant", CANARY.upper()),
        ("routes.1.env", CANARY),
        ("indexes.0.embedder", f"{CANARY}@1"),
        ("indexes.0.metric", CANARY),
        ("indexes.0.fields.page", CANARY),
        ("embedders.words.use", f"{CANARY}@1"),
        ("embedders.words.plugin", CANARY),
        ("atomizers.documents.use", [f"{CANARY}@1"]),
        ("atomizers.documents.media_types", [f"text/{CANARY}"]),
        ("atomizers.documents.max_chars", CANARY),
        ("ingest.index", f"{CANARY}@1"),
        ("extensions.use", [CANARY]),
        ("limits.max_object_bytes", CANARY),
    ],
)
def test_no_value_is_ever_shown(  # noqa: PLR0917  # fixtures are not arguments
    site: Any,
    changed: Any,
    path: str,
    value: Any,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever stands in the wrong place, the error and all it is chained to hold nothing of it."""
    caplog.set_level(logging.DEBUG)
    problems = site.bad(changed(path, value))
    assert any(each.startswith(path) or path.startswith(each) for each in problems), problems
    with pytest.raises(ConfigurationError) as caught:
        load(site.file, registry=site.registry, environ=site.environ)
    error: BaseException | None = caught.value
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    while error is not None:
        assert_silent((CANARY, CANARY.upper(), "hunter2"), error, *problems.values())
        error = error.__context__
    assert CANARY.encode() not in pickle.dumps(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert CANARY not in caplog.text
    assert CANARY not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("path", "value", "what", "fix"),
    [
        ("stores.files.rot", "x", "is not a known key", "did you mean 'root'?"),
        ("stores.files.backnd", "x", "is not a known key", "did you mean 'backend'?"),
        ("stores.files.retry.atempts", 1, "is not a known key", "did you mean 'attempts'?"),
        ("stores.files.password.evn", "x", "is not a known key", "did you mean 'env'?"),
        ("stores.files.backend", "filesytem", "names no", "did you mean 'filesystem'?"),
        ("stores.files.backend", "broken", "SystemExit: gone", "repair or reinstall"),
        ("stores.files.backend", "policy", "has no backend", "nexus plugins list"),
        ("stores.files.root", 3, "must be text", "Folder that holds the objects"),
        ("stores.files.mode", "slow", "must be 'safe' or 'fast'", "How hard it tries"),
        ("stores.files.retry.attempts", 0, "must be greater than or equal to 1", "How often"),
        ("stores.records.url", "sqlite:", "sqlite: needs three slashes", "Where the database is"),
        ("stores.records.url", "pg:x", "is not accepted", "Where the database is"),
        ("stores.records.url", "boom", "failed with RuntimeError", "author"),
        ("stores.Files", {"backend": "sql", "url": "sqlite:x"}, "usable name", "[a-z]"),
        ("rotues", [], "is not a known key", "did you mean 'routes'?"),
        ("keys.rot", 1, "is not a known key", "did you mean 'root'?"),
        ("keys.root", "x", "is a secret in the file", "by reference"),
        ("keys.root", {"file": "absent"}, "No such file", "write the file"),
        ("keys.root", {"env": "UNSET"}, "is not set, or empty", "set the variable"),
        ("keys.root", {"env": "SHARE_PASSWORD"}, "not 64 hexadecimal digits", "openssl rand"),
        ("keys.root", {"file": "secrets"}, "not a regular file", "name another"),
        ("keys.root", {"env": "A", "file": "b"}, "exactly one", "root secret"),
        ("profile", "prod", "must be 'development' or 'production'", "What the deployment is for"),
        ("version", 2, "must be less than or equal to 1", "format"),
        ("version", True, "must be a whole number", "format"),
        ("environments", [], "must have at least 1 item", "served"),
        ("environments", ["prod", "production"], "twice", "served"),
        ("kinds", ["data", "data"], "twice", "closed set"),
        ("routes.0.raw", "fils", "names no store", "did you mean 'files'?"),
        ("routes.0.raw", "records", "does not do this role", "atoms, audit"),
        ("routes.1.tenant", "t_system", "reserved", "of yours"),
        ("routes.1.tenant", "t_probe_a", "reserved", "of yours"),
        ("routes.1.tenant", "acme\n", "must match pattern", "only tenant"),
        ("routes.1.env", "dev", "not one of the environments", "staging, prod"),
        ("routes.1.raw", "", "is blank", "give it a value"),
        ("indexes.0.fields.tenant_id", "str", "not usable", "taken"),
        ("indexes.0.dimension", 4096, "the store vectors takes, which is 2048", "smaller"),
        ("indexes.0.metric", "l2sq", "not offered by the store vectors", "cosine, dot"),
        ("indexes.0.embedder", "lexical@2", "names no embedder", "that of embedders.words"),
        ("indexes.1.embedder", "house@4", "names no embedder", "that of embedders.house"),
        ("indexes.1.embedder", "zzz@9", "names no embedder", "see embedders.words, embedders.mo"),
        ("ingest.index", "main@2", "names no index", "that of indexes.0"),
        ("embedders.words.use", "lexicl@1", "names no embedder of this", "'lexical@1'?"),
        ("embedders.words.device", "cpu", "is not a known key", "has no settings"),
        ("embedders.model.pth", "x", "is not a known key", "did you mean 'path'?"),
        ("embedders.house.plugin", "embedders", "is not", ""),
        ("atomizers.documents.max_chars", "9", "must be a whole number", "default"),
        ("atomizers.documents.max_char", 9, "is not a known key", "did you mean 'max_chars'?"),
        ("atomizers.documents.plugin", "atomizer", "names no installed", "'atomizers'"),
        ("atomizers.documents.use.0", "txt@1", "names no atomizer", "did you mean 'text@1'?"),
        ("atomizers.documents.media_types.0", "text/html", "none of them", "text/csv"),
        ("atomizers.documents.ratio", 1, "must be a number with a point", "default"),
        ("extensions.use", ["policy", "policy"], "twice", "in the order"),
        ("extensions.use.0", "sql", "is no extension", "nexus_authorize"),
        ("limits.max_object_bytes", 0, "must be greater than or equal to 1", "Largest"),
        ("recovery.after_seconds", 1.5, "must be a whole number", "seconds"),
        ("stores.files.retry.pauses", [float("nan")], "not a finite number", "number"),
    ],
)
def test_a_problem_says_what_and_how_to_fix_it(  # noqa: PLR0917  # a table of cases
    site: Any, changed: Any, path: str, value: Any, what: str, fix: str
) -> None:
    """Each kind of mistake has words of its own, at its place, and a way out."""
    problems = site.bad(changed(path, value))
    near = [p for key, p in problems.items() if key.startswith(path) or path.startswith(key + ".")]
    if path == "embedders.house.plugin":
        assert "not both" in problems["embedders.house"].what
        return
    assert any(what in each.what and fix in each.fix for each in near), problems


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"secret = '{CANARY}", "at its end (line 1)"),
        (f"a = 1\na = '{CANARY}'", "at its end (line 2)"),
        (f"['{CANARY}']\n['{CANARY}']", "not valid TOML"),
        (f"a = {CANARY}", "not valid TOML at line 1"),
        ("a = " + "[" * 5000, "nested too deeply"),
        ("a = " + "1" * 5000, "not valid TOML"),
        ("a" + ".a" * 40 + " = 1", "nested too deeply"),
        ("a" + ".a" * 4_000 + " = 1", "nested too deeply"),
        ("", "is empty"),
        ("  \n", "is empty"),
        ("# x\n" * 300_000, "larger than"),
    ],
)
def test_bad_syntax_is_one_problem_with_its_line(site: Any, text: str, what: str) -> None:
    """A file that is no TOML is refused with the place and without the text."""
    problems = site.bad(text)
    assert list(problems) == [str(site.file)]
    assert what in problems[str(site.file)].what
    assert_silent((CANARY,), *problems.values())


def test_a_file_that_is_not_text_is_refused(site: Any, registry: Any) -> None:
    """Bytes that are not UTF-8 are refused with their line."""
    site.file.write_bytes(b"version = 1\n# caf\xe9 " + CANARY.encode())
    with pytest.raises(ConfigurationError, match="not UTF-8 at line 2") as caught:
        load(site.file, registry=registry, environ={})
    assert_silent((CANARY,), caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("name", ["absent.toml", "secrets", "a\x00b", "secrets/root.key/x"])
def test_a_file_that_cannot_be_read_is_refused(site: Any, registry: Any, name: str) -> None:
    """A configuration that is absent, or is a folder, is one problem; nothing stands in for it."""
    before = site.listing()
    with pytest.raises(ConfigurationError) as caught:
        load(site.folder / name, registry=registry, environ={})
    assert [problem.code for problem in caught.value.problems] == ["config.unreadable"]
    assert site.listing() == before


def test_a_number_that_is_none_hides_no_other_problem(site: Any, changed: Any) -> None:
    """NaN and infinities are refused beside everything else that is wrong."""
    changed("stores.files.retry.pauses", [float("nan"), float("-inf")])
    problems = site.bad(changed("profile", "x"))
    assert list(problems) == [
        "stores.files.retry.pauses.0",
        "stores.files.retry.pauses.1",
        "profile",
    ]


@pytest.mark.parametrize("value", ["0x" + "f" * 9000, "1979-05-27T07:32:00Z", "07:32:00"])
def test_values_without_a_json_form_are_refused_in_place(site: Any, full: Any, value: str) -> None:
    """Huge numbers, dates and times are of no use to any key of the core."""
    text = tomli_w.dumps(full).replace("after_seconds = 30", f"after_seconds = {value}")
    problems = site.bad(text)
    assert list(problems) == ["recovery.after_seconds"]


def test_production_refuses_what_forgets(site: Any, changed: Any) -> None:
    """An ephemeral backend is for development only, whatever the route."""
    changed("routes.1.raw", "cache")
    document = changed("stores.cache", {"backend": "memory"})
    problems = site.bad(document)
    assert list(problems) == ["stores.cache.backend"]
    assert problems["stores.cache.backend"].code == "config.profile"
    site.good({**document, "profile": "development"})


def test_data_without_an_audit_sink_is_refused(site: Any, changed: Any) -> None:
    """A scope that could hold data but has nowhere to record it is refused before it is used."""
    changed("routes.0.audit")
    problems = site.bad(changed("routes.1.audit", "records"))
    assert list(problems) == ["routes.0"]
    assert "staging" in problems["routes.0"].what


def test_two_settings_models_of_one_store_are_both_checked(site: Any, changed: Any) -> None:
    """Each role that a store is used for has its say about the settings."""
    changed("stores.split", {"backend": "split", "table": "t"})
    problems = site.bad(changed("routes.0", {"atoms": "split", "audit": "split"}))
    assert {"stores.split.log", "stores.split.table"} <= set(problems)


def test_two_atomizers_for_one_type_are_refused(site: Any, changed: Any) -> None:
    """A media type is read by one atomizer, in a group and across groups."""
    problems = site.bad(changed("atomizers.documents.use", ["text@1", "lines@1", "csv@1"]))
    assert list(problems) == ["atomizers.documents.use"]
    changed("atomizers.documents.use", ["text@1", "csv@1"])
    problems = site.bad(changed("atomizers.more", {"plugin": "atomizers", "use": ["lines@1"]}))
    assert list(problems) == ["atomizers.more"]
    assert "atomizers.documents" in problems["atomizers.more"].what


def test_an_index_is_defined_once(site: Any, full: Any) -> None:
    """Two definitions of one name and version are refused, the second by name."""
    full["indexes"][1] |= {"name": "main", "version": 1}
    problems = site.bad(full)
    assert list(problems) == ["indexes.1.version"]
    assert "indexes.0 already" in problems["indexes.1.version"].what


def test_an_embedder_with_settings_is_held_to_its_name_only(site: Any, changed: Any) -> None:
    """What a model decides is known once it is built; until then any version of it will do."""
    config = site.good(changed("indexes.0.embedder", "model@1-abc"))
    assert config.indexes[0].embedder == "model@1-abc"
    problems = site.bad(changed("indexes.0.embedder", "modl@1"))
    assert "that of embedders.model" in problems["indexes.0.embedder"].fix


def test_secrets_anywhere_in_settings_are_resolved(site: Any, changed: Any) -> None:
    """References in lists and tables of settings are each resolved at their place."""
    shares = {"shares": [{"env": "SHARE_PASSWORD"}, {"env": "UNSET"}]}
    problems = site.bad(changed("stores.files.more", shares))
    assert list(problems) == ["stores.files.more.shares.1"]


def test_a_blank_key_is_refused(site: Any, changed: Any) -> None:
    """A key without a name is said to be one, in quotes."""
    assert site.bad(changed("stores.files. ", "x"))['stores.files." "'].code == "config.blank"
