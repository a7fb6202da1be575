"""Senders of large messages far ahead of their receivers (csrc/conn/lead.h): they let those run, and no more."""

from collections.abc import Callable
from typing import Any

import pytest

import fastmp

SIZE = 1 << 16
COUNT = 60  # more than two MiB


def message(number: int) -> bytes:
    return bytes([number]) * SIZE


def put_each(queue: Any) -> None:
    for number in range(COUNT):
        queue.put(message(number))


def put_many(queue: Any) -> None:
    queue.put_many([message(number) for number in range(COUNT)])


def put_nowait(queue: Any) -> None:
    for number in range(COUNT):
        queue.put_nowait(message(number))


PUTS: dict[str, Callable[[Any], None]] = {"put": put_each, "put_many": put_many, "put_nowait": put_nowait}


@pytest.mark.parametrize("put", PUTS)
@pytest.mark.parametrize("maxsize", [0, COUNT])
def test_a_queue_that_nobody_reads_takes_them_all(maxsize: int, put: str) -> None:
    queue = fastmp.Queue(maxsize)
    PUTS[put](queue)
    assert queue.qsize() == COUNT
    assert queue.full() == (maxsize == COUNT)
    for number in range(COUNT):
        assert queue.get(block=False) == message(number)


def send_each(end: Any) -> None:
    for number in range(COUNT):
        end.send(message(number))


@pytest.mark.parametrize("put", ["put", "put_many", "send"])
def test_who_reads_gets_them_in_order(put: str) -> None:
    if put == "send":
        reader, writer = fastmp.Pipe(duplex=False)
        child, take = fastmp.Process(target=send_each, args=(writer,)), reader.recv
    else:
        queue = fastmp.Queue()
        child, take = fastmp.Process(target=PUTS[put], args=(queue,)), queue.get
    child.start()
    for number in range(COUNT):
        assert take() == message(number)
    child.join()
    assert child.exitcode == 0
