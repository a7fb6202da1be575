"""A signal to a process and to all that it has started, and they have started in turn.

A process could start others while its children are being counted, so each is stopped before that. What was found is
told by a descriptor (pidfd), so that no signal reaches another process that has got the same pid since.

Not found are those that have another parent by now: their own has ended (a daemon that has "double-forked").

Called by: `fastmp/process.py`, `fastmp/pool.py`, `fastmp/concurrent/futures/process.py`.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from . import _core
from .popen_fork import Popen, readable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


__all__ = ["send_signal"]

#: Seconds to wait for a process to stop.
PATIENCE = 1.0


def send_signal(process: Any, number: int) -> None:
    """Send the signal to a process that was started here, and to its descendants; nothing if it has ended."""
    popen = process._popen
    if popen.poll() is not None:
        return
    with ExitStack() as stack:
        if isinstance(popen, Popen):
            pidfd = popen._pidfd()
        else:  # the standard library's
            pidfd = _core.pidfd_open(popen.pid)
            stack.callback(os.close, pidfd)
        _send(popen.pid, pidfd, number, stack)


def _send(pid: int, pidfd: int, number: int, stack: ExitStack) -> None:
    tree = {pid: pidfd}
    try:
        _signal(pidfd, signal.SIGSTOP)
        if readable(pidfd, 0):
            return  # it has ended meanwhile, and its children are another's
        while _add_children(tree, stack):
            pass  # these may have children, and there may have been more than were shown while some were ending
        _signal_all(tree, number)
    finally:
        _signal_all(tree, signal.SIGCONT)


def _add_children(tree: dict[int, int], stack: ExitStack) -> int:
    """Return how many there were that were not in the tree."""
    for pid in tree:
        _settle(pid)
    found = [(child, parent) for parent in tree for child in _children(parent)]
    return sum(_add(child, parent, tree, stack) for child, parent in found)


def _add(pid: int, parent: int, tree: dict[int, int], stack: ExitStack) -> bool:
    """Stop a child of `parent` and put it into the tree; False if it is there already, or gone."""
    if pid in tree:
        return False
    try:
        pidfd = _core.pidfd_open(pid)
    except ProcessLookupError:
        return False
    if _parent_of(pid) != parent:  # another process by now
        os.close(pidfd)
        return False
    tree[pid] = pidfd
    stack.callback(os.close, pidfd)
    _signal(pidfd, signal.SIGSTOP)
    return True


def _signal_all(tree: dict[int, int], number: int) -> None:
    for pidfd in tree.values():
        _signal(pidfd, number)


def _signal(pidfd: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # it has ended; it runs as another user
        signal.pidfd_send_signal(pidfd, number)


def _settle(pid: int) -> None:
    """Wait, but not for ever, until no thread of it runs: a fork that is under way is ended first."""
    end = time.monotonic() + PATIENCE
    while not all(_state(f"{pid}/task/{thread}") in "TtZX" for thread in _numbers(f"/proc/{pid}/task")):
        if time.monotonic() > end:
            break  # it cannot be stopped: it waits for a device, or is another user's
        time.sleep(0.0005)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for thread in _numbers(f"/proc/{pid}/task"):
        try:
            found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
        except OSError:  # the thread has ended, or the kernel has no such file
            return [child for child in _numbers("/proc") if _parent_of(child) == pid]
    return found


def _numbers(folder: str) -> list[int]:
    with suppress(OSError):
        return [int(name) for name in os.listdir(folder) if name.isdigit()]
    return []


def _parent_of(pid: int) -> int:
    return int(_stat(str(pid))[1])


def _state(task: str) -> str:
    return _stat(task)[0]


def _stat(task: str) -> list[str]:
    """Return state, parent and the rest; of one that is gone, that it is dead."""
    try:
        return Path(f"/proc/{task}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ["X", "0"]
