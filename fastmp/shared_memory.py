"""`multiprocessing.shared_memory`: a named segment is the kernel's, with nothing to gain from C.

`SharedMemory` here has its pages from the start: where /dev/shm is full, making one is an OSError, and no later store
is a SIGBUS. After `install()` it is the standard module's, too, and so that of its `ShareableList`. Before Python 3.13
it has that version's `track=False`: the standard library's own code, run without its resource tracker.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from multiprocessing import shared_memory as _shared_memory
from multiprocessing.shared_memory import *  # noqa: F403
from types import FunctionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


__all__ = list(_shared_memory.__all__)

_standard: Any = _shared_memory  # its inner names have no declared types


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)


if hasattr(_standard.SharedMemory, "_track"):
    _SharedMemory: Any = _standard.SharedMemory
else:

    class _NoTracker:
        """A resource tracker that is told nothing."""

        @staticmethod
        def register(name: str, rtype: str) -> None:
            pass

        unregister = register

    def _untracked(function: Callable[..., None]) -> Callable[..., None]:
        """The same code, which finds another tracker under the name."""
        names = {**vars(_standard), "resource_tracker": _NoTracker}
        return FunctionType(function.__code__, names, function.__name__, function.__defaults__)

    class _SharedMemory(_standard.SharedMemory):  # type: ignore[misc,no-redef]
        _init_untracked = _untracked(_standard.SharedMemory.__init__)
        _unlink_untracked = _untracked(_standard.SharedMemory.unlink)
        _track = True

        def __init__(self, name: str | None = None, create: bool = False, size: int = 0, *, track: bool = True) -> None:
            self._track = track
            make = super().__init__ if track else self._init_untracked
            make(name, create, size)

        def unlink(self) -> None:
            remove = super().unlink if self._track else self._unlink_untracked
            remove()


#: Reserved at once: a signal makes the kernel begin its call anew.
_PIECE_BYTES = 1 << 24
_NOT_POSSIBLE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


class SharedMemory(_SharedMemory):  # type: ignore[misc,no-redef]
    """A named segment of shared memory.

    :param track: whether the resource tracker removes it at the program's end, if nobody has; false where another
        program sees to it
    :raises OSError: if there is no room for a new one
    """

    def __init__(self, name: str | None = None, create: bool = False, size: int = 0, *, track: bool = True) -> None:
        super().__init__(name, create, size, track=track)
        if create:
            self._reserve(size)

    def _reserve(self, size: int) -> None:
        try:
            for start in range(0, size, _PIECE_BYTES):
                os.posix_fallocate(self._fd, start, min(_PIECE_BYTES, size - start))
        except OSError as error:
            if error.errno not in _NOT_POSSIBLE:
                self.close()
                self.unlink()
                raise
