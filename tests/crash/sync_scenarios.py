"""Locks, semaphores, conditions, events, barriers, shared values: holders, waiters and wakers are killed.

Each scenario is called with the victim, in a process of its own (case.py), and is registered in SCENARIOS.
"""

import contextlib
import os
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from case import Notes, Victim, die_at, finish, fork, helper, wait_dead

import fastmp

ROUNDS = 20
#: How long a wait may take that only a killed process's wake-up was missing for.
SOON = 1.5
#: After so long a waiter no longer spins.
ASLEEP = 0.02


# ---- locks ----


def count_up(lock: Any, notes: Notes, own: int, rounds: int = ROUNDS) -> None:
    """notes[0] is counted up by everybody, and only under the lock; notes[own] by this process alone."""
    for i in range(rounds):
        with lock:
            before = notes[0]
            if i % 8 == 0:
                time.sleep(0.0005)  # others must sleep too
            notes[0] = before + 1
            notes[own] = i + 1


def check_count(notes: Notes, victim: Victim) -> None:
    """Nobody was in the section beside another: at most the victim's last step is half done."""
    total = notes[1] + notes[2] + notes[3]
    assert notes[2] == notes[3] == ROUNDS
    assert notes[0] - total in ((0, 1) if victim.killed else (0,)), f"{notes[0]} counted, {total} noted"


