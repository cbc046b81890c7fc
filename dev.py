"""Work on a checkout of Nexus with nothing but Python.

    python3 dev.py quickstart [PATH]    install, then run `nexus quickstart`
    python3 dev.py test [ARGS ...]      install, then run the tests on all cores; ARGS go to pytest,
                                        which then works on one
    python3 dev.py check [lint|types]   install, then check lint, format and types
    python3 dev.py install              install, and no more

The first run makes `.venv` with the Python that runs this script, and installs every distribution
of the checkout into it, editable, in one pip command, so that they resolve against one another.
Later runs see that no pyproject.toml and no requirement has changed, and start at once.

tox uses the same commands with `--here`: in the environment that runs the script, not in `.venv`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
OLDEST_PYTHON = (3, 11)
STAMP = "nexus-install.txt"
LAST_LINES = 25
PASS_ON = ("quickstart", "test")
ALL_CORES = ("-n", "auto", "--dist", "worksteal")


class SetupError(Exception):
    """Something on this machine stands in the way; the text says what, and how to mend it."""


def distributions() -> list[Path]:
    """Folders of all that is released from this checkout, the core first."""
    plugins = sorted(ROOT.glob("plugins/*/pyproject.toml"))
    return [ROOT, ROOT / "contracts", *(file.parent for file in plugins)]


def fingerprint(*, oldest: bool) -> str:
    """Hash of all that decides what pip would install; sources are editable and not part of it."""
    state = hashlib.sha256(f"{ROOT} oldest={oldest}".encode())
    inputs = [folder / "pyproject.toml" for folder in distributions()]
    for file in (*inputs, *sorted(ROOT.glob("requirements/*.txt"))):
        content = file.read_bytes()
        state.update(f"\n{file.relative_to(ROOT).as_posix()} {len(content)}\n".encode())
        state.update(content)
    return state.hexdigest()


def program(prefix: Path, name: str) -> Path:
    """Path of a program of the environment at ``prefix``."""
    return prefix / "Scripts" / f"{name}.exe" if os.name == "nt" else prefix / "bin" / name


def run(*command: str | Path, cwd: Path = ROOT) -> int:
    """Run a program in the foreground; return its exit code."""
    return subprocess.run([str(part) for part in command], cwd=cwd, check=False).returncode


def run_logged(log: Path, what: str, *command: str | Path) -> None:
    """Run a program; show nothing if it succeeds, else the end of what it said."""
    with log.open("wb") as out:
        code = subprocess.run(
            [str(part) for part in command], cwd=ROOT, stdout=out, stderr=out, check=False
        ).returncode
    if code:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        raise SetupError(
            f"{what} failed with exit code {code}; see {log}, which ends:\n\n"
            + "\n".join(f"    {line}" for line in lines)
        )


class Environment:
    """One environment and its stamp: which Python made it, what was installed, for which groups."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.stamp = prefix / STAMP

    def facts(self) -> tuple[str, str, set[str]]:
        """What the stamp says: the Python, the fingerprint, the groups; empty where it does not."""
        text = self.stamp.read_text(encoding="utf-8") if self.stamp.exists() else ""
        python, installed, groups = [*text.split("\n"), "", "", ""][:3]
        return python, installed, set(groups.split())

    def record(self, installed: str, groups: set[str]) -> None:
        """Write the stamp."""
        lines = (this_python(), installed, " ".join(sorted(groups)), "")
        self.stamp.write_text("\n".join(lines), encoding="utf-8")

    def make(self) -> None:
        """Create it if it is not there, or anew if this script made it with another Python.

        One that was made by other means is used as it is.
        """
        python, _, _ = self.facts()
        if program(self.prefix, "python").exists() and python in ("", this_python()):
            return
        try:
            import ensurepip  # noqa: F401 -- venv needs it; some systems package it apart
            import venv
        except ImportError as error:
            raise SetupError(
                f"this Python has no module {error.name!r} and so cannot make an environment\n"
                "On Debian and Ubuntu: apt install python3-venv"
            ) from None
        print(f"dev.py: making {self.prefix} with Python {this_python()}", flush=True)
        try:
            venv.create(self.prefix, clear=True, with_pip=True, symlinks=os.name != "nt")
        except (OSError, subprocess.CalledProcessError) as error:
            shutil.rmtree(self.prefix, ignore_errors=True)
            raise SetupError(f"the environment could not be made: {error}") from None
        self.record("", set())

    def install(self, groups: set[str], *, oldest: bool = False, wheels: bool = False) -> None:
        """Install all distributions, and the groups' requirements.

        Does nothing when the same was installed before and all of its inputs are unchanged.
        """
        _, installed, before = self.facts()
        wanted = fingerprint(oldest=oldest)
        if wheels and installed:
            raise SetupError("wheels are tested in a new environment, and this one was used before")
        if installed == wanted and groups <= before:
            return
        groups = groups | before
        print("dev.py: installing; the first time this takes a minute or two", flush=True)
        sources = self.build() if wheels else [(path, path) for path in distributions()]
        command: list[str | Path] = [program(self.prefix, "python"), "-m", "pip", "install"]
        command.append("--no-input")
        for folder, source in sources:
            command += [] if wheels else ["-e"]
            command.append(f"{source}{extras(folder)}")
        for group in sorted(groups):
            command += ["-r", ROOT / "requirements" / f"{group}.txt"]
        if oldest:
            command += ["-c", ROOT / "requirements" / "oldest.txt"]
        run_logged(self.prefix / "nexus-install.log", "pip", *command)
        self.record(wanted, groups)

    def build(self) -> list[tuple[Path, Path]]:
        """Build a wheel of each distribution; return (folder, wheel) pairs."""
        folder = self.prefix / "nexus-wheels"
        shutil.rmtree(folder, ignore_errors=True)
        built = []
        for number, source in enumerate(distributions()):
            target = folder / str(number)
            python = program(self.prefix, "python")
            pip = (python, "-m", "pip", "wheel", "--no-deps", "-w", target, source)
            run_logged(self.prefix / "nexus-build.log", "building a wheel", *pip)
            built.append((source, next(target.glob("*.whl"))))
        return built


