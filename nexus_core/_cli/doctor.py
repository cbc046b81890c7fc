"""``nexus doctor``: look for anything wrong; if there is nothing, prove that tenants are apart."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from nexus_core import ENVIRONMENTS
from nexus_core._cli.console import Console, plural
from nexus_core._cli.failure import FINDINGS, OK, UsageError, problem_data, problem_lines
from nexus_core._cli.options import common, config_path, describe
from nexus_core._config import Config
from nexus_core._doctor import Check, Examination, examine, probe, prove_stores
from nexus_core._model.scope import Env, normalise_env
from nexus_core._plugins import Registry


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command."""
    describe(
        parser,
        "First read: the configuration, and every plugin, secret and store that it names.\n"
        "Everything that is wrong is named in one run, and nothing is written. Only if nothing\n"
        "is wrong, write the same ids and keys as two reserved tenants (t_probe_a, t_probe_b)\n"
        "in every store, see that neither can tell that the other is there, and erase both\n"
        "again. Run one at a time.",
        """
nexus doctor
nexus doctor --read-only             stop before the writing part
nexus doctor --env prod --json
""",
    )
    parser.add_argument("--read-only", action="store_true", help="write nothing, not even a probe")
    parser.add_argument(
        "--env", choices=ENVIRONMENTS, help="probe this environment only (all that are served)"
    )
    common(parser, run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Examine, then probe."""
    path = config_path(options)
    registry = Registry.discover()
    proved: list[Check] = []
    probed: list[Check] = []
    with examine(path, registry=registry) as found:
        probing = found.ok and not options.read_only
        if found.config is not None and probing:
            envs = _environments(found.config, options.env)
            proved = prove_stores(found.config)
            if not proved:
                probed = _probed(found, envs, console)
    if proved and all(check.ok for check in proved):
        # What was proved decides what a store declares, so all of them are opened once more.
        with examine(path, registry=registry) as found:
            probed = _probed(found, envs, console)
    checks = [*found.checks, *proved, *probed]
    ok = all(check.ok for check in checks)
    console.document(
        {
            "config": str(path),
            "ok": ok,
            "probed": probing,
            "checks": [check_data(check) for check in checks],
        }
    )
    show(console, checks)
    console.say("", _verdict(console, checks, probing=probing))
    return OK if ok else FINDINGS


def _probed(found: Examination, envs: Sequence[Env], console: Console) -> list[Check]:
    if found.config is None or not found.ok:
        return []
    with console.progress("probing") as tick:
        return probe(found.config, found.stores, envs, progress=tick)


def show(console: Console, checks: Sequence[Check]) -> None:
    """One line for each area that is in order, and every law that does not hold, with why."""
    width = max((len(check.area) for check in checks), default=0)
    for area, group in groupby(checks, key=lambda check: check.area):
        laws = list(group)
        broken = [check for check in laws if not check.ok]
        said = laws[0].law if len(laws) == 1 else f"{plural(len(laws), 'law')} of isolation hold"
        if not broken:
            console.say(f"{console.good('ok')}       {area.ljust(width)}  {said}")
        for check in broken:
            console.say(f"{console.bad('finding')}  {area.ljust(width)}  {check.law}")
            console.say_all(f"         {line}" for line in problem_lines(check.problems))
        console.say_all(f"           note: {note}" for check in laws for note in check.notes)


def check_data(check: Check) -> dict[str, Any]:
    """A check as JSON data."""
    return {
        "area": check.area,
        "law": check.law,
        "ok": check.ok,
        "problems": [problem_data(problem) for problem in check.problems],
        "notes": list(check.notes),
    }


def _environments(config: Config, wanted: str | None) -> Sequence[Env]:
    if wanted is None:
        return config.environments
    env = normalise_env(wanted)
    if env not in config.environments:
        raise UsageError(
            f"this deployment does not serve the environment {env!r}",
            f"it serves {', '.join(config.environments)}",
        )
    return (env,)


def _verdict(console: Console, checks: Sequence[Check], *, probing: bool) -> str:
    findings = sum(len(check.problems) for check in checks)
    if findings:
        rest = "" if probing else "; nothing was written"
        return console.bad(f"{plural(findings, 'finding')} in {len(checks)} checks") + rest
    rest = "the probe tenants are erased again" if probing else "nothing was written"
    return console.good(f"all {len(checks)} checks hold") + f"; {rest}"
