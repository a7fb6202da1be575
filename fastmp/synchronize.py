"""Locks, semaphores, conditions, events and barriers of all processes that share memory with their maker.

The classes are C types (csrc/py/lock.c and its neighbours) on words in shared memory (csrc/sync/): an operation that
need not wait makes no system call, and one that waits lets go of the GIL and heeds Ctrl-C. What is not called per
operation is here: the types call `_repr`, `_reduce` and the views of a Condition. Called by: `fastmp/context.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from multiprocessing import synchronize as _standard
from multiprocessing import util  # noqa: F401  its exit function must be older than the user's, as there
from multiprocessing.process import current_process

from . import _core
from ._core import BoundedSemaphore, Condition, Event, Lock, RLock, Semaphore, SemLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


__all__ = ["Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore"]

RECURSIVE_MUTEX, SEMAPHORE = 0, 1
SEM_VALUE_MAX = SemLock.SEM_VALUE_MAX


def __getattr__(name: str) -> Any:
    """What is not here is the standard library's."""
    return getattr(_standard, name)


class Barrier(_core.Barrier, threading.Barrier):
    """A place where processes wait until ``parties`` of them have arrived.

    :param parties: how many, at least 1
    :param action: called by the last to arrive, before the others go on
    :param timeout: in seconds, for a `wait` that is not given one
    """


# ---- what the C types call ----


def _reduce(shared: Any) -> tuple[Any, ...]:
    """Pickling: the object's place, and what this process has beside it."""
    base = next(kind for kind in _KINDS if isinstance(shared, kind))
    return _rebuild, (base, type(shared), shared._travel(), _arguments(shared)), shared.__getstate__()


def _arguments(shared: Any) -> tuple[Any, ...] | None:
    """What a Condition or a Barrier keeps in its process: the arguments of its `__init__`."""
    if isinstance(shared, Condition):
        return (shared._lock,)
    if isinstance(shared, _core.Barrier):
        return shared.parties, shared._action, shared._timeout
    return None


def _rebuild(base: Any, cls: type, travel: bytes, arguments: tuple[Any, ...] | None) -> Any:
    """In the receiving process: the same object, of the same class."""
    shared = base.__new__(cls, _travel=travel)
    if arguments is not None:
        base.__init__(shared, *arguments, ctx=None)
    return shared


def _repr(shared: Any) -> str:
    """Say what the object is, and in which state."""
    try:
        state = next(describe(shared) for kind, describe in _DESCRIPTIONS if isinstance(shared, kind))
    except Exception:  # a repr must not fail, whatever state the object is in
        state = "(unknown)"
    return f"<{type(shared).__name__}{state}>"


def _holder(lock: Lock | RLock) -> str:
    """Who holds a lock, as far as this process can tell."""
    if lock._is_mine():
        thread = threading.current_thread().name
        return current_process().name + ("" if thread == "MainThread" else f"|{thread}")
    if lock._get_value() == 1:
        return "None"
    return "SomeOtherThread" if lock._count() > 0 else "SomeOtherProcess"


def _rlock_count(lock: RLock) -> int | str:
    return lock._count() if lock._is_mine() else 0 if lock._get_value() == 1 else "nonzero"


# The types of csrc/py/, a subclass before its base.
_KINDS: tuple[type, ...] = (BoundedSemaphore, Semaphore, RLock, Lock, Condition, Event, _core.Barrier)

_DESCRIPTIONS: list[tuple[type, Callable[[Any], str]]] = [
    (Lock, lambda lock: f"(owner={_holder(lock)})"),
    (RLock, lambda lock: f"({_holder(lock)}, {_rlock_count(lock)})"),
    (BoundedSemaphore, lambda semaphore: f"(value={semaphore.get_value()}, maxvalue={semaphore.maxvalue})"),
    (Semaphore, lambda semaphore: f"(value={semaphore.get_value()})"),
    (Condition, lambda condition: f"({condition._lock}, {condition._waiting()})"),
    (Event, lambda event: f" at {id(event):#x} {'set' if event.is_set() else 'unset'}"),
]


class _CountView:
    """A number inside a Condition, in the clothes of the standard library's inner semaphores."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count

    @property
    def _semlock(self) -> _CountView:
        return self

    def get_value(self) -> int:
        """Return the number at this moment."""
        return self._count()

    _get_value = get_value


def _sleeping_count(condition: Condition) -> _CountView:
    """Who waits, or has been notified and does not run yet."""
    return _CountView(lambda: condition._waiting() + condition._notified())


def _woken_count(condition: Condition) -> _CountView:
    """Those of them that have been notified."""
    return _CountView(condition._notified)


def _wait_semaphore(condition: Condition) -> _CountView:
    """Return a constant 0: a notification is given to a waiter, never left lying about."""
    return _CountView(lambda: 0)
