"""map_native: what is refused before anything runs, and with which error."""

import ctypes
from collections.abc import Iterator
from typing import Any

import numpy
import pytest
from support.c_functions import Pair, Point, sqrt, typed

import fastmp
from fastmp import RawArray, _core
from fastmp._signature import read_signature

pytestmark = pytest.mark.usefixtures("region")


class Bits(ctypes.Structure):
    _fields_ = [("low", ctypes.c_int, 3), ("high", ctypes.c_int, 5)]


class Choice(ctypes.Union):
    _fields_ = [("i", ctypes.c_int), ("d", ctypes.c_double)]


class Packed(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("c", ctypes.c_char), ("d", ctypes.c_double)]


@pytest.fixture(scope="module")
def pool() -> Iterator[Any]:
    with fastmp.Pool(2) as pool:
        assert all(worker.pid for worker in pool._pool)  # all are there: they are no test's leftovers
        yield pool


def untyped() -> Any:
    return ctypes.CDLL("libm.so.6").cbrt


def checked() -> Any:
    found = ctypes.CDLL("libm.so.6").cbrt
    found.argtypes, found.restype = [ctypes.c_double], ctypes.c_double
    found.errcheck = lambda result, func, args: result
    return found


D, DP, CALLBACK = ctypes.c_double, ctypes.POINTER(ctypes.c_double), ctypes.CFUNCTYPE(None)

REFUSED = [
    (lambda: abs, ([1.0],), {}, "C functions"),
    (lambda: "sqrt", ([1.0],), {}, "C functions"),
    (untyped, ([1.0],), {}, "no argtypes"),
    (checked, ([1.0],), {}, "errcheck"),
    (lambda: ctypes.pythonapi.PyLong_AsLong, ([1],), {}, "GIL"),
    (lambda: ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda x: x), ([1],), {}, "back into Python"),
    (lambda: 4096, ([1.0],), {}, "signature="),
    (sqrt, (), {}, "takes 1 arguments, not 0"),
    (sqrt, ([1.0], [1.0]), {}, "takes 1 arguments, not 2"),
    (sqrt, (1.0,), {}, "needs an array"),
    (sqrt, (RawArray("f", 3),), {}, "argument 1 has items of type c_float"),
    (sqrt, (RawArray("q", 3),), {}, "argument 1 has items of type c_long"),
    (sqrt, (numpy.zeros(3, "f"),), {}, "argument 1 has items of type"),
    (sqrt, (numpy.zeros(3, ">f8"),), {}, "argument 1 has items of type"),
    (sqrt, (numpy.zeros((4, 4))[::2, ::2],), {}, "argument 1 is not contiguous"),
    (sqrt, (["x"],), {}, "argument 1 cannot become an array"),
    (sqrt, ("text",), {}, "argument 1 is str"),
    (sqrt, ({1.0},), {}, "argument 1 is set"),
    (sqrt, (None,), {}, "argument 1 is NoneType"),
    (sqrt, (numpy.array(4.0),), {}, "needs an array"),
    (sqrt, (numpy.zeros(3, "m8[s]"),), {}, "argument 1: cannot include dtype"),
    (sqrt, ([1.0],), {"chunksize": 1.5}, "chunksize must be an integer, not float"),
    (sqrt, ([1.0],), {"out": [0.0]}, "out is list"),
    (sqrt, ([1.0],), {"out": RawArray("f", 1)}, "out has items of type c_float"),
    (sqrt, ([1.0],), {"out": numpy.zeros(1)}, "out is not in fastmp's shared memory"),
    (sqrt, ([1.0],), {"out": bytes(8)}, "out has items"),
    (sqrt, ([1.0],), {"out": memoryview(RawArray("d", 1)).toreadonly()}, "out cannot be written"),
    (lambda: typed(None, D), ([1.0],), {"out": RawArray("d", 1)}, "out has nothing to hold"),
    (lambda: typed(D, DP), (numpy.zeros(3),), {}, "argument 1 is not in fastmp's shared memory"),
    (lambda: typed(D, DP), (RawArray("f", 3),), {}, "argument 1 has items of type c_float; .*pointer to c_double"),
    (lambda: typed(D, D, DP), ([1.0], 1.5), {}, "argument 2 is float; the function takes a pointer"),
    (lambda: typed(D, D, DP), ([1.0], ctypes.c_double()), {}, "argument 2 is not in fastmp's shared memory"),
    (
        lambda: typed(D, D, DP),
        ([1.0], ctypes.pointer(ctypes.c_double())),
        {},
        "argument 2 points to memory",
    ),
    (
        lambda: typed(D, D, ctypes.c_char_p),
        ([1.0], ctypes.c_char_p(b"text")),
        {},
        "argument 2 points to memory",
    ),
    (lambda: typed(D, D, CALLBACK), ([1.0], CALLBACK(lambda: None)), {}, "argument 2 calls back into Python"),
    (lambda: typed(D, Point), (RawArray(Pair, 3),), {}, "argument 1 has items of type Pair"),
    (lambda: typed(D, D, Point), ([1.0], Pair()), {}, "argument 2 is Pair"),
    (lambda: typed(D, Bits), (RawArray(Bits, 3),), {}, "parameter 1 has bit fields"),
    (lambda: typed(D, Choice), (RawArray(Choice, 3),), {}, "parameter 1 is a union"),
    (lambda: typed(D, Packed), (RawArray(Packed, 3),), {}, "parameter 1 has not the layout"),
    (lambda: typed(D, ctypes.py_object), ([1.0],), {}, "Python object"),
    (lambda: typed(ctypes.py_object, D), ([1.0],), {}, "the result is a Python object"),
    (lambda: typed(D, D), ([1.0],), {"signature": "double(...)"}, "variadic"),
    (lambda: typed(D, D), ([1.0],), {"signature": "double"}, "is no signature"),
    (lambda: typed(D, D), ([1.0],), {"signature": "double(number)"}, "'number' is no C type"),
    (lambda: typed(D, D), ([1.0],), {"signature": 5}, "a signature is"),
    (lambda: typed(D, D, ctypes.c_int), ([1.0],), {"block": True}, "by blocks.*pointer"),
    (lambda: typed(D, DP, D), (RawArray("d", 3),), {"block": True}, "not an integer"),
    (lambda: typed(D, DP, ctypes.c_int), (numpy.asarray(RawArray("d", 4))[::2],), {"block": True}, "not contiguous"),
    (lambda: typed(D, DP, DP, ctypes.c_int), (RawArray("d", 3),), {"block": True}, "takes 3 arguments"),
]


