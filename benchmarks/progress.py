"""Tells of a run while it goes on: a bar on a terminal, a line for each case elsewhere. Called by `__main__`."""

from __future__ import annotations

import time
from shutil import get_terminal_size
from typing import IO

WIDTH = 30
CLEAR = "\r\x1b[K"


def clock_text(seconds: float) -> str:
    """Return minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class Progress:
    """How far a run of `total` cases is, written to `file`."""

    def __init__(self, total: int, file: IO[str]) -> None:
        self._total, self._file, self._done, self._begun = total, file, 0, time.monotonic()
        self._is_terminal = file.isatty()

    def begin(self, what: str) -> None:
        """Show what runs now, before it has a result."""
        if self._is_terminal:
            self._write(f"{CLEAR}{self._cut(f'{self._bar()} {what}')}")

    def end(self, what: str, outcome: str) -> None:
        """Count a case, and show its outcome."""
        self._done += 1
        self._write(f"{CLEAR}{self._bar()}" if self._is_terminal else f"{self._done}/{self._total} {what}: {outcome}\n")

    def close(self) -> None:
        """Leave the line."""
        if self._is_terminal:
            self._write(CLEAR)

    def _bar(self) -> str:
        filled = WIDTH * self._done // max(self._total, 1)
        passed = time.monotonic() - self._begun
        left = f", {clock_text(passed / self._done * (self._total - self._done))} left" if self._done else ""
        return f"[{'#' * filled}{'.' * (WIDTH - filled)}] {self._done}/{self._total}{left}"

    def _cut(self, text: str) -> str:
        return text[: get_terminal_size().columns - 1]

    def _write(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()
