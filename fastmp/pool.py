"""Pools of worker processes.

The path of a task is C from end to end: `Pool.apply_async` -> csrc/pool/feed.c -> the task ring -> csrc/pool/worker.c
(in the worker) -> the result ring -> csrc/pool/deliver.c -> the job that the caller waits for. This file has the calls,
the objects of their results, the helper thread and the end; `_pool_upkeep.py` makes the workers and replaces them.

There is no thread as long as none is needed: a caller who waits takes the results himself. The helper thread is
started by the first callback, `maxtasksperchild`, or an asynchronous call with more tasks than the rings hold.
"""

from __future__ import annotations

import itertools
import signal
import sys
import threading
import warnings
import weakref
from multiprocessing import TimeoutError
from multiprocessing import pool as _pool
from multiprocessing import util as _util
from multiprocessing.pool import CLOSE, INIT, RUN, TERMINATE

from . import _core
from ._by_value import Sender
from ._helper import start_helper
from ._native import Call, prepare
from ._pool_insides import Cache, StandardPool, TaskQueue, changes_insides
from ._pool_upkeep import Upkeep
from ._workers import count_workers, is_forking, send_exits, weakly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import Any, NoReturn

    from ._template import Template

__all__ = [
    "ApplyResult",
    "AsyncResult",
    "IMapIterator",
    "IMapUnorderedIterator",
    "MapResult",
    "MaybeEncodingError",
    "Pool",
    "RemoteTraceback",
    "ThreadPool",
    "TimeoutError",
]

_standard: Any = _pool  # its inner names have no declared types
util: Any = _util
ThreadPool = _pool.ThreadPool
ExceptionWithTraceback = _standard.ExceptionWithTraceback
MaybeEncodingError = _standard.MaybeEncodingError
RemoteTraceback = _standard.RemoteTraceback


def __getattr__(name: str) -> Any:
    """What is not here is the standard library's."""
    return getattr(_pool, name)


class ApplyResult(_core.Job, _standard.ApplyResult):  # type: ignore[misc]
    """The result to come of `apply_async`."""

    _callback: Callable[[Any], object] | None = None
    _error_callback: Callable[[Any], object] | None = None

    def __init__(
        self,
        pool: Pool,
        what: object,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[Any], object] | None = None,
    ) -> None:
        self._pool = pool  # a pool with results to come is not thrown away
        self._what = what  # for the error, should the task be lost
        if callback is not None or error_callback is not None:
            self._callback = callback
            self._error_callback = error_callback
            self._deferred = True

    def _run_callbacks(self) -> None:
        callback = self._callback if self._success else self._error_callback
        try:
            if callback is not None:
                callback(self._value)
        finally:
            self._finish()


AsyncResult = ApplyResult


class MapResult(ApplyResult, _standard.MapResult):  # type: ignore[misc]
    """The list of results to come of `map_async` and `starmap_async`."""


class NativeResult(MapResult):
    """The array of results to come of `map_native_async`."""

    def __init__(self, pool: Pool, call: Call, *callbacks: Callable[[Any], object] | None) -> None:
        super().__init__(pool, call.plan, *callbacks)
        self._call = call

    @property
    def _value(self) -> Any:
        return self._call.result if self._success else super()._value

    def get(self, timeout: float | None = None) -> Any:
        """Return the array of results when all calls are made."""
        super().get(timeout)
        return self._call.result

    def _indices(self, task: int) -> range:
        return self._call.indices(task)


class _Stream(_core.Stream):
    def __init__(self, pool: Pool, what: object) -> None:
        self._pool = pool
        self._what = what


class IMapIterator(_Stream, _standard.IMapIterator):  # type: ignore[misc]
    """The results of `imap`, in order; `next(timeout)` waits no longer than that."""


class IMapUnorderedIterator(_Stream, _standard.IMapUnorderedIterator):  # type: ignore[misc]
    """The results of `imap_unordered`, as they come."""


