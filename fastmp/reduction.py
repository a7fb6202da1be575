"""How objects travel: the pickler of every fastmp message, and the standard library's tools beside it.

What is registered here is known to the standard library's `ForkingPickler`, and the other way round: both look into one
table, so that a reducer registered by any library, before or after it met fastmp, is honoured by both.

The C core (`csrc/wire/pickle.c`) makes a `ForkingPickler` for whatever is not plain data, with protocol 5 and a
`buffer_callback` of its own.
"""

from __future__ import annotations

import os
from multiprocessing import reduction as _reduction
from multiprocessing.reduction import (
    HAVE_SEND_HANDLE,
    AbstractReducer,
    recv_handle,
    recvfds,
    send_handle,
    sendfds,
)

from ._handed_on import ring_fd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "HAVE_SEND_HANDLE",
    "AbstractReducer",
    "DupFd",
    "ForkingPickler",
    "dump",
    "recv_handle",
    "recvfds",
    "register",
    "send_handle",
    "sendfds",
]


# Reducers that know of protocol 5: {type: (the one that is registered, the one that messages use in its place)}. Read
# by csrc/wire/reducers.c when what is registered has changed.
in_messages: dict[type, tuple[Any, Any]] = {}


def __getattr__(name: str) -> Any:
    """What is not here is the standard library's."""
    return getattr(_reduction, name)


class ForkingPickler(_reduction.ForkingPickler):
    """The standard library's `ForkingPickler` as fastmp's messages use it.

    `ForkingPickler(file, protocol, fix_imports, buffer_callback)`: the arguments of `pickle.Pickler`, by position.
    """


def detach(descriptor: Any) -> int:
    """Return the descriptor that a `DupFd` has brought, which this process keeps to itself."""
    fd: int = descriptor.detach()
    os.set_inheritable(fd, False)
    return fd


def DupFd(fd: int) -> Any:
    """Return a wrapper of a descriptor: pickled to another process, its `detach()` returns a copy there.

    That of a pipe over rings takes its rings along, to the `Connection` that is made on the copy.
    """
    ring = ring_fd(fd)
    return _reduction.DupFd(fd) if ring is None else ring


def register(type: type, reduce: Any) -> None:
    """Register a reducer for `type`: for fastmp's messages and for the standard library's."""
    ForkingPickler.register(type, reduce)


def dump(obj: object, file: Any, protocol: int | None = None) -> None:
    """Pickle `obj` to `file` with `ForkingPickler`; `protocol` defaults to pickle's."""
    ForkingPickler(file, protocol).dump(obj)
