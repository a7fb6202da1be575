"""Descriptors of pipes over rings that somebody hands on by number: the rings go along.

A reducer that knows nothing of rings, as other libraries register, makes `DupFd(connection.fileno())`, and in the other
process `Connection(descriptor.detach(), readable, writable)`. The descriptor alone is the lifeline: what was sent
through it would be lost. So fastmp remembers which connection a number belongs to (`remember`), pickles that connection
where the number should go (`RingFd`), and gives its rings to the `Connection` that is made on the number in the other
process (`claim`).

Called by: `fastmp/connection.py`, `reduction.py`, `resource_sharer.py`, and the process classes' `Popen`.
"""

from __future__ import annotations

import os
import threading
from multiprocessing.context import get_spawning_popen
from weakref import WeakValueDictionary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .connection import Connection

__all__ = ["HandsOn", "RingFd", "alone", "claim", "remember", "ring_fd"]

_given: WeakValueDictionary[int, Connection] = WeakValueDictionary()
_arrived: dict[int, tuple[tuple[int, int], Connection]] = {}


class _Alone(threading.local):
    """A block in which this thread hands on descriptors alone."""

    depth = 0

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *exc_info: object) -> None:
        self.depth -= 1


alone = _Alone()


class RingFd(int):
    """The descriptor of an end of a pipe over rings; its pickle is that of the end.

    It has the method of the wrappers that `DupFd` makes, and stands for one.
    """

    connection: Connection

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrive, (self.connection,)

    def detach(self) -> int:
        """Return the descriptor, which belongs to the caller then."""
        return int(self)


class HandsOn:
    """What `Popen` classes have in common whose children unpickle a `RingFd`."""

    def duplicate_for_child(self, fd: int) -> int:
        """Return the number by which the child will find the descriptor."""
        ring = ring_fd(fd)
        return int(super().duplicate_for_child(fd)) if ring is None else ring  # type: ignore[misc]

    def DupFd(self, number: int) -> Any:
        """Return the wrapper that the child detaches the descriptor from."""
        return number if isinstance(number, RingFd) else super().DupFd(number)  # type: ignore[misc]


def remember(connection: Connection, fd: int) -> None:
    """The descriptor of this end of a pipe over rings is given away.

    :raises RuntimeError: if it is for a child of another library's, which would get the descriptor without the rings
    """
    popen = get_spawning_popen()
    if popen is not None and not isinstance(popen, HandsOn):
        raise RuntimeError(
            f"{type(popen).__module__}.{type(popen).__qualname__} would hand on only the descriptor of a pipe that has "
            "carried a message, and messages would be lost: its messages are in shared memory. Make the pipe by that "
            "library's context, or ask for its fileno() before its first message"
        )
    _given[fd] = connection


def ring_fd(fd: int) -> RingFd | None:
    """Return what to hand on in place of this descriptor, if it is that of an open end of a pipe over rings."""
    connection = None if alone.depth else _given.get(fd)
    if connection is None or connection._handle != fd or not connection._is_ring():
        return None
    return _number(connection)


def _number(connection: Connection) -> RingFd:
    number = RingFd(_fd_of(connection))
    number.connection = connection
    return number


def _arrive(connection: Connection) -> RingFd:
    """In the receiving process: a `Connection` will be made on the descriptor."""
    fd = _fd_of(connection)
    _, older = _arrived.pop(fd, (None, None))
    if older is not None:
        older._handle = None  # its descriptor was somebody else's, who has closed it
    _arrived[fd] = (_identity(fd), connection)
    return _number(connection)


def claim(maker: Connection) -> Connection | None:
    """Return the end of a pipe over rings that has arrived as the descriptor that this one is made on, once."""
    if not _arrived:
        return None
    fd = _fd_of(maker)
    identity, connection = _arrived.pop(fd, (None, None))
    if connection is None or identity == _identity(fd):
        return connection
    connection._handle = None  # as above
    return None


def _fd_of(connection: Connection) -> int:
    assert connection._handle is not None, "it is open"
    return connection._handle


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
