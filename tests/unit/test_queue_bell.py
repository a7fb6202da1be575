"""`queue._reader.fileno()` in processes that have not got the queue's descriptor with the queue."""

import asyncio
import os

import pytest
from support.parts import no_descriptor_left
from support.processes import child, eventually, in_child
from support.watchers import get, is_readable, look, look_long, put, put_when_told, serve

import fastmp


def made_and_sent(channel):
    """Make a queue in a process that has ended when this one receives it."""
    in_child(lambda: channel.put(fastmp.Queue()))
    return channel.get(timeout=20)


def sent_by_another(channel, queue):
    """Send a queue that this process has made, in the name of one that has ended."""
    in_child(channel.put, queue)


@pytest.fixture
def orders():
    """Queues for the tests, made before all that is looked at."""
    return fastmp.Queue(), fastmp.SimpleQueue()


def test_made_when_there_was_no_descriptor(orders):
    with no_descriptor_left():
        queue = fastmp.Queue()
        with pytest.raises(OSError, match="descriptor"):
            queue._reader.fileno()
        queue.put(1)
        assert queue.get() == 1
    with child(put_when_told, queue, orders[0]):  # it was forked before anybody had a descriptor
        assert not is_readable(queue)
        orders[0].put("go")
        assert is_readable(queue, 20)
        assert queue.get() == "from the other"
        assert not is_readable(queue)


def test_whose_maker_has_ended(orders):
    queue = made_and_sent(orders[0])
    assert not is_readable(queue)
    queue.put(1)
    assert is_readable(queue)
    assert queue.get() == 1
    assert not is_readable(queue)
    with child(put, queue):
        assert is_readable(queue, 20)
    assert queue.get() == "from the other"
    assert not is_readable(queue)


def test_received_from_one_who_has_ended(orders):
    """The receiver finds the descriptor with its maker: each rings for the other."""
    asks, answers = orders
    with child(serve, asks, answers):
        queue = fastmp.Queue()  # after the other was forked
        sent_by_another(asks, queue)
        assert not is_readable(queue)
        asks.put(put)
        assert is_readable(queue, 20)
        assert answers.get() is None
        assert queue.get() == "from the other"
        assert not is_readable(queue)
        asks.put(look)
        assert answers.get() is False
        asks.put(look_long)
        queue.put("from here")
        assert answers.get() == "from here"
        assert not is_readable(queue)
        queue.put(1)
        assert is_readable(queue)
        asks.put(get)
        assert answers.get() == 1
        assert not is_readable(queue)
        asks.put(None)


def test_nobody_has_got_it(orders):
    """Three processes have received the queue of one that has ended: who looks first makes the descriptor."""
    asks, answers = orders
    with child(serve, asks, answers):
        queue = made_and_sent(answers_of := fastmp.Queue())
        in_child(asks.put, queue)
        assert not is_readable(queue)
        asks.put(put)
        assert answers.get() is None
        assert is_readable(queue)
        assert queue.get() == "from the other"
        asks.put(look_long)
        queue.put(2)
        assert answers.get() == 2
        assert not is_readable(queue)
        asks.put(None)
    assert answers_of.empty()


def test_the_one_who_looked_last_has_been_killed(orders):
    """Nobody can be asked for the descriptor any more: the next to look makes another, which the others find."""
    asks, answers = orders
    with child(serve, asks, answers):
        queue = made_and_sent(fastmp.Queue())
        in_child(asks.put, queue)
        assert in_killed(lambda: queue._reader.fileno() >= 0)
        asks.put(look)
        assert answers.get() is False
        queue.put(1)
        asks.put(look_long)
        assert answers.get() == 1
        assert not is_readable(queue)
        asks.put(put)
        assert answers.get() is None
        assert is_readable(queue)
        assert queue.get() == "from the other"
        asks.put(None)


def in_killed(function):
    """Run in a child that kills itself afterwards."""
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), 9 if function() else 15)
    return os.waitpid(pid, 0)[1] == 9


def test_a_loop_of_asyncio(orders, method):
    """In a parent of every start method: a child that has got the queue in a message rings for it."""
    asks, answers = orders
    other = fastmp.get_context(method).Process(target=serve, args=(asks, answers))
    other.start()
    queue = fastmp.Queue()
    sent_by_another(asks, queue)
    asks.put(put)

    async def receive():
        loop = asyncio.get_running_loop()
        found = loop.create_future()
        loop.add_reader(queue._reader.fileno(), lambda: found.set_result(queue.get_nowait()))
        try:
            return await asyncio.wait_for(found, 30)
        finally:
            loop.remove_reader(queue._reader.fileno())

    assert asyncio.run(receive()) == "from the other"
    asks.put(None)
    other.join(30)
    assert other.exitcode == 0
    other.close()


def test_many_without_descriptors_are_given_them_one_by_one():
    with no_descriptor_left():
        queues = [fastmp.Queue() for _ in range(20)]
    before = len(os.listdir("/proc/self/fd"))
    for number, queue in enumerate(queues):
        queue.put(number)
        assert is_readable(queue)
    assert len(os.listdir("/proc/self/fd")) == before + 20
    del queue, queues[:]
    eventually(lambda: len(os.listdir("/proc/self/fd")) == before)
