"""Condition and Event: the standard library's behaviour, across processes and threads, and what deaths do."""

import multiprocessing.synchronize
import os
import platform
import signal
import sys
import threading
import time
import weakref
from contextlib import contextmanager

import pytest
from support.processes import child, eventually, in_child, interrupted_after, killed_after, takes, thread
from support.programs import output_of

import fastmp
from fastmp import synchronize

CONTEXT = fastmp.get_context("fork")
STANDARD = multiprocessing.get_context("fork")
REGION = CONTEXT.Event()  # whatever comes first makes the region, which stays open as long as the process lives


@pytest.mark.parametrize("make", [CONTEXT.Condition, CONTEXT.Event, lambda: CONTEXT.Barrier(2)])
def test_weak_references(make):
    shared = make()
    assert weakref.ref(shared)() is shared


@pytest.mark.parametrize("name", ["Condition", "Event"])
def test_the_context_is_asked_for_by_name(name):
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'ctx'"):
        getattr(synchronize, name)()
    with pytest.raises(TypeError):
        getattr(synchronize, name)(1, 2, ctx=CONTEXT)


# ---- Condition ----


@pytest.fixture(params=["own", "Lock", "RLock", "standard"])
def condition(request):
    """A condition on each kind of lock."""
    if request.param == "own":
        return CONTEXT.Condition()
    source = STANDARD if request.param == "standard" else CONTEXT
    return CONTEXT.Condition(getattr(source, request.param.replace("standard", "RLock"))())


def waiting_child(condition, woken, timeout=20):
    """A process that waits once, and tells when it was notified."""

    def wait():
        with condition:
            if condition.wait(timeout):
                woken.release()

    return child(wait)


def test_condition_is_its_lock(condition):
    assert condition.acquire() is True
    assert condition.release() is None
    assert condition.acquire(block=True, timeout=1) is True
    condition.release()
    with condition as entered:
        assert entered is True
        in_child(lambda: os._exit(condition.acquire(False)))
    assert condition._lock.acquire(False)
    condition._lock.release()


def test_condition_needs_its_lock(condition):
    with pytest.raises(AssertionError, match=r"^must acquire\(\) condition before using wait\(\)$"):
        condition.wait(0)
    with pytest.raises(AssertionError, match=r"^lock is not owned$"):
        condition.notify()
    with pytest.raises(AssertionError, match=r"^lock is not owned$"):
        condition.notify_all()
    with held_by_a_thread(condition), pytest.raises(AssertionError):
        condition.notify()


@contextmanager
def held_by_a_thread(lock):
    """Another thread holds the lock during the block."""
    held, done = threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            done.wait(20)

    with thread(hold):
        assert held.wait(20)
        yield
        done.set()


def test_condition_refuses_what_is_no_lock():
    with pytest.raises(AttributeError):
        CONTEXT.Condition(CONTEXT.Event())
    with pytest.raises(TypeError):
        CONTEXT.Condition(1, 2)


@pytest.mark.parametrize("timeout", [0, -1, 0.05, 0.2])
def test_condition_timeout(condition, timeout):
    with condition:
        with takes(max(timeout, 0)):
            assert condition.wait(timeout) is False
        condition.notify()  # for nobody: not kept
        assert condition.wait(timeout=0.01) is False
        assert condition._lock._semlock._is_mine()


def test_condition_wrong_arguments(condition):
    with condition:
        for call in (
            lambda: condition.wait("x"),
            lambda: condition.wait(1, 2),
            lambda: condition.notify("x"),
            lambda: condition.notify(1.5),
            lambda: condition.wait_for(),
            lambda: condition.wait_for(bool, "x"),
            lambda: condition.wait_for(1),
        ):
            with pytest.raises(TypeError):
                call()
        assert condition._lock._semlock._is_mine()


