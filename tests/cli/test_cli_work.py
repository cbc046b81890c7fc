"""The commands that work in a scope: what they say, as text and as JSON, and how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

HASH_OF_NOTHING = "0" * 64


def answer(filled: Run, *flags: str) -> Any:
    """The retrieval that most tests here begin with."""
    return filled("retrieve", "who approves a journey?", "-k", "2", "--json", *flags).data


def test_ingest_says_what_became_of_each_document(deployment: Path, nexus: Run) -> None:
    """Each document is a JSON line as it ends, and the last line is the sum; again is unchanged."""
    (deployment / "in").mkdir()
    (deployment / "in" / "a.txt").write_text("first words\n")
    (deployment / "in" / "b.md").write_text("# second\n\nwords\n")
    words = ("ingest", "in", "--kind", "data", "--space", "notes")
    ended = nexus(*words, "--json")
    *items, report = ended.lines
    assert (ended.code, ended.err) == (0, "")
    assert [(item["logical_key"], item["state"]) for item in items] == [
        ("a.txt", "created"),
        ("b.md", "created"),
    ]
    assert (report["type"], report["documents"], report["created"]) == ("report", 2, 2)
    again = nexus(*words)
    assert (again.code, again.err) == (0, "")
    assert again.out.startswith("2 documents: 2 unchanged")


def test_ingest_with_a_document_that_fails_ends_with_1(deployment: Path, nexus: Run) -> None:
    """What cannot be cut is a finding with its reason; the others are ingested all the same."""
    (deployment / "in").mkdir()
    (deployment / "in" / "a.txt").write_text("words\n")
    (deployment / "in" / "b.bin").write_bytes(b"\0\1")
    ended = nexus("ingest", "in", "--kind", "data", "--space", "notes")
    assert (ended.code, ended.err) == (1, "")
    assert "1 created, 1 failed" in ended.out
    assert "b.bin" in ended.out
    assert "store.unsupported" in ended.out


def test_ingest_of_a_path_that_is_not_there_reads_none(deployment: Path, nexus: Run) -> None:
    """Every path that leads nowhere is named, before the first file is ingested."""
    (deployment / "a.txt").write_text("words\n")
    ended = nexus("ingest", "a.txt", "nope", "neither", "--kind", "data", "--space", "notes")
    assert (ended.code, ended.out) == (2, "")
    assert "nope, neither" in ended.err
    assert nexus("audit", "tail", "--json").out == ""


def test_ingest_of_an_unknown_kind_is_a_usage_error(deployment: Path, nexus: Run) -> None:
    """A kind that the deployment does not know is refused with those that it knows."""
    (deployment / "a.txt").write_text("words\n")
    ended = nexus("ingest", "a.txt", "--kind", "secrets", "--space", "notes", "--json")
    assert ended.code == 2
    assert "kinds here: chat, content, data" in ended.err
    assert ended.data["error"]["code"] == "store.invalid_argument"


def test_retrieve_gives_pointers_nearest_first(filled: Run) -> None:
    """Hits come nearest first, with document and place; JSON says how they came about."""
    found = answer(filled)
    hits = found["hits"]
    assert hits[0]["pointer"]["logical_key"] == "travel.md"
    assert [hit["distance"] for hit in hits] == sorted(hit["distance"] for hit in hits)
    assert found["explanation"]["index"] == "main"
    assert "text" not in hits[0]
    text = filled("retrieve", "who approves a journey?", "-k", "2")
    lines = text.out.splitlines()
    assert lines[0].split() == ["distance", "document", "place", "atom"]
    assert "travel.md" in lines[1]
    assert hits[0]["id"] in lines[1]


def test_retrieve_text_reads_the_atoms_and_the_trail_knows(filled: Run) -> None:
    """--text shows the atoms' own words, and reading them is on record."""
    found = answer(filled, "--text", "--purpose", "reading_aloud")
    assert "approves every journey" in found["hits"][0]["text"]
    records = filled("audit", "tail", "-n", "4", "--json").lines
    read = [r for r in records if r["action"] == "atom.get" and r["purpose"] == "reading_aloud"]
    assert found["hits"][0]["id"] in read[-1]["ids"]


def test_retrieve_narrows_by_space(filled: Run) -> None:
    """A space without documents has no hits, which is no error."""
    assert answer(filled, "--space", "house")["hits"]
    ended = filled("retrieve", "journey", "--space", "garden")
    assert (ended.code, ended.out) == (0, "nothing in this scope's index matches\n")


def test_retrieve_shows_no_control_characters(deployment: Path, nexus: Run) -> None:
    """What a terminal would act upon is shown, not sent."""
    (deployment / "evil.txt").write_text("journey \x1b[2J\x07 by rail\n")
    assert nexus("ingest", "evil.txt", "--kind", "data", "--space", "notes").code == 0
    ended = nexus("retrieve", "journey by rail", "--text")
    assert ended.code == 0
    assert "\x1b" not in ended.out
    assert "\\x1b[2J\\x07" in ended.out


