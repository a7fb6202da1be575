"""Connections: `Pipe` over rings in shared memory, everything else as in the standard library.

    send -> wire -> message in a cell or block -> ring -> (bell, if the reader sleeps) ... ring -> wire -> recv

A `Connection` that `Pipe` has made carries its messages through rings (`csrc/conn/pipe.h`); its descriptor is the
lifeline that tells the end of file, and what `select`, `asyncio` and `wait` look at. A `Connection` made on a
descriptor, and those of `Listener` and `Client`, are the standard library's, with its protocol byte for byte.
"""

from __future__ import annotations

import multiprocessing.connection as _standard
import selectors
import time
from collections.abc import Iterable
from multiprocessing import reduction as _reduction
from multiprocessing.connection import Client, answer_challenge, deliver_challenge

from . import _core, _handed_on
from ._timeouts import countable
from .reduction import ForkingPickler, detach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


__all__ = ["Client", "Connection", "Listener", "Pipe", "answer_challenge", "deliver_challenge", "wait"]

# How long wait() sleeps on descriptors at most: the longest that a message goes unseen whose sender was killed between
# publishing it and ringing for it, while others keep that end open.
RECHECK_SECONDS = 0.5

_standard_wait = _standard.wait


def __getattr__(name: str) -> Any:
    """What is not here is the standard library's."""
    return getattr(_standard, name)


class Connection(_core.PipeEnd, _standard.Connection):
    """One end of a pipe: `send` and `recv` objects, or `send_bytes` and `recv_bytes`, mixed as the two sides like.

    `Connection(handle, readable=True, writable=True)` speaks the standard protocol on a descriptor, which it then owns.
    """

    _loads = staticmethod(ForkingPickler.loads)

    def __init__(self, handle: int, readable: bool = True, writable: bool = True) -> None:
        super().__init__(handle, readable, writable)
        arrived = _handed_on.claim(self)
        if arrived is not None:
            self._take_over(arrived)

    def fileno(self) -> int:
        """Return the descriptor, which is readable while recv() would not wait."""
        fd = super().fileno()
        if self._is_ring():
            _handed_on.remember(self, fd)
        return fd

    @staticmethod
    def _dumps(obj: object) -> bytes:
        """The message that `send_bytes` would have carried instead of `send(obj)`."""
        return bytes(ForkingPickler.dumps(obj))


class Listener(_standard.Listener):
    """Accepts connections on a socket: `Listener(address=None, family=None, backlog=1, authkey=None)`."""


def Pipe(duplex: bool = True) -> tuple[Connection, Connection]:
    """Two connected ends. If not `duplex`, the first can only receive and the second only send."""
    first, second = Connection._pair(duplex)
    return first, second


def standard_pipe(duplex: bool = True) -> tuple[Connection, Connection]:
    """`Pipe` on descriptors, with the standard library's protocol."""
    first, second = Pipe(duplex)
    first.fileno(), second.fileno()  # asked for before the first message
    return first, second


def _rebuild(descriptor: Any, readable: bool, writable: bool) -> Connection:
    """In the receiving process."""
    return Connection(descriptor.detach(), readable, writable)


def _rebuild_end(records: tuple[bytes, ...], is_first: bool, descriptor: Any) -> Connection:
    """In the receiving process: an end of a pipe over rings."""
    return Connection._arrive(records, is_first, detach(descriptor))


def _reduce(connection: Connection) -> tuple[Any, ...]:
    """How a connection is pickled for another process: as its descriptor, with its rings if it has some.

    The descriptor is had of this process, which must still be there when the other unpickles it.
    """
    if connection._is_ring():
        handle: Any = connection._handle
        with _handed_on.alone:
            return _rebuild_end, (*connection._travel(), _reduction.DupFd(handle))
    handle = connection.fileno()
    return _rebuild, (_reduction.DupFd(handle), connection.readable, connection.writable)


ForkingPickler.register(Connection, _reduce)


def _is_ring_to_read(thing: Any) -> bool:
    return isinstance(thing, Connection) and thing.readable and thing._is_ring()


def _candidates(selector: selectors.BaseSelector, ends: list[Connection], timeout: float) -> set[int]:
    """The ids of the objects whose descriptor is readable within `timeout`, and of the ends that have a message."""
    armed = {id(end) for end in ends if end._arm()}
    return armed | {id(key.data) for key, _ in selector.select(0 if armed else timeout)}


def _wait_with_rings(things: list[Any], ends: list[Connection], timeout: float | None) -> list[Any]:
    deadline = float("inf") if timeout is None else time.monotonic() + countable(timeout)
    with selectors.PollSelector() as selector:
        for thing in things:
            by_number = isinstance(thing, Connection) and not thing.closed  # fileno() would make it a watched one
            selector.register(thing._handle if by_number else thing, selectors.EVENT_READ, thing)
        while True:
            left = deadline - time.monotonic()
            candidates = _candidates(selector, ends, max(0.0, min(left, RECHECK_SECONDS)))
            # A ring's descriptor that is readable without a message or the end of file was rung for another reader.
            ready = [thing for thing in things if id(thing) in candidates]
            ready = [thing for thing in ready if not _is_ring_to_read(thing) or thing.poll(0)]
            if ready or left <= 0:
                return ready


def wait(object_list: Iterable[Any], timeout: float | None = None) -> list[Any]:
    """The objects of `object_list` that can be received from, waiting for at most `timeout` seconds until there is one.

    They may be connections, sockets, sentinels of processes, and anything else that has a descriptor.
    """
    things = list(object_list)
    ends = [thing for thing in things if _is_ring_to_read(thing)]
    if not ends:
        return _standard_wait(things, timeout)
    return _wait_with_rings(things, ends, timeout)
