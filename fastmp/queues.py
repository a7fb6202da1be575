"""Queues between processes, on a ring in shared memory.

The flow of one object, down the layers and up again::

    Queue.put -> csrc/py/queue_put.c -> csrc/wire/encode.c -> csrc/conn/message.c
              -> csrc/ring/ring.c (claim, copy, publish)
              -> csrc/sync/eventcount.c -> csrc/sys/futex.c  ==>  the other process, and back up to Queue.get

This file is the cold half: life cycle, and the feeder thread of a queue without a bound whose ring is full.
"""

from __future__ import annotations

import sys
import threading
import traceback
import weakref
from multiprocessing import queues as _standard
from multiprocessing import reduction as _reduction
from multiprocessing import util
from multiprocessing.context import AuthenticationError, get_spawning_popen
from queue import Empty, Full

from . import _core
from ._installed import is_installed
from ._queue_insides import QueueType, StandardJoinableQueue, StandardQueue, StandardSimpleQueue
from .reduction import detach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


__all__ = ["Empty", "Full", "JoinableQueue", "Queue", "SimpleQueue"]


MIXED_START_METHODS = (
    "A SemLock created in a fork context is being shared with a process in a spawn context. This is not supported. "
    "Please use the same context to create multiprocessing objects and Process."
)


def __getattr__(name: str) -> Any:
    """What is not here is the standard library's."""
    return getattr(_standard, name)


