"""The Process classes, one per start method, and the functions that tell who runs.

The life of a process object (names, identities, daemons, `active_children`, the child's `_bootstrap`) is the standard
library's: one registry for both, and what others patch there keeps working. Only the way in which the child is made is
fastmp's: `popen_fork`, `popen_spawn_posix` and `popen_forkserver`. Called by: `fastmp/context.py`.
"""

from __future__ import annotations

import multiprocessing.context as _standard
import signal
from multiprocessing import process as _process
from multiprocessing.process import BaseProcess, active_children, current_process, parent_process

from . import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .popen_fork import Popen

_inherited: Any = BaseProcess  # its inner methods have no declared types

#: `fastmp.context`, which imports this module, and says so when it is there. An import statement would be executed in
#: each child, and write to pages that are copied for it.
_context: Any = None
#: `fastmp.popen_fork`, for the same reason, once it is needed.
_popen_fork: Any = None

__all__ = ["BaseProcess", "active_children", "current_process", "parent_process"]


def __getattr__(name: str) -> Any:
    """What is not here is the standard library's."""
    return getattr(_process, name)


def _prepare(process_obj: Any) -> Any:
    """Return the arguments of `_core.start_child` for a process, or None if it is to be started in the standard way."""
    global _popen_fork
    if _popen_fork is None:
        from . import popen_fork

        _popen_fork = popen_fork
    return _popen_fork.prepare(process_obj)


class _More:
    """What the standard library's processes cannot do: trees, and what newer Pythons' can."""

    @property
    def sentinel(self) -> int:
        """A descriptor that polls readable when the process has ended."""
        plain: Any = super()
        number: int = plain.sentinel
        if number < 0:  # a pool's worker that is forked when somebody looks at it
            process: Any = self
            if self is _process._current_process:  # type: ignore[attr-defined]
                raise ValueError("process not started")
            number = process._popen.sentinel
        return number

    def terminate(self, *, tree: bool = False) -> None:
        """Send SIGTERM.

        :param tree: to all descendants of the process, too, but for those whose parent has ended already
        """
        plain: Any = super()
        self._end(plain.terminate, signal.SIGTERM, tree)

    def kill(self, *, tree: bool = False) -> None:
        """Send SIGKILL.

        :param tree: to all descendants of the process, too, but for those whose parent has ended already
        """
        plain: Any = super()
        self._end(plain.kill, signal.SIGKILL, tree)

    def _end(self, plain: Callable[[], None], number: int, tree: bool) -> None:
        if not tree:
            plain()
            return
        from ._tree import send_signal

        process: Any = self
        process._check_closed()
        send_signal(process, number)

    if not hasattr(BaseProcess, "interrupt"):  # 3.14

        def interrupt(self) -> None:
            """Send SIGINT: the process meets a `KeyboardInterrupt`, unless it handles the signal otherwise."""
            process: Any = self
            process._check_closed()
            process._popen._send_signal(signal.SIGINT)


class Forks(_More):
    """What may be made by fork."""

    def start(self) -> None:
        """Start the child process."""
        prepared = _prepare(self)
        if prepared is None:
            plain: Any = super()
            plain.start()
        else:
            _core.start_child(*prepared)


class Process(Forks, _standard.Process):
    """A process of the default context's start method."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:
        return _context.default_process_class()._Popen(process_obj)

    @staticmethod
    def _after_fork() -> None:
        _context.default_process_class()._after_fork()


class ForkProcess(Forks, _standard.ForkProcess):
    """A process made by fork."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Popen:
        from .popen_fork import Popen

        return Popen(process_obj)

    @staticmethod
    def _after_fork() -> None:
        _context.force_start_method("fork")
        _inherited._after_fork()


class SpawnProcess(_More, _standard.SpawnProcess):
    """A process in a fresh interpreter."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:
        from .popen_spawn_posix import Popen

        return Popen(process_obj)

    @staticmethod
    def _after_fork() -> None:
        _context.force_start_method("spawn")


class ForkServerProcess(_More, _standard.ForkServerProcess):
    """A process forked by the fork server."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:
        from .popen_forkserver import Popen

        return Popen(process_obj)

    @staticmethod
    def _after_fork() -> None:
        _context.force_start_method("forkserver")
        _inherited._after_fork()
