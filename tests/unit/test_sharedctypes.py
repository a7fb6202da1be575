"""Shared values and arrays: memory, sizes, types, misuse.

Their locks are in test_sharedctypes_lock.py, atomic operations in test_sharedctypes_atomic.py. Results and errors are
compared with the standard library's, snippet by snippet, in test_sharedctypes_parity.py.
"""

import ctypes
import gc
import multiprocessing
import weakref
from collections.abc import Callable
from multiprocessing import sharedctypes as standard
from typing import Any

import pytest
from support import parts
from support.crowd import fork, in_child
from support.parts import playing

import fastmp
from fastmp import _core
from fastmp.sharedctypes import (
    Array,
    RawArray,
    RawValue,
    Synchronized,
    SynchronizedArray,
    SynchronizedBase,
    SynchronizedString,
    Value,
    copy,
    synchronized,
)

pytestmark = pytest.mark.usefixtures("region")

INTEGERS = "bBhHiIlLqQ"


class Point(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int), ("y", ctypes.c_double))


# ---- the same memory in every process ----


def test_raw_value_is_shared_with_a_forked_child() -> None:
    raw = RawValue("i", 7)

    def child() -> None:
        assert raw.value == 7
        raw.value = 8

    in_child(child)
    assert type(raw) is ctypes.c_int
    assert raw.value == 8


def test_raw_array_is_shared_with_a_forked_child() -> None:
    raw = RawArray("d", [1, 2, 3])

    def child() -> None:
        raw[1] += 40

    in_child(child)
    assert raw[:] == [1.0, 42.0, 3.0]


@pytest.mark.parametrize("code", ["c", "u", "?", *INTEGERS, "f", "d"])
def test_values_of_every_type_are_shared(code: str) -> None:
    typecode = ctypes.c_bool if code == "?" else code
    new: Any = {"c": b"z", "u": "é", "?": True}.get(code, 5)
    value, array = Value(typecode), Array(typecode, 3)

    def child() -> None:
        value.value = new
        array[1] = new

    in_child(child)
    assert value.value == new == value.get_obj().value
    assert array[1] == new == array.get_obj()[1]


def test_structure_is_shared() -> None:
    point = Value(Point, 3, 4.5)

    def child() -> None:
        point.x += 1

    in_child(child)
    assert (point.x, point.y) == (4, 4.5)
    assert type(point).__name__ == "SynchronizedPoint"
    assert type(point).__module__ == "fastmp.sharedctypes"


def test_array_of_structures_is_shared() -> None:
    points = Array(Point, [(1, 2.0), (3, 4.0)])

    def child() -> None:
        points[1].x = 9

    in_child(child)
    assert [(p.x, p.y) for p in points] == [(1, 2.0), (9, 4.0)]


def test_memory_outlives_its_creator() -> None:
    mine = [Array("i", range(1000))]
    address = ctypes.addressof(mine[0].get_obj())
    ours, theirs = multiprocessing.Pipe()

    def child() -> None:
        theirs.recv()  # the parent has let go, and taken as much again
        assert mine[0][:] == list(range(1000))

    process = fork.Process(target=child)
    process.start()
    mine.clear()
    others = [RawArray("i", [-1] * 1000) for _ in range(50)]
    assert address not in {ctypes.addressof(other) for other in others}
    ours.send(None)
    process.join(30)
    ours.close()
    theirs.close()
    assert process.exitcode == 0


def test_memory_is_given_back() -> None:
    addresses = {ctypes.addressof(RawArray("b", 1 << 20)) for _ in range(100)}
    assert len(addresses) < 10


def test_memory_lives_as_long_as_a_view() -> None:
    view = memoryview(RawArray("b", [1, 2, 3])).cast("B")
    gc.collect()
    fresh = RawArray("b", [7, 7, 7])
    assert view.tolist() == [1, 2, 3]
    assert fresh[:] == [7, 7, 7]


def test_reused_memory_is_zero() -> None:
    for _ in range(20):
        raw = RawArray("B", 5000)
        assert not any(raw)
        ctypes.memset(raw, 0xFF, 5000)


# ---- sizes ----


def test_large_array() -> None:
    array = Array("d", 10**7)
    array[-1] = 2.5
    assert (len(array), array[0], array[10**7 - 1]) == (10**7, 0.0, 2.5)


@pytest.mark.parametrize("make", [RawArray, Array])
def test_more_than_there_is_fails_at_once(make: Callable[..., Any]) -> None:
    with pytest.raises((OSError, MemoryError)):
        make("d", 10**14)
    assert make("d", 10)[9] == 0.0


@pytest.mark.parametrize("make", [RawArray, Array])
def test_negative_size(make: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="must be >= 0"):
        make("i", -1)
    with pytest.raises(ValueError, match="negative"):
        _core.ValueBlock(-1)


# ---- the ctypes object ----


def test_get_obj_is_the_same_object_on_the_same_bytes() -> None:
    value, array = Value("i", 5), Array("h", 4)
    assert value.get_obj() is value.get_obj()
    value.get_obj().value = 6
    array.get_obj()[2] = 7
    assert (value.value, array[2]) == (6, 7)


