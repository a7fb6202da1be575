"""Children for tests: in order, killed, and told apart from their parent by a function that runs in them."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import fastmp


@contextmanager
def child(target: Callable[..., Any], *args: Any) -> Iterator[fastmp.Process]:
    """A process that runs ``target(*args)``; at the end of the block it must end by itself with exit code 0."""
    process = fastmp.Process(target=target, args=args)
    process.start()
    try:
        yield process
        process.join(20)
        assert process.exitcode == 0
    finally:
        process.kill()
        process.join()
        process.close()


def in_child(target: Callable[..., Any], *args: Any) -> None:
    """Run a function in a process of its own, to its end."""
    with child(target, *args):
        pass


def killed_after(target: Callable[[], Any]) -> int:
    """The pid of a reaped process that killed itself right after ``target()``."""
    pid = os.fork()
    if pid == 0:
        try:
            target()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    return pid


@contextmanager
def thread(target: Callable[..., Any], *args: Any) -> Iterator[threading.Thread]:
    """A thread that must end soon after the block."""
    runner = threading.Thread(target=target, args=args)
    runner.start()
    try:
        yield runner
    finally:
        runner.join(20)
        assert not runner.is_alive()


def eventually(condition: Callable[[], Any], seconds: float = 10) -> Any:
    """The condition's first true value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.001)
    return value


@contextmanager
def takes(at_least: float, less_than: float = 15) -> Iterator[None]:
    """The block's duration in seconds lies within these bounds."""
    start = time.monotonic()
    yield
    took = time.monotonic() - start
    assert at_least <= took < less_than


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """SIGINT reaches this process while the block runs."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        yield
    finally:
        timer.join()
