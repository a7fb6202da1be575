"""Locks and semaphores, alone and contended; round trips over events, conditions and barriers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from typing import Any

from ..measure import RATE, TIME, Watch, check, row
from .children import children, run_together


def acquire_release(lock: Any, count: int) -> None:
    """Take and give back a lock many times."""
    acquire, release = lock.acquire, lock.release
    for _ in repeat(None, count):
        acquire()
        release()


def check_free(lock: Any) -> None:
    """Fail the row if the lock is not free, or acquire does not say whether it has it."""
    check(lock.acquire(block=False) is True, "the lock is free at the end")
    lock.release()


def uncontended(make: Callable[[], Any], size: int, watch: Watch) -> None:
    """Measure acquire and release in one process."""
    lock = make()
    for _ in watch:
        with watch.timing():
            acquire_release(lock, size)
    check_free(lock)


@row("lock_uncontended", TIME, size=1_000_000)
def lock_uncontended(mp: Any, size: int, watch: Watch) -> None:
    uncontended(mp.Lock, size, watch)


@row("rlock_uncontended", TIME, size=1_000_000)
def rlock_uncontended(mp: Any, size: int, watch: Watch) -> None:
    uncontended(mp.RLock, size, watch)


@row("semaphore_uncontended", TIME, size=1_000_000)
def semaphore_uncontended(mp: Any, size: int, watch: Watch) -> None:
    uncontended(mp.Semaphore, size, watch)


@row("lock_with", TIME, size=500_000)
def lock_with(mp: Any, size: int, watch: Watch) -> None:
    lock = mp.Lock()
    for _ in watch:
        with watch.timing():
            for _ in repeat(None, size):
                with lock:
                    pass
    check_free(lock)


@row("lock_contended", RATE, size=2_000_000)
def lock_contended(mp: Any, size: int, watch: Watch) -> None:
    lock = mp.Lock()
    for _ in watch:
        watch.add(run_together(mp, acquire_release, (lock, size // 2)))
    check_free(lock)


def answer_events(asked: Any, answered: Any, count: int) -> None:
    """Set one event after the other has been set, so many times."""
    for _ in repeat(None, count):
        asked.wait()
        asked.clear()
        answered.set()


@row("event_pingpong", TIME, size=5_000)
def event_pingpong(mp: Any, size: int, watch: Watch) -> None:
    asked, answered = mp.Event(), mp.Event()
    for _ in watch:
        with children(mp, [(answer_events, (asked, answered, size + 1))]):
            asked.set()  # the child is there
            answered.wait()
            answered.clear()
            with watch.timing():
                for _ in repeat(None, size):
                    asked.set()
                    check(answered.wait(), "wait returns true")
                    answered.clear()
        check(not asked.is_set() and not answered.is_set(), "both events are clear")


def take_turns(condition: Any, turn: Any, mine: int, count: int) -> None:
    """Wait for my turn and give it to the other, so many times."""
    for _ in repeat(None, count):
        with condition:
            while turn.value != mine:
                condition.wait()
            turn.value = 1 - mine
            condition.notify()


@row("condition_pingpong", TIME, size=5_000)
def condition_pingpong(mp: Any, size: int, watch: Watch) -> None:
    condition, turn = mp.Condition(), mp.RawValue("i", 0)
    for _ in watch:
        with children(mp, [(take_turns, (condition, turn, 1, size + 1))]):
            take_turns(condition, turn, 0, 1)  # the child is there
            with watch.timing():
                take_turns(condition, turn, 0, size)
        check(turn.value == 0, "it is this side's turn again")


def meet(barrier: Any, count: int) -> int:
    """Meet the other party so many times; how often this side was party 0."""
    firsts = 0
    for _ in repeat(None, count):
        firsts += barrier.wait() == 0
    return firsts


def meet_and_tell(barrier: Any, count: int, firsts: Any) -> None:
    """Be the other party."""
    firsts.value = meet(barrier, count)


@row("barrier_2", TIME, size=5_000)
def barrier_2(mp: Any, size: int, watch: Watch) -> None:
    barrier, others = mp.Barrier(2), mp.RawValue("i", 0)
    for _ in watch:
        with children(mp, [(meet_and_tell, (barrier, size + 1, others))]):
            firsts = meet(barrier, 1)  # the child is there
            with watch.timing():
                firsts += meet(barrier, size)
        check(firsts + others.value == size + 1, "one party 0 in each round")
