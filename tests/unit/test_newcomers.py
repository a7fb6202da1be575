"""Objects in a process that no fork has made: started by subprocess, with the raw calls of `fastmp._core`."""

import ctypes
import errno
import gc
import multiprocessing.popen_spawn_posix
import os
import pickle
import select
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager, suppress
from multiprocessing.context import set_spawning_popen

import pytest

import fastmp
from fastmp import _core, queues, synchronize
from fastmp.reduction import ForkingPickler

PREAMBLE = """
import os, pickle, sys
from fastmp import _core
fd, token, identity = int(sys.argv[1]), bytes.fromhex(sys.argv[2]), int(sys.argv[3])
_core.enter(fd, token, identity)
os.close(fd)
"""


@contextmanager
def held_for(identity):
    previous = _core.hold_for(identity)
    try:
        yield
    finally:
        _core.hold_for(previous)


def pickle_for(identity, obj):
    with held_for(identity):
        return bytes(ForkingPickler.dumps(obj))


class Descriptors:
    """What `DupFd` asks for the descriptors of a child that is being started."""

    DupFd = multiprocessing.popen_spawn_posix._DupFd

    def __init__(self, duplicate=lambda fd: fd):
        self.fds = []
        self.duplicate = duplicate

    def duplicate_for_child(self, fd):
        self.fds.append(fd)
        return self.duplicate(fd)


@contextmanager
def starting(popen):
    set_spawning_popen(popen)
    try:
        yield
    finally:
        set_spawning_popen(None)


class Child:
    """A fresh interpreter that runs `code` with the unpickled objects as `things`."""

    def __init__(self, code, *things, preamble=PREAMBLE):
        fd, token = _core.region()
        self.identity = _core.reserve_child()
        descriptors = Descriptors()
        with starting(descriptors):
            data = pickle_for(self.identity, things)
        program = preamble + "things = pickle.load(sys.stdin.buffer)\n" + textwrap.dedent(code)
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, str(fd), token.hex(), str(self.identity)],
            pass_fds=[fd, *descriptors.fds],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        _core.child_started(self.identity, self.process.pid)
        self.process.stdin.write(data)
        self.process.stdin.close()
        self.process.stdin = None

    def end(self, code=0):
        """Wait for the end: what it has printed."""
        out, err = self.process.communicate(timeout=60)
        _core.reaped(self.process.pid)
        assert self.process.returncode == code, err.decode()
        return out.decode()


def run(code, *things):
    return Child(code, *things).end()


def shared_blocks():
    return _core.heap_stats()["shared"]


@pytest.fixture(autouse=True)
def nothing_stays():
    gc.collect()
    before = shared_blocks()
    yield
    gc.collect()
    assert shared_blocks() <= before  # what an earlier test has left may go meanwhile


def test_lock():
    lock = fastmp.Lock()
    assert run("assert things[0].acquire(False); print(type(things[0]))", lock).strip() == str(synchronize.Lock)
    assert not lock.acquire(False)  # it ended in order, with the lock held
    lock.release()


def test_rlock_and_semaphore():
    rlock, semaphore = fastmp.RLock(), fastmp.BoundedSemaphore(2)
    run(
        """
        rlock, semaphore = things
        with rlock:
            assert semaphore.acquire(False)
        """,
        rlock,
        semaphore,
    )
    assert rlock.acquire(False)
    rlock.release()
    assert semaphore.get_value() == 1


def test_condition_comes_with_its_lock():
    lock = fastmp.Lock()
    condition = fastmp.Condition(lock)
    with condition:
        child = Child(
            """
            condition, lock = things
            assert condition._lock is lock
            with condition:
                condition.notify()
            """,
            condition,
            lock,
        )
        assert condition.wait(60)
    child.end()


def test_event():
    event, back = fastmp.Event(), fastmp.Event()
    child = Child("assert things[0].wait(60); things[1].set()", event, back)
    event.set()
    assert back.wait(60)
    child.end()


def test_barrier_with_action_and_timeout():
    barrier = fastmp.Barrier(2, action=os.getpid, timeout=60)
    child = Child("assert (things[0]._action, things[0]._timeout) == (os.getpid, 60); things[0].wait()", barrier)
    barrier.wait()
    child.end()


@pytest.mark.parametrize("maxsize", [0, 3])
def test_queue(maxsize):
    there, back = fastmp.Queue(maxsize), fastmp.SimpleQueue()
    there.put("before")
    child = Child(
        """
        there, back = things
        back.put((type(there).__name__, there.get(timeout=60), there.get(timeout=60), there._maxsize))
        back.put(bytes(100_000))
        """,
        there,
        back,
    )
    there.put(list(range(1000)))
    assert back.get() == ("Queue", "before", list(range(1000)), maxsize or 0x7FFFFFFF)
    assert len(back.get()) == 100_000
    child.end()


def test_joinable_queue():
    queue = fastmp.JoinableQueue()
    queue.put(1)
    child = Child("things[0].get(timeout=60); things[0].task_done()", queue)
    queue.join()
    child.end()


