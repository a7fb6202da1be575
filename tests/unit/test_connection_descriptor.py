"""What a connection's descriptor shows to others; wait; connections on raw descriptors; pickling."""

import asyncio
import multiprocessing.connection
import multiprocessing.resource_sharer
import os
import pickle
import select
import selectors
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Any

import pytest
from support.forked import forked
from support.pipes import Ends, count_up, stream

from fastmp import connection
from fastmp.connection import Connection, Pipe, wait
from fastmp.reduction import ForkingPickler


def is_readable(thing: Any, timeout: float = 0) -> bool:
    return bool(select.select([thing], [], [], timeout)[0])


# ---- the descriptor ----


def test_readable_exactly_while_messages_are_there(ends: Ends) -> None:
    first, second = ends
    first.send(0)  # a pipe of rings now
    assert is_readable(second)
    second.recv()
    assert not is_readable(second)
    for _ in range(3):
        first.send(1)
        first.send(2)
        assert is_readable(second)
        assert is_readable(second)
        second.recv()
        assert is_readable(second)
        second.recv()
        assert not is_readable(second)
        assert not is_readable(first)
    first.close()
    assert is_readable(second)


def test_asked_before_the_first_message_it_is_a_standard_connection(ends: Ends) -> None:
    """Then the descriptor can be given to a program that knows the standard protocol only."""
    first, second = ends
    socket_of_first = socket.fromfd(first.fileno(), socket.AF_UNIX, socket.SOCK_STREAM)
    with socket_of_first:
        assert not is_readable(first)
        second.send_bytes(b"hello")
        assert socket_of_first.recv(100) == struct.pack("!i", 5) + b"hello"
        socket_of_first.sendall(struct.pack("!i", 2) + b"ho")
        assert second.recv_bytes() == b"ho"
    first.send({"a": 1})
    assert second.poll(10)
    assert second.recv() == {"a": 1}
    first.close()
    with pytest.raises(EOFError):
        second.recv()


def test_a_reader_asleep_when_its_pipe_becomes_standard(ends: Ends) -> None:
    first, second = ends
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.extend([second.recv(), second.recv_bytes()]))
    thread.start()
    time.sleep(0.1)
    os.fstat(first.fileno())
    first.send("object")
    first.send_bytes(b"bytes")
    thread.join(10)
    assert got == ["object", b"bytes"]


def test_one_way_standard(one_way: Ends) -> None:
    reader, writer = one_way
    writer.fileno()
    writer.send([1])
    assert is_readable(reader)
    assert reader.recv() == [1]
    assert not is_readable(reader)


@pytest.mark.parametrize("first_message", [True, False])
def test_select_loop_over_a_child(first_message: bool) -> None:
    reader, writer = Pipe(duplex=False)
    with reader, writer:
        if first_message:
            writer.send(-1)
            assert reader.recv() == -1
        with forked(count_up, writer, 3000), selectors.DefaultSelector() as selector:
            writer.close()
            selector.register(reader, selectors.EVENT_READ)
            got = []
            with suppress(EOFError):
                while selector.select(20):
                    got.append(reader.recv())
            assert got == list(range(3000))


def test_select_loop_over_a_sender_that_is_killed(one_way: Ends) -> None:
    reader, writer = one_way
    writer.send((-1, b""))
    reader.recv()
    with forked(stream, writer) as child:
        writer.close()
        timer = threading.Timer(0.05, child.kill)
        timer.start()
        expected = 0
        with suppress(EOFError):
            while is_readable(reader, 20):
                assert reader.recv()[0] == expected
                expected += 1
        assert not timer.is_alive()
        timer.join()


def test_asyncio_reads(ends: Ends) -> None:
    first, second = ends
    first.send("before")

    async def read() -> list[Any]:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        got = []

        def on_readable() -> None:
            got.append(second.recv())
            if got[-1] is None:
                done.set_result(got)

        loop.add_reader(second.fileno(), on_readable)
        for i in range(100):
            first.send(i)
            await asyncio.sleep(0)
        first.send(None)
        result = await asyncio.wait_for(done, 20)
        loop.remove_reader(second.fileno())
        return result

    assert asyncio.run(read()) == ["before", *range(100), None]


# ---- wait ----


def test_wait_for_nothing() -> None:
    assert wait([], 0) == []
    assert wait([], -1) == []


