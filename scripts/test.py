"""`make test`: on every Python found (3.11, 3.12, 3.13), the package installed as a user would, then all its tests.

The C unit programs do not know Python and run once. For each Python: an environment .venv/<version>, the package with
its test extras, pytest from a folder outside the sources (so that the installed package is what is tested), and a look
at what the run has left on the machine. Ends with pytest's closing lines; exit code 1 where anything failed.
`python scripts/test.py 3.12` tests one Python.
"""

import os
import signal
import subprocess
import sys
import uuid
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import NamedTuple

from environments import ROOT, VERSIONS, environment, find_python, install_project

sys.path.insert(0, str(ROOT / "tests"))
from support.leftovers import command_line, pids_with_environment, shared_files

RUN_SECONDS = 1000
SUMMARY_SECONDS = 30  # for pytest to tell what has failed so far
TEST_FOLDERS = ("unit", "notebook")


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


def run_shown(command: list[str | Path], cwd: Path, env: dict[str, str]) -> tuple[int, str]:
    """Run a command and show its output; its exit code and its last line."""
    last = ""
    with subprocess.Popen(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        timer = Timer(RUN_SECONDS, interrupt, [process.pid])
        timer.start()
        try:
            for line in process.stdout or ():
                print(line, end="", flush=True)
                last = line.strip() or last
            code = process.wait()
        finally:
            timer.cancel()
            end_group(process.pid)
    return code, last


def what_is_left(token: str, files: frozenset[str]) -> list[str]:
    """One line for each process and file that the run has left; the processes are ended."""
    pids = pids_with_environment(f"FASTMP_TEST_RUN={token}")
    lines = [f"process {pid}: {command_line(pid)}" for pid in pids]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return lines + [f"/dev/shm/{name}" for name in sorted(shared_files() - files)]


def run_part(name: str, command: list[str | Path], cwd: Path) -> Outcome:
    """Run one part of the tests and look at what it leaves."""
    print(f"==== {name}", flush=True)
    token, files = uuid.uuid4().hex, shared_files()
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "FASTMP_INSTALL"))}
    code, closing = run_shown(command, cwd, {**env, "FASTMP_TEST_RUN": token})
    left = what_is_left(token, files)
    for line in left:
        print(f"left behind: {line}")
    return Outcome(name, code == 0 and not left, closing)


def test_python(version: str) -> Outcome | None:
    """Install and test on one Python; None where this machine has none."""
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
    elsewhere = ROOT / "build" / "test" / version
    elsewhere.mkdir(parents=True, exist_ok=True)
    folders = [ROOT / "tests" / name for name in TEST_FOLDERS]
    pytest = [inside, "-P", "-m", "pytest", "-q", "-c", ROOT / "pyproject.toml", "--rootdir", ROOT]
    return run_part(f"Python {version}", [*pytest, "-o", f"cache_dir={elsewhere / 'cache'}", *folders], elsewhere)


def main() -> int:
    """Run all parts, then tell how each ended; pytest's closing line comes last, a failed one last of all."""
    versions = sys.argv[1:] or VERSIONS
    outcomes = [run_part("C unit programs", [sys.executable, ROOT / "tests" / "c" / "run.py"], ROOT)]
    outcomes += [outcome for version in versions if (outcome := test_python(version)) is not None]
    if len(outcomes) == 1:
        outcomes.append(Outcome("Python", False, f"none of {', '.join(versions)} is on this machine"))
    print("====")
    for outcome in sorted(outcomes, key=lambda outcome: not outcome.good):
        print(f"{'passed' if outcome.good else 'FAILED'}  {outcome.name}: ", end="")
        print(outcome.closing, flush=True)
    return int(not all(outcome.good for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
