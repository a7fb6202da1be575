"""Shared objects in messages: who sends them, who receives them, and who lends or takes a loan is killed.

Each scenario is called with the victim, in a process of its own (case.py), and is registered in SCENARIOS. What they
check beside it is in case.py: no object stays that nobody has.
"""

import pickle
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from queue import Empty
from typing import Any

from case import Notes, Victim, finish, fork, helper

import fastmp

COUNT = 4


def set_event() -> Any:
    event = fork.Event()
    event.set()
    return event


def taken(queue: Any, process: Any) -> Iterator[Any]:
    """What is in the queue, until the process has ended and the queue is empty."""
    while True:
        done = process.exitcode is not None
        try:
            message = queue.get(timeout=0.02)
        except Empty:
            if done:
                return
        else:
            yield message


def take_all(queue: Any, process: Any) -> int:
    """Take objects out to the end; each must be whole. How many."""
    count = 0
    for first, second in taken(queue, process):
        assert first.is_set()
        with second:
            count += 1
    return count


def send(queue: Any, notes: Notes, kept: Any) -> None:
    for number in range(COUNT):
        queue.put([set_event(), kept] if number % 2 else (set_event(), fork.Lock()))
        notes[0] = number + 1


def sender_dies(victim: Victim) -> None:
    """What it had sent arrives, and stays whole without it."""
    queue, notes, kept = fork.Queue(), Notes(1), fork.RLock()
    process = victim.start(send, queue, notes, kept)
    count = take_all(queue, process)
    victim.join()
    assert notes[0] <= count <= notes[0] + 1


def receive(queue: Any) -> None:
    for _ in range(COUNT):
        first, second = queue.get()
        assert first.is_set()
        with second:
            pass


def receiver_dies(victim: Victim) -> None:
    """At most the message in its hand is lost."""
    queue = fork.Queue()
    victim.start(receive, queue)
    process = helper(send, queue, Notes(1), fork.RLock())
    finish(process)
    victim.join()
    left = take_all(queue, process)
    assert victim.killed or left == 0
    assert left <= COUNT


def passer_dies(victim: Victim) -> None:
    """It receives objects and sends them on, while others do the same; it and they drop what they have sent."""
    here, there, notes = fork.Queue(), fork.Queue(), Notes(1)

    def pass_on() -> None:
        for _ in range(COUNT):
            there.put(here.get())

    victim.start(pass_on)
    sender = helper(send, here, notes, fork.RLock())
    finish(sender)
    receiver = helper(take_all, there, sender)
    victim.join()
    finish(receiver)
    take_all(here, sender)
    take_all(there, sender)


def send_arrays(queue: Any, notes: Notes, kept: Any) -> None:
    for number in range(COUNT):
        made = fastmp.shared_array(9000, "B")
        made[:] = memoryview(bytes([number]) * 9000)
        queue.put((made[5:], kept[1:]))
        notes[0] = number + 1


def take_arrays(queue: Any, process: Any) -> int:
    """Take arrays out to the end, each with a view on the one that everybody has. How many."""
    count = 0
    for made, kept in taken(queue, process):
        assert len(made) == 8995
        assert made[0] == made[8994]
        kept[0] += 1
        count += 1
    return count


def array_s_sender_dies(victim: Victim) -> None:
    """The arrays that it had made and sent stay whole without it, and go with their last views."""
    queue, notes, kept = fork.Queue(), Notes(1), fastmp.shared_array(3, "q")
    process = victim.start(send_arrays, queue, notes, kept)
    count = take_arrays(queue, process)
    victim.join()
    assert notes[0] <= count <= notes[0] + 1
    assert kept[1] == count


def array_s_receiver_dies(victim: Victim) -> None:
    """The message in its hand is lost, and what it had views on is given back."""
    queue, kept = fork.Queue(), fastmp.shared_array(3, "q")

    def hold() -> None:
        held = [queue.get() for _ in range(COUNT)]
        held[0][1][0] += 1

    victim.start(hold)
    process = helper(send_arrays, queue, Notes(1), kept)
    finish(process)
    victim.join()
    assert victim.killed or kept[1] == 1
    take_arrays(queue, process)


def lend(queue: Any) -> None:
    for _ in range(COUNT):
        queue.put(pickle.dumps(set_event()))
    pickle.loads(pickle.dumps(set_event()))  # by itself, too


def borrow(queue: Any) -> None:
    for _ in range(COUNT):
        assert pickle.loads(queue.get()).is_set()


def lender_dies(victim: Victim) -> None:
    queue = fork.Queue()
    victim.start(lend, queue)
    victim.join()
    while not queue.empty():
        with suppress(FileNotFoundError, Empty):  # gone with its maker, in order or not
            assert pickle.loads(queue.get(timeout=0.5)).is_set()


def borrower_dies(victim: Victim) -> None:
    """What it has lost with the bytes in its hand stays lent, until the lender ends."""
    queue, ended = fork.Queue(), fork.Event()

    def lend_and_stay() -> None:
        lend(queue)
        assert ended.wait(10)

    victim.start(borrow, queue)
    lender = helper(lend_and_stay)
    victim.join()
    while (left := take_bytes(queue)) is not None:
        assert pickle.loads(left).is_set()
    ended.set()
    finish(lender)


def take_bytes(queue: Any) -> bytes | None:
    try:
        return queue.get(timeout=0.5)
    except Empty:
        return None


def queue_in_queue_dies(victim: Victim) -> None:
    """The last holder of queues that lie in one another."""

    def nest() -> None:
        queue = fork.SimpleQueue()
        for _ in range(3):
            queue.put((set_event(), set_event()))
        del queue

    victim.start(nest)
    victim.join()
    nest()


def use(lock: Any, number: int) -> int:
    with lock:
        return number


def pool_worker_dies(victim: Victim) -> None:
    """The function of the map brings a lock along."""

    def run() -> None:
        with fork.Pool(1) as pool:
            assert pool.map(partial(use, fork.RLock()), range(3), chunksize=1) == [0, 1, 2]
            assert pool.apply(set_event).is_set()

    victim.start(run)
    victim.join()
    run()


SCENARIOS: dict[str, Callable[[Victim], None]] = {
    "Objects in messages, sender": sender_dies,
    "Objects in messages, receiver": receiver_dies,
    "Objects in messages, who passes them on": passer_dies,
    "Objects in messages, who holds their queue last": queue_in_queue_dies,
    "Objects in messages, parent of a pool": pool_worker_dies,
    "Arrays in messages, sender": array_s_sender_dies,
    "Arrays in messages, receiver": array_s_receiver_dies,
    "Objects in pickles, lender": lender_dies,
    "Objects in pickles, borrower": borrower_dies,
}
