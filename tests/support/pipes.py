"""What the tests of pipes send and receive, here or in a child."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from fastmp.connection import Connection

Ends = tuple[Connection, Connection]


def received(reader: Connection) -> Iterator[Any]:
    """All that arrives until the end of file."""
    with suppress(EOFError):
        while True:
            yield reader.recv()


def count_up(writer: Connection, n: int) -> None:
    """Send 0, 1, ..., n - 1."""
    for i in range(n):
        writer.send(i)


def echo(end: Connection, other: Connection) -> None:
    """Send back what comes, from a process that has inherited the other end as well."""
    other.close()
    for message in received(end):
        end.send(message)


def stream(writer: Connection) -> None:
    """Send numbered messages of many sizes until something stops it."""
    for i in range(10_000_000):
        writer.send((i, b"x" * (i % 300)))
