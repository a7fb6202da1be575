"""Large objects of messages come in huge pages, where the kernel makes them (csrc/wire/large.h)."""

import array
import mmap
import resource
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import fastmp

SIZE = 64 << 20  # beyond what malloc keeps: new memory each time
SMALL_PAGES = SIZE // 4096
FEW = 1024  # one huge page is missing at the ends, so up to 512 small ones; and what else happens

MESSAGES: dict[str, Callable[[], Any]] = {
    "bytes": lambda: bytes(SIZE),
    "ASCII": lambda: "a" * SIZE,
    "text": lambda: "\u0439" * (SIZE // 2),
    "bytearray": lambda: bytearray(SIZE),
    "part": lambda: ("name", bytes(SIZE)),
    "part of a pickle": lambda: ({"a", "set"}, bytes(SIZE)),
    "bytearray of a pickle": lambda: ({"a", "set"}, bytearray(SIZE)),
}


def faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def faults_of(call: Callable[[], Any]) -> tuple[int, Any]:
    before = faults()
    result = call()
    return faults() - before, result


def kernel_makes_huge_pages() -> bool:
    with mmap.mmap(-1, SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        try:
            memory.madvise(mmap.MADV_HUGEPAGE)
        except OSError:
            return False
        met, _ = faults_of(lambda: memory.write(bytes(SIZE)))
    return met < FEW + SMALL_PAGES  # of the bytes that are copied, each page is met as well


def check_few(met: int) -> None:
    if met >= FEW and not kernel_makes_huge_pages():  # asked last: it may have run out of them
        pytest.skip("the kernel makes no huge pages, or has none now")
    assert met < FEW


def put(queue: Any, kind: str) -> None:
    queue.put(MESSAGES[kind]())


@pytest.mark.parametrize("kind", MESSAGES)
def test_a_message_of_a_queue_meets_few_page_faults(kind: str) -> None:
    queue = fastmp.SimpleQueue()
    child = fastmp.Process(target=put, args=(queue, kind))
    child.start()
    child.join()
    met, message = faults_of(queue.get)
    assert message == MESSAGES[kind]()
    check_few(met)


def send_bytes(end: Any) -> None:
    end.send_bytes(bytes(SIZE))


def test_bytes_of_a_pipe_meet_few_page_faults() -> None:
    reader, writer = fastmp.Pipe(duplex=False)
    child = fastmp.Process(target=send_bytes, args=(writer,))
    child.start()
    assert reader.poll(60)
    met, message = faults_of(reader.recv_bytes)
    child.join()
    assert message == bytes(SIZE)
    check_few(met)


def test_a_result_of_a_pool_meets_few_page_faults() -> None:
    with fastmp.Pool(1) as pool:
        pool.apply(len, ("",))  # the worker is there
        met, message = faults_of(lambda: pool.apply(bytes, (SIZE,)))
    assert message == bytes(SIZE)
    check_few(met)


def test_memory_that_was_used_before_is_as_good() -> None:
    queue = fastmp.SimpleQueue()
    for size in (5 << 20, (5 << 20) + 12345, 3 << 20, 5 << 20):
        queue.put(b"x" * size)
        assert queue.get() == b"x" * size


def put_two(queue: Any, one: Any) -> None:
    queue.put(0)
    queue.put(one)


def send_two(end: Any, one: Any) -> None:
    end.send(bytes(10 << 20))
    end.send(one)


@pytest.mark.parametrize("way", ["queue", "pipe"])
@pytest.mark.parametrize("one", [bytearray(9 << 20), array.array("i", range(2500000))], ids=type)
def test_what_waits_to_be_sent_may_be_resized(one: Any, way: str) -> None:
    if way == "queue":
        queue = fastmp.Queue(1)
        send, end, take = put_two, queue, queue.get
    else:
        reader, writer = fastmp.Pipe(duplex=False)
        send, end, take = send_two, writer, reader.recv
    sender = threading.Thread(target=send, args=(end, one))
    before = one[:]
    sender.start()
    time.sleep(0.3)  # the second is waiting, but for a machine that is slow
    one.append(1)
    take()
    assert take()[: len(before)] == before
    sender.join()
