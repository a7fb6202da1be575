"""What users of the standard library suffer from: each pain once, as its report tells it."""

import os
import pty
import select
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from multiprocessing import resource_sharer
from pathlib import Path

import pytest
from support import parts
from support.leftovers import pids_with_environment
from support.processes import eventually
from support.programs import home, output_of

import fastmp

MEGABYTE = 1 << 20


def megabytes_available():
    line = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
    return int(line.split()[1]) // 1024


@pytest.mark.skipif(megabytes_available() < 3000, reason="a gigabyte, and room for others")
def test_a_gigabyte_is_put_then_joined_then_got():
    queue = fastmp.Queue()
    child = fastmp.Process(target=parts.put_megabytes, args=(queue, 256, 4))
    child.start()
    child.join(50)
    assert child.exitcode == 0
    child.close()
    for number in range(256):
        found, data = queue.get(timeout=10)
        assert (found, len(data), data[0], data[-1]) == (number, 4 * MEGABYTE, number % 251, number % 251)


def test_ten_thousand_locks_and_thousands_of_queues():
    """Neither descriptors nor names nor time run out; each works, and goes as fast as it came."""
    text = """
        import fastmp, os, resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        locks = [fastmp.Lock() for _ in range(10_000)]
        queues = [fastmp.Queue() for _ in range(4_000)]
        for number, queue in enumerate(queues):
            queue.put(number)
        print([queue.get() for queue in queues] == list(range(4_000)))
        print(all(lock.acquire(timeout=0) for lock in locks), len(os.listdir("/dev/shm")))
    """
    before = len(os.listdir("/dev/shm"))
    assert output_of(text) == ["True", f"True {before}"]


def test_queues_and_locks_are_arguments_of_tasks(ctx):
    queue, lock, event = ctx.Queue(), ctx.Lock(), ctx.Event()
    with ctx.Pool(1) as pool:
        assert pool.apply(parts.use_in_a_task, (queue, lock, event)) == "done"
    assert queue.get(timeout=20) == "from the task"
    assert event.is_set()
    assert lock.acquire(timeout=0)
    resource_sharer.stop()  # its thread gave out the queue's descriptor


ARGUMENTS = """
    import multiprocessing
    from support.parts import use_in_a_task
    if __name__ == "__main__":
        context = multiprocessing.get_context("fork")
        things = context.Queue(), context.Lock(), context.Event()
        with context.Pool(1) as pool:
            try:
                print(pool.apply(use_in_a_task, things), things[0].get(timeout=20), things[2].is_set())
            except RuntimeError as error:
                print("only be shared between processes through inheritance" in str(error))
"""


