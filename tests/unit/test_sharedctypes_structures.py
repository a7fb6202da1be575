"""Structures in shared memory: every kind of field, its layout, and access under the lock."""

import ctypes
import multiprocessing
import threading
from multiprocessing.sharedctypes import synchronized as standard_synchronized
from multiprocessing.sharedctypes import typecode_to_type
from typing import Any

import pytest
from support.crowd import in_child, run

from fastmp import Array, RawArray, RawValue, RLock, Value, _core
from fastmp.sharedctypes import synchronized

SIMPLE: dict[str, Any] = {**typecode_to_type, "?": ctypes.c_bool}
EXAMPLES: dict[str, tuple[Any, ...]] = {
    "c": (b"x", b"\xff"),
    "u": ("x", "\u20ac"),
    "?": (True, False),
    "f": (0.5, -1e30, 7),
    "d": (0.1, -1e300, 7),
    **dict.fromkeys("bBhHiIlLqQ", (1, -1, 2**70 + 3)),
}


class Inner(ctypes.Structure):
    _fields_ = [("x", ctypes.c_short), ("y", ctypes.c_double)]


class Choice(ctypes.Union):
    _fields_ = [("whole", ctypes.c_uint32), ("parts", ctypes.c_uint8 * 4), ("real", ctypes.c_float)]


class All(ctypes.Structure):
    _fields_ = [
        *[(f"field_{number}", type_) for number, type_ in enumerate(SIMPLE.values())],
        ("inner", Inner),
        ("numbers", ctypes.c_int * 3),
        ("inners", Inner * 2),
        ("choice", Choice),
        ("low", ctypes.c_int, 3),
        ("high", ctypes.c_int, 5),
        ("pointer", ctypes.POINTER(ctypes.c_int)),
        ("address", ctypes.c_void_p),
        ("text", ctypes.c_char * 8),
    ]


class Derived(Inner):
    _fields_ = [("z", ctypes.c_long)]


class Packed(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("c", ctypes.c_char), ("d", ctypes.c_double)]


class Swapped(ctypes.BigEndianStructure):
    _fields_ = [("i", ctypes.c_int), ("h", ctypes.c_short)]


@pytest.fixture(autouse=True, scope="module")
def _memory() -> None:
    """The region, which stays until the process ends, is there before the first test."""
    RawValue("i")


def pair() -> tuple[Any, Any]:
    """The same structure on fastmp and on the standard library."""
    return Value(All), standard_synchronized(All(), multiprocessing.RLock())


@pytest.mark.parametrize(("number", "code"), list(enumerate(SIMPLE)), ids=list(SIMPLE))
def test_simple_fields(number: int, code: str) -> None:
    ours, standard = pair()
    name = f"field_{number}"
    assert getattr(ours, name) == getattr(standard, name)
    for example in EXAMPLES[code]:
        setattr(ours, name, example)
        setattr(standard, name, example)
        found = getattr(ours, name)
        assert found == getattr(standard, name) == getattr(ours.get_obj(), name)
        assert type(found) is type(getattr(standard, name))
        assert bytes(ours.get_obj()) == bytes(standard.get_obj())


@pytest.mark.parametrize("wrong", ["text", 1.5, None, b"ab", [], 2**2000])
def test_wrong_values(wrong: Any) -> None:
    """What ctypes takes it takes here, and its errors are its own."""
    ours, standard = pair()
    for number in range(len(SIMPLE)):
        outcomes = []
        for value in (ours, standard):
            try:
                setattr(value, f"field_{number}", wrong)
                outcomes.append(repr(getattr(value, f"field_{number}")))
            except Exception as error:
                outcomes.append(repr(error))
        assert outcomes[0] == outcomes[1]
    assert ours.get_lock().acquire(block=False)  # it was given back each time
    ours.get_lock().release()


