"""`multiprocessing.util`, unchanged: logging, finalizers and after-fork callbacks have one registry in a process."""

from __future__ import annotations

from multiprocessing import util as _standard
from multiprocessing.util import *  # noqa: F403

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


__all__ = list(_standard.__all__)


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)
