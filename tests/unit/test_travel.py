"""Shared objects in messages: through every channel they arrive as the same object."""

import pickle
from functools import partial

import pytest
from support.things import THINGS, fork, nothing_stays

import fastmp
from fastmp.reduction import ForkingPickler

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


@pytest.fixture(autouse=True)
def nothing_of_it_stays():
    with nothing_stays():
        yield


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
