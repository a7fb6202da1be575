"""Shared memory that somebody wrote over: a queue's cells, a shared dict's entries.

Who reads it raises; he does not crash, and is not held up.
"""

import ctypes
import os
import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError

import pytest

import fastmp
from fastmp import _core

MARK = 0x6D61726B2D6F6621


def mapping() -> tuple[int, int]:
    """Where this process's region lies: from, to."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        found = re.match(r"([0-9a-f]+)-([0-9a-f]+) .*/memfd:fastmp", line)
        if found:
            return int(found[1], 16), int(found[2], 16)
    raise LookupError("no region")


def used() -> Iterator[tuple[int, bytes]]:
    """The parts of the region that have pages, without the header and the participants: address, what is there."""
    start, end = mapping()
    heap = 1 << 20
    (fd,) = [
        n for n in os.listdir("/proc/self/fd") if os.path.realpath(f"/proc/self/fd/{n}").startswith("/memfd:fastmp")
    ]
    at = heap
    while at < end - start:
        try:
            at = os.lseek(int(fd), at, os.SEEK_DATA)
            hole = os.lseek(int(fd), at, os.SEEK_HOLE)
        except OSError:
            break
        yield start + at, ctypes.string_at(start + at, hole - at)
        at = hole


def places_of(wanted: bytes) -> Iterator[int]:
    """The addresses where these bytes lie."""
    for start, data in used():
        at = data.find(wanted)
        while at >= 0:
            yield start + at
            at = data.find(wanted, at + 1)


def word(address: int) -> ctypes.c_uint64:
    return ctypes.c_uint64.from_address(address)


def cell_of(value: int) -> int:
    """The address of the state word of the cell that holds this int, sent as INT64: tag, then eight bytes."""
    wanted = _core.encode(value)
    for place in places_of(wanted):
        if place % 64 == 24:  # cells begin at cache lines
            return place - 24
    raise LookupError("no such message")


@pytest.fixture
def marked():
    """A queue with three messages, and the address of the second one's cell."""
    q = fastmp.Queue(8)
    for value in (1, MARK, 3):
        q.put(value)
    yield q, cell_of(MARK)
    q.close()


@pytest.mark.parametrize(
    "state", [0x5555555555555555, 1 << 24, 2 << 26], ids=["noise", "claimed by nobody", "far ahead"]
)
def test_damaged_state_word(marked, state):
    q, cell = marked
    word(cell).value = state
    assert q.get(timeout=30) == 1
    with pytest.raises(OSError, match="damaged"):
        q.get(timeout=30)
    assert q.get(timeout=30) == 3
    for i in range(8):  # the room is there again
        q.put(i, timeout=30)
    assert [q.get(timeout=30) for _ in range(8)] == list(range(8))


EMPTY = 0  # of the first lap: the cell was never claimed


def test_message_made_a_free_cell(marked):
    q, cell = marked
    word(cell).value = EMPTY
    assert q.get(timeout=30) == 1
    with pytest.raises(OSError, match="damaged"):
        q.get_nowait()
    assert q.get_nowait() == 3


@pytest.mark.parametrize("step", [2, 2**62], ids=["within the limit", "beyond it"])
def test_tail_beyond_what_was_put(marked, step):
    q, cell = marked
    tail = word(cell - 128 - 256 + 64)  # the header's second line; ours is the second cell
    assert tail.value == 3
    tail.value += step
    assert [q.get(timeout=30) for _ in range(3)] == [1, MARK, 3]
    with pytest.raises(OSError, match="damaged"):
        q.get_nowait()
    for i in range(8):
        q.put(i, timeout=30)
    assert [q.get(timeout=30) for _ in range(8)] == list(range(8))


def test_message_of_a_pipe_made_a_free_cell():
    reader, writer = fastmp.Pipe(duplex=False)
    for value in (1, MARK + 1, 3):
        writer.send(value)
    word(cell_of(MARK + 1)).value = EMPTY
    assert reader.recv() == 1
    with pytest.raises(OSError, match="damaged"):
        reader.recv()
    assert reader.recv() == 3


@pytest.mark.parametrize("bytes_", [0xFFFFFFFF, 105, 2**31], ids=hex)
def test_damaged_length(marked, bytes_):
    q, cell = marked
    ctypes.c_uint32.from_address(cell + 8).value = bytes_
    assert q.get(timeout=30) == 1
    with pytest.raises(OSError, match="damaged"):
        q.get(timeout=30)
    assert q.get(timeout=30) == 3


