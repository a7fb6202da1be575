"""Shared objects in messages: through every channel they arrive as the same object, and live as long as they must."""

import copy
import gc
import itertools
import os
import pickle
import signal
from functools import partial
from multiprocessing import resource_sharer

import pytest

import fastmp
from fastmp import _core
from fastmp.reduction import ForkingPickler

fork = fastmp.get_context("fork")


# ---- what travels ----


def lock():
    thing = fork.Lock()
    thing.acquire()
    return thing


def is_lock(thing):
    return not thing.acquire(False)


def rlock():
    return fork.RLock()


def is_rlock(thing):
    with thing, thing:
        return True


def semaphore():
    return fork.Semaphore(5)


def is_semaphore(thing):
    return thing.get_value() == 5


def bounded_semaphore():
    return fork.BoundedSemaphore(3)


def is_bounded_semaphore(thing):
    try:
        thing.release()
    except ValueError:
        return thing.get_value() == 3
    return False


def condition():
    return fork.Condition()


def is_condition(thing):
    with thing:
        thing.notify_all()
        return True


def event():
    thing = fork.Event()
    thing.set()
    return thing


def is_event(thing):
    return thing.is_set()


def barrier():
    return fork.Barrier(1)


def is_barrier(thing):
    return thing.parties == 1 and thing.wait(10) == 0


def queue():
    thing = fork.Queue()
    thing.put("within")
    return thing


def is_queue(thing):
    found = thing.get(timeout=30)
    thing.put(found)  # for the next who looks
    return found == "within"


def simple_queue():
    thing = fork.SimpleQueue()
    thing.put("within")
    return thing


def is_simple_queue(thing):
    found = thing.get()
    thing.put(found)
    return found == "within"


def joinable_queue():
    thing = fork.JoinableQueue(3)
    thing.put("within")
    return thing


def is_joinable_queue(thing):
    found = thing.get(timeout=30)
    thing.task_done()
    thing.put(found)
    return found == "within"


def value():
    return fork.Value("i", 42)


def is_value(thing):
    with thing.get_lock():
        return thing.value == 42


def array():
    return fork.Array("d", [1.5, 2.5])


def is_array(thing):
    with thing:
        return thing[:] == [1.5, 2.5]


def raw_array():
    return fork.RawArray("i", [3, 4, 5])


def is_raw_array(thing):
    return list(thing) == [3, 4, 5]


def raw_value():
    return fork.RawValue("h", -7)


def is_raw_value(thing):
    return thing.value == -7


def shared_dict():
    return fastmp.shared_dict(key=[1, 2])


def is_shared_dict(thing):
    return thing["key"] == [1, 2]


THINGS = {
    "lock": (lock, is_lock),
    "rlock": (rlock, is_rlock),
    "semaphore": (semaphore, is_semaphore),
    "bounded_semaphore": (bounded_semaphore, is_bounded_semaphore),
    "condition": (condition, is_condition),
    "event": (event, is_event),
    "barrier": (barrier, is_barrier),
    "queue": (queue, is_queue),
    "simple_queue": (simple_queue, is_simple_queue),
    "joinable_queue": (joinable_queue, is_joinable_queue),
    "value": (value, is_value),
    "array": (array, is_array),
    "raw_array": (raw_array, is_raw_array),
    "raw_value": (raw_value, is_raw_value),
    "shared_dict": (shared_dict, is_shared_dict),
}

# ---- the channels: each gives the thing to another process, and what that process finds back ----


def answer(channel_get, channel_put, check):
    channel_put(check(channel_get()))


def ask(thing, check, send, receive, get, put):
    """Through `send` to a child that calls `get`, checks, and calls `put`; its answer comes by `receive`."""
    child = fork.Process(target=answer, args=(get, put, check))
    child.start()
    send(thing)
    del thing
    result = receive()
    child.join()
    assert child.exitcode == 0
    return result


