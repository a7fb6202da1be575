"""shared_array: with NumPy and without, seen by children, given back with the last view."""

import ctypes
import gc
import sys
from typing import Any

import numpy
import pytest
from support.crowd import in_child

import fastmp
from fastmp import _core, atomic, shared_array

pytestmark = pytest.mark.usefixtures("region")


@pytest.fixture
def no_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)


@pytest.mark.parametrize("dtype", ["d", float, numpy.float32, "i4", bool, "S5", [("x", "i4"), ("y", "f8")], ">i2"])
@pytest.mark.parametrize("shape", [0, 7, (2, 3), (4, 0), [2, 1, 2], numpy.int64(3)])
def test_shapes_and_types(shape: Any, dtype: Any) -> None:
    array = shared_array(shape, dtype)
    usual = numpy.zeros(shape, dtype)
    assert isinstance(array, numpy.ndarray)
    assert (array.shape, array.dtype, array.tolist()) == (usual.shape, usual.dtype, usual.tolist())
    assert array.flags.writeable
    assert array.flags.c_contiguous


@pytest.mark.parametrize("dtype", ["d", float, int, bool, ctypes.c_short, "B"])
@pytest.mark.parametrize("shape", [0, 7, (2, 3), (4, 0)])
def test_without_numpy(no_numpy: None, shape: Any, dtype: Any) -> None:
    array = shared_array(shape, dtype)
    assert isinstance(array, memoryview)
    if shape == (2, 3):
        array[1, 2] = 1
        assert array.tolist() == [[0, 0, 0], [0, 0, 1]]
    assert array.nbytes == array.itemsize * (7 if shape == 7 else 6 if shape == (2, 3) else 0)


def test_atomics_and_native_calls_without_numpy(no_numpy: None) -> None:
    array = shared_array((2, 2), "q")
    assert atomic(array, 1, 0).fetch_add(3) == 0
    labs = ctypes.CDLL(None).labs
    labs.argtypes, labs.restype = [ctypes.c_long], ctypes.c_long
    with fastmp.Pool(1) as pool:
        assert list(pool.map_native(labs, array)) == [0, 0, 3, 0]


def test_what_cannot_be_shared() -> None:
    for dtype in (object, [("x", "O")]):
        with pytest.raises(TypeError, match="Python objects"):
            shared_array(3, dtype)
    with pytest.raises(ValueError, match="shape"):
        shared_array((2, -1))
    with pytest.raises(TypeError):
        shared_array(2.5)  # type: ignore[arg-type]
    with pytest.raises(OSError, match=r"memory|space"):
        shared_array(1 << 45, "B")


def test_what_cannot_be_shared_without_numpy(no_numpy: None) -> None:
    for dtype in (object, [("x", "i4")], str):
        with pytest.raises(TypeError, match="typecode"):
            shared_array(3, dtype)
    with pytest.raises(ValueError, match="format"):
        shared_array(3, "f8")


def test_children_see_the_same_bytes() -> None:
    array = shared_array((3, 4))

    def child() -> None:
        array[1] = 7
        array[:, 0] += 1

    in_child(child)
    assert array.tolist() == [[1, 0, 0, 0], [8, 7, 7, 7], [1, 0, 0, 0]]


def test_a_view_keeps_the_memory() -> None:
    before = _core.heap_stats()["shared"]
    view = shared_array((1000, 10), "i4")[::100, 3]
    view[:] = range(10)
    others = [shared_array((1000, 10), "i4") for _ in range(5)]
    assert view.tolist() == list(range(10))
    assert _core.heap_stats()["shared"] == before + 6
    del view, others
    gc.collect()
    assert _core.heap_stats()["shared"] == before


def test_the_name_of_the_package() -> None:
    assert fastmp.shared_array is shared_array
