"""What a test may leave behind: nothing. Snapshots of this process, and what has been added since.

Used by tests/conftest.py around every test, and by tests that look at another process's remains.
"""

import gc
import multiprocessing
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# Started once by the standard library for the whole life of the process, by tests of spawn and forkserver.
STANDARD_HELPERS = ("resource_tracker", "forkserver")
# The process's region is made with its first object, and stays for its whole life.
REGION = "/memfd:fastmp (deleted)"


@dataclass(frozen=True)
class Snapshot:
    """Everything of one moment that must be the same, or less, a moment later."""

    children: frozenset[int]
    threads: frozenset[str]
    native_threads: int
    descriptors: tuple[str, ...]
    shared_files: frozenset[str]


def command_line(pid: int) -> str:
    """The command line of a process, empty for one that is gone or a zombie."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def parent_of(pid: int) -> int | None:
    """The parent's pid, or None for a process that is gone."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return None


def all_pids() -> list[int]:
    """Every process of this machine."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def children() -> frozenset[int]:
    """This process's children, zombies too, without the standard library's own helpers."""
    try:
        lists = [path.read_text() for path in Path("/proc/self/task").glob("*/children")]
    except OSError:  # a thread that has just ended
        lists = []
    mine = {int(pid) for line in lists for pid in line.split()}
    if not lists:  # a kernel without these files
        mine = {pid for pid in all_pids() if parent_of(pid) == os.getpid()}
    return frozenset(pid for pid in mine if not any(name in command_line(pid) for name in STANDARD_HELPERS))


def descriptors(pid: int | str = "self") -> tuple[str, ...]:
    """What each open descriptor leads to, sorted, without the numbers that make pipes and sockets unique."""
    targets = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(OSError):
            targets.append(os.readlink(f"/proc/{pid}/fd/{name}").partition(":[")[0])
    return tuple(sorted(target for target in targets if not target.startswith("/proc/")))


def shared_files() -> frozenset[str]:
    """The names in /dev/shm; none where there is no such folder."""
    with suppress(OSError):
        return frozenset(os.listdir("/dev/shm"))
    return frozenset()


def snapshot() -> Snapshot:
    """This moment."""
    return Snapshot(
        children=children(),
        threads=frozenset(f"{thread.name} ({thread.ident})" for thread in threading.enumerate()),
        native_threads=len(os.listdir("/proc/self/task")),
        descriptors=descriptors(),
        # Other programs of this machine use the standard library's semaphores: their names come and go at any time.
        shared_files=frozenset(name for name in shared_files() if not name.startswith("sem.mp-")),
    )


def added(before: Snapshot, after: Snapshot) -> list[str]:
    """One line for each thing that is there now and was not before."""
    lines = [f"child process {pid}: {command_line(pid) or 'a zombie'}" for pid in after.children - before.children]
    lines += [f"thread {thread}" for thread in after.threads - before.threads]
    if after.native_threads > before.native_threads and after.threads <= before.threads:
        lines.append(f"{after.native_threads - before.native_threads} threads that Python does not know")
    rest = list(before.descriptors)
    if REGION not in rest:
        rest.append(REGION)
    for target in after.descriptors:
        rest.remove(target) if target in rest else lines.append(f"descriptor of {target}")
    lines += [f"/dev/shm/{name}" for name in after.shared_files - before.shared_files]
    return lines


def left_since(before: Snapshot, grace_seconds: float = 3.0) -> list[str]:
    """What is still left when things had a moment to end by themselves."""
    deadline = time.monotonic() + grace_seconds
    while lines := added(before, snapshot()):
        if time.monotonic() > deadline:
            break
        gc.collect()
        multiprocessing.active_children()  # reaps those that have ended, as the next Process would
        time.sleep(0.02)
    return lines


def pids_with_environment(entry: str) -> list[int]:
    """The living processes that were started with `NAME=value` in their environment."""
    wanted = entry.encode()
    found = []
    for pid in all_pids():
        with suppress(OSError):
            if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
    return found
