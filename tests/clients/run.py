"""Real programs, unchanged, on the standard library and with FASTMP_INSTALL=1; `make clients` calls this.

For each program of programs/: both sides in turns, a first pair to warm up and to see that fastmp is in use, then
rounds that are timed. The results must be the same on both sides, and nothing may be left behind. A difference in time
is shown and fails nothing. `run.py NAME...` runs some, `--quick` those that CI runs; `--show` prints what differs.
"""

from __future__ import annotations

import difflib
import re
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from client import Client, choose, load_all, parse, python_of
from side import FASTMP, SIDES, STANDARD, Run, Side

SLOWER = 1.15  # a ratio of times above this is marked
MORE_ROUNDS = 2  # for a test that failed on one side only: tests of others are not all as exact as one would like
HEADER = "| program | standard library | fastmp | seconds | seconds on fastmp | ratio | same | left behind |"
LINE = "|---|---|---|---|---|---|---|---|"
BAD = ("failure", "error")


@dataclass
class Result:
    """All runs of one program."""

    client: Client
    runs: dict[str, list[Run]] = field(default_factory=lambda: {side: [] for side in SIDES})

    def median(self, side: str) -> float:
        """Seconds of one run; the first pair does not count where there are others."""
        runs = self.runs[side]
        return statistics.median(run.seconds for run in (runs[1:] or runs))

    @property
    def ratio(self) -> float:
        """How much longer fastmp takes: below 1, it is faster."""
        return self.median(FASTMP) / self.median(STANDARD)

    def differences(self) -> list[str]:
        """What is not the same on both sides; empty if all is."""
        return [*self._hangs(), *self._codes(), *self._outputs(), *self._files(), *self._tests(), *self._unused()]

    def left(self) -> list[str]:
        """What the program left behind on fastmp, and does not leave on the standard library."""
        if any(run.left for run in self.runs[STANDARD]):
            return []
        return [line for run in self.runs[FASTMP] for line in run.left]

    def describe(self, side: str) -> str:
        """One side's result in words."""
        run = self.runs[side][0]
        if run.code is None:
            return "over its time"
        if run.tests:
            bad = len(failed(run))
            return f"{sum(outcome == 'passed' for outcome in run.tests.values())} passed, {bad} failed"
        return f"exit code {run.code}"

    def _pairs(self) -> list[tuple[Run, Run]]:
        return list(zip(self.runs[STANDARD], self.runs[FASTMP], strict=True))

    def _hangs(self) -> list[str]:
        late = any(run.code is None for run in self.runs[FASTMP])
        return ["over its time on fastmp"] if late else []

    def _codes(self) -> list[str]:
        if "tests" in self.client.compare:
            return []  # pytest's exit code says no more than its report
        return [f"exit codes {old.code} and {new.code}" for old, new in self._pairs() if old.code != new.code]

    def _outputs(self) -> list[str]:
        lines: list[str] = []
        for old, new in self._pairs() if "output" in self.client.compare else ():
            lines += difflib.unified_diff(old.text.splitlines(), new.text.splitlines(), *SIDES, lineterm="", n=1)
        return lines

    def _files(self) -> list[str]:
        changed = {name for old, new in self._pairs() for name, _ in old.files.items() ^ new.files.items()}
        return [f"file {name}" for name in sorted(changed)]

    def _tests(self) -> list[str]:
        if "tests" not in self.client.compare:
            return []
        lines = [f"{self.describe(side)}: no test was run" for side in SIDES if not self.runs[side][0].tests]
        return lines + [f"test {name}: {self.runs[FASTMP][0].tests.get(name, 'missing')}" for name in self.suspects()]

    def suspects(self) -> list[str]:
        """Tests that never passed on fastmp, and did on the standard library."""
        good = {name for run in self.runs[STANDARD] for name in run.tests if name not in failed(run)}
        bad = set.intersection(*(good - (run.tests.keys() - failed(run)) for run in self.runs[FASTMP]))
        return sorted(name for name in bad if not any(re.search(known, name) for known in self.client.differs))

    def _unused(self) -> list[str]:
        return [] if self.runs[FASTMP][0].used else ["fastmp was not seen in any process"]


def failed(run: Run) -> set[str]:
    """The tests that failed in a run."""
    return {name for name, outcome in run.tests.items() if outcome in BAD}


def run_client(client: Client, rounds: int | None, work: Path) -> Result:
    """Run a program on both sides, in turns."""
    sides = [Side(name, client, work / name.partition(" ")[0]) for name in SIDES]
    result = Result(client)
    wanted = client.rounds if rounds is None else rounds
    done = 0
    while done <= wanted or (result.suspects() and done <= wanted + MORE_ROUNDS):
        for side in sides if done % 2 == 0 else reversed(sides):
            result.runs[side.name].append(side.run(look=done == 0))
        done += 1
        if wanted == 0 and not result.suspects():
            break
        if any(run.code is None for run in result.runs[FASTMP]):
            break
    return result


def row(result: Result) -> str:
    """The line of the table."""
    same = "**no**" if result.differences() else "yes"
    left = f"**{len(result.left())}**" if result.left() else "nothing"
    ratio = f"{result.ratio:.2f}" + (" (slower)" if result.ratio > SLOWER else "")
    times = " | ".join(f"{result.median(side):.2f}" for side in SIDES)
    results = " | ".join(result.describe(side) for side in SIDES)
    return f"| {result.client.title} | {results} | {times} | {ratio} | {same} | {left} |"


def report(result: Result, show: bool) -> None:
    """Print the program's line, and what is wrong with it."""
    print(row(result), flush=True)
    for line in [*result.differences(), *(f"left behind: {line}" for line in result.left())]:
        print(f"    {line}", flush=True)
    if show:
        for side in SIDES:
            print(f"---- {side}\n{result.runs[side][0].text}", flush=True)


def main() -> int:
    """Run the programs that were asked for; exit code 1 where one differs or leaves something."""
    options = parse(sys.argv[1:])
    clients = choose(load_all(), options)
    print(f"{HEADER}\n{LINE}", flush=True)
    bad, skipped = 0, 0
    for client in clients:
        if not python_of(client).exists():
            print(f"| {client.title} | not installed: skipped |", flush=True)
            skipped += 1
            continue
        with tempfile.TemporaryDirectory(prefix="fastmp-client-", ignore_cleanup_errors=True) as work:
            result = run_client(client, options.rounds, Path(work))
        report(result, options.show)
        bad += bool(result.differences() or result.left())
    print(f"clients: {len(clients) - skipped} programs, {bad} differ or leave something behind, {skipped} skipped")
    return int(bool(bad) or skipped == len(clients))


if __name__ == "__main__":
    sys.exit(main())
