"""Queue, SimpleQueue and JoinableQueue: what the standard library documents, and what fastmp promises beyond it."""

import collections
import multiprocessing.connection
import os
import pickle
import queue
import select
import signal
import subprocess
import sys
import threading
import time

import pytest
from support import parts
from support.parts import playing

import fastmp

try:
    import numpy  # here, as it starts threads of its own
except ImportError:
    numpy = None

needs_numpy = pytest.mark.skipif(numpy is None, reason="needs numpy")
KINDS = [fastmp.Queue, fastmp.SimpleQueue, fastmp.JoinableQueue]


def run(target, *args):
    process = fastmp.Process(target=target, args=args)
    process.start()
    return process


def finish(*processes, timeout=20):
    for process in processes:
        process.join(timeout)
        assert process.exitcode is not None, "the process hangs"


@pytest.mark.parametrize("kind", KINDS)
def test_objects_arrive_in_order_and_equal(kind):
    q = kind()
    objects = [None, True, 7, -1, 2**70, 1.5, "abc", "é€😀", b"x" * 5000, (1, "a", [2.0]), {"k": [1, (2,)]}, {1, 2}]
    for obj in objects:
        q.put(obj)
    got = [q.get() for _ in objects]
    assert got == objects
    assert [type(x) for x in got] == [type(x) for x in objects]
    assert q.empty()


@pytest.mark.parametrize("kind", KINDS)
def test_class_says_fastmp(kind):
    assert type(kind()).__module__ == "fastmp.queues"


def test_empty_and_full_are_exact():
    q = fastmp.Queue(3)
    assert (q.empty(), q.full(), q.qsize()) == (True, False, 0)
    for i in range(3):
        q.put(i)
        assert not q.empty()
        assert q.qsize() == i + 1
    assert q.full()
    with pytest.raises(queue.Full):
        q.put_nowait(3)
    with pytest.raises(queue.Full):
        q.put(3, True, 0.05)
    with pytest.raises(queue.Full):
        q.put(3, block=False)
    assert [q.get(), q.get_nowait(), q.get(timeout=1)] == [0, 1, 2]
    with pytest.raises(queue.Empty):
        q.get_nowait()
    with pytest.raises(queue.Empty):
        q.get(True, 0.05)
    with pytest.raises(queue.Empty):
        q.get(timeout=-1)


def test_timeout_is_kept():
    q = fastmp.Queue()
    start = time.monotonic()
    with pytest.raises(queue.Empty):
        q.get(timeout=0.3)
    assert 0.29 <= time.monotonic() - start < 5


@pytest.mark.parametrize("bad", ["soon", [], float("nan")])
def test_bad_timeout(bad):
    q = fastmp.Queue()
    with pytest.raises((TypeError, ValueError)):
        q.get(timeout=bad)
    q.put(1)
    assert q.get() == 1


def test_wrong_arguments():
    q = fastmp.Queue()
    with pytest.raises(TypeError):
        q.put()
    with pytest.raises(TypeError):
        q.put(1, blok=True)
    with pytest.raises(TypeError):
        fastmp.Queue("three")
    with pytest.raises(OverflowError):
        fastmp.Queue(2**40)
    fastmp.Queue(2**31 - 1).close()  # the largest that the standard library takes


@pytest.mark.parametrize("kind", [fastmp.Queue, fastmp.JoinableQueue])
def test_closed_queue_raises(kind):
    q = kind()
    q.put(1)
    q.close()
    with pytest.raises(ValueError, match="is closed"):
        q.put(2)
    with pytest.raises(ValueError, match="is closed"):
        q.get()
    with pytest.raises(OSError, match="is closed"):
        q.empty()
    q.join_thread()


def test_join_thread_before_close():
    q = fastmp.Queue()
    with pytest.raises(AssertionError):
        q.join_thread()


@pytest.mark.parametrize("kind", [fastmp.Queue, fastmp.JoinableQueue])
def test_a_closed_queue_that_was_not_used_is_empty(kind):
    q = kind()
    q.close()
    q.join_thread()
    assert q.empty()
    assert not q._reader.poll()


def test_closed_simple_queue():
    q = fastmp.SimpleQueue()
    q.close()
    assert q._reader.closed
    with pytest.raises((OSError, ValueError)):
        q.put(1)


def test_put_without_a_bound_never_waits():
    q = fastmp.Queue()
    start = time.monotonic()
    for i in range(20_000):
        q.put(i)
    assert time.monotonic() - start < 20
    assert q.qsize() == 20_000
    assert [q.get(timeout=10) for _ in range(20_000)] == list(range(20_000))
    q.close()
    q.join_thread()


