"""What other people's code reads of an executor's insides, under the standard library's names.

Called by: `fastmp.concurrent.futures.process`. The executor has neither a manager thread nor a call queue; the objects
here answer for them.
"""

from __future__ import annotations

import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from concurrent.futures import Future

    from ... import _core

__all__ = ["CallQueue", "Manager", "PendingItem", "Wakeup"]


class Manager:
    """`executor._executor_manager_thread`: alive from the first call until all workers have ended."""

    name = "fastmp-executor"
    daemon = False

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []  # that work for the executor, if there are any

    def join(self, timeout: float | None = None) -> None:
        """Wait for the executor's end, for at most `timeout` seconds.

        :raises RuntimeError: in a thread that works for the executor
        """
        if self.is_mine():
            raise RuntimeError("cannot join current thread")
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._ended.wait(timeout):
            for thread in list(self._threads):
                thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))

    def is_alive(self) -> bool:
        """Whether there may be workers."""
        return not self._ended.is_set()

    def is_mine(self) -> bool:
        """Whether the calling thread works for the executor."""
        return threading.current_thread() in self._threads

    def add(self, thread: threading.Thread) -> None:
        """Let `join` wait for this thread too."""
        self._threads.append(thread)

    def end(self) -> None:
        """All workers have ended."""
        self._ended.set()


class Wakeup:
    """`executor._executor_manager_thread_wakeup`."""

    def __init__(self, crew: _core.Crew) -> None:
        self._crew = crew

    def wakeup(self) -> None:
        """Make whoever waits for results look again."""
        self._crew.poke()

    def clear(self) -> None:
        """Nothing to clear: a wake-up is not kept."""

    def close(self) -> None:
        """Nothing to close."""


class CallQueue:
    """`executor._call_queue`: the calls that were sent to the workers and are not answered."""

    def __init__(self, crew: _core.Crew) -> None:
        self._crew = crew

    def qsize(self) -> int:
        """Return how many calls were sent and are not answered."""
        return self._crew.in_flight

    def empty(self) -> bool:
        """Return whether there is none."""
        return self.qsize() == 0

    def close(self) -> None:
        """Nothing to close: it has no descriptors."""

    def join_thread(self) -> None:
        """Nothing to join: whoever submits a call sends it."""

    def cancel_join_thread(self) -> None:
        """Nothing to cancel."""


class PendingItem:
    """A value of `executor._pending_work_items`."""

    def __init__(self, future: Future[object]) -> None:
        self.future = future
