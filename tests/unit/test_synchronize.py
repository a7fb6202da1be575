"""Lock, RLock, Semaphore and BoundedSemaphore: the standard library's behaviour, across processes and threads."""

import gc
import multiprocessing.synchronize
import os
import warnings
import weakref

import pytest
from support import parts
from support.parts import playing
from support.processes import child, eventually, in_child, interrupted_after, killed_after, takes, thread

import fastmp
from fastmp import synchronize

CONTEXT = fastmp.get_context("fork")
MAKERS = {
    "Lock": CONTEXT.Lock,
    "RLock": CONTEXT.RLock,
    "Semaphore": CONTEXT.Semaphore,
    "BoundedSemaphore": CONTEXT.BoundedSemaphore,
}
REGION = CONTEXT.Event()  # whatever comes first makes the region, which stays open as long as the process lives
TOO_OFTEN = "semaphore or lock released too many times"


@pytest.fixture(params=MAKERS)
def lock(request):
    """One of each type that holds one unit."""
    return MAKERS[request.param]()


# ---- what all have ----


@pytest.mark.parametrize("name", synchronize.__all__)
def test_the_classes_say_where_they_live(name):
    kind = getattr(synchronize, name)
    assert kind.__module__ == "fastmp.synchronize"
    assert kind.__qualname__ == name
    assert kind.__doc__


def test_all_locks_and_semaphores_are_semlocks(lock):
    assert isinstance(lock, synchronize.SemLock)
    assert lock.SEM_VALUE_MAX == synchronize.SEM_VALUE_MAX == multiprocessing.synchronize.SEM_VALUE_MAX
    assert lock._semlock is lock
    assert lock.name is None
    assert lock.handle > 0


def test_acquire_and_release(lock):
    assert lock.acquire() is True
    assert lock.release() is None
    assert lock.acquire(True) is True
    lock.release()
    assert lock.acquire(False) is True
    lock.release()
    assert lock.acquire(block=True, timeout=None) is True
    lock.release()
    assert lock.acquire(True, 5) is True
    lock.release()


def test_with_statement(lock):
    with lock as entered:
        assert entered is True
        assert lock._semlock._get_value() == 0
        assert lock._semlock._is_zero()
    assert lock._semlock._get_value() == 1
    with pytest.raises(KeyError), lock:
        raise KeyError
    assert lock._semlock._get_value() == 1


def held_elsewhere(lock):
    """A process that holds the lock until it is told to end."""
    told, ready = CONTEXT.Event(), CONTEXT.Event()

    def hold():
        with lock:
            ready.set()
            told.wait(20)

    return child(hold), ready, told


@pytest.mark.parametrize("timeout", [0, -1, -0.5, 0.0])
def test_no_time_to_wait(lock, timeout):
    process, ready, told = held_elsewhere(lock)
    with process:
        assert ready.wait(10)
        with takes(0, 1):
            assert lock.acquire(False) is False
            assert lock.acquire(True, timeout) is False
            assert lock.acquire(timeout=timeout) is False
            assert lock.acquire(False, 10) is False
        told.set()


@pytest.mark.parametrize("timeout", [0.05, 0.3])
def test_timeout(lock, timeout):
    process, ready, told = held_elsewhere(lock)
    with process:
        assert ready.wait(10)
        with takes(timeout):
            assert lock.acquire(timeout=timeout) is False
        told.set()
        assert lock.acquire(timeout=1e6) is True
        lock.release()


def test_wrong_arguments(lock):
    for arguments in ({"timeout": "x"}, {"timeout": []}, {"foo": 1}):
        with pytest.raises(TypeError):
            lock.acquire(**arguments)
    with pytest.raises(TypeError):
        lock.acquire(True, None, None)
    with pytest.raises(TypeError):
        lock.release(1)
    with pytest.raises(ValueError, match="NaN"):
        lock.acquire(timeout=float("nan"))
    assert lock._semlock._get_value() == 1


