"""The workers of a new pool, forked all at once, and asleep until they are needed.

What Python does at the beginning of a forked process costs more than the fork: it writes to hundreds of pages, each of
which is copied for it. So nothing of Python runs in these children before there is work for them. A worker that sleeps
is woken by the first task that no other takes (csrc/pool/dormant.c), begins by itself after a moment, or ends without
ever having begun, when its pool is closed. And the parent forks all of them in one go: between two forks it would write
to pages that have to be copied again. The first worker does not sleep: it begins while the parent forks the others.
Their template is forked with them, or if it is late, by the last of them when that one begins.

Called by: `fastmp/pool.py`. Nothing can be told from outside but that a worker without work may have run none of the
functions of `os.register_at_fork`. Where it could, the workers are started one by one: `may_sleep`.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from functools import partial
from multiprocessing import util as _util
from types import BuiltinFunctionType

from . import _core, popen_fork
from ._child import plain_child
from .process import BaseProcess, ForkProcess, Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

    from ._template import Template

__all__ = ["may_sleep", "start_all"]

util: Any = _util  # its inner names have no declared types

#: Methods of a process that a program may have replaced, to be called in each.
_REPLACED = ("start", "run", "_bootstrap")


def may_sleep(cls: Any) -> bool:
    """Whether nobody can tell that processes of this class have begun later than they were started."""
    return (
        _is_forked(cls)
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
    pids = _fork_all(crew, processes, template)
    waiting = iter(pids[: len(processes)])
    popens: list[_Popen] = []
    try:
        for place, (process, pid) in enumerate(zip(processes, waiting, strict=False)):
            process._Popen = partial(_Popen, pid=pid)
            try:
                process.start()
            finally:
                del process._Popen
            popens.append(process._popen)
            started(place, process)
        if template.is_late and len(pids) == len(processes):
            template.left_to(processes[-1], crew.wake)
    except BaseException:
        for pid in waiting:
            popen_fork.undo(pid)
        raise
    finally:
        for popen in popens:
            popen.is_new = False


def _fork_all(crew: _core.Crew, processes: Sequence[Any], template: Template) -> list[int]:
    """Return the pids of the processes, and that of the template after them if there is one already."""
    pids: list[int] = []
    parent_pid = os.getpid()
    children: list[Any] = [(crew, parent_pid, place == 0) for place in range(len(processes))]
    try:
        with suppress(OSError), template.begin() as parent:
            # What each that begins would make itself, and copy pages for, is made once here.
            plain = [plain_child(process, parent) for process in processes]
            run = partial(_run, processes, plain, template, parent)
            told = (template.told(),) if template.is_late else ()
            try:
                _core.fork_dormant([*children, (template.theirs.fileno(), parent, *told)], run, pids)
            finally:  # signals have waited, and are handled as soon as it returns
                if len(pids) > len(processes):
                    template.made(pids[len(processes)])
    except BaseException:
        if os.getpid() == parent_pid:  # not where an `os._exit` has raised at the end of a child
            for pid in pids[: len(processes)]:
                popen_fork.undo(pid)
            template.undo()
        raise
    return pids


def _run(processes: Sequence[Any], plain: Sequence[Any], template: Template, parent: int, place: int) -> NoReturn:
    """In a child that is needed."""
    if place == len(processes):
        template.serve(parent)
    template.forget()
    popen_fork.run_child(processes[place], parent, plain[place])


class _Popen(popen_fork.Popen):
    """A child that exists."""

    is_new = True  # its siblings are still to be started, each of which would look for all that have ended

    def __init__(self, process_obj: Any, pid: int) -> None:
        self.pid = pid
        super().__init__(process_obj)

    def _launch(self, process_obj: Any) -> None:
        self._parent = os.getpid()
        self._watch()

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        return None if self.is_new and flag == os.WNOHANG else super().poll(flag)
