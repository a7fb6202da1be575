"""Run by tests as `limited.py METHOD BYTES`: a program that may map so many bytes, and so may its children.

With the method `none` it has next to nothing left beyond what it has mapped, and no region.
"""

import mmap
import resource
import sys
from pathlib import Path
from typing import Any

import fastmp

LARGE = 64 << 20
#: Less than the smallest region.
TOO_LITTLE = 8 << 20


def answer(inbox: Any, outbox: Any) -> None:
    """Send back what comes."""
    outbox.put(inbox.get())


def make(byte: int) -> bytes:
    """A large result."""
    return bytes([byte]) * LARGE


def use_all(context: Any) -> None:
    """A queue, a pool and an array, with large contents."""
    inbox, outbox = context.Queue(), context.Queue()
    child = context.Process(target=answer, args=(inbox, outbox))
    child.start()
    inbox.put(bytearray(LARGE))
    assert outbox.get() == bytes(LARGE)
    child.join()
    assert child.exitcode == 0
    with context.Pool(2) as pool:
        for byte, made in enumerate(pool.imap(make, range(2))):
            assert made[0] == made[-1] == byte
            assert len(made) == LARGE
    array = context.Array("d", LARGE // 8)
    array[-1] = 1.5
    assert array[-1] == 1.5


def find_no_room() -> None:
    """What needs a region says that there is no room for one, and goes on when there is."""
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + TOO_LITTLE, before[1]))
    for kind in (fastmp.Queue, fastmp.Lock, fastmp.Pool):
        try:
            kind()
        except (MemoryError, OSError) as error:
            print(kind.__name__, repr(error))
        else:
            raise AssertionError(f"{kind.__name__} found room")
    resource.setrlimit(resource.RLIMIT_AS, before)
    use_all(fastmp.get_context("fork"))


def main(method: str, limit: int) -> None:
    """Set the limit and use what there is."""
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    if method == "none":
        find_no_room()
        return
    use_all(fastmp.get_context(method))
    mmap.mmap(-1, limit * 2 // 5, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()  # most of the program's half


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