@pytest.mark.parametrize("name", MAKERS)
def test_the_context_is_asked_for_by_name(name):
    kind = getattr(synchronize, name)
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'ctx'"):
        kind()
    with pytest.raises(TypeError):
        kind(1, 2, ctx=CONTEXT)
    with pytest.raises(TypeError):
        kind(foo=1, ctx=CONTEXT)


@pytest.mark.parametrize("name", ["Lock", "Semaphore", "BoundedSemaphore"])
def test_another_process_releases(name):
    lock = MAKERS[name]()
    lock.acquire()
    in_child(lock.release)
    assert lock.acquire(False) is True
    lock.release()


def test_a_process_waits_for_another(lock):
    process, ready, told = held_elsewhere(lock)
    with process:
        assert ready.wait(10)
        with thread(told.set):
            assert lock.acquire() is True
        lock.release()


def test_threads_of_one_process_wait_for_each_other(lock):
    lock.acquire()
    entered = []

    def enter():
        with lock:
            entered.append(1)

    with thread(enter):
        with pytest.raises(AssertionError):
            eventually(lambda: entered, 0.05)
        lock.release()
    assert entered == [1]


def test_mutual_exclusion(lock):
    read_end, write_end = os.pipe()
    os.write(write_end, (0).to_bytes(8, "little"))

    def add():
        for _ in range(300):
            with lock:
                now = int.from_bytes(os.read(read_end, 8), "little")
                os.write(write_end, (now + 1).to_bytes(8, "little"))

    with child(add), child(add), thread(add):
        pass
    assert int.from_bytes(os.read(read_end, 8), "little") == 900
    os.close(read_end)
    os.close(write_end)


def test_ctrl_c_ends_the_wait(lock):
    process, ready, told = held_elsewhere(lock)
    with process:
        assert ready.wait(10)
        with takes(0.1, 5), pytest.raises(KeyboardInterrupt), interrupted_after(0.1):
            lock.acquire()
        told.set()
    assert lock.acquire(timeout=10) is True
    lock.release()


def test_a_waiting_thread_leaves_the_others_running(lock):
    lock.acquire()
    with thread(lambda: (lock.acquire(), lock.release())):
        assert sum(range(100_000)) == 4999950000
        lock.release()


def test_weak_references(lock):
    assert weakref.ref(lock)() is lock


def test_subclasses():
    class Named(synchronize.Lock):
        def __init__(self, name):
            super().__init__(ctx=CONTEXT)
            self.title = name

    named = Named("n")
    with named:
        assert named.title == "n"
        assert not named.acquire(False)
    assert repr(named) == "<Named(owner=None)>"


def test_the_block_is_given_back():
    def handles():
        locks = [CONTEXT.Lock() for _ in range(50)]
        return {lock.handle for lock in locks}

    first = handles()
    for _ in range(20):
        first |= handles()
    gc.collect()
    assert len(first) < 500


# ---- Lock ----


def test_lock_released_too_often():
    lock = CONTEXT.Lock()
    for _ in range(2):
        with pytest.raises(ValueError, match=f"^{TOO_OFTEN}$"):
            lock.release()
    lock.acquire()
    lock.release()
    with pytest.raises(ValueError, match=TOO_OFTEN):
        lock.release()


def test_lock_is_not_recursive():
    lock = CONTEXT.Lock()
    with lock:
        assert lock.acquire(False) is False
        assert lock.acquire(timeout=0.05) is False


def test_lock_counts():
    lock = CONTEXT.Lock()
    assert (lock.kind, lock.maxvalue) == (1, 1)
    assert (lock._is_mine(), lock._count(), lock._get_value()) == (False, 0, 1)
    with lock:
        assert (lock._is_mine(), lock._count(), lock._get_value()) == (True, 1, 0)

        def look():
            assert (lock._is_mine(), lock._count(), lock._get_value()) == (False, 0, 0)

        in_child(look)


