"""Arrays of shared_array by reference: every view, through every channel, under every start method; and their end."""

import copy
import gc
import os
import pickle
import signal
import sys
from functools import partial
from typing import Any

import numpy
import pytest
from support import arrays
from support.processes import eventually
from support.programs import home, python

import fastmp
from fastmp import Array, RawArray, _core, shared_array
from fastmp.reduction import ForkingPickler

pytestmark = pytest.mark.usefixtures("region")

VIEWS = {
    "all": lambda a: a,
    "rows": lambda a: a[2:4],
    "item": lambda a: a[1, 2:3],
    "scalar": lambda a: a[1, 2:3].reshape(()),
    "back": lambda a: a[::-1, ::-2],
    "transposed": lambda a: a.T,
    "flat": lambda a: a.reshape(-1)[7::3],
    "repeated": lambda a: numpy.broadcast_to(a[0], (5, 6)),
    "windows": lambda a: numpy.lib.stride_tricks.sliding_window_view(a, (2, 3)),
    "axis": lambda a: a[..., None],
    "bytes": lambda a: a.view("u1"),
    "integers": lambda a: a.view(">i8"),
    "fields": lambda a: a.view([("x", "f8"), ("y", "f8")])["y"],
    "through a memoryview": lambda a: numpy.asarray(memoryview(a))[1:],
}


@pytest.fixture(autouse=True)
def nothing_stays() -> Any:
    before = _core.heap_stats()["shared"]
    yield
    if _core.heap_stats()["shared"] > before:
        gc.collect()
        eventually(lambda: _core.heap_stats()["shared"] <= before)


def grid() -> Any:
    array = shared_array((5, 6))
    array[:] = numpy.arange(30).reshape(5, 6)
    return array


def through_queue(obj: Any) -> Any:
    queue = fastmp.SimpleQueue()
    queue.put(obj)
    return queue.get()


def through_pickle(obj: Any) -> Any:
    return pickle.loads(ForkingPickler.dumps(obj))


@pytest.mark.parametrize("send", [through_queue, through_pickle])
@pytest.mark.parametrize("view", VIEWS)
def test_view_is_the_same_memory(view: str, send: Any) -> None:
    array = grid()
    sent = VIEWS[view](array)
    got = send(sent)
    assert type(got) is numpy.ndarray
    assert (got.shape, got.strides, got.dtype, got.flags.writeable) == (
        *(sent.shape, sent.strides, sent.dtype, sent.flags.writeable),
    )
    assert got.tolist() == sent.tolist()
    array *= 2
    assert got.tolist() == sent.tolist()


def test_views_in_one_message_share() -> None:
    array = grid()
    first, second = through_queue((array[0], [array]))
    first[0] = -1
    assert second[0][0, 0] == array[0, 0] == -1


def test_what_is_read_only_stays_so() -> None:
    array = grid()
    array.flags.writeable = False
    assert not through_queue(array).flags.writeable


def test_size_of_a_message_is_not_that_of_the_array() -> None:
    array = shared_array(1 << 20)
    data = ForkingPickler.dumps(array)
    assert len(data) < 1000
    assert pickle.loads(data).nbytes == 1 << 23  # or what it refers to stays lent
    queue = fastmp.SimpleQueue()
    before = _core.heap_stats()["bytes_in_use"]
    queue.put(array)
    assert _core.heap_stats()["bytes_in_use"] < before + 10_000
    assert queue.get().nbytes == 1 << 23


@pytest.mark.parametrize(
    "cut", [lambda v: v, lambda v: v[1:3], lambda v: v[::-2], lambda v: v[:0], lambda v: v.cast("B")]
)
def test_memoryviews(cut: Any) -> None:
    for whole in (shared_array(6, "i4"), RawArray("i", 6), Array("h", 6)):
        view = cut(memoryview(whole).cast("B").cast("h"))
        got = through_queue(view)
        assert (got.format, got.shape, got.tolist()) == (view.format, view.shape, view.tolist())
        for index in range(len(view)):
            view[index] = index + 1
        assert got.tolist() == view.tolist()
    assert through_queue(memoryview(whole).toreadonly()).readonly


def test_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    array = shared_array((2, 3), "q")
    got = through_queue(array)
    got[1, 2] = 5
    assert array.tolist() == [[0, 0, 0], [0, 0, 5]]


@pytest.mark.parametrize("obj", [b"abc", bytearray(3), numpy.arange(5.0), shared_array((4, 4))[:, 1:]])
def test_memoryviews_that_do_not_travel(obj: Any) -> None:
    with pytest.raises(TypeError, match=r"cannot pickle '?memoryview'? object"):
        through_pickle(memoryview(obj))


@pytest.mark.parametrize("send", [through_queue, through_pickle])
def test_other_arrays_are_copied(send: Any) -> None:
    array, raw = grid(), RawArray("d", 4)
    for other in (array.copy(), numpy.frombuffer(raw), array.astype(object), array[:0], numpy.ones((300, 300))[:, 5:]):
        got = send(other)
        assert got.tolist() == other.tolist()
        assert not numpy.shares_memory(got, other)
        if got.size:
            got.flat[0] = 7
            assert other.flat[0] != 7


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy, lambda obj: pickle.loads(pickle.dumps(obj))])
def test_a_copy_is_a_copy(copier: Any) -> None:
    array = grid()
    copied = copier(array)
    copied[0, 0] = -1
    assert array[0, 0] == 0


def test_somebody_s_reducer_wins() -> None:
    array, known = grid(), ForkingPickler._extra_reducers[numpy.ndarray]
    ForkingPickler.register(numpy.ndarray, lambda array: (str, (array.shape,)))
    try:
        assert through_queue(array) == "(5, 6)"
    finally:
        ForkingPickler.register(numpy.ndarray, known)
    assert through_queue(array).shape == (5, 6)


