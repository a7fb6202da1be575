"""Atomic operations of integer values: every width, exact in several processes, without the lock."""

import ctypes
from multiprocessing.sharedctypes import typecode_to_type

import pytest
from support.crowd import run

import fastmp
from fastmp.sharedctypes import Array, RawValue, Value, synchronized

INTEGERS = "bBhHiIlLqQ"


@pytest.fixture(autouse=True, scope="module")
def _memory() -> None:
    """The region, which stays until the process ends, is there before the first test."""
    RawValue("i")


def limits(code: str) -> tuple[int, int]:
    bits = 8 * ctypes.sizeof(typecode_to_type[code])
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if code.islower() else (0, (1 << bits) - 1)


@pytest.mark.parametrize("code", INTEGERS)
def test_atomic_operations(code: str) -> None:
    low, high = limits(code)
    value = Value(code, high)
    assert value.fetch_add(1) == high
    assert value.value == low
    assert value.fetch_add(-1) == low
    assert value.exchange(5) == high
    assert value.compare_exchange(4, 6) is False
    assert value.value == 5
    assert value.compare_exchange(5, 6) is True
    assert value.compare_exchange(6, high) is True
    assert value.compare_exchange(high, 2**70 + 3) is True
    assert value.value == 3


@pytest.mark.parametrize("code", INTEGERS)
def test_bit_operations(code: str) -> None:
    low, high = limits(code)
    value = Value(code, 0b0110)
    assert value.fetch_or(0b0011) == 0b0110
    assert value.fetch_and(0b1101) == 0b0111
    assert value.fetch_xor(0b1111) == 0b0101
    assert value.fetch_sub(0b1010) == 0b1010
    assert value.fetch_sub(1) == 0
    assert value.load() == (-1 if low else high)
    value.store(high + 1)
    assert value.value == low


def test_bool() -> None:
    value = Value(ctypes.c_bool, False)
    assert value.exchange(5) is False
    assert value.fetch_and(0) is True
    assert value.fetch_or(1) is False
    assert value.compare_exchange(True, False)
    assert value.load() is False
    assert value.get_obj().value is False
    with pytest.raises(TypeError, match="bool"):
        value.fetch_add(1)


ORDERS = ("relaxed", "consume", "acquire", "release", "acq_rel", "seq_cst")


@pytest.mark.parametrize("order", ORDERS)
def test_memory_orders(order: str) -> None:
    value = Value("h", 1)
    assert value.fetch_add(1, order) == 1
    assert value.exchange(3, order=order) == 2
    assert value.compare_exchange(3, 4, order)
    for call, allowed in (
        (lambda: value.load(order), ("relaxed", "consume", "acquire", "seq_cst")),
        (lambda: value.store(9, order), ("relaxed", "release", "seq_cst")),
        (lambda: value.compare_exchange(0, 1, "seq_cst", order), ("relaxed", "consume", "acquire", "seq_cst")),
    ):
        if order in allowed:
            call()
        else:
            with pytest.raises(ValueError, match=f"cannot have.*{order}"):
                call()


def test_wrong_memory_orders() -> None:
    value = Value("i", 1)
    with pytest.raises(ValueError, match="'strict'"):
        value.fetch_add(1, "strict")
    with pytest.raises(TypeError, match="memory order"):
        value.load(5)
    assert value.value == 1


def test_atomic_operations_of_wrong_types() -> None:
    for other in (Value("d"), Value("c"), synchronized(ctypes.c_int())):
        with pytest.raises(TypeError, match="integer"):
            other.fetch_add(1)
    value = Value("i", 1)
    for call in (lambda: value.fetch_add(1.5), lambda: value.exchange("x"), lambda: value.compare_exchange(1)):
        with pytest.raises(TypeError):
            call()
    assert value.value == 1


def test_atomic_operations_take_no_lock() -> None:
    value = Value("i", 1, lock=fastmp.Lock())
    with value.get_lock():
        assert value.fetch_add(2) == 1
        assert value.exchange(7) == 3
        assert value.compare_exchange(7, 8)
    assert value.value == 8


@pytest.mark.parametrize("code", ["B", "H", "I", "Q"])
def test_fetch_add_of_four_processes_is_exact(code: str) -> None:
    value = Value(code)

    def child() -> None:
        for _ in range(20_000):
            value.fetch_add(1)

    run(*[(child, ())] * 4)
    assert value.value == 80_000 & limits(code)[1]


def test_compare_exchange_of_four_processes_is_exact() -> None:
    value = Value("q")

    def child() -> None:
        for _ in range(2000):
            while not value.compare_exchange(seen := value.get_obj().value, seen + 1):
                pass

    run(*[(child, ())] * 4)
    assert value.value == 8000


def test_exchange_of_four_processes_loses_nothing() -> None:
    token, sums = Value("i"), Array("q", 4)

    def child(number: int) -> None:
        for i in range(1, 2001):
            sums[number] += token.exchange(i)

    run(*[(child, (number,)) for number in range(4)])
    assert sum(sums) + token.value == 4 * sum(range(1, 2001))
