"""Pipe between processes: the end of file, kills in the middle, Ctrl-C, limits."""

import errno
import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from support.forked import forked
from support.pipes import Ends, count_up, echo, received, stream

from fastmp import Process
from fastmp.connection import Connection, Pipe, wait

# ---- several processes ----


def test_a_child_sends(one_way: Ends) -> None:
    reader, writer = one_way
    with forked(count_up, writer, 5000) as child:
        writer.close()
        assert [reader.recv() for _ in range(5000)] == list(range(5000))
        with pytest.raises(EOFError):
            reader.recv()
        assert child.wait() == 0


def test_a_child_answers(ends: Ends) -> None:
    first, second = ends
    with forked(echo, second, first) as child:
        second.close()
        for message in [*range(2000), "x" * 1000, b"y" * 200_000]:
            first.send(message)
            assert first.recv() == message
        first.close()
        assert child.wait() == 0


def test_end_of_file_needs_every_copy_closed(one_way: Ends) -> None:
    reader, writer = one_way
    go, going = Pipe(duplex=False)

    def hold() -> None:
        going.close()
        with pytest.raises(EOFError):
            go.recv()

    with go, going, forked(hold) as child:
        go.close()
        writer.close()
        assert not reader.poll(0.1)
        going.close()
        assert reader.poll(20)
        with pytest.raises(EOFError):
            reader.recv()
        assert child.wait() == 0


def test_end_of_file_after_a_kill_with_messages_still_there(one_way: Ends) -> None:
    reader, writer = one_way

    def send_and_die() -> None:
        reader.close()
        writer.send(1)
        writer.send("x" * 100_000)
        os.kill(os.getpid(), signal.SIGKILL)

    with forked(send_and_die) as child:
        writer.close()
        assert child.wait() == -signal.SIGKILL
        assert reader.recv() == 1
        assert reader.recv() == "x" * 100_000
        with pytest.raises(EOFError):
            reader.recv()


def test_a_killed_reader_breaks_the_pipe(ends: Ends) -> None:
    first, second = ends
    with forked(echo, second, first) as child:
        second.close()
        first.send(1)
        assert first.recv() == 1
        child.kill()
        child.wait()
        with pytest.raises(BrokenPipeError):
            first.send(2)
        with pytest.raises(EOFError):
            first.recv()


def test_a_sender_that_waits_for_room_learns_that_its_reader_was_killed(one_way: Ends) -> None:
    reader, writer = one_way
    with forked(time.sleep, 60) as child:
        reader.close()
        timer = threading.Timer(0.2, child.kill)
        timer.start()
        with pytest.raises(BrokenPipeError):
            count_up(writer, 1_000_000)
        timer.join()


@pytest.mark.parametrize("delay", [0.0, 0.003, 0.01, 0.02, 0.05])
def test_killing_the_sender_in_the_middle_of_a_stream(delay: float) -> None:
    reader, writer = Pipe()
    with reader, forked(stream, writer) as child:
        writer.close()
        timer = threading.Timer(delay, child.kill)
        timer.start()
        for expected, (number, data) in enumerate(received(reader)):
            assert (number, len(data)) == (expected, number % 300)
        timer.join()


def drain(reader: Connection, writer: Connection) -> None:
    writer.close()
    while True:
        reader.recv()


@pytest.mark.parametrize("delay", [0.0, 0.003, 0.01, 0.02, 0.05])
def test_killing_the_reader_in_the_middle_of_a_stream(delay: float) -> None:
    reader, writer = Pipe()
    with writer, forked(drain, reader, writer) as child:
        reader.close()
        timer = threading.Timer(delay, child.kill)
        timer.start()
        with pytest.raises(BrokenPipeError):
            stream(writer)
        timer.join()


@pytest.mark.parametrize("delay", [0.002, 0.005, 0.02])
def test_killing_one_of_two_senders(delay: float) -> None:
    """What the other one sends still arrives, all of it, and then the end of file."""
    reader, writer = Pipe(duplex=False)
    with reader, forked(stream, writer) as victim, forked(count_up, writer, 3000) as other:
        writer.close()
        timer = threading.Timer(delay, victim.kill)
        timer.start()
        numbers = [got for got in received(reader) if isinstance(got, int)]
        assert numbers == list(range(3000))
        assert other.wait() == 0
        timer.join()


