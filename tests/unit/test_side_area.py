"""Messages beside the cells of a ring (csrc/conn/side.h): 105 to 1,984 bytes, once a ring has carried many such."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest

import fastmp
from fastmp import _core

CELLS = 16  # of the ring of a Queue(3)
SIZES = [*range(90, 120), 250, 256, 700, *range(1960, 2000), 3000]

MAKERS: dict[str, Callable[[int], Any]] = {
    "bytes": lambda size: bytes([size % 256]) * size,
    "str": lambda size: chr(97 + size % 26) * size,
    "latin str": lambda size: "\u00e9" * size,
    "wide str": lambda size: "\u20ac" * (size // 2),
    "dict": lambda size: {"number": size, "data": b"d" * size},
    "list": lambda size: [b"a" * (size // 2), "b" * (size // 2), size],
    "pickled": lambda size: bytearray(size),
}


def to_and_fro(queue: Any, sizes: list[int], make: Callable[[int], Any]) -> None:
    for size in sizes:
        queue.put(make(size))
        found = queue.get()
        assert found == make(size)
        assert type(found) is type(make(size))


@pytest.mark.parametrize("kind", MAKERS)
def test_each_size_arrives_whole(kind: str) -> None:
    queue = fastmp.Queue(3)
    to_and_fro(queue, [1000] * 2 * CELLS, MAKERS[kind])
    to_and_fro(queue, SIZES, MAKERS[kind])


def blocks_in_transit() -> int:
    return _core.heap_stats()["transit"]


def test_a_queue_that_needs_it_has_one_area_until_it_ends() -> None:
    queue = fastmp.Queue(3)
    before = blocks_in_transit()
    to_and_fro(queue, [1000] * (CELLS - 1), bytes)
    assert blocks_in_transit() == before
    to_and_fro(queue, [1000] * 3 * CELLS, bytes)
    assert blocks_in_transit() == before + 1
    del queue
    assert blocks_in_transit() == before


def test_small_and_large_messages_make_none() -> None:
    queue = fastmp.Queue(3)
    before = blocks_in_transit()
    to_and_fro(queue, [10, 2000] * 3 * CELLS, bytes)
    assert blocks_in_transit() == before


def put_all(queue: Any, count: int) -> None:
    for number in range(count):
        queue.put((number, bytes(number % 2200)))


def test_messages_of_all_sizes_keep_their_order_between_processes() -> None:
    queue = fastmp.Queue()
    count = 3000
    child = fastmp.Process(target=put_all, args=(queue, count))
    child.start()
    for number in range(count):
        assert queue.get() == (number, bytes(number % 2200))
    child.join()


def test_what_is_decoded_does_not_change_with_the_next_message() -> None:
    class Asks:
        def __reduce__(self) -> Any:
            return queue_get_again, (b"first" * 100,)

    queue = fastmp.Queue(3)
    to_and_fro(queue, [1000] * 2 * CELLS, bytes)
    queue_list.append(queue)
    queue.put([Asks(), b"last" * 100])
    queue.put(b"second" * 100)
    assert queue.get() == [(b"first" * 100, b"second" * 100), b"last" * 100]
    queue_list.clear()


queue_list: list[Any] = []


def queue_get_again(first: bytes) -> Any:
    """Takes another message out while one is being decoded."""
    return first, queue_list[0].get()


def test_pipe_by_objects_and_by_bytes() -> None:
    reader, writer = fastmp.Pipe(duplex=False)
    for number in range(3 * 1024):
        size = 105 + number % 2000
        if number % 2:
            writer.send(bytes(size))
            assert reader.recv() == bytes(size)
        else:
            writer.send_bytes(b"x" * size)
            assert reader.recv_bytes() == b"x" * size
    reader.close()
    writer.close()


def test_what_a_pipe_makes_of_a_message_beside_its_cell() -> None:
    reader, writer = fastmp.Pipe(duplex=False)
    for _ in range(1024):  # as many as its ring has cells: now there is an area
        writer.send(bytes(1000))
        reader.recv()
    for kind, make in MAKERS.items():
        for size in (120, 255, 256, 1900):
            writer.send(make(size))
            found = reader.recv()
            assert found == make(size), kind
            assert type(found) is type(make(size))
            writer.send(make(size))
            assert pickle.loads(reader.recv_bytes()) == make(size), kind  # as any reader of the standard library's
            room = bytearray(4096)
            writer.send(make(size))
            assert pickle.loads(room[: reader.recv_bytes_into(room)]) == make(size), kind
    reader.close()
    writer.close()