def this_python() -> str:
    """Version and build of the Python that runs this script, on one line."""
    return " ".join(sys.version.split())


def extras(folder: Path) -> str:
    """The extra for a distribution's command line, as pip wants it, if it has one.

    No other extra: those bring engines, some of them gigabytes large.
    """
    import tomllib

    with (folder / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    return "[cli]" if "cli" in project.get("optional-dependencies", {}) else ""


def check_lint(prefix: Path) -> int:
    """Lint, and see that the formatter would change nothing."""
    ruff = program(prefix, "ruff")
    return run(ruff, "check", ".") or run(ruff, "format", "--check", ".")


def check_types(prefix: Path) -> int:
    """Check the types of sources and tests of all distributions in one go."""
    folders = ["nexus_core", "tests", "examples", "benchmarks", "tools", "dev.py", "conftest.py"]
    paths = [ROOT / name for name in folders]
    sources = [folder / "src" for folder in distributions()[1:]]
    paths += [path for source in sources for path in (source, source.parent / "tests")]
    # Test folders are no packages; bases that are spelled out keep equal file names apart.
    os.environ["MYPYPATH"] = os.pathsep.join(str(source) for source in sources)
    existing = [path for path in paths if path.exists()]
    return run(program(prefix, "mypy"), "--explicit-package-bases", *existing)


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Split the command line into our own part and what belongs to the program that is run."""
    cut = next((at for at, word in enumerate(argv, 1) if word in PASS_ON), len(argv))
    ours, theirs = argv[:cut], argv[cut:]
    parser = argparse.ArgumentParser(
        prog="dev.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--here", action="store_true", help="use the running environment")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("quickstart", help="install and run `nexus quickstart` with the rest")
    commands.add_parser("test", help="install and run the tests; the rest goes to pytest")
    check = commands.add_parser("check", help="install and check lint, format and types")
    check.add_argument("what", nargs="?", choices=("lint", "types"), help="only one of them")
    setup = commands.add_parser("install", help="install, and no more")
    setup.add_argument("--oldest", action="store_true", help="the oldest dependencies declared")
    setup.add_argument("--wheels", action="store_true", help="built wheels, not the checkout")
    setup.add_argument("--servers", action="store_true", help="also what talks to real servers")
    return parser.parse_args(ours), theirs


def main(argv: list[str]) -> int:
    """Do what the command line asks; return the exit code."""
    if sys.version_info < OLDEST_PYTHON:
        wanted = ".".join(str(part) for part in OLDEST_PYTHON)
        raise SetupError(
            f"Python {wanted} or newer is needed, and this is {this_python()} ({sys.executable})\n"
            f"Run this script with a newer one, for example: python{wanted} dev.py"
        )
    options, theirs = parse(argv)
    environment = Environment(Path(sys.prefix) if options.here else VENV)
    if Path(sys.prefix).resolve() != environment.prefix.resolve():
        environment.make()
    prefix = environment.prefix
    if options.command == "install":
        groups = {"test", "servers"} if options.servers else {"test"}
        environment.install(groups, oldest=options.oldest, wheels=options.wheels)
        return 0
    if options.command == "quickstart":
        environment.install(set())
        return run(program(prefix, "nexus"), "quickstart", *theirs, cwd=Path.cwd())
    if options.command == "test":
        environment.install({"test"})
        return run(program(prefix, "pytest"), *(theirs or ALL_CORES))
    environment.install({"test", "check"})
    code = 0
    if options.what != "types":
        code = check_lint(prefix)
    if options.what != "lint":
        code = check_types(prefix) or code
    return code


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SetupError as error:
        print(f"dev.py: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
