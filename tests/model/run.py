"""`make model`: search all states of the protocols' models with spin, and show that each broken variant is found.

A run of a sound model passes if the search was complete and found no error; a run of a broken variant passes if an
assertion failed or a cycle without progress was found. All that spin writes goes to a temporary directory.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from runs import RUNS, Run

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SECONDS = 170  # for one search; the longest takes a tenth of that on an idle core
MEGABYTES = 1900  # for one search; two run at a time
DEPTH = 20_000  # steps of the longest run; the models need less than 1000, and a search that needs more is not complete
TOOLS = ("spin", "gcc")
VARIANT = re.compile(r"\bBROKEN_\w+")
STANDS_FOR = re.compile(r"^ \* Stands for: (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """What became of a run."""

    run: Run
    states: int
    verdict: str
    passed: bool
    seconds: float


def missing_tools() -> list[str]:
    """Those of the tools that this machine does not have."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def forgotten() -> list[str]:
    """Models without a sound run or without a broken one, and broken variants that no run checks."""
    missing = []
    for path in sorted(HERE.glob("*.pml")):
        runs = [run for run in RUNS if run.model == path.stem]
        missing += [f"{path.stem}: no run" for broken in (True, False) if broken not in {run.is_broken for run in runs}]
        checked = {define for run in runs for define in run.defines.split()}
        missing += [f"{path.stem}: {name}" for name in sorted(set(VARIANT.findall(path.read_text())) - checked)]
    return missing


def unfounded() -> list[str]:
    """Models that do not name the functions they stand for, and names that are in no such file any more."""
    wrong = []
    for path in sorted(HERE.glob("*.pml")):
        named = STANDS_FOR.search(path.read_text())
        wrong += [] if named else [f"{path.stem}: stands for nothing"]
        for part in named[1].split("; ") if named else []:
            source, _, functions = part.partition(": ")
            text = (ROOT / source).read_text() if (ROOT / source).exists() else ""
            gone = [name for name in functions.split() if not re.search(rf"^{name}\(", text, re.MULTILINE)]
            wrong += [f"{path.stem}: {name} is not in {source}" for name in gone]
    return wrong


def build(run: Run, folder: Path) -> None:
    """Make the verifier `pan` of one run."""
    defines = [f"-D{define}" for define in run.defines.split()]
    subprocess.run(["spin", "-a", *defines, HERE / f"{run.model}.pml"], cwd=folder, check=True, capture_output=True)
    kind = "-DNP" if run.cycles else "-DSAFETY"
    effort = "-O2" if run.large else "-O0"
    options = [effort, "-w", kind, "-DVECTORSZ=2048", f"-DMEMLIM={MEGABYTES}"]
    subprocess.run(["gcc", *options, "-o", "pan", "pan.c"], cwd=folder, check=True, capture_output=True)


def search(run: Run, folder: Path) -> str:
    """Run the verifier; what it printed."""
    table = 18 if run.is_broken else 23  # log2 of the hash table's size to begin with
    # -E: a process that waits for ever is judged by the model itself, which knows who may.
    command = ["./pan", "-E", f"-m{DEPTH}", f"-w{table}", *(["-l"] if run.cycles else [])]
    done = subprocess.run(command, cwd=folder, text=True, capture_output=True, timeout=SECONDS)
    return done.stdout + done.stderr


def judge(run: Run, report: str) -> tuple[str, bool]:
    """The verdict on a run, and whether it is the one that the run must have."""
    errors = re.search(r"errors: (\d+)", report)
    fault = re.search(r"pan:1: (assertion violated|non-progress cycle)", report)
    complete = "Search not completed" not in report and "depth too small" not in report and "MEMLIM" not in report
    if errors is None:
        return "no result", False
    if int(errors[1]) > 0:
        return (fault[1], run.is_broken) if fault else ("error", False)
    if not complete:
        return "not complete", False
    return "no error", not run.is_broken


def check(run: Run) -> Outcome:
    """Build and search one run in a directory of its own."""
    start = time.monotonic()
    states = 0
    with tempfile.TemporaryDirectory(prefix="fastmp-model-") as folder:
        try:
            build(run, Path(folder))
            report = search(run, Path(folder))
        except subprocess.TimeoutExpired:
            verdict, passed = f"no end in {SECONDS} s", False
        except subprocess.CalledProcessError as error:
            verdict, passed = f"{Path(error.cmd[0]).name} failed: {error.stdout!r} {error.stderr!r}", False
        else:
            verdict, passed = judge(run, report)
            stored = re.search(r"(\d+(?:\.\d+)?(?:e\+\d+)?) states, stored", report)
            states = int(float(stored[1])) if stored else 0
    return Outcome(run, states, verdict, passed, time.monotonic() - start)


def line(*columns: object) -> str:
    """One row of the table."""
    model, what, states, result, seconds = columns
    return f"{model!s:<11} {what!s:<31} {states!s:>11}  {result!s:<32} {seconds!s:>7}"


def show(outcome: Outcome) -> None:
    """Print the row of one run as soon as it is known."""
    run = outcome.run
    what = f"BROKEN {run.what}" if run.is_broken else run.what
    result = f"{'pass' if outcome.passed else 'FAIL'}: {outcome.verdict}"
    print(line(run.model, what, f"{outcome.states:,}", result, f"{outcome.seconds:.1f}"), flush=True)


def main() -> int:
    """Check all runs; 0 if all passed, 1 if not, 2 if a tool is missing."""
    for tool in missing_tools():
        print(f"install {tool}: apt-get install {tool}", file=sys.stderr)
        return 2
    unchecked = forgotten() + unfounded()
    for name in unchecked:
        print(f"FAIL: {name}")
    print(line("model", "variant", "states", "result", "seconds"))
    failed = len(unchecked)
    with ThreadPoolExecutor(2) as pool:
        for outcome in pool.map(check, RUNS):
            show(outcome)
            failed += not outcome.passed
    print(f"{len(RUNS) + len(unchecked) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
