"""`multiprocessing.heap`, unchanged: arenas for those who use it; fastmp's own memory is `csrc/heap/`."""

from __future__ import annotations

from multiprocessing import heap as _standard
from multiprocessing.heap import *  # noqa: F403

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


__all__ = list(_standard.__all__)


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)
