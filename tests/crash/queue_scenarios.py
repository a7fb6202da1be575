"""Queues and pipes: producers, consumers, and those who clear up after them are killed.

Each scenario is called with the victim, in a process of its own (case.py), and is registered in SCENARIOS.
"""

import os
import resource
import select
import time
from collections.abc import Callable
from functools import partial
from queue import Empty
from typing import Any

from case import SURVIVAL_SECONDS, Notes, Victim, die_at, finish, fork, helper, wait_dead

COUNT = 8
CELLS = 16  #: of a Queue(3): after so many messages that are too large for them it has its side area
SIZES = {"small": 8, "5 KB": 5_000, "1 MB": 1_000_000}

Message = tuple[str, int, bytes]


def message(who: str, number: int, size: int) -> Message:
    """A message that tells where it came from, and whether it is whole."""
    return who, number, bytes([number % 251]) * size


def check_whole(found: Message, size: int) -> None:
    assert found == message(found[0], found[1], size), f"message {found[:2]} is damaged"


def numbers_of(messages: list[Message], who: str) -> list[int]:
    return [number for sender, number, _ in messages if sender == who]


# ---- the two ends of a queue ----


def produce(queue: Any, who: str, size: int, notes: Notes, place: int, count: int = COUNT) -> None:
    for number in range(count):
        queue.put(message(who, number, size))
        notes[place] = number + 1


def take(queue: Any, seconds: float = 0.02) -> Message | None:
    """The next message, or None if there is none."""
    if not hasattr(queue, "get_nowait") or type(queue).__name__ == "SimpleQueue":
        return queue.get() if queue._reader.poll(seconds) else None
    try:
        return queue.get(timeout=seconds)
    except Empty:
        return None


def consume_until_done(queue: Any, size: int, processes: list[Any], victim: Victim | None = None) -> list[Message]:
    """All messages until the processes have ended and the queue is empty."""
    messages = []
    while True:
        done = all(process.exitcode is not None for process in processes)
        found = take(queue)
        if found is not None:
            check_whole(found, size)
            messages.append(found)
        elif done:
            return messages


def check_prefix(found: list[int], put: int, killed: bool) -> None:
    """What a sender has sent arrives in order; of a killed one, the message in hand may be there or not."""
    assert found == list(range(len(found))), f"not in order, or not once: {found}"
    expected = (put, put + 1) if killed else (put,)
    assert len(found) in expected, f"{put} messages were put, {len(found)} arrived"


def with_side_area() -> Any:
    """A queue whose messages of 1 KB lie beside the cells (csrc/conn/side.h)."""
    queue = fork.Queue(3)
    for number in range(2 * CELLS):
        queue.put(message("main", number, 1000))
        queue.get()
    return queue


def producer_dies(make: Callable[[], Any], size: int, victim: Victim, count: int = COUNT) -> None:
    queue = make()
    notes = Notes(2)
    processes = [
        victim.start(produce, queue, "victim", size, notes, 0, count),
        helper(produce, queue, "other", size, notes, 1, count),
    ]
    messages = consume_until_done(queue, size, processes)
    victim.join()
    finish(processes[1])
    check_prefix(numbers_of(messages, "victim"), notes[0], victim.killed)
    check_prefix(numbers_of(messages, "other"), count, killed=False)
    check_works(queue, size)
    check_joins(queue, len(messages) + 1, at_most_lost=int(victim.killed))


def check_works(queue: Any, size: int) -> None:
    """The queue still takes and gives."""
    queue.put(message("main", 0, size))
    assert queue.get() == message("main", 0, size)
    assert queue.empty()


def check_joins(queue: Any, received: int, at_most_lost: int) -> None:
    """A JoinableQueue counts what was received, and nothing but what was lost besides."""
    if not hasattr(queue, "task_done") or type(queue).__name__ != "JoinableQueue":
        return
    for _ in range(received):
        queue.task_done()
    for _ in range(at_most_lost + 1):
        try:
            queue.task_done()
        except ValueError:
            break
    else:
        raise AssertionError("more messages are unfinished than were lost")
    queue.join()


def note_all(queue: Any, size: int, notes: Notes, place: int, count: int) -> None:
    """Takes `count` messages; notes[place] counts them, and what follows are their numbers."""
    for i in range(count):
        found = queue.get()
        check_whole(found, size)
        notes[place + 1 + i] = found[1]
        notes[place] = i + 1


def noted(notes: Notes, place: int) -> list[int]:
    return [notes[place + 1 + i] for i in range(notes[place])]


def late_produce(queue: Any, size: int, notes: Notes) -> None:
    time.sleep(0.03)  # the consumers sleep already
    produce(queue, "main", size, notes, 0)