class _End:
    """One end of a queue, as others see it: `queue._reader`, `queue._writer`."""

    def __init__(self, queue: _Base) -> None:
        self._queue = weakref.ref(queue)
        self.closed = False

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Wait up to `timeout` seconds for an object; True if there is one."""
        self._check_closed()
        queue = self._queue()
        return queue is not None and queue._poll(timeout)

    def fileno(self) -> int:
        """Return a descriptor that is readable while the queue holds objects, for select and its like."""
        self._check_closed()
        queue = self._queue()
        if queue is None:
            raise OSError("handle is closed")
        return queue._fileno()

    def close(self) -> None:
        """Close this end."""
        self.closed = True

    def _check_closed(self) -> None:
        if self.closed:
            raise OSError("handle is closed")


def _detach(descriptor: Any) -> int:
    """Return the descriptor, or -1 if its sender has ended, or knows us not: the queue looks for it elsewhere."""
    try:
        return detach(descriptor)
    except (OSError, EOFError, AuthenticationError):
        return -1


class _Base(_core.Queue, metaclass=QueueType):
    """What the three queues have in common."""

    _ctx: Any = None  # of a queue that has come from another process
    _OF_THIS_PROCESS = frozenset({"_ctx", "_reader", "_writer", "_thread", "_joincancelled", "_jointhread"})

    def __init__(self, maxsize: int, joinable: bool, ctx: Any) -> None:
        super().__init__()
        self._ctx = ctx
        self._setup(maxsize, joinable)
        self._begin()

    def __getstate__(self) -> tuple[Any, ...]:
        """Return what the same queue needs in another process; subclasses may wrap it, as the standard library's.

        :raises RuntimeError: in place of the standard library only, as there: a child of spawn or forkserver is to get
            a queue of the fork context
        """
        if is_installed() and get_spawning_popen() is not None and getattr(self._ctx, "_name", None) == "fork":
            raise RuntimeError(MIXED_START_METHODS)
        *place, fd = self._travel()
        attributes = {name: value for name, value in self.__dict__.items() if name not in self._OF_THIS_PROCESS}
        return *place, None if fd < 0 else _reduction.DupFd(fd), attributes

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        record, maxsize, joinable, descriptor, attributes = state
        self._arrive(record, maxsize, joinable, -1 if descriptor is None else _detach(descriptor))
        self._begin()
        self.__dict__.update(attributes)

    def _begin(self) -> None:
        """What each process has for itself."""
        self._reader = _End(self)
        self._writer = _End(self)

    def _put_failed(self, error: BaseException, obj: object) -> None:
        raise error

    def _raise_closed(self) -> NoReturn:
        raise ValueError(f"Queue {self!r} is closed")


class SimpleQueue(_Base):
    """A queue with put, get and empty only. A put into a queue that is full (504 objects) waits for a reader.

    :param ctx: the context that it belongs to
    """

    _standard_class = StandardSimpleQueue

    def __init__(self, *, ctx: Any) -> None:
        super().__init__(504, joinable=False, ctx=ctx)

    def close(self) -> None:
        """Close the queue in this process: it must not be used any more."""
        self._reader.close()
        self._writer.close()
        self._closed = self._used = True

    def _raise_closed(self) -> NoReturn:
        raise OSError("handle is closed")


class Queue(_Base):
    """A queue for any number of producers and consumers.

    :param maxsize: how many objects it holds before `put` waits; 0 or less, or more than 1,048,576: no bound
    :param ctx: the context that it belongs to
    :raises queue.Full, queue.Empty: from `put` and `get` that do not wait, or not long enough
    :raises ValueError: after `close`
    """

    _standard_class: Any = StandardQueue
    put_nowait = _Base._put_nowait
    get_nowait = _Base._get_nowait
    put_many = _Base._put_many
    get_many = _Base._get_many
    qsize = _Base._qsize
    full = _Base._full

    def __init__(self, maxsize: int = 0, *, ctx: Any) -> None:
        super().__init__(maxsize, joinable=isinstance(self, JoinableQueue), ctx=ctx)
        self._maxsize = maxsize if maxsize > 0 else 0x7FFFFFFF
        self._ignore_epipe = False

    def _begin(self) -> None:
        super()._begin()
        self._thread: threading.Thread | None = None
        self._joincancelled = False
        self._jointhread: util.Finalize | None = None

    def close(self) -> None:
        """Declare that this process puts and gets no more; what it has put is still sent."""
        self._closed = True
        if self._used:
            self._reader.close()

    def join_thread(self) -> None:
        """Wait until all that this process has put is sent.

        :raises AssertionError: if the queue was not closed
        """
        assert self._closed, f"Queue {self!r} not closed"
        if self._jointhread is not None:
            self._jointhread()

    def cancel_join_thread(self) -> None:
        """Do not wait at exit for what is not sent yet: it may be lost."""
        self._joincancelled = True
        if self._jointhread is not None:
            self._jointhread.cancel()
            self._jointhread = None

    # The C half calls the three below.

    def _overflowed(self) -> None:
        """More was put than the ring holds: a feeder thread sends the rest.

        :raises RuntimeError: if the system allows no more threads: then the object was not put
        """
        thread = threading.Thread(target=_feed, args=(self,), name="QueueFeederThread", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if not sys.is_finalizing() and "shutdown" not in str(error):
                raise
            self._feed()  # the interpreter is shutting down: no thread any more, so wait here
            return
        self._thread = thread
        if not self._joincancelled:
            self._jointhread = util.Finalize(thread, _join_feeder, [weakref.ref(thread)], exitpriority=-5)

    def _put_failed(self, error: BaseException, obj: object) -> None:
        if not isinstance(error, Exception):
            raise error
        self._on_queue_feeder_error(error, obj)

    @staticmethod
    def _on_queue_feeder_error(e: Exception, obj: object) -> None:
        """Called with the exception and the object when an object cannot be pickled; subclasses may replace it."""
        traceback.print_exception(e)


class JoinableQueue(Queue):
    """A Queue that counts what is still to be dealt with: `task_done` and `join`."""

    _standard_class = StandardJoinableQueue
    # Only here: logging's QueueListener calls the task_done of any queue that has one.
    task_done = _Base._task_done
    join = _Base._join


def _feed(queue: Queue) -> None:
    try:
        queue._feed()
    except BaseException as error:
        queue._feeding = False
        queue._on_queue_feeder_error(error, None)  # type: ignore[arg-type]


def _join_feeder(thread_ref: weakref.ref[threading.Thread]) -> None:
    thread = thread_ref()
    if thread is not None:
        thread.join()
