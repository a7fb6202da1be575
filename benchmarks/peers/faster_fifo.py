"""faster-fifo: `Queue`, a circular buffer of pickles under a mutex in shared memory."""

from __future__ import annotations

from typing import Any

import faster_fifo

FOR_EVER = float(1 << 30)
BUFFER_BYTES = 128 << 20  # one array of 64 MB and its like


class Queue:
    """A queue that waits for ever, as `multiprocessing`'s does, where faster-fifo's own limit is ten seconds."""

    def __init__(self, maxsize: int = 0) -> None:
        limit = {"maxsize": maxsize} if maxsize > 0 else {}
        self._queue = faster_fifo.Queue(BUFFER_BYTES, **limit)

    def put(self, item: Any) -> None:
        self._queue.put(item, True, FOR_EVER)

    def get(self) -> Any:
        return self._queue.get(True, FOR_EVER)

    def put_many(self, items: list[Any]) -> None:
        self._queue.put_many(items, True, FOR_EVER)

    def get_many(self, most: int) -> list[Any]:
        items: list[Any] = self._queue.get_many(True, FOR_EVER, most)
        return items


def SimpleQueue() -> Queue:
    """Return a queue."""
    return Queue()
