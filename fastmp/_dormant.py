"""The workers of a new pool: the first is forked with its pool, the others when there is work for them.

A fork costs as much as hundreds of small tasks, in a large parent far more; and what Python does at the beginning of a
forked process costs more than the fork, as it writes to hundreds of pages, each of which is copied for it. So a pool
forks two processes, in one go, as between two forks the parent would write to pages that have to be copied again: its
first worker, which begins at once, and its template (`_template.py`), in which nothing of Python runs as long as it is
asked for nothing else than the other workers (csrc/pool/dormant.c).

    parent   -- wanted, closed (shared memory) -->  template
             <- pids (shared memory) -------------

All process objects are made and started with the pool, and a worker is there as soon as somebody looks: who asks for
its pid or its sentinel, joins it or sends it a signal, waits until it is forked. One that is never needed never exists:
when the pool ends, it has ended as well, with exit code 0, or as by the signal of `terminate`.

Called by: `fastmp/_pool_upkeep.py`. Nothing can be told from outside but that a worker without work is no process,
and may have run none of the functions of `os.register_at_fork`. Where it could, the workers are started one by one:
`may_sleep`.
Invariants:

- A place has one worker: what the template has not forked when it has ended for certain, it will not fork.
- In a process that was forked of the parent these objects do nothing.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from multiprocessing import util as _util
from types import BuiltinFunctionType

from . import _core, popen_fork
from ._child import plain_child
from ._template import PATIENCE
from .process import BaseProcess, ForkProcess, Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, NoReturn

    from ._template import Template

__all__ = ["may_sleep", "start_all"]

util: Any = _util  # its inner names have no declared types

#: Seconds until all workers are there: a pool that lives on is one whose workers are ready.
ALL_AFTER = 0.05
#: Seconds between two looks whether a template that is to fork a worker has ended.
LOOK = 0.04
#: Methods of a process that a program may have replaced, to be called in each.
_REPLACED = ("start", "run", "_bootstrap")


def may_sleep(cls: Any) -> bool:
    """Whether nobody can tell that processes of this class have begun later than they were started."""
    return (
        _is_forked(cls)
        and _core.can_fork_siblings()
        and util._logger is None  # it would tell of each process's beginning and end
        and threading.current_thread() is threading.main_thread()
        and isinstance(os.fork, BuiltinFunctionType)
        and threading.active_count() == 1
        and (sys.version_info < (3, 12) or _count_threads() == 1)  # fork warns of all others, NumPy's too
    )


def _is_forked(cls: Any) -> bool:
    if cls is Process:
        from .context import default_process_class

        cls = default_process_class()
    return cls is ForkProcess and all(
        getattr(getattr(BaseProcess, name), "__module__", None) == BaseProcess.__module__
        and getattr(cls, name) is getattr(BaseProcess, name)
        for name in _REPLACED
    )


def _count_threads() -> int:
    try:
        return os.stat("/proc/self/task").st_nlink - 2
    except OSError:
        return 0


def start_all(
    crew: _core.Crew, processes: Sequence[Any], template: Template, started: Callable[[int, Any], None]
) -> None:
    """Start as many of the processes as there can be, and the template; tell the place of each that is started."""
    util._flush_std_streams()  # or each child would write the rest once more
    pid = _fork_first(crew, processes, template)
    popens: list[_Popen] = []
    try:
        if pid is not None:
            _start(processes[0], partial(_First, pid=pid), popens)
            started(0, processes[0])
            crew.set_worker(0, pid)
        if template.pid is not None:
            for place in range(1, len(processes)):
                _start(processes[place], partial(_Later, crew=crew, place=place, template=template), popens)
                started(place, processes[place])
    except BaseException:
        template.end()
        template.reap()
        _undo(crew, range(max(len(popens), 1), len(processes)))
        raise
    finally:
        for popen in popens:
            popen.is_new = False


def _start(process: Any, make: Callable[[Any], _Popen], popens: list[_Popen]) -> None:
    process._Popen = make
    try:
        process.start()
    finally:
        del process._Popen
    popens.append(process._popen)


def _fork_first(crew: _core.Crew, processes: Sequence[Any], template: Template) -> int | None:
    """Fork the first worker and the template. Return the pid of the worker, None if there can be no more."""
    pids: list[int] = []
    parent_pid = os.getpid()
    try:
        with suppress(OSError), template.begin() as parent:
            # What each that begins would make itself, and copy pages for, is made once here.
            plain = [plain_child(process, parent) for process in processes]
            run = partial(_run, processes, plain, template, parent)
            try:
                _core.fork_dormant(crew, parent_pid, template.theirs.fileno(), parent, ALL_AFTER, run, pids)
            finally:  # signals have waited, and are handled as soon as it returns
                if len(pids) > 1:
                    template.made(pids[1])
    except BaseException:
        if os.getpid() == parent_pid:  # not where an `os._exit` has raised at the end of a child
            _undo(crew, range(1, len(processes)))
            for pid in pids[:1]:
                popen_fork.undo(pid)
        raise
    if template.pid is None:
        _undo(crew, range(1, len(processes)))
    return pids[0] if pids else None


def _undo(crew: _core.Crew, places: Iterable[int]) -> None:
    """End those that a template has forked which has ended."""
    for place in places:
        pid = _core.meet_worker(crew, place, 0)
        if pid:
            popen_fork.undo(pid)
            crew.bury_worker(place, lambda *_: RuntimeError("no task was sent"))


def _run(processes: Sequence[Any], plain: Sequence[Any], template: Template, parent: int, place: int) -> NoReturn:
    """In a child that begins."""
    if place == len(processes):
        template.serve(parent)
    template.forget()
    popen_fork.run_child(processes[place], parent, plain[place])


class _Popen(popen_fork.Popen):
    """A worker."""

    is_new = True  # its siblings are still to be started, each of which would look for all that have ended

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        return None if self.is_new and flag == os.WNOHANG else super().poll(flag)


class _First(_Popen):
    """The first one, which is there."""

    def __init__(self, process_obj: Any, pid: int) -> None:
        self.pid = pid
        super().__init__(process_obj)

    def _launch(self, process_obj: Any) -> None:
        self._parent = os.getpid()
        self._watch()


class _Later(_Popen):
    """One that is there when it is needed, or when somebody looks at it: until then it has no pid and no sentinel."""

    pid: Any  # None: of one that never begins

    def __init__(self, process_obj: Any, crew: _core.Crew, place: int, template: Template) -> None:
        self._crew, self._place, self._template = crew, place, template
        super().__init__(process_obj)

    def _launch(self, process_obj: Any) -> None:
        self._parent = os.getpid()

    def __getattr__(self, name: str) -> Any:
        """The pid or the sentinel, of which nothing is known yet."""
        if name not in ("pid", "sentinel"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if self.is_new or self._parent != os.getpid():
            return None if name == "pid" else -1
        self._exist()
        if name not in self.__dict__:
            self._open_sentinel(None)
        return self.__dict__[name]

    def _exist(self) -> None:
        """Wait until it is there, or never will be."""
        if not self._template.is_over and not self._meet():
            self._crew.wake()
            made, end = -1, 0.0
            while not self._meet() and (self._crew.made != made or time.monotonic() < end):
                if self._crew.made != made:  # a fork of a large process takes long, and there may be many
                    made, end = self._crew.made, time.monotonic() + PATIENCE
                _core.meet_worker(self._crew, self._place, LOOK)
        if "pid" not in self.__dict__:
            self._template.end()
            self._template.reap()
            self._meet()

    def _meet(self) -> bool:
        """Learn who it is, or that there will be none; return whether that is known.

        :raises OSError: if there can be no more descriptors; what is known is as before
        """
        if "pid" in self.__dict__:
            return True
        with self._template.lock:
            if "pid" in self.__dict__:
                return True
            is_final = self._template.has_ended  # before the look, which is the last one then
            pid = _own(_core.meet_worker(self._crew, self._place, 0))
            if pid is not None:
                self._open_sentinel(pid)
            elif is_final:
                self.returncode = self._template.code
            else:
                return False
            self.pid = pid
        return True

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        if self._parent != os.getpid() or (self.is_new and flag == os.WNOHANG):
            return None
        try:
            return super().poll(flag) if self._meet() else None
        except OSError:  # no more descriptors: who looks again will see
            return None

    def wait(self, timeout: float | None = None) -> int | None:
        if self._parent != os.getpid():
            return None
        self._exist()
        return super().wait(timeout)

    def _send_signal(self, sig: int) -> None:
        if self._parent != os.getpid():
            return
        if not self._template.is_over:
            self._exist()
        if self._meet():
            super()._send_signal(sig)

    def _reap(self, code: int) -> None:
        _core.adopt(self.pid)  # it was forked by another process
        super()._reap(code)


def _own(pid: int) -> int | None:
    """Return the pid of a child, None for 0, or if somebody has written over it: signals go to no other's process."""
    if pid <= 0:
        return None
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # or somebody who waits for all children has reaped it
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, 0)
            return None
    return pid
