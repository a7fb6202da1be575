"""Runs the cases: each in a fresh process with a time limit, the backends interleaved, one at a time.

Called by `__main__`. A case that hangs, crashes or computes a wrong result is reported as failed, and the rest goes on.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile
from typing import IO, Any

from .backends import is_measured
from .measure import Row

ROOT = Path(__file__).resolve().parent.parent
#: A case is on the backend that it names, and on modules that are compiled, as those that pip installs are: what the
#: compiler leaves behind is copied by each fork, and the standard library has nothing of it.
NOT_FOR_CASES = ("FASTMP_INSTALL", "PYTHONDONTWRITEBYTECODE")
DIGITS = 5  # of a value that is kept
LAST_WORDS = 2_000  # characters of a failed case's errors that are kept


@dataclass(frozen=True)
class Settings:
    """What a run measures, and how long."""

    rows: tuple[Row, ...]
    backends: tuple[str, ...]
    repetitions: int = 3
    shrink: int = 1  # rounds are so many times smaller
    seconds: float = 0.5  # of rounds, per case
    limit: float = 60  # seconds after which a case is ended
    copies: int = 1  # of each case, at once

    def size(self, row: Row) -> int:
        """Operations in one round of a row."""
        return max(1, row.size // self.shrink)


@dataclass(frozen=True)
class Case:
    """One row on one backend, once."""

    row: Row
    backend: str
    repetition: int


def cases(settings: Settings) -> Iterator[Case]:
    """All cases, a row's backends one after the other in each repetition."""
    for row in settings.rows:
        for repetition in range(settings.repetitions):
            for backend in settings.backends:
                if is_measured(backend, row.name):
                    yield Case(row, backend, repetition)


def run(case: Case, settings: Settings) -> dict[str, Any]:
    """Run one case; `{"values": [...]}`, `{"skipped": why}` or `{"failed": why}`.

    Of copies that run at once the values are put together; what is wrong with one is wrong with all.
    """
    with ThreadPoolExecutor(settings.copies) as threads:
        outcomes = list(threads.map(lambda _: run_once(case, settings), range(settings.copies)))
    for outcome in outcomes:
        if "values" not in outcome:
            return outcome
    values = [value for outcome in outcomes for value in outcome["values"]]
    merged = {"median": rounded(median(values)), "values": values}
    distributions = [outcome["distribution"] for outcome in outcomes if outcome["distribution"]]
    return merged | ({"distribution": middle(distributions)} if distributions else {})


# An installed fastmp goes before the one in this folder, which may not be built for this Python.
FOLDER = str(Path(__file__).resolve().parent.parent)
RUN_CASE = f"import sys; sys.path.append({FOLDER!r}); from benchmarks.case import main; main()"


def run_once(case: Case, settings: Settings) -> dict[str, Any]:
    """Run one copy of a case."""
    size = settings.size(case.row)
    arguments = [case.backend, case.row.name, str(size), str(settings.seconds), str(settings.limit)]
    code, output, errors = run_process([sys.executable, "-P", "-c", RUN_CASE, *arguments], settings.limit)
    if code != 0:
        why = f"no end within {settings.limit:g} s" if code is None else f"exit code {code}"
        return {"failed": why, "stderr": without_folders(errors)[-LAST_WORDS:]}
    outcome: dict[str, Any] = json.loads(output.splitlines()[-1])
    if "skipped" in outcome:
        return outcome
    values = [rounded(value) for value in case.row.values(size, outcome["rounds"])]
    return {"values": values, "distribution": [rounded(value) for value in outcome["distribution"]]}


def without_folders(text: str) -> str:
    """Return what a case said with the names of source files alone: results are kept, and travel."""
    return re.sub(r'(File ")[^"]*/', r"\1", text)


def middle(distributions: Sequence[Sequence[float]]) -> list[float]:
    """Return the median of several distributions, at each percentile."""
    return [rounded(median(values)) for values in zip(*distributions, strict=True)]


def rounded(value: float) -> float:
    """Return the value without digits that mean nothing."""
    return float(f"{value:.{DIGITS}g}")


def run_process(command: list[str], limit: float) -> tuple[int | None, str, str]:
    """Run a command in a session of its own, and end the session: exit code (None: the limit), output, errors."""
    environment = {key: value for key, value in os.environ.items() if key not in NOT_FOR_CASES}
    with TemporaryFile("w+") as output, TemporaryFile("w+") as errors:  # a pipe's end comes only when no child holds it
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=errors, start_new_session=True
        )
        code: int | None = None
        try:
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(limit)
        finally:
            end_session(process.pid)
            process.wait()
        return code, everything(output), everything(errors)


def everything(file: IO[str]) -> str:
    """Return what others have written into a file."""
    file.seek(0)
    return file.read()


def end_session(leader: int) -> None:
    """Kill what is left of a session."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
