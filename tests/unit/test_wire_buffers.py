"""Out-of-band buffers: what NumPy arrays look like when they arrive, and that they are views on the message."""

import pickle
import sys
from typing import Any

import pytest

from fastmp import _core

np = pytest.importorskip("numpy")

LARGE = 10_000  # items; more than FMP_WIRE_BUFFER_MIN bytes of any type


def arrays() -> dict[str, Any]:
    structured = np.zeros(LARGE, dtype=[("a", "i4"), ("b", "f8"), ("c", "S3")])
    structured["a"] = np.arange(LARGE)
    return {
        "C": np.arange(LARGE, dtype="f8").reshape(100, 100),
        "F": np.asfortranarray(np.arange(LARGE, dtype="f8").reshape(100, 100)),
        "strided": np.arange(LARGE)[::3],
        "reversed": np.arange(LARGE)[::-1],
        "0-d": np.array(5.0),
        "empty": np.empty((0, 3)),
        "small": np.arange(3),
        "structured": structured,
        "bool": np.arange(LARGE) % 3 == 0,
        "datetime": np.arange(LARGE).astype("M8[s]"),
        "object": np.array([1, "a", None, [1]], dtype=object),
        "unicode": np.array(["ab", "€"]),
    }


def same(a: Any, b: Any) -> bool:
    return bool(
        type(a) is type(b)
        and a.dtype == b.dtype
        and a.shape == b.shape
        and a.flags.f_contiguous == b.flags.f_contiguous
        and a.flags.writeable == b.flags.writeable
        and (a == b).all()
    )


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("name", arrays())
def test_an_array_arrives_as_by_pickle(name: str, in_place: bool, readonly: bool) -> None:
    array = arrays()[name]
    array.flags.writeable = not readonly
    buffers: list[pickle.PickleBuffer] = []
    by_pickle = pickle.loads(pickle.dumps(array, 5, buffer_callback=buffers.append), buffers=buffers)
    message = bytearray(_core.encode(array))
    assert same(_core.decode(message, message if in_place else None), by_pickle)


def test_a_large_array_is_a_view_on_its_owner() -> None:
    message = bytearray(_core.encode(np.arange(LARGE)))
    assert _core.has_buffers(message)
    array = _core.decode(message, message)
    whole = np.frombuffer(message, "u1")
    assert np.shares_memory(array, whole)
    array[:] = 1
    assert (_core.decode(message) == 1).all()


def test_a_view_keeps_its_owner() -> None:
    message = bytearray(_core.encode([np.arange(LARGE)]))
    before = sys.getrefcount(message)
    (array,) = _core.decode(message, message)
    assert sys.getrefcount(message) > before
    with pytest.raises(BufferError):
        message.clear()
    del array
    assert sys.getrefcount(message) == before


def test_a_copy_has_no_owner() -> None:
    message = bytearray(_core.encode(np.arange(LARGE)))
    array = _core.decode(message)
    message.clear()
    assert (array == np.arange(LARGE)).all()
    assert array.flags.writeable


def test_small_arrays_hold_no_message() -> None:
    message = _core.encode([np.arange(3), np.zeros(10)])
    assert not _core.has_buffers(message)
    assert _core.decode(message, message)[0].flags.writeable


def test_every_buffer_is_aligned() -> None:
    sent = [np.arange(LARGE + k, dtype="u1") for k in range(5)] + [b"x" * 5001, np.zeros(LARGE)]
    message = bytearray(_core.encode(sent))
    start = np.frombuffer(message, "u1").ctypes.data
    back = _core.decode(message, message)
    assert [(a.ctypes.data - start) % 64 for a in back if isinstance(a, np.ndarray)] == [0] * 6
    assert all((a == b).all() if isinstance(a, np.ndarray) else a == b for a, b in zip(back, sent, strict=True))


class Holder:
    """An object that only pickle knows."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts


HUGE = 5 << 20


@pytest.mark.parametrize("before", [0, 10, 600, 20_000, 70_000])
@pytest.mark.parametrize("in_place", [True, False])
def test_large_bytes_within_a_pickle(in_place: bool, before: int) -> None:
    one, other, array = b"x" * HUGE, bytearray(b"y" * HUGE), np.arange(LARGE)
    parts = ("b" * before, one, array, other, one, other, b"z" * 100_000, array, b"w" * (HUGE + 1), "t" * HUGE, 5)
    message = bytearray(_core.encode(Holder(*parts)))
    back = _core.decode(message, message if in_place else None).parts
    assert [type(part) for part in back] == [type(part) for part in parts]
    assert all((a == b).all() if isinstance(a, np.ndarray) else a == b for a, b in zip(back, parts, strict=True))
    assert back[1] is back[4]
    assert back[3] is back[5]
    assert back[2] is back[7]
    back[3][0] = 1
    assert message.count(b"\1" + b"y" * 1000) == 0, "a copy, not a view"


def test_large_bytes_hold_no_message() -> None:
    message = bytearray(_core.encode(Holder(b"x" * HUGE)))
    back = _core.decode(message, message)
    message.clear()  # nobody has a view on it
    assert back.parts == (b"x" * HUGE,)


def test_one_array_twice_is_one_array() -> None:
    array = np.arange(LARGE)
    first, second = _core.decode(_core.encode((array, array)))
    assert first is second


def test_the_array_is_free_after_encoding() -> None:
    data = bytearray(LARGE)
    _core.encode(pickle.PickleBuffer(data))
    data.clear()


def test_a_pickle_buffer_arrives_as_bytes() -> None:
    for size in (3, LARGE):
        for data in (bytes(size), bytearray(size)):
            back = _core.decode(_core.encode(pickle.PickleBuffer(data)))
            assert type(back) is type(data)
            assert back == data


def test_a_buffer_with_gaps_raises_what_pickle_raises() -> None:
    gaps = pickle.PickleBuffer(np.arange(LARGE)[::2])
    with pytest.raises(pickle.PicklingError) as by_pickle:
        pickle.dumps(gaps, 5)
    with pytest.raises(pickle.PicklingError) as error:
        _core.encode(gaps)
    assert str(error.value) == str(by_pickle.value)


def test_an_owner_that_does_not_hold_the_message_is_refused() -> None:
    message = _core.encode(np.arange(LARGE))
    with pytest.raises(ValueError, match="owner"):
        _core.decode(message, bytes(10))