def test_wait_over_all_sorts_of_things(ends: Ends, one_way: Ends) -> None:
    first, second = ends
    reader, writer = one_way
    left, right = socket.socketpair()
    pipe_out, pipe_in = os.pipe()
    with left, right, forked(time.sleep, 60) as child:
        sentinel = os.pidfd_open(child.pid)
        things = [second, reader, left, pipe_out, sentinel]
        assert wait(things, 0) == []
        assert wait(things, 0.05) == []
        first.send(1)
        assert wait(things) == [second]
        writer.send(1)
        assert wait(iter(things), 5) == [second, reader]
        right.sendall(b"x")
        os.write(pipe_in, b"x")
        assert wait(things, 5) == [second, reader, left, pipe_out]
        second.recv()
        reader.recv()
        assert wait(things, 5) == [left, pipe_out]
        left.recv(1)
        os.read(pipe_out, 1)
        child.kill()
        assert wait(things, 20) == [sentinel]
        for descriptor in (sentinel, pipe_out, pipe_in):
            os.close(descriptor)


def test_wait_wakes_for_messages_and_for_the_end(ends: Ends, one_way: Ends) -> None:
    first, second = ends
    reader, writer = one_way
    first.send(0)
    second.recv()
    timer = threading.Timer(0.1, first.send, (1,))
    timer.start()
    assert wait([reader, second], 20) == [second]
    timer.join()
    assert second.recv() == 1
    timer = threading.Timer(0.1, writer.close)
    timer.start()
    assert wait([reader, second], 20) == [reader]
    timer.join()
    first.close()
    assert wait([reader, second], 20) == [reader, second]


def test_wait_leaves_the_pipe_one_of_rings(ends: Ends) -> None:
    assert wait(ends, 0) == []
    ends[0].send(1)
    assert ends[1]._is_ring()
    assert wait(ends, 0) == [ends[1]]


def test_wait_over_many_children() -> None:
    readers = []
    children = []
    for i in range(4):
        reader, writer = Pipe(duplex=False)
        children.append(forked(count_up, writer, 200 * i))
        children[-1].__enter__()
        writer.close()
        readers.append(reader)
    got = dict.fromkeys(readers, 0)
    while readers:
        for reader in wait(readers, 20):
            try:
                assert reader.recv() == got[reader]
                got[reader] += 1
            except EOFError:
                readers.remove(reader)
                reader.close()
    assert list(got.values()) == [0, 200, 400, 600]
    for child in children:
        child.__exit__(None, None, None)


def test_wait_on_a_closed_connection(ends: Ends) -> None:
    ends[0].close()
    with pytest.raises((OSError, ValueError)):
        wait([ends[0], ends[1]], 0)


# ---- raw descriptors ----


def raw_pair(duplex: bool = True) -> tuple[Connection, multiprocessing.connection.Connection]:
    ours, theirs = socket.socketpair()
    return Connection(ours.detach()), multiprocessing.connection.Connection(theirs.detach())


def test_a_raw_connection_speaks_the_standard_protocol() -> None:
    ours, theirs = raw_pair()
    with ours, theirs:
        ours.send({"a": 1})
        assert theirs.recv() == {"a": 1}
        theirs.send_bytes(b"x" * 50_000)
        assert ours.poll(5)
        assert wait([ours], 5) == [ours]
        assert ours.recv_bytes() == b"x" * 50_000
        theirs.send_bytes(b"abc")
        buffer = bytearray(5)
        assert ours.recv_bytes_into(buffer, 1) == 3
        assert buffer == b"\0abc\0"
        theirs.close()
        with pytest.raises(EOFError):
            ours.recv()


def test_bad_handles() -> None:
    with pytest.raises(ValueError, match="invalid handle"):
        Connection(-1)
    with pytest.raises(ValueError, match="at least one"):
        Connection(0, readable=False, writable=False)
    with pytest.raises(TypeError):
        Connection()
    wrong = Connection(44_977_608)
    with suppress(ValueError, OSError):
        wrong.poll()
    with pytest.raises(OSError, match="Bad file descriptor"):
        wrong.send(1)
    wrong._handle = None


def test_listener_and_client() -> None:
    with connection.Listener(authkey=b"secret") as listener:
        thread = threading.Thread(target=lambda: connection.Client(listener.address, authkey=b"secret").send("hello"))
        thread.start()
        with listener.accept() as accepted:
            assert accepted.recv() == "hello"
        thread.join()


def test_every_public_name_of_the_standard_module_is_here() -> None:
    for name in dir(multiprocessing.connection):
        if not name.startswith("__"):
            assert hasattr(connection, name)


# ---- pickling ----


def test_an_unused_pipe_can_be_pickled_for_another_process(ends: Ends) -> None:
    pickled = ForkingPickler.dumps(ends[0])
    try:
        with pickle.loads(pickled) as copy:
            ends[0].close()
            copy.send("from the copy")
            assert ends[1].recv() == "from the copy"
    finally:
        multiprocessing.resource_sharer.stop(timeout=10)
    with pytest.raises(EOFError):
        ends[1].recv()
