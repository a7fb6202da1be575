"""A received array is a view on shared memory, and gives its block back when it dies."""

import gc
import os
import pickle
from typing import Any

import pytest

from fastmp import _core

np = pytest.importorskip("numpy")

ARRAY = np.arange(50_000)


@pytest.fixture
def queue() -> Any:
    queue = _core.Queue()
    queue._setup(100, False)
    return queue


def received(queue: Any, obj: object) -> Any:
    queue.put(obj)
    return queue.get(True, 10)


def block_under(array: Any) -> Any:
    """The object at the end of the chain of views."""
    while isinstance(array, np.ndarray):
        array = array.base
    return array.obj


def address(array: Any) -> int:
    return int(array.ctypes.data)


def test_a_received_array_is_a_writable_view_on_a_block(queue: Any) -> None:
    array = received(queue, ARRAY)
    assert type(block_under(array)) is _core.Block
    assert (array == ARRAY).all()
    assert address(array) % 64 == 0
    array[:] = 7
    assert (array == 7).all()


def test_a_read_only_array_stays_read_only(queue: Any) -> None:
    frozen = ARRAY.copy()
    frozen.flags.writeable = False
    assert not received(queue, frozen).flags.writeable


def test_small_and_plain_objects_hold_no_block(queue: Any) -> None:
    small = received(queue, np.arange(10))
    assert type(small.base) is not memoryview or type(block_under(small)) is not _core.Block
    assert received(queue, b"x" * 100_000) == b"x" * 100_000


def test_the_block_is_given_back_with_the_last_view(queue: Any) -> None:
    array = received(queue, ARRAY)
    first, part = address(array), array[100:200]
    del array
    while_held = [received(queue, ARRAY) for _ in range(5)]
    assert first not in map(address, while_held)
    assert (part == ARRAY[100:200]).all()
    del part
    afterwards = [received(queue, ARRAY) for _ in range(5)]
    assert first in map(address, afterwards)


def test_no_block_is_lost(queue: Any) -> None:
    places = {address(received(queue, ARRAY)) for _ in range(200)}
    assert len(places) < 5


def test_a_view_outlives_its_queue(queue: Any) -> None:
    own = _core.Queue()
    own._setup(1, False)
    array = received(own, ARRAY)
    del own
    gc.collect()
    others = [received(queue, ARRAY + 1) for _ in range(5)]
    assert (array == ARRAY).all()
    assert all((other == ARRAY + 1).all() for other in others)


def test_a_forked_child_keeps_what_its_parent_drops(queue: Any) -> None:
    array = received(queue, ARRAY)
    go, dropped = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(go, 1)
        os._exit(0 if (array == ARRAY).all() else 1)
    del array
    others = [received(queue, ARRAY + 1) for _ in range(5)]
    os.write(dropped, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(others) == 5
    os.close(go)
    os.close(dropped)


def test_a_block_is_neither_made_nor_sent(queue: Any) -> None:
    block = block_under(received(queue, ARRAY))
    assert len(block) == memoryview(block).nbytes > ARRAY.nbytes
    with pytest.raises(TypeError):
        _core.Block()
    with pytest.raises(TypeError):
        pickle.dumps(block)


def test_one_message_with_many_arrays_has_one_block(queue: Any) -> None:
    arrays = received(queue, [ARRAY, ARRAY + 1, {"k": ARRAY + 2}])
    blocks = {id(block_under(array)) for array in (arrays[0], arrays[1], arrays[2]["k"])}
    assert len(blocks) == 1
    assert (arrays[2]["k"] == ARRAY + 2).all()
