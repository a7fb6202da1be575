"""`multiprocessing.resource_tracker`, unchanged: there is one in a process tree. fastmp's objects need none."""

from multiprocessing import resource_tracker as _standard
from multiprocessing.resource_tracker import *  # noqa: F403
from typing import Any

__all__ = list(_standard.__all__)


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)
