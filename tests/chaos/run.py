"""Random killing: processes at work on every kind of object are killed, stopped and followed by others, at random.

Called by `make chaos`. A developer runs `python tests/chaos/run.py queue lock` (those worlds only), with `--seconds` or
`--kills` for how long, and `--seed`: it determines each episode's seed, worlds and plan. One episode again: `--episode
SEED queue` with what the failure has printed. What is checked: everybody alive makes progress, nothing arrives twice or
out of order, no more is lost than the dead had in hand, what a lock guards is whole, and afterwards the memory is back,
the descriptors are, and nobody is left. Ends with `N episodes, N kills, ... N failed`.
"""

import argparse
import json
import os
import random
import re
import select
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent / "crash")]

from episode import KILLS, WORLDS, Report, be_episode, choose  # noqa: E402
from stage import SLOW_SECONDS  # noqa: E402

EPISODE_SECONDS = 120.0
FAILURES_AT_MOST = 5


def read_report(read_end: int, seconds: float) -> Report | None:
    """What an episode has written, or None if it has not in time; orphans are reaped meanwhile."""
    poller = select.poll()
    poller.register(read_end, select.POLLIN)
    deadline = time.monotonic() + seconds
    data = b""
    while time.monotonic() < deadline:
        if poller.poll(50):
            part = os.read(read_end, 1 << 16)
            data += part
            if not part:
                break
        reap_all()
    return Report(**json.loads(data)) if data else None


def reap_all() -> None:
    """Orphans of the episodes are this process's children."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass


def group_is_gone(group: int) -> bool:
    """Whether nobody of an episode lives."""
    reap_all()
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def end_group(group: int, patience: float) -> bool:
    """Whether all of an episode have ended by themselves; all are killed."""
    deadline = time.monotonic() + patience
    while not group_is_gone(group):
        if time.monotonic() > deadline:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
            while not group_is_gone(group):
                time.sleep(0.005)
            return False
        time.sleep(0.002)
    return True


def run_episode(names: list[str], seed: int, kills: int) -> Report:
    """Play one in a new process, in a session of its own."""
    read_end, write_end = os.pipe()
    with tempfile.TemporaryFile() as errors:
        pid = os.fork()
        if pid == 0:
            be_episode(write_end, errors.fileno(), names, seed, kills)
        os.close(write_end)
        report = None
        try:
            report = read_report(read_end, EPISODE_SECONDS)
        finally:
            os.close(read_end)
            if report is None:
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGCONT)
                    os.killpg(pid, signal.SIGUSR1)
                    time.sleep(0.5)
            alone = end_group(pid, 0 if report is None or report.error else 10)
        if report is None:
            report = Report(episodes=1, error=f"no report within {EPISODE_SECONDS:.0f} s, or died")
        elif not alone and not report.error:
            report.error = "a process was left behind"
        if report.error:
            errors.seek(0)
            report.error += shortened(errors.read().decode(errors="replace"))[-12_000:]
    return report


def shortened(stacks: str) -> str:
    """Without the frames that are the same in each."""
    return re.sub(r"(  File .*popen_fork.py.*\n)(  File .*\n)+", "", stacks)


class Run:
    """All episodes of a run."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.total, self.failed, self.slow = Report(), 0, 0
        self.kills_of: Counter[str] = Counter()
        self.started = time.monotonic()

    def is_over(self) -> bool:
        if self.failed >= FAILURES_AT_MOST:
            return True
        if self.arguments.kills is not None:
            return bool(self.total.kills >= self.arguments.kills)
        return time.monotonic() - self.started >= self.arguments.seconds

    def play(self, names: list[str], seed: int) -> None:
        """One episode, and what it has shown."""
        report = run_episode(names, seed, self.arguments.each)
        self.total.add(report)
        self.kills_of["+".join(names) if len(names) == 1 else "several"] += report.kills
        self.slow += report.longest > SLOW_SECONDS
        if report.longest > SLOW_SECONDS:
            print(f"slow {' '.join(names)}: {report.longest:.1f} s without progress, --episode {seed}", flush=True)
        if report.error:
            self.failed += 1
            print(f"FAIL {' '.join(names)}: again with --episode {seed} {' '.join(names)}")
            print("plan: " + "; ".join(report.plan))
            print(report.error, flush=True)
        elif self.arguments.verbose:
            longest = f"{report.longest:.2f} s longest, {report.starts} processes"
            print(f"ok   {' '.join(names)} {seed}: {report.kills} kills, {longest}", flush=True)

    def play_all(self) -> None:
        names = self.arguments.worlds or list(WORLDS)
        draw = random.Random(self.arguments.seed)
        while not self.is_over():
            seed = draw.randrange(1 << 40)
            self.play(choose(random.Random(seed), names), seed)

    def summary(self) -> dict[str, Any]:
        """For people, and for `--json`."""
        seconds = time.monotonic() - self.started
        kinds = ("episodes", "kills", "stops", "starts", "turns")
        numbers: dict[str, Any] = {name: getattr(self.total, name) for name in kinds}
        return numbers | {
            "seed": self.arguments.seed,
            "seconds": round(seconds, 1),
            "kills_per_second": round(self.total.kills / seconds, 1),
            "longest_without_progress": round(self.total.longest, 3),
            "slow": self.slow,
            "failed": self.failed,
            "kills_of": dict(sorted(self.kills_of.items())),
        }


def main() -> int:
    """Play until the time or the kills are used up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("worlds", nargs="*", choices=[*WORLDS, []], help="only these worlds")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--kills", type=int, help="so many, however long it takes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--each", type=int, default=KILLS, help="kills of one episode")
    parser.add_argument("--episode", type=int, help="the one episode with this seed, of the worlds named")
    parser.add_argument("--json", type=Path, help="write the summary there")
    parser.add_argument("--verbose", action="store_true", help="a line for each episode")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    from case import adopt_orphans

    adopt_orphans()
    run = Run(arguments)
    if arguments.episode is not None:
        run.play(arguments.worlds, arguments.episode)
    else:
        run.play_all()
    found = run.summary()
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    by_world = ", ".join(f"{name} {count}" for name, count in found["kills_of"].items())
    print(f"kills by world: {by_world}")
    print(
        "{episodes} episodes, {kills} kills, {stops} stops, {starts} processes, {turns} turns in {seconds} s "
        "({kills_per_second} kills/s), longest {longest_without_progress} s without progress, {failed} failed".format(
            **found
        )
    )
    return int(run.failed > 0 or run.total.kills == 0)


if __name__ == "__main__":
    sys.exit(main())
