"""What a program of tests/clients/programs/ is: one file each, which tells what to install, run and compare.

NAME.toml describes a command; NAME.py is a script that carries the same table in its inline metadata, under
`[tool.client]`, with its requirements under `dependencies`. The keys are those of `Client`. What several scripts use is
in programs/parts/.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = Path(__file__).resolve().parent / "programs"
BUILD = ROOT / "build" / "clients"
METADATA = re.compile(r"^# /// script$\n(?P<lines>(^#( .*)?$\n)+)^# ///$", re.MULTILINE)


@dataclass(frozen=True)
class Client:
    """One program, as its file describes it."""

    name: str
    title: str
    #: what pip installs, in the versions that were tried
    dependencies: list[str]
    #: the first word is a program of the environment; {sdist}, {script} and {temporary} are replaced
    command: list[str]
    #: the folder of .venv/ where it is installed; skipped where pip could not fill it
    environment: str = "clients"
    #: a source distribution, for a library's own tests: NAME==VERSION
    sdist: str = ""
    #: part of the selection that CI runs
    quick: bool = False
    #: "output", "tests" (the command is pytest), "files" (what the run has written)
    compare: list[str] = field(default_factory=lambda: ["output"])
    #: pairs of a regular expression and what replaces it in the output before it is compared
    replace: list[list[str]] = field(default_factory=list)
    #: packages of the standard library that are copied to the folder where the program runs
    copy: list[str] = field(default_factory=list)
    #: files that are written there: name and text
    files: dict[str, str] = field(default_factory=dict)
    #: environment variables; what is replaced in the command is replaced here
    variables: dict[str, str] = field(default_factory=dict)
    #: tests that may fail on fastmp only: a regular expression of their names, and the reason
    differs: dict[str, str] = field(default_factory=dict)
    #: of one run
    seconds: int = 120
    rounds: int = 3


def load(path: Path) -> Client:
    """Read a program's file."""
    if path.suffix == ".toml":
        return Client(name=path.stem, **tomllib.loads(path.read_text()))
    match = METADATA.search(path.read_text())
    if match is None:
        raise ValueError(f"{path} has no inline metadata")
    table = tomllib.loads(re.sub(r"^# ?", "", match["lines"], flags=re.MULTILINE))
    keys = {"command": ["python", "{script}"]} | table.get("tool", {}).get("client", {})
    return Client(name=path.stem, dependencies=table["dependencies"], **keys)


def load_all() -> list[Client]:
    """Every program, by name."""
    return [load(path) for path in sorted(PROGRAMS.iterdir()) if path.suffix in (".toml", ".py")]


def script_of(client: Client) -> Path:
    """Where a program's script lies, if it is one."""
    return PROGRAMS / f"{client.name}.py"


def python_of(client: Client) -> Path:
    """The Python of a program's environment."""
    return ROOT / ".venv" / client.environment / "bin" / "python"


def sdist_of(client: Client) -> Path:
    """Where a program's source distribution is unpacked."""
    return BUILD / "sdist" / client.sdist


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line of `tests/clients/run.py` and of `make clients`."""
    parser = argparse.ArgumentParser(description="Real programs on the standard library and on fastmp.")
    parser.add_argument("names", nargs="*", help="programs to run, by the names of their files; all of them if none")
    parser.add_argument("--quick", action="store_true", help="only those that CI runs")
    parser.add_argument("--show", action="store_true", help="print what the programs print")
    parser.add_argument("--rounds", type=int, help="timed rounds, instead of each program's own number")
    return parser.parse_args(arguments)


def choose(clients: list[Client], options: argparse.Namespace) -> list[Client]:
    """The programs that the command line asks for."""
    named = [client for client in clients if client.name in options.names or not options.names]
    return [client for client in named if client.quick or not options.quick]