def consumer_dies(make: Callable[[], Any], size: int, victim: Victim) -> None:
    queue = make()
    notes = Notes(3 * COUNT)
    half, quarter = COUNT // 2, COUNT // 4
    consumer = victim.start(note_all, queue, size, notes, 1, half)
    survivor = helper(note_all, queue, size, notes, COUNT, quarter)
    producer = helper(late_produce, queue, size, notes)
    victim.join()
    finish(survivor)  # before this process takes what is left, or it might take the survivor's share
    messages = consume_until_done(queue, size, [consumer, producer])
    finish(producer)
    received = noted(notes, 1) + noted(notes, COUNT) + numbers_of(messages, "main")
    assert len(set(received)) == len(received), f"received twice: {sorted(received)}"
    lost = set(range(COUNT)) - set(received)
    assert len(lost) <= int(victim.killed), f"lost: {lost}"
    check_works(queue, size)
    check_joins(queue, len(received) + 1, at_most_lost=len(lost))


def sleeping_producer_dies(victim: Victim) -> None:
    """Of a queue that is full, waiting for room."""
    queue = fork.Queue(2)
    notes = Notes(2)
    producer = victim.start(produce, queue, "victim", 8, notes, 0)
    notes.wait_for(0, 2, producer)
    producer.join(0.03)
    messages = consume_until_done(queue, 8, [producer])
    victim.join()
    check_prefix(numbers_of(messages, "victim"), notes[0], victim.killed)
    check_works(queue, 8)


def overflowing_producer_dies(victim: Victim) -> None:
    """What has not been sent yet lives in its process and ends with it."""
    queue = fork.Queue()
    notes = Notes(1)
    count = 560
    producer = victim.start(produce, queue, "victim", 8, notes, 0, count)
    notes.wait_for(0, count, producer)
    messages = consume_until_done(queue, 8, [producer])
    found = numbers_of(messages, "victim")
    assert found == list(range(len(found))), "not in order"
    assert len(found) <= notes[0] + 1
    assert victim.join() or len(found) == count
    check_works(queue, 8)


def get_one(queue: Any, notes: Notes, place: int) -> None:
    notes[place] = 1
    check_whole(queue.get(), 8)


def hearer_of_a_death_dies(victim: Victim) -> None:
    """Two sleep, and a third process is killed: the kernel wakes the victim to tell the other."""
    queue = fork.Queue()
    notes = Notes(2)
    getters = [victim.start(get_one, queue, notes, 0)]
    notes.wait_for(0, 1)
    getters[0].join(0.03)  # who falls asleep first is woken first
    getters.append(helper(get_one, queue, notes, 1))
    notes.wait_for(1, 1)
    getters[1].join(0.03)
    killed = helper(time.sleep, 100)
    killed.kill()
    killed.join()
    for number in range(2):
        queue.put(message("main", number, 8))
    finish(getters[1])
    victim.join()
    for _ in consume_until_done(queue, 8, getters):
        pass
    check_works(queue, 8)


BATCH = 2


def produce_batches(queue: Any, size: int, notes: Notes) -> None:
    time.sleep(0.02)  # the consumer sleeps already
    for first in range(0, COUNT, BATCH):
        queue.put_many([message("victim", number, size) for number in range(first, first + BATCH)])
        notes[0] = first + BATCH


def producer_of_batches_dies(size: int, victim: Victim) -> None:
    queue = fork.Queue(3)
    notes = Notes(1)
    producer = victim.start(produce_batches, queue, size, notes)
    messages = consume_until_done(queue, size, [producer])
    victim.join()
    found = numbers_of(messages, "victim")
    assert found == list(range(len(found))), f"not in order, or not once: {found}"
    assert notes[0] <= len(found) <= notes[0] + BATCH * int(victim.killed)
    check_works(queue, size)


def note_batches(queue: Any, size: int, notes: Notes, count: int) -> None:
    while notes[0] < count:
        for found in queue.get_many(BATCH):
            check_whole(found, size)
            notes[1 + notes[0]] = found[1]
            notes[0] += 1