def test_a_queue_s_descriptor_is_rung_from_the_child():
    queue = fastmp.Queue()
    poller = select.poll()
    poller.register(queue._reader.fileno(), select.POLLIN)
    assert not poller.poll(0)
    child = Child("things[0].put(1)", queue)
    assert poller.poll(60_000)
    assert queue.get(timeout=60) == 1
    child.end()


class Tagged(queues.Queue):
    """As programs do it that know the standard library's queue."""

    def __init__(self, tag):
        super().__init__(ctx=fastmp.get_context())
        self.tag = tag

    def __getstate__(self):
        return {"inner": super().__getstate__(), "tag": self.tag}

    def __setstate__(self, state):
        super().__setstate__(state["inner"])
        self.tag = state["tag"]


class Plain(queues.Queue):
    def __init__(self):
        super().__init__(ctx=fastmp.get_context())
        self.tag = "plain"


@pytest.mark.parametrize("make", [lambda: Tagged("tagged"), Plain])
def test_a_queue_s_subclass_keeps_its_attributes(make):
    identity, queue = _core.reserve_child(), make()
    with starting(Descriptors(os.dup)):
        copy = pickle.loads(pickle_for(identity, queue))
    _core.child_failed(identity)
    assert type(copy) is type(queue)
    assert copy.tag == queue.tag
    queue.put(3)
    assert copy.get(timeout=60) == 3


def test_values_and_arrays():
    value, array, raw = fastmp.Value("i", 3), fastmp.Array("d", [1.0, 2.0]), fastmp.RawArray(ctypes.c_char, 5)
    run(
        """
        value, array, raw = things
        with value:
            value.value += 1
        array[1] *= 2
        raw.value = b"abc"
        assert value.get_lock()._get_value() == 1
        """,
        value,
        array,
        raw,
    )
    assert value.value == 4
    assert array[:] == [1.0, 4.0]
    assert raw.value == b"abc"


def test_a_value_and_its_bytes_are_one():
    value = fastmp.Value(ctypes.c_longlong, 1, lock=False)
    pairs = fastmp.RawArray(ctypes.c_int, 4)
    run(
        """
        first, second, pairs = things
        first.value = 7
        assert second.value == 7
        pairs[3] = 9
        """,
        value,
        value,
        pairs,
    )
    assert value.value == 7
    assert list(pairs) == [0, 0, 0, 9]


@pytest.mark.parametrize("duplex", [True, False])
@pytest.mark.parametrize("used", [True, False])
def test_pipe(duplex, used):
    reader, writer = fastmp.Pipe(duplex)
    with reader, writer:
        if used:
            writer.send("early")
        child = Child(
            """
            (end,) = things
            end.send(["hello", 1])
            end.send_bytes(bytes(300_000))
            if end.readable:
                end.send(end.recv())
            end.close()
            """,
            writer,
        )
        writer.close()
        if used:
            assert reader.recv() == "early"
        assert reader.recv() == ["hello", 1]
        assert len(reader.recv_bytes()) == 300_000
        assert reader._is_ring()
        if duplex:
            reader.send({"a": 1})
            assert reader.recv() == {"a": 1}
        with pytest.raises(EOFError):
            reader.recv()
        child.end()


def test_both_ends_of_a_pipe_in_one_child():
    a, b = fastmp.Pipe()
    a.send(1)
    run("a, b = things; assert b.recv() == 1; b.send(2); assert a.recv() == 2", a, b)
    a.close()
    b.close()


def test_the_reading_end_of_a_pipe():
    reader, writer = fastmp.Pipe(duplex=False)
    child = Child("assert things[0].recv() == 'x'; assert things[0].recv() == 'y'", reader)
    reader.close()
    writer.send("x")
    writer.send("y")
    child.end()
    time.sleep(0.001)  # for so long as the kernel's last answer is believed
    with pytest.raises(BrokenPipeError):
        writer.send(None)
    writer.close()


def test_a_pool_s_worker():
    crew, job = _core.Crew(1), _core.Job()
    code = """
    from fastmp import _pool_worker
    crew = things[0]
    crew.work(0, 0, _pool_worker.wrap_error, _pool_worker.wrap_unpicklable)
    try:
        crew.send_exit()
    except RuntimeError as error:
        print(error)
    """
    child = Child(code, crew)
    crew.set_worker(0, child.process.pid)
    crew.submit(job, divmod, (17, 5))
    assert job.get(60) == (3, 2)
    crew.send_exit()
    assert child.end().strip() == "this pool belongs to another process"


def test_a_pool_s_worker_is_killed():
    crew, job = _core.Crew(1), _core.Job()
    child = Child("things[0].work(0, 0, None, None)", crew)
    crew.set_worker(0, child.process.pid)
    ended = []
    crew.maintain = lambda: ended.append(crew.bury_worker(0, lambda *_: KeyError("lost")))
    crew.submit(job, os.kill, (child.process.pid, 9))
    with pytest.raises(KeyError, match="lost"):
        job.get(60)
    assert ended == [1]
    child.end(-9)


