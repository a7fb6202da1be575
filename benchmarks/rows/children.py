"""Child processes of a row: started, joined, and their exit codes checked.

Used by the rows that need a second party. A child that dies shows here, at the latest when it is joined.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..measure import check, clock

HEAD_START = 0.02  # seconds: enough for all children of a row to be there


@contextmanager
def children(mp: Any, calls: Sequence[tuple[Callable[..., object], tuple[Any, ...]]]) -> Iterator[None]:
    """Run the calls in a process each; join them at the end."""
    processes = [mp.Process(target=target, args=args) for target, args in calls]
    for process in processes:
        process.start()
    try:
        yield
    except BaseException:
        for process in processes:
            process.terminate()
        raise
    finally:
        for process in processes:
            process.join()
    codes = [process.exitcode for process in processes]
    check(not any(codes), f"exit codes of the children: {codes}")


def _run_at(moment: float, work: Callable[..., object], args: tuple[Any, ...], ended: Any) -> None:
    time.sleep(max(0.0, moment - clock()))
    begun = clock()
    work(*args)
    ended.put((begun, clock()))


def run_together(mp: Any, work: Callable[..., object], args: tuple[Any, ...], count: int = 2) -> float:
    """Run `work` in `count` processes at once; return the seconds from the first one's start to the last one's end."""
    ended, moment = mp.SimpleQueue(), clock() + HEAD_START
    with children(mp, [(_run_at, (moment, work, args, ended))] * count):
        times: list[tuple[float, float]] = [ended.get() for _ in range(count)]
    return max(end for _, end in times) - min(begun for begun, _ in times)