def test_notify_wakes_exactly_so_many(condition):
    woken = CONTEXT.Semaphore(0)
    with waiting_child(condition, woken), waiting_child(condition, woken), waiting_child(condition, woken):
        eventually(lambda: condition._waiting() == 3)
        assert condition._sleeping_count.get_value() == 3
        with condition:
            condition.notify()
            assert condition._waiting() == 2
            assert (condition._sleeping_count.get_value(), condition._woken_count.get_value()) == (3, 1)
            assert condition._wait_semaphore.get_value() == 0
        assert woken.acquire(timeout=10)
        assert not woken.acquire(timeout=0.03)
        with condition:
            condition.notify(0)
            condition.notify(-3)
            condition.notify(n=2)
        assert woken.acquire(timeout=10)
        assert woken.acquire(timeout=10)
    assert condition._sleeping_count.get_value() - condition._woken_count.get_value() == 0


@pytest.mark.parametrize(
    "wake", [lambda it: it.notify_all(), lambda it: it.notify(sys.maxsize), lambda it: it.notify(2**80)]
)
def test_notify_all(wake):
    condition, woken = CONTEXT.Condition(), CONTEXT.Semaphore(0)
    with waiting_child(condition, woken), waiting_child(condition, woken), thread(wait_in_thread, condition, woken):
        eventually(lambda: condition._waiting() == 3)
        with condition:
            wake(condition)
    assert woken.get_value() == 3


def wait_in_thread(condition, woken):
    with condition:
        if condition.wait(20):
            woken.release()


def test_wait_lets_go_of_a_recursive_lock_and_takes_it_as_often():
    condition = CONTEXT.Condition()
    with condition, condition, condition:
        with waiting_child(condition, CONTEXT.Semaphore(0), 0.01):
            assert condition.wait(0.5) is False
        assert condition._lock._count() == 3
    assert condition._lock._get_value() == 1


def test_wait_for():
    condition, told = CONTEXT.Condition(), CONTEXT.Semaphore(0)

    def tell():
        for _ in range(3):
            with condition:
                told.release()
                condition.notify()
            time.sleep(0.005)

    with child(tell), condition:
        assert condition.wait_for(lambda: told.get_value() == 3 and "all") == "all"
        with takes(0.05):
            assert condition.wait_for(lambda: None, timeout=0.05) is None
        assert condition.wait_for(lambda: 0, 0) == 0
        assert condition.wait_for(lambda: [1], -1) == [1]
        with pytest.raises(KeyError):
            condition.wait_for(lambda: {}["x"])
        assert condition._lock._is_mine()


def test_ctrl_c_ends_a_condition_wait_with_the_lock_held(condition):
    with condition:
        with takes(0.1, 5), pytest.raises(KeyboardInterrupt), interrupted_after(0.1):
            condition.wait()
        assert condition._lock._semlock._is_mine()
        assert condition._waiting() == 0


def test_ctrl_c_while_the_lock_is_taken_again():
    """The notification has come, but another holds the lock: the interruption waits for the lock too."""
    condition = CONTEXT.Condition()
    notified, go_on = threading.Event(), threading.Event()

    def notify_and_stay():
        with condition:
            condition.notify()
            notified.set()
            go_on.wait(20)

    def interrupt_then_let_go():
        notified.wait(20)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        go_on.set()

    with condition:
        with thread(interrupt_then_let_go), thread(notify_and_stay), pytest.raises(KeyboardInterrupt):
            condition.wait()
        assert condition._lock._is_mine()


@pytest.mark.parametrize("name", ["Lock", "RLock"])
def test_repr_of_condition(name):
    ours, standard = (context.Condition(getattr(context, name)()) for context in (CONTEXT, STANDARD))
    assert repr(ours) == repr(standard)
    with ours, standard:
        assert repr(ours) == repr(standard)
    with waiting_child(ours, CONTEXT.Semaphore(0)):
        eventually(lambda: ours._waiting() == 1)
        assert repr(ours).endswith(", 1)>")
        with ours:
            ours.notify()


def test_too_many_waiters_are_an_error():
    condition = CONTEXT.Condition()
    most = 248

    def wait():
        with condition:
            condition.wait(20)

    threads = [threading.Thread(target=wait) for _ in range(most)]
    for waiter in threads:
        waiter.start()
    eventually(lambda: condition._waiting() == most)
    with condition:
        with pytest.raises(OSError, match=f"more than {most} threads wait on one Condition"):
            condition.wait(1)
        assert condition._lock._is_mine()
        condition.notify_all()
    for waiter in threads:
        waiter.join()


