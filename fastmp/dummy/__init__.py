"""`multiprocessing.dummy`, unchanged: threads behind the interface of processes."""

from __future__ import annotations

from multiprocessing import dummy as _standard
from multiprocessing.dummy import *  # noqa: F403

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


__all__ = list(_standard.__all__)


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)
