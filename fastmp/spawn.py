"""`multiprocessing.spawn`, and what a child that is not forked gets before its process object is unpickled.

The command line, the preparation of the child and its main function are the standard library's. That function reads
two pickles, and what fastmp adds lies in them, so that any way of starting it will do (`freeze_support` of a frozen
program, the fork server, the command line of another library):

1. the preparation data, in three steps: names, keys and paths; fastmp itself (`begin`: the shared memory, `install()`
   if the parent has it); the main module, which finds in `multiprocessing` what the parent's has found.
2. the process object, in a wrapper that gives it a better sentinel of its parent, and leaves the memory in order.

Called by: `fastmp/popen_spawn_posix.py`, `fastmp/popen_forkserver.py`; pickles that they have made.
"""

from __future__ import annotations

import io
import operator
import os
from contextlib import suppress
from functools import wraps
from multiprocessing import context as _context
from multiprocessing import reduction as _reduction
from multiprocessing import spawn as _standard
from multiprocessing.spawn import freeze_support, get_command_line, get_executable, import_main_path, set_executable

from . import _core
from ._by_value import goes_by_value
from ._install import hidden, install, original, uninstall
from ._installed import is_installed
from .popen_fork import end_child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess
    from typing import Any

__all__ = [
    "_main",
    "freeze_support",
    "get_command_line",
    "get_executable",
    "get_preparation_data",
    "import_main_path",
    "set_executable",
]

standard: Any = _standard  # its inner functions have no declared types
_main = standard._main
#: The preparation data that wait until fastmp is there: the main module is imported for them.
_LATE = ("start_method", "init_main_from_name", "init_main_from_path")

_parent_sentinel = -1


def __getattr__(name: str) -> Any:
    """What is not here is the standard library's."""
    return getattr(standard, name)


# ---- in the parent


def get_preparation_data(name: str) -> dict[str, Any]:
    """Return what a child must know of its parent before anything else; patched ones are called too.

    :raises RuntimeError: if the main module starts a process while it is imported by a child
    """
    default = standard.get_start_method.__self__
    chosen = default._actual_context
    try:
        return dict(standard.get_preparation_data(name))
    finally:
        default._actual_context = chosen  # asking for the standard library's start method must not settle it


class Departure:
    """A child on its way, from its place in the shared memory to its start. If the block fails, there is none.

    :param popen: whose descriptors go along
    """

    def __init__(self, popen: Any) -> None:
        self.popen = popen
        self.is_made = False
        self.identity = _core.reserve_child()
        try:
            self.parent = _core.pidfd_open(os.getpid())
        except BaseException:
            _core.child_failed(self.identity)
            raise

    def __enter__(self) -> Departure:
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.close(self.parent)
        if not self.is_made:
            _core.child_failed(self.identity)

    def pack(self, process_obj: BaseProcess) -> memoryview:
        """Return the two pickles; the child becomes a holder of each shared object in them."""
        data = get_preparation_data(process_obj.name)
        stream = io.BytesIO()
        _context.set_spawning_popen(self.popen)
        before = _core.hold_for(self.identity)
        try:
            _dump(_Preparation(data, self._baggage()), stream)
            _dump(_Passenger(process_obj, self.popen.method), stream)
        finally:
            _core.hold_for(before)
            _context.set_spawning_popen(None)
        return stream.getbuffer()

    def made(self, pid: int) -> None:
        """The child is there."""
        _core.child_started(self.identity, pid)
        self.is_made = True

    def _baggage(self) -> tuple[Any, ...]:
        """Return the arguments of `begin`."""
        from .context import default_start_method

        region, token = _core.region()
        fds = [self.popen.DupFd(self.popen.duplicate_for_child(fd)) for fd in (region, self.parent)]
        return *fds, token, self.identity, default_start_method(), is_installed()


def send(data: memoryview, writer: int) -> None:
    """Write to the pipe of a child, to its end; a child that ends before it has read all says why by its exit code."""
    with suppress(BrokenPipeError), open(writer, "wb") as stream:
        stream.write(data)


class _Pickler(_reduction.ForkingPickler):
    """Also pickles the standard classes in whose place `install` has put others, and what goes by value."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.hidden = hidden()

    def reducer_override(self, obj: Any) -> Any:
        place = self.hidden.get(id(obj))
        if place is not None:
            return original, place
        by_value = goes_by_value(obj)
        return NotImplemented if by_value is None else by_value.__reduce__()


def _dump(obj: object, stream: io.BytesIO) -> None:
    reducer = _context.reduction  # type: ignore[attr-defined]  # somebody may have set another one
    if reducer is _reduction:
        _Pickler(stream).dump(obj)
    else:
        reducer.dump(obj, stream)


class _Call:
    """Pickles as a call: the receiver has the result instead."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


class _Preparation:
    """Preparation data that have taken effect, but for the last, by the time that they are unpickled."""

    def __init__(self, data: dict[str, Any], baggage: tuple[Any, ...]) -> None:
        self.first = {name: value for name, value in data.items() if name not in _LATE}
        self.last = {name: value for name, value in data.items() if name in _LATE}
        self.baggage = baggage

    def __reduce__(self) -> tuple[Any, ...]:
        # Not one name of fastmp's before the first step: it may be the path of the parent that leads to fastmp.
        return operator.getitem, ((_Call(standard.prepare, self.first), _Call(begin, *self.baggage), self.last), 2)


class _Passenger:
    """A process object on its way; what arrives is an `_Arrival`."""

    def __init__(self, process_obj: BaseProcess, method: str) -> None:
        self.process_obj = process_obj
        self.method = method

    def __reduce__(self) -> tuple[Any, ...]:
        return _Arrival, (self.process_obj, self.method)


# ---- in the child


def begin(region: Any, parent: Any, token: bytes, identity: int, method: str, installs: bool) -> None:
    """Become what the parent is: a user of its shared memory, with fastmp installed or not."""
    from .context import adopt_start_method

    global _parent_sentinel
    fd = region.detach()
    _core.enter(fd, token, identity)
    os.close(fd)
    _parent_sentinel = parent.detach()
    adopt_start_method(method)
    if installs:
        install()
    else:
        uninstall()


def as_parent_is(prepare: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    """Return the standard `prepare` for a process that has fastmp installed (`FASTMP_INSTALL`, a preloaded module).

    If its parent is of the standard library alone, it becomes so too: the parent's queues and locks come to it as the
    standard library's pickles. Ours prepares in two parts (`_Preparation`), a standard one in one.
    """

    @wraps(prepare)  # it is pickled by its name
    def prepare_as_parent_is(data: dict[str, Any]) -> None:
        if data.keys() >= {"name", "start_method"}:
            uninstall()
        prepare(data)

    return prepare_as_parent_is


class _Arrival:
    """The process object of this process, as the standard main function sees it."""

    def __init__(self, process_obj: Any, method: str) -> None:
        self.process_obj = process_obj
        self.method = method

    def _bootstrap(self, parent_sentinel: int) -> int:
        """Run the process; return its exit code.

        The given sentinel is a pipe, which says that the parent has ended only when none of its other children holds
        the other end any more: ours is the parent itself.
        """
        os.close(parent_sentinel)
        code = int(self.process_obj._bootstrap(parent_sentinel=_parent_sentinel))
        if self.method == "forkserver":  # ends by os._exit, and not as a whole interpreter does
            end_child()
        return code & 0xFF
