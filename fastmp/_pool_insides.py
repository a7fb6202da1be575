"""Pools whose insides other people's code changes: what of the standard Pool's machinery they can still take hold of.

Called by: `fastmp.pool`. Two ways are known, and both are kept:

- a subclass that replaces a private method, such as `_setup_queues` for queues that pickle in a way of their own
  (joblib's), or `_repopulate_pool` for workers of its own: it gets the standard library's engine, over fastmp's
  processes, pipes and locks;
- a function that makes its own result object and puts a series of tasks for it into `_taskqueue`.
"""

from __future__ import annotations

import threading
from multiprocessing import pool as _pool
from types import FunctionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from . import _core
    from .pool import Pool

    _Task = tuple[int, int, Callable[..., Any], tuple[Any, ...], dict[str, Any]]
    _Outcome = tuple[bool, Any]

__all__ = ["Cache", "StandardPool", "TaskQueue", "changes_insides"]

_standard: Any = _pool.Pool
_METHODS = (FunctionType, staticmethod, classmethod)
INSIDES = {
    name
    for name, value in vars(_standard).items()
    if isinstance(value, _METHODS) and name.startswith("_") and not name.startswith("__") and name != "_check_running"
}


def changes_insides(cls: type) -> bool:
    """Return whether a class replaces a private method of the standard Pool."""
    return any(name in INSIDES and isinstance(value, _METHODS) for name, value in vars(cls).items())


class StandardPool(_standard):  # type: ignore[misc]
    """The standard library's engine, on queues whose ends are connections: a subclass may close and use them."""

    def _setup_queues(self) -> None:
        from ._queue_insides import StandardSimpleQueue  # which other pools need not import

        self._inqueue, self._outqueue = (StandardSimpleQueue(ctx=self._ctx) for _ in range(2))
        self._quick_put, self._quick_get = self._inqueue._writer.send, self._outqueue._reader.recv  # type: ignore[attr-defined]


class Cache(dict[int, object]):
    """A pool's calls that are not done, by number, as they were when it was asked; a stranger may enter his own."""

    def __init__(self, crew: _core.Crew, strangers: dict[int, Any]) -> None:
        super().__init__({job._job: job for job in crew.job_list()} | strangers)
        self._strangers = strangers

    def __setitem__(self, number: int, result: Any) -> None:
        self._strangers[number] = result
        super().__setitem__(number, result)

    def __delitem__(self, number: int) -> None:
        self._strangers.pop(number, None)
        super().__delitem__(number)


class TaskQueue:
    """A pool's `_taskqueue`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def qsize(self) -> int:
        """Return how many calls have tasks which are not sent yet."""
        return self._pool._crew.waiting

    def empty(self) -> bool:
        """Return whether there is none."""
        return not self._pool._crew.backlog

    def put(self, series: tuple[Iterable[_Task], Callable[[int], object] | None]) -> None:
        """Have a series of tasks done: each is (result's number, index, function, args, kwds).

        Outcomes are handed to the result that is entered in the pool's `_cache` under this number; at the end their
        count is handed to the second part of the series.
        """
        thread = threading.Thread(target=_carry, args=(self._pool, *series), name="fastmp-series", daemon=True)
        thread.start()


def _carry(pool: Pool, tasks: Iterable[_Task], set_length: Callable[[int], object] | None) -> None:
    count = 0
    for number, index, outcome in pool.imap_unordered(_run_task, tasks):
        count += 1
        result = pool._strangers.get(number)
        if result is not None:
            result._set(index, outcome)
    if set_length is not None:
        set_length(count)


def _run_task(task: _Task) -> tuple[int, int, _Outcome]:
    """In the worker: as the standard library's worker does it."""
    number, index, func, args, kwds = task
    try:
        return number, index, (True, func(*args, **kwds))
    except Exception as error:
        return number, index, (False, _pool.ExceptionWithTraceback(error, error.__traceback__))  # type: ignore[attr-defined]
