"""Processes: one that does nothing, from start to join, of a small parent and of a large one."""

from __future__ import annotations

import mmap
from typing import Any

from ..measure import TIME, Watch, check, row

HELD_BYTES = 1 << 30


def nothing() -> None:
    """Be a process that does nothing."""


def start_and_join(mp: Any, size: int, watch: Watch) -> None:
    """Measure processes that do nothing, one after the other."""
    for _ in watch:
        with watch.timing():
            for _ in range(size):
                process = mp.Process(target=nothing)
                process.start()
                process.join()
                check(process.exitcode == 0, f"exit code {process.exitcode}")


@row("process_start_join", TIME, size=50)
def process_start_join(mp: Any, size: int, watch: Watch) -> None:
    start_and_join(mp, size, watch)


@row("process_start_join_1GB", TIME, size=5)
def process_start_join_1gb(mp: Any, size: int, watch: Watch) -> None:
    held = mmap.mmap(-1, HELD_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with held:
        held.madvise(mmap.MADV_NOHUGEPAGE)
        for at in range(0, HELD_BYTES, mmap.PAGESIZE):
            held[at] = 1
        start_and_join(mp, size, watch)
