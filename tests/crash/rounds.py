"""Random kills: at whatever instruction a signal from outside happens to find the victim.

The fault points are where the protocols are known to be in between; these rounds look for what nobody thought of. They
are seeded, so that the choices come again, though not the instructions. Called by: run.py.
"""

import os
import random
import signal
import time
import warnings
from collections.abc import Callable
from typing import Any

from case import Notes, Victim, finish, fork, helper
from queue_scenarios import Message, check_prefix, consume_until_done, message, noted, numbers_of

import fastmp

POOL_KILLS, QUEUE_KILLS, LOCK_KILLS = 60, 40, 20
TASKS = 64
#: Messages of one round: more than a victim sends before it is killed.
MESSAGES = 400
CALL_SECONDS = 8.0


def kill_within(process: Any, r: random.Random, longest: float) -> None:
    """Kill it at a random moment."""
    process.join(r.uniform(0, longest))
    process.kill()
    process.join()


def double(number: int) -> int:
    time.sleep(0.0005)
    return 2 * number


def pool_round(r: random.Random) -> None:
    """Workers die one after the other: each takes one task along at most, and the pool goes on."""
    with fork.Pool(2) as pool:
        lost = 0
        for kill in range(POOL_KILLS):
            results = [pool.apply_async(double, (number,)) for number in range(TASKS)]
            time.sleep(r.uniform(0, 0.02))
            os.kill(r.choice(pool._pool).pid, signal.SIGKILL)
            errors = []
            for number, result in enumerate(results):
                try:
                    assert result.get(CALL_SECONDS) == 2 * number
                except fastmp.WorkerDied as error:
                    errors.append(str(error))
            assert len(errors) <= 2, f"kill {kill}: {errors}"  # this round's, and one that the last round's kill left
            assert all("SIGKILL" in error for error in errors), errors
            lost += len(errors)
        assert lost <= POOL_KILLS, f"{POOL_KILLS} kills, {lost} tasks lost"
    pool.join()


def produce(queue: Any, notes: Notes, size: int) -> None:
    for number in range(MESSAGES):
        queue.put(message("victim", number, size))
        notes[0] = number + 1


def consume(queue: Any, notes: Notes) -> None:
    for i in range(MESSAGES):
        notes[2 + i] = queue.get()[1]
        notes[1] = i + 1


def producer_round(r: random.Random) -> None:
    queue, notes, size = fork.Queue(64), Notes(1), r.choice((8, 5_000, 100_000))
    victim = helper(produce, queue, notes, size)
    messages: list[Message] = []
    deadline = time.monotonic() + r.uniform(0, 0.03)
    while time.monotonic() < deadline:
        if queue._poll(0.001):
            messages.append(queue.get())
    victim.kill()
    messages += consume_until_done(queue, size, [victim])
    check_prefix(numbers_of(messages, "victim"), notes[0], killed=True)


def consumer_round(r: random.Random) -> None:
    queue, notes, size = fork.Queue(), Notes(2 + MESSAGES), r.choice((8, 5_000, 100_000))
    victim = helper(consume, queue, notes)
    producer = helper(produce, queue, Notes(1), size)
    kill_within(victim, r, 0.03)
    received = noted(notes, 1) + numbers_of(consume_until_done(queue, size, [producer]), "victim")
    assert len(set(received)) == len(received), "received twice"
    assert len(set(range(MESSAGES)) - set(received)) <= 1, "more than one message is lost"
    finish(producer)


def queue_round(r: random.Random) -> None:
    """Writers and readers die in turn, each with at most one message."""
    for kill in range(QUEUE_KILLS):
        (producer_round, consumer_round)[kill % 2](r)


def count_for_ever(lock: Any, notes: Notes, own: int) -> None:
    while True:
        with lock:
            notes[0] += 1
            notes[own] += 1


def lock_round(r: random.Random) -> None:
    """Holders and waiters die: the next one gets the lock, and counts on from what he finds."""
    lock, notes = fork.Lock(), Notes(3 + LOCK_KILLS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fastmp.OwnerDied)
        for kill in range(LOCK_KILLS):
            victim = helper(count_for_ever, lock, notes, 3 + kill)
            other = helper(count_for_ever, lock, notes, 1)
            kill_within(victim, r, 0.02)
            assert lock.acquire(timeout=1.0), "the lock is dead"
            notes[0] += 1
            notes[2] += 1
            lock.release()
            other.kill()
            other.join()
        assert lock.acquire(timeout=1.0)
        lock.release()
    done = sum(notes[own] for own in range(1, 3 + LOCK_KILLS))
    assert 0 <= notes[0] - done <= 2 * LOCK_KILLS, f"{notes[0]} counted, {done} noted"  # one step of each that died


ROUNDS: dict[str, tuple[int, Callable[[random.Random], None]]] = {
    "random kills of pool workers": (POOL_KILLS, pool_round),
    "random kills of queue writers and readers": (QUEUE_KILLS, queue_round),
    "random kills of lock users": (LOCK_KILLS, lock_round),
}


def as_scenario(play: Callable[[random.Random], None], seed: int) -> Callable[[Victim], None]:
    """The round as a case of its own, without a victim of the runner's."""

    def scenario(victim: Victim) -> None:
        play(random.Random(seed))
        victim.died_at = time.monotonic()  # the round has had its own time limits

    return scenario