@pytest.mark.parametrize("block", [1, 4096, 2**20, 2**40, 2**64 - 64], ids=hex)
def test_damaged_block_of_a_record(marked, block):
    q, cell = marked
    word(cell + 16).value = block
    assert q.get(timeout=30) == 1
    with pytest.raises(OSError, match="damaged"):
        q.get(timeout=30)
    assert q.get(timeout=30) == 3


@pytest.mark.parametrize(
    ("at", "byte"), [(500, 0x80), (0, 0), (1, 254), (2, 255), (9, 128)], ids=["text", "tag", "size", "long", "negative"]
)
def test_damaged_text_beside_a_cell(at, byte):
    q, text = fastmp.Queue(8), "marked " * 100
    for _ in range(32):  # until the queue has a side area
        q.put(bytes(700))
        assert q.get(timeout=30) == bytes(700)
    for value in (1, text, 3):
        q.put(value)
    wanted = _core.encode(text)
    (place,) = places_of(wanted)
    ctypes.c_uint8.from_address(place + at).value = byte
    assert q.get(timeout=30) == 1
    with pytest.raises(UnpicklingError, match="damaged"):
        q.get(timeout=30)
    assert q.get(timeout=30) == 3
    q.close()


def answer(x: int) -> int:
    return MARK + x


def result_of(value: object) -> int:
    """The address of the cell with this result of a pool, which nobody has taken yet."""
    wanted = _core.encode(value)
    while True:
        for place in places_of(wanted):
            address = place - 24 - 32
            if address % 64 == 0 and word(address).value >> 24 & 3 == 2:
                return address


def index_of(cell: int, index: int) -> None:
    ctypes.c_uint32.from_address(cell + 24 + 16).value = index


RESULTS = {
    "index of no chunk": lambda cell: index_of(cell, 10**6),
    "index of another chunk": lambda cell: index_of(cell, 0),
    "no job": lambda cell: setattr(word(cell + 24), "value", 1 << 32 | 40),
    "length": lambda cell: setattr(ctypes.c_uint32.from_address(cell + 8), "value", 105),
}


@pytest.mark.parametrize("chunksize", [1, 2])
@pytest.mark.parametrize("damage", RESULTS)
def test_damaged_result(damage, chunksize):
    """Nobody waits for the result that was lost; later calls have theirs."""
    with fastmp.get_context("fork").Pool(1) as pool:
        results = pool.map_async(answer, range(4), chunksize)
        RESULTS[damage](result_of(answer(2) if chunksize == 1 else [answer(2), answer(3)]))
        with pytest.raises(OSError, match="damaged"):
            results.get(timeout=50)
        assert pool.map(answer, range(4), chunksize) == [answer(x) for x in range(4)]


def test_damaged_index_of_one_chunk_of_any_size():
    """An index that overflows, times the chunk's size."""
    with fastmp.get_context("fork").Pool(1) as pool:
        results = pool.map_async(answer, range(3), sys.maxsize)
        index_of(result_of([answer(x) for x in range(3)]), 2)
        with pytest.raises(OSError, match="damaged"):
            results.get(timeout=50)


@pytest.mark.parametrize("damage", RESULTS)
def test_damaged_item(damage):
    with fastmp.get_context("fork").Pool(1) as pool:
        results = pool.imap(answer, range(4))
        RESULTS[damage](result_of(answer(2)))
        with pytest.raises(OSError, match="damaged"):
            list(results)
        assert list(pool.imap(answer, range(4))) == [answer(x) for x in range(4)]


def test_damaged_dict():
    d = fastmp.shared_dict()
    for i in range(40):
        d[i] = "x" * i
    arena = next(place - 28 for place in places_of(struct.pack("II", 40, 40)) if is_arena(place - 28))
    word(arena + 24).value = 2**63  # the room, and how many live
    for use in (
        lambda: d[1],
        lambda: len(d),
        lambda: list(d),
        lambda: d.popitem(),
        lambda: d.update({1: 2}),
        lambda: 1 in d,
    ):
        with pytest.raises(OSError, match="damaged shared dict"):
            use()
    d.clear()
    d["again"] = 1
    assert dict(d) == {"again": 1}


def is_arena(address: int) -> bool:
    """{position, log_end, log_used, room: 32 | live: 32, used: 32}: of the dict with 40 entries."""
    return address % 64 == 0 and ctypes.c_uint32.from_address(address + 24).value in (64, 128)
