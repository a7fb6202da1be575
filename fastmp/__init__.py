"""`multiprocessing` and `ProcessPoolExecutor` on shared memory and a C core.

Three ways in, the same classes behind each:

- ``import fastmp as multiprocessing``
- ``fastmp.install()``, or ``with fastmp.installed():``, for every library in the process
- ``fastmp run script.py``, or ``FASTMP_INSTALL=1``, for a program and every Python that it starts

All names are those of `multiprocessing`; the others are in the second part of `__all__`.
"""

from __future__ import annotations

import multiprocessing as _multiprocessing  # noqa: F401  first: with FASTMP_INSTALL=1 it calls install()

from . import _core as _core  # says which feature of the kernel is missing
from . import context as context
from . import process as process
from .context import _default_context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._atomic import atomic
    from ._errors import OwnerDied, TaskFailed, WorkerDied
    from ._install import install, installed, uninstall
    from ._jupyter import load_ipython_extension, unload_ipython_extension
    from ._shared_array import shared_array
    from ._shared_dict import shared_dict
    from .concurrent.futures.process import ProcessPoolExecutor

__version__ = "0.1.0"

__all__ = [
    "Array",
    "AuthenticationError",
    "Barrier",
    "BoundedSemaphore",
    "BufferTooShort",
    "Condition",
    "Event",
    "JoinableQueue",
    "Lock",
    "Manager",
    "Pipe",
    "Pool",
    "Process",
    "ProcessError",
    "Queue",
    "RLock",
    "RawArray",
    "RawValue",
    "Semaphore",
    "SimpleQueue",
    "TimeoutError",
    "Value",
    "active_children",
    "allow_connection_pickling",
    "cpu_count",
    "current_process",
    "freeze_support",
    "get_all_start_methods",
    "get_context",
    "get_logger",
    "get_start_method",
    "log_to_stderr",
    "parent_process",
    "reducer",
    "set_executable",
    "set_forkserver_preload",
    "set_start_method",
]
__all__ += [  # fastmp's own
    "OwnerDied",
    "ProcessPoolExecutor",
    "TaskFailed",
    "WorkerDied",
    "atomic",
    "install",
    "installed",
    "load_ipython_extension",
    "shared_array",
    "shared_dict",
    "uninstall",
    "unload_ipython_extension",
]

Array = _default_context.Array
AuthenticationError = _default_context.AuthenticationError
Barrier = _default_context.Barrier
BoundedSemaphore = _default_context.BoundedSemaphore
BufferTooShort = _default_context.BufferTooShort
Condition = _default_context.Condition
Event = _default_context.Event
JoinableQueue = _default_context.JoinableQueue
Lock = _default_context.Lock
Manager = _default_context.Manager
Pipe = _default_context.Pipe
Pool = _default_context.Pool
Process = _default_context.Process
ProcessError = _default_context.ProcessError
Queue = _default_context.Queue
RLock = _default_context.RLock
RawArray = _default_context.RawArray
RawValue = _default_context.RawValue
Semaphore = _default_context.Semaphore
SimpleQueue = _default_context.SimpleQueue
TimeoutError = _default_context.TimeoutError
Value = _default_context.Value
active_children = _default_context.active_children
allow_connection_pickling = _default_context.allow_connection_pickling
cpu_count = _default_context.cpu_count
current_process = _default_context.current_process
freeze_support = _default_context.freeze_support
get_all_start_methods = _default_context.get_all_start_methods
get_context = _default_context.get_context
get_logger = _default_context.get_logger
get_start_method = _default_context.get_start_method
log_to_stderr = _default_context.log_to_stderr
parent_process = _default_context.parent_process
reducer = _default_context.reducer
set_executable = _default_context.set_executable
set_forkserver_preload = _default_context.set_forkserver_preload
set_start_method = _default_context.set_start_method


_LATE = {  # what imports more than a program without it should pay for
    **dict.fromkeys(("OwnerDied", "TaskFailed", "WorkerDied"), "._errors"),
    **dict.fromkeys(("install", "installed", "uninstall"), "._install"),
    **dict.fromkeys(("load_ipython_extension", "unload_ipython_extension"), "._jupyter"),
    "ProcessPoolExecutor": ".concurrent.futures.process",
    "atomic": "._atomic",
    "shared_array": "._shared_array",
    "shared_dict": "._shared_dict",
}


_MODULES = (  # that programs use without importing them by name
    *("connection", "dummy", "forkserver", "heap", "managers", "pool", "popen_fork", "queues", "reduction"),
    *("resource_sharer", "resource_tracker", "shared_memory", "sharedctypes", "spawn", "synchronize", "util"),
)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _LATE:
        return getattr(import_module(_LATE[name], __name__), name)
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE, *_MODULES})
