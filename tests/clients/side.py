"""One run of a program on one side: the standard library or fastmp. What it printed, how it ended, what it left behind.

Each run has a folder of its own, which is its working folder, its home and its folder of temporary files; all its
processes carry a token in their environment, by which they are found, whatever they have become.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import time
import uuid
import xml.etree.ElementTree as ElementTree
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from client import Client, python_of, script_of, sdist_of
from support.leftovers import all_pids, command_line, pids_with_environment, shared_files

SIDES = ("standard library", "fastmp")
STANDARD, FASTMP = SIDES
GRACE_SECONDS = 10.0  # for helpers that end by themselves when their program has ended
LOOK_SECONDS = 0.02
TOKEN = "FASTMP_CLIENT_RUN"
KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


@dataclass
class Run:
    """How one run went."""

    code: int | None  # None: over its time
    seconds: float
    text: str
    tests: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    used: bool = False  # fastmp was seen in one of its processes


class Side:
    """How to run programs on one side."""

    def __init__(self, name: str, client: Client, work: Path) -> None:
        self.name = name
        self.client = client
        self.work = work

    def run(self, look: bool) -> Run:
        """Run the program once; `look` whether fastmp is in use, which takes a little time."""
        folder = self._prepare()
        token, shared = uuid.uuid4().hex, shared_files()
        env = self._environment(token)
        with (self.work / "output").open("w+b") as output:
            start = time.monotonic()
            process = subprocess.Popen(
                self._command(), cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )  # fmt: skip
            with _Watch(token, look) as watch:
                code = _wait(process, self.client.seconds)
            seconds = time.monotonic() - start
            if code is None:
                end_all(token)
                process.wait()
            run = Run(code, seconds, "", used=watch.used)
            run.left = what_is_left(token, shared, self.work / "tmp")
            output.seek(0)
            run.text = self._cleaned(output.read().decode(errors="replace"))
        run.tests = read_tests(self.work / "tests.xml")
        if "files" in self.client.compare:
            run.files = {str(path.relative_to(folder)): digest(path) for path in written(folder)}
        return run

    def _prepare(self) -> Path:
        shutil.rmtree(self.work, ignore_errors=True)
        folder = self.work / "run"
        for place in (folder, self.work / "tmp", self.work / "home"):
            place.mkdir(parents=True)
        library = Path(os.__file__).parent
        for name in self.client.copy:
            shutil.copytree(library / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "pytest.ini").write_text("[pytest]\n")
        for name, text in self.client.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return folder

    def _command(self) -> list[str]:
        program, *arguments = self.client.command
        if "tests" in self.client.compare:
            arguments += ["-c", str(self.work / "run" / "pytest.ini")] if "-c" not in arguments else []
            arguments += [f"--junitxml={self.work / 'tests.xml'}", "-p", "no:cacheprovider"]
        return [str(self._bin() / program), *map(self._placed, arguments)]

    def _placed(self, text: str) -> str:
        """The text with the paths that {sdist}, {script} and {temporary} stand for."""
        places = {"temporary": self.work / "tmp", "sdist": sdist_of(self.client), "script": script_of(self.client)}
        for place, path in places.items():
            text = text.replace(f"{{{place}}}", str(path))
        return text

    def _environment(self, token: str) -> dict[str, str]:
        env = {name: os.environ[name] for name in KEPT if name in os.environ}
        env |= {"HOME": str(self.work / "home"), "TMPDIR": str(self.work / "tmp"), "PYTHONHASHSEED": "0", TOKEN: token}
        env |= {"NO_COLOR": "1", "COLUMNS": "120", "PATH": f"{self._bin()}:{env.get('PATH', os.defpath)}"}
        env |= {name: self._placed(value) for name, value in self.client.variables.items()}
        return env | ({"FASTMP_INSTALL": "1"} if self.name == FASTMP else {})

    def _bin(self) -> Path:
        return python_of(self.client).parent

    def _cleaned(self, text: str) -> str:
        text = text.replace(str(self.work), "WORK")
        for pattern, replacement in self.client.replace:
            text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
        return text


class _Watch:
    """Looks, while a run goes on, whether one of its processes has fastmp's shared memory."""

    def __init__(self, token: str, look: bool) -> None:
        self.used = False
        self._token = token
        self._over = Event()
        self._thread = Thread(target=self._look) if look else None

    def __enter__(self) -> _Watch:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _look(self) -> None:
        while not self.used and not self._over.wait(LOOK_SECONDS):
            self.used = any("fastmp/_core." in maps(pid) for pid in pids_with_environment(f"{TOKEN}={self._token}"))


def maps(pid: int) -> str:
    """What a process has mapped."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/maps").read_text(errors="replace")
    return ""


def _wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    with suppress(subprocess.TimeoutExpired):
        return process.wait(seconds)
    return None


def end_all(token: str) -> None:
    """Kill every process of a run."""
    while pids := pids_with_environment(f"{TOKEN}={token}"):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(LOOK_SECONDS)


def what_is_left(token: str, before: frozenset[str], temporary: Path) -> list[str]:
    """One line for each process and shared file that a run has left; the processes are ended."""
    deadline = time.monotonic() + GRACE_SECONDS
    while (pids := pids_with_environment(f"{TOKEN}={token}")) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    lines = [f"process {pid}: {command_line(pid)}" for pid in pids]
    end_all(token)
    lines += [f"/dev/shm/{name}" for name in left_files(before)]
    return lines + sorted(f"temporary folder {path.name}" for path in temporary.glob("pymp-*"))


def left_files(before: frozenset[str]) -> list[str]:
    """New names in /dev/shm that no process has; another program's are there for a moment before it opens or ends."""
    names = [name for name in shared_files() - before if not is_open(f"/dev/shm/{name}")]
    if names:
        time.sleep(1)
    return sorted(name for name in names if name in shared_files() and not is_open(f"/dev/shm/{name}"))


def is_open(name: str) -> bool:
    """Whether some process has a shared file: then it is not this run's, whose processes are gone."""
    for pid in all_pids():
        if name in maps(pid):
            return True
        with suppress(OSError):
            for entry in os.scandir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    if os.readlink(entry.path) == name:
                        return True
    return False


def read_tests(path: Path) -> dict[str, str]:
    """The outcome of each test in pytest's report."""
    if not path.exists():
        return {}
    outcomes = {}
    for case in ElementTree.parse(path).iter("testcase"):
        bad = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
        outcomes[f"{case.get('classname')}::{case.get('name')}"] = bad
    return outcomes


def written(folder: Path) -> list[Path]:
    """The files in a folder, without what Python keeps for itself."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")


def digest(path: Path) -> str:
    """What a file holds, in short."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
