"""fastmp.atomic: words inside arrays, structures and buffers; waiting for them."""

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy
import pytest
from support.crowd import fork, run

import fastmp
from fastmp import Array, RawArray, RawValue, Value, atomic

pytestmark = pytest.mark.usefixtures("region")


class Inner(ctypes.Structure):
    _fields_ = [("flag", ctypes.c_bool), ("count", ctypes.c_longlong)]


class Choice(ctypes.Union):
    _fields_ = [("whole", ctypes.c_uint32), ("parts", ctypes.c_uint8 * 4)]


class Record(ctypes.Structure):
    _anonymous_ = ("choice",)
    _fields_ = [
        ("small", ctypes.c_uint8),
        ("inner", Inner * 3),
        ("choice", Choice),
        ("where", ctypes.POINTER(ctypes.c_int)),
        ("anywhere", ctypes.c_void_p),
        ("bits", ctypes.c_uint, 3),
        ("x", ctypes.c_double),
        ("letter", ctypes.c_char),
    ]


class Derived(Record):
    _fields_ = [("more", ctypes.c_short)]


class Packed(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("byte", ctypes.c_uint8), ("count", ctypes.c_int)]


class Swapped(ctypes.BigEndianStructure):
    _fields_ = [("count", ctypes.c_int), ("byte", ctypes.c_uint8)]


@pytest.mark.parametrize("make", [Array, RawArray])
def test_items_of_arrays(make: Callable[..., Any]) -> None:
    array = make("i", 5)
    assert atomic(array, 2).fetch_add(7) == 0
    assert atomic(array, -1).exchange(8) == 0
    assert list(array) == [0, 0, 7, 0, 8]
    for index in (5, -6):
        with pytest.raises(IndexError, match="5 items"):
            atomic(array, index)


def test_raw_values() -> None:
    value = RawValue("H", 65535)
    assert atomic(value).fetch_add(2) == 65535
    assert value.value == 1


@pytest.mark.parametrize("type_", [Record, Derived])
def test_fields(type_: Any) -> None:
    records = Array(type_, 4)
    assert records.atomic(1, "small").fetch_sub(1) == 0
    assert records.atomic(1, "inner", 2, "count").exchange(-5) == 0
    assert records.atomic(1, "inner", 2, "flag").exchange(True) is False
    assert records.atomic(1, "whole").fetch_or(0x01020304) == 0
    assert records.atomic(1, "choice", "parts", 0).load() == records[1].parts[0] == 4
    record = records[1]
    assert (record.small, record.inner[2].count, record.inner[2].flag, record.whole) == (255, -5, True, 0x01020304)
    assert records[0].small == records[2].small == 0


def test_a_field_of_a_derived_structure() -> None:
    value = Value(Derived)
    assert value.atomic("more").fetch_add(3) == 0
    assert value.get_obj().more == 3


def test_pointers() -> None:
    record, target = RawValue(Record), RawArray("i", [10, 20])
    base = ctypes.addressof(target)
    where = atomic(record, "where")
    assert where.compare_exchange(0, base)
    assert where.fetch_add(4) == base  # bytes
    assert record.where[0] == 20
    assert atomic(record, "anywhere").exchange(base) == 0
    assert record.anywhere == base


def test_buffers() -> None:
    memory = memoryview(RawArray("q", 6))
    assert atomic(memory, 3).fetch_add(2) == 0
    matrix = numpy.asarray(memory).reshape(2, 3)
    assert atomic(matrix, 1, 0).fetch_add(1) == 2
    assert atomic(matrix[:, ::2], 0, 1).exchange(9) == 0
    assert list(matrix.ravel()) == [0, 0, 9, 3, 0, 0]
    word = atomic(memory, 0)
    memory.release()
    assert word.fetch_add(1) == 0
    assert matrix[0, 0] == 1


