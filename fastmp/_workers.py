"""What pools and executors have in common about their worker processes.

Called by: `fastmp.pool`, `fastmp._pool_upkeep`, `fastmp.concurrent.futures.process`, and the main functions of their
workers.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import suppress
from multiprocessing.process import parent_process

from . import _core
from ._by_value import dumps_result
from ._errors import TaskFailed, WorkerDied
from .reduction import ForkingPickler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    _Owner = TypeVar("_Owner")


#: Seconds that a worker has to end when it was told to, before it is killed.
_PATIENCE = 5.0


def count_workers(wanted: int | None) -> int:
    """Return how many workers there are to be: `wanted`, or as many as there are CPUs to use.

    :raises ValueError: for less than 1
    """
    if wanted is None:
        from ._cpus import usable_cpus  # brings pathlib, which a program without a pool need not pay for

        return usable_cpus()
    if wanted < 1:
        raise ValueError("Number of processes must be at least 1")
    return wanted


def is_forking(ctx: Any) -> bool:
    """Whether the context's processes are forked; one that does not say so is taken for one whose are not."""
    return hasattr(ctx, "get_start_method") and ctx.get_start_method() == "fork"


def parent_to_follow() -> int | None:
    """In the parent, before a worker is made: whose end the kernel is to tell it; None if the kernel cannot.

    The kernel watches the *thread* that forks, so only the main thread, which lives as long as the process, will do.
    """
    return os.getpid() if threading.current_thread() is threading.main_thread() else None


def follow(parent: int | None) -> None:
    """In the worker: end when the parent ends, however it ends, and whatever the worker is doing then.

    The kernel sees to it, or where it cannot, a thread of C that sleeps until then. A worker that a fork server has
    made ends with the server, too.
    """
    try:
        if parent is not None:
            _core.die_with_parent(parent)
            return
    except ProcessLookupError:  # a fork server's child, or the parent has ended already
        pass
    sentinel = parent_sentinel()
    if sentinel >= 0:
        with suppress(OSError):  # no more threads: it still looks twice a second while it has nothing to do
            _core.follow(sentinel)


def parent_sentinel() -> int:
    """In the worker: a descriptor that polls readable when the parent has ended, -1 if there is none."""
    parent = parent_process()
    return -1 if parent is None else int(parent.sentinel)


def worker_died(process: Any) -> Callable[[Any, int], WorkerDied]:
    """Make the maker of errors for the tasks that were lost with a worker."""

    def make_error(job: Any, index: int) -> WorkerDied:
        func: Any = getattr(job, "_what", "a call")
        if hasattr(job, "_indices"):
            return _died_in_native(process, func.__name__, job._indices(index))
        return WorkerDied(process.pid, process.exitcode, f"task {index} of {getattr(func, '__qualname__', func)}")

    return make_error


def _died_in_native(process: Any, name: str, indices: range) -> WorkerDied:
    error = WorkerDied(process.pid, process.exitcode, f"{name}, items {indices.start} to {indices.stop - 1}")
    error.indices = indices
    return error


def weakly(ref: weakref.ref[_Owner], method: Callable[..., None]) -> Callable[..., None]:
    """Call `method` of the owner if it is still there: the crew does not keep its pool or executor alive."""

    def call(*args: Any) -> None:
        owner = ref()
        if owner is not None:
            method(owner, *args)

    return call


def send_exits(crew: _core.Crew, count: int) -> None:
    """Tell so many workers to end when the work before it is done."""
    for _ in range(count):
        crew.send_exit()


def end_worker(process: Any) -> None:
    """Join a worker that was told to end; kill it if it does not."""
    process.join(_PATIENCE)
    if process.exitcode is None:
        process.kill()
        process.join()


class CarriesText:
    """Before a class of exceptions with their tracebacks: one that does not unpickle becomes a `TaskFailed`."""

    exc: BaseException
    tb: str

    def __reduce__(self) -> tuple[Any, ...]:
        reduced: Any = super().__reduce__()
        rebuild, (error, text) = reduced
        kind = type(error)
        return _rebuild, (rebuild, dumps_result(error), text, _name_of(kind), _text_of(error))


def _name_of(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(it has no text: its __str__ fails)"


def _rebuild(
    rebuild: Callable[[BaseException, str], BaseException], pickled: bytes, text: str, type_name: str, its_text: str
) -> BaseException:
    """In the parent."""
    try:
        error = ForkingPickler.loads(pickled)
        if not isinstance(error, BaseException):
            raise TypeError(f"it became {type(error).__name__!r}, which is no exception")
    except Exception as problem:
        error = TaskFailed(type_name, its_text, f"{type(problem).__name__}: {_text_of(problem)}")
    return rebuild(error, text)
