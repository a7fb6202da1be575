"""A forked child that runs one function, for tests below the level of `Process`."""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any


@dataclass
class Child:
    """A child of this process; `status` is the exit code, negative for a signal, once it was waited for."""

    pid: int
    status: int | None = None

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Reap it; its status."""
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status


def run_in_child(body: Callable[..., object], args: tuple[Any, ...]) -> None:
    """In the child: never returns."""
    code = 1
    try:
        signal.setitimer(signal.ITIMER_REAL, 0)
        body(*args)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


@contextmanager
def forked(body: Callable[..., object], *args: Any) -> Iterator[Child]:
    """`body(*args)` in a child, which is killed and reaped at the end if the block has not waited for it."""
    pid = os.fork()
    if pid == 0:
        run_in_child(body, args)
    child = Child(pid)
    try:
        yield child
    finally:
        if child.status is None:
            with suppress(ProcessLookupError):
                child.kill()
            child.wait()
