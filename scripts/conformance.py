"""`make conformance`: CPython's own suites of `multiprocessing` and of the process pools, with fastmp installed.

For each Python found (3.11, 3.12, 3.13) an environment .venv/conformance-<version> with fastmp, and in it the suites of
the folder `shared/conformance` beside the project, compared with what the standard library itself passes on the same
Python: with fastmp in every process, then in the main program's only. A test may be lost only if
tests/stdlib/exceptions.toml names it, and what it names must be lost: the list only shrinks. Without that folder
nothing is run, and the script says so.

    python scripts/conformance.py [--quick] [--python 3.11] [--method fork] [-k PATTERN] [--suites FOLDER]
"""

import argparse
import fnmatch
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environments import ROOT, VERSIONS, call, environment, find_python, install_project

SUITES = ROOT.parent / "shared" / "conformance"
EXCEPTIONS = ROOT / "tests" / "stdlib" / "exceptions.toml"
EXCEPTIONS_MAX = 10
WORK = ROOT / "build" / "conformance"
#: Which start methods on which Python.
QUICK_METHODS = {"3.11": "fork,forkserver", "3.13": "fork,spawn"}
QUICK = (
    *("--jobs", "4", "--rerun", "1", "--test-timeout", "60", "--timeout", "180", "--limit", "900"),
    *("-x", "*/spawn/WithThreads*", "-x", "*/forkserver/WithThreads*", "-x", "*/any/ThreadPool*"),
)
WHOLE = ("--jobs", "4", "--rerun", "1")
DETAIL_LINES = 12


@dataclass(frozen=True)
class Known:
    """An agreed exception: a test, or a pattern for the same test under several start methods."""

    test: str
    pythons: tuple[str, ...]
    reason: str

    def covers(self, test: str, version: str) -> bool:
        """Whether it is about this test on this Python."""
        return version in self.pythons and fnmatch.fnmatchcase(test, self.test)


@dataclass(frozen=True)
class Run:
    """One run of the suites: on which Python, and fastmp in which processes."""

    version: str
    main_only: bool
    results: dict[str, Any]
    baseline: dict[str, str]

    @property
    def title(self) -> str:
        """What the table is of."""
        where = "in the main program only" if self.main_only else "in every process"
        return f"Python {self.results['meta']['python'].split()[0]}, fastmp {where}"

    @property
    def lost(self) -> list[str]:
        """The tests that the standard library passes and fastmp does not."""
        lost: list[str] = self.results["meta"]["lost"]
        return lost


def read_exceptions() -> list[Known]:
    """The list, which is short."""
    entries = tomllib.loads(EXCEPTIONS.read_text()).get("exception", [])
    known = [Known(entry["test"], tuple(entry["pythons"]), entry["reason"]) for entry in entries]
    if len(known) > EXCEPTIONS_MAX:
        sys.exit(f"{EXCEPTIONS}: {len(known)} entries, and no more than {EXCEPTIONS_MAX} are agreed")
    return known


