"""Whether fastmp stands in the standard library's place in this process.

Below both who puts it there (`_install`) and who acts otherwise then (`queues`, `spawn`, `forkserver`).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


__all__ = ["changes", "is_installed"]

#: What `_install` has changed, in order; empty if fastmp is not installed.
changes: list[Any] = []


def is_installed() -> bool:
    """Whether this process's standard modules hold fastmp's objects now."""
    return bool(changes)
