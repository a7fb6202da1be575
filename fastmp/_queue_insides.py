"""Subclasses of queues that reach inside: they get the standard library's queue, whose inside they know.

loky and others derive from `multiprocessing.queues.Queue`, and replace its feeder thread, or pickle its locks one by
one. A queue on a ring has none of these. The metaclass of fastmp's queues sees such a subclass when it is made, and
puts the standard class in the place of fastmp's: it works as it always did, with its speed.
"""

from __future__ import annotations

from collections.abc import Iterable
from multiprocessing import queues as _standard
from types import FunctionType

from .connection import standard_pipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


#: What only the standard library's queues have.
INSIDES = frozenset({"_rlock", "_wlock", "_sem", "_notempty", "_buffer", "_send_bytes", "_recv_bytes"})


def reaches_inside(namespace: Iterable[Any]) -> bool:
    """Return whether one of these attributes of a class is a function that names the inside of a queue."""
    functions = (getattr(value, "__func__", value) for value in namespace)  # a static or class method's
    return any(isinstance(each, FunctionType) and INSIDES.intersection(each.__code__.co_names) for each in functions)


class QueueType(type):
    """The type of fastmp's queue classes; `_standard_class` of one is its counterpart."""

    _standard_class: Any

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
        if any(isinstance(base, QueueType) for base in bases) and reaches_inside(namespace.values()):
            return type(name, tuple(getattr(base, "_standard_class", base) for base in bases), namespace)
        return super().__new__(mcs, name, bases, namespace)


class StandardQueue(_standard.Queue):  # type: ignore[type-arg]
    """The standard library's queue, on a pipe of descriptors also where fastmp is installed."""

    def __init__(self, maxsize: int = 0, *, ctx: Any) -> None:
        super().__init__(maxsize, ctx=ctx)
        _renew_pipe(self)
        self._reset()  # type: ignore[attr-defined]


class StandardJoinableQueue(StandardQueue, _standard.JoinableQueue):  # type: ignore[type-arg]
    """The same with `task_done` and `join`."""


class StandardSimpleQueue(_standard.SimpleQueue):  # type: ignore[type-arg]
    """The standard library's simple queue, on a pipe of descriptors."""

    def __init__(self, *, ctx: Any) -> None:
        super().__init__(ctx=ctx)
        _renew_pipe(self)
        self._poll = self._reader.poll  # type: ignore[attr-defined]


def _renew_pipe(queue: Any) -> None:
    queue._reader.close()
    queue._writer.close()
    queue._reader, queue._writer = standard_pipe(duplex=False)
