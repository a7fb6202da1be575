"""Pipe and Connection in one process: objects, bytes, poll, closing, a full pipe."""

import array
import multiprocessing.connection
import multiprocessing.resource_sharer
import os
import pickle
import resource
import struct
import threading
import time
from multiprocessing import BufferTooShort
from typing import Any

import pytest
from support import parts
from support.parts import playing
from support.pipes import Ends, count_up

from fastmp.connection import Connection, Pipe
from fastmp.reduction import ForkingPickler

try:
    import numpy  # here, not in the test: it starts threads, which would be taken for something left behind
except ImportError:
    numpy = None


# ---- objects ----

OBJECTS = [
    None,
    True,
    -1,
    2**100,
    1.5,
    "text",
    "",
    b"",
    b"x" * 103,
    b"x" * 104,
    b"x" * 105,
    b"x" * 300_000,
    [1, [2, {"a": (3,)}]],
    {"key": {1, 2}},
    range(3),
    ValueError("no"),
]


@pytest.mark.parametrize("obj", OBJECTS, ids=lambda obj: f"{type(obj).__name__}")
def test_an_object_arrives_equal_and_of_the_same_type(ends: Ends, obj: object) -> None:
    ends[0].send(obj)
    got = ends[1].recv()
    assert type(got) is type(obj)
    assert repr(got) == repr(obj)


def test_messages_keep_their_order_in_both_directions(ends: Ends) -> None:
    first, second = ends
    for i in range(300):
        first.send(i)
        second.send(-i)
    assert [second.recv() for _ in range(300)] == list(range(300))
    assert [first.recv() for _ in range(300)] == [-i for i in range(300)]


def test_type_is_the_standard_one_too(ends: Ends) -> None:
    assert isinstance(ends[0], multiprocessing.connection.Connection)
    assert type(ends[0]).__module__ == "fastmp.connection"
    assert (ends[0].readable, ends[0].writable, ends[0].closed) == (True, True, False)


def test_one_way(one_way: Ends) -> None:
    reader, writer = one_way
    assert (reader.readable, reader.writable, writer.readable, writer.writable) == (True, False, False, True)
    writer.send("there")
    assert reader.recv() == "there"
    for call in (reader.send, reader.send_bytes):
        with pytest.raises(OSError, match="connection is read-only"):
            call(b"")
    for receive in (writer.recv, writer.recv_bytes, writer.poll, lambda: writer.recv_bytes_into(bytearray(1))):
        with pytest.raises(OSError, match="connection is write-only"):
            receive()


def test_what_cannot_be_pickled_raises_and_the_pipe_goes_on(ends: Ends) -> None:
    with pytest.raises((pickle.PicklingError, TypeError)):
        ends[0].send(threading.Lock())
    assert not ends[1].poll(0)
    ends[0].send("next")
    assert ends[1].recv() == "next"


class SendsWhilePickled:
    """A reducer that uses the connection over which its object is being sent."""

    def __init__(self, end: Connection) -> None:
        self.end = end

    def __reduce__(self) -> tuple[Any, ...]:
        self.end.send("inner")
        return (str, ("outer",))


class ClosesWhilePickled(SendsWhilePickled):
    def __reduce__(self) -> tuple[Any, ...]:
        self.end.close()
        return (str, ("never sent",))


def test_reducers_may_use_the_same_connection(ends: Ends) -> None:
    ends[0].send(SendsWhilePickled(ends[0]))
    assert [ends[1].recv(), ends[1].recv()] == ["inner", "outer"]


def test_a_reducer_that_closes_the_connection(ends: Ends) -> None:
    ends[0].send("used")
    with pytest.raises(OSError, match="handle is closed"):
        ends[0].send(ClosesWhilePickled(ends[0]))


@pytest.mark.skipif(numpy is None, reason="numpy is not installed")
def test_an_array_arrives_as_a_view_that_outlives_the_pipe() -> None:
    first, second = Pipe()
    sent = numpy.arange(100_000, dtype="f8")
    first.send(sent)
    first.send(sent + 1)
    got, other = second.recv(), second.recv()
    first.close()
    second.close()
    assert not got.flags.owndata
    assert (got == sent).all()
    del got
    assert (other == sent + 1).all()
    other[0] = 7.0  # writable, as what pickle delivers


# ---- bytes ----


