"""Pipes over rings whose descriptors other libraries hand on by number: nothing that is sent is lost."""

import multiprocessing.context
import os
import pickle
from multiprocessing import resource_sharer
from multiprocessing.popen_spawn_posix import Popen as StandardPopen

import pytest
from support import by_number
from support.programs import ROOT, output_of

import fastmp
from fastmp import connection
from fastmp._handed_on import RingFd
from fastmp.reduction import DupFd, ForkingPickler

INSTALLED = """
import multiprocessing
from multiprocessing import resource_sharer
from support import by_number
if __name__ == "__main__":
    by_number.converse(multiprocessing.get_context({method!r}), "multiprocessing")
    resource_sharer.stop()
    print("all there")
"""
OTHER_CONTEXT = """
import multiprocessing
from multiprocessing.context import BaseContext, DefaultContext, SpawnProcess
class Other(BaseContext):
    _name = "other"
    Process = SpawnProcess
def what(ends):
    ends[1].send(1)
    got = ends[0].recv(), ends[0]._is_ring(), ends[1]._is_ring()
    for end in ends: end.close()
    return got
multiprocessing.context._concrete_contexts["other"] = Other()
print(what(multiprocessing.get_context("other").Pipe()), what(multiprocessing.get_context("other").Pipe(False)))
print(what(multiprocessing.get_context("spawn").Pipe()), what(multiprocessing.Pipe()))
multiprocessing.set_start_method("other", force=True)
print(what(multiprocessing.Pipe()), what(DefaultContext(Other()).Pipe(duplex=True)))
"""


@pytest.fixture(autouse=True)
def no_sharer():
    yield
    resource_sharer.stop()  # its thread gives out descriptors


@pytest.fixture
def used(ends):
    ends[0].send("before")
    assert ends[1].recv() == "before"
    return ends


def passed_on(number):
    """Through pickle, in this process."""
    return pickle.loads(ForkingPickler.dumps(number))


def test_to_children_and_through_queues(ctx):
    by_number.converse(ctx, "fastmp")


def test_under_install(method):
    env = {"FASTMP_INSTALL": "1", "PYTHONPATH": str(ROOT / "tests")}
    assert output_of(INSTALLED.format(method=method), env) == ["all there"]


def test_a_wrapped_number_is_the_descriptor(used):
    number = DupFd(used[0].fileno())
    assert isinstance(number, RingFd)
    assert number.detach() == used[0].fileno()


def test_one_direction_stays_one(one_way):
    reader, writer = one_way
    writer.send(1)
    copy = connection.Connection(passed_on(DupFd(writer.fileno())).detach())  # as if it were both
    with copy:
        assert (copy.readable, copy.writable, copy._is_ring()) == (False, True, True)
        copy.send(2)
    assert [reader.recv(), reader.recv()] == [1, 2]


def test_an_undecided_pipe_is_handed_on_by_its_descriptor(ends):
    assert not isinstance(DupFd(ends[0].fileno()), RingFd)


def test_a_closed_end_is_remembered_no_more(used):
    fd = used[0].fileno()
    with open(os.devnull) as other:
        used[0].close()
        os.dup2(other.fileno(), fd)
        number = DupFd(fd)
        os.close(fd)
    assert not isinstance(number, RingFd)


def test_a_number_that_was_closed_and_is_another_file(used):
    """What has arrived, and was closed by its number, is not found by who has the number later."""
    fd = passed_on(DupFd(used[0].fileno())).detach()
    reader, writer = os.pipe()
    os.dup2(reader, fd)
    with connection.Connection(fd, writable=False) as other, connection.Connection(writer, readable=False) as sender:
        os.close(reader)
        assert not other._is_ring()
        sender.send("by the descriptor")
        assert other.recv() == "by the descriptor"


def test_taking_over_what_is_no_ring(used):
    for other in (1, connection.Connection.__new__(connection.Connection), used[1]):
        with pytest.raises(ValueError, match="not an end of a pipe over rings"):
            used[0]._take_over(other)


@pytest.mark.parametrize("library", ["fastmp", "multiprocessing"])
def test_another_librarys_child_gets_an_error(used, library):
    """Not a descriptor into which messages vanish."""
    popen = StandardPopen.__new__(StandardPopen)
    popen._fds = []
    multiprocessing.context.set_spawning_popen(popen)
    try:
        with pytest.raises(RuntimeError, match=r"popen_spawn_posix.Popen would hand on only the descriptor of a pipe"):
            pickle.dumps(by_number.ByNumber(library, used[0]))
    finally:
        multiprocessing.context.set_spawning_popen(None)
    used[0].send("goes on")
    assert used[1].recv() == "goes on"


def test_contexts_of_other_start_methods_have_pipes_of_descriptors():
    standard, ring = "(1, False, False)", "(1, True, True)"
    expected = [f"{standard} {standard}", f"{ring} {ring}", f"{standard} {standard}"]
    assert output_of(OTHER_CONTEXT, {"FASTMP_INSTALL": "1"}) == expected


def test_fastmps_default_context_with_another_start_method():
    class Other(fastmp.context.BaseContext):
        _name = "other"

    for end in Other().Pipe():
        with end:
            assert not end._is_ring()
