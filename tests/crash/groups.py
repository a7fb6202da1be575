"""All processes of a case, or of an episode of tests/chaos: they are a process group, and orphans are the runner's.

Called by: case.py, run.py, tests/chaos/season.py.
"""

import ctypes
import os
import signal
import time
from contextlib import suppress

PR_SET_CHILD_SUBREAPER = 36  # <sys/prctl.h>


def adopt_orphans() -> None:
    """From now on orphans of the groups are children of this process, which reaps them."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def reap_all() -> None:
    """Whoever of this process's children has ended is no zombie any more."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass


def kill_group(group: int) -> None:
    """Each process first tells where it is."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGCONT)
        os.killpg(group, signal.SIGUSR1)
        time.sleep(0.5)
        os.killpg(group, signal.SIGKILL)


def end_group(group: int, patience: float) -> bool:
    """Whether all of a group have ended by themselves within so many seconds; the others are killed."""
    deadline = time.monotonic() + patience
    alone = True
    while not _is_gone(group):
        if time.monotonic() > deadline:
            alone = False
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        time.sleep(0.002)
    return alone


def _is_gone(group: int) -> bool:
    reap_all()
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False
