"""Barrier: the standard library's behaviour, across processes and threads, and what deaths do."""

import os
import signal
import threading

import pytest
from support.processes import child, eventually, interrupted_after, killed_after, takes, thread

import fastmp
from fastmp import synchronize

CONTEXT = fastmp.get_context("fork")
REGION = CONTEXT.Event()  # whatever comes first makes the region, which stays open as long as the process lives


def party(barrier, outcomes, **options):
    """A process that waits at the barrier; an outcome per result: its index, or 100 for a broken barrier."""

    def wait():
        try:
            outcomes.put(barrier.wait(**options))
        except threading.BrokenBarrierError:
            outcomes.put(100)

    return child(wait)


class Outcomes:
    """Small numbers from children, by a pipe."""

    def __init__(self):
        self.read_end, self.write_end = os.pipe()

    def put(self, number):
        os.write(self.write_end, bytes([number]))

    def take(self, count):
        got = b""
        while len(got) < count:
            got += os.read(self.read_end, count - len(got))
        return sorted(got)


@pytest.fixture
def outcomes():
    made = Outcomes()
    yield made
    os.close(made.read_end)
    os.close(made.write_end)


def test_barrier_is_a_barrier():
    barrier = CONTEXT.Barrier(1)
    assert isinstance(barrier, threading.Barrier)
    assert (barrier.parties, barrier.n_waiting, barrier.broken) == (1, 0, False)
    assert barrier.wait() == 0
    assert barrier.wait(0) == 0
    assert repr(barrier) == f"<fastmp.synchronize.Barrier at {id(barrier):#x}: waiters=0/1>"
    barrier.abort()
    assert repr(barrier) == f"<fastmp.synchronize.Barrier at {id(barrier):#x}: broken>"


@pytest.mark.parametrize("parties", [0, -1, 2**30])
def test_barrier_parties(parties):
    with pytest.raises(ValueError, match="parties must be"):
        CONTEXT.Barrier(parties)


def test_barrier_wrong_arguments():
    for make in (lambda: CONTEXT.Barrier("x"), lambda: CONTEXT.Barrier(), lambda: synchronize.Barrier(2)):
        with pytest.raises(TypeError):
            make()
    with pytest.raises(TypeError):
        CONTEXT.Barrier(1).wait("x")


def test_barrier_rounds(outcomes):
    barrier = CONTEXT.Barrier(3)
    for _ in range(5):
        with party(barrier, outcomes), party(barrier, outcomes), thread(lambda: outcomes.put(barrier.wait())):
            assert outcomes.take(3) == [0, 1, 2]
    assert barrier.n_waiting == 0


def test_barrier_action(outcomes):
    barrier = CONTEXT.Barrier(2, action=lambda: outcomes.put(50))
    with party(barrier, outcomes), party(barrier, outcomes):
        assert outcomes.take(3) == [0, 1, 50]
    assert barrier._action is not None


def test_barrier_action_that_fails(outcomes):
    barrier = CONTEXT.Barrier(2, lambda: {}["x"])
    with party(barrier, outcomes):
        eventually(lambda: barrier.n_waiting == 1)
        with pytest.raises(KeyError):
            barrier.wait()
        assert outcomes.take(1) == [100]
    assert barrier.broken


def test_barrier_timeouts(outcomes):
    barrier = CONTEXT.Barrier(3)
    with party(barrier, outcomes):
        eventually(lambda: barrier.n_waiting == 1)
        with takes(0.05), pytest.raises(threading.BrokenBarrierError):
            barrier.wait(timeout=0.05)
        assert outcomes.take(1) == [100]
    assert barrier.broken
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait()
    with takes(0.05), pytest.raises(threading.BrokenBarrierError):
        CONTEXT.Barrier(2, timeout=0.05).wait()
    with pytest.raises(threading.BrokenBarrierError):
        CONTEXT.Barrier(2).wait(0)


@pytest.mark.parametrize("reset", [False, True])
def test_barrier_abort_and_reset(outcomes, reset):
    barrier = CONTEXT.Barrier(3)
    with party(barrier, outcomes), party(barrier, outcomes):
        eventually(lambda: barrier.n_waiting == 2)
        barrier.reset() if reset else barrier.abort()
        assert outcomes.take(2) == [100, 100]
    assert barrier.broken is not reset
    barrier.reset()
    assert not barrier.broken
    with party(barrier, outcomes), party(barrier, outcomes):
        barrier.wait(10)
    assert len(outcomes.take(2)) == 2


def test_ctrl_c_ends_a_barrier_wait(outcomes):
    barrier = CONTEXT.Barrier(2)
    with takes(0.1, 5), pytest.raises(KeyboardInterrupt), interrupted_after(0.1):
        barrier.wait()
    assert (barrier.n_waiting, barrier.broken) == (0, False)
    with party(barrier, outcomes):
        barrier.wait(10)
        assert len(outcomes.take(1)) == 1


def test_a_killed_party_wedges_nobody(outcomes):
    barrier = CONTEXT.Barrier(2)
    process = fastmp.Process(target=barrier.wait)
    process.start()
    eventually(lambda: barrier.n_waiting == 1)
    process.kill()
    process.join()
    process.close()
    barrier.reset()
    assert barrier.n_waiting == 0
    with party(barrier, outcomes):
        barrier.wait(10)
        assert len(outcomes.take(1)) == 1


def test_a_party_killed_in_its_action_breaks_the_barrier(outcomes):
    barrier = CONTEXT.Barrier(2, lambda: os.kill(os.getpid(), signal.SIGKILL))
    with party(barrier, outcomes):
        eventually(lambda: barrier.n_waiting == 1)
        killed_after(barrier.wait)
        assert outcomes.take(1) == [100]
    assert barrier.broken
