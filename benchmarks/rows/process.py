"""Processes: one that does nothing, from start to join."""

from __future__ import annotations

from typing import Any

from ..measure import TIME, Watch, check, row


def nothing() -> None:
    """Be a process that does nothing."""


@row("process_start_join", TIME, size=50)
def process_start_join(mp: Any, size: int, watch: Watch) -> None:
    for _ in watch:
        with watch.timing():
            for _ in range(size):
                process = mp.Process(target=nothing)
                process.start()
                process.join()
                check(process.exitcode == 0, f"exit code {process.exitcode}")
