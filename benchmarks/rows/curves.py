"""The curves of the report: throughput by size of message, by number of messages, tasks, parties and workers; times of
round trips.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from operator import neg
from os import sysconf
from pathlib import Path
from typing import Any

from ..measure import BYTES, RATE, TIME, Watch, check, clock, row, sweep
from . import executor, pool
from .children import children
from .pipe import send_bytes
from .queue import echo, many_to_many, one_way, take_bytes, take_ints

SIZES = {64: 100_000, 1 << 10: 60_000, 16 << 10: 20_000, 256 << 10: 2_000, 4 << 20: 100, 32 << 20: 16}
PARTIES = {1: 200_000, 2: 200_000, 4: 200_000, 8: 200_000, 16: 400_000, 32: 400_000, 64: 400_000}
MESSAGES = {count: count for count in (1_000, 10_000, 100_000, 1_000_000, 10_000_000)}
TASKS = {count: count for count in (1_000, 10_000, 100_000, 1_000_000)}
WORKERS = {1: 50_000, 2: 50_000, 4: 50_000, 8: 50_000, 16: 50_000, 32: 50_000, 64: 50_000}
MOST_GROWTH = 64 << 20  # bytes of resident memory by which a consumer may grow, however many messages pass


@sweep("size:queue", BYTES, SIZES)
def size_queue(mp: Any, size: int, watch: Watch, message_bytes: int) -> None:
    for _ in watch:
        total, seconds = one_way(mp, mp.Queue, repeat(bytes(message_bytes), size), size, take_bytes)
        check(total == message_bytes * size, "number of bytes")
        watch.add(seconds)


@sweep("size:pipe", BYTES, SIZES)
def size_pipe(mp: Any, size: int, watch: Watch, message_bytes: int) -> None:
    for _ in watch:
        reader, writer = mp.Pipe(duplex=False)
        with children(mp, [(send_bytes, (writer, bytes(message_bytes), size))]):
            begun = reader.recv()
            total = take_bytes(reader.recv_bytes, size)
            seconds = clock() - begun
        check(total == message_bytes * size, "number of bytes")
        watch.add(seconds)


@sweep("parties:queue", RATE, PARTIES)
def parties_queue(mp: Any, size: int, watch: Watch, parties: int) -> None:
    many_to_many(mp, parties, size, watch)


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * sysconf("SC_PAGE_SIZE")


@sweep("messages:queue", RATE, MESSAGES)
def messages_queue(mp: Any, size: int, watch: Watch, _: int) -> None:
    before = resident()
    for _ in watch:
        total, seconds = one_way(mp, mp.Queue, range(size), size, take_ints)
        check(total == sum(range(size)), "sum of the ints")
        watch.add(seconds)
    check(resident() - before < MOST_GROWTH, "memory stays flat")


@sweep("tasks:pool", RATE, TASKS)
def tasks_pool(mp: Any, size: int, watch: Watch, _: int) -> None:
    pool.pool_map_chunk1(mp, size, watch)


@sweep("workers:pool", RATE, WORKERS)
def workers_pool(mp: Any, size: int, watch: Watch, workers: int) -> None:
    with mp.Pool(workers) as crew:
        pool.warm(crew)
        for _ in watch:
            with watch.timing():
                results = crew.map(neg, range(size), chunksize=1)
            check(results == pool.negatives(size), "results")


def each_round_trip(call: Callable[[int], int], size: int, watch: Watch) -> None:
    """Time calls that return the negative of their argument, one by one."""
    for _ in watch:
        times = []
        for number in range(size):
            begun = clock()
            answer = call(number)
            times.append(clock() - begun)
            check(answer == -number, "the answer")
        watch.each(times)


@row("latency:queue", TIME, size=5_000)
def latency_queue(mp: Any, size: int, watch: Watch) -> None:
    there, back = mp.Queue(), mp.Queue()

    def call(number: int) -> int:
        there.put(number)
        return -int(back.get())

    with children(mp, [(echo, (there.get, back.put))]):
        each_round_trip(call, size, watch)
        there.put(None)


@row("latency:pipe", TIME, size=5_000)
def latency_pipe(mp: Any, size: int, watch: Watch) -> None:
    here, there = mp.Pipe()

    def call(number: int) -> int:
        here.send(number)
        return -int(here.recv())

    with children(mp, [(echo, (there.recv, there.send))]):
        each_round_trip(call, size, watch)
        here.send(None)


@row("latency:pool", TIME, size=2_000)
def latency_pool(mp: Any, size: int, watch: Watch) -> None:
    with mp.Pool(2) as workers:
        pool.warm(workers)
        each_round_trip(lambda number: int(workers.apply(neg, (number,))), size, watch)


@row("latency:executor", TIME, size=2_000)
def latency_executor(mp: Any, size: int, watch: Watch) -> None:
    with mp.ProcessPoolExecutor(2) as workers:
        executor.warm(workers)
        each_round_trip(lambda number: int(workers.submit(neg, number).result()), size, watch)
