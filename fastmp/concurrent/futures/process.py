"""ProcessPoolExecutor on fastmp's engine: submission, results and futures in C.

`submit` -> csrc/pool/feed.c -> the task ring -> csrc/pool/worker.c -> the result ring -> csrc/pool/deliver.c ->
csrc/py/future.c. Whoever waits for a future takes the results himself; a helper thread is started only when somebody
waits elsewhere (callbacks, `wait`, `as_completed`, asyncio) or when more calls are pending than the rings hold.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import threading
import time
import weakref
from collections import deque
from concurrent.futures import Executor
from concurrent.futures import Future as _StandardFuture
from concurrent.futures import process as _process
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress

from ... import _core
from ..._by_value import Sender
from ..._helper import start_helper
from ..._native import NativeJob, prepare
from ..._template import Template, is_forked
from ..._workers import (
    count_workers,
    end_worker,
    is_forking,
    parent_to_follow,
    send_exits,
    weakly,
    worker_died,
)
from ._insides import CallQueue, Manager, PendingItem, Wakeup
from ._ordered import buffered, chunks, flatten, in_order, refill
from ._worker import run_chunk, work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, Literal

__all__ = ["BrokenProcessPool", "Future", "ProcessPoolExecutor"]

_standard: Any = _process  # its inner names have no declared types
_logger = logging.getLogger("concurrent.futures")
_executors: weakref.WeakSet[ProcessPoolExecutor] = weakref.WeakSet()
_interpreter_exits = False
_TERMINATED = "A process in the process pool was terminated abruptly while the future was running or pending."


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


class ProcessPoolExecutor(Executor):
    """An executor on worker processes.

    :param max_workers: how many workers; by default as many as there are CPUs to use
    :param mp_context: the multiprocessing context of the workers
    :param initializer: called with `initargs` in each worker; if it raises, the executor is broken
    :param max_tasks_per_child: a worker is replaced after so many calls; the default context is then "spawn"
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
        self._owner = os.getpid()
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        _check_max_tasks(max_tasks_per_child, mp_context)
        if on_worker_death not in ("break", "fail-task"):
            raise ValueError("on_worker_death must be 'break' or 'fail-task'")
        self._max_workers = count_workers(max_workers)
        self._mp_context = _context_for(max_tasks_per_child) if mp_context is None else mp_context
        # Forked workers are all made at once, before there may be a thread; others when there is work for them.
        self._safe_to_dynamically_spawn_children = self._mp_context.get_start_method(allow_none=False) != "fork"
        self._initializer, self._initargs = initializer, initargs
        self._max_tasks_per_child = max_tasks_per_child
        self._fail_task = on_worker_death == "fail-task"
        self._processes: dict[int, Any] | None = {}  # pid: process; for others to read
        self._places: dict[int, Any] = {}  # place in the crew: process
        self._wanted = 0  # so many workers
        self._may_grow = False
        self._broken: str | bool = False
        self._shutdown_thread = False
        self._thrown_away = False  # a thread that shuts it down may keep it for a while
        self._finished = False
        self._shutdown_lock = threading.RLock()
        self._manager = Manager()
        self._helper: threading.Thread | None = None
        self._template: Template | None = None
        # As long as there are workers, for others to read.
        self._executor_manager_thread: Manager | None = None
        self._executor_manager_thread_wakeup: Wakeup | None = None
        self._call_queue: CallQueue | None = None
        _executors.add(self)

    # ---- calls ----

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Begin `fn(*args, **kwargs)`; return its future.

        :raises RuntimeError: after `shutdown`
        :raises BrokenProcessPool: if a worker has died
        """
        crew = self._crew
        if crew is None or self._may_grow or self._shutdown_thread or self._broken or _interpreter_exits:
            crew = self._ready_crew()
        future: Future = crew.submit_future(Future, fn, args, kwargs)
        if crew.backlog:
            self._start_helper()
        return future

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """Yield `fn(x, y, …)` for the items of the iterables, in order, computed in chunks.

        :param buffersize: so many chunks are computed ahead of what was yielded; by default all. The iterables are
            asked for no more than that.
        :raises TimeoutError: from the iterator, when a result is not there `timeout` seconds after the call
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        deadline = None if timeout is None else time.monotonic() + timeout
        calls: Iterator[tuple[Any, ...]] = zip(*iterables)  # noqa: B905 - as Executor.map
        if chunksize > 1:
            calls, fn = zip(itertools.repeat(fn), chunks(calls, chunksize)), run_chunk
        if buffersize is None:
            results = in_order([self.submit(fn, *call) for call in calls], deadline)
        else:
            ahead = deque(self.submit(fn, *call) for call in itertools.islice(calls, buffersize))
            results = buffered(ahead, refill(weakref.ref(self), fn, calls), deadline)
        return results if chunksize == 1 else flatten(results)

    def map_native(
        self,
        function: Any,
        *arrays: Any,
        out: Any = None,
        chunksize: int | None = None,
        block: bool = False,
        signature: Any = None,
    ) -> Any:
        """Call a C function for each item of shared arrays, in the workers, and return the array of its results.

        As `fastmp.pool.Pool.map_native`, which tells the parameters. A function that crashes breaks no executor.

        :raises TypeError: before anything runs, with the name of the argument that does not fit
        :raises fastmp.WorkerDied: if the function crashes: `signal` and `indices` tell how and where
        """
        return self._begin_native(None, function, arrays, out, chunksize, block, signature).get()

    def submit_native(
        self,
        function: Any,
        *arrays: Any,
        out: Any = None,
        chunksize: int | None = None,
        block: bool = False,
        signature: Any = None,
    ) -> _StandardFuture[Any]:
        """Begin `map_native`; return its future. It cannot be cancelled."""
        future: _StandardFuture[Any] = _StandardFuture()
        future.set_running_or_notify_cancel()
        self._begin_native(future, function, arrays, out, chunksize, block, signature)
        self._start_helper()
        return future

    def _begin_native(
        self,
        future: _StandardFuture[Any] | None,
        function: Any,
        arrays: tuple[Any, ...],
        out: Any,
        chunksize: int | None,
        block: bool,
        signature: Any,
    ) -> NativeJob:
        call = prepare(function, arrays, out, chunksize, block, signature, self._max_workers)
        crew = self._ready_crew()
        with self._shutdown_lock:
            self._prepare_replacement()  # a C function that crashes breaks no executor
        job = NativeJob(self, call, future)
        if call.parts:
            crew.map(job, call.plan, call.parts, True, 1)
        else:
            job._complete([])
            _run_deferred(job)
        return job

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
            if self._may_grow:
                self._grow(self._crew)
            return self._crew

    # ---- workers ----

    def _launch(self) -> None:
        crew = _core.Crew(self._max_workers)
        me = weakref.ref(self)
        crew.maintain = weakly(me, ProcessPoolExecutor._maintain)
        crew.need_helper = weakly(me, ProcessPoolExecutor._start_helper)
        crew.by_value = Sender(is_forking(self._mp_context))
        if not self._fail_task:
            crew.bad_result = weakly(me, ProcessPoolExecutor._break_on_bad_result)
        self._crew = crew
        self._may_grow = self._safe_to_dynamically_spawn_children
        self._wanted = 0 if self._may_grow else self._max_workers
        try:
            self._adjust_process_count()
            if self._fail_task:
                self._prepare_replacement()
        except BaseException:
            self._crew = None
            self._stop_workers()
            raise
        self._executor_manager_thread = self._manager
        self._executor_manager_thread_wakeup = Wakeup(crew)
        self._call_queue = CallQueue(crew)

    def _grow(self, crew: _core.Crew) -> None:
        """A call is about to be submitted: one more worker, unless one is idle."""
        crew.pump()
        if crew.submitted - crew.answered >= self._wanted:
            self._wanted += 1
            self._may_grow = self._wanted < self._max_workers
            self._adjust_process_count()

    def _start_executor_manager_thread(self) -> None:
        """Start the workers before the first call; for others to use."""
        with self._shutdown_lock:
            if self._crew is None:
                self._launch()

    def _adjust_process_count(self) -> None:
        """Start workers until there are as many as there should be."""
        if self._crew is None:
            self._launch()
        for place in range(self._wanted):
            if place not in self._places:
                self._spawn_process(place)

    def _spawn_process(self, place: int | None = None) -> None:
        """Start one worker, at the first free place by default; if there is none, do nothing."""
        assert self._crew is not None
        if place is None:
            place = next((place for place in range(self._max_workers) if place not in self._places), None)
            if place is None:
                return
            self._wanted = max(self._wanted, place + 1)
        process = self._make_worker(place, parent_to_follow())
        if self._template is None:
            process.start()
        else:
            self._template.start(process, place)
        self._places[place] = process
        if self._processes is not None:
            self._processes[process.pid] = process
        self._crew.set_worker(place, process.pid)

    def _make_worker(self, place: int, parent: int | None) -> Any:
        settings = (self._initializer, self._initargs, self._max_tasks_per_child)
        return self._mp_context.Process(target=work, args=(self._crew, place, *settings, parent))

    def _prepare_replacement(self) -> None:
        """A worker may have to be replaced: by a fork of what this process is now, before it may have more threads."""
        if self._template is None and all(is_forked(process) for process in self._places.values()):
            with suppress(OSError):
                self._template = Template(self, parent_to_follow()).fork_now()

    def _maintain(self) -> None:
        """See to workers that have ended. Called by whoever waits for results."""
        with self._shutdown_lock:
            for place, process in list(self._places.items()):
                if process.exitcode is not None and self._places.get(place) is process:
                    self._bury(place, process)
            if not self._finished and not self._broken and self._crew is not None and len(self._places) < self._wanted:
                self._adjust_process_count()

    def _bury(self, place: int, process: Any) -> None:
        assert self._crew is not None
        process.join()
        del self._places[place]
        if self._processes is not None:
            self._processes.pop(process.pid, None)
        replaceable = process.exitcode == 0 and self._max_tasks_per_child is not None
        if replaceable or self._finished or (self._fail_task and process.exitcode != 1):
            self._crew.bury_worker(place, worker_died(process))
        elif not self._died_in_native(place, process):
            self._break(process)

    def _died_in_native(self, place: int, process: Any) -> bool:
        """Bury the worker. A C function that crashes is no fault of the executor, which goes on."""
        assert self._crew is not None
        died, in_native = worker_died(process), False

        def make_error(job: Any, index: int) -> Exception:
            nonlocal in_native
            in_native = isinstance(job, NativeJob)
            return died(job, index) if in_native else BrokenProcessPool(_TERMINATED)

        self._crew.bury_worker(place, make_error)
        return in_native

    def _break(self, process: Any) -> None:
        """A worker has died: all that is not done fails, and nothing more is accepted."""
        assert self._crew is not None
        self._broken = "A child process terminated abruptly, the process pool is not usable anymore"
        error = BrokenProcessPool(_TERMINATED)
        reports = self._crew.reports  # of workers whose initializer has failed
        error.__cause__ = reports[0] if reports else worker_died(process)(None, 0)
        self._stop_workers()
        self._crew.fail_all(error)
        self._manager.end()

    def _break_on_bad_result(self, cause: BaseException) -> None:
        """A result cannot be unpickled: as in the standard library, that breaks the executor."""
        assert self._crew is not None
        error = BrokenProcessPool("A result has failed to un-serialize: see its cause.")
        error.__cause__ = cause
        with self._shutdown_lock:
            self._broken = str(error)
            self._stop_workers()
        self._crew.fail_all(error)
        self._manager.end()

    def _stop_workers(self) -> None:
        for process in self._places.values():
            process.terminate()
        for process in self._places.values():
            end_worker(process)
        if self._template is not None:
            self._template.end()
            self._template.reap()
        self._places.clear()

    # ---- the helper thread ----

    def _start_helper(self) -> None:
        """Somebody must take results while nobody waits."""
        with self._shutdown_lock:
            if self._helper is None and self._crew is not None and not self._finished:
                self._helper = start_helper(self, self._crew, _must_go_on, _run_deferred)
                self._manager.add(self._helper)
        if self._crew is not None:
            self._crew.poke()

    # ---- for others to read ----

    @property
    def _queue_count(self) -> int:
        """How many calls there were."""
        return 0 if self._crew is None else self._crew.submitted

    @property
    def _pending_work_items(self) -> dict[int, PendingItem]:
        """The calls that are not done, by number, as they are now."""
        return {} if self._crew is None else {job._job: PendingItem(job) for job in self._crew.job_list()}

    # ---- the end ----

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more calls and end the workers when the pending ones are done.

        :param wait: return only then
        :param cancel_futures: cancel the calls that no worker has begun
        """
        if os.getpid() != self._owner:  # a copy in a forked child: it has no workers, and the lock may be held
            self._shutdown_thread = True
            return
        with self._shutdown_lock:
            self._shutdown_thread = True
            crew = self._crew
        if crew is not None and not self._finished:
            if cancel_futures:
                for future in crew.job_list():
                    future.cancel()
            if wait:
                _finish(self)
            else:
                _finish_in_background(self)
        elif crew is not None and wait and not self._manager.is_mine():
            self._manager.join()  # somebody else is ending the workers
        self._executor_manager_thread = self._executor_manager_thread_wakeup = None
        self._call_queue = self._processes = None

    def __exit__(self, exc_type: type[BaseException] | None, *exc: Any) -> None:
        """Shut down and wait; on Ctrl-C do not wait for the calls, but end the workers."""
        if exc_type is not None and issubclass(exc_type, KeyboardInterrupt):
            self.terminate_workers()
        self.shutdown()

    def terminate_workers(self, *, tree: bool = False) -> None:
        """Terminate the workers at once, as `Process.terminate` does, and shut down; the pending calls fail."""
        self._end_workers(signal.SIGTERM, tree)

    def kill_workers(self, *, tree: bool = False) -> None:
        """Kill the workers at once, as `Process.kill` does, and shut down; the pending calls fail."""
        self._end_workers(signal.SIGKILL, tree)

    def _end_workers(self, number: int, tree: bool) -> None:
        if os.getpid() != self._owner:
            return
        with self._shutdown_lock:
            self._fail_task = False  # those who die now are not replaced
            processes = list(self._places.values())
        self.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            with suppress(ValueError, ProcessLookupError):  # it has ended and was closed
                if tree:
                    from ..._tree import send_signal

                    send_signal(process, number)
                elif number == signal.SIGTERM:
                    process.terminate()
                else:
                    process.kill()

    def _close(self) -> None:
        """Everything is done: end the workers."""
        with self._shutdown_lock:
            if self._finished or self._crew is None:
                return
            self._finished = True
            send_exits(self._crew, len(self._places))
            processes = list(self._places.values())
            template, self._template = self._template, None
        if template is not None:
            template.end()
        for process in processes:
            process.join()
        if template is not None:
            template.reap()
        self._places.clear()
        self._crew.maintain = None
        self._crew.poke()
        self._manager.end()

    def __del__(self) -> None:
        self._thrown_away = True
        if self._crew is not None and not self._finished and not _interpreter_exits:
            self.shutdown(wait=False)


def _finish(executor: ProcessPoolExecutor) -> None:
    """See the pending calls through and end the workers. Several threads may be at it."""
    crew, manager = executor._crew, executor._manager
    assert crew is not None
    while crew.jobs and not executor._broken:
        crew.pump(0.1)
    executor._close()
    if not manager.is_mine():
        manager.join()


def _finish_in_background(executor: ProcessPoolExecutor) -> None:
    """`shutdown(wait=False)`: a thread sees the pending calls through. It keeps the executor alive until then."""
    thread = threading.Thread(target=_finish, args=(executor,), name="fastmp-shutdown")
    executor._manager.add(thread)
    thread.start()


def _must_go_on(executor: ProcessPoolExecutor) -> bool:
    return not executor._finished and not executor._broken


def _run_deferred(job: NativeJob) -> None:
    """Futures run their callbacks themselves; a native call has one that is told."""
    if job._future is None:
        job._finish()
    else:
        job._run_callbacks()


def _check_max_tasks(max_tasks_per_child: int | None, mp_context: Any) -> None:
    if max_tasks_per_child is None:
        return
    if not isinstance(max_tasks_per_child, int):
        raise TypeError("max_tasks_per_child must be an integer")
    if max_tasks_per_child <= 0:
        raise ValueError("max_tasks_per_child must be >= 1")
    if mp_context is not None and mp_context.get_start_method(allow_none=False) == "fork":
        raise ValueError("max_tasks_per_child is incompatible with the 'fork' multiprocessing start method")


def _context_for(max_tasks_per_child: int | None) -> Any:
    """The context of workers for which none is given."""
    from ... import context

    return context._default_context.get_context(None if max_tasks_per_child is None else "spawn")


def _at_exit() -> None:
    """Pending calls are seen through before the interpreter ends, as by the standard library's executor."""
    global _interpreter_exits
    _interpreter_exits = True
    for executor in list(_executors):
        executor.shutdown(wait=True)


threading._register_atexit(_at_exit)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_executors.clear)  # a child's exit is not its parent's
