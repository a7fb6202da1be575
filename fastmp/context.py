"""Contexts: a start method, and the factory of everything that belongs to it.

Each factory imports its class when it is called, as the standard library's do: `import fastmp` stays cheap, and a class
that somebody has replaced in its module is found. Called by: `fastmp/__init__.py`, `fastmp/_install.py`, the process
classes.
"""
# What the factories make are no subclasses of the standard classes:
# mypy: disable-error-code="override"

from __future__ import annotations

import multiprocessing.context as _standard
import sys
from multiprocessing.context import (
    AuthenticationError,
    BufferTooShort,
    ProcessError,
    TimeoutError,
    assert_spawning,
    get_spawning_popen,
    set_spawning_popen,
)

from . import process as _process
from .process import ForkProcess, ForkServerProcess, Process, SpawnProcess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from . import connection, managers, pool, queues, synchronize

__all__ = [
    "AuthenticationError",
    "BaseContext",
    "BufferTooShort",
    "DefaultContext",
    "ForkContext",
    "ForkProcess",
    "ForkServerContext",
    "ForkServerProcess",
    "Process",
    "ProcessError",
    "SpawnContext",
    "SpawnProcess",
    "TimeoutError",
    "assert_spawning",
    "get_spawning_popen",
    "set_spawning_popen",
]


def starts_otherwise(context: Any) -> bool:
    """Return whether a context has a start method of another library's, which may hand on the descriptors of pipes.

    Its pipes carry their messages through these then: it knows nothing of rings.
    """
    if isinstance(context, _standard.DefaultContext):
        context = context._actual_context or context._default_context  # type: ignore[attr-defined]
    return getattr(context, "_name", "fork") not in _contexts


def pipe(context: Any, duplex: bool = True) -> Any:
    """Return two connected connections: `Pipe` of the standard BaseContext, where fastmp is installed."""
    if starts_otherwise(context):
        from .connection import standard_pipe

        return standard_pipe(duplex)
    from multiprocessing.connection import Pipe

    return Pipe(duplex)


