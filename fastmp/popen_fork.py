"""A child made by fork, watched through a descriptor of the process itself (pidfd).

Called by: `fastmp/process.py`, and the Popen of the other start methods, which makes the child in another way.
Invariants:

- `sentinel` is readable exactly when the child has ended, whatever its own children have inherited.
- The exit code is read before the child is reaped, so that any number of threads may ask at once.
- The child never returns from `_run_child`.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import sys
from contextlib import suppress
from math import ceil
from multiprocessing import popen_fork as _standard
from multiprocessing import process as _process
from multiprocessing import util as _util
from types import BuiltinFunctionType

from . import _child, _core, context
from ._timeouts import countable
from .process import ForkProcess, Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess
    from typing import Any, NoReturn

__all__ = ["Popen"]

# Their inner names have no declared types.
process: Any = _process
util: Any = _util

UNKNOWN = 255  # the exit code of a child that something else has reaped, as in asyncio
LONGEST_POLL_MS = 2**31 - 1
# From 3.13 on a child runs the exit functions that it has registered itself.
CHILD_RUNS_ATEXIT = sys.version_info >= (3, 13)


class Popen(_standard.Popen):
    """One forked child."""

    pid: int
    sentinel: int
    returncode: int | None
    finalizer: Any

    def _launch(self, process_obj: BaseProcess) -> None:
        if sys.is_finalizing():
            raise RuntimeError("can't fork at interpreter shutdown")
        self._parent = os.getpid()
        parent_sentinel = _core.pidfd_open(self._parent)
        try:
            plain = _child.plain_child(process_obj, parent_sentinel)
            self.pid = _core.fork_child(plain)
            if self.pid == 0:
                _run_child(process_obj, parent_sentinel)
        finally:
            os.close(parent_sentinel)
        self._watch()

    def _watch(self) -> None:
        """Open the sentinel of the child just made."""
        try:
            self._open_sentinel(self.pid)
        except OSError:
            undo(self.pid)
            raise

    def _open_sentinel(self, pid: int | None) -> None:
        """Open that of a child, or of one that was never made."""
        try:
            self.sentinel = _readable_descriptor() if pid is None else _core.pidfd_open(pid)
        except ProcessLookupError:  # it has ended and something else has reaped it
            self.returncode = UNKNOWN
            self.sentinel = _readable_descriptor()
        self.finalizer = _core.Closer(self.sentinel)

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """Return the exit code of a child that has ended, None for one that runs or is another process's child."""
        if self.returncode is None and self._parent == os.getpid():
            look = self._look if isinstance(os.waitpid, BuiltinFunctionType) else self._ask
            look(flag & os.WNOHANG)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end, for at most so many seconds; return the exit code or None."""
        if self.returncode is None and timeout is not None and not readable(self.sentinel, timeout):
            return None
        return self.poll(0 if timeout is None or timeout > 0 else os.WNOHANG)

    def _look(self, flag: int) -> None:
        try:
            ended = os.waitid(os.P_PIDFD, self.sentinel, os.WEXITED | os.WNOWAIT | flag)
        except ChildProcessError:
            # Another thread was faster, and has set the code before it reaped; or a stranger has reaped our child.
            if self.returncode is None and readable(self.sentinel, 0):
                self._reap(UNKNOWN)
            return
        if ended is not None:
            self._reap(ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status)

    def _ask(self, flag: int) -> None:
        """Who has replaced `os.waitpid` (gevent) may reap all children himself, and has the exit codes."""
        if super().poll(flag) is not None:
            _core.reaped(self.pid)
        elif self.returncode is None and flag == 0 and readable(self.sentinel, 0):
            self._reap(UNKNOWN)

    def _reap(self, code: int) -> None:
        self.returncode = code
        _core.reap(self.sentinel, self.pid)

    def _pidfd(self) -> int:
        """Return the descriptor to send signals to."""
        return self.sentinel

    def _send_signal(self, sig: int) -> None:
        if self.returncode is not None:
            return
        try:
            signal.pidfd_send_signal(self._pidfd(), sig)
        except ProcessLookupError:
            pass
        except OSError:
            if self.wait(timeout=0.1) is None:
                raise


def _forks(make: Any) -> bool:
    """Whether this `_Popen` of a process makes a Popen of this module."""
    if make is Process._Popen:
        make = context.default_process_class()._Popen
    return make is ForkProcess._Popen and Popen._launch is _LAUNCH


def prepare(process_obj: Any) -> tuple[Any, ...] | None:
    """Return the arguments of `_core.start_child`, or None for a process that `BaseProcess.start` is to start.

    It does what that does before the fork, and `Popen` for it.
    """
    if (
        not _child.STARTS
        or process_obj._popen is not None
        or process_obj._closed
        or process_obj._parent_pid != os.getpid()
        or process._current_process._config.get("daemon")
        or not _forks(process_obj._Popen)
        or sys.is_finalizing()
    ):
        return None
    arguments = None
    sentinel = _core.pidfd_open(process_obj._parent_pid)
    try:
        arguments = _arguments(process_obj, sentinel)
    finally:
        if arguments is None:
            os.close(sentinel)
    return arguments


def _arguments(process_obj: Any, sentinel: int) -> tuple[Any, ...] | None:
    plain = _child.plain_child(process_obj, sentinel)
    if plain is None:
        return None
    process._cleanup()
    util._flush_std_streams()
    popen = Popen.__new__(Popen)
    popen.returncode = popen.finalizer = None
    popen._parent = process_obj._parent_pid
    return process_obj, popen, plain, sentinel, _run_child


def undo(pid: int) -> None:
    """End a child that cannot be watched, or told what to do; 0 is this process, in which an `os._exit` has raised."""
    if pid == 0:
        return
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    _core.reaped(pid)


def readable(fd: int, timeout: float | None) -> bool:
    """Whether `fd` polls readable within `timeout` seconds."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    milliseconds = None if timeout is None else min(ceil(max(countable(timeout), 0) * 1000), LONGEST_POLL_MS)
    return bool(poller.poll(milliseconds))


def _readable_descriptor() -> int:
    """Return a descriptor that always polls readable."""
    reader, writer = os.pipe()
    os.close(writer)
    return reader


def run_child(process_obj: Any, parent_sentinel: int, plain: tuple[Any, Any, Any] | None) -> NoReturn:
    """As `_run_child`, in a child that was not made by a Popen; `plain` is what `_child.plain_child` has returned."""
    if plain is not None:
        _core.run_child(*plain)
    _run_child(process_obj, parent_sentinel)


def _run_child(process_obj: Any, parent_sentinel: int) -> NoReturn:
    """Everything that the child does, from the fork to its end."""
    code = 1
    try:
        if CHILD_RUNS_ATEXIT:
            atexit._clear()
            atexit.register(util._exit_function)
        code = process_obj._bootstrap(parent_sentinel=parent_sentinel)
        end_child()
    finally:
        os._exit(code & 0xFF)


def end_child() -> None:
    """What comes between `_bootstrap` and `os._exit`, in a child that was forked: of this process or of the server."""
    if CHILD_RUNS_ATEXIT:
        atexit._run_exitfuncs()
        util._flush_std_streams()
    _core.leave()


_LAUNCH = Popen._launch
