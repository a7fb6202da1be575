"""Another library's way to send a connection: as its descriptor, which it wraps and rebuilds by itself."""

from __future__ import annotations

from multiprocessing.context import get_spawning_popen
from typing import Any


class ByNumber:
    """Pickles a connection as loky and others do.

    `library` is `fastmp`, or `multiprocessing` where fastmp is installed in its place.
    """

    def __init__(self, library: str, connection: Any) -> None:
        self.library = library
        self.connection = connection

    def __reduce__(self) -> tuple[Any, ...]:
        fd = self.connection.fileno()
        popen = get_spawning_popen()
        if popen is not None:
            wrapped = popen.DupFd(popen.duplicate_for_child(fd))
        elif self.library == "fastmp":
            from fastmp.reduction import DupFd

            wrapped = DupFd(fd)
        else:
            from multiprocessing import resource_sharer

            wrapped = resource_sharer.DupFd(fd)
        return rebuild, (self.library, wrapped, self.connection.readable, self.connection.writable)


def rebuild(library: str, wrapped: Any, readable: bool, writable: bool) -> ByNumber:
    """In the other process."""
    if library == "fastmp":
        from fastmp.connection import Connection
    else:
        from multiprocessing.connection import Connection  # type: ignore[assignment]
    return ByNumber(library, Connection(wrapped.detach(), readable, writable))


def answer(end: ByNumber) -> None:
    """Send back what comes until None comes."""
    while (message := end.connection.recv()) is not None:
        end.connection.send(("back", message))


def answer_on(queue: Any) -> None:
    """The same on an end that comes through a queue."""
    answer(queue.get())


def converse(context: Any, library: str) -> None:
    """Use a pipe, then hand its ends on by number: to a child that is started, and through a queue."""
    queue = context.Queue()
    ours, theirs = context.Pipe()
    ours.send("before")
    assert theirs.recv() == "before"
    ours.send("waits")
    handed = ByNumber(library, theirs)
    for target, argument in ((answer, handed), (answer_on, queue)):
        child = context.Process(target=target, args=(argument,))
        child.start()
        if argument is queue:
            queue.put(handed)
            ours.send("waits")
        for message in ("in the ring", b"x" * 100_000, [1, 2]):
            ours.send(message)
        ours.send(None)
        got = [ours.recv() for _ in range(4)]
        assert got == [("back", each) for each in ("waits", "in the ring", b"x" * 100_000, [1, 2])], got
        child.join(30)
        assert child.exitcode == 0