@pytest.mark.parametrize(
    ("obj", "path", "message"),
    [
        (lambda: RawValue(Record), ("bits",), "bit field"),
        (lambda: RawValue(Record), ("x",), "no atomic operations"),
        (lambda: RawValue(Record), ("letter",), "no atomic operations"),
        (lambda: RawValue(Record), ("inner",), "not a simple C value"),
        (lambda: RawValue(Record), ("nothing",), "no field 'nothing'"),
        (lambda: RawValue(Record), (1,), "no item 1"),
        (lambda: RawValue("i"), ("x",), "no field 'x'"),
        (lambda: RawArray("i", 3), (), "not a simple C value"),
        (lambda: RawArray("d", 3), (1,), "no atomic operations"),
        (lambda: RawValue(Swapped), ("count",), "byte order"),
        (lambda: ctypes.c_int(), (), "shared memory"),
        (lambda: bytearray(8), (1,), "shared memory"),
        (lambda: bytes(8), (1,), "written to"),
        (lambda: numpy.asarray(RawArray("i", 3)), (), "1 dimensions"),
        (lambda: numpy.asarray(RawArray("i", 3)), ("x",), "indices only"),
        (lambda: numpy.asarray(RawArray("i", 3)).view(">i4"), (1,), "byte order"),
        (lambda: numpy.asarray(RawArray("d", 3)), (1,), "no atomic operations"),
        (lambda: numpy.asarray(RawArray("b", 3)).view("S1"), (1,), "no atomic operations"),
        (lambda: object(), (), "bytes-like"),
    ],
)
def test_what_has_no_atomic_operations(obj: Callable[[], Any], path: tuple[Any, ...], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        atomic(obj(), *path)


def test_unaligned() -> None:
    odd = numpy.asarray(RawArray("b", 9))[1:].view("i4")
    for make in (lambda: atomic(RawValue(Packed), "count"), lambda: atomic(odd, 0)):
        with pytest.raises(ValueError, match="multiple of 4"):
            make()
    assert atomic(RawValue(Packed), "byte").fetch_add(1) == 0


def test_released_memory() -> None:
    view = memoryview(RawArray("i", 3))
    view.release()
    with pytest.raises(ValueError, match="released"):
        atomic(view, 1)


def test_a_handle_keeps_the_memory() -> None:
    words = [atomic(RawValue("q", number)) for number in range(50)]
    others = [RawValue("q", -1) for _ in range(50)]
    assert [word.load() for word in words] == list(range(50))
    del others


@pytest.mark.parametrize("operation", ["fetch_add", "fetch_sub", "compare_exchange", "fetch_xor"])
@pytest.mark.parametrize("type_", [ctypes.c_uint8, ctypes.c_uint16, ctypes.c_int32, ctypes.c_int64])
def test_four_processes_are_exact(type_: Any, operation: str) -> None:
    class Pair(ctypes.Structure):
        _fields_ = [("other", type_), ("word", type_)]

    array, rounds = RawArray(Pair, 3), 5_001

    def child(number: int) -> None:
        word = atomic(array, 1, "word")
        for _ in range(rounds):
            if operation == "compare_exchange":
                while not word.compare_exchange(seen := word.load(), seen + 1):
                    pass
            elif operation == "fetch_xor":
                word.fetch_xor(1 << number)
            else:
                getattr(word, operation)(1)

    run(*[(child, (number,)) for number in range(4)])
    wanted = {"fetch_sub": -4 * rounds, "fetch_xor": 0b1111}.get(operation, 4 * rounds)
    assert array[1].word == type_(wanted).value
    assert [array[0].word, array[1].other, array[2].other] == [0, 0, 0]


# ---- waiting ----


@pytest.mark.parametrize("type_", [ctypes.c_bool, ctypes.c_uint8, ctypes.c_int16, ctypes.c_int32, ctypes.c_int64])
def test_wait_and_notify(type_: Any) -> None:
    here, there = Value(type_), RawArray(type_, 2)

    def child() -> None:
        echo = atomic(there, 1)
        assert here.wait(0)
        echo.store(here.load())
        echo.notify()

    process = fork.Process(target=child)
    process.start()
    here.store(1)
    here.notify()
    assert atomic(there, 1).wait(0, timeout=30)
    process.join(30)
    assert (process.exitcode, there[1]) == (0, 1)


def test_wait_that_has_nothing_to_wait_for() -> None:
    value = Value("b", -1)
    assert value.wait(5)
    assert value.wait(255, timeout=0) is False  # the same byte
    start = time.monotonic()
    assert value.wait(-1, timeout=0.05) is False
    assert time.monotonic() - start >= 0.05
    for wrong in (lambda: value.notify(-1), lambda: value.wait(-1, float("nan"))):
        with pytest.raises(ValueError, match=r"at least 0|NaN"):
            wrong()
    value.notify(0)
    value.notify(None)


def test_notify_wakes_all_who_are_to_go_on() -> None:
    """Many words and waiters, so that words share places of the table; each waiter is told within its own wait."""
    array, done = RawArray("i", 600), Value("i")

    def child(number: int) -> None:
        for index in range(number, 600, 3):
            assert atomic(array, index).wait(0, timeout=30)
        done.fetch_add(1)
        done.notify()

    children = [fork.Process(target=child, args=(number,)) for number in range(3)]
    for process in children:
        process.start()
    for index in range(600):
        word = atomic(array, index)
        word.store(1)
        word.notify()
    while (count := done.load()) < 3:
        assert done.wait(count, timeout=30)
    for process in children:
        process.join(30)
        assert process.exitcode == 0


def test_the_death_of_a_waiter_is_harmless() -> None:
    value, begun = Value("i"), Value("i")

    def wait() -> None:
        begun.fetch_add(1)
        value.wait(0)

    victims = [fork.Process(target=wait) for _ in range(3)]
    for victim in victims:
        victim.start()
    while begun.load() < 3:
        begun.wait(begun.load(), 0.01)
    for victim in victims:
        os.kill(victim.pid, signal.SIGKILL)
        victim.join(30)
    survivor = fork.Process(target=wait)
    survivor.start()
    while begun.load() < 4:
        begun.wait(begun.load(), 0.01)
    value.store(1)
    value.notify()
    survivor.join(30)
    assert survivor.exitcode == 0


def test_control_c_ends_a_wait() -> None:
    value = Value("i")
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        value.wait(0, timeout=30)
    timer.join()


def test_other_threads_run_while_one_waits() -> None:
    value = Value("i")
    thread = threading.Thread(target=lambda: (value.store(1), value.notify()))
    thread.start()
    assert value.wait(0, timeout=30)
    thread.join()


def test_the_name_of_the_package() -> None:
    assert fastmp.atomic is atomic