def by_queue(make, check):
    there, back = fork.Queue(), fork.Queue()
    return ask(make(), check, there.put, back.get, there.get, back.put)


def by_bounded_queue(make, check):
    there, back = fork.Queue(1), fork.Queue(1)
    return ask(make(), check, there.put, back.get, there.get, back.put)


def by_simple_queue(make, check):
    there, back = fork.SimpleQueue(), fork.SimpleQueue()
    return ask(make(), check, there.put, back.get, there.get, back.put)


def by_joinable_queue(make, check):
    there, back = fork.JoinableQueue(), fork.JoinableQueue()
    return ask(make(), check, there.put, back.get, there.get, back.put)


def by_pipe(make, check):
    ours, theirs = fork.Pipe()
    with ours, theirs:
        return ask(make(), check, ours.send, ours.recv, theirs.recv, theirs.send)


def by_descriptor(make, check):
    """The pipe has become the standard library's: a message is bytes, and what it refers to is lent."""
    ours, theirs = fork.Pipe()
    with ours, theirs:
        ours.fileno()
        return ask(make(), check, ours.send, ours.recv, theirs.recv, theirs.send)


def by_pickle(make, check):
    there, back = fork.Queue(), fork.Queue()
    data = bytes(ForkingPickler.dumps(make()))
    return ask(data, check, there.put, back.get, lambda: pickle.loads(there.get()), back.put)


def by_pool_argument(make, check):
    with fork.Pool(2) as pool:
        return pool.apply(check, (make(),))


def by_pool_keyword(make, check):
    with fork.Pool(2) as pool:
        return pool.apply(check, (), {"thing": make()})


def by_pool_map(make, check):
    with fork.Pool(2) as pool:
        return all(pool.map(check, [make() for _ in range(5)]) + pool.map(check, [make()] * 3, chunksize=3))


def by_pool_imap(make, check):
    with fork.Pool(2) as pool:
        return all(pool.imap_unordered(check, (make() for _ in range(5))))


def check_of(check, thing, _item):
    return check(thing)


def by_pool_function(make, check):
    with fork.Pool(2) as pool:
        return all(pool.map(partial(check_of, check, make()), range(6), chunksize=2))


def by_pool_result(make, check):
    with fork.Pool(2) as pool:
        return check(pool.apply(make)) and all(check(thing) for thing in pool.map(call, [make] * 4, chunksize=2))


def call(make):
    return make()


def by_executor_argument(make, check):
    with fastmp.ProcessPoolExecutor(2, mp_context=fork) as executor:
        return executor.submit(check, make()).result()


def by_executor_function(make, check):
    with fastmp.ProcessPoolExecutor(2, mp_context=fork) as executor:
        return all(executor.map(partial(check_of, check, make()), range(6)))


def by_executor_result(make, check):
    with fastmp.ProcessPoolExecutor(2, mp_context=fork) as executor:
        return check(executor.submit(make).result())


CHANNELS = {name: value for name, value in globals().items() if name.startswith("by_")}


def blocks():
    gc.collect()
    stats = _core.heap_stats()
    return {phase: stats[phase] for phase in ("owned", "transit", "shared")}


@pytest.fixture(autouse=True)
def nothing_stays():
    before = blocks()
    yield
    resource_sharer.stop()  # its thread gives out the descriptors of queues and pipes
    after = blocks()
    assert all(after[phase] <= before[phase] for phase in before)  # what an earlier test has left may go meanwhile


@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("channel", CHANNELS)
def test_arrives(channel, thing):
    make, check = THINGS[thing]
    assert CHANNELS[channel](make, check) is True


@pytest.mark.parametrize("thing", THINGS)
def test_class_and_identity(thing):
    make, _ = THINGS[thing]
    sent, queue = make(), fork.Queue()
    queue.put({"first": sent, "again": [sent, (sent,)]})
    got = queue.get()
    assert type(got["first"]) is type(sent)
    assert got["first"] is got["again"][0] is got["again"][1][0]


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
