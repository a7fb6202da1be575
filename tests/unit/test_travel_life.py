"""Shared objects in messages live as long as they must: whoever ends or is killed, and in bytes (loans)."""

import copy
import itertools
import os
import pickle
import signal

import pytest
from support.things import blocks, event, fork, is_event, is_lock, is_semaphore, lock, nothing_stays, semaphore

from fastmp import _core
from fastmp.reduction import ForkingPickler


@pytest.fixture(autouse=True)
def nothing_of_it_stays():
    with nothing_stays():
        yield


# ---- how long they live ----


def test_lives_in_a_message_alone():
    queue = fork.Queue()
    queue.put(lock())
    got = queue.get()
    assert not got.acquire(False)
    got.release()


def test_sender_exits_first():
    queue = fork.Queue()
    child = fork.Process(target=lambda: queue.put(lock()))
    child.start()
    child.join()
    assert is_lock(queue.get())


def test_sender_is_killed_after_sending():
    queue = fork.Queue()

    def send_and_die():
        queue.put([semaphore(), event()])
        os.kill(os.getpid(), signal.SIGKILL)

    child = fork.Process(target=send_and_die)
    child.start()
    child.join()
    first, second = queue.get()
    assert is_semaphore(first)
    assert is_event(second)


def test_receiver_is_killed_with_it():
    queue, ready = fork.Queue(), fork.Event()
    before = blocks()

    def receive_and_die():
        thing = queue.get()
        ready.set()
        assert is_lock(thing)
        os.kill(os.getpid(), signal.SIGKILL)

    child = fork.Process(target=receive_and_die)
    child.start()
    queue.put(lock())
    assert ready.wait(30)
    child.join()
    assert blocks() == before


def test_message_never_received():
    queue = fork.Queue()
    before = blocks()
    for _ in range(10):
        queue.put(lock())
    assert blocks()["shared"] == before["shared"] + 10
    del queue
    assert blocks()["shared"] == before["shared"] - 1


def test_overflow_is_never_sent():
    """Messages that wait in this process for room keep what they refer to, and let it go."""
    queue = fork.Queue()
    for _ in range(600):
        queue.put(event())
    assert blocks()["shared"] >= 600
    queue._discard()
    assert is_event(queue.get())
    assert blocks()["shared"] < 600
    queue.close()
    queue.join_thread()


def test_overflow_is_sent():
    queue = fork.Queue()
    for _ in range(1200):
        queue.put(event())
    for _ in range(1200):
        assert is_event(queue.get())


def test_unpicklable_beside_it():
    queue = fork.Queue()
    before = blocks()
    errors = []
    queue._on_queue_feeder_error = lambda error, obj: errors.append(type(error))
    queue.put([lock(), event(), lambda: 0])
    assert len(errors) == 1
    assert blocks() == before
    with fork.Pipe()[1] as end, pytest.raises(errors[0]):
        end.send([lock(), lambda: 0])
    assert blocks() == before


class NotLoaded:
    def __reduce__(self):
        return int, ("not a number",)


def test_not_loaded_beside_it():
    queue = fork.Queue()
    before = blocks()
    queue.put([lock(), NotLoaded(), lock()])
    with pytest.raises(ValueError, match="not a number"):
        queue.get()
    assert blocks() == before


def test_many_in_one_message():
    queue = fork.Queue()
    queue.put([semaphore() for _ in range(1000)])
    assert all(is_semaphore(thing) for thing in queue.get())


def test_ten_thousand_sends_keep_memory_flat():
    queue, thing = fork.Queue(), event()

    def round_trips(count):
        for _ in range(count):
            queue.put((thing, lock()))
            assert is_event(queue.get()[0])
        return _core.heap_stats()["bytes_backed"]

    assert round_trips(100) == round_trips(10_000)


def test_passed_round():
    """One lock through many hands: each drops it before the next has it."""
    queues = [fork.Queue() for _ in range(4)]

    def pass_on(here, there):
        for _ in range(25):
            there.put(here.get())

    children = [fork.Process(target=pass_on, args=pair) for pair in itertools.pairwise(queues)]
    for child in children:
        child.start()
    for _ in range(25):
        queues[0].put(lock())
        assert is_lock(queues[-1].get())
    for child in children:
        child.join()


# ---- by bytes: loans ----


def test_loan_is_taken_once():
    data = pickle.dumps(lock())
    assert is_lock(pickle.loads(data))
    with pytest.raises(FileNotFoundError, match="gone"):
        pickle.loads(data)


def test_loan_ends_with_its_maker():
    queue = fork.Queue()
    child = fork.Process(target=lambda: queue.put(pickle.dumps(lock())))
    child.start()
    child.join()
    with pytest.raises(FileNotFoundError, match="gone"):
        pickle.loads(queue.get())


def test_loan_ends_with_its_killed_maker():
    queue = fork.Queue()

    def lend_and_die():
        queue.put(ForkingPickler.dumps(lock()).tobytes())
        os.kill(os.getpid(), signal.SIGKILL)

    child = fork.Process(target=lend_and_die)
    child.start()
    child.join()
    with pytest.raises(FileNotFoundError, match="gone"):
        ForkingPickler.loads(queue.get())


def test_codec_lends():
    assert is_lock(_core.decode(_core.encode([lock()]))[0])


def test_pickled_value_is_the_same_memory():
    number, numbers = fork.Value("i"), fork.Array("i", 3)
    others = pickle.loads(pickle.dumps((number, numbers)))
    number.value, numbers[2] = 5, 6
    assert others[0].value == 5
    assert others[1][2] == 6


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy])
def test_copy_is_the_same_object(copier):
    thing = fork.Lock()
    other = copier(thing)
    with thing:
        assert not other.acquire(False)


OFF, LIFE, PARCEL = 16, 24, -16  # in a travel record, csrc/pyrt/travel.h


@pytest.mark.parametrize("place", [OFF, LIFE, PARCEL])
@pytest.mark.parametrize("damage", [1, 64, 1 << 20, 1 << 63, (1 << 64) - 1])
def test_damaged_record(place, damage):
    thing = lock()
    rebuild, (base, cls, record, arguments), *_ = thing.__reduce__()
    at = place % len(record)
    damaged = record[:at] + damage.to_bytes(8, "little") + record[at + 8 :]
    with pytest.raises(FileNotFoundError, match="gone"):
        rebuild(base, cls, damaged, arguments)
    if place == PARCEL:  # the loan is still there
        assert is_lock(rebuild(base, cls, record, arguments))
    with pytest.raises(FileNotFoundError, match="gone"):
        rebuild(base, cls, record, arguments)


def test_another_kind_is_there():
    with pytest.raises(FileNotFoundError, match="gone"):
        _core.Condition.__new__(_core.Condition, _travel=event()._travel())  # a larger block


@pytest.mark.parametrize("record", [b"", b"short", bytes(500)])
def test_no_record(record):
    with pytest.raises(ValueError, match="travel record"):
        _core.Lock.__new__(_core.Lock, _travel=record)