def killed_waiter(condition):
    """A process that was killed while it waited."""

    def wait():
        with condition:
            condition.wait(20)

    process = fastmp.Process(target=wait)
    before = condition._waiting()
    process.start()
    eventually(lambda: condition._waiting() == before + 1)
    with condition:  # so that the victim does not hold the lock
        process.kill()
        process.join()
    process.close()


def test_a_notification_for_a_killed_waiter_reaches_another():
    condition, woken = CONTEXT.Condition(), CONTEXT.Semaphore(0)
    killed_waiter(condition)
    with waiting_child(condition, woken):
        eventually(lambda: condition._waiting() == 2)
        with condition:
            condition.notify()
        assert woken.acquire(timeout=10)


def test_the_lock_of_a_killed_notifier():
    condition = CONTEXT.Condition()
    result = []

    def wait():
        with condition:
            result.append(condition.wait(20))

    def notify():
        condition.acquire()
        condition.notify()

    def be_notified():
        with thread(wait):
            eventually(lambda: condition._waiting() == 1)
            killed_after(notify)

    with pytest.warns(fastmp.OwnerDied):
        be_notified()
    assert result == [True]
    assert condition.acquire(False)


def tells_of_deaths():
    """Whether this kernel wakes who sleeps when a process is killed (Linux 5.16)."""
    major, minor = platform.release().split(".")[:2]
    return (int(major), int(minor)) >= (5, 16)


WAIT_LONG = """
import resource
import fastmp

condition = fastmp.get_context("fork").Condition()
with condition:
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    condition.wait(1.8)
    print(resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before)
"""


@pytest.mark.skipif(not tells_of_deaths(), reason="without futex_waitv who waits looks each 0.13 s")
def test_who_waits_for_long_seldom_looks():
    """After 0.128 s, 0.256 more, 0.512 more; in a program of its own, as after a death all look soon."""
    (looks,) = output_of(WAIT_LONG)
    assert int(looks) <= 7  # and 14, each 0.128 s


# ---- Event ----


def test_event():
    event = CONTEXT.Event()
    assert event.is_set() is False
    with takes(0.05):
        assert event.wait(0.05) is False
    assert event.wait(0) is event.wait(-1) is event.wait(timeout=0.001) is False
    assert event.set() is None
    assert event.is_set() is True
    assert event.wait() is event.wait(0) is event.wait(timeout=None) is True
    event.set()
    event.clear()
    event.clear()
    assert event.is_set() is False
    assert event.wait(0) is False


def test_event_repr():
    event = CONTEXT.Event()
    assert repr(event) == f"<Event at {id(event):#x} unset>"
    event.set()
    assert repr(event) == f"<Event at {id(event):#x} set>"


def test_event_wrong_arguments():
    event = CONTEXT.Event()
    for call in (lambda: event.wait("x"), lambda: event.wait(1, 2), lambda: event.set(1), lambda: event.wait(time=1)):
        with pytest.raises(TypeError):
            call()


def test_event_wakes_all_who_wait():
    event, begun, passed = CONTEXT.Event(), CONTEXT.Semaphore(0), CONTEXT.Semaphore(0)

    def wait():
        begun.release()
        if event.wait(20):
            passed.release()

    with child(wait), child(wait), thread(wait):
        eventually(lambda: begun.get_value() == 3)
        time.sleep(0.05)
        event.set()
        event.clear()  # they were there when it was set
        for _ in range(3):
            assert passed.acquire(timeout=10)


def test_event_set_by_another_process():
    event = CONTEXT.Event()
    with child(event.set):
        assert event.wait(10) is True
    in_child(event.clear)
    assert event.is_set() is False


def test_ctrl_c_ends_an_event_wait():
    with takes(0.1, 5), pytest.raises(KeyboardInterrupt), interrupted_after(0.1):
        CONTEXT.Event().wait()


def test_an_event_outlives_who_waited_and_who_set_it():
    event = CONTEXT.Event()
    killed_after(event.set)
    assert event.wait(10) is True
    event.clear()
    killed_after(lambda: event.wait(0.01))
    with child(event.set):
        assert event.wait(10) is True
