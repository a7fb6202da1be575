"""Children that C leads from the fork to their end: which, with what, and what becomes of exceptions.

The standard library's `BaseProcess._bootstrap` writes to hundreds of pages, each of which is copied for the child.
Where nobody can tell the difference, C does the same without its Python (csrc/py/child.c). Called by:
`fastmp/popen_fork.py`, `_dormant.py`, `_template.py`.
"""

from __future__ import annotations

import _thread
import atexit
import builtins
import os
import sys
import threading
from contextlib import suppress
from multiprocessing import context as _standard_context
from multiprocessing import popen_fork as standard_popen
from multiprocessing import process as _standard_process
from multiprocessing import util as _util
from types import BuiltinFunctionType, FunctionType, ModuleType
from weakref import WeakSet

from . import _core, context
from .process import ForkProcess, Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["plain_child"]

# Their inner names have no declared types.
util: Any = _util
process: Any = _standard_process
standard_context: Any = _standard_context

# From 3.13 on `_bootstrap` leaves the exit function to atexit.
BOOTSTRAP_EXITS = sys.version_info < (3, 13)


def plain_child(process_obj: Any, sentinel: int) -> tuple[Any, Any, Any] | None:
    """Return the arguments of `_core.run_child`, made before the fork if may be; None if C cannot run this process."""
    if not _core.is_plain_child(process_obj):
        return None
    if not _core.has_stdin():
        with suppress(OSError):
            _keep_stdin()
    parent = process._ParentProcess(process_obj._parent_name, process_obj._parent_pid, sentinel)
    return process_obj, parent, tuple(_choices(process_obj))


def _keep_stdin() -> None:
    """Make what a child's `sys.stdin` will be."""
    fd = os.open(os.devnull, os.O_RDONLY)
    try:
        with open(fd, encoding="utf-8", closefd=False):
            pass  # what closing looks up is known to the child then
        stream: Any = open(fd, encoding="utf-8", closefd=False)  # noqa: SIM115
    finally:
        os.close(fd)
    _core.keep_stdin(stream, stream.buffer.raw)


def _choices(process_obj: Any) -> Iterator[tuple[Any, Any]]:
    """Yield default contexts whose start method is another than what `_after_fork` sets, and the context of that."""
    default: Any = context._default_context
    if default._actual_context is not context._contexts["fork"]:
        yield default, context._contexts["fork"]
    default = standard_context._default_context
    if process_obj._start_method is not None:
        chosen = standard_context._concrete_contexts[process_obj._start_method]
        if default._actual_context is not chosen:
            yield default, chosen


def _failed(process_obj: Any, error: BaseException, where: str) -> int:
    """Do as `_bootstrap` does about an exception at its "begin", "run" or "end"; return the exit code."""
    if where == "run" and BOOTSTRAP_EXITS:
        try:
            util._exit_function()
        except BaseException as later:
            later.__context__ = later.__context__ or error
            where, error = "end", later
    if isinstance(error, SystemExit):
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        sys.stderr.write(f"{error.code}\n")
    else:
        sys.stderr.write(f"Process {process_obj.name}:\n")
        _tell(error, process_obj.run if where == "run" else None)
    return 1


def _tell(error: BaseException, run: Any) -> None:
    """Print the traceback, with the lines of the standard library that `_core.run_child` stands for."""
    import traceback

    told = traceback.TracebackException(type(error), error, error.__traceback__, compact=True)
    if run is not None:
        plain = _run is not None and getattr(run, "__func__", None) is _run
        above = [_frame(process.BaseProcess._bootstrap, "self.run()")]
        if plain:
            above.append(_frame(run, "self._target(*self._args, **self._kwargs)"))
        told.stack[:0] = above
    told.print()


def _frame(function: Any, text: str) -> Any:
    """Return the entry of a traceback that stands at this line of the function."""
    import linecache
    from traceback import FrameSummary

    code = function.__code__
    first = code.co_firstlineno
    lines = enumerate(linecache.getlines(code.co_filename)[first - 1 :], first)
    number, line = next(((number, line) for number, line in lines if line.strip() == text), (first, ""))
    columns: Any = (
        {"end_lineno": number, "colno": line.find(text), "end_colno": line.find(text) + len(text)} if line else {}
    )
    return FrameSummary(code.co_filename, number, code.co_name, **columns)