def test_a_killed_owner_is_noticed():
    lock = fastmp.Lock()
    child = Child("things[0].acquire(); print('taken', flush=True); sys.stdin = open(0); os.kill(os.getpid(), 9)", lock)
    child.end(-9)
    with pytest.warns(fastmp.OwnerDied):
        assert lock.acquire(timeout=60)


class NamedLock(synchronize.Lock):
    def __init__(self, name):
        super().__init__(ctx=None)
        self.name_of_mine = name


def test_a_subclass_keeps_its_attributes():
    identity = _core.reserve_child()
    copy = None
    lock = NamedLock("front door")
    _fd, token = _core.region()
    data = pickle_for(identity, lock)
    copy = pickle.loads(data)  # this process holds the block: it may have it a second time
    assert type(copy) is NamedLock
    assert copy.name_of_mine == "front door"
    assert copy.acquire(False)
    assert not lock.acquire(False)
    del lock
    copy.release()
    _core.child_failed(identity)
    assert copy.acquire(False)  # a holder bit is per process, and goes with the last handle
    assert len(token) == 16


def test_what_is_held_lives_until_the_child_has_it():
    lock = fastmp.Lock()
    lock.acquire()
    identity = _core.reserve_child()
    pickle_for(identity, lock)
    before = shared_blocks()
    del lock
    assert shared_blocks() <= before  # what an earlier test has left may go meanwhile
    _core.child_failed(identity)
    assert shared_blocks() == before - 1


def test_a_child_that_does_not_unpickle():
    semaphore = fastmp.Semaphore(5)
    preamble = PREAMBLE + "raise SystemExit(3)\n"
    Child("", semaphore, preamble=preamble).end(3)
    before = shared_blocks()
    del semaphore
    assert shared_blocks() == before - 1


def test_a_child_that_is_killed_before_it_enters():
    semaphore = fastmp.Semaphore(5)
    preamble = "import os, pickle, sys\nos.kill(os.getpid(), 9)\n"
    child = Child.__new__(Child)
    try:
        child.__init__("", semaphore, preamble=preamble)
    except BrokenPipeError:
        child.process.stdin = None
    child.end(-9)
    before = shared_blocks()
    del semaphore
    assert shared_blocks() == before - 1


def test_identities():
    for call in (_core.child_failed, lambda i: _core.child_started(i, 1), _core.hold_for):
        with pytest.raises(ValueError, match="no child to come"):
            call(4711)
    identity = _core.reserve_child()
    assert identity != 0
    assert _core.hold_for(identity) == 0
    assert _core.hold_for(0) == identity
    _core.child_failed(identity)
    with pytest.raises(ValueError, match="no child to come"):
        _core.child_failed(identity)


@pytest.fixture
def no_identity_left():
    """Children to come have them all."""
    identities = []
    with suppress(BlockingIOError):
        while True:
            identities.append(_core.reserve_child())
    yield
    for identity in identities:
        _core.child_failed(identity)


def test_no_identity_left(ctx, no_identity_left):
    """The start fails; nothing runs without protection."""
    process = ctx.Process(target=print)
    with pytest.raises(BlockingIOError, match="too many processes") as caught:
        process.start()
    assert caught.value.errno == errno.EAGAIN


def test_no_identity_left_for_a_pool(no_identity_left):
    with pytest.raises(BlockingIOError, match="too many processes"):
        fastmp.get_context("fork").Pool(2)


def test_damaged_records():
    lock = fastmp.Lock()
    identity = _core.reserve_child()
    with held_for(identity):
        record = lock._travel()
    new = synchronize.Lock.__new__
    assert new(synchronize.Lock, _travel=record).acquire(False)
    for at in range(16, 32):  # offset and life
        for bit in range(8):
            damaged = bytearray(record)
            damaged[at] ^= 1 << bit
            with pytest.raises(FileNotFoundError):
                new(synchronize.Lock, _travel=bytes(damaged))
    with pytest.raises(ConnectionRefusedError):
        new(synchronize.Lock, _travel=bytes(16) + record[16:])
    with pytest.raises(ValueError, match="travel record"):
        new(synchronize.Lock, _travel=record[:-1])
    with pytest.raises(TypeError, match="travel record"):
        new(synchronize.Lock, _travel=None)
    condition = synchronize.Condition
    with pytest.raises(FileNotFoundError):  # the block of a lock is too small for it
        condition.__new__(condition, _travel=record)
    _core.child_failed(identity)


def test_enter_refuses_what_is_not_announced():
    fd, token = _core.region()
    reader, writer = os.pipe()
    with pytest.raises(OSError, match="not that of the shared memory"):
        _core.enter(reader, bytes(16), 4097)
    with pytest.raises(OSError, match="not that of the shared memory"):
        _core.enter(fd, bytes(16), 4097)
    with pytest.raises(ValueError, match="16 bytes"):
        _core.enter(fd, token[1:], 4097)
    with pytest.raises(ValueError, match="no identity"):
        _core.enter(fd, token, 0)
    os.close(reader)
    os.close(writer)