def lock_user_dies(make: Callable[[], Any], victim: Victim) -> None:
    lock, notes = make(), Notes(4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        victim.start(count_up, lock, notes, 1)
        other = helper(count_up, lock, notes, 2)
        count_up(lock, notes, 3)
        victim.join()
        finish(other)
        assert lock.acquire(timeout=SOON)
        lock.release()
    assert all(issubclass(w.category, fastmp.OwnerDied) for w in caught), [str(w.message) for w in caught]
    assert victim.killed or not caught, "nobody died with the lock"
    check_count(notes, victim)


def lock_waiter_dies(make: Callable[[], Any], victim: Victim) -> None:
    """The lock is held meanwhile, and a second process waits behind the victim."""
    lock, notes = make(), Notes(4)
    lock.acquire()
    victim.start(count_up, lock, notes, 1, 1)
    other = helper(count_up, lock, notes, 2, 1)
    victim.process.join(ASLEEP)
    lock.release()
    victim.join()
    finish(other, seconds=SOON)
    assert lock.acquire(timeout=SOON)
    lock.release()
    assert notes[2] == 1


def die_with_lock(lock: Any, notes: Notes) -> None:
    notes.wait_for(0, 1)
    die_at("lock:tried")
    lock.acquire()


def take_over(lock: Any, notes: Notes) -> None:
    notes[0] = 1
    notes.wait_for(0, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastmp.OwnerDied)
        with lock:
            notes[1] = 1


def robber_dies(make: Callable[[], Any], victim: Victim) -> None:
    """One is killed with the lock, then the next one while he takes it over."""
    lock, notes = make(), Notes(2)
    first = helper(die_with_lock, lock, notes)
    victim.start(take_over, lock, notes)
    wait_dead(first.pid)
    notes[0] = 2
    victim.join()
    start = time.monotonic()
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        assert lock.acquire(timeout=SOON)
    assert time.monotonic() - start < SOON
    lock.release()
    finish(first, code=-9)


# ---- semaphores ----


def use_unit(semaphore: Any, notes: Notes, own: int, rounds: int) -> None:
    for i in range(rounds):
        semaphore.acquire()
        notes[own] = 2 * i + 1
        semaphore.release()
        notes[own] = 2 * i + 2


def semaphore_user_dies(make: Callable[[int], Any], victim: Victim) -> None:
    """Its unit stays taken, as in the standard library; nobody else's does."""
    semaphore, notes = make(2), Notes(2)
    victim.start(use_unit, semaphore, notes, 0, ROUNDS)
    other = helper(use_unit, semaphore, notes, 1, ROUNDS)
    victim.join()
    finish(other)
    value = semaphore.get_value()
    assert value in ((1, 2) if victim.killed else (2,)), f"{value} units are left"
    if notes[0] % 2 == 1 and not victim.killed:
        raise AssertionError("the victim ended with a unit")
    assert semaphore.acquire(timeout=SOON)
    semaphore.release()


def semaphore_waiter_dies(victim: Victim) -> None:
    """Two wait, two units are released: the survivor gets one."""
    semaphore, notes = fork.Semaphore(0), Notes(2)
    victim.start(use_unit, semaphore, notes, 0, 1)
    other = helper(use_unit, semaphore, notes, 1, 1)
    victim.process.join(ASLEEP)
    semaphore.release()
    semaphore.release()
    finish(other, seconds=SOON)
    victim.join()
    left = semaphore.get_value()
    assert left in ((1, 2) if victim.killed else (2,)), f"{left} units are left"


def healer_dies(victim: Victim) -> None:
    """A waiter is killed; who releases then wakes nobody, and clears up after it."""
    semaphore, notes = fork.Semaphore(0), Notes(3)

    def wait_and_die() -> None:
        notes.wait_for(0, 1)  # a process started later would reap this one
        die_at("eventcount:registered")
        semaphore.acquire()

    def release() -> None:
        notes[0] = 1
        notes.wait_for(0, 2)
        semaphore.release()
        semaphore.release()

    first = helper(wait_and_die)
    victim.start(release)
    wait_dead(first.pid)
    notes[0] = 2
    victim.join()
    value = semaphore.get_value()
    assert value in ((1, 2) if victim.killed else (2,)), f"{value} units were released"
    for _ in range(value):
        assert semaphore.acquire(timeout=SOON)
    other = helper(use_unit, semaphore, notes, 1, 1)
    other.join(ASLEEP)
    semaphore.release()
    finish(other, seconds=SOON)
    finish(first, code=-9)


# ---- conditions ----


def wait_for_notice(condition: Any, notes: Notes, own: int) -> None:
    with condition:
        notes[own] = 1
        assert condition.wait(5)
        notes[own] = 2


def condition_waiter_dies(victim: Victim) -> None:
    """The notice that was meant for the victim goes to the other one."""
    condition, notes = fork.Condition(), Notes(2)
    victim.start(wait_for_notice, condition, notes, 0)
    notes.wait_for(0, 1, victim.process)
    with condition:  # the victim has let go of the lock, so it is enlisted
        pass
    other = helper(wait_for_notice, condition, notes, 1)
    notes.wait_for(1, 1)
    time.sleep(ASLEEP)
    with condition:
        condition.notify(1)
    if victim.join() and victim.point in ("condition:enlisted", "condition:sleeping", "condition:woken"):
        other.join(SOON)
        assert other.exitcode == 0, "the notice was lost with the victim"
    with condition:  # the victim has used the first one, or has died before or after
        condition.notify(1)
    finish(other, seconds=SOON)


def condition_notifier_dies(victim: Victim) -> None:
    condition, notes = fork.Condition(), Notes(3)
    others = [helper(wait_for_notice, condition, notes, own) for own in (0, 1)]
    notes.wait_for(0, 1)
    notes.wait_for(1, 1)
    time.sleep(ASLEEP)

    def notify() -> None:
        with condition:
            condition.notify(1)
        with condition:
            condition.notify_all()

    victim.start(notify)
    victim.join()
    if victim.killed:  # the others may wait still
        with condition:
            condition.notify_all()
    finish(*others, seconds=SOON)


def redeliverer_dies(victim: Victim) -> None:
    """A waiter is killed with the notice in hand; the next waiter, the victim, gives it on; a third one lives."""
    condition, notes = fork.Condition(), Notes(4)

    def wait_and_die() -> None:
        die_at("condition:woken")
        wait_for_notice(condition, notes, 0)

    first = helper(wait_and_die)
    notes.wait_for(0, 1)
    victim.start(wait_for_notice, condition, notes, 1)
    notes.wait_for(1, 1, victim.process)
    third = helper(wait_for_notice, condition, notes, 2)  # looks for the dead later than the victim
    notes.wait_for(2, 1)
    time.sleep(ASLEEP)
    with condition:
        condition.notify(1)
    wait_dead(first.pid)
    victim.process.join(0.3)
    if victim.point in ("condition:claimed", "condition:redelivered") and victim.process.exitcode not in (0, None):
        third.join(SOON)
        assert third.exitcode == 0, "the notice was lost with those who had it"
    with condition:
        condition.notify_all()
    victim.join()
    finish(third, seconds=SOON)
    finish(first, code=-9)


# ---- events and barriers ----


def event_setter_dies(victim: Victim) -> None:
    event = fork.Event()
    other = helper(lambda: event.wait(5) or os._exit(1))
    other.join(ASLEEP)

    def set_and_clear() -> None:
        event.set()
        event.clear()
        event.set()

    victim.start(set_and_clear)
    victim.join()
    if victim.point != "event:set":
        event.set()
    finish(other, seconds=SOON)
    event.clear()
    assert not event.is_set()
    assert not event.wait(0)


def event_waiter_dies(victim: Victim) -> None:
    event = fork.Event()
    victim.start(event.wait, 5)
    other = helper(lambda: event.wait(5) or os._exit(1))
    victim.process.join(ASLEEP)
    event.set()
    finish(other, seconds=SOON)
    victim.join()
    assert event.is_set()


def meet(barrier: Any, seconds: float) -> None:
    with contextlib.suppress(threading.BrokenBarrierError):
        barrier.wait(seconds)


def check_barrier(barrier: Any) -> None:
    """After a reset three may meet again."""
    barrier.reset()
    others = [helper(barrier.wait, SOON) for _ in range(2)]
    barrier.wait(SOON)
    finish(*others, seconds=SOON)


def barrier_party_dies(victim: Victim) -> None:
    barrier = fork.Barrier(3)
    victim.start(meet, barrier, 0.3)
    other = helper(meet, barrier, 0.3)
    victim.process.join(ASLEEP)
    meet(barrier, 0.3)
    victim.join()
    finish(other, seconds=SOON)
    check_barrier(barrier)


def barrier_actor_dies(victim: Victim) -> None:
    """In its action: the others are told at once, though they wait without a limit."""
    notes = Notes(1)

    def act() -> None:
        notes[0] += 1

    barrier = fork.Barrier(3, act)
    others = [helper(meet, barrier, None if victim.point == "barrier:acting" else 0.5) for _ in range(2)]
    deadline = time.monotonic() + SOON
    while barrier.n_waiting < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    victim.start(meet, barrier, 0.5)
    victim.join()
    finish(*others, seconds=SOON)
    assert notes[0] <= 1
    check_barrier(barrier)


# ---- shared values ----


def add_up(value: Any, notes: Notes, own: int) -> None:
    for i in range(ROUNDS):
        with value.get_lock():
            value.value += 1
            notes[own] = i + 1


def value_user_dies(victim: Victim) -> None:
    value, notes = fork.Value("q", 0), Notes(3)
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        victim.start(add_up, value, notes, 0)
        other = helper(add_up, value, notes, 1)
        add_up(value, notes, 2)
        victim.join()
        finish(other)
        extra = value.value - notes[0] - notes[1] - notes[2]
    assert notes[1] == notes[2] == ROUNDS
    assert extra in ((0, 1) if victim.killed else (0,)), f"{extra} too many"


def shift(array: Any, notes: Notes, own: int) -> None:
    for i in range(ROUNDS):
        with array.get_lock():
            array[0] += 1
            array[999] += 1
            notes[own] = i + 1


def array_user_dies(victim: Victim) -> None:
    array, notes = fork.Array("q", 1000), Notes(3)
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        victim.start(shift, array, notes, 0)
        other = helper(shift, array, notes, 1)
        victim.join()
        finish(other)
        first, last = array[0], array[999]
    done = notes[0] + notes[1]
    assert notes[1] == ROUNDS
    assert first - last in ((0, 1) if victim.killed else (0,))
    assert first - done in ((0, 1) if victim.killed else (0,))


def await_change(value: Any, notes: Notes, own: int) -> None:
    """Waits for each change in turn; the last is a negative number."""
    seen = 0
    while seen >= 0:
        notes[own] += 1
        value.wait(seen)
        seen = value.load()


def change(value: Any, rounds: int = ROUNDS) -> None:
    for _ in range(rounds):
        value.fetch_add(1)
        value.notify()
        time.sleep(0.001)


def end_waits(value: Any, *waiters: Any) -> None:
    value.store(-1)
    value.notify(None)
    finish(*waiters, seconds=SOON)


def change_waiter_dies(victim: Victim) -> None:
    value, notes = fork.Value("q", 0), Notes(2)
    victim.start(await_change, value, notes, 0)
    other = helper(await_change, value, notes, 1)
    assert notes.wait_for(0, 1, victim.process)
    time.sleep(ASLEEP)
    change(value)
    end_waits(value, other)
    victim.join()


def change_notifier_dies(victim: Victim) -> None:
    value, notes = fork.Value("q", 0), Notes(2)
    others = [helper(await_change, value, notes, index) for index in range(2)]
    assert notes.wait_for(0, 1)
    time.sleep(ASLEEP)
    victim.start(change, value)
    victim.join()
    end_waits(value, *others)


SCENARIOS: dict[str, Callable[[Victim], None]] = {}
for _name, _make in (("Lock", fork.Lock), ("RLock", fork.RLock)):
    SCENARIOS[f"{_name}, one of three users"] = partial(lock_user_dies, _make)
    SCENARIOS[f"{_name}, waiter"] = partial(lock_waiter_dies, _make)
    SCENARIOS[f"{_name}, who takes it over from the dead"] = partial(robber_dies, _make)
SCENARIOS["Semaphore, user"] = partial(semaphore_user_dies, fork.Semaphore)
SCENARIOS["BoundedSemaphore, user"] = partial(semaphore_user_dies, fork.BoundedSemaphore)
SCENARIOS["Semaphore, waiter"] = semaphore_waiter_dies
SCENARIOS["Semaphore, who wakes the dead"] = healer_dies
SCENARIOS["Condition, waiter"] = condition_waiter_dies
SCENARIOS["Condition, notifier"] = condition_notifier_dies
SCENARIOS["Condition, who gives a dead waiter's notice on"] = redeliverer_dies
SCENARIOS["Event, setter"] = event_setter_dies
SCENARIOS["Event, waiter"] = event_waiter_dies
SCENARIOS["Barrier, party"] = barrier_party_dies
SCENARIOS["Barrier, in its action"] = barrier_actor_dies
SCENARIOS["Value, user"] = value_user_dies
SCENARIOS["Array, user"] = array_user_dies
SCENARIOS["Value, who waits for a change"] = change_waiter_dies
SCENARIOS["Value, who tells of a change"] = change_notifier_dies