def put_many(q, start, count):
    for i in range(start, start + count):
        q.put(i)


def test_all_items_survive_the_childs_exit_in_order():
    q = fastmp.Queue()
    process = run(put_many, q, 0, 5000)
    assert [q.get(timeout=10) for _ in range(5000)] == list(range(5000))
    finish(process)
    assert process.exitcode == 0


def test_several_producers_and_consumers_get_each_message_once():
    q, results = fastmp.Queue(100), fastmp.Queue()

    def consume():
        total = collections.Counter()
        while (item := q.get()) is not None:
            total[item] += 1
        results.put(total)

    consumers = [run(consume) for _ in range(3)]
    producers = [run(put_many, q, n * 1000, 1000) for n in range(3)]
    finish(*producers)
    for _ in consumers:
        q.put(None)
    total = sum((results.get(timeout=10) for _ in consumers), collections.Counter())
    finish(*consumers)
    assert total == collections.Counter(range(3000))


def test_order_of_each_producer_is_kept():
    q = fastmp.Queue()
    producers = [run(lambda n=n: [q.put((n, i)) for i in range(2000)]) for n in range(2)]
    last = {0: -1, 1: -1}
    for _ in range(4000):
        n, i = q.get(timeout=10)
        assert i == last[n] + 1
        last[n] = i
    finish(*producers)


@needs_numpy
def test_large_messages_and_buffers():
    q = fastmp.Queue()
    array = numpy.arange(500_000, dtype="f8")
    process = run(lambda: q.put(array * 2))
    got = q.get(timeout=20)
    finish(process)
    assert (got == array * 2).all()
    got[0] = 5.0  # a view on shared memory, ours to write
    assert got[0] == 5.0


class Unpicklable:
    def __reduce__(self):
        raise pickle.PicklingError("not this one")


def test_unpicklable_object_goes_to_the_hook():
    seen = []

    class Hooked(type(fastmp.Queue())):
        @staticmethod
        def _on_queue_feeder_error(e, obj):
            seen.append((e, obj))

    q = Hooked(ctx=fastmp.get_context("fork"))
    bad = Unpicklable()
    q.put(bad)
    q.put("good")
    assert q.get(timeout=5) == "good"
    assert [(type(e), obj) for e, obj in seen] == [(pickle.PicklingError, bad)]
    assert q.empty()


def test_unpicklable_object_in_a_queue_is_reported(capfd):
    q = fastmp.Queue()
    q.put(Unpicklable())
    q.put(1)
    assert q.get(timeout=5) == 1
    assert "PicklingError" in capfd.readouterr().err


def test_unpicklable_object_in_a_simple_queue_raises():
    q = fastmp.SimpleQueue()
    with pytest.raises(pickle.PicklingError):
        q.put(Unpicklable())
    assert q.empty()


def test_joinable_queue():
    q = fastmp.JoinableQueue()

    def work():
        while q.get() is not None:
            q.task_done()
        q.task_done()

    workers = [run(work) for _ in range(2)]
    for i in range(100):
        q.put(i)
    q.join()
    assert q.empty()
    for _ in workers:
        q.put(None)
    q.join()
    finish(*workers)
    with pytest.raises(ValueError, match="too many"):
        q.task_done()


def test_poll_of_the_reader():
    q = fastmp.Queue()
    assert not q._reader.poll()
    assert not q._reader.poll(0.01)
    q.put(1)
    assert q._reader.poll()
    assert q._reader.poll(1)


