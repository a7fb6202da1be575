"""Queues: put_many and get_many."""

import queue
import select
import signal
import threading

import pytest

import fastmp

KINDS = [fastmp.Queue, fastmp.JoinableQueue]
PATIENCE = 20


def run(target, *args):
    process = fastmp.Process(target=target, args=args)
    process.start()
    return process


def finish(*processes):
    for process in processes:
        process.join(PATIENCE)
        assert process.exitcode == 0


@pytest.mark.parametrize("kind", KINDS)
def test_each_object_is_a_message_of_its_own(kind):
    q = kind()
    objects = [None, 7, "abc", b"x" * 5000, (1, [2.0]), {"k": 1}, {1, 2}, 2**70]
    q.put_many(objects)
    assert q.qsize() == len(objects)
    assert q.get() == objects[0]
    assert q.get_many(3) == objects[1:4]
    assert q.get_many() == objects[4:]
    assert q.empty()


def test_any_iterable_is_read_to_its_end_first():
    q = fastmp.Queue()

    def numbers():
        yield from (1, 2)
        assert q.empty()
        raise KeyError("no more")

    with pytest.raises(KeyError):
        q.put_many(numbers())
    assert q.empty()
    for iterable in (range(3), (0, 1, 2), {0: 1, 1: 1, 2: 1}, iter([0, 1, 2])):
        q.put_many(iterable)
        assert q.get_many(5) == [0, 1, 2]
    q.put_many([])
    assert q.empty()
    with pytest.raises(TypeError, match="iterable"):
        q.put_many(5)


def test_maxsize_counts_messages_and_full_says_how_many_went():
    q = fastmp.Queue(3)
    for arguments in ({"block": False}, {"timeout": 0.01}):
        with pytest.raises(queue.Full) as caught:
            q.put_many(range(5), **arguments)
        assert caught.value.count == 3
        assert q.full()
        assert q.get_many(10) == [0, 1, 2]
    q.put_many([7, 8, 9])
    with pytest.raises(queue.Full) as caught:
        q.put_many([1], False)
    assert caught.value.count == 0
    assert q.get_many(10) == [7, 8, 9]


def test_get_many_waits_for_the_first_only():
    q = fastmp.Queue()
    with pytest.raises(queue.Empty):
        q.get_many(5, False)
    with pytest.raises(queue.Empty):
        q.get_many(timeout=0.01)
    sender = threading.Timer(0.02, q.put, (1,))
    sender.start()
    assert q.get_many(5, timeout=PATIENCE) == [1]
    sender.join()


def test_bad_arguments():
    q = fastmp.Queue()
    q.put_many([1])
    for bad in (0, -1):
        with pytest.raises(ValueError, match="above 0"):
            q.get_many(bad)
    with pytest.raises(TypeError):
        q.get_many("5")
    with pytest.raises(TypeError):
        q.put_many()
    assert q.get_many(2**80) == [1]
    q.close()
    with pytest.raises(ValueError, match="closed"):
        q.put_many([1])
    with pytest.raises(ValueError, match="closed"):
        q.get_many()


def test_what_cannot_be_pickled_goes_to_the_hook_and_the_rest_on():
    failed = []

    class Telling(type(fastmp.Queue())):
        def _on_queue_feeder_error(self, e, obj):
            failed.append(obj)

    q = Telling(ctx=fastmp.get_context())
    bad = threading.Lock()
    q.put_many([1, bad, 2])
    assert failed == [bad]
    assert q.get_many(5) == [1, 2]


def test_error_of_the_hook_says_how_many_went():
    class Raising(type(fastmp.Queue())):
        def _on_queue_feeder_error(self, e, obj):
            raise e

    q = Raising(ctx=fastmp.get_context())
    with pytest.raises(TypeError) as caught:
        q.put_many([1, 2, threading.Lock(), 3])
    assert caught.value.count == 2
    assert q.get_many(5) == [1, 2]


def fail():
    raise LookupError("not here")


class Unloadable:
    def __reduce__(self):
        return fail, ()


def test_what_unpickling_raises_has_what_came_before():
    q = fastmp.Queue()
    q.put_many([1, 2, Unloadable(), 3])
    with pytest.raises(LookupError) as caught:
        q.get_many(10)
    assert caught.value.received == [1, 2]
    assert q.get_many(10) == [3]


class Shrinking:
    """Empties the list that it is in while it is pickled."""

    def __init__(self, around):
        self.around = around

    def __reduce__(self):
        self.around.clear()
        return int, (5,)


def test_list_that_changes_while_it_is_put():
    q = fastmp.Queue()
    objects = [1, 2]
    objects += [Shrinking(objects), 3]
    q.put_many(objects)
    assert q.get_many(10) == [1, 2, 5]


def test_joinable_queue_counts_each():
    q = fastmp.JoinableQueue(3)
    with pytest.raises(queue.Full):
        q.put_many(range(5), False)
    for _ in q.get_many(5):
        q.task_done()
    with pytest.raises(ValueError, match="too many"):
        q.task_done()
    q.join()


def test_unbounded_queue_takes_more_than_its_ring_holds():
    q = fastmp.Queue()
    q.put_many(range(5000))
    assert q.qsize() == 5000
    got = []
    while len(got) < 5000:
        got += q.get_many(700)
    assert got == list(range(5000))
    q.close()
    q.join_thread()


def send_batches(q, count, size):
    for first in range(0, count, size):
        q.put_many(range(first, first + size))


def take_batches(q, count, size, sums):
    total = 0
    while count > 0:
        batch = q.get_many(min(size, count))
        count -= len(batch)
        total += sum(batch)
    sums.put(total)


@pytest.mark.parametrize("maxsize", [0, 1, 7])
def test_batches_and_single_messages_of_many_processes(maxsize):
    q, sums = fastmp.Queue(maxsize), fastmp.Queue()
    count = 600
    processes = [
        *(run(send_batches, q, count, size) for size in (1, 20, 100)),
        *(run(take_batches, q, count, size, sums) for size in (1, 30, 300)),
    ]
    assert sum(sums.get(timeout=PATIENCE) for _ in range(3)) == 3 * sum(range(count))
    finish(*processes)
    assert q.empty()


def test_sleeping_consumers_all_wake():
    q, sums = fastmp.Queue(), fastmp.Queue()
    consumers = [run(take_batches, q, 1, 1, sums) for _ in range(4)]
    q.put_many(range(4))
    assert sum(sums.get(timeout=PATIENCE) for _ in range(4)) == sum(range(4))
    finish(*consumers)


def test_interrupt_while_it_waits_for_room():
    q = fastmp.Queue(2)
    previous = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(InterruptedError("enough")))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(InterruptedError) as caught:
            q.put_many(range(5))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert caught.value.count == 2
    assert q.get_many(5) == [0, 1]


def test_descriptor_follows_batches():
    q = fastmp.Queue()
    reader = q._reader

    def readable():
        return bool(select.select([reader.fileno()], [], [], 0)[0])

    assert not readable()
    q.put_many([1, 2, 3])
    assert readable()
    assert q.get_many(2) == [1, 2]
    assert readable()
    assert q.get_many(2) == [3]
    assert not readable()
