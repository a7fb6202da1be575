"""A program that uses every object while something is short: `python pressure.py WHAT_IS_SHORT [CONTROL_GROUP]`.

Before: a queue and a pipe with messages in them, a pool and an executor that have worked. Then the pressure; each
operation is repeated until it fails, or often enough. One line for each says what came of it. Then the messages must
be there, in order; then the pressure goes, and everything must work. Used by tests/unit/test_limits.py.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fastmp

BIG = 1 << 20
MESSAGES: list[Any] = [0, "one", b"2" * 3000, 3, b"4" * 300_000, {"five": [5] * 500}]
FILLED_MAX = 500_000  # KiB: should nothing stop it
KEPT: list[Any] = []  # what an operation has made, until the pressure goes


# ---- pressures: context managers ----


@contextmanager
def soft(kind: int, value: int) -> Iterator[None]:
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


@contextmanager
def files() -> Iterator[None]:
    """No descriptor is left."""
    with soft(resource.RLIMIT_NOFILE, len(os.listdir("/proc/self/fd")) + 20):
        taken = []
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        try:
            yield
        finally:
            for fd in taken:
                os.close(fd)


@contextmanager
def processes() -> Iterator[None]:
    """No process and no thread can be made."""
    with soft(resource.RLIMIT_NPROC, 1):
        yield


@contextmanager
def file_size() -> Iterator[None]:
    """Files may not grow beyond a page."""
    with soft(resource.RLIMIT_FSIZE, 4096):
        yield


@contextmanager
def address_space() -> Iterator[None]:
    """Next to no address space is left."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    with soft(resource.RLIMIT_AS, pages * 4096 + 3 * BIG):
        yield


