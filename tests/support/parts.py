"""The parts of children of every start method in the tests of each kind of object: importable there."""

import ctypes
import errno
import fcntl
import os
import resource
import signal
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty
from typing import Any

import fastmp
from fastmp.connection import Pipe

SIZES = (0, 10, 1_000, 200_000)


class Point(ctypes.Structure):
    """What a Value may hold."""

    _fields_ = (("x", ctypes.c_int), ("y", ctypes.c_double))


@contextmanager
def playing(ctx: Any, target: Callable[..., object], *args: Any, killed: bool = False) -> Iterator[Any]:
    """A child that plays its part beside the block, and ends with it: by itself, or by a signal if it is `killed`."""
    process = ctx.Process(target=target, args=args)
    process.start()
    try:
        yield process
        process.join(30)
        assert process.exitcode == (-signal.SIGKILL if killed else 0)
    finally:
        process.kill()
        process.join()
        process.close()


def kill(process: Any) -> None:
    """Kill it, and wait until it is reaped."""
    process.kill()
    process.join()


# ---- queues


def answer(there: Any, back: Any) -> None:
    """Send back what comes, with this process's pid, until None comes."""
    while (message := there.get()) is not None:
        back.put((os.getpid(), message))


def put_without_a_reader(queue: Any, count: int) -> None:
    """More than the ring holds; the process ends at once."""
    for number in range(count):
        queue.put((number, b"x" * 100))


def deal_with(queue: Any, count: int) -> None:
    """Take and mark as done."""
    for _ in range(count):
        queue.get()
        queue.task_done()


def meet_the_limits(queue: Any) -> None:
    """An empty queue raises in another process as in this one."""
    for call in (queue.get_nowait, lambda: queue.get(timeout=0.01), lambda: queue.get(block=False)):
        try:
            call()
        except Empty:
            continue
        raise AssertionError("the queue should be empty")
    queue.close()
    queue.join_thread()


# ---- locks and their kin


def hold(lock: Any, is_held: Any, release: Any) -> None:
    """Hold a lock until told to release it."""
    with lock:
        is_held.set()
        release.wait(60)


def add_under_a_lock(lock: Any, number: Any, count: int) -> None:
    """Add one, in two steps, so many times."""
    for _ in range(count):
        with lock:
            before = number.value
            number.value = before + 1


def meet(barrier: Any, condition: Any, semaphore: Any, event: Any) -> None:
    """Take part in one game with each."""
    barrier.wait(60)
    with condition:
        assert not condition.wait(0.01)
        event.set()
        assert condition.wait(60)
    assert not semaphore.acquire(timeout=0.01)
    barrier.wait(60)
    assert semaphore.acquire(timeout=60)


# ---- connections


def echo(end: Any) -> None:
    """Send back what comes, objects and bytes in turn, until None comes."""
    while (message := end.recv()) is not None:
        end.send(message)
        end.send_bytes(end.recv_bytes())


def say_and_stay(end: Any, count: int) -> None:
    """Send numbers, then sleep until killed."""
    for number in range(count):
        end.send(number)
    time.sleep(60)


# ---- shared values


def change(value: Any, array: Any, raw: Any, point: Any, count: int) -> None:
    """Change each of them so many times."""
    for _ in range(count):
        with value.get_lock():
            value.value += 1
        with array:
            array[0] += 1
            array[1:3] = [array[1] + 1, array[2] + 1]
    raw[3] = 3
    with point:
        point.x, point.y = point.x + 1, 0.5


# ---- pools


def pid_after(seconds: float) -> int:
    """Who does this task."""
    time.sleep(seconds)
    return os.getpid()


def square(number: int) -> int:
    """A short task."""
    return number * number


def fail(number: int) -> None:
    """A task that raises."""
    raise ValueError(number)


def die(number: int) -> int:
    """A task that ends its worker, if it is the third."""
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def tell_and_sleep(seconds: float) -> None:
    """A long task that says on the terminal that it has begun."""
    print("at work", flush=True)
    time.sleep(seconds)


def use_in_a_task(queue: Any, lock: Any, event: Any) -> str:
    """What a task does with its arguments."""
    with lock:
        queue.put("from the task")
        event.set()
    return "done"


def put_megabytes(queue: Any, count: int, megabytes: int) -> None:
    """More than any pipe holds."""
    for number in range(count):
        queue.put((number, bytes([number % 251]) * (megabytes << 20)))


# ---- before a program begins


def take_the_terminal() -> None:
    """The terminal on stdin is that of this new session: its Ctrl-C is sent to us."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


# ---- connections that arrive


def answer_on(receive: Callable[[], Any]) -> None:
    """Use each connection in what arrives; end when None does."""
    things = receive()
    used, (fresh, inner), plain = things["used"][0], things["fresh"], things["plain"]
    used.send(used.recv() + ", and more")
    fresh.send(fresh.recv())
    plain.send(plain.recv())
    for number in range(3):
        inner["writer"].send(number)
    assert receive() is None


def say_on(ends: Any, message: str) -> str:
    """Send on a connection that came in a dict."""
    ends["end"].send(message)
    return "said"


def say_in_turn(pair: Any) -> int:
    """Send a number on the connection that came with it."""
    end, number = pair
    end.send(number)
    return int(number)


def make_a_pipe() -> Any:
    """One end, with a message in it already; the other lives on in the worker."""
    global kept
    reader, kept = Pipe(duplex=False)
    kept.send("from the maker")
    return reader


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Nothing can be opened."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.close(lowest := os.dup(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def get_without_descriptors(queue: Any) -> None:
    """A connection that cannot be opened, then one that can."""
    with no_descriptor_left():
        try:
            queue.get(timeout=30)
        except OSError as error:
            assert error.errno == errno.EMFILE  # noqa: PT017 - in a child, without pytest
        else:
            raise AssertionError("there was no descriptor for it")
    queue.get(timeout=30).send("at last")


# ---- generations


def descend(methods: list[str], lock: Any, number: Any, back: Any) -> None:
    """Count, send objects of one's own to the first parent, and have a child that does the same."""
    level = len(methods)
    with lock:
        number.value += 1
    queue, value = fastmp.Queue(), fastmp.Value("i", level)
    queue.put(("made in generation", level))
    back.put((level, queue, value))
    if methods:
        with playing(fastmp.get_context(methods[0]), descend, methods[1:], lock, number, back):
            pass
