"""The heap: a process that makes, sends, receives and drops blocks of every kind is killed.

Each scenario is called with the victim, in a process of its own (case.py), and is registered in SCENARIOS. What they
check is in case.py: afterwards every block that somebody held is free again.
"""

import pickle
from collections.abc import Callable
from typing import Any

from case import Victim, finish, fork, helper

SIZES = (100, 5_000, 70_000, 300_000, 3_000_000)
#: More than a case's region keeps warm.
BIG, BIG_COUNT = 16 << 20, 4


class Buffer:
    """Travels out of band: the receiver's is a view on the block."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: int) -> Any:
        return Buffer, (pickle.PickleBuffer(self.data),)


def churn() -> None:
    """Makes, sends, receives and drops."""
    for size in SIZES:
        queue = fork.Queue()
        queue.put(bytes(size))
        queue.put(Buffer(bytearray(size)))
        queue.put(bytes(size))  # goes with the queue
        assert queue.get() == bytes(size)
        kept = queue.get()
        child = helper(len, kept.data)  # what was received becomes shared
        finish(child)
        things = [fork.Lock(), fork.Array("d", size // 8), fork.Value("i", 1), fork.Semaphore(1)]
        del things, queue, kept


def churner_dies(victim: Victim) -> None:
    victim.start(churn)
    other = helper(churn)
    victim.join()
    finish(other)
    churn()


def cooler_dies(victim: Victim) -> None:
    """Its free pages are more than are kept."""

    def heat_up() -> None:
        queue = fork.Queue()
        for _ in range(BIG_COUNT):
            queue.put(bytes(BIG))
        for _ in range(BIG_COUNT):
            queue.get()

    victim.start(heat_up)
    victim.join()
    churn()


#: Scenarios that take long are played at the points for which they are made.
ONLY = {"Heap, who gives pages back": ("heap:cold", "heap:planted", "heap:huge")}

SCENARIOS: dict[str, Callable[[Victim], None]] = {
    "Heap, who makes and drops": churner_dies,
    "Heap, who gives pages back": cooler_dies,
}
