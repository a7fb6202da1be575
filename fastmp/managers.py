"""`multiprocessing.managers`, unchanged: the server and its protocol are the standard library's."""

from multiprocessing import managers as _standard
from multiprocessing.managers import *  # noqa: F403
from typing import Any

__all__ = list(_standard.__all__)


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)