def consumer_of_batches_dies(size: int, victim: Victim) -> None:
    """Of a queue that is full, so that the producer sleeps."""
    queue = fork.Queue(2)
    notes = Notes(3 * COUNT)
    producer = helper(produce, queue, "main", size, Notes(1), 0)
    consumer = victim.start(note_batches, queue, size, notes, COUNT // 2)
    victim.join()
    messages = consume_until_done(queue, size, [consumer, producer])
    finish(producer)
    received = [notes[1 + i] for i in range(notes[0])] + numbers_of(messages, "main")
    assert received == sorted(set(received)), f"not in order, or not once: {received}"
    lost = set(range(COUNT)) - set(received)
    assert len(lost) <= BATCH * int(victim.killed), f"lost: {lost}"
    check_works(queue, size)


def stop_in_the_middle(queue: Any, size: int, notes: Notes, point: str) -> None:
    """The first of two that die: it holds all kinds of things when it does."""
    kept = [fork.Lock(), fork.Array("i", 1000), fork.Queue()]
    kept[2].put(bytes(5_000))
    notes.wait_for(0, 1)
    die_at(point)
    queue.put(message("first", 0, size))
    queue.get()


def clear_up(queue: Any, size: int, notes: Notes) -> None:
    notes[0] = 1
    notes.wait_for(0, 2)
    note_all(queue, size, notes, 1, COUNT // 2)


def clearer_up_dies(size: int, point: str, victim: Victim) -> None:
    """One process dies with a message in hand; the victim meets it, clears up, and dies doing so."""
    queue = fork.Queue()
    notes = Notes(3 * COUNT)
    first = helper(stop_in_the_middle, queue, size, notes, point)
    victim.start(clear_up, queue, size, notes)  # no process is started later: that would reap the first
    wait_dead(first.pid)
    for number in range(COUNT):
        queue.put(message("main", number, size))
    notes[0] = 2
    victim.join()
    messages = consume_until_done(queue, size, [victim.process])
    finish(first, code=-9)
    received = noted(notes, 1) + numbers_of(messages, "main")
    assert len(set(received)) == len(received), f"received twice: {sorted(received)}"
    lost = set(range(COUNT)) - set(received)
    assert len(lost) <= int(victim.killed), f"lost: {lost}"
    check_works(queue, size)


# ---- pipes ----


def send_all(reader: Any, writer: Any, size: int, notes: Notes) -> None:
    reader.close()
    time.sleep(0.02)  # the reader sleeps already
    for number in range(COUNT):
        writer.send(message("victim", number, size))
        notes[0] = number + 1
        if number == COUNT // 2:
            time.sleep(0.02)
    writer.close()


def receive_to_the_end(reader: Any, size: int) -> list[int]:
    found = []
    try:
        while True:
            got = reader.recv()
            check_whole(got, size)
            found.append(got[1])
    except EOFError:
        return found


def sender_dies(duplex: bool, size: int, victim: Victim) -> None:
    reader, writer = fork.Pipe(duplex)
    notes = Notes(1)
    victim.start(send_all, reader, writer, size, notes)
    writer.close()
    found = receive_to_the_end(reader, size)
    victim.join()
    check_prefix(found, notes[0], victim.killed)
    assert reader.poll(0)  # the end of file, again
    reader.close()


def receive_some(reader: Any, writer: Any, size: int, notes: Notes, count: int) -> None:
    writer.close()
    for i in range(count):
        got = reader.recv()
        check_whole(got, size)
        notes[2 + i] = got[1]
        notes[1] = i + 1
    reader.close()


def receiver_dies(duplex: bool, size: int, victim: Victim) -> None:
    """The last one: the sender is told."""
    reader, writer = fork.Pipe(duplex)
    notes = Notes(2 * COUNT)
    victim.start(receive_some, reader, writer, size, notes, COUNT)
    reader.close()
    victim.process.join(0.02)
    broken = False
    for number in range(COUNT):
        try:
            writer.send(message("main", number, size))
        except (BrokenPipeError, ConnectionResetError):
            broken = True
            break
        victim.process.join(0.005)
    victim.join()
    assert victim.killed or not broken
    received = noted(notes, 1)
    assert received == list(range(len(received)))
    try:
        writer.send(b"nobody is there")
        raise AssertionError("a message to nobody was sent")
    except (BrokenPipeError, ConnectionResetError):
        writer.close()


def one_of_two_receivers_dies(size: int, victim: Victim) -> None:
    reader, writer = fork.Pipe(False)
    notes = Notes(2 * COUNT)
    victim.start(receive_some, reader, writer, size, notes, COUNT // 2)
    sender = helper(send_all, reader, writer, size, Notes(1))
    writer.close()
    victim.join()
    found = noted(notes, 1) + receive_to_the_end(reader, size)
    finish(sender)
    assert found == sorted(set(found)), f"not in order, or not once: {found}"
    lost = set(range(COUNT)) - set(found)
    assert len(lost) <= int(victim.killed), f"lost: {lost}"
    reader.close()


def watched_receiver_dies(victim: Victim) -> None:
    """Its descriptor is waited for by select, beside another process that reads the same end."""
    reader, writer = fork.Pipe(False)
    writer.send(message("first", 0, 8))  # a pipe of rings from now on
    assert reader.recv()[0] == "first"
    notes = Notes(2 * COUNT)

    def watch_and_receive() -> None:
        writer.close()
        for i in range(COUNT // 2):
            select.select([reader.fileno()], [], [], 5)
            notes[2 + i] = reader.recv()[1]
            notes[1] = i + 1

    victim.start(watch_and_receive)
    sender = helper(send_all, reader, writer, 8, Notes(1))
    writer.close()
    victim.join()
    found = noted(notes, 1) + receive_to_the_end(reader, 8)
    finish(sender)
    assert found == sorted(set(found)), f"not in order, or not once: {found}"
    assert len(set(range(COUNT)) - set(found)) <= int(victim.killed)
    reader.close()


def without_descriptors(make: Callable[[], Any]) -> Any:
    """What is made when this process has used up its descriptors."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.close(lowest := os.dup(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        return make()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def look_and_take(queue: Any, seconds: float) -> list[int]:
    """The numbers of the messages that are there when the descriptor is readable."""
    numbers: list[int] = []
    if select.select([queue._reader], [], [], seconds)[0]:
        while (found := take(queue, 0)) is not None:
            numbers.append(found[1])
    return numbers


def maker_of_a_descriptor_dies(victim: Victim) -> None:
    """A queue without one is looked at: by the victim, then by this process, which makes another if it must."""
    fork.Queue()  # the region
    queue = without_descriptors(fork.Queue)
    notes = Notes(3)

    def look() -> None:
        notes[0] = len(look_and_take(queue, 5))

    def put_late() -> None:
        notes.wait_for(2, 1)
        queue.put(message("late", 1, 8))

    late = helper(put_late)  # it is there before anybody has the descriptor
    queue.put(message("main", 0, 8))
    victim.start(look)
    victim.join()
    found = look_and_take(queue, 0)
    assert victim.killed or notes[0] == 1
    notes[2] = 1
    while 1 not in found:
        more = look_and_take(queue, SURVIVAL_SECONDS)
        assert more, "the descriptor tells nothing of the message"
        found += more
    finish(late)
    assert found in ([1], [0, 1])
    assert not select.select([queue._reader], [], [], 0)[0]


MAKERS: dict[str, Callable[[], Any]] = {
    "Queue": fork.Queue,
    "Queue(3)": lambda: fork.Queue(3),
    "JoinableQueue": fork.JoinableQueue,
    "SimpleQueue": fork.SimpleQueue,
}
SCENARIOS: dict[str, Callable[[Victim], None]] = {}
for _name, _make in MAKERS.items():
    for _label, _size in SIZES.items():
        if _name in ("Queue", "Queue(3)") or _label == "5 KB":
            SCENARIOS[f"{_name}, producer, {_label}"] = partial(producer_dies, _make, _size)
            SCENARIOS[f"{_name}, consumer, {_label}"] = partial(consumer_dies, _make, _size)
for _label, _size in SIZES.items():
    SCENARIOS[f"Queue(3), producer of batches, {_label}"] = partial(producer_of_batches_dies, _size)
    SCENARIOS[f"Queue(2), consumer of batches, {_label}"] = partial(consumer_of_batches_dies, _size)
SCENARIOS["Queue(3), who makes its side area"] = partial(producer_dies, MAKERS["Queue(3)"], 1000, count=2 * CELLS)
SCENARIOS["Queue(3), producer beside the cells"] = partial(producer_dies, with_side_area, 1000)
SCENARIOS["Queue(3), consumer beside the cells"] = partial(consumer_dies, with_side_area, 1000)
SCENARIOS["Queue(2), producer that waits for room"] = sleeping_producer_dies
SCENARIOS["Queue, who hears of a death"] = hearer_of_a_death_dies
SCENARIOS["Queue, producer whose messages overflow"] = overflowing_producer_dies
for _point in ("ring:claimed", "message:in-transit", "ring:taken", "heap:received"):
    SCENARIOS[f"Queue, who finds a process killed at {_point}"] = partial(clearer_up_dies, 5_000, _point)
for _label, _size in SIZES.items():
    for _duplex in (False, True):
        _name = "Pipe(True)" if _duplex else "Pipe(False)"
        SCENARIOS[f"{_name}, sender, {_label}"] = partial(sender_dies, _duplex, _size)
        SCENARIOS[f"{_name}, receiver, {_label}"] = partial(receiver_dies, _duplex, _size)
    SCENARIOS[f"Pipe(False), one of two receivers, {_label}"] = partial(one_of_two_receivers_dies, _size)
SCENARIOS["Queue, who makes its descriptor"] = maker_of_a_descriptor_dies
SCENARIOS["Pipe(False), receiver in select"] = watched_receiver_dies
