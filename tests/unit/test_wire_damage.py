"""Damaged messages raise `pickle.UnpicklingError`: whatever they claim, nothing is read or allocated for it."""

import pickle
import struct
import tracemalloc

import pytest
from fuzz.fuzz_wire import fuzz, with_buffers

from fastmp import _core

# Tags of csrc/wire/format.h.
NONE, INT32, FLOAT, BYTES, ASCII, UCS1, UCS2, UCS4, TUPLE, LIST, DICT = 1, 6, 9, 10, 11, 12, 13, 14, 15, 16, 17
BUFFERS, REF32, BYTEARRAY, ARRAY, RUN, MEMO, REF = 19, 20, 21, 22, 0x20, 0x40, 0x50
HUGE = b"\xff" + struct.pack("<Q", 2**62)
HUGEST = b"\xff" + struct.pack("<Q", 2**64 - 1)

DAMAGED = {
    "nothing": b"",
    "unknown tag": b"\x00",
    "unknown tag above the runs": b"\x30",
    "two values": bytes([NONE, NONE]),
    "short int": bytes([INT32, 1, 2, 3]),
    "short float": bytes([FLOAT, 1]),
    "no size": bytes([BYTES]),
    "short size": bytes([BYTES, 255, 1, 2]),
    "short bytes": bytes([BYTES, 3, 1, 2]),
    "huge bytes": bytes([BYTES]) + HUGE,
    "huge list": bytes([LIST]) + HUGE,
    "huge tuple": bytes([TUPLE]) + HUGEST,
    "huge dict": bytes([DICT]) + HUGE,
    "huge run": bytes([RUN + 3]) + HUGE,
    "huge text": bytes([UCS4]) + HUGEST,
    "list that is too short": bytes([LIST, 3, NONE, NONE]),
    "dict without a value": bytes([DICT, 1, NONE]),
    "key without a hash": bytes([DICT, 1, LIST, 0, NONE]),
    "key with a list inside": bytes([DICT, 1, TUPLE, 1, LIST, 0, NONE]),
    "unknown form of a run": bytes([RUN + 5, 0]),
    "no ascii": bytes([ASCII, 2, 65, 0x80]),
    "long and no ascii": bytes([ASCII, 20, *b"a" * 19, 0xFF]),
    "latin-1 that is ascii": bytes([UCS1, 2, 65, 66]),
    "ucs2 that is latin-1": bytes([UCS2, 1, 0xE9, 0]),
    "ucs4 that is ucs2": bytes([UCS4, 1, 0xAC, 0x20, 0, 0]),
    "beyond unicode": bytes([UCS4, 1, 0, 0, 0x11, 0]),
    "far beyond unicode": bytes([UCS4, 1, 0, 0, 0, 0x80]),
    "too deep": bytes([LIST, 1] * 17 + [NONE]),
    "endless depth": bytes([LIST, 1] * 1_000_000),
    "buffers without a trailer": bytes([BUFFERS, 1, 2]),
    "reference alone": bytes([REF]),
    "reference to what has no number": bytes([LIST, 2, ASCII, 2, 65, 66, REF]),
    "reference to the next": bytes([LIST, 2, REF, MEMO | ASCII, 2, 65, 66]),
    "reference beyond the last": bytes([LIST, 2, MEMO | ASCII, 2, 65, 66, REF + 1]),
    "reference far beyond": bytes([LIST, 2, MEMO | ASCII, 2, 65, 66, 0x7F]),
    "reference to the list it is in": bytes([LIST, 1, REF]),
    "reference as a key": bytes([DICT, 1, REF, NONE]),
    "key and reference to the next key": bytes([DICT, 2, MEMO | ASCII, 2, 65, 66, REF + 1, REF, NONE]),
    "far reference": bytes([LIST, 2, MEMO | ASCII, 2, 65, 66, REF32, 1, 0, 0, 0]),
    "farthest reference": bytes([LIST, 2, MEMO | ASCII, 2, 65, 66, REF32, 255, 255, 255, 255]),
    "short reference": bytes([LIST, 2, MEMO | ASCII, 2, 65, 66, REF32, 0, 0, 0]),
    "reference beyond many": bytes([LIST, 101, *[MEMO | BYTES, 0] * 100, REF32, 100, 0, 0, 0]),
    "number for a float": bytes([MEMO | FLOAT, *bytes(8)]),
    "number for nothing": bytes([MEMO]),
    "number above the leaves": bytes([MEMO | 15, 0]),
    "numbered and short": bytes([MEMO | BYTES, 3, 1, 2]),
    "numbered and huge": bytes([MEMO | BYTES]) + HUGE,
    "numbered and no ascii": bytes([MEMO | ASCII, 2, 65, 0x80]),
    "numbered key that is no ascii": bytes([DICT, 1, MEMO | ASCII, 2, 65, 0x80, NONE]),
    "numbered key that is short": bytes([DICT, 1, MEMO | ASCII, 9, 65, 66, 67]),
    "short bytearray": bytes([BYTEARRAY, 3, 1, 2]),
    "huge bytearray": bytes([BYTEARRAY]) + HUGE,
    "numbered bytearray": bytes([MEMO | BYTEARRAY, 1, 1]),
    "array of nothing": bytes([ARRAY]),
    "array without a size": bytes([ARRAY, ord("b")]),
    "array of characters": bytes([ARRAY, ord("u"), 4, 65, 0, 0, 0]),
    "array of what is not known": bytes([ARRAY, 200, 1, 65]),
    "array with a part of an item": bytes([ARRAY, ord("i"), 6, *bytes(6)]),
    "short array": bytes([ARRAY, ord("i"), 8, *bytes(4)]),
    "huge array": bytes([ARRAY, ord("d")]) + HUGE,
    "key that is an array": bytes([DICT, 1, ARRAY, ord("b"), 1, 1, NONE]),
    "numbered and not of its kind": bytes([MEMO | UCS2, 1, 0xE9, 0]),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_refused(name: str) -> None:
    with pytest.raises(pickle.UnpicklingError, match="damaged message"):
        _core.decode(DAMAGED[name])


def test_the_second_of_two_equal_keys_may_be_referred_to() -> None:
    """The dict does not keep it, nor the first value."""
    key = bytes([MEMO | ASCII, 3, *b"key"])
    value = bytes([MEMO | BYTES, 2, 1, 2])
    message = bytes([LIST, 4, DICT, 2]) + (key + value) * 2 + bytes([REF, REF + 2, REF + 1])
    for _ in range(3):
        by_key, first, second, replaced = _core.decode(message)
        assert by_key == {"key": b"\1\2"}
        assert first == second == "key"
        assert first is not second
        assert replaced == b"\1\2"
        assert replaced is not by_key["key"]


def test_what_a_damaged_message_has_numbered_is_let_go() -> None:
    message = bytes([LIST, 255, *struct.pack("<Q", 2001)]) + bytes([MEMO | BYTES, 2, 1, 2]) * 2000 + bytes([0])
    tracemalloc.start()
    try:
        for _ in range(20):
            with pytest.raises(pickle.UnpicklingError):
                _core.decode(message)
        assert tracemalloc.get_traced_memory()[0] < 50_000
    finally:
        tracemalloc.stop()


WORD = "".join(["wo", "rd"])
MESSAGES = [
    (1, "abc", 2.5, None, True, b"xyz", {"key": [1, 300, 70000, 2**40]}),
    list(range(50)),
    [0.5] * 9,
    ["é" * 3, "€" * 3, "😀" * 3, 2**64 - 1],
    [{WORD: WORD, "other": [WORD, b"ab"]}, {WORD: 1, "other": WORD}],
    [f"text {k}" for k in range(60)] * 2,
]


@pytest.mark.parametrize("obj", MESSAGES, ids=range(len(MESSAGES)))
def test_every_cut_is_refused(obj: object) -> None:
    message = _core.encode(obj)
    assert _core.decode(message) == obj
    for length in range(len(message)):
        with pytest.raises(pickle.UnpicklingError):
            _core.decode(message[:length])
    with pytest.raises(pickle.UnpicklingError):
        _core.decode(message + b"\x01")


@pytest.mark.parametrize("name", [name for name in DAMAGED if name.startswith("huge")])
def test_no_memory_is_taken_for_a_claim(name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(pickle.UnpicklingError):
            _core.decode(DAMAGED[name])
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def with_number(index: int, number: int) -> bytearray:
    """The message of two buffers, with another number: 0 to 3 in the table, 4 and 5 in the trailer."""
    message = bytearray(with_buffers()[0])
    struct.pack_into("<Q", message, len(message) - 48 + 8 * index, number)
    return message


@pytest.mark.parametrize("owned", [False, True])
@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize("number", [2**20, 2**32, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_damaged_table_is_refused(index: int, number: int, owned: bool) -> None:
    message = with_number(index, number)
    with pytest.raises(pickle.UnpicklingError, match="damaged message"):
        _core.decode(message, message if owned else None)


def test_buffers_may_not_overlap() -> None:
    message = with_buffers()[0]
    (first,) = struct.unpack_from("<Q", message, len(message) - 48)
    with pytest.raises(pickle.UnpicklingError, match="buffer"):
        _core.decode(with_number(2, first))


def test_more_pickle_buffers_than_there_are() -> None:
    with pytest.raises(pickle.UnpicklingError):
        _core.decode(b"\x12" + pickle.dumps(pickle.PickleBuffer(b"x"), 5, buffer_callback=lambda _: False))


@pytest.mark.parametrize("seed", [1, 2])
def test_fuzz(seed: int) -> None:
    counts = fuzz(seed, rounds=600)
    assert counts.decoded > 100
    assert counts.refused > 100
    assert counts.left_out < counts.decoded


@pytest.mark.parametrize("count", [2, 7, 300])
@pytest.mark.parametrize(("widest", "characters"), [("é", "a"), ("€", "aÿ"), ("😀", "aÿ€"), ("😀", "\U0010ffff")])
def test_a_text_that_is_not_of_its_kind(widest: str, characters: str, count: int) -> None:
    encodings = {"é": "latin-1", "€": "utf-16-le", "😀": "utf-32-le"}
    written = (widest * count).encode(encodings[widest])
    other = (characters * count)[:count].encode(encodings[widest])
    if characters == "\U0010ffff":
        other = other[:-4] + (0x110000).to_bytes(4, "little")
    message = _core.encode(widest * count)
    assert message.count(written) == 1
    with pytest.raises(pickle.UnpicklingError):
        _core.decode(message.replace(written, other))