def test_parts_of_a_buffer(ends: Ends) -> None:
    first, second = ends
    parts = {(): b"abcdef", (2,): b"cdef", (2, 3): b"cde", (6,): b"", (0, 0): b"", (1, None): b"bcdef"}
    for args, wanted in parts.items():
        first.send_bytes(b"abcdef", *args)
        assert second.recv_bytes() == wanted
    first.send_bytes(array.array("i", [1, 2]), offset=4, size=4)
    assert second.recv_bytes() == struct.pack("i", 2)
    first.send_bytes(memoryview(bytearray(b"xyz")))
    assert second.recv_bytes() == b"xyz"


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ((-1,), "offset is negative"),
        ((7,), "buffer length < offset"),
        ((0, -1), "size is negative"),
        ((4, 3), r"buffer length < offset \+ size"),
    ],
)
def test_parts_that_are_not_there(ends: Ends, args: tuple[int, ...], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ends[0].send_bytes(b"abcdef", *args)
    assert not ends[1].poll()


def test_what_is_no_buffer(ends: Ends) -> None:
    for wrong in ("text", 5, None):
        with pytest.raises(TypeError):
            ends[0].send_bytes(wrong)
    with pytest.raises(TypeError):
        ends[0].send_bytes()
    with pytest.raises(TypeError):
        ends[1].recv_bytes_into(b"read-only")
    with pytest.raises(TypeError):
        ends[0].send()
    with pytest.raises(TypeError):
        ends[0].poll("soon")


@pytest.mark.parametrize("size", [0, 1, 71, 72, 73, 104, 4096, 1 << 20, 1 << 24])
def test_bytes_of_every_size(ends: Ends, size: int) -> None:
    message = os.urandom(min(size, 4096)) * (size // 4096 + 1)
    message = message[:size]
    ends[0].send_bytes(message)
    assert ends[1].recv_bytes() == message


def test_who_sends_more_than_a_pipe_may_hold_waits_for_the_reader(ends: Ends) -> None:
    message = os.urandom(4096) * 4097
    sent = threading.Event()
    sender = threading.Thread(target=lambda: (ends[0].send_bytes(message), sent.set()), daemon=True)
    sender.start()
    assert ends[1].poll(30)
    assert not sent.wait(0.2)
    assert ends[1].recv_bytes() == message
    assert sent.wait(30)
    sender.join()


def test_objects_and_bytes_may_be_mixed(ends: Ends) -> None:
    obj = {"a": [1, 2, "three"], "b": b"4" * 500}
    ends[0].send_bytes(pickle.dumps(obj))
    assert ends[1].recv() == obj
    ends[0].send_bytes(ForkingPickler.dumps(obj))
    assert ends[1].recv() == obj
    ends[0].send(obj)
    assert pickle.loads(ends[1].recv_bytes()) == obj
    ends[0].send(7)
    buffer = bytearray(100)
    size = ends[1].recv_bytes_into(buffer)
    assert pickle.loads(buffer[:size]) == 7
    ends[0].send_bytes(b"no pickle")
    with pytest.raises(pickle.UnpicklingError):
        ends[1].recv()


def test_maxlength(ends: Ends) -> None:
    first, second = ends
    first.send_bytes(b"12345")
    assert second.recv_bytes(5) == b"12345"
    with pytest.raises(ValueError, match="negative maxlength"):
        second.recv_bytes(-1)
    first.send_bytes(b"123456")
    with pytest.raises(OSError, match="bad message length"):
        second.recv_bytes(maxlength=5)
    assert not second.readable  # it can still send
    second.send("good-bye")
    assert first.recv() == "good-bye"
    with pytest.raises(OSError, match="connection is write-only"):
        second.recv_bytes()


def test_maxlength_closes_an_end_that_only_reads(one_way: Ends) -> None:
    one_way[1].send_bytes(b"123456")
    with pytest.raises(OSError, match="bad message length"):
        one_way[0].recv_bytes(5)
    assert one_way[0].closed


def test_recv_bytes_into(ends: Ends) -> None:
    first, second = ends
    buffer = bytearray(10)
    first.send_bytes(b"abc")
    assert second.recv_bytes_into(buffer, 2) == 3
    assert buffer == b"\0\0abc\0\0\0\0\0"
    numbers = array.array("i", [0] * 4)
    first.send_bytes(array.array("i", [5, 6]))
    assert second.recv_bytes_into(numbers, numbers.itemsize) == 8
    assert list(numbers) == [0, 5, 6, 0]
    for offset, text in ((-1, "negative offset"), (11, "offset too large")):
        with pytest.raises(ValueError, match=text):
            second.recv_bytes_into(buffer, offset)


def test_buffer_too_short_has_the_message(ends: Ends) -> None:
    for message in (b"abcdef", b"x" * 5000):
        ends[0].send_bytes(message)
        with pytest.raises(BufferTooShort) as caught:
            ends[1].recv_bytes_into(bytearray(7), 2)
        assert caught.value.args == (message,)
    assert not ends[1].poll()


# ---- poll ----


def test_poll(ends: Ends) -> None:
    first, second = ends
    start = time.monotonic()
    assert second.poll() is False
    assert second.poll(-1) is False
    assert second.poll(0.05) is False
    assert 0.04 < time.monotonic() - start < 5
    first.send(1)
    assert second.poll() is second.poll(10) is second.poll(None) is True
    assert second.recv() == 1
    first.close()
    assert second.poll() is True  # the end of file
    assert second.poll(None) is True


def test_poll_sees_what_comes_meanwhile(ends: Ends) -> None:
    timer = threading.Timer(0.1, ends[0].send, ("late",))
    timer.start()
    assert ends[1].poll(20)
    timer.join()
    assert ends[1].recv() == "late"


def test_who_waits_for_long_seldom_looks(ends: Ends) -> None:
    """After 0.128 s, and then after two seconds more."""
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    assert ends[1].poll(1.1) is False
    assert resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before <= 5  # and 9, if every sleep were the first


# ---- closing ----


def test_a_closed_end(ends: Ends) -> None:
    end = ends[0]
    end.close()
    end.close()
    assert end.closed
    for call in (end.recv, end.poll, end.fileno, end.recv_bytes, lambda: end.send(1), lambda: end.send_bytes(b"")):
        with pytest.raises(OSError, match="handle is closed"):
            call()


def test_context_manager_and_del_close() -> None:
    first, second = Pipe()
    with first as same:
        assert same is first
    assert first.closed
    handle = second._handle
    del second
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handle)


def test_end_of_file_comes_after_the_last_message(ends: Ends) -> None:
    first, second = ends
    first.send(1)
    first.send_bytes(b"x" * 10_000)
    first.close()
    assert second.recv() == 1
    assert second.recv_bytes() == b"x" * 10_000
    for _ in range(2):
        with pytest.raises(EOFError):
            second.recv()
    with pytest.raises(EOFError):
        second.recv_bytes()


@pytest.mark.parametrize("duplex", [True, False])
def test_sending_to_nobody(duplex: bool) -> None:
    reader, writer = Pipe(duplex)
    with writer:
        writer.send(1)  # the kernel has just been asked
        reader.close()
        for _ in range(2):
            with pytest.raises(BrokenPipeError):
                writer.send(1)
        with pytest.raises(BrokenPipeError):
            writer.send_bytes(b"")


def test_closing_wakes_a_sender_that_waits(one_way: Ends) -> None:
    reader, writer = one_way
    timer = threading.Timer(0.2, reader.close)
    timer.start()
    start = time.monotonic()
    with pytest.raises(BrokenPipeError):
        count_up(writer, 1_000_000)
    assert time.monotonic() - start < 5
    timer.join()


def test_closing_an_end_under_its_own_reader(ends: Ends) -> None:
    caught: list[BaseException] = []

    def read() -> None:
        try:
            ends[1].recv()
        except OSError as error:
            caught.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.1)
    ends[1].close()
    thread.join(10)
    assert not thread.is_alive()
    assert len(caught) == 1