def test_synchronized_of_an_object_outside_shared_memory() -> None:
    number, numbers = ctypes.c_int(3), (ctypes.c_int * 3)(1, 2, 3)
    value, array = synchronized(number), synchronized(numbers)
    value.value += 1
    array[0] = 9
    assert (number.value, numbers[:], array[1:], list(array)) == (4, [9, 2, 3], [2, 3], [9, 2, 3])


def test_synchronized_of_a_subclass_uses_its_ways() -> None:
    class Doubled(ctypes.c_int):
        @property
        def value(self) -> int:
            return 2 * ctypes.c_int.value.__get__(self)

    assert Value(Doubled, 21).value == 42


def test_subclass_of_the_wrapper_may_have_its_own_value() -> None:
    class Logged(Synchronized):
        seen: tuple[Any, ...] = ()

        @property
        def value(self) -> int:
            return -1

        @value.setter
        def value(self, new: int) -> None:
            self.seen += (new,)

    logged = Logged(RawValue("i", 3))
    logged.value = 5
    assert (logged.value, logged.seen, logged.get_obj().value) == (-1, (5,), 3)


def test_copy_is_independent() -> None:
    one = RawValue(Point, 1, 2.0)
    other = copy(one)
    other.x = 5
    assert (one.x, other.x, other.y) == (1, 5, 2.0)


def test_array_buffer() -> None:
    array = Array("i", [1, 2, 3])
    with memoryview(array) as view:
        assert (view.format, view.shape, view.readonly) == ("<i", (3,), False)
        view.cast("B").cast("i")[0] = 11
    assert array[:] == [11, 2, 3]


def test_bytes_of_text() -> None:
    text = Array("c", b"abc")
    assert (bytes(text), text.value, text.raw) == (b"abc", b"abc", b"abc")


# ---- type relations ----


def test_classes_are_fastmp_s_and_the_standard_s() -> None:
    made = {Synchronized: Value("i"), SynchronizedArray: Array("i", 1), SynchronizedString: Array("c", 1)}
    for cls, instance in made.items():
        assert type(instance) is cls
        assert cls.__module__ == "fastmp.sharedctypes"
        assert isinstance(instance, SynchronizedBase)
        assert isinstance(instance, getattr(standard, cls.__name__))


def test_lock_false_gives_the_raw_object() -> None:
    assert type(Value("d", lock=False)) is ctypes.c_double
    assert type(Array("d", 2, lock=False)) is ctypes.c_double * 2


def test_context_makes_the_lock() -> None:
    value = Value("i", ctx=fork)
    assert type(value.get_lock()) is type(fork.RLock())
    value.value += 1
    assert value.value == 1


# ---- misuse ----


@pytest.mark.parametrize("cls", [Synchronized, SynchronizedArray, SynchronizedString])
def test_object_without_init(cls: type) -> None:
    empty: Any = cls.__new__(cls)
    for access in (
        lambda: empty.value,
        lambda: empty[0],
        lambda: empty[:],
        lambda: empty.get_obj(),
        lambda: empty.get_lock(),
    ):
        with pytest.raises((RuntimeError, AttributeError, TypeError)):
            access()
    if cls is not Synchronized:
        assert len(empty) == 0
        with pytest.raises(BufferError):
            memoryview(empty)


def test_block_must_hold_the_length() -> None:
    raw = RawValue("i")
    with pytest.raises(ValueError, match="do not fit"):
        _core.SharedArray(raw, fastmp.RLock(), raw._wrapper, "i", 2)
    with pytest.raises(ValueError, match="do not fit"):
        _core.SharedArray(raw, fastmp.RLock(), raw._wrapper, "i", -1)
    with pytest.raises(TypeError, match="ValueBlock"):
        _core.SharedArray(raw, fastmp.RLock(), b"1234", "i", 1)


def test_second_init_is_refused() -> None:
    value = Value("i", 4)
    with pytest.raises(RuntimeError, match="once"):
        value.__init__(RawValue("i"))
    assert value.value == 4


def test_cycle_is_collected() -> None:
    value: Any = Value("i")
    value.itself = value
    gone = weakref.ref(value)
    del value
    gc.collect()
    assert gone() is None


# ---- under every start method


def test_children_change_what_is_shared(ctx: Any) -> None:
    value, array, raw, point = ctx.Value("q", 5), ctx.Array("i", 4), ctx.RawArray("d", 4), ctx.Value(parts.Point)
    shared = value, array, raw, point
    with playing(ctx, parts.change, *shared, 300), playing(ctx, parts.change, *shared, 300):
        parts.change(*shared, 300)
    assert value.value == 905
    assert list(array) == [900, 900, 900, 0]
    assert list(raw) == [0, 0, 0, 3]
    assert (point.x, point.y) == (3, 0.5)


def test_the_value_of_a_killed_child(ctx: Any) -> None:
    value, is_held, release = ctx.Value("i", 7), ctx.Event(), ctx.Event()
    with playing(ctx, parts.hold, value, is_held, release, killed=True) as child:
        assert is_held.wait(60)
        parts.kill(child)
        with pytest.warns(fastmp.OwnerDied), value:
            assert value.value == 7
