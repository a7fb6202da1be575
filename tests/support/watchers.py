"""Who looks at the descriptor of a queue, and who rings for him, in any process."""

import select
from typing import Any

from fastmp.connection import wait


def is_readable(queue: Any, seconds: float = 0.0) -> bool:
    """Whether the descriptor of the queue is readable within so many seconds."""
    return bool(select.select([queue._reader], [], [], seconds)[0])


def serve(orders: Any, answers: Any) -> None:
    """Do with the queue that has come what is asked for, until told to end."""
    queue = orders.get()
    while (order := orders.get()) is not None:
        answers.put(order(queue))


def put(queue: Any) -> None:
    """Put the message that the tests know."""
    queue.put("from the other")


def get(queue: Any) -> object:
    """Take the next message."""
    return queue.get(timeout=20)


def look(queue: Any) -> bool:
    """Whether it is readable now."""
    return is_readable(queue)


def look_long(queue: Any) -> object:
    """Wait until it is readable, and take the message."""
    return is_readable(queue, 20) and wait([queue._reader], 20) == [queue._reader] and queue.get(timeout=20)


def put_when_told(queue: Any, orders: Any) -> None:
    """Put it when there is an order."""
    orders.get(timeout=20)
    put(queue)