class Pool(Upkeep):
    """A pool of worker processes.

    :param processes: how many; by default as many as there are CPUs to use
    :param initializer: called with `initargs` in each worker when it starts
    :param maxtasksperchild: a worker is replaced after so many tasks; None: never
    :param context: where the processes come from
    :raises ValueError: for a number of processes below 1, or after `close`
    :raises fastmp.WorkerDied: from a call of which a task was lost with its worker; the other tasks go on
    """

    _wrap_exception = True

    @staticmethod
    def Process(ctx: Any, *args: Any, **kwds: Any) -> Any:
        """Make a worker process; subclasses may replace it."""
        return ctx.Process(*args, **kwds)

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
    ) -> None:
        self._pool: list[Any] = []
        self._state = INIT
        self._ctx = context or _default_context()
        self._processes = count_workers(processes)
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if maxtasksperchild is not None and (not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0):
            raise ValueError("maxtasksperchild must be a positive int or None")
        self._initializer, self._initargs = initializer, initargs
        self._maxtasksperchild = maxtasksperchild if maxtasksperchild is None else min(maxtasksperchild, sys.maxsize)
        self._strangers: dict[int, Any] = {}  # results that others have made, by number
        self._places: dict[int, Any] = {}  # place in the crew: process
        self._failed_starts = 0
        self._lock = threading.RLock()
        self._ended = threading.Event()  # no worker is started any more
        self._helper: threading.Thread | None = None
        self._template: Template | None = None
        self._crew = _core.Crew(self._processes)
        me = weakref.ref(self)
        self._crew.maintain = weakly(me, Pool._maintain_pool)
        self._crew.need_helper = weakly(me, Pool._start_helper)
        self._crew.by_value = Sender(is_forking(self._ctx))
        self._terminate: Any = None
        self._populate_pool()
        self._state = RUN
        if maxtasksperchild is not None:
            self._start_helper()  # workers must be replaced also while nobody waits

    def __del__(self, _warn: Any = warnings.warn, RUN: str = RUN) -> None:
        if getattr(self, "_state", None) == RUN:
            _warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self)

    def __repr__(self) -> str:
        cls = self.__class__
        return f"<{cls.__module__}.{cls.__qualname__} state={self._state} pool_size={len(self._pool)}>"

    def __enter__(self) -> Pool:
        self._check_running()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.terminate()

    def __reduce__(self) -> NoReturn:
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    def _check_running(self) -> None:
        if self._state != RUN:
            raise ValueError("Pool not running")

    # ---- calls ----

    def apply(self, func: Callable[..., Any], args: Iterable[Any] = (), kwds: dict[str, Any] | None = None) -> Any:
        """Return `func(*args, **kwds)`, computed by a worker."""
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: dict[str, Any] | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[Any], object] | None = None,
    ) -> ApplyResult:
        """Begin `func(*args, **kwds)`; return its result to come."""
        if self._state != RUN:
            self._check_running()
        result = ApplyResult(self, func, callback, error_callback)
        if result._deferred:
            self._start_helper()
        crew = self._crew
        if type(args) is not tuple:
            args = tuple(args)
        if kwds is None:
            crew.submit(result, func, args)
        else:
            crew.submit(result, func, args, {**kwds})  # any mapping will do
        if crew.backlog:
            self._start_helper()
        return result

    def map(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = None) -> list[Any]:
        """Return `[func(x) for x in iterable]`, computed by the workers in chunks."""
        results: list[Any] = self._map(func, iterable, False, chunksize).get()
        return results

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[Any], object] | None = None,
    ) -> MapResult:
        """Begin `map`; return its result to come."""
        return self._map_async(func, iterable, False, chunksize, callback, error_callback)

    def starmap(
        self, func: Callable[..., Any], iterable: Iterable[Iterable[Any]], chunksize: int | None = None
    ) -> list[Any]:
        """Return `[func(*x) for x in iterable]`, computed by the workers in chunks."""
        results: list[Any] = self._map(func, iterable, True, chunksize).get()
        return results

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[Any], object] | None = None,
    ) -> MapResult:
        """Begin `starmap`; return its result to come."""
        return self._map_async(func, iterable, True, chunksize, callback, error_callback)

    def imap(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int = 1) -> Iterator[Any]:
        """Yield `func(x)` for each x, in order; `iterable` is asked for more as results make room."""
        return self._imap(IMapIterator, func, iterable, chunksize, True)

    def imap_unordered(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int = 1) -> Iterator[Any]:
        """Yield `func(x)` for each x, as the results come."""
        return self._imap(IMapUnorderedIterator, func, iterable, chunksize, False)

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

        There is no pickle, no GIL and no Python code for each item. See docs/native.md.

        :param function: of ctypes with `argtypes`, of cffi, a `numba.cfunc`, or an address with a `signature`
        :param arrays: one for each parameter, of one length; what is no array is the same for all calls. Arrays in
            fastmp's shared memory are passed where they lie, others are copied
        :param out: a shared array for the results; a new one by default
        :param chunksize: items for each task
        :param block: call the function once for each chunk, with addresses and, as the last argument, how many items
        :param signature: a ctypes prototype or C text such as "double(double, int)"
        :raises TypeError: before anything runs, with the name of the argument that does not fit
        :raises fastmp.WorkerDied: if the function crashes: `signal` and `indices` tell how and where
        """
        call = prepare(function, arrays, out, chunksize, block, signature, self._processes)
        return self._map_native(call, None, None).get()

    def map_native_async(
        self,
        function: Any,
        *arrays: Any,
        out: Any = None,
        chunksize: int | None = None,
        block: bool = False,
        signature: Any = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[Any], object] | None = None,
    ) -> NativeResult:
        """Begin `map_native`; return its result to come."""
        call = prepare(function, arrays, out, chunksize, block, signature, self._processes)
        result = self._map_native(call, callback, error_callback)
        if result._deferred or self._crew.backlog:
            self._start_helper()
        return result

    def _map_native(self, call: Call, *callbacks: Callable[[Any], object] | None) -> NativeResult:
        self._check_running()
        result = NativeResult(self, call, *callbacks)
        if call.parts:
            self._crew.map(result, call.plan, call.parts, True, 1)
        else:
            self._complete_empty(result)
        return result

    def _map(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        star: bool,
        chunksize: int | None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[Any], object] | None = None,
    ) -> MapResult:
        self._check_running()
        items = _items_of(iterable, chunksize)
        if chunksize is None:
            chunksize, extra = divmod(len(items), self._processes * 4)
            chunksize += extra > 0
        result = MapResult(self, func, callback, error_callback)
        if not items:
            self._complete_empty(result)
        else:
            self._crew.map(result, func, items, star, max(1, chunksize))
        return result

    def _complete_empty(self, result: MapResult) -> None:
        result._complete([])
        result._run_callbacks()

    def _map_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        star: bool,
        chunksize: int | None,
        callback: Callable[[Any], object] | None,
        error_callback: Callable[[Any], object] | None,
    ) -> MapResult:
        result = self._map(func, iterable, star, chunksize, callback, error_callback)
        if result._deferred or self._crew.backlog:
            self._start_helper()
        return result

    def _imap(
        self, cls: type[_Stream], func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int, ordered: bool
    ) -> Iterator[Any]:
        self._check_running()
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
        if chunksize == 1:
            result = cls(self, func)
            self._crew.stream(result, func, iter(iterable), False, ordered)
            return result
        chunks = cls(self, func)
        self._crew.stream(chunks, _MapChunk(func), _chunks(iter(iterable), chunksize), False, ordered)
        return itertools.chain.from_iterable(chunks)

    # ---- for others to read and change ----

    @property
    def _cache(self) -> Cache:
        """The calls that are not done, by number, as they are now."""
        return Cache(self._crew, self._strangers)

    @property
    def _taskqueue(self) -> TaskQueue:
        """The calls that have tasks which are not sent yet."""
        return TaskQueue(self)

    _get_tasks = staticmethod(_standard.Pool._get_tasks)
    _guarded_task_generation = _standard.Pool._guarded_task_generation

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if changes_insides(cls):
            cls.__bases__ = (*(base for base in cls.__bases__ if base is not Pool), _StandardPool)

    def _has_usual_process(self) -> bool:
        return self.Process is Pool.Process

    # ---- the helper thread ----

    def _start_helper(self) -> None:
        """Somebody must take results while nobody waits."""
        with self._lock:
            if self._helper is None and self._state in (INIT, RUN, CLOSE):
                self._helper = start_helper(self, self._crew, _must_go_on, _run_deferred)
        self._crew.poke()

    # ---- the end ----

    def close(self) -> None:
        """No more calls; the workers end when the work is done (`join`)."""
        util.debug("closing pool")
        if self._state == RUN:
            self._state = CLOSE

    def terminate(self, *, tree: bool = False) -> None:
        """End the workers at once; calls that are not done are never done.

        :param tree: end also what the workers have started, and so on; see `Process.terminate`
        """
        util.debug("terminating pool")
        self._state = TERMINATE
        self._crew.poke()
        if tree:
            from ._tree import send_signal

            with self._lock:
                self._ended.set()
                if self._template is not None:  # who is not there yet shall not be
                    self._template.end(-signal.SIGTERM)
                    self._template.reap()
            for process in self._pool:
                send_signal(process, signal.SIGTERM)
        self._terminate()

    def join(self) -> None:
        """Wait for the workers to end.

        :raises ValueError: before `close` or `terminate`
        """
        if self._state == RUN:
            raise ValueError("Pool is still running")
        if self._state not in (CLOSE, TERMINATE):
            raise ValueError("In unknown state")
        if self._state == CLOSE:
            self._finish_work()
        for process in list(self._pool):
            process.join()
        if self._template is not None:
            self._template.reap()
        if self._helper is None:
            self._terminate.cancel()  # nobody is left
        elif self._helper is not threading.current_thread():
            self._helper.join()

    def _finish_work(self) -> None:
        while self._crew.jobs or self._crew.deferred:
            self._crew.pump(0.1)
        with self._lock:
            self._state = TERMINATE
            send_exits(self._crew, len(self._places))  # first: the template's end may take this process's place
            if self._template is not None:
                self._template.end()
        self._crew.poke()


class _StandardPool(StandardPool, Pool):  # the second is there for isinstance() only
    """A pool with the standard library's engine, for subclasses that replace parts of it."""

    _cache: Any = None  # not the properties: its instances have their own
    _taskqueue: Any = None


class _MapChunk:
    """func of each item of a chunk, as one call."""

    def __init__(self, func: Callable[[Any], Any]) -> None:
        self.func = func

    def __call__(self, items: Sequence[Any]) -> list[Any]:
        return [self.func(item) for item in items]


def _chunks(iterator: Iterator[Any], size: int) -> Iterator[tuple[Any, ...]]:
    while chunk := tuple(itertools.islice(iterator, size)):
        yield chunk


def _items_of(iterable: Iterable[Any], chunksize: int | None) -> Sequence[Any]:
    """What is cut into chunks: the iterable itself, but not one of a subclass, which may have items of its own."""
    if type(iterable) is list or type(iterable) is tuple:
        return iterable
    if type(iterable) is range and (chunksize is None or chunksize > 1):
        return iterable  # makes its numbers chunk by chunk, but is slower than a list one by one
    return list(iterable)


def _default_context() -> Any:
    from . import context

    return context._default_context.get_context()


def _must_go_on(pool: Pool) -> bool:
    return pool._state != TERMINATE


def _run_deferred(job: ApplyResult) -> None:
    try:
        job._run_callbacks()
    except Exception:
        threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