def test_two_readers_share_an_end(one_way: Ends) -> None:
    reader, writer = one_way
    back, results = Pipe(duplex=False)

    def collect() -> None:
        writer.close()
        back.close()
        results.send(list(received(reader)))

    with back, results, forked(collect) as one, forked(collect) as two:
        results.close()
        reader.close()
        count_up(writer, 4000)
        writer.close()
        assert sorted(back.recv() + back.recv()) == list(range(4000))
        assert one.wait() == two.wait() == 0


def test_threads_may_send_on_one_end(ends: Ends) -> None:
    threads = [threading.Thread(target=count_up, args=(ends[0], 2000)) for _ in range(3)]
    for thread in threads:
        thread.start()
    got = [ends[1].recv() for _ in range(6000)]
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted(list(range(2000)) * 3)


# ---- what is left in shared memory ----


def region_bytes() -> int:
    """Memory behind the region of this process."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if "memfd:fastmp" in os.readlink(f"/proc/self/fd/{name}"):
                return os.stat(f"/proc/self/fd/{name}").st_blocks * 512
    return 0


def send_until_killed(writer: Connection, reader: Connection) -> None:
    reader.close()
    while True:
        writer.send_bytes(bytes(1 << 20))


@pytest.mark.parametrize("close_first", [True, False])
def test_messages_that_were_never_received_are_given_back(close_first: bool) -> None:
    """Whether the sender was killed or the pipe closed first."""
    used = []
    for _ in range(8):
        reader, writer = Pipe()
        process = Process(target=send_until_killed, args=(writer, reader))
        process.start()
        writer.close()
        reader.recv_bytes()
        process.kill()
        if close_first:
            reader.close()
        process.join()
        reader.close()
        used.append(region_bytes())
    assert used[-1] <= used[1] + (24 << 20)  # the bound of one pipe, and a message in each hand


# ---- signals and limits ----


@pytest.mark.parametrize("wait_for", [Connection.recv, lambda end: end.poll(None), lambda end: wait([end])])
def test_ctrl_c_ends_a_wait(ends: Ends, wait_for: Callable[[Connection], object]) -> None:
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        wait_for(ends[1])
    assert time.monotonic() - start < 5
    timer.join()
    ends[0].send("still fine")
    assert ends[1].recv() == "still fine"


def test_ctrl_c_ends_a_send_that_waits_for_room(one_way: Ends) -> None:
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        count_up(one_way[1], 100_000)
    timer.join()


def test_signal_handlers_run_and_the_wait_goes_on(ends: Ends) -> None:
    calls: list[int] = []

    def interrupt_twice() -> None:
        for number in (1, 2):
            os.kill(os.getpid(), signal.SIGUSR1)
            for _ in range(3000):  # a second one that came before the first has run would be lost in it
                if len(calls) == number:
                    break
                time.sleep(0.01)
        ends[0].send("done")

    before = signal.signal(signal.SIGUSR1, lambda number, _frame: calls.append(number))
    try:
        timer = threading.Timer(0.05, interrupt_twice)
        timer.start()
        assert ends[1].recv() == "done"
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert calls == [signal.SIGUSR1] * 2


def test_a_thousand_pipes() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    try:
        pipes = [Pipe() for _ in range(1000)]
        for i, (first, _) in enumerate(pipes):
            first.send(i)
        assert [second.recv() for _, second in pipes] == list(range(1000))
        assert wait([second for _, second in pipes], 0) == []
        for first, second in pipes:
            first.close()
            second.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_no_descriptors_left() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    Pipe()  # the region has its descriptor
    used = len(os.listdir("/proc/self/fd"))
    pipes: list[Ends] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 10, hard))
    try:
        with pytest.raises(OSError, match="Too many open files") as caught:
            pipes.extend(Pipe() for _ in range(100))
        assert caught.value.errno == errno.EMFILE
        pipes[0][0].send("works")
        assert pipes[0][1].recv() == "works"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for first, second in pipes:
            first.close()
            second.close()