class BaseContext(_standard.BaseContext):
    """The factories. What is not here (logging, `cpu_count`, `Manager`, …) is the standard library's."""

    def get_context(self, method: str | None = None) -> Any:
        """Return this context, or that of another start method.

        :raises ValueError: for a method that is unknown
        """
        if method is None:
            return self
        return _contexts.get(method) or super().get_context(method)  # what others have registered, or the error

    def freeze_support(self) -> None:
        """In a frozen program that was started as somebody's child: be that child, and exit."""
        if getattr(sys, "frozen", False):
            from .spawn import freeze_support

            freeze_support()

    def Manager(self) -> managers.SyncManager:
        """Return a manager whose server is started."""
        from .managers import SyncManager

        manager = SyncManager(ctx=self.get_context())
        manager.start()
        return manager

    def Pipe(self, duplex: bool = True) -> tuple[connection.Connection, connection.Connection]:
        """Return two connected connections."""
        from .connection import Pipe, standard_pipe

        return standard_pipe(duplex) if starts_otherwise(self) else Pipe(duplex)

    def Lock(self) -> synchronize.Lock:
        """Return a non-recursive lock."""
        from .synchronize import Lock

        return Lock(ctx=self.get_context())

    def RLock(self) -> synchronize.RLock:
        """Return a recursive lock."""
        from .synchronize import RLock

        return RLock(ctx=self.get_context())

    def Condition(self, lock: synchronize.Lock | synchronize.RLock | None = None) -> synchronize.Condition:
        """Return a condition on `lock`, or on an RLock of its own."""
        from .synchronize import Condition

        return Condition(lock, ctx=self.get_context())

    def Semaphore(self, value: int = 1) -> synchronize.Semaphore:
        """Return a semaphore."""
        from .synchronize import Semaphore

        return Semaphore(value, ctx=self.get_context())

    def BoundedSemaphore(self, value: int = 1) -> synchronize.BoundedSemaphore:
        """Return a semaphore that cannot be released above its first value."""
        from .synchronize import BoundedSemaphore

        return BoundedSemaphore(value, ctx=self.get_context())

    def Event(self) -> synchronize.Event:
        """Return an event, not set."""
        from .synchronize import Event

        return Event(ctx=self.get_context())

    def Barrier(
        self, parties: int, action: Callable[[], object] | None = None, timeout: float | None = None
    ) -> synchronize.Barrier:
        """Return a barrier for so many parties."""
        from .synchronize import Barrier

        return Barrier(parties, action, timeout, ctx=self.get_context())

    def Queue(self, maxsize: int = 0) -> queues.Queue:
        """Return a queue; without `maxsize` a put never waits."""
        from .queues import Queue

        return Queue(maxsize, ctx=self.get_context())

    def JoinableQueue(self, maxsize: int = 0) -> queues.JoinableQueue:
        """Return a queue with `task_done` and `join`."""
        from .queues import JoinableQueue

        return JoinableQueue(maxsize, ctx=self.get_context())

    def SimpleQueue(self) -> queues.SimpleQueue:
        """Return a queue that has only `put`, `get`, `empty` and `close`."""
        from .queues import SimpleQueue

        return SimpleQueue(ctx=self.get_context())

    def Pool(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
    ) -> pool.Pool:
        """Return a pool of workers, as many as there are CPUs unless told."""
        from .pool import Pool

        return Pool(processes, initializer, initargs, maxtasksperchild, context=self.get_context())

    def RawValue(self, typecode_or_type: Any, *args: Any) -> Any:
        """Return a ctypes object in shared memory, without a lock."""
        from .sharedctypes import RawValue

        return RawValue(typecode_or_type, *args)

    def RawArray(self, typecode_or_type: Any, size_or_initializer: Any) -> Any:
        """Return a ctypes array in shared memory, without a lock."""
        from .sharedctypes import RawArray

        return RawArray(typecode_or_type, size_or_initializer)

    def Value(self, typecode_or_type: Any, *args: Any, lock: Any = True) -> Any:
        """Return a value in shared memory with its lock."""
        from .sharedctypes import Value

        return Value(typecode_or_type, *args, lock=lock, ctx=self.get_context())

    def Array(self, typecode_or_type: Any, size_or_initializer: Any, *, lock: Any = True) -> Any:
        """Return an array in shared memory with its lock."""
        from .sharedctypes import Array

        return Array(typecode_or_type, size_or_initializer, lock=lock, ctx=self.get_context())


class DefaultContext(_standard.DefaultContext, BaseContext):
    """The context behind the functions of `fastmp`: its start method can be set once."""

    Process = Process


class ForkContext(BaseContext, _standard.ForkContext):
    """Children are made by fork."""

    Process = ForkProcess


class SpawnContext(BaseContext, _standard.SpawnContext):
    """Children are fresh interpreters."""

    Process = SpawnProcess


class ForkServerContext(BaseContext, _standard.ForkServerContext):
    """Children are forked by a server process, which has no threads."""

    Process = ForkServerProcess


_process._context = sys.modules[__name__]
_standard_default: Any = _standard._default_context
_contexts: dict[str, Any] = {
    "fork": ForkContext(),
    "spawn": SpawnContext(),
    "forkserver": ForkServerContext(),
}
_default_context: Any = DefaultContext(_contexts[_standard_default._default_context._name])


def force_start_method(method: str) -> None:
    """Set the default start method, again if need be: a child has that of its maker."""
    _default_context._actual_context = _contexts[method]


def default_start_method() -> str:
    """Return the default start method, without settling it."""
    context = _default_context._actual_context or _default_context._default_context
    return str(context._name)


def adopt_start_method(method: str) -> None:
    """Set the default start method to that of the parent, unless it is another library's, which is not there yet."""
    try:
        _default_context._actual_context = _default_context.get_context(method)
    except ValueError:
        return


def default_process_class() -> Any:
    """Return the Process class of the default context's start method."""
    return _default_context.get_context().Process