def test_so_they_are_in_the_standard_librarys_place():
    """Nothing that worked before breaks: there it is an error."""
    path = {"PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    assert output_of(ARGUMENTS, env={**path, "FASTMP_INSTALL": "0"}) == ["True"]
    assert output_of(ARGUMENTS, env={**path, "FASTMP_INSTALL": "1"}) == ["done from the task True"]


QUEUE_OF_FORK = """
    import {first}, multiprocessing
    from support.parts import use_in_a_task
    if __name__ == "__main__":
        context = {package}.get_context("fork")
        queue, lock, event = context.Queue(), context.Lock(), context.Event()
        process = {package}.get_context("spawn").Process(target=use_in_a_task, args=(queue, lock, event))
        try:
            process.start()
        except RuntimeError as error:
            print("SemLock created in a fork context" in str(error))
        else:
            print(queue.get(timeout=20))
            process.join()
"""


def test_a_queue_of_the_fork_context_reaches_a_spawned_process():
    """Not in the standard library's place: CPython's own tests want its error."""
    path = {"PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    installed = QUEUE_OF_FORK.format(first="sys", package="multiprocessing")
    assert output_of(installed, env={**path, "FASTMP_INSTALL": "1"}) == ["True"]
    assert output_of(QUEUE_OF_FORK.format(first="fastmp", package="fastmp"), env=path) == ["from the task"]


# ---- ends


ORPHANS = """
    import fastmp, os, signal, sys
    def wait(connection, other, path):
        other.close()
        try:
            connection.send("ready")
            connection.recv()
        except (EOFError, ConnectionResetError) as error:
            alive = fastmp.parent_process().is_alive()
            with open(path + ".new", "w") as stream:
                stream.write(f"{type(error).__name__} {alive}")
            os.rename(path + ".new", path)
    if __name__ == "__main__":
        ours, theirs = fastmp.Pipe()
        fastmp.get_context(sys.argv[1]).Process(target=wait, args=(theirs, ours, sys.argv[2])).start()
        theirs.close()
        ours.recv()
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_child_that_waits_for_its_killed_parent(tmp_path, method):
    program, told = tmp_path / "program.py", tmp_path / "told"
    program.write_text(textwrap.dedent(ORPHANS))
    environment = {**os.environ, "PYTHONPATH": str(home())}
    done = subprocess.run([sys.executable, program, method, told], env=environment, timeout=50, check=False)
    assert done.returncode == -signal.SIGKILL
    assert eventually(told.exists)
    assert told.read_text() == "EOFError False"


CTRL_C = """
    import fastmp, sys, time
    from support.parts import tell_and_sleep
    if __name__ == "__main__":
        context = fastmp.get_context(sys.argv[1])
        if sys.argv[2] == "pool":
            with context.Pool(2) as pool:
                pool.map(tell_and_sleep, [600] * 8, chunksize=1)
        else:
            with fastmp.ProcessPoolExecutor(2, context) as executor:
                list(executor.map(tell_and_sleep, [600] * 8))
"""


def read_until(fd, wanted, times, seconds=100):
    """What a terminal shows, until `wanted` was there so often, or it is closed."""
    shown, end = b"", time.monotonic() + seconds
    while shown.count(wanted) < times:
        assert time.monotonic() < end, shown.decode()
        if select.select([fd], [], [], 0.1)[0]:
            try:
                shown += os.read(fd, 65536)
            except OSError:  # nobody has the terminal any more
                break
    return shown


@pytest.mark.time_limit(240)
@pytest.mark.parametrize("kind", ["pool", "executor"])
def test_ctrl_c_in_a_terminal(tmp_path, method, kind):
    """Every process of the foreground gets the signal: one traceback, and nobody is left."""
    program, token = tmp_path / "program.py", f"FASTMP_TEST_CTRL_C={uuid.uuid4()}"
    program.write_text(textwrap.dedent(CTRL_C))
    path = f"{home()}:{Path(__file__).resolve().parent.parent}"
    terminal, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, program, method, kind],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "PYTHONPATH": path, "NO_COLOR": "1", **dict([token.split("=")])},
        start_new_session=True,
        preexec_fn=parts.take_the_terminal,
    ) as process:
        os.close(theirs)
        read_until(terminal, b"at work", 2)
        os.write(terminal, b"\x03")
        shown = read_until(terminal, b"never shown", 1).decode()  # to the end
        assert process.wait(100) == -signal.SIGINT, shown
    os.close(terminal)
    assert shown.count("Traceback (most recent call last)") == 1, shown
    assert shown.rstrip().endswith("KeyboardInterrupt")
    eventually(lambda: not pids_with_environment(token))


class Interrupts:
    """A result: Ctrl-C comes while it is unpickled."""

    def __reduce__(self):
        return signal.raise_signal, (signal.SIGINT,)


def test_ctrl_c_while_a_result_is_unpickled():
    """It is no fault of the result: nothing is broken."""
    with fastmp.ProcessPoolExecutor(1) as executor:
        for _ in range(2):
            future = executor.submit(Interrupts)
            with pytest.raises(KeyboardInterrupt):
                future.result(30)
            assert executor.submit(os.getpid).result(30) > 0
    with fastmp.Pool(1) as pool:
        with pytest.raises(KeyboardInterrupt):
            pool.apply(Interrupts)
        assert pool.apply(os.getpid) > 0


def test_workers_that_hang_at_their_beginning_are_ended():
    pool = fastmp.Pool(2, time.sleep, (600,))
    result = pool.apply_async(os.getpid)
    with pytest.raises(fastmp.TimeoutError):
        result.get(0.05)
    pool.terminate()
    pool.join()
    executor = fastmp.ProcessPoolExecutor(2, fastmp.get_context("fork"), time.sleep, (600,))
    future = executor.submit(os.getpid)
    executor.kill_workers()
    with pytest.raises((fastmp.concurrent.futures.BrokenExecutor, fastmp.concurrent.futures.CancelledError)):
        future.result(30)
    executor.shutdown()
