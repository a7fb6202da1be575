"""ProcessPoolExecutor on fastmp's engine: submission, results and futures in C.

`submit` -> csrc/pool/feed.c -> the task ring -> csrc/pool/worker.c -> the result ring -> csrc/pool/deliver.c ->
csrc/py/future.c. Whoever waits for a future takes the results himself; a helper thread is started only when somebody
waits elsewhere (callbacks, `wait`, `as_completed`, asyncio) or when more calls are pending than the rings hold.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
import weakref
from concurrent.futures import Executor
from concurrent.futures import Future as _StandardFuture
from concurrent.futures import process as _process
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, Literal

from ... import _core
from ..._helper import start_helper
from ..._workers import (
    count_workers,
    end_worker,
    follow,
    parent_sentinel,
    parent_to_follow,
    send_exits,
    weakly,
    worker_died,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["BrokenProcessPool", "Future", "ProcessPoolExecutor"]

_standard: Any = _process  # its inner names have no declared types
_logger = logging.getLogger("concurrent.futures")
_executors: weakref.WeakSet[ProcessPoolExecutor] = weakref.WeakSet()
_interpreter_exits = False


_Base: Any = _StandardFuture  # it has attributes of the same names, which the C half replaces


class Future(_core.Future, _Base):  # type: ignore[misc]
    """A `concurrent.futures.Future` whose state lives in C."""

    def cancel(self) -> bool:
        """Cancel the call if no worker has begun it; False if one has, or if it is done."""
        if not self._try_cancel():
            return bool(self.cancelled())
        with self._condition:
            self._condition.notify_all()
        self._invoke_callbacks()
        return True

    def _announce(self) -> None:
        """The outcome is set: tell those who listen. Called by the C half."""
        with self._condition:
            for waiter in self._waiters:
                (waiter.add_result if self._success else waiter.add_exception)(self)
            self._condition.notify_all()
        self._invoke_callbacks()


# ---- in the worker ----


def _wrap_error(error: BaseException) -> Any:
    return _standard._ExceptionWithTraceback(error, error.__traceback__)


def _wrap_unpicklable(error: BaseException, value: Any) -> Any:
    if isinstance(value, _standard._ExceptionWithTraceback):
        error.__context__ = value.exc  # its text is in the traceback that is sent
    return _wrap_error(error)


def _work(
    crew: _core.Crew,
    place: int,
    initializer: Callable[..., object] | None,
    initargs: tuple[Any, ...],
    max_tasks: int | None,
    parent: int | None,
) -> None:
    """The main function of a worker process."""
    follow(parent)
    if initializer is not None:
        try:
            initializer(*initargs)
        except BaseException:
            _logger.critical("Exception in initializer:", exc_info=True)
            raise SystemExit(1) from None
    try:
        crew.work(place, max_tasks or 0, _wrap_error, _wrap_unpicklable, parent_sentinel())
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # the parent prints the traceback of the user's Ctrl-C


def _run_chunk(fn: Callable[..., Any], chunk: list[tuple[Any, ...]]) -> list[Any]:
    return [fn(*args) for args in chunk]


# ---- in the parent ----


class ProcessPoolExecutor(Executor):
    """An executor on worker processes.

    :param max_workers: how many workers; by default as many as there are CPUs to use
    :param mp_context: the multiprocessing context of the workers
    :param initializer: called with `initargs` in each worker; if it raises, the executor is broken
    :param max_tasks_per_child: a worker is replaced after so many calls
    :param on_worker_death: "break": a worker that dies breaks the executor, as in the standard library; "fail-task":
        only the call that it was running fails, with `fastmp.WorkerDied`, and the worker is replaced
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Any = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        on_worker_death: Literal["break", "fail-task"] = "break",
    ) -> None:
        self._crew: _core.Crew | None = None
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        _check_max_tasks(max_tasks_per_child, mp_context)
        if on_worker_death not in ("break", "fail-task"):
            raise ValueError("on_worker_death must be 'break' or 'fail-task'")
        self._max_workers = count_workers(max_workers)
        self._mp_context = mp_context if mp_context is not None else _default_context()
        self._initializer, self._initargs = initializer, initargs
        self._max_tasks_per_child = max_tasks_per_child
        self._fail_task = on_worker_death == "fail-task"
        self._processes: dict[int, Any] = {}  # pid: process
        self._places: dict[int, Any] = {}  # place in the crew: process
        self._broken: str | bool = False
        self._shutdown_thread = False
        self._finished = False
        self._shutdown_lock = threading.RLock()
        self._executor_manager_thread: threading.Thread | None = None
        _executors.add(self)

    # ---- calls ----

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Begin `fn(*args, **kwargs)`; return its future.

        :raises RuntimeError: after `shutdown`
        :raises BrokenProcessPool: if a worker has died
        """
        crew = self._crew
        if crew is None or self._shutdown_thread or self._broken or _interpreter_exits:
            crew = self._ready_crew()
        future: Future = crew.submit_future(Future, fn, args, kwargs)
        if crew.backlog:
            self._start_helper()
        return future

    def map(
        self, fn: Callable[..., Any], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[Any]:
        """Yield `fn(x, y, …)` for the items of the iterables, in order, computed in chunks.

        :raises TimeoutError: from the iterator, when a result is not there `timeout` seconds after the call
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        deadline = None if timeout is None else time.monotonic() + timeout
        calls = zip(*iterables)  # noqa: B905 - as Executor.map
        if chunksize == 1:
            return _in_order([self.submit(fn, *call) for call in calls], deadline)
        chunks = [self.submit(_run_chunk, fn, chunk) for chunk in _chunks(calls, chunksize)]
        return _flatten(_in_order(chunks, deadline))

    def _ready_crew(self) -> _core.Crew:
        with self._shutdown_lock:
            if self._broken:
                raise BrokenProcessPool(self._broken)
            if self._shutdown_thread:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if _interpreter_exits:
                raise RuntimeError("cannot schedule new futures after interpreter shutdown")
            if self._crew is None:
                self._launch()
            assert self._crew is not None
            return self._crew

    # ---- workers ----

    def _launch(self) -> None:
        crew = _core.Crew(self._max_workers)
        me = weakref.ref(self)
        crew.maintain = weakly(me, ProcessPoolExecutor._maintain)
        crew.need_helper = weakly(me, ProcessPoolExecutor._start_helper)
        if not self._fail_task:
            crew.bad_result = weakly(me, ProcessPoolExecutor._break_on_bad_result)
        self._crew = crew
        try:
            self._adjust_process_count()
        except BaseException:
            self._crew = None
            self._stop_workers()
            raise

    def _adjust_process_count(self) -> None:
        """Start workers until there are as many as there should be."""
        for place in range(self._max_workers):
            if place not in self._places:
                self._spawn_process(place)

    def _spawn_process(self, place: int) -> None:
        assert self._crew is not None
        settings = (self._initializer, self._initargs, self._max_tasks_per_child)
        args = (self._crew, place, *settings, parent_to_follow())
        process = self._mp_context.Process(target=_work, args=args)
        process.start()
        self._processes[process.pid] = self._places[place] = process
        self._crew.set_worker(place, process.pid)

    def _maintain(self) -> None:
        """See to workers that have ended. Called by whoever waits for results."""
        with self._shutdown_lock:
            for place, process in list(self._places.items()):
                if process.exitcode is not None and self._places.get(place) is process:
                    self._bury(place, process)
            if (
                not self._finished
                and not self._broken
                and self._crew is not None
                and len(self._places) < self._max_workers
            ):
                self._adjust_process_count()

    def _bury(self, place: int, process: Any) -> None:
        assert self._crew is not None
        process.join()
        del self._places[place]
        self._processes.pop(process.pid, None)
        replaceable = process.exitcode == 0 and self._max_tasks_per_child is not None
        if replaceable or self._finished or (self._fail_task and process.exitcode != 1):
            self._crew.bury_worker(place, worker_died(process))
        else:
            self._break(place, process)

    def _break(self, place: int, process: Any) -> None:
        """A worker has died: all that is not done fails, and nothing more is accepted."""
        assert self._crew is not None
        text = "A process in the process pool was terminated abruptly while the future was running or pending."
        self._broken = "A child process terminated abruptly, the process pool is not usable anymore"
        self._crew.bury_worker(place, lambda job, index: BrokenProcessPool(text))
        error = BrokenProcessPool(text)
        error.__cause__ = worker_died(process)(None, 0)
        self._stop_workers()
        self._crew.fail_all(error)

    def _break_on_bad_result(self, cause: BaseException) -> None:
        """A result cannot be unpickled: as in the standard library, that breaks the executor."""
        assert self._crew is not None
        error = BrokenProcessPool("A result has failed to un-serialize: see its cause.")
        error.__cause__ = cause
        with self._shutdown_lock:
            self._broken = str(error)
            self._stop_workers()
        self._crew.fail_all(error)

    def _stop_workers(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            end_worker(process)
        self._processes.clear()
        self._places.clear()

    # ---- the helper thread ----

    def _start_helper(self) -> None:
        """Somebody must take results while nobody waits."""
        with self._shutdown_lock:
            if self._executor_manager_thread is None and self._crew is not None and not self._finished:
                self._executor_manager_thread = start_helper(self, self._crew, _must_go_on, _nothing)
        if self._crew is not None:
            self._crew.poke()

    # ---- the end ----

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more calls and end the workers when the pending ones are done.

        :param wait: return only then
        :param cancel_futures: cancel the calls that no worker has begun
        """
        with self._shutdown_lock:
            self._shutdown_thread = True
            crew = self._crew
        if crew is None or self._finished:
            return
        if cancel_futures:
            for future in crew.job_list():
                future.cancel()
        if wait:
            _finish(self)
        else:
            _finish_in_background(self)

    def _close(self) -> None:
        """Everything is done: end the workers."""
        with self._shutdown_lock:
            if self._finished or self._crew is None:
                return
            self._finished = True
            send_exits(self._crew, len(self._places))
            processes = list(self._processes.values())
        for process in processes:
            process.join()
        self._processes.clear()
        self._places.clear()
        self._crew.maintain = None
        self._crew.poke()

    def __del__(self) -> None:
        if self._crew is not None and not self._finished and not _interpreter_exits:
            self.shutdown(wait=False)


def _finish(executor: ProcessPoolExecutor) -> None:
    crew = executor._crew
    assert crew is not None
    while crew.jobs and not executor._broken:
        crew.pump(0.1)
    executor._close()
    helper = executor._executor_manager_thread
    if helper is not None and helper is not threading.current_thread():
        helper.join()


def _finish_in_background(executor: ProcessPoolExecutor) -> None:
    """`shutdown(wait=False)`: a thread sees the pending calls through. It keeps the executor alive until then."""
    thread = threading.Thread(target=_finish, args=(executor,), name="fastmp-shutdown")
    thread.start()


def _must_go_on(executor: ProcessPoolExecutor) -> bool:
    return not executor._finished


def _nothing(job: object) -> None:
    """Futures run their callbacks themselves."""


def _check_max_tasks(max_tasks_per_child: int | None, mp_context: Any) -> None:
    if max_tasks_per_child is None:
        return
    if not isinstance(max_tasks_per_child, int):
        raise TypeError("max_tasks_per_child must be an integer")
    if max_tasks_per_child <= 0:
        raise ValueError("max_tasks_per_child must be >= 1")
    if mp_context is not None and mp_context.get_start_method(allow_none=False) == "fork":
        raise ValueError("max_tasks_per_child is incompatible with the 'fork' multiprocessing start method")


def _chunks(iterator: Iterator[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def _in_order(futures: list[Future], deadline: float | None) -> Iterator[Any]:
    """Yield the results. When that ends early, or is thrown away, what no worker has begun is cancelled."""
    futures.reverse()
    try:
        while futures:
            yield _take_last(futures, deadline)  # holds no reference to what it has yielded
    finally:
        for future in futures:
            future.cancel()


def _take_last(futures: list[Future], deadline: float | None) -> Any:
    result = futures[-1].result(None if deadline is None else deadline - time.monotonic())
    futures.pop()
    return result


def _flatten(chunks: Iterator[list[Any]]) -> Iterator[Any]:
    for chunk in chunks:
        chunk.reverse()
        while chunk:
            yield chunk.pop()


def _default_context() -> Any:
    from ... import context

    return context._default_context.get_context()


def _at_exit() -> None:
    """Pending calls are seen through before the interpreter ends, as by the standard library's executor."""
    global _interpreter_exits
    _interpreter_exits = True
    for executor in list(_executors):
        executor.shutdown(wait=True)


threading._register_atexit(_at_exit)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_executors.clear)  # a child's exit is not its parent's
