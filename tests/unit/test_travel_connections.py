"""Connections on their way: in messages, tasks and other objects, to processes of every start method."""

import resource
from multiprocessing import resource_sharer

import pytest
from support import parts
from support.parts import playing

import fastmp


@pytest.fixture(autouse=True)
def no_sharer():
    yield
    resource_sharer.stop()  # its thread gives out descriptors


@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue"])
def test_through_a_queue(ctx, kind):
    there = getattr(ctx, kind)()
    with playing(ctx, parts.answer_on, there.get):
        check_answers(ctx, there.put)


def test_through_a_pipe(ctx):
    ours, theirs = ctx.Pipe()
    with ours, theirs, playing(ctx, parts.answer_on, theirs.recv):
        check_answers(ctx, ours.send)


def check_answers(ctx, send):
    """An end that has been used, one that has not, one that only sends, and one of the standard protocol."""
    used, used_there = ctx.Pipe()
    used.send("before")
    fresh, fresh_there = ctx.Pipe()
    reader, writer_there = ctx.Pipe(duplex=False)
    plain, plain_there = ctx.Pipe()
    plain.fileno()
    send({"used": [used_there], "fresh": (fresh_there, {"writer": writer_there}), "plain": plain_there})
    with used, used_there, fresh, fresh_there, plain, plain_there, reader, writer_there:
        assert used.recv() == "before, and more"
        fresh.send(b"x" * 100_000)
        assert fresh.recv() == b"x" * 100_000
        plain.send("plain")
        assert plain.recv() == "plain"
        assert [reader.recv() for _ in range(3)] == [0, 1, 2]
        for end in (used_there, fresh_there, plain_there, writer_there):
            end.close()
        send(None)
        with pytest.raises(EOFError):  # the last copy was the child's
            reader.recv()


def test_into_tasks_and_back(ctx):
    ours, theirs = ctx.Pipe()
    with ours, theirs, ctx.Pool(1) as pool:
        assert pool.apply(parts.say_on, ({"end": theirs}, "hello")) == "said"
        assert ours.recv() == "hello"
        assert pool.map(parts.say_in_turn, [(theirs, number) for number in range(4)]) == [0, 1, 2, 3]
        assert sorted(ours.recv() for _ in range(4)) == [0, 1, 2, 3]
        end = pool.apply(parts.make_a_pipe)
        with end:
            assert end.recv() == "from the maker"


def test_a_receiver_without_descriptors():
    """The message is an error for who gets it, once; the next one arrives."""
    queue = fastmp.Queue()
    reader, writer = fastmp.Pipe(duplex=False)
    with reader, writer, playing(fastmp.get_context("fork"), parts.get_without_descriptors, queue):
        queue.put([writer])
        queue.put(writer)
        assert reader.recv() == "at last"


def test_a_sender_without_descriptors():
    """What cannot be sent is an error here, and everything else goes on."""
    queue = fastmp.SimpleQueue()
    ours, theirs = fastmp.Pipe()
    with ours, theirs:
        queue.put(theirs)  # the sharer's socket is there
        queue.get().close()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with parts.no_descriptor_left(), pytest.raises(OSError, match="open files"):
            queue.put(theirs)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)
        queue.put(theirs)
        queue.put("after")
        with queue.get() as end:
            end.send("still works")
            assert ours.recv() == "still works"
        assert queue.get() == "after"