@pytest.mark.parametrize("name", ["Lock", "RLock"])
def test_repr_of_locks(name):
    ours, standard = getattr(CONTEXT, name)(), getattr(multiprocessing.get_context("fork"), name)()
    assert repr(ours) == repr(standard)
    with ours, standard:
        assert repr(ours) == repr(standard)
        texts = []
        with thread(lambda: texts.extend([repr(ours), repr(standard)])):
            pass
        assert texts[0] == texts[1]

        def look():
            assert (
                repr(ours)
                == {"Lock": "<Lock(owner=SomeOtherProcess)>", "RLock": "<RLock(SomeOtherProcess, nonzero)>"}[name]
            )

        in_child(look)
    texts = []

    def hold():
        with ours, standard:
            texts.extend([repr(ours), repr(standard)])

    with thread(hold):
        pass
    assert texts[0].partition("|")[0] == texts[1].partition("|")[0]


# ---- RLock ----


def test_rlock_is_recursive():
    lock = CONTEXT.RLock()
    for depth in range(1, 4):
        assert lock.acquire(False) is True
        assert lock._count() == depth
    assert (lock.kind, lock.maxvalue) == (0, 1)
    for _ in range(3):
        assert lock._is_mine()
        lock.release()
    assert not lock._is_mine()
    assert lock._get_value() == 1


def test_rlock_belongs_to_a_thread():
    lock = CONTEXT.RLock()
    text = "^attempt to release recursive lock not owned by thread$"
    with pytest.raises(AssertionError, match=text):
        lock.release()

    def not_mine():
        assert not lock._is_mine()
        assert lock.acquire(False) is False
        with pytest.raises(AssertionError, match=text):
            lock.release()

    with lock:
        with thread(not_mine):
            pass
        in_child(not_mine)
        assert lock._is_mine()


def test_a_forked_child_does_not_own_the_rlock():
    lock = CONTEXT.RLock()
    with lock, lock:

        def look():
            assert (lock._is_mine(), lock._count(), lock._get_value()) == (False, 0, 0)
            assert lock.acquire(timeout=0.02) is False

        in_child(look)
        assert lock._count() == 2


# ---- semaphores ----


def test_semaphore_counts():
    semaphore = CONTEXT.Semaphore(2)
    assert semaphore.get_value() == 2
    assert semaphore.acquire() is True
    assert semaphore.acquire(False) is True
    assert semaphore.get_value() == 0
    assert semaphore.acquire(False) is False
    for value in (1, 2, 3):
        semaphore.release()
        assert semaphore.get_value() == value
    assert semaphore._count() == -1
    in_child(lambda: semaphore.acquire() and os._exit(semaphore._count() != 1))
    assert semaphore.get_value() == 2


def test_bounded_semaphore():
    semaphore = CONTEXT.BoundedSemaphore(2)
    semaphore.acquire()
    semaphore.release()
    with pytest.raises(ValueError, match=f"^{TOO_OFTEN}$"):
        semaphore.release()
    assert semaphore.get_value() == 2
    assert semaphore.maxvalue == 2
    assert isinstance(semaphore, synchronize.Semaphore)


@pytest.mark.parametrize("name", ["Semaphore", "BoundedSemaphore"])
@pytest.mark.parametrize("value", [-1, 2**31, 2**80, "a", 1.5, None, [], 0, 1, True, 2**31 - 1])
def test_initial_values(name, value):
    standard = getattr(multiprocessing.get_context("fork"), name)
    ours = getattr(CONTEXT, name)
    try:
        expected = standard(value)
    except Exception as error:
        with pytest.raises(type(error)):
            ours(value)
    else:
        assert repr(ours(value)) == repr(expected)
        assert ours(value).get_value() == value


def test_semaphore_at_its_maximum():
    semaphore = CONTEXT.Semaphore(synchronize.SEM_VALUE_MAX)
    with pytest.raises(ValueError, match=TOO_OFTEN):
        semaphore.release()


def test_each_unit_wakes_one():
    semaphore, taken = CONTEXT.Semaphore(0), CONTEXT.Semaphore(0)

    def take():
        semaphore.acquire()
        taken.release()

    with child(take), child(take), child(take):
        semaphore.release()
        assert taken.acquire(timeout=10)
        assert not taken.acquire(timeout=0.02)
        semaphore.release()
        semaphore.release()
        assert taken.acquire(timeout=10)
        assert taken.acquire(timeout=10)
    assert semaphore.get_value() == 0


# ---- deaths ----


