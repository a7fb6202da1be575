"""`multiprocessing.resource_sharer`, unchanged: the thread that hands descriptors to other processes."""

from multiprocessing import resource_sharer as _standard
from multiprocessing.resource_sharer import *  # noqa: F403
from typing import Any

__all__ = list(_standard.__all__)


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)
