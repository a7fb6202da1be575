"""Copies into shared memory go one of two ways, whichever is cheaper, and now and then the other (csrc/wire/fill.h)."""

import pytest

import fastmp

COUNT = 100  # some of them go the way that is not the cheaper one


def data(number: int, size: int) -> bytes:
    return bytes(range(number % 200, number % 200 + 51)) * (size // 51 + 1)


@pytest.mark.parametrize("size", [8191, 8192, 20_011])
def test_what_arrives_is_what_was_sent_either_way(size: int) -> None:
    queue = fastmp.Queue()
    for number in range(COUNT):
        text = data(number, size)[number % 7 :][:size]  # begins anywhere
        queue.put((number, text))
        assert queue.get() == (number, text)


@pytest.mark.parametrize("size", [20_011])
def test_so_does_a_part_of_a_buffer(size: int) -> None:
    reader, writer = fastmp.Pipe(duplex=False)
    for number in range(COUNT):
        buffer = data(number, size + 64)
        writer.send_bytes(buffer, number % 64, size)
        assert reader.recv_bytes() == buffer[number % 64 :][:size]
    reader.close()
    writer.close()