def test_handle_can_be_taken_away(ends: Ends) -> None:
    handle = ends[0]._handle
    ends[0]._handle = None
    assert ends[0].closed
    os.fstat(handle)
    os.close(handle)
    with pytest.raises(EOFError):
        ends[1].recv()


# ---- a full pipe ----


def test_a_full_pipe_blocks_until_there_is_room(one_way: Ends) -> None:
    reader, writer = one_way
    sent = []

    def fill() -> None:
        for i in range(2000):
            writer.send(i)
            sent.append(i)

    thread = threading.Thread(target=fill)
    thread.start()
    time.sleep(0.2)
    assert 0 < len(sent) < 2000
    assert [reader.recv() for _ in range(2000)] == list(range(2000))
    thread.join()


def test_bytes_under_way_are_bounded(one_way: Ends) -> None:
    reader, writer = one_way
    sent = []

    def fill() -> None:
        for i in range(40):
            writer.send_bytes(bytes(2 << 20))
            sent.append(i)

    thread = threading.Thread(target=fill)
    thread.start()
    time.sleep(0.3)
    assert 1 <= len(sent) <= 8  # 16 MiB
    for _ in range(40):
        assert len(reader.recv_bytes()) == 2 << 20
    thread.join()


def test_a_message_larger_than_the_bound_goes_alone(ends: Ends) -> None:
    sender = threading.Thread(target=ends[0].send_bytes, args=(bytes(40 << 20),), daemon=True)
    sender.start()
    assert ends[1].recv_bytes() == bytes(40 << 20)
    sender.join(30)


# ---- under every start method


def test_a_child_sends_back(ctx: Any) -> None:
    ours, theirs = ctx.Pipe()
    with ours, playing(ctx, parts.echo, theirs):
        theirs.close()
        assert not ours.poll(0)
        for size in parts.SIZES:
            ours.send({"size": [size, b"x" * size]})
            assert ours.recv() == {"size": [size, b"x" * size]}
            ours.send_bytes(b"y" * size)
            assert ours.poll(60)
            assert ours.recv_bytes() == b"y" * size
        ours.send(None)


def test_a_child_is_killed(ctx: Any) -> None:
    reader, writer = ctx.Pipe(duplex=False)
    with reader, playing(ctx, parts.say_and_stay, writer, 100, killed=True) as child:
        writer.close()
        assert reader.recv() == 0
        while reader.recv() != 99:
            pass
        assert not reader.poll(0.01)
        parts.kill(child)
        with pytest.raises(EOFError):
            reader.recv()


def test_a_child_that_reads_no_more(ctx: Any) -> None:
    ours, theirs = ctx.Pipe()
    with ours, playing(ctx, parts.say_and_stay, theirs, 1, killed=True) as child:
        theirs.close()
        assert ours.recv() == 0
        parts.kill(child)
        time.sleep(0.001)  # longer than the kernel's last word is believed
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            ours.send(1)
