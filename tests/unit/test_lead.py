"""Senders of large messages far ahead of their receivers (csrc/conn/lead.h): they let those run, and no more."""

from collections.abc import Callable
from typing import Any

import pytest

import fastmp

COUNTS = {1 << 16: 60, 3 << 20: 8}  # of messages of a size: more than two MiB, and more than two
sizes = pytest.mark.parametrize("size", COUNTS)


def message(size: int, number: int) -> bytes:
    return bytes([number]) * size


def put_each(queue: Any, size: int) -> None:
    for number in range(COUNTS[size]):
        queue.put(message(size, number))


def put_many(queue: Any, size: int) -> None:
    queue.put_many([message(size, number) for number in range(COUNTS[size])])


def put_nowait(queue: Any, size: int) -> None:
    for number in range(COUNTS[size]):
        queue.put_nowait(message(size, number))


PUTS: dict[str, Callable[[Any, int], None]] = {"put": put_each, "put_many": put_many, "put_nowait": put_nowait}


@pytest.mark.parametrize("put", PUTS)
@pytest.mark.parametrize("bounded", [False, True])
@sizes
def test_a_queue_that_nobody_reads_takes_them_all(size: int, bounded: bool, put: str) -> None:
    count = COUNTS[size]
    queue = fastmp.Queue(count if bounded else 0)
    PUTS[put](queue, size)
    assert queue.qsize() == count
    assert queue.full() == bounded
    for number in range(count):
        assert queue.get(block=False) == message(size, number)


def send_each(end: Any, size: int) -> None:
    for number in range(COUNTS[size]):
        end.send(message(size, number))


@pytest.mark.parametrize("put", ["put", "put_many", "send"])
@sizes
def test_who_reads_gets_them_in_order(size: int, put: str) -> None:
    if put == "send":
        reader, writer = fastmp.Pipe(duplex=False)
        child, take = fastmp.Process(target=send_each, args=(writer, size)), reader.recv
    else:
        queue = fastmp.Queue()
        child, take = fastmp.Process(target=PUTS[put], args=(queue, size)), queue.get
    child.start()
    for number in range(COUNTS[size]):
        assert take() == message(size, number)
    child.join()
    assert child.exitcode == 0
