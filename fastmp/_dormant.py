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
from multiprocessing import process as _process
from multiprocessing import util as _util
from types import BuiltinFunctionType

from . import _core, popen_fork
from ._child import plain_child
from ._template import PATIENCE
from .process import BaseProcess, ForkProcess, Forks, Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

    from ._pool_upkeep import Upkeep
    from ._template import Template

__all__ = ["may_sleep", "start_all"]

# Their inner names have no declared types.
process_module: Any = _process
util: Any = _util

#: Seconds until all workers are there: a pool that lives on is one whose workers are ready.
ALL_AFTER = 0.05
#: Seconds between two looks whether a template that is to fork a worker has ended.
LOOK = 0.04
#: Methods of a process that a program may have replaced, to be called in each, and the class that they are of.
_REPLACED = {"start": Forks, "run": BaseProcess, "_bootstrap": BaseProcess}


def may_sleep(cls: Any) -> bool:
    """Whether nobody can tell that processes of this class have begun later than they were started."""
    return (
        _is_forked(cls)
        and _core.can_fork_siblings()
        and util._logger is None  # it would tell of each process's beginning and end
        and not process_module._current_process._config.get("daemon")  # `start` says why it may have no children
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
        and getattr(cls, name) is getattr(owner, name)
        for name, owner in _REPLACED.items()
    )


def _count_threads() -> int:
    try:
        return os.stat("/proc/self/task").st_nlink - 2
    except OSError:
        return 0


def start_all(pool: Upkeep, template: Template) -> None:
    """Start as many workers of a new pool as there can be, and its template.

    All that can be is done before the fork: as long as there are copies of this process, each page that is written to
    is copied, and to free an object is to write, too. So what is used up is freed when the template ends.
    """
    util._flush_std_streams()  # or each child would write the rest once more
    crew = pool._crew
    owner = os.getpid()
    try:
        parent = _core.pidfd_open(owner)
    except OSError:
        template.forget()
        return
    try:
        processes = pool._make_dormant_workers(parent)
        _expect(crew, processes, template)
        # What each that begins would make itself, and copy pages for, is made once here.
        plain = [plain_child(process, parent) for process in processes]
        run = partial(_run, processes, template, parent)
        use = (crew, owner, template.sockets, parent, ALL_AFTER, plain, run)
        template.used = partial(_forget_use, processes, use)
        pool._pool += processes
        pool._places.update(enumerate(processes))
        process_module._children.update(processes)
        _core.fork_dormant(use)
    except OSError:
        pass
    finally:  # signals have waited, and are handled as soon as it returns
        if os.getpid() == owner:  # else an `os._exit` has raised at the end of a child
            os.close(parent)
            template.made(crew.template_pid or None)
    if template.pid is None:
        template.free_used()
        _undo(pool)


def _expect(crew: _core.Crew, processes: list[Any], template: Template) -> None:
    """Do what `start` does in the parent but for the fork."""
    process_module._cleanup()
    for place, process in enumerate(processes):
        process._popen = (_Later if place else _First)(crew, place, template)
        process._sentinel = -1  # to be asked for


def _forget_use(processes: list[Any], use: tuple[Any, ...]) -> None:
    """Do what `start` does in the parent after the fork; `use` is freed with the caller's."""
    for process in processes:
        del process._target, process._args, process._kwargs


def _undo(pool: Upkeep) -> None:
    """Forget the processes that there cannot be without a template, and end those of them that it has forked."""
    made = 1 if _core.meet_worker(pool._crew, 0, 0) else 0
    process_module._children.difference_update(pool._pool[made:])
    del pool._pool[made:]
    while len(pool._places) > made:
        place, _ = pool._places.popitem()
        pid = _core.meet_worker(pool._crew, place, 0)
        if pid:
            popen_fork.undo(pid)
            pool._crew.bury_worker(place, lambda *_: RuntimeError("no task was sent"))


def _run(processes: Sequence[Any], template: Template, parent: int, place: int) -> NoReturn:
    """In a child that begins, if it is the template, or must run Python's own `_bootstrap`."""
    if place == len(processes):
        template.serve(parent)
    popen_fork.run_child(processes[place], parent, None)


class _Later(popen_fork.Popen):
    """A worker that is there when it is needed, or when somebody looks at it: before it has no pid and no sentinel."""

    pid: Any  # None: of one that never begins

    finalizer: Any = None
    returncode: int | None = None

    def __init__(self, crew: _core.Crew, place: int, template: Template) -> None:
        self._crew, self._place, self._template = crew, place, template
        self._parent = os.getpid()

    def __getattr__(self, name: str) -> Any:
        """The pid or the sentinel, of which nothing is known yet."""
        if name not in ("pid", "sentinel"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if self._template.is_new or self._parent != os.getpid():
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
        if not self._meet():
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
        if self._parent != os.getpid() or self._template.is_new:
            return None
        try:
            return super().poll(flag) if self._meet() else None
        except OSError:  # no more descriptors: who looks again will see
            return None

    def wait(self, timeout: float | None = None) -> int | None:
        if self._parent != os.getpid() or self._template.is_new:
            return None
        self._exist()
        return super().wait(timeout)

    def _send_signal(self, sig: int) -> None:
        if self._parent != os.getpid() or self._template.is_new:
            return
        try:
            if not self._template.is_over:
                self._exist()
            if self._meet():
                super()._send_signal(sig)
        except OSError:  # no more descriptors: it is a child, and not reaped
            pid = _own(_core.meet_worker(self._crew, self._place, 0))
            if pid is None:
                raise
            os.kill(pid, sig)

    def _reap(self, code: int) -> None:
        _core.adopt(self.pid)  # it was forked by another process
        super()._reap(code)


class _First(_Later):
    """The first one, which this process has forked, but has not met yet."""

    _reap = popen_fork.Popen._reap


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