def enter(lock):
    with lock:
        assert lock._is_mine()


WAYS_IN = {
    "wait": lambda lock: lock.acquire() and lock.release(),
    "timeout": lambda lock: lock.acquire(timeout=10) and lock.release(),
    "try": lambda lock: lock.acquire(block=False) and lock.release(),
    "with": enter,
}


@pytest.mark.parametrize("name", ["Lock", "RLock"])
@pytest.mark.parametrize("way", WAYS_IN)
def test_the_lock_of_a_killed_process(name, way):
    lock = getattr(CONTEXT, name)()
    pid = killed_after(lock.acquire)
    with takes(0, 5), pytest.warns(fastmp.OwnerDied, match=f"^process {pid} was killed while it held this {name};"):
        WAYS_IN[way](lock)
    enter(lock)  # once is enough


def test_the_warning_as_an_error_leaves_the_lock_free():
    lock = CONTEXT.Lock()
    killed_after(lock.acquire)
    with warnings.catch_warnings():
        warnings.simplefilter("error", fastmp.OwnerDied)
        with pytest.raises(fastmp.OwnerDied):
            lock.acquire()
    assert lock.acquire(False) is True


def test_only_one_heir():
    lock = CONTEXT.Lock()
    killed_after(lock.acquire)
    with pytest.warns(fastmp.OwnerDied):
        lock.acquire()
    in_child(lambda: os._exit(lock.acquire(timeout=0.2)))
    lock.release()


def test_an_owner_that_ends_in_order_leaves_the_lock_held():
    lock = CONTEXT.Lock()
    in_child(lock.acquire)
    assert lock.acquire(timeout=0.3) is False
    lock.release()
    assert lock.acquire(False) is True


def test_what_a_killed_process_took_from_a_semaphore_stays_taken():
    semaphore = CONTEXT.Semaphore(2)
    killed_after(semaphore.acquire)
    assert semaphore.get_value() == 1


def test_a_fork_beside_a_thread_that_holds_or_waits():
    lock = CONTEXT.Lock()
    lock.acquire()
    with thread(lambda: (lock.acquire(), lock.release())):

        def look():
            assert not lock._is_mine()
            assert lock.acquire(timeout=0.05) is False
            lock.release()  # any process may
            assert lock.acquire(timeout=10) is True
            lock.release()

        in_child(look)
    assert lock.acquire(timeout=10) is True


# ---- under every start method


@pytest.mark.parametrize("name", ["Lock", "RLock"])
def test_a_child_holds_it(ctx, name):
    lock, is_held, release = getattr(ctx, name)(), ctx.Event(), ctx.Event()
    with playing(ctx, parts.hold, lock, is_held, release):
        assert is_held.wait(60)
        assert not lock.acquire(block=False)
        assert not lock.acquire(timeout=0.02)
        release.set()
        assert lock.acquire(timeout=60)
        lock.release()


def test_the_lock_of_a_killed_child(ctx):
    lock, is_held, release = ctx.Lock(), ctx.Event(), ctx.Event()
    with playing(ctx, parts.hold, lock, is_held, release, killed=True) as child:
        assert is_held.wait(60)
        parts.kill(child)
        with pytest.warns(fastmp.OwnerDied):
            assert lock.acquire(timeout=60)
    lock.release()


def test_children_exclude_each_other(ctx):
    lock, number = ctx.Lock(), ctx.RawValue("i", 0)
    with (
        playing(ctx, parts.add_under_a_lock, lock, number, 500),
        playing(ctx, parts.add_under_a_lock, lock, number, 500),
    ):
        parts.add_under_a_lock(lock, number, 500)
    assert number.value == 1500


def test_a_child_waits(ctx):
    barrier, condition, semaphore, event = ctx.Barrier(2), ctx.Condition(), ctx.Semaphore(0), ctx.Event()
    with playing(ctx, parts.meet, barrier, condition, semaphore, event):
        assert not event.wait(0.01)
        barrier.wait(60)
        assert event.wait(60)
        with condition:  # the child has it, or waits
            condition.notify_all()
        barrier.wait(60)
        semaphore.release()
