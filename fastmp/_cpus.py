"""How many workers a pool or an executor has if nobody says: as many as there are CPUs that this process may use.

That is what the affinity leaves, and no more than the CPU time that the control groups (of a container, say) allow,
which the standard library does not look at. `cpu_count` stays the standard library's. Called by: `fastmp/_workers.py`.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def usable_cpus() -> int:
    """Return how many CPUs this process may use, at least 1."""
    count: int = getattr(os, "process_cpu_count", _affinity)() or 1
    if _is_set_by_the_user():
        return count
    return min([count, *(max(1, math.ceil(quota)) for quota in _quotas())])


def _affinity() -> int:
    return len(os.sched_getaffinity(0))


def _is_set_by_the_user() -> bool:
    """Whether `-X cpu_count` or PYTHON_CPU_COUNT of 3.13 says how many there are to be."""
    in_environment = not sys.flags.ignore_environment and os.environ.get("PYTHON_CPU_COUNT")
    return sys.version_info >= (3, 13) and bool("cpu_count" in sys._xoptions or in_environment)


def _quotas() -> Iterator[float]:
    """The limits of this process's control groups and of those that they are in, in CPUs."""
    try:
        lines = OWN_CGROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" or "cpu" in controllers.split(","):
            root = CGROUPS if number == "0" else CGROUPS / "cpu"
            for folder in (root / path.lstrip("/"), *(root / parent for parent in Path(path.lstrip("/")).parents)):
                yield from _quota(folder)


def _quota(folder: Path) -> Iterator[float]:
    """The limit of one group: version 2 has it in one file, version 1 in two."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((folder / name).read_text() for name in names).split()
            if quota != "max" and int(quota) > 0 and int(period) > 0:
                yield int(quota) / int(period)
        except (OSError, ValueError):
            continue