def copy_suites(source: Path) -> None:
    """The suites in build/, with the test files that some Pythons come without."""
    shutil.copytree(source, WORK, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    if (WORK / "extra-tests" / "3.12" / "test_concurrent_futures").exists():
        return
    if shutil.which("apt-get") is None:
        print("there is no apt-get here to fetch the test files that some Pythons come without")
        return
    python = find_python("3.13")
    tests = [python.resolve().parent.parent / "lib" / "python3.13" / "test"] if python is not None else []
    try:
        call("sh", WORK / "make_extra_tests.sh", *tests, cwd=WORK)
    except subprocess.CalledProcessError as error:
        print(f"the test files that some Pythons come without could not be fetched: {error}")


def suites_of(python: Path, version: str) -> list[str]:
    """The arguments that name the suites which this Python has."""
    code = "import importlib.util as u; print(u.find_spec('test.test_concurrent_futures') is not None)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    if done.stdout.strip() == "True" or any((WORK / "extra-tests" / version).glob("test_concurrent_futures*")):
        return []
    print(f"==== Python {version} comes without test_concurrent_futures: only the suite of multiprocessing is run")
    return ["--suite", "multiprocessing"]


def run_suites(python: Path, version: str, main_only: bool, arguments: list[str]) -> Run | None:
    """Run them once; None, and the end of what they said, if there is no result."""
    name = f"{version}-main-only" if main_only else version
    result, log, baseline = (WORK / f"{name}.json", WORK / f"{name}.log", WORK / f"baseline-{version}.json")
    result.unlink(missing_ok=True)
    command = [python, WORK / "conformance.py", "--backend", "fastmp", "--compare", baseline, "--json", result]
    print(f"==== Python {version}: running; {log.relative_to(ROOT)} tells how far it is", flush=True)
    with log.open("w") as out:
        done = subprocess.run(
            [*command, *(["--main-only"] if main_only else []), *arguments],
            cwd=WORK,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode not in (0, 1) or not result.exists():
        print(*log.read_text().splitlines()[-40:], f"==== no result, exit status {done.returncode}", sep="\n")
        return None
    statuses = {test: status for test, (status, *_) in json.loads(baseline.read_text())["tests"].items()}
    return Run(version, main_only, json.loads(result.read_text()), statuses)


def rows(run: Run) -> Iterator[str]:
    """A line for each suite and start method."""
    yield f"{'':28}{'ran':>9}{'passed':>9}{'skipped':>9}{'differing':>11}"
    tests = {test: status for test, (status, *_) in run.results["tests"].items()}
    for group in sorted({test.rsplit("/", 1)[0] for test in tests}):
        here = [status for test, status in tests.items() if test.startswith(f"{group}/")]
        passed, skipped = here.count("passed"), here.count("skipped")
        ran = len(here) - skipped - here.count("notrun")
        differing = sum(test.startswith(f"{group}/") for test in run.lost)
        yield f"{group:28}{ran:9}{passed:9}{skipped:9}{differing:11}"


def unexpected(run: Run, known: list[Known]) -> list[str]:
    """The lost tests that the list does not name."""
    return [test for test in run.lost if not any(entry.covers(test, run.version) for entry in known)]


def outlived(runs: list[Run], known: list[Known]) -> list[str]:
    """The entries of the list of which every test that was run has passed."""
    found = []
    for entry in known:
        seen = [
            test in run.lost
            for run in runs
            for test in run.results["tests"]
            if entry.covers(test, run.version) and run.baseline.get(test) == "passed"
        ]
        if seen and not any(seen):
            found.append(entry.test)
    return found


def show(run: Run, known: list[Known]) -> bool:
    """Print what came of a run; whether it is good."""
    new = unexpected(run, known)
    print(f"==== {run.title}", *rows(run), sep="\n")
    for test in run.results["meta"]["flaky"]:
        print(f"passed when tried again: {test}")
    for test in run.lost:
        print(f"{'LOST' if test in new else 'known'}: {test}")
    for test in new:
        print(f"---- {test}", *run.results["details"].get(test, "").splitlines()[-DETAIL_LINES:], sep="\n")
    sys.stdout.flush()
    return not new


def test_python(version: str, options: argparse.Namespace) -> list[Run] | None:
    """All runs on one Python: none where this machine has no such Python, None if one gave no result."""
    python = find_python(version)
    if python is None:
        print(f"==== Python {version}: not on this machine, not run")
        return []
    print(f"==== Python {version}: installing", flush=True)
    inside = environment(f"conformance-{version}", python)
    install_project(inside)
    arguments = [*(QUICK if options.quick else WHOLE), *suites_of(python, version), *options.arguments]
    method = options.method or (QUICK_METHODS.get(version) if options.quick else None)
    arguments += ["--method", method] if method else []
    modes = [False] if options.quick else [False, True]
    runs = [run_suites(inside, version, main_only, arguments) for main_only in modes]
    return None if None in runs else [run for run in runs if run is not None]


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="CPython's own suites, on fastmp")
    parser.add_argument("--quick", action="store_true", help="3.11 and 3.13, two start methods each, no threads")
    parser.add_argument("--python", action="append", choices=VERSIONS, help="only this one")
    parser.add_argument("--method", help="only these start methods: fork,forkserver,spawn")
    parser.add_argument("-k", action="append", default=[], metavar="PATTERN", help="only tests that match")
    parser.add_argument("--suites", type=Path, default=SUITES, help="where conformance.py and its baselines are")
    options = parser.parse_args()
    options.arguments = [part for pattern in options.k for part in ("-k", pattern)]
    return options


def main() -> int:
    """Run all there is and compare it with the list."""
    options = parse()
    if not (options.suites / "conformance.py").exists():
        print(f"conformance: SKIPPED, {options.suites} is not there")
        return 0
    known = read_exceptions()
    copy_suites(options.suites)
    versions = options.python or (QUICK_METHODS if options.quick else VERSIONS)
    outcomes = [test_python(version, options) for version in versions]
    runs = [run for outcome in outcomes if outcome is not None for run in outcome]
    failed = [run.title for run in runs if not show(run, known)]
    good = not failed and None not in outcomes
    stale = outlived(runs, known)
    for test in stale:
        print(f"PASSES NOW, so {EXCEPTIONS.relative_to(ROOT)} must not name it any more: {test}")
    good = good and not stale
    print(f"conformance: {len(runs)} runs, {'all good' if good else 'FAILED'}, {len(known)} agreed exceptions")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
