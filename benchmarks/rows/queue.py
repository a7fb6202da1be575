"""Queues: one way, many to many, round trips, and what a waiting consumer costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any

from ..backends import CannotMeasureError
from ..measure import BYTES, LOAD, RATE, TIME, Watch, check, clock, row
from .children import children

Take = Callable[[Callable[[], Any], int], int]

KILOBYTE = 1024


def put_all(queue: Any, messages: Iterable[Any]) -> None:
    """Be a producer: the time, then the messages."""
    put = queue.put
    put(clock())
    for message in messages:
        put(message)


def take_ints(get: Callable[[], int], count: int) -> int:
    """Return the sum of ints."""
    total = 0
    for _ in repeat(None, count):
        total += get()
    return total


def take_tuples(get: Callable[[], tuple[int, str, float]], count: int) -> int:
    """Return the sum of the tuples' ints."""
    total = 0
    for _ in repeat(None, count):
        number, _, _ = get()
        total += number
    return total


def take_bytes(get: Callable[[], bytes], count: int) -> int:
    """Return how many bytes came."""
    total = 0
    for _ in repeat(None, count):
        total += len(get())
    return total


def one_way(
    mp: Any, make_queue: Callable[[], Any], messages: Iterable[Any], count: int, take: Take
) -> tuple[int, float]:
    """Send from a child to this process: what `take` made of it, and the seconds from first put to last get."""
    queue = make_queue()
    with children(mp, [(put_all, (queue, messages))]):
        begun = queue.get()
        total = take(queue.get, count)
        return total, clock() - begun


@row("queue_small", RATE, size=400_000)
def queue_small(mp: Any, size: int, watch: Watch) -> None:
    for _ in watch:
        total, seconds = one_way(mp, mp.Queue, range(size), size, take_ints)
        check(total == sum(range(size)), "sum of the ints")
        watch.add(seconds)


@row("queue_tuple", RATE, size=300_000)
def queue_tuple(mp: Any, size: int, watch: Watch) -> None:
    for _ in watch:
        total, seconds = one_way(mp, mp.Queue, repeat((7, "text", 0.5), size), size, take_tuples)
        check(total == 7 * size, "sum of the tuples' ints")
        watch.add(seconds)


@row("queue_bytes_1k", RATE, size=200_000)
def queue_bytes_1k(mp: Any, size: int, watch: Watch) -> None:
    for _ in watch:
        total, seconds = one_way(mp, mp.Queue, repeat(bytes(KILOBYTE), size), size, take_bytes)
        check(total == KILOBYTE * size, "number of bytes")
        watch.add(seconds)


@row("queue_bytes_64k", BYTES, size=10_000, weight=64 * KILOBYTE)
def queue_bytes_64k(mp: Any, size: int, watch: Watch) -> None:
    for _ in watch:
        total, seconds = one_way(mp, mp.Queue, repeat(bytes(64 * KILOBYTE), size), size, take_bytes)
        check(total == 64 * KILOBYTE * size, "number of bytes")
        watch.add(seconds)


BATCH = 100


def put_batches(queue: Any, count: int) -> None:
    """Be a producer of whole batches, with the time before them."""
    queue.put(clock())
    for first in range(0, count, BATCH):
        queue.put_many(list(range(first, first + BATCH)))


def take_batches(queue: Any, count: int) -> int:
    """Return the sum of ints that come in batches."""
    total = 0
    while count > 0:
        batch = queue.get_many(BATCH)
        count -= len(batch)
        total += sum(batch)
    return total


def queue_of_batches(mp: Any) -> Any:
    """Return a queue with `put_many` and `get_many`."""
    queue = mp.Queue()
    if not hasattr(queue, "put_many"):
        raise CannotMeasureError(f"{mp.name} has no Queue.put_many")
    return queue


@row("queue_put_get_many", RATE, size=1_000_000)
def queue_put_get_many(mp: Any, size: int, watch: Watch) -> None:
    size = max(size // BATCH, 1) * BATCH
    for _ in watch:
        if mp.name == "stdlib":  # what is written without batches
            total, seconds = one_way(mp, mp.Queue, range(size), size, take_ints)
        else:
            queue = queue_of_batches(mp)
            with children(mp, [(put_batches, (queue, size))]):
                begun = queue.get()
                total, seconds = take_batches(queue, size), clock() - begun
        check(total == sum(range(size)), "sum of the ints")
        watch.add(seconds)


def put_timed(queue: Any, done: Any, all_here: Any, count: int) -> None:
    """Be one of several producers, once all have started."""
    all_here.wait()
    begun, put = clock(), queue.put
    for number in range(count):
        put(number)
    done.put((begun, 0))


def get_timed(queue: Any, done: Any, all_here: Any, count: int) -> None:
    """Be one of several consumers, once all have started."""
    all_here.wait()
    total = take_ints(queue.get, count)
    done.put((clock(), total))


def many_to_many(mp: Any, parties: int, size: int, watch: Watch) -> None:
    """Measure so many producers and as many consumers on one queue."""
    count = max(size // parties, 1)
    for _ in watch:
        queue, begun, ended, all_here = mp.Queue(), mp.Queue(), mp.Queue(), mp.Barrier(2 * parties)
        crew = [
            *[(get_timed, (queue, ended, all_here, count))] * parties,
            *[(put_timed, (queue, begun, all_here, count))] * parties,
        ]
        with children(mp, crew):
            starts = [begun.get() for _ in range(parties)]
            ends = [ended.get() for _ in range(parties)]
        check(sum(total for _, total in ends) == parties * sum(range(count)), "sum of the ints")
        watch.add(max(ends)[0] - min(starts)[0])


@row("queue_4p4c", RATE, size=400_000)
def queue_4p4c(mp: Any, size: int, watch: Watch) -> None:
    many_to_many(mp, 4, size, watch)


def echo(get: Callable[[], Any], put: Callable[[Any], None]) -> None:
    """Send back what comes, until None."""
    for message in iter(get, None):
        put(message)


@row("queue_pingpong", TIME, size=10_000)
def queue_pingpong(mp: Any, size: int, watch: Watch) -> None:
    there, back = mp.Queue(), mp.Queue()
    with children(mp, [(echo, (there.get, back.put))]):
        for _ in watch:
            with watch.timing():
                total = 0
                for number in range(size):
                    there.put(number)
                    total += back.get()
            check(total == sum(range(size)), "sum of the echoes")
        there.put(None)


@row("simplequeue_small", RATE, size=400_000)
def simplequeue_small(mp: Any, size: int, watch: Watch) -> None:
    for _ in watch:
        total, seconds = one_way(mp, mp.SimpleQueue, range(size), size, take_ints)
        check(total == sum(range(size)), "sum of the ints")
        watch.add(seconds)


def wait_idly(queue: Any, done: Any) -> None:
    """Report the CPU time of this process before and after waiting for a message."""
    queue.get()
    before = time.process_time()
    queue.get()
    done.put((before, time.process_time()))


@row("queue_idle_cpu", LOAD, size=2)
def queue_idle_cpu(mp: Any, size: int, watch: Watch) -> None:
    queue, done = mp.Queue(), mp.Queue()
    for _ in watch:
        with children(mp, [(wait_idly, (queue, done))]):
            queue.put("first")
            time.sleep(size)
            queue.put("last")
            before, after = done.get()
        watch.add(after - before)
