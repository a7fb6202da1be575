"""Shared values and arrays under their locks: fastmp's own and others, held elsewhere, held by the dead."""

import ctypes
import multiprocessing
import os
import signal
import threading
import time
import types
from collections.abc import Callable
from typing import Any

import pytest
from support.crowd import fork, run
from support.processes import thread

import fastmp
from fastmp.sharedctypes import Array, RawValue, SynchronizedArray, Value


class Point(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int), ("y", ctypes.c_double))


class CountingLock:
    """A lock that is not fastmp's, and that counts."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.taken = self.given_back = 0

    def acquire(self) -> bool:
        self.taken += 1
        return self.lock.acquire()

    def release(self) -> None:
        self.given_back += 1
        self.lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *args: object) -> None:
        self.release()


@pytest.fixture(autouse=True, scope="module")
def _memory() -> None:
    """The region, which stays until the process ends, is there before the first test."""
    RawValue("i")


@pytest.mark.parametrize("lock", [CountingLock, fork.Lock, fork.RLock, fastmp.Lock, fastmp.RLock])
def test_given_lock_is_used(lock: Callable[[], Any]) -> None:
    given = lock()
    value = Value("i", lock=given)
    assert value.get_lock() is given
    value.value = 3
    assert value.value == 3
    with pytest.raises(TypeError):
        value.value = "x"
    assert given.acquire()
    given.release()


def test_foreign_lock_is_taken_once_for_each_access() -> None:
    lock = CountingLock()
    value, array, point = Value("i", lock=lock), Array("i", 5, lock=lock), Value(Point, lock=lock)

    def taken(access: Callable[[], object]) -> int:
        before = lock.taken
        access()
        assert lock.taken == lock.given_back
        return lock.taken - before

    assert taken(lambda: value.value) == 1
    assert taken(lambda: setattr(value, "value", 2)) == 1
    assert taken(lambda: array[0]) == 1
    assert taken(lambda: array[1:3]) == 1
    assert taken(lambda: array.__setitem__(0, 1)) == 1
    assert taken(lambda: array.__setitem__(slice(0, 2), [1, 2])) == 1
    assert taken(lambda: list(array)) == 6
    assert taken(lambda: point.x) == 1
    with pytest.raises(TypeError):
        array[0] = "x"
    with pytest.raises(IndexError):
        array[5]
    assert lock.taken == lock.given_back


@pytest.mark.parametrize("broken", ["acquire", "release"])
def test_error_of_a_foreign_lock_is_raised(broken: str) -> None:
    lock = CountingLock()
    value = Value("i", lock=lock)

    def fail() -> None:
        raise ZeroDivisionError

    setattr(lock, broken, fail)
    with pytest.raises(ZeroDivisionError):
        _ = value.value
    with pytest.raises(ZeroDivisionError):
        value.value = 1


def test_the_wrapper_has_the_lock_s_methods() -> None:
    value = Value("i")
    assert value.acquire()
    assert value.acquire(block=False)
    value.release()
    value.release()
    with pytest.raises(AssertionError):
        value.release()
    with value:
        value.value = 4
    assert value.value == 4


@pytest.mark.parametrize("make", [fork.Lock, fork.RLock, threading.RLock, fork.Condition])
def test_with_takes_the_given_lock(make: Callable[[], Any]) -> None:
    given = make()
    value = Value("i", lock=given)
    with value as got:
        assert got is True
        elsewhere: list[bool] = []
        with thread(lambda: elsewhere.append(given.acquire(False))):
            pass
        assert elsewhere == [False]
    with pytest.raises(KeyError), value:
        raise KeyError
    assert given.acquire()
    given.release()
    for call in (lambda: value.__enter__(1), lambda: type(value).__enter__(7), lambda: value.__exit__(x=1)):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(RuntimeError):
        SynchronizedArray.__new__(SynchronizedArray).__enter__()
    with pytest.raises(RuntimeError):
        SynchronizedArray.__new__(SynchronizedArray).__exit__()


def test_a_lock_may_end_exceptions_and_fail_in_a_with() -> None:
    class Lock(CountingLock):
        def __exit__(self, *args: Any) -> Any:
            self.release()
            self.given = args
            if args[0] is KeyError:
                return True
            raise ZeroDivisionError

    given = Lock()
    value = Value("i", lock=given)
    with value:
        raise KeyError(7)
    assert [type(arg) for arg in given.given[1:]] == [KeyError, types.TracebackType]
    with pytest.raises(ZeroDivisionError), value:
        pass
    assert given.given == (None, None, None)


@pytest.mark.parametrize("make", [lambda: Value("i", 1), lambda: Array("i", [1])])
@pytest.mark.parametrize("write", [False, True])
def test_access_waits_for_another_process(make: Callable[[], Any], write: bool) -> None:
    shared = make()
    ours, theirs = multiprocessing.Pipe()

    def child() -> None:
        with shared.get_lock():
            theirs.send(None)
            time.sleep(0.3)
            shared.get_obj().__init__(2)

    process = fork.Process(target=child)
    process.start()
    ours.recv()
    if isinstance(shared, SynchronizedArray):
        if write:
            shared[0] = 3
        assert shared[0] == (3 if write else 2)
    else:
        if write:
            shared.value = 3
        assert shared.value == (3 if write else 2)
    process.join(30)
    ours.close()
    theirs.close()


def test_access_waits_for_another_thread() -> None:
    value, entered = Value("i"), threading.Event()

    def holder() -> None:
        with value.get_lock():
            entered.set()
            time.sleep(0.2)
            value.value = 5

    thread = threading.Thread(target=holder)
    thread.start()
    entered.wait()
    assert value.value == 5
    thread.join()


def test_waiting_access_can_be_interrupted() -> None:
    class Interrupted(Exception):
        pass

    def interrupt(_signum: int, _frame: object) -> None:
        raise Interrupted

    value = Value("i", lock=fastmp.Lock())
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with value.get_lock():
            timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1))
            timer.start()
            with pytest.raises(Interrupted):
                _ = value.value
            timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert value.value == 0


def increment(value: Any, times: int) -> None:
    for _ in range(times):
        with value.get_lock():
            value.value += 1


@pytest.mark.parametrize("lock", [fastmp.RLock, fork.RLock])
def test_increments_of_two_processes_are_exact(lock: Callable[[], Any]) -> None:
    value = Value("i", lock=lock())
    run((increment, (value, 5000)), (increment, (value, 5000)))
    assert value.value == 10_000


def test_array_increments_of_two_processes_are_exact() -> None:
    array = Array("q", 2)

    def child() -> None:
        for i in range(4000):
            with array:
                array[i % 2] += 1

    run((child, ()), (child, ()))
    assert array[:] == [4000, 4000]


def killed_with_lock(shared: Any) -> None:
    def child() -> None:
        shared.get_lock().acquire()
        os.kill(os.getpid(), signal.SIGKILL)

    process = fork.Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL


def test_value_of_a_killed_holder() -> None:
    value = Value("i", 3)
    killed_with_lock(value)
    with pytest.warns(fastmp.OwnerDied):
        assert value.value == 3
    value.value += 1
    assert value.value == 4


def test_array_of_a_killed_holder() -> None:
    array = Array("i", [1, 2])
    killed_with_lock(array)
    with pytest.warns(fastmp.OwnerDied):
        array[0] = 5
    assert array[:] == [5, 2]
