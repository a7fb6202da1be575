"""`multiprocessing.util`, unchanged: logging, finalizers and after-fork callbacks have one registry in a process."""

from multiprocessing import util as _standard
from multiprocessing.util import *  # noqa: F403
from typing import Any

__all__ = list(_standard.__all__)


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)
