"""Several regions in one process: its family's, one made before, those of other families; and generations."""

import subprocess
import sys
import textwrap
from contextlib import contextmanager
from multiprocessing import resource_sharer

import pytest
from support import parts
from support.parts import playing
from support.processes import in_child
from support.programs import home, python

import fastmp
from fastmp.connection import Listener


@pytest.fixture(autouse=True)
def no_sharer():
    yield
    resource_sharer.stop()  # its thread gives out descriptors


PRELOADED = """
    import fastmp
    lock, queue, number = fastmp.Lock(), fastmp.Queue(), fastmp.Value("i", 5)
"""
PROGRAM = """
    import fastmp
    def put(back):
        import made_early
        with made_early.lock, made_early.number:
            made_early.number.value += 1
        made_early.queue.put("from the first")
        back.put((made_early.number.value, fastmp.Queue))
    def get(back, own, received):
        import made_early
        own.value += made_early.number.value
        back.put(made_early.queue.get(timeout=30))
        back.put(made_early.queue)
        back.put(made_early.number)
        assert received.wait(30)  # the region is opened through this process's descriptor
    if __name__ == "__main__":
        own, back, received = fastmp.Value("i", 100), fastmp.Queue(), fastmp.Event()
        fastmp.set_forkserver_preload(["made_early"])
        context = fastmp.get_context("forkserver")
        def run(target, *args):
            child = context.Process(target=target, args=args)
            child.start()
            return child
        child = run(put, back)
        print(back.get(timeout=30)[0])
        child.join()
        child = run(get, back, own, received)
        print(back.get(timeout=30), own.value)
        queue, number = back.get(timeout=30), back.get(timeout=30)  # of the server's own region
        received.set()
        child.join()
        queue.put(number.value)
        print(queue.get(timeout=30), number.value, child.exitcode)
"""


def test_a_server_that_made_objects_before_it_had_our_region(tmp_path):
    """Its children share them, beside those of the parent, and can send them to the parent."""
    (tmp_path / "made_early.py").write_text(textwrap.dedent(PRELOADED))
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    done = python(program, env={"PYTHONPATH": f"{home()}:{tmp_path}"})
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["6", "from the first 106", "6 6 0"]


STRANGER = """
    import fastmp, sys
    from fastmp.connection import Client
    lock, queue, number, event = fastmp.Lock(), fastmp.Queue(), fastmp.Value("i", 1), fastmp.Event()
    with Client(sys.argv[1], authkey=b"regions") as connection:
        fastmp.current_process().authkey = b"of another family"
        connection.send((lock, queue, number, event))
        theirs = connection.recv()
        assert event.wait(30)
        assert not lock.acquire(timeout=0.01)
        number.value += 10
        theirs.put(queue.get(timeout=30))
        connection.recv()
"""


@contextmanager
def stranger():
    """Objects of a process that is no relative, the connection to it, and the process."""
    with Listener(family="AF_UNIX", authkey=b"regions") as listener:
        command = [sys.executable, "-c", textwrap.dedent(STRANGER), listener.address]
        with subprocess.Popen(command, cwd=home(), stderr=subprocess.DEVNULL) as process:
            with listener.accept() as connection:
                yield connection.recv(), connection, process
            assert process.wait(30) == 0


@pytest.mark.leaves("a region that has been opened is kept")
def test_objects_of_a_process_that_is_no_relative():
    """Its region is opened through its descriptor, and what it sent lives on when it has ended."""
    ours = fastmp.SimpleQueue()
    with stranger() as ((lock, queue, number, event), connection, process):
        connection.send(ours)
        with lock:
            event.set()
            queue.put("to a stranger")
            assert ours.get() == "to a stranger"
        in_child(parts.use_in_a_task, queue, lock, event)  # the child of a fork has both regions
        assert queue.get(timeout=20) == "from the task"
        connection.send("end")
        process.wait(30)
        assert number.value == 11
    in_child(parts.use_in_a_task, queue, lock, event)
    assert queue.get(timeout=20) == "from the task"
    with lock:
        assert event.is_set()


@pytest.mark.parametrize(
    "methods", [("fork", "spawn"), ("spawn", "fork"), ("forkserver", "spawn"), ("spawn", "forkserver")]
)
def test_generations(servers, methods):
    """Children of children use the first one's objects; what they made themselves outlives them in its hands."""
    lock, number, back = fastmp.Lock(), fastmp.RawValue("i", 0), fastmp.Queue()
    first, *others = methods
    with playing(fastmp.get_context(first), parts.descend, others, lock, number, back):
        made = [back.get(timeout=40) for _ in methods]
    assert number.value == len(methods)
    assert sorted(level for level, *_ in made) == [0, 1]
    for level, queue, value in made:
        assert queue.get(timeout=20) == ("made in generation", level)
        value.value += 1
        assert value.value == level + 1
        queue.put("still there")
        assert queue.get(timeout=20) == "still there"
