"""A program that makes processes in one way while its threads use everything: `python forking.py WAY HOW_MANY`.

Each child uses the objects too, and ends. Nobody may hang, nothing may come twice, nothing may be lost. Used by
tests/unit/test_fork_safety.py, and by `make lifetime` for longer.
"""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import fastmp

PATIENCE = 40
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on forks and threads: they are what is tested


class Objects:
    """What the threads and the children use."""

    def __init__(self) -> None:
        self.queue, self.back = fastmp.Queue(), fastmp.Queue()
        self.lock, self.semaphore = fastmp.Lock(), fastmp.Semaphore(2)
        self.value = fastmp.Value("i", 0)
        self.ends = fastmp.Pipe()
        self.pool = fastmp.Pool(2)
        self.executor = fastmp.ProcessPoolExecutor(2)
        # Its workers are there before a thread begins: one forked while another thread is in `subprocess` would keep
        # the pipe whose end `subprocess` waits for, on any library.
        assert self.executor.submit(abs, -1).result() == 1

    def use_in_child(self, number: int) -> None:
        """What a child does with the objects and with some of its own; the pools are its parent's."""
        for take in (self.lock, self.semaphore):
            assert take.acquire(timeout=PATIENCE), "whoever had it was its parent, or lives"
            take.release()
        with self.value.get_lock():
            self.value.value += 1
        own = fastmp.Queue()
        own.put(b"x" * 500)
        assert own.get(timeout=PATIENCE) == b"x" * 500
        for call in (lambda: self.pool.apply(abs, (-1,)), lambda: self.executor.submit(abs, -1)):
            try:
                call()
            except RuntimeError:
                continue
            raise AssertionError("a pool worked for another process")
        self.executor.shutdown()
        self.back.put(number)


class Crowd:
    """The threads of the parent."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self.stop = threading.Event()
        self.put = 0
        self.got: list[int] = []
        self.failed: list[str] = []
        work = (self.send, self.lock, self.pipe, self.submit, self.make)
        self.threads = [threading.Thread(target=self.guarded, args=(what,), daemon=True) for what in work]
        self.readers = [threading.Thread(target=self.guarded, args=(self.receive,), daemon=True) for _ in range(2)]
        for thread in self.threads + self.readers:
            thread.start()

    def guarded(self, what: Callable[[], None]) -> None:
        try:
            what()
        except BaseException:
            self.failed.append(traceback.format_exc())

    def send(self) -> None:
        while not self.stop.is_set():
            self.objects.queue.put((self.put, b"x" * (self.put % 3000)))
            self.put += 1

    def receive(self) -> None:
        while (message := self.objects.queue.get()) is not None:
            self.got.append(message[0])

    def lock(self) -> None:
        while not self.stop.is_set():
            with self.objects.lock, self.objects.semaphore, self.objects.value.get_lock():
                pass

    def pipe(self) -> None:
        left, right = self.objects.ends
        count = 0
        while not self.stop.is_set():
            left.send((count, b"y" * (count % 2000)))
            assert right.recv()[0] == count
            count += 1

    def submit(self) -> None:
        count = 0
        while not self.stop.is_set():
            assert self.objects.pool.apply(abs, (-count,)) == count
            assert self.objects.executor.submit(abs, -count).result() == count
            count += 1

    def make(self) -> None:
        """New objects, dropped at once."""
        while not self.stop.is_set():
            queue, ends = fastmp.Queue(), fastmp.Pipe()
            queue.put(b"z" * 500)
            assert len(queue.get()) == 500
            fastmp.Value("d")
            with fastmp.Lock():
                del ends

    def end(self) -> None:
        """All threads end, and what was put has come once."""
        self.stop.set()
        for thread in self.threads:
            thread.join(PATIENCE)
        for _ in self.readers:
            self.objects.queue.put(None)
        for thread in self.readers:
            thread.join(PATIENCE)
        assert self.failed == [], self.failed
        assert [thread for thread in self.threads + self.readers if thread.is_alive()] == []
        assert sorted(self.got) == list(range(self.put))


def in_child(objects: Objects, number: int) -> None:
    """Never returns."""
    code = 1
    try:
        signal.alarm(2 * PATIENCE)
        objects.use_in_child(number)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def wait_for(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def by_fork(objects: Objects, number: int) -> int:
    pid = os.fork()
    if pid == 0:
        in_child(objects, number)
    return wait_for(pid)


def by_pty(objects: Objects, number: int) -> int:
    pid, fd = pty.fork()
    if pid == 0:
        in_child(objects, number)
    code = wait_for(pid)
    os.close(fd)
    return code


def by_process(objects: Objects, number: int) -> int:
    process = fastmp.get_context("fork").Process(target=objects.use_in_child, args=(number,))
    process.start()
    process.join()
    code: int = process.exitcode
    return code


def by_forks_of_threads(objects: Objects, number: int) -> int:
    """Two threads at once."""
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: codes.append(by_fork(objects, n)))  # type: ignore[misc]
        for n in (2 * number, 2 * number + 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return max(codes)


def by_subprocess(*_: Any) -> int:
    return subprocess.call(["/bin/true"])


def by_preexec(*_: Any) -> int:
    return subprocess.call(["/bin/true"], preexec_fn=lambda: None)


def by_posix_spawn(*_: Any) -> int:
    return wait_for(os.posix_spawn("/bin/true", ["true"], os.environ))


WAYS: dict[str, tuple[Callable[[Objects, int], int], int]] = {  # and how many of the children use the objects
    "fork": (by_fork, 1),
    "pty": (by_pty, 1),
    "process": (by_process, 1),
    "threads": (by_forks_of_threads, 2),
    "subprocess": (by_subprocess, 0),
    "preexec": (by_preexec, 0),
    "posix_spawn": (by_posix_spawn, 0),
}


def main() -> None:
    """Make so many processes in this way; print what was done."""
    (make, uses), count = WAYS[sys.argv[1]], int(sys.argv[2])
    objects = Objects()
    crowd = Crowd(objects)
    codes = [make(objects, number) for number in range(count)]
    crowd.end()
    assert codes == [0] * count, codes
    numbers = sorted(objects.back.get(timeout=PATIENCE) for _ in range(uses * count))
    assert numbers == list(range(uses * count))
    assert objects.back.empty()
    assert objects.value.value == uses * count
    objects.pool.terminate()
    objects.pool.join()
    objects.executor.shutdown()
    print(f"{count} by {sys.argv[1]}, {crowd.put} messages meanwhile")


if __name__ == "__main__":
    main()
