"""Pipes: one way, round trips, large messages."""

from __future__ import annotations

from itertools import repeat
from typing import Any

from ..measure import BYTES, RATE, TIME, Watch, check, clock, row
from .children import children
from .queue import echo

MEGABYTE = 1 << 20


def send_all(end: Any, message: object, count: int) -> None:
    """Be the sender: the time, then one message many times."""
    send = end.send
    send(clock())
    for _ in repeat(None, count):
        send(message)


@row("pipe_small", RATE, size=200_000)
def pipe_small(mp: Any, size: int, watch: Watch) -> None:
    message = {"number": 7, "text": "seven"}
    for _ in watch:
        reader, writer = mp.Pipe(duplex=False)
        with children(mp, [(send_all, (writer, message, size))]):
            total, begun, recv = 0, reader.recv(), reader.recv
            for _ in repeat(None, size):
                total += recv()["number"]
            seconds = clock() - begun
        check(total == 7 * size, "sum of the dicts' ints")
        watch.add(seconds)


@row("pipe_pingpong", TIME, size=20_000)
def pipe_pingpong(mp: Any, size: int, watch: Watch) -> None:
    here, there = mp.Pipe()
    with children(mp, [(echo, (there.recv, there.send))]):
        for _ in watch:
            with watch.timing():
                total = 0
                for number in range(size):
                    here.send(number)
                    total += here.recv()
            check(total == sum(range(size)), "sum of the echoes")
        here.send(None)


def send_bytes(end: Any, message: bytes, count: int) -> None:
    """Be the sender: the time, then one buffer many times."""
    end.send(clock())
    for _ in repeat(None, count):
        end.send_bytes(message)


@row("pipe_bytes_1M", BYTES, size=1_000, weight=MEGABYTE)
def pipe_bytes_1m(mp: Any, size: int, watch: Watch) -> None:
    message = bytes(MEGABYTE)
    for _ in watch:
        reader, writer = mp.Pipe(duplex=False)
        with children(mp, [(send_bytes, (writer, message, size))]):
            total, begun = 0, reader.recv()
            for _ in repeat(None, size):
                total += len(reader.recv_bytes())
            seconds = clock() - begun
        check(total == MEGABYTE * size, "number of bytes")
        watch.add(seconds)
