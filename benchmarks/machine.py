"""Where and with what a run was made: the metadata of its JSON. Called by `__main__`."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from .backends import version
from .runner import ROOT


def describe(backends: tuple[str, ...]) -> dict[str, Any]:
    """Return the machine, the kernel, the versions and the commit."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "numpy": numpy_version(),
        "versions": {name: version(name) for name in backends},
        "commit": commit(),
    }


def cpu_model() -> str:
    """Return the processor's name."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def numpy_version() -> str | None:
    """Return numpy's version, None if it is not there."""
    try:
        return metadata.version("numpy")
    except metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """Return the commit of the source folder, with a + if files differ from it; None without git."""
    command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+"]
    with suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    return None
