"""Many episodes, each in a process of its own with a time limit, until the time or the kills are used up.

Called by: run.py, which has seen to it that the right fastmp is imported.
"""

import argparse
import json
import os
import random
import re
import select
import tempfile
import time
from collections import Counter
from typing import Any

from episode import KILLS, WORLDS, Report, be_episode, choose
from groups import adopt_orphans, end_group, kill_group, reap_all
from stage import SLOW_SECONDS

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


def run_episode(names: list[str], seed: int, kills: int, storm: bool) -> Report:
    """Play one in a new process, in a session of its own."""
    read_end, write_end = os.pipe()
    with tempfile.TemporaryFile() as errors:
        pid = os.fork()
        if pid == 0:
            be_episode(write_end, errors.fileno(), names, seed, kills, storm)
        os.close(write_end)
        report = None
        try:
            report = read_report(read_end, EPISODE_SECONDS)
        finally:
            os.close(read_end)
            if report is None:
                kill_group(pid)
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


class Season:
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
        report = run_episode(names, seed, self.arguments.each or KILLS, self.arguments.storm)
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


def play_season(arguments: argparse.Namespace) -> dict[str, Any]:
    """What `arguments` of run.py ask for; the summary."""
    unknown = set(arguments.worlds) - set(WORLDS)
    if unknown:
        raise SystemExit(f"there is no world {', '.join(unknown)}; there are {', '.join(WORLDS)}")
    adopt_orphans()
    season = Season(arguments)
    if arguments.episode is not None:
        season.play(arguments.worlds, arguments.episode)
    else:
        season.play_all()
    return season.summary()