def test_lineage_leads_from_an_atom_to_its_document(filled: Run) -> None:
    """Lineage of an atom names its asset and the operation with its version; the way down too."""
    atom = answer(filled)["hits"][0]["id"]
    up = filled("lineage", atom, "--json").data
    assert up["found"] is True
    assert up["asset"]["logical_key"] == "travel.md"
    assert up["atom"]["operation"] == "markdown"
    assert "text" not in up["atom"]
    assert [edge["parent"] for edge in up["edges"]] == [up["asset"]["id"]]
    down = filled("lineage", up["asset"]["id"], "--down", "--json").data
    assert atom in [edge["child"] for edge in down["edges"]]
    text = filled("lineage", atom)
    assert (text.code, "markdown@1" in text.out, "travel.md" in text.out) == (0, True, True)


def test_lineage_of_another_tenants_id_is_as_of_one_that_never_was(filled: Run) -> None:
    """To another tenant, an id that exists elsewhere is to the byte what an unknown one is."""
    atom = answer(filled)["hits"][0]["id"]
    foreign = filled("lineage", atom, NEXUS_TENANT="globex")
    absent = filled("lineage", "atm_" + "a" * 32, NEXUS_TENANT="globex")
    assert (foreign.code, foreign.out, foreign.err) == (absent.code, absent.out, absent.err)
    assert foreign.code == 1


def test_recover_of_a_sound_scope_finds_nothing_to_do(filled: Run) -> None:
    """Recovery of a scope in which nothing was interrupted changes nothing and says so."""
    ended = filled("recover", "--older-than", "0", "--json")
    assert (ended.code, ended.data) == (
        0,
        {"ingests": [], "settled": 0, "uploads": 0, "erasures": 0},
    )
    assert filled("recover").out == "0 interrupted ingests, 0 audit records settled\n"


def test_recover_after_a_kill_leaves_nothing_half_done(deployment: Path, nexus: Run) -> None:
    """After a kill in the middle of an ingest, recovery settles every record, and the same ingest
    again completes what is missing and fails nowhere."""
    (deployment / "in").mkdir()
    for number in range(40):
        (deployment / "in" / f"{number:02}.txt").write_text(f"words of number {number}\n")
    words = ("ingest", "in", "--kind", "data", "--space", "notes", "--json")
    context = ("--tenant", "acme", "--env", "dev", "--actor", "x", "--actor-kind", "agent")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NEXUS_")}
    running = subprocess.Popen(
        [sys.executable, "-m", "nexus_core", *words, *context, "--role", "owner"],
        cwd=deployment,
        env=kept,
        stdout=subprocess.PIPE,
    )
    assert running.stdout is not None
    with running.stdout as lines:
        first = json.loads(lines.readline())
        running.kill()
    assert running.wait(timeout=60) == -signal.SIGKILL
    assert first["state"] == "created"
    assert nexus("recover", "--older-than", "0").code == 0
    verified = nexus("audit", "verify", "--json").data
    assert (verified["ok"], verified["unsettled"]) == (True, 0)
    again = nexus(*words)
    *items, report = again.lines
    assert again.code == 0
    assert items[0]["state"] == "unchanged"
    assert (report["documents"], report["failed"], report["atoms"]) == (40, 0, 40)


def test_index_takes_two_people(nexus: Run) -> None:
    """One proposes, that one cannot approve, another approves by the hash, and it is applied."""
    define = ("index", "define", "papers", "--dimension", "8", "--metric", "l2sq")
    proposed = nexus(*define, "--embedder", "mine@1", "--field", "year:int", "--json").data
    own = nexus("index", "approve", proposed["id"], "--hash", proposed["hash"])
    assert (own.code, own.out) == (1, "")
    assert "nobody approves their own proposal" in own.err
    wrong = nexus(
        "index", "approve", proposed["id"], "--hash", HASH_OF_NOTHING, NEXUS_ACTOR="second"
    )
    assert (wrong.code, "[store.precondition_failed]" in wrong.err) == (1, True)
    approve = ("index", "approve", proposed["id"], "--hash", proposed["hash"])
    approved = nexus(*approve, NEXUS_ACTOR="second")
    assert approved.code == 0
    assert f"nexus index apply {proposed['id']}" in approved.out
    assert nexus("index", "apply", proposed["id"]).code == 0
    listed = nexus("index", "list", "--json").data
    assert [(i["name"], i["fields"]) for i in listed["indexes"]] == [("papers", {"year": "int"})]
    assert [p["state"] for p in listed["proposals"]] == ["applied"]
    assert nexus("index", "apply", proposed["id"]).code == 1