@pytest.mark.parametrize(("make", "arrays", "options", "message"), REFUSED, ids=[row[3] for row in REFUSED])
def test_wrong_types(pool: Any, make: Any, arrays: Any, options: Any, message: str) -> None:
    wanted = make()
    before = _core.heap_stats()["transit"]
    with pytest.raises(TypeError, match=message):
        pool.map_native(wanted, *arrays, **options)
    assert _core.heap_stats()["transit"] == before


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        (([1.0], [1.0, 2.0]), {}, "argument 2 has 2 items, argument 1 has 1"),
        (([1.0], 2.0), {"chunksize": 0}, "chunksize must be at least 1"),
        (([1.0], 2.0), {"out": RawArray("d", 2)}, "out has 2 items; there will be 1"),
    ],
)
def test_wrong_values(pool: Any, arrays: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pool.map_native(typed(D, D, D), *arrays, **options)


def test_other_wrong_values(pool: Any) -> None:
    with pytest.raises(ValueError, match="last parameter can count"):
        pool.map_native(typed(D, DP, ctypes.c_uint8), RawArray("d", 1000), block=True, chunksize=300)
    for no_function in (0, -1, 64, 2**70, ctypes.addressof(RawArray("d", 1))):
        with pytest.raises(ValueError, match=r"no function at the address -?0x"):
            pool.map_native(no_function, [1.0], signature="double(double)")
    one_item = numpy.lib.stride_tricks.as_strided(numpy.asarray(RawArray("d", 1)), (2,), (0,))
    with pytest.raises(ValueError, match="items of out share memory"):
        pool.map_native(sqrt(), [1.0, 2.0], out=one_item)
    released = memoryview(RawArray("d", 3))
    released.release()
    with pytest.raises(ValueError, match=r"argument 1: .*released"):
        pool.map_native(sqrt(), released)


def test_a_pool_that_is_closed() -> None:
    with fastmp.Pool(1) as pool:
        pool.close()
        with pytest.raises(ValueError, match="not running"):
            pool.map_native(sqrt(), [1.0])
        pool.join()


@pytest.mark.parametrize(
    ("text", "result", "params"),
    [
        ("double(double)", ctypes.c_double, [ctypes.c_double]),
        ("unsigned long(void)", ctypes.c_ulong, []),
        ("void(const char *text, long unsigned n)", None, [ctypes.POINTER(ctypes.c_char), ctypes.c_ulong]),
        ("void *(size_t)", ctypes.c_void_p, [ctypes.c_size_t]),
        ("int(struct thing *, double **)", ctypes.c_int, [ctypes.c_void_p, ctypes.POINTER(DP)]),
    ],
)
def test_signatures_in_c(text: str, result: Any, params: list[Any]) -> None:
    address = ctypes.cast(sqrt(), ctypes.c_void_p).value
    found = read_signature(address, text)
    assert (found.result, list(found.params)) == (result, params)
