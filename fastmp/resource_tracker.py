"""`multiprocessing.resource_tracker`, unchanged: there is one in a process tree. fastmp's objects need none."""

from __future__ import annotations

from multiprocessing import resource_tracker as _standard
from multiprocessing.resource_tracker import *  # noqa: F403

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


__all__ = list(_standard.__all__)


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)