def test_index_list_text_shows_definition_and_hash(filled: Run) -> None:
    """The list shows each index with what it is locked to."""
    ended = filled("index", "list")
    assert ended.code == 0
    assert "main@1" in ended.out
    assert "cosine" in ended.out


def test_roles_are_refused_in_words(filled: Run) -> None:
    """A role without the permission is refused without a traceback, and without standard output."""
    ended = filled("audit", "tail", NEXUS_ROLE="viewer")
    assert (ended.code, ended.out) == (1, "")
    assert "audit.read" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("variable", "value"),
    [("NEXUS_ENV", "test"), ("NEXUS_TENANT", "Acme Inc"), ("NEXUS_ROLE", "root")],
)
def test_a_context_that_is_no_context_is_a_usage_error(
    filled: Run, variable: str, value: str
) -> None:
    """A part of the context outside its grammar is refused, and never repeated back."""
    ended = filled("audit", "tail", **{variable: value})
    assert (ended.code, ended.out) == (2, "")
    assert value not in ended.err


def test_a_reserved_tenant_is_refused(filled: Run) -> None:
    """Nobody acts in the tenants of the framework from the command line as a person."""
    ended = filled("audit", "tail", NEXUS_TENANT="t_probe_a")
    assert (ended.code, ended.out) == (2, "")


def test_config_check_says_everything_that_is_wrong(deployment: Path, nexus: Run) -> None:
    """A sound configuration passes; one with several faults has all of them named."""
    assert nexus("config", "check", "--json").data["ok"] is True
    config = deployment / "nexus.toml"
    text = config.read_text().replace("version = 1\n", "version = 7\n", 1)
    config.write_text(text.replace('atoms = "records"', 'atoms = "recrods"'))
    ended = nexus("config", "check", "--json")
    paths = {problem["path"] for problem in ended.data["problems"]}
    assert ended.code == 1
    assert {"version", "routes.0.atoms"} <= paths
    told = nexus("config", "check")
    assert (told.code, told.err) == (1, "")
    assert all(path in told.out for path in paths)


def test_config_show_keeps_the_secret(deployment: Path, nexus: Run) -> None:
    """What is in force is shown with overrides, and the root key only as a reference."""
    secret = (deployment / "secrets" / "root.key").read_text().strip()
    ended = nexus("config", "show", "--json", NEXUS__ENVIRONMENTS='["prod"]')
    assert ended.data["environments"] == ["prod"]
    assert ended.data["keys"]["root"]["file"] == "secrets/root.key"
    text = nexus("config", "show")
    assert 'stores.files.root = "data/raw"' in text.out
    assert secret not in ended.out + text.out


def test_config_schema_describes_the_installed_plugins(nexus: Run) -> None:
    """The schema is JSON with and without --json, and knows the settings of installed backends."""
    ended = nexus("config", "schema")
    assert json.loads(ended.out) == nexus("config", "schema", "--json").data
    assert "filesystem" in ended.out


def test_plugins_list_and_check(nexus: Run) -> None:
    """Installed plugins are listed; sound ones say what they offer, unknown ones are findings."""
    names = {plugin["name"] for plugin in nexus("plugins", "list", "--json").data["plugins"]}
    assert {"filesystem", "sql", "embedded", "atomizers", "embedders"} <= names
    sound = nexus("plugins", "check", "sql", "--json")
    assert (sound.code, sound.data["ok"]) == (0, True)
    assert {backend["role"] for backend in sound.data["backends"]} == {"atoms", "audit"}
    mixed = nexus("plugins", "check", "sql", "filesytem")
    assert mixed.code == 1
    assert "did you mean 'filesystem'?" in mixed.out


def test_debug_shows_the_traceback_and_nothing_else_does(tmp_path: Path, nexus_in: Any) -> None:
    """An expected error is words; only --debug adds the traceback, on standard error."""
    quiet = nexus_in(tmp_path)("audit", "tail")
    loud = nexus_in(tmp_path)("audit", "tail", "--debug")
    assert (quiet.code, quiet.out, "Traceback" in quiet.err) == (1, "", False)
    assert (loud.code, loud.out, "Traceback" in loud.err) == (1, "", True)
    assert "nexus init" in quiet.err or "nexus.toml" in quiet.err


def test_the_configuration_is_where_option_or_variable_say(
    deployment: Path, tmp_path: Path, nexus_in: Any
) -> None:
    """--config wins over NEXUS_CONFIG, and either works from any folder."""
    config = str(deployment / "nexus.toml")
    elsewhere = nexus_in(tmp_path)
    assert elsewhere("audit", "tail", NEXUS_CONFIG=config).code == 0
    assert elsewhere("audit", "tail", "--config", config, NEXUS_CONFIG="nope.toml").code == 0
    assert elsewhere("audit", "tail", NEXUS_CONFIG="nope.toml").code == 1
