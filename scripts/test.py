"""`make test`: on every Python found (3.11, 3.12, 3.13), the package installed as a user would, then all its tests.

The C unit programs do not know Python and run once. For each Python: an environment .venv/<version>, the package with
its test extras, pytest from a folder outside the sources (so that the installed package is what is tested), and a look
at what the run has left on the machine. Pythons are tested side by side where each can have a /dev/shm of its own, one
more than there are cores, as tests wait for much of their time. Ends with pytest's closing lines; exit code 1 where
anything failed.

    python scripts/test.py [3.12 ...] [--failed]

Tests of what is not the package (marked `once`) run on the first Python alone.
`--failed` repeats only what failed in the run before: the C unit programs, and the failed tests of each Python.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import NamedTuple

from environments import ROOT, VERSIONS, environment, find_python, install_project

sys.path.insert(0, str(ROOT / "tests"))
from support.leftovers import command_line, pids_with_environment, shared_files

RUN_SECONDS = 2900
SUMMARY_SECONDS = 30  # for pytest to tell what has failed so far
GRACE_SECONDS = 10
TEST_FOLDERS = ("unit", "notebook")
OWN_SHM = ROOT / "scripts" / "own_shm.sh"
WORK = ROOT / "build" / "test"
C_UNITS = "C unit programs"


class Outcome(NamedTuple):
    """How one part of the run ended."""

    name: str
    good: bool
    closing: str


def end_group(leader: int) -> None:
    """Kill a process and all that it started in its session."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def interrupt(leader: int) -> None:
    """End a run that is over its time: gently first, so that it still says what it knows."""
    with suppress(ProcessLookupError):
        os.kill(leader, signal.SIGINT)
    Timer(SUMMARY_SECONDS, end_group, [leader]).start()


def run_shown(name: str, command: list[str | Path], cwd: Path, env: dict[str, str]) -> tuple[int, str]:
    """Run a command and show its output, each line after the part's name; its exit code and its last line."""
    last = ""
    with subprocess.Popen(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        timer = Timer(RUN_SECONDS, interrupt, [process.pid])
        timer.start()
        try:
            for line in process.stdout or ():
                print(f"{name.removeprefix('Python ')}: {line}", end="", flush=True)
                last = line.strip() or last
            code = process.wait()
        finally:
            timer.cancel()
            end_group(process.pid)
    return code, last


def what_is_left(token: str, files: frozenset[str]) -> list[str]:
    """One line for each process and file that the run has left; the processes are ended.

    A fork server, for one, ends by itself when it sees that its program has: it is given a moment.
    """
    deadline = time.monotonic() + GRACE_SECONDS
    while (pids := pids_with_environment(f"FASTMP_TEST_RUN={token}")) and time.monotonic() < deadline:
        time.sleep(0.1)
    lines = [f"process {pid}: {command_line(pid)}" for pid in pids]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return lines + [f"/dev/shm/{name}" for name in sorted(shared_files() - files)]


def run_part(name: str, command: list[str | Path], cwd: Path) -> Outcome:
    """Run one part of the tests and look at what it leaves."""
    print(f"==== {name}", flush=True)
    passed = WORK / f"{name.replace(' ', '-')}.passed"
    passed.unlink(missing_ok=True)
    token, files = uuid.uuid4().hex, shared_files()
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "FASTMP_INSTALL"))}
    code, closing = run_shown(name, command, cwd, {**env, "FASTMP_TEST_RUN": token})
    left = what_is_left(token, files)
    for line in left:
        print(f"left behind: {line}")
    if code == 0 and not left:
        passed.touch()
    return Outcome(name, code == 0 and not left, closing)


def has_passed(name: str) -> bool:
    """Whether the part's last run was good."""
    return (WORK / f"{name.replace(' ', '-')}.passed").exists()


def test_command(version: str, inside: Path, first: bool, failed: bool) -> list[str | Path]:
    """How to run pytest on one Python."""
    cache = WORK / version / "cache"
    if not failed:
        shutil.rmtree(cache, ignore_errors=True)
    pytest = [inside, "-P", "-m", "pytest", "-q", "--durations=20", "-c", ROOT / "pyproject.toml", "--rootdir", ROOT]
    options = [*(["--last-failed"] if failed else []), *([] if first else ["-m", "not once"])]
    return [*pytest, "-o", f"cache_dir={cache}", *options, *(ROOT / "tests" / name for name in TEST_FOLDERS)]


def install(version: str) -> Path | Outcome | None:
    """The environment of one Python with the package; why not, or None where this machine has no such Python."""
    python = find_python(version)
    if python is None:
        print(f"==== Python {version}: not on this machine, not tested", flush=True)
        return None
    print(f"==== Python {version}: installing", flush=True)
    inside = environment(version, python)
    try:
        install_project(inside, "test")
    except subprocess.CalledProcessError as error:
        return Outcome(f"Python {version}", False, f"installation failed: {error}")
    return inside


def test_pythons(versions: list[str], failed: bool) -> list[Outcome]:
    """Install on each, one after the other, then test all."""
    installed = {version: install(version) for version in versions}
    ready = {version: inside for version, inside in installed.items() if isinstance(inside, Path)}
    apart = subprocess.run([OWN_SHM, "true"], check=False).returncode == 0

    def test(version: str, inside: Path, first: bool) -> Outcome:
        elsewhere = WORK / version  # a folder outside the sources: the installed package is what is tested
        elsewhere.mkdir(exist_ok=True)
        command = test_command(version, inside, first, failed)
        return run_part(f"Python {version}", [OWN_SHM, *command] if apart else command, elsewhere)

    with ThreadPoolExecutor(max_workers=(os.cpu_count() or 1) + 1 if apart else 1) as threads:
        runs = [threads.submit(test, *each, number == 0) for number, each in enumerate(ready.items())]
    return [run.result() for run in runs] + [each for each in installed.values() if isinstance(each, Outcome)]


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="all tests, on every Python found")
    parser.add_argument("versions", nargs="*", metavar="VERSION", help=f"of {', '.join(VERSIONS)}")
    parser.add_argument("--failed", action="store_true", help="only what failed in the run before")
    return parser.parse_args()


def main() -> int:
    """Run all parts, then tell how each ended; pytest's closing line comes last, a failed one last of all."""
    options = parse()
    WORK.mkdir(parents=True, exist_ok=True)
    versions = [v for v in options.versions or VERSIONS if not (options.failed and has_passed(f"Python {v}"))]
    outcomes = []
    if not (options.failed and has_passed(C_UNITS)):
        outcomes.append(run_part(C_UNITS, [sys.executable, ROOT / "tests" / "c" / "run.py"], ROOT))
    outcomes += test_pythons(versions, options.failed)
    if not any(find_python(version) for version in options.versions or VERSIONS):
        outcomes.append(Outcome("Python", False, f"none of {', '.join(VERSIONS)} is on this machine"))
    print("====")
    for outcome in sorted(outcomes, key=lambda outcome: not outcome.good):
        print(f"{'passed' if outcome.good else 'FAILED'}  {outcome.name}: ", end="")
        print(outcome.closing, flush=True)
    return int(not all(outcome.good for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
