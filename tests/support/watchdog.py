"""A time limit that works even when a test hangs in C with the GIL held.

The limit is kept by a process outside the tested one, because a thread inside it would be seen by the code under
test: CPython 3.12 and later warn when a process with a second thread forks. Used by tests/conftest.py only.

Run as a program it is that process: it reads one line per limit (seconds, or 0 for none) from a pipe. When a limit runs
out it sends SIGABRT, on which faulthandler prints all stacks, and SIGKILL where that did not help.
"""

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

GRACE_SECONDS = 10


class Watchdog:
    """The tested process's handle on its watchdog."""

    def __init__(self) -> None:
        reader, self._writer = os.pipe()
        # Through a shell that exits at once: the watchdog must not be a child of the tested process.
        command = f'"{sys.executable}" -I "{__file__}" {os.getpid()} {reader} &'
        subprocess.run(["/bin/sh", "-c", command], pass_fds=(reader,), stdout=subprocess.DEVNULL, check=True)
        os.close(reader)

    def limit(self, seconds: float) -> None:
        """Allow so many seconds from now; 0 takes the limit away."""
        os.write(self._writer, f"{seconds}\n".encode())

    def close(self) -> None:
        """Let the watchdog go."""
        os.close(self._writer)


def watch(pid: int, pipe: int) -> None:
    """Keep the limits until the watched process is gone or closes the pipe."""
    pidfd = os.pidfd_open(pid)
    deadline = float("inf")
    while True:
        left = None if deadline == float("inf") else max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([pipe, pidfd], [], [], left)
        if pidfd in ready:
            return
        if not ready:
            end(pidfd)
            return
        data = os.read(pipe, 4096)
        if not data:
            return
        seconds = float(data.split()[-1])
        deadline = time.monotonic() + seconds if seconds else float("inf")


def end(pidfd: int) -> None:
    """End a process that is over its limit, with its stacks if it can still print them."""
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGABRT)
        if not select.select([pidfd], [], [], GRACE_SECONDS)[0]:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)


if __name__ == "__main__":
    watch(int(sys.argv[1]), int(sys.argv[2]))
