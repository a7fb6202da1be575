"""What fastmp raises and warns of beyond the standard library's own exceptions.

Called by: the pool and the executor (`WorkerDied`, `TaskFailed`), every lock (`OwnerDied`).
"""

import signal

__all__ = ["OwnerDied", "TaskFailed", "WorkerDied"]


class OwnerDied(RuntimeWarning):
    """A lock was taken over from a process that was killed while it held it.

    What the lock guards may be half changed. ``warnings.simplefilter("error", fastmp.OwnerDied)`` makes it an error.
    """


class TaskFailed(RuntimeError):
    """A task raised an exception that does not unpickle in this process; its `__cause__` has the traceback.

    :param type_name: the exception's class
    :param text: `str` of the exception
    :param problem: what happened when it was unpickled
    """

    def __init__(self, type_name: str, text: str, problem: str) -> None:
        super().__init__(type_name, text, problem)
        self.type_name = type_name
        self.text = text
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.type_name}: {self.text} (the exception does not unpickle: {self.problem})"


class WorkerDied(RuntimeError):
    """A worker process ended in the middle of a task; that task has no result.

    :param pid: the worker's process id
    :param exitcode: as `Process.exitcode`: -N for signal N; None if it is not known
    :param task: what it was doing, in words

    `indices` is the range of items that a call of `map_native` has lost, None for other calls.
    """

    indices: range | None = None

    def __init__(self, pid: int, exitcode: int | None, task: str) -> None:
        super().__init__(pid, exitcode, task)
        self.pid = pid
        self.exitcode = exitcode
        self.task = task

    @property
    def signal(self) -> int | None:
        """The number of the signal that killed the worker, or None if it ended by itself."""
        return -self.exitcode if self.exitcode is not None and self.exitcode < 0 else None

    def __str__(self) -> str:
        return f"worker process {self.pid} {_ending(self.exitcode)} in {self.task}"


def _ending(exitcode: int | None) -> str:
    """How a process ended, in words."""
    if exitcode is None:
        return "ended"
    if exitcode >= 0:
        return f"ended with exit code {exitcode}"
    try:
        return f"was killed by {signal.Signals(-exitcode).name}"
    except ValueError:
        return f"was killed by signal {-exitcode}"
