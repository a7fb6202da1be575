"""A child that is a fresh interpreter: `multiprocessing.popen_spawn_posix` with fastmp's memory and sentinel.

Called by: `fastmp/process.py`. The child is made and prepared as the standard library does it (see `fastmp/spawn.py`),
and watched as a forked one is: `sentinel` is readable exactly when it has ended, whatever its own children inherit.
"""

from __future__ import annotations

import os
from multiprocessing import popen_spawn_posix as _standard
from multiprocessing import resource_tracker
from multiprocessing import util as _util

from . import popen_fork, spawn
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
    """One spawned child."""

    method = "spawn"
    _fds: list[int]

    def _launch(self, process_obj: BaseProcess) -> None:
        self._parent = os.getpid()
        tracker: int = resource_tracker.getfd()  # type: ignore[assignment]  # it has one then
        self._fds.append(tracker)
        with spawn.Departure(self) as departure:
            data = departure.pack(process_obj)
            writer = self._start_interpreter(tracker)
            departure.made(self.pid)
        try:
            spawn.send(data, writer)
        except BaseException:
            popen_fork.undo(self.pid)
            raise
        self._watch()

    def _start_interpreter(self, tracker: int) -> int:
        """Return the end of the pipe that the child reads from."""
        reader, writer = os.pipe()
        try:
            command = spawn.get_command_line(tracker_fd=tracker, pipe_handle=reader)
            self.pid = util.spawnv_passfds(spawn.get_executable(), command, [*self._fds, reader])
        except BaseException:
            os.close(writer)
            raise
        finally:
            os.close(reader)
        return writer
