"""A program that makes and drops objects, with forks in between: `python lifetime.py CYCLES`, or `many COUNT`.

Resident memory, the region's bytes and descriptors must be flat from the first tenth to the end. Used by
tests/unit/test_lifetime.py with a few thousand cycles, and by `make lifetime` with a million.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from pathlib import Path

import fastmp
from fastmp import _core

SLACK_BYTES = 8 << 20  # of resident memory: what CPython's own allocator may keep


def cycle(number: int) -> None:
    """One object of most kinds, used and dropped; now and then in a circle."""
    lock = fastmp.Lock()
    with lock:
        value = fastmp.Value("i", number, lock=lock)
    assert value.value == number
    queue = fastmp.SimpleQueue() if number % 2 else fastmp.Queue()
    queue.put((number, b"x" * (number % 400)))
    assert queue.get()[0] == number
    if number % 3 == 0:
        queue.put(lock)  # an object in a message that nobody takes
    if number % 5 == 0:
        left, right = fastmp.Pipe()
        left.send(number)
        assert right.recv() == number
    if number % 7 == 0:
        circle: list[object] = [queue, value]
        circle.append(circle)
    if number % 11 == 0:
        fastmp.Condition(), fastmp.Event(), fastmp.Barrier(2), fastmp.Semaphore(), fastmp.shared_array(100)


def fork_between() -> None:
    """A child inherits what is there, makes and drops, and ends in order or not."""
    kept = fastmp.Queue()
    kept.put("before")
    pid = os.fork()
    if pid == 0:
        for number in range(10):
            cycle(number)
        if os.getpid() % 2:
            _core.leave()
        os._exit(0 if kept.get() == "before" else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert kept.empty()


def notice_the_dead() -> None:
    """A child of `os.fork` that did not leave is noticed by those who make objects: each 32nd looks at one process."""
    for _ in range(32 * 16):
        fastmp.Lock()


def sizes() -> tuple[int, int, int]:
    """Resident memory, bytes in use of the region, and descriptors."""
    gc.collect()
    notice_the_dead()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE"), _core.heap_stats()["bytes_in_use"], len(os.listdir("/proc/self/fd"))


def many(count: int) -> None:
    """So many queues and locks at one time, all in use, then none."""
    gc.collect()
    before = _core.heap_stats()["bytes_in_use"]
    queues = [fastmp.Queue(4) for _ in range(count)]
    locks = [fastmp.Lock() for _ in range(count)]
    for number, (queue, lock) in enumerate(zip(queues, locks, strict=True)):
        lock.acquire()
        queue.put(number)
    pid = os.fork()
    if pid == 0:
        good = all(queue.get() == number for number, queue in enumerate(queues))
        for lock in locks:
            lock.release()
        os._exit(0 if good else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert all(queue.empty() for queue in queues)
    assert all(lock.acquire(block=False) for lock in locks)
    del queues, locks, queue, lock
    gc.collect()
    notice_the_dead()
    assert _core.heap_stats()["bytes_in_use"] <= before + (64 << 10), (before, _core.heap_stats())
    print("none is left")


def main() -> None:
    """Print one line of sizes for each tenth; fail if they grow."""
    if sys.argv[1] == "many":
        many(int(sys.argv[2]))
        return
    cycles = int(sys.argv[1])
    between = max(cycles // 100, 100)
    seen = []
    start = time.monotonic()
    for number in range(cycles):
        cycle(number)
        if number % between == 0:
            fork_between()
        if (number + 1) % (cycles // 10) == 0:
            seen.append(sizes())
            print(
                f"{number + 1:>8} cycles: resident {seen[-1][0] >> 10} KiB, region {seen[-1][1]} B, "
                f"descriptors {seen[-1][2]}, {time.monotonic() - start:.0f} s",
                flush=True,
            )
    first, last = seen[0], seen[-1]
    assert last[0] <= first[0] + SLACK_BYTES, seen
    assert last[1] <= first[1] + (64 << 10), seen
    assert last[2] <= first[2], seen
    print("flat")


if __name__ == "__main__":
    main()