def test_other_fields() -> None:
    value, target = Value(All), RawValue("i", 5)
    value.inner = Inner(1, 2.5)
    value.inner.y += 1
    value.numbers[2] = 7
    value.inners[1].x = -3
    value.choice.whole = 0x01020304
    value.low, value.high = -4, 15
    value.pointer = ctypes.pointer(target)
    value.address = ctypes.addressof(target)
    value.text = b"shared"
    obj = value.get_obj()
    assert (obj.inner.x, obj.inner.y, list(obj.numbers), obj.inners[1].x) == (1, 3.5, [0, 0, 7], -3)
    assert list(value.choice.parts) in ([4, 3, 2, 1], [1, 2, 3, 4])
    assert (value.low, value.high, value.pointer[0], value.address) == (-4, 15, 5, ctypes.addressof(target))
    assert value.text == b"shared"


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        (Derived, {"x": -5, "y": 0.5, "z": 2**40}),
        (Packed, {"c": b"x", "d": 0.1}),
        (Swapped, {"i": 0x01020304, "h": -2}),
        (Choice, {"real": 1.5, "whole": 7}),
    ],
)
def test_other_structures(type_: Any, values: dict[str, Any]) -> None:
    value, usual = Value(type_), type_()
    for name, wanted in values.items():
        setattr(value, name, wanted)
        setattr(usual, name, wanted)
        assert getattr(value, name) == wanted
    assert bytes(value.get_obj()) == bytes(usual)


def test_arrays_of_structures() -> None:
    array = Array(All, 3)
    array[1].numbers[1] = 5
    array[1].inner = Inner(4, 0.5)
    array[2] = array[1]
    assert (array[2].numbers[1], array[2].inner.y, array[0].inner.y) == (5, 0.5, 0)
    assert [item.x for item in Array(Inner, [(1, 2), (3, 4)])] == [1, 3]
    rows = RawArray(Inner * 2, 2)
    rows[1][0].x = 9
    assert [[item.x for item in row] for row in rows] == [[0, 0], [9, 0]]


def test_initial_values_and_no_memory_of_ours() -> None:
    assert (Value(Inner, 1, 2.5).x, Value(Inner, 1, 2.5).y) == (1, 2.5)
    private = synchronized(Inner(3, 4.5))
    private.x += 1
    assert (private.x, private.y, private.get_obj().x) == (4, 4.5, 4)


def test_processes_see_the_fields() -> None:
    value = Value(All)

    def child() -> None:
        value.field_0 = EXAMPLES[next(iter(SIMPLE))][0]
        value.inner.y = 0.25

    in_child(child)
    assert (value.field_0, value.inner.y) == (EXAMPLES[next(iter(SIMPLE))][0], 0.25)


def test_an_access_takes_the_lock() -> None:
    lock = RLock()
    value, read = Value(Inner, 1, 2, lock=lock), threading.Event()
    thread = threading.Thread(target=lambda: (value.x, read.set()))
    with lock:
        value.x = 5  # it is recursive
        thread.start()
        assert not read.wait(0.05)
    thread.join(30)
    assert read.is_set()


def test_increments_of_four_processes() -> None:
    value = Value(Inner)

    def child() -> None:
        for _ in range(2000):
            with value.get_lock():
                value.x += 1

    run(*[(child, ())] * 4)
    assert value.x == 8000


def test_the_descriptor() -> None:
    value = Value(Inner)
    field = type(value).x
    assert isinstance(field, _core.Field)
    assert field.__name__ == "x"
    with pytest.raises(TypeError, match="synchronized structures"):
        field.__get__(5)
    with pytest.raises(AttributeError, match="deleted"):
        del value.x
    with pytest.raises(AttributeError):
        _ = value.z
    outside = _core.Field("y", "d", 1 << 40)
    assert outside.__get__(value) == 0  # ctypes knows better
    with pytest.raises(ValueError, match="negative"):
        _core.Field("x", "i", -1)


@pytest.mark.parametrize("type_", [All, Inner, Choice, Derived, Packed, *SIMPLE.values()])
def test_layout_in_shared_memory(type_: Any) -> None:
    """Each item is as large as ctypes says, and aligned as C wants it."""
    items = RawArray(type_, 3)
    addresses = [ctypes.addressof(items) + i * ctypes.sizeof(type_) for i in range(3)]
    assert all(address % ctypes.alignment(type_) == 0 for address in addresses)
    assert ctypes.sizeof(items) == 3 * ctypes.sizeof(type_)
    assert bytes(items) == bytes(3 * ctypes.sizeof(type_))