# ---- to other processes


def end(process: Any) -> None:
    process.join(30)
    assert process.exitcode == 0


def test_to_a_child_and_back(ctx: Any) -> None:
    array = grid()
    process = ctx.Process(target=arrays.add_one, args=(array[1],))
    process.start()
    end(process)
    assert array[1].tolist() == [7, 8, 9, 10, 11, 12]
    there, back = ctx.Queue(), ctx.SimpleQueue()
    ours, theirs = ctx.Pipe()
    for take, give, send, receive in (
        (there.get, back.put, there.put, back.get),
        (theirs.recv, theirs.send, ours.send, ours.recv),
    ):
        process = ctx.Process(target=arrays.pass_on, args=(take, give, 2))
        process.start()
        for row in (2, 3):
            send(array[row])
            got = receive()
            assert numpy.shares_memory(got, got[1:])
            got[0] = -1
            assert array[row, 1] == -1
            assert array[row, 2] == row * 6 + 3
            array[row] = range(row * 6, row * 6 + 6)
        end(process)


def test_through_pools(ctx: Any) -> None:
    array = grid()
    with ctx.Pool(2) as pool:
        got = pool.map(arrays.add_one_and_return, [array[row] for row in range(5)], chunksize=2)
        assert array.sum() == sum(range(30)) + 30
        assert pool.apply(partial(arrays.add_one_and_return, array[0])).tolist() == [7, 6, 5, 4, 3, 2]
        made = pool.apply(arrays.make, (100,))
        assert pool.apply(arrays.add_one_and_return, (made[5:],)).tolist() == made[:4:-1].tolist()
    got[2][:] = 0  # the workers are gone
    assert array[2].sum() == 0
    assert made.tolist() == [1, 2, 3, 4, 5, *range(7, 101)]


def test_through_executors(ctx: Any) -> None:
    array = grid()
    with fastmp.ProcessPoolExecutor(1, mp_context=ctx) as executor:
        future = executor.submit(arrays.add_one_and_return, array)
        future.result()[0, 0] = -1
        made = list(executor.map(arrays.make, [4, 5]))
    assert array[4, 0] == -1
    assert [each.tolist() for each in made] == [[1, 2, 3], [1, 2, 3, 4]]


# ---- their end


def test_lives_in_a_message_and_in_the_last_view() -> None:
    queue = fastmp.Queue()
    before = _core.heap_stats()["bytes_in_use"]
    queue.put(shared_array(1 << 17)[5:])
    gc.collect()
    assert _core.heap_stats()["bytes_in_use"] > before + (1 << 19)
    view = queue.get()[:3]
    assert _core.heap_stats()["bytes_in_use"] > before + (1 << 19)
    assert view.tolist() == [0, 0, 0]
    del view
    gc.collect()
    assert _core.heap_stats()["bytes_in_use"] < before + (1 << 19)


def test_a_killed_child_s_views_are_dropped(ctx: Any) -> None:
    there, back = ctx.SimpleQueue(), ctx.SimpleQueue()
    process = ctx.Process(target=arrays.keep, args=(there.get, back.put))
    process.start()
    array = shared_array(1 << 17)
    array[:] = 3
    before = _core.heap_stats()["bytes_in_use"] - (1 << 20)
    there.put(array)
    assert back.get() == 3.0
    del array
    gc.collect()
    assert _core.heap_stats()["bytes_in_use"] >= before + (1 << 19)  # the child's
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    eventually(lambda: _core.heap_stats()["bytes_in_use"] < before + (1 << 19))


PROGRAM = """
import subprocess, sys
from multiprocessing.connection import Client, Listener
import numpy
import fastmp
from fastmp.reduction import ForkingPickler

def through_queue(obj):
    queue = fastmp.SimpleQueue()
    queue.put(obj)
    return queue.get()

if len(sys.argv) > 1:  # a program of its own, with a region of its own
    array = fastmp.shared_array(4)
    array[:] = 5
    with Client(sys.argv[1], authkey=b"key") as client:
        client.send_bytes(ForkingPickler.dumps(array[1:]))
        assert client.recv() == "changed"
    assert array.tolist() == [5, 9, 5, 5], array
else:
    mine = fastmp.shared_array(2)
    with Listener(family="AF_UNIX", authkey=b"key") as listener:
        other = subprocess.Popen([sys.executable, __file__, listener.address])
        with listener.accept() as connection:
            got = ForkingPickler.loads(connection.recv_bytes())
            again, here = through_queue((got, mine))  # a message that refers to two regions
            again[0] = 9
            assert got.tolist() == [9, 5, 5], got
            here[0] = 1
            assert mine.tolist() == [1, 0]
            connection.send("changed")
    assert other.wait(30) == 0
    assert got.tolist() == [9, 5, 5]  # its maker has ended
    labs = __import__("ctypes").CDLL(None).labs
    labs.argtypes, labs.restype = [__import__("ctypes").c_long], __import__("ctypes").c_long
    with fastmp.Pool(1) as pool:
        print(pool.map_native(labs, got.view("i8")).view("f8").tolist())  # copied into this program's region
        try:
            pool.map_native(labs, mine.view("i8")[:1], out=got.view("i8")[:1])
        except TypeError as error:
            print(error)
"""


OUTPUT = """\
[9.0, 5.0, 5.0]
out is in the shared memory of another program, which the workers have not
"""


def test_between_programs_with_regions_of_their_own(tmp_path: Any) -> None:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    result = python(path, env={"PYTHONPATH": str(home())})
    assert (result.stdout, result.stderr, result.returncode) == (OUTPUT, "", 0)
