"""`multiprocessing.shared_memory`, unchanged: a named segment is the kernel's, with nothing to gain from C."""

from multiprocessing import shared_memory as _standard
from multiprocessing.shared_memory import *  # noqa: F403
from typing import Any

__all__ = list(_standard.__all__)


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)
