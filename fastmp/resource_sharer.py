"""`multiprocessing.resource_sharer`: the thread that hands descriptors to other processes."""

from __future__ import annotations

from multiprocessing import resource_sharer as _standard
from multiprocessing.resource_sharer import *  # noqa: F403

from ._handed_on import ring_fd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = list(_standard.__all__)

standard_dup_fd: Any = _standard.DupFd


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)


class DupFd(standard_dup_fd):  # type: ignore[misc,no-redef]
    """A descriptor on its way to another process; that of a pipe over rings takes its rings along."""

    def __new__(cls, fd: int | None = None) -> Any:
        """Without a descriptor: to be filled, in the receiving process."""
        ring = None if fd is None else ring_fd(fd)
        return super().__new__(cls) if ring is None else ring
