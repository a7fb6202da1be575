"""A long run of mixed traffic: memory, descriptors and throughput over time, as JSON and as a plot.

Called by `make soak MINUTES=5`. Exit code 1 where memory, shared memory, blocks, descriptors or processes trend upwards
(trend.py), or a process of the run fails. Writes soak.json and soak.svg into the folder `--out`.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path += [str(HERE.parent / "crash"), str(ROOT)]  # a fastmp that is installed comes before the tree's

from parts import Parts  # noqa: E402
from plot import of_run  # noqa: E402
from trend import trend_of  # noqa: E402

from fastmp import _core  # noqa: E402

#: What must not grow, and the growth over a run that is too little to tell.
MUST_NOT_GROW = {
    "resident": 4 << 20,
    "region_backed": 32 << 20,
    "region_in_use": 32 << 20,
    "blocks": 40,
    "descriptors": 3,
    "processes": 3,
}
#: How long a part has to end.
PATIENCE = 60.0


def resident(pid: int) -> int:
    """The memory of a process that it does not share, in bytes."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0


def descriptors(pid: int) -> int:
    with suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process and of its children that it has reaped."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def processes_of_session() -> int:
    """How many processes the run has."""
    count = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            count += int(fields[3]) == os.getsid(0)
    return count


class Samples:
    """What has been seen, a list for each quantity."""

    def __init__(self, parts: Parts, pids: list[int]) -> None:
        self.parts, self.pids = parts, [os.getpid(), *pids]
        self.start = time.monotonic()
        self.operations = self.cpu = 0.0
        self.values: dict[str, list[float]] = {}

    def take(self) -> None:
        """One sample of everything."""
        stats, cpu = _core.heap_stats(), sum(map(cpu_seconds, self.pids))
        operations = sum(self.parts.notes[number] for number in range(len(self.parts.bodies)))
        sample = {
            "seconds": time.monotonic() - self.start,
            "resident": sum(map(resident, self.pids)),
            "region_backed": stats["bytes_backed"],
            "region_in_use": stats["bytes_in_use"],
            "blocks": stats["owned"] + stats["transit"] + stats["shared"],
            "descriptors": sum(map(descriptors, self.pids)),
            "processes": processes_of_session(),
            "operations_per_cpu_second": (operations - self.operations) / max(cpu - self.cpu, 0.01),
        }
        self.operations, self.cpu = operations, cpu
        for name, value in sample.items():
            self.values.setdefault(name, []).append(round(value, 2))


def run(minutes: float) -> dict[str, Any]:
    """The run itself."""
    parts = Parts()
    processes = parts.start()
    samples = Samples(parts, [process.pid for process in processes])
    period = max(0.25, minutes * 60 / 600)
    problems = []
    while time.monotonic() - samples.start < minutes * 60:
        time.sleep(period)
        samples.take()
        problems = [f"{process.name} ended" for process in processes if process.exitcode is not None]
        if problems:
            break
    parts.stop()
    for process in processes:
        process.join(PATIENCE)
        if process.exitcode != 0:
            problems.append(f"{process.name}: exit code {process.exitcode}")
            process.kill()
    counts = {f"{number} {name}": parts.notes[number] for number, name in enumerate(parts.names())}
    return {"minutes": minutes, "counts": counts, "problems": problems, "samples": samples.values}


def judge(found: dict[str, Any]) -> list[str]:
    """What grows."""
    grown, samples = [], found["samples"]
    found["trends"] = {}
    for name, at_least in MUST_NOT_GROW.items():
        trend = trend_of(samples["seconds"], samples[name])
        found["trends"][name] = {"growth": round(trend.growth), "sureness": round(trend.sureness, 1)}
        if trend.is_upward(at_least):
            grown.append(f"{name} grows: by {trend.growth:,.0f} to a median of {trend.level:,.0f}")
    return grown


def main() -> int:
    """Run, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "soak")
    arguments = parser.parse_args()
    with suppress(PermissionError):  # it leads a session already
        os.setsid()
    gc.collect()
    found = run(arguments.minutes)
    found["about"] = f"Python {platform.python_version()}, Linux {platform.release()}, {os.cpu_count()} CPUs"
    wrong = [*judge(found), *found["problems"]]
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "soak.json").write_text(json.dumps(found) + "\n")
    (arguments.out / "soak.svg").write_text(of_run(found))
    total = sum(found["counts"].values())
    print(f"{total:,} operations in {arguments.minutes:g} min: {found['counts']}")
    print(f"trends: {found['trends']}")
    print("\n".join([*wrong, f"soak: {len(wrong)} wrong; {arguments.out}"]))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