@contextmanager
def region() -> Iterator[None]:
    """The region is full (a small one: see FASTMP_REGION_SIZE)."""
    taken: list[Any] = []
    for size in (BIG, BIG // 16, 1024, 64):
        with suppress(OSError):
            for _ in range(FILLED_MAX // (1 + size // 1024)):
                taken.append(fastmp.RawArray("c", size))
            print(f"it is not full: {FILLED_MAX} KiB could be had", flush=True)
    try:
        yield
    finally:
        taken.clear()
        gc.collect()


@contextmanager
def group() -> Iterator[None]:
    """The control group in which this program runs has no memory left."""
    with region():
        yield


@contextmanager
def nothing() -> Iterator[None]:
    """No pressure by this program: the place where it runs is short of something."""
    yield


# ---- operations ----


class Things:
    """What is there before."""

    def __init__(self) -> None:
        self.queue = fastmp.Queue()
        self.bounded = fastmp.Queue(100)
        self.reader, self.writer = fastmp.Pipe()
        self.pool = fastmp.Pool(1)
        self.executor = fastmp.ProcessPoolExecutor(1)
        assert self.pool.apply(len, ("abc",)) == 3
        assert self.executor.submit(len, "abc").result() == 3
        for message in MESSAGES:
            self.queue.put(message)
            self.bounded.put(message)
            self.writer.send(message)

    def check(self) -> None:
        """All messages are there, in order."""
        for get in (self.queue.get, self.bounded.get, self.reader.recv):
            for message in MESSAGES:
                got = get()
                assert got == message, (get, str(got)[:50], str(message)[:50])
        self.check_rest()

    def check_rest(self) -> None:
        """What the operations have put and sent is whole."""
        for get, empty in (
            (self.queue.get, self.queue.empty),
            (self.bounded.get, self.bounded.empty),
            (self.reader.recv, lambda: not self.reader.poll()),
        ):
            while not empty():
                extra = get()
                assert extra in ("small", b"L" * BIG), str(extra)[:50]

    def end(self) -> None:
        """End the workers."""
        self.pool.terminate()
        self.pool.join()
        self.executor.shutdown()


def start() -> None:
    process = fastmp.Process(target=int)
    process.start()
    process.join()
    assert process.exitcode == 0, process.exitcode
    process.close()


def pool() -> None:
    with fastmp.Pool(2) as made:
        assert made.map(abs, range(10)) == list(range(10))


def executor() -> None:
    with fastmp.ProcessPoolExecutor(2) as made:
        assert list(made.map(abs, range(10))) == list(range(10))


def named() -> None:
    from fastmp.shared_memory import SharedMemory

    memory = SharedMemory(create=True, size=BIG)
    try:
        memory.buf[:] = b"x" * len(memory.buf)
    finally:
        memory.close()
        memory.unlink()


def operations(things: Things) -> dict[str, Callable[[], Any]]:
    """Each operation, by name."""
    large = b"L" * BIG
    keep = KEPT.append
    return {
        "put": lambda: things.queue.put("small"),
        "put large": lambda: things.queue.put(large),
        "bounded put": lambda: things.bounded.put_nowait("small"),
        "bounded put large": lambda: things.bounded.put_nowait(large),
        "send": lambda: things.writer.send("small"),
        "send large": lambda: things.writer.send(large),
        "Queue": lambda: keep(fastmp.Queue()),
        "SimpleQueue": lambda: keep(fastmp.SimpleQueue()),
        "Pipe": lambda: keep(fastmp.Pipe()),
        "Lock": lambda: keep(fastmp.Lock()),
        "RLock": lambda: keep(fastmp.RLock()),
        "Semaphore": lambda: keep(fastmp.Semaphore()),
        "Condition": lambda: keep(fastmp.Condition()),
        "Event": lambda: keep(fastmp.Event()),
        "Barrier": lambda: keep(fastmp.Barrier(2)),
        "Value": lambda: keep(fastmp.Value("i")),
        "Array": lambda: keep(fastmp.Array("c", BIG)),
        "shared_array": lambda: keep(fastmp.shared_array(BIG)),
        "shared_dict": lambda: keep(fastmp.shared_dict(dict.fromkeys(range(1000), "x" * 100))),
        "start": start,
        "Pool": pool,
        "executor": executor,
        "apply": lambda: things.pool.apply(len, ("abc",)),
        "apply large": lambda: things.pool.apply(len, (large,)),
        "large result": lambda: len(things.pool.apply(bytes, (BIG,))),
        "submit": lambda: things.executor.submit(len, "abc").result(),
        "submit large": lambda: things.executor.submit(len, large).result(),
        "callback": lambda: things.pool.apply_async(len, ("abc",), callback=str).get(),
        "SharedMemory": named,
    }


def outcome(operation: Callable[[], Any], times: int) -> str:
    """What comes of an operation that is tried so many times."""
    try:
        for _ in range(times):
            operation()
    except OSError as error:
        return f"{type(error).__name__} {error.errno} {error.strerror}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:80]}"
    return "works"


#: How often, where it is not 30 times: what is put and sent must fit, or wait in a feeder's care.
TIMES = {"put": 600, "put large": 40, "bounded put": 20, "bounded put large": 40, "send": 3, "send large": 2}
TIMES |= {"start": 2, "Pool": 1, "executor": 1, "SharedMemory": 1}


def become_nobody() -> None:
    """Root is above RLIMIT_NPROC."""
    if os.geteuid() == 0:
        os.setgid(65123)
        os.setuid(65123)


def flow() -> None:
    """Tasks and results that are together more than the memory: who sends them waits for those before."""
    items, many = [bytes(4 * BIG) for _ in range(60)], [4 * BIG] * 60
    lengths = [4 * BIG] * 60
    with fastmp.Pool(2) as made:
        assert made.map(len, items, chunksize=1) == lengths
        assert list(made.imap(len, iter(items))) == lengths
        assert [result.get() for result in [made.apply_async(len, (item,)) for item in items]] == lengths
        assert [len(x) for x in made.map(bytes, many, chunksize=1)] == lengths
        assert [len(x) for x in made.imap(bytes, many)] == lengths
    with fastmp.ProcessPoolExecutor(2) as made_too:
        assert list(made_too.map(len, items)) == lengths
        assert [len(x) for x in made_too.map(bytes, many)] == lengths


def warm_up() -> None:
    """Import all that is imported late."""
    things = Things()
    for operation in operations(things).values():
        outcome(operation, 1)
    things.check()
    things.end()
    KEPT.clear()


def main() -> None:
    """Print one line for each operation, and `all is well` at the end."""
    what = sys.argv[1]
    signal.alarm(50)
    if what == "flow":
        flow()
        return
    if what == "group":
        Path(sys.argv[2], "cgroup.procs").write_text(str(os.getpid()))
    warm_up()
    if what == "processes":
        become_nobody()
    things = Things()
    tried = operations(things)
    with globals()[what]():
        for name, operation in tried.items():
            print(f"{name} -> {outcome(operation, TIMES.get(name, 30))}", flush=True)
    KEPT.clear()
    gc.collect()
    things.check()
    print("and then")
    for name, operation in tried.items():
        print(f"{name} -> {outcome(operation, 1)}", flush=True)
    things.check_rest()
    things.end()
    print("all is well")


if __name__ == "__main__":
    main()
