"""A child of the fork server: `multiprocessing.popen_forkserver` with fastmp's memory.

Called by: `fastmp/process.py`. The server is the standard library's, and so is what it tells over the pipe that is the
sentinel: the child's pid, and its exit code at the end. Signals go to a descriptor of the process itself (pidfd): the
server reaps the child, so that its pid may be another process's by then.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from multiprocessing import popen_forkserver as _standard
from multiprocessing import util as _util

from . import _core, forkserver, popen_fork, spawn
from ._handed_on import HandsOn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess
    from typing import Any

__all__ = ["Popen"]

standard: Any = _standard  # typeshed knows it on some platforms only
util: Any = _util


def __getattr__(name: str) -> Any:
    """What is not here is the standard library's."""
    return getattr(standard, name)


class Popen(HandsOn, popen_fork.Popen, standard.Popen):  # type: ignore[misc]
    """One child of the server."""

    method = "forkserver"
    _fds: list[int]

    def _launch(self, process_obj: BaseProcess) -> None:
        self._parent = os.getpid()
        self._lock = threading.RLock()
        with spawn.Departure(self) as departure:
            data = departure.pack(process_obj)
            forkserver.ensure_running()
            self.sentinel, writer = forkserver.connect_to_new_process(self._fds)
            self._own = [self.sentinel]  # and the process's
            self.finalizer = util.Finalize(self, _close_all, (self._own,))
            try:
                self.pid = forkserver.read_signed(self.sentinel)
                departure.made(self.pid)
                self._own += _pidfds(self.pid)
            except BaseException:
                os.close(writer)  # the child, if there is one, finds nothing to read, and ends
                raise
        spawn.send(data, writer)

    def _look(self, flag: int) -> None:
        if not popen_fork.readable(self.sentinel, 0 if flag else None):
            return
        with self._lock:  # the code comes once
            if self.returncode is None:
                self.returncode = self._read_code()
                _core.reaped(self.pid)

    _ask = _look  # this process reaps nobody, whatever `os.waitpid` is

    def _read_code(self) -> int:
        try:
            return int(forkserver.read_signed(self.sentinel))
        except (OSError, EOFError):  # the server itself was killed
            return popen_fork.UNKNOWN

    def _pidfd(self) -> int:
        if len(self._own) == 1:
            raise ProcessLookupError
        return self._own[1]


def _pidfds(pid: int) -> list[int]:
    """Return a descriptor of the process, none if it has ended already."""
    with suppress(ProcessLookupError):
        return [_core.pidfd_open(pid)]
    return []


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