def _own(owner: Any, name: str) -> Any:
    """Return what a module, or a class of it, has defined itself under this name; None if somebody has replaced it."""
    found = vars(owner).get(name)
    home = owner if isinstance(owner, ModuleType) else sys.modules[owner.__module__]
    function = found.__func__ if type(found) is staticmethod else found
    if type(function) is FunctionType:
        return found if function.__globals__ is vars(home) and function.__code__.co_name == name else None
    is_own = type(found) is BuiltinFunctionType or (type(found) is type and found.__module__ == home.__name__)
    return found if is_own else None


def _original(owner: Any, name: str) -> tuple[Any, str, Any, Any]:
    """Return what has to be found there later; of what had been replaced before, None, which nothing is like."""
    found = _own(owner, name)
    return owner, name, found, getattr(found, "__code__", None)


def _digest(entries: tuple[tuple[Any, str, Any, Any], ...]) -> int:
    """Return a number that tells this code from other code."""
    codes = [entry[3] for entry in entries]
    text = repr([code and (code.co_code, code.co_names, code.co_varnames, code.co_consts) for code in codes])
    return int.from_bytes(text.encode(), "big") % (2**61 - 1)


#: The digests of random.Random.seed in 3.11, 3.12 and 3.13: C stands for this code only (csrc/py/child_random.c).
KNOWN_SEEDS = (1205550116520715019, 213182940508253936, 879763757698445970)


def _meet_random(module: Any) -> None:
    """Let C do what this module does in a child."""
    seed = (_original(module.Random, "seed"),)
    if _digest(seed) in KNOWN_SEEDS:
        _core.set_up_random(module.Random, seed, module.Random.__base__.seed)


_run = _own(process.BaseProcess, "run")


_core.set_up_child(
    process,
    util,
    threading,
    sys,
    atexit,
    util._afterfork_registry.data,
    tuple(
        _original(owner, name)
        for owner, names in {
            process: ("current_process", "active_children", "_cleanup", "_ParentProcess"),
            process.BaseProcess: ("_bootstrap", "_after_fork", "start", "_check_closed"),
            standard_popen.Popen: ("__init__",),
            util: (
                "_close_stdin",
                "_exit_function",
                "_flush_std_streams",
                "_run_after_forkers",
                "_run_finalizers",
                "info",
                "debug",
            ),
            threading: ("_shutdown", "main_thread"),
            threading.Thread: ("_set_native_id",),
            standard_context: ("_force_start_method",),
            context: ("force_start_method",),
            os: ("_exit", "open"),
            builtins: ("open",),
        }.items()
        for name in names
    ),
    process.BaseProcess._bootstrap,
    _run,
    (Process._after_fork, ForkProcess._after_fork),
    _meet_random,
    _failed,
)

#: What threading runs in a child.
_threads = tuple(
    _original(owner, name)
    for owner, name in (
        (threading, "_after_fork"),
        (threading, "_enumerate"),
        (threading.Thread, "_after_fork" if hasattr(threading.Thread, "_after_fork") else "_reset_internal_locks"),
        (threading.Event, "_at_fork_reinit"),
        (threading.Condition, "_at_fork_reinit"),
    )
)
#: Its digests in 3.11, 3.12 and 3.13: C stands for this code only (csrc/py/child_threads.c).
KNOWN_THREADS = (102263707725140345, 269305147478997394, 250899634484071183)

#: What _core.start_child stands for the end of, and its digests.
_starts = (_original(process.BaseProcess, "start"), _original(standard_popen.Popen, "__init__"))
KNOWN_STARTS = (1273761747069256240, 2087648514856613583, 699291487711050598)
STARTS = _digest(_starts) in KNOWN_STARTS

if _digest(_threads) in KNOWN_THREADS:
    _core.set_up_threads(
        _threads[0][2],
        _threads,
        vars(threading)["_MainThread"],
        threading.Event,
        threading.Condition,
        _thread.LockType,
        _thread.RLock,
        WeakSet,
    )
