"""fastmp.process and fastmp.popen_fork: the life of a child, as the standard library's users know it."""

import multiprocessing
import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
from multiprocessing import process as standard_process
from multiprocessing.connection import Connection, wait

import pytest
from support.targets import tell_about_me

import fastmp
from fastmp.popen_fork import Popen


def finished(target=None, *args, ctx=fastmp, **options):
    """A process that has run to its end."""
    child = ctx.Process(target=target, args=args, **options)
    child.start()
    child.join()
    return child


@pytest.fixture
def sleeper(ctx):
    """A running child of each start method that would sleep for long."""
    child = ctx.Process(target=time.sleep, args=(60,))
    child.start()
    yield child
    child.kill()
    child.join()
    child.close()


def run_script(text, **options):
    """Run a Python program; its result with the output as text."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        **options,
    )


def told_by_child(ctx, **options):
    """What a child of `ctx` tells about itself."""
    reader, writer = os.pipe()
    sender = Connection(writer, readable=False)
    child = ctx.Process(target=tell_about_me, args=(sender,), **options)
    child.start()
    sender.close()
    with Connection(reader, writable=False) as receiver:
        told = receiver.recv()
    child.join()
    assert child.exitcode == 0
    return told


def in_child(function):
    """What `function` returns in a forked child."""
    reader, writer = os.pipe()
    finished(lambda: os.write(writer, repr(function()).encode()))
    os.close(writer)
    with open(reader) as stream:
        return stream.read()


# ---- identity


def test_types_are_fastmps_and_the_standard_ones(ctx):
    child = finished(ctx=ctx)
    assert type(child).__module__ == "fastmp.process"
    assert type(child._popen).__module__.startswith("fastmp.popen_")
    assert isinstance(child._popen, Popen)
    assert child._popen.method == ctx.get_start_method()
    assert isinstance(child, standard_process.BaseProcess)
    assert isinstance(fastmp.Process(), multiprocessing.Process)


def test_names_and_numbers():
    first, second = fastmp.Process(), fastmp.Process()
    number = int(first.name.removeprefix("Process-"))
    assert second.name == f"Process-{number + 1}"
    assert fastmp.get_context("fork").Process().name == f"ForkProcess-{number + 2}"
    assert in_child(lambda: fastmp.Process().name) == repr(f"Process-{number + 3}:1")


def test_repr_tells_the_state(sleeper):
    assert "started" in repr(sleeper)
    assert "initial" in repr(fastmp.Process())
    sleeper.kill()
    sleeper.join()
    assert "exitcode=-SIGKILL" in repr(sleeper)


def test_who_runs(ctx):
    assert fastmp.current_process() is multiprocessing.current_process()
    assert fastmp.parent_process() is None
    for told in (told_by_child(ctx, name="Someone"), told_by_child(ctx, daemon=True)):
        assert told["parent"] == os.getpid()
        assert told["parent_name"] == "MainProcess"
        assert told["parent_lives"]
        assert told["methods"] == [ctx.get_start_method()] * 2
    assert told["daemon"]
    assert told_by_child(ctx, name="Someone")["name"] == "Someone"


def test_what_a_child_has_of_its_parent(ctx, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["program", "--option"])
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.setattr(fastmp.current_process(), "authkey", b"secret")
    monkeypatch.chdir(tmp_path)
    told = told_by_child(ctx)
    assert told["argv"] == ["program", "--option"]
    assert told["path"] == sys.path
    assert told["flags"] == str(sys.flags)
    assert told["authkey"] == b"secret"
    assert told["cwd"] == str(tmp_path)


def test_parent_is_alive_and_then_not():
    script = """
        import fastmp, os, time
        def child():
            parent = fastmp.parent_process()
            print(parent.is_alive(), flush=True)
            parent.join(20)
            print(parent.is_alive(), flush=True)
        fastmp.Process(target=child).start()
        time.sleep(0.2)
        os.kill(os.getpid(), 9)
    """
    assert run_script(script).stdout.split() == ["True", "False"]


# ---- exit codes


@pytest.mark.parametrize(
    ("argument", "code"), [(None, 0), (0, 0), (3, 3), (-1, 255), (500, 500 & 0xFF), (10**12, 10**12 & 0xFF)]
)
def test_sys_exit(ctx, argument, code):
    assert finished(sys.exit, argument, ctx=ctx).exitcode == code


def test_sys_exit_with_a_text(method):
    script = f"""
        import fastmp, sys
        child = fastmp.get_context("{method}").Process(target=sys.exit, args=("last words",))
        child.start()
        child.join()
        print(child.exitcode)
    """
    result = run_script(script)
    assert (result.stdout, result.stderr) == ("1\n", "last words\n")


def test_exit_code_before_during_and_after(sleeper):
    assert fastmp.Process().exitcode is None
    assert sleeper.exitcode is None
    assert sleeper.is_alive()
    sleeper.terminate()
    sleeper.join()
    assert sleeper.exitcode == -signal.SIGTERM
    assert not sleeper.is_alive()


def test_exception_is_shown_with_the_name(method):
    script = f"""
        import fastmp
        child = fastmp.get_context("{method}").Process(target=int, args=("x",), name="Counter")
        child.start()
        child.join()
        print(child.exitcode)
    """
    result = run_script(script)
    assert result.stdout == "1\n"
    err = result.stderr
    assert err.startswith("Process Counter:\nTraceback (most recent call last):\n")
    assert err.endswith("ValueError: invalid literal for int() with base 10: 'x'\n")


def test_dead_by_a_signal_of_its_own(ctx):
    assert finished(signal.raise_signal, signal.SIGUSR1, ctx=ctx).exitcode == -signal.SIGUSR1


# ---- joining


def test_join_with_timeout(sleeper):
    started = time.monotonic()
    assert sleeper.join(0.1) is None
    assert sleeper.is_alive()
    assert 0.09 < time.monotonic() - started < 5
    sleeper.join(-1)
    sleeper.join(0)
    assert sleeper.is_alive()


def test_join_with_a_long_timeout(ctx):
    child = ctx.Process()
    child.start()
    child.join(1e9)
    assert child.exitcode == 0


def test_join_with_a_timeout_that_cannot_be_counted(sleeper):
    for timeout in (1e12, float("inf")):
        with pytest.raises(OverflowError, match="too large"):
            sleeper.join(timeout)
    assert sleeper.is_alive()


def test_sentinel(sleeper):
    assert wait([sleeper.sentinel], 0) == []
    assert select.select([sleeper.sentinel], [], [], 0) == ([], [], [])
    sleeper.kill()
    assert wait([sleeper.sentinel], 10) == [sleeper.sentinel]


def test_sentinel_does_not_wait_for_grandchildren():
    reader, writer = os.pipe()

    def grandchild():
        os.close(writer)
        os.read(reader, 1)  # until the test closes the other end

    def parent():
        fastmp.Process(target=grandchild).start()
        os._exit(0)

    child = fastmp.Process(target=parent)
    child.start()
    assert wait([child.sentinel], 10) == [child.sentinel]
    child.join()
    os.close(writer)
    os.close(reader)


def test_many_threads_join_and_all_see_the_code(sleeper):
    codes = []

    def join():
        sleeper.join()
        codes.append(sleeper.exitcode)

    threads = [threading.Thread(target=join) for _ in range(8)]
    for thread in threads:
        thread.start()
    sleeper.terminate()
    for thread in threads:
        thread.join()
    assert codes == [-signal.SIGTERM] * 8


def test_ctrl_c_ends_a_join():
    script = """
        import fastmp, os, signal, threading, time
        child = fastmp.Process(target=time.sleep, args=(30,), daemon=True)
        child.start()
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        child.join()
    """
    started = time.monotonic()
    result = run_script(script)
    assert result.returncode == -signal.SIGINT
    assert result.stderr.endswith("KeyboardInterrupt\n")
    assert time.monotonic() - started < 10


def test_active_children_reaps(sleeper):
    assert sleeper in fastmp.active_children()
    sleeper.kill()
    wait([sleeper.sentinel])
    assert sleeper not in fastmp.active_children()
    with pytest.raises(ProcessLookupError):
        os.kill(sleeper.pid, 0)


def test_child_reaped_by_a_stranger():
    child = fastmp.Process()
    child.start()
    os.waitpid(child.pid, 0)
    child.join()
    assert child.exitcode == 255
    assert not child.is_alive()


def test_child_reaped_by_who_has_replaced_waitpid(monkeypatch):
    """As gevent does: it waits for every child itself, and its `os.waitpid` tells what it has learned."""
    plain, statuses = os.waitpid, {}

    def ask(pid, flag):
        return (pid, statuses.pop(pid)) if pid in statuses else plain(pid, flag)

    monkeypatch.setattr(os, "waitpid", ask)
    children = [fastmp.Process(target=os._exit, args=(code,)) for code in (3, 4, 5)]
    for child in children:
        child.start()
    for child in children:
        wait([child.sentinel])
        if child._popen.returncode is None:  # the start of the next one may have asked for it already
            statuses[child.pid] = plain(child.pid, 0)[1]
    children[0].join()
    children[1].join(20)
    assert [child.exitcode for child in children] == [3, 4, 5]


def test_child_of_another_process_has_no_code(sleeper):
    assert in_child(lambda: sleeper._popen.poll()) == "None"


def test_sigchld_ignored():
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        child = finished()
        assert not child.is_alive()
    finally:
        signal.signal(signal.SIGCHLD, before)


# ---- misuse


def test_start_twice_and_join_too_early(sleeper):
    with pytest.raises(AssertionError, match="cannot start a process twice"):
        sleeper.start()
    with pytest.raises(AssertionError, match="can only join a started process"):
        fastmp.Process().join()
    with pytest.raises(AssertionError):
        sleeper.daemon = True


def test_close(ctx, sleeper):
    with pytest.raises(ValueError, match="still running"):
        sleeper.close()
    child = finished(ctx=ctx)
    sentinel = child.sentinel
    child.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(sentinel)
    for use in (child.join, child.is_alive, child.terminate, lambda: child.exitcode):
        with pytest.raises(ValueError, match="process object is closed"):
            use()


def test_signals_to_a_child_that_has_ended(ctx):
    child = finished(ctx=ctx)
    child.terminate()
    child.kill()
    assert child.exitcode == 0


def test_daemons_have_no_children():
    def start_one():
        fastmp.Process().start()

    assert finished(start_one, daemon=True).exitcode == 1


def test_no_descriptors_left():
    limit = len(os.listdir("/proc/self/fd"))
    script = f"""
        import fastmp, os, resource
        resource.setrlimit(resource.RLIMIT_NOFILE, ({limit} + 20, {limit} + 20))
        held = []
        try:
            while True:
                held.append(open(os.devnull))
        except OSError:
            pass
        try:
            fastmp.Process().start()
        except OSError as error:
            print(error.strerror)
        print(fastmp.active_children())
    """
    assert run_script(script).stdout == "Too many open files\n[]\n"


# ---- the child's surroundings


def test_stdin_is_dev_null():
    assert in_child(lambda: os.readlink(f"/proc/self/fd/{sys.stdin.fileno()}")) == "'/dev/null'"


def test_output_is_flushed():
    script = """
        import fastmp, sys
        def child():
            print("out", end="")
            sys.stderr.write("err")
        print("before ", end="")
        child = fastmp.Process(target=child); child.start(); child.join()
        print(" after", end="")
    """
    result = run_script(script)
    assert (result.stdout, result.stderr) == ("before out after", "err")


def test_exit_functions():
    """Those of the parent are its own; finalizers of the child run; its exit functions run where they always did."""
    script = """
        import atexit, fastmp
        from fastmp import util
        def child():
            util.Finalize(None, print, ("finalizer of the child",), exitpriority=1)
            atexit.register(print, "exit function of the child")
        atexit.register(print, "exit function of the parent")
        process = fastmp.Process(target=child); process.start(); process.join()
    """
    expected = ["finalizer of the child", "exit function of the parent"]
    if sys.version_info >= (3, 13):
        expected.insert(0, "exit function of the child")
    assert run_script(script).stdout.splitlines() == expected


def test_at_exit_daemons_are_ended_and_others_joined():
    script = """
        import fastmp, time
        def slow(): time.sleep(0.3); print("joined")
        daemon = fastmp.Process(target=time.sleep, args=(30,), daemon=True)
        daemon.start()
        fastmp.Process(target=slow).start()
        print(daemon.pid, flush=True)
    """
    started = time.monotonic()
    pid, text = run_script(script).stdout.split()
    assert text == "joined"
    assert time.monotonic() - started < 15
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_after_fork_callbacks_run():
    script = """
        import fastmp
        from fastmp import util
        class Thing: pass
        thing = Thing()
        util.register_after_fork(thing, lambda thing: print("in the child"))
        child = fastmp.Process(); child.start(); child.join()
    """
    assert run_script(script).stdout == "in the child\n"


def test_bootstrap_may_be_patched(monkeypatch):
    """As coverage does, to measure children."""
    original = standard_process.BaseProcess._bootstrap

    def patched(self, *args, **kwargs):
        original(self, *args, **kwargs)
        return 42

    monkeypatch.setattr(standard_process.BaseProcess, "_bootstrap", patched)
    assert finished().exitcode == 42


def test_run_may_be_overridden():
    class Worker(fastmp.Process):
        def __init__(self, code):
            super().__init__()
            self.code = code

        def run(self):
            sys.exit(self.code)

    worker = Worker(7)
    worker.start()
    worker.join()
    assert worker.exitcode == 7
    assert worker.name.startswith("Worker-")


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_forking_thread_may_end():
    children = []

    def start():
        child = fastmp.Process(target=time.sleep, args=(60,))
        child.start()
        children.append(child)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    (child,) = children
    assert child.join(0.2) is None
    assert child.is_alive()
    child.kill()
    child.join()


def test_children_of_a_plain_fork_are_noticed() -> None:
    """They hold what their parent held, and nobody says when they have ended by `os._exit`."""
    kept = fastmp.Queue()
    before = fastmp._core.heap_stats()
    for _ in range(300):
        queues = [fastmp.Queue() for _ in range(3)]
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        del queues
    after = fastmp._core.heap_stats()
    assert kept.empty()
    assert after["shared"] - before["shared"] < 100


def test_a_process_costs_no_modules_that_it_does_not_use():
    """Logging's functions of fork would run in every child."""
    script = (
        "import sys, fastmp; p = fastmp.Process(target=int); p.start(); p.join();"
        "print(p.exitcode, sorted({'concurrent.futures', 'logging'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "0 []\n", done.stderr