def is_readable(fd, timeout=0):
    return bool(select.select([fd], [], [], timeout)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_descriptor_of_the_reader(kind):
    q = kind()
    q.put(0)  # before anybody asked
    fd = q._reader.fileno()
    assert is_readable(fd)
    assert q.get() == 0
    for _ in range(50):
        assert not is_readable(fd)
        q.put(1)
        q.put(2)
        assert is_readable(fd)
        assert q.get() == 1
        assert is_readable(fd)
        assert q.get() == 2
    process = run(lambda: (time.sleep(0.2), q.put("hello")))
    assert is_readable(fd, 10)
    assert multiprocessing.connection.wait([q._reader], 10) == [q._reader]
    assert q.get() == "hello"
    assert not is_readable(fd)
    finish(process)


def test_get_waits_for_a_put_of_another_process():
    q = fastmp.Queue()
    process = run(lambda: (time.sleep(0.3), q.put("late")))
    assert q.get(timeout=10) == "late"
    finish(process)


def test_full_queue_waits_for_a_get_of_another_process():
    q = fastmp.Queue(1)
    q.put(1)
    process = run(lambda: (time.sleep(0.3), q.get()))
    q.put(2, timeout=10)
    assert q.get(timeout=10) == 2
    finish(process)


def test_threads_share_a_queue():
    q = fastmp.Queue(10)
    got = []
    reader = threading.Thread(target=lambda: got.extend(q.get() for _ in range(1000)))
    reader.start()
    put_many(q, 0, 1000)
    reader.join(20)
    assert got == list(range(1000))


def test_ctrl_c_ends_a_wait():
    q = fastmp.Queue()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        q.get(timeout=30)
    timer.join()
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("role", ["reader", "writer"])
def test_killed_processes_wedge_nobody(role):
    q = fastmp.Queue(50)
    victim_count, delivered = 6, 0

    def read_for_ever():
        while True:
            q.get()

    def write_for_ever():
        while True:
            q.put(0)

    for n in range(victim_count):
        victim = run(read_for_ever if role == "reader" else write_for_ever)
        end = time.monotonic() + 0.05 + 0.01 * n
        while time.monotonic() < end:
            try:
                q.put(n, timeout=0.01) if role == "reader" else q.get(timeout=0.01)
                delivered += 1
            except (queue.Full, queue.Empty):
                pass
        victim.kill()
        finish(victim)
    while True:
        try:
            q.get(timeout=0.5)
        except queue.Empty:
            break
    for i in range(200):
        q.put(i, timeout=5)
        assert q.get(timeout=5) == i
    assert delivered > 0
    assert q.qsize() == 0


def test_memory_is_given_back():
    before = os.stat("/proc/self").st_nlink  # the region exists already; what counts is that this does not fail
    for _ in range(300):
        q = fastmp.Queue()
        q.put(b"x" * 100_000)
        del q
    assert before
    kept = [fastmp.Queue() for _ in range(1000)]
    for i, q in enumerate(kept):
        q.put(i)
    assert [q.get() for q in kept] == list(range(1000))


def test_message_that_does_not_fit_is_enospc():
    code = (
        "import fastmp, errno\n"
        "q = fastmp.SimpleQueue()\n"
        "try:\n    q.put(b'x' * (1 << 26))\n"
        "except OSError as e:\n    assert e.errno == errno.ENOSPC, e\n"
        "else:\n    raise SystemExit('no error')\n"
        "q.put(b'fits'); assert q.get() == b'fits'\n"
    )
    env = dict(os.environ, FASTMP_REGION_SIZE=str(1 << 25))
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


# ---- under every start method


def test_a_child_answers(ctx):
    there, back = ctx.Queue(), ctx.SimpleQueue()
    messages = [(number, b"x" * size) for size in parts.SIZES for number in range(20)]
    there.put(messages[0])  # before there is a child
    with playing(ctx, parts.answer, there, back) as child:
        for message in messages[1:]:
            there.put(message)
        there.put(None)
        assert [back.get() for _ in messages] == [(child.pid, message) for message in messages]
    assert there.empty()
    assert back.empty()


def test_all_that_a_child_has_put_outlives_it(ctx):
    queue = ctx.Queue()
    with playing(ctx, parts.put_without_a_reader, queue, 2_000) as child:
        child.join(0.05)  # it may still be at it, or have ended
        assert [queue.get(timeout=30)[0] for _ in range(2_000)] == list(range(2_000))


def test_a_child_does_what_is_joined(ctx):
    queue = ctx.JoinableQueue(2)
    with playing(ctx, parts.deal_with, queue, 5):
        for number in range(5):
            queue.put(number, timeout=30)
        queue.join()
        with pytest.raises(ValueError, match="task_done"):
            queue.task_done()


def test_the_limits_in_a_child(ctx):
    queue = ctx.Queue(1)
    with playing(ctx, parts.meet_the_limits, queue):
        pass
    queue.put(1)
    with pytest.raises(fastmp.queues.Full):
        queue.put(2, timeout=0.01)


def test_a_child_killed_while_it_waits(ctx):
    there, back = ctx.Queue(), ctx.Queue()
    with playing(ctx, parts.answer, there, back, killed=True) as child:
        there.put("first")
        assert back.get(timeout=30) == (child.pid, "first")
        parts.kill(child)
    there.put("second")
    assert there.get(timeout=30) == "second"
