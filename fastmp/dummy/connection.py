"""`multiprocessing.dummy.connection`, unchanged: connections between threads."""

from __future__ import annotations

from multiprocessing.dummy import connection as _standard
from multiprocessing.dummy.connection import *  # noqa: F403

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


__all__ = list(_standard.__all__)


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)
