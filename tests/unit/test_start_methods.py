"""fastmp.spawn, fastmp.forkserver and their Popen: children that are not forked from here, and what they must know."""

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import uuid
from contextlib import suppress
from pathlib import Path

import pytest
from support.leftovers import pids_with_environment
from support.processes import eventually
from support.programs import home, python

import fastmp
from fastmp import forkserver, spawn

NEW = ["spawn", "forkserver"]


@pytest.fixture(params=NEW)
def new_method(request, servers):
    """A start method that forks nothing here."""
    return request.param


def lines(result):
    assert not result.stderr, result.stderr
    assert result.returncode == 0
    return result.stdout.splitlines()


def program(folder: Path, text: str, name: str = "program.py") -> Path:
    """A file with a main module; `support` and fastmp can be imported in it."""
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def run(folder: Path, text: str, *arguments: str, env: dict[str, str] | None = None):
    return python(program(folder, text), *arguments, env={"PYTHONPATH": str(home()), **(env or {})})


# ---- the mirrors


def test_modules_show_what_the_standard_ones_show():
    import multiprocessing.forkserver
    import multiprocessing.spawn

    for ours, standard in ((spawn, multiprocessing.spawn), (forkserver, multiprocessing.forkserver)):
        for name in standard.__all__:
            assert getattr(ours, name)
    assert spawn.is_forking(["python", "--multiprocessing-fork"])
    assert spawn.get_command_line(pipe_handle=3) == multiprocessing.spawn.get_command_line(pipe_handle=3)
    assert spawn.get_preparation_data("me").keys() == multiprocessing.spawn.get_preparation_data("me").keys()


def test_preparing_a_child_settles_no_start_method(tmp_path):
    text = """
        import fastmp, multiprocessing
        if __name__ == "__main__":
            child = fastmp.get_context("spawn").Process()
            child.start(); child.join()
            print(child.exitcode, fastmp.get_start_method(True), multiprocessing.get_start_method(True))
    """
    assert lines(run(tmp_path, text)) == ["0 None None"]


# ---- the main module


MAIN = """
    import multiprocessing, sys
    import fastmp
    print(__name__, sys.argv[1:], flush=True)
    class Thing:
        pass
    def child(thing):
        print(type(thing).__module__, __name__, sys.modules["__main__"].child is child, flush=True)
    if __name__ == "__main__":
        process = fastmp.get_context(sys.argv[1]).Process(target=child, args=(Thing(),))
        process.start(); process.join()
        print(process.exitcode)
"""


def test_main_is_imported_under_another_name(tmp_path, new_method):
    first, *rest = lines(run(tmp_path, MAIN, new_method, "x"))
    assert first == f"__main__ ['{new_method}', 'x']"
    assert rest == [f"__mp_main__ ['{new_method}', 'x']", "__mp_main__ __mp_main__ True", "0"]


def test_main_of_a_package(tmp_path, new_method):
    (tmp_path / "package").mkdir()
    program(tmp_path / "package", MAIN, "module.py")
    program(tmp_path / "package", "", "__init__.py")
    path = {"PYTHONPATH": f"{home()}:{tmp_path}"}
    assert lines(python("-m", "package.module", new_method, env=path))[-2:] == ["__mp_main__ __mp_main__ True", "0"]


def test_without_a_guard(tmp_path, new_method):
    text = """
        import fastmp, sys
        child = fastmp.get_context(sys.argv[1]).Process(target=print)
        child.start(); child.join()
        print(child.exitcode)
    """
    result = run(tmp_path, text, new_method)
    assert result.stdout == "1\n"
    assert "An attempt has been made to start a new process before the" in result.stderr
    assert "section in https://docs.python.org/3/library/multiprocessing.html" in result.stderr


def test_what_cannot_be_pickled(new_method):
    context = fastmp.get_context(new_method)
    for child in (context.Process(target=lambda: None), context.Process(args=(threading.Lock(),))):
        with fastmp.installed(), pytest.raises((AttributeError, TypeError, pickle.PicklingError), match="pickle"):
            child.start()
        assert child.exitcode is None
        assert child not in fastmp.active_children()


def test_what_cannot_be_unpickled(tmp_path, new_method):
    text = """
        import fastmp, sys
        class Hostile:
            def __reduce__(self): return int, ("x",)
        if __name__ == "__main__":
            child = fastmp.get_context(sys.argv[1]).Process(target=print, args=(Hostile(),))
            child.start(); child.join()
            print(child.exitcode)
    """
    result = run(tmp_path, text, new_method)
    assert result.stdout == "1\n"
    assert result.stderr.endswith("ValueError: invalid literal for int() with base 10: 'x'\n")


# ---- the surroundings


def test_paths_of_the_parent_lead_to_fastmp(tmp_path, new_method):
    """Neither site-packages nor PYTHONPATH nor the current folder has it."""
    text = f"""
        import sys
        sys.path.append({str(home())!r})
        import fastmp
        if __name__ == "__main__":
            fastmp.install()
            child = fastmp.get_context(sys.argv[1]).Process(target=print, args=(fastmp.Lock,))
            child.start(); child.join()
            print(child.exitcode)
    """
    command = ("-S", "-E", program(tmp_path, text), new_method)
    assert lines(python(*command, folder=tmp_path))[-1] == "0"


def test_relative_paths_lead_to_fastmp(tmp_path, new_method):
    text = f"""
        import os, sys
        os.chdir({str(home().parent)!r})
        sys.path.append({home().name!r})
        import fastmp
        if __name__ == "__main__":
            child = fastmp.get_context(sys.argv[1]).Process(target=sys.exit, args=(4,))
            child.start(); child.join()
            print(child.exitcode)
    """
    assert lines(python("-S", "-E", program(tmp_path, text), new_method, folder=tmp_path)) == ["4"]


def test_logging_goes_along(tmp_path):
    text = """
        import fastmp, logging, sys
        def child(): print(fastmp.get_logger().level, len(fastmp.get_logger().handlers), flush=True)
        if __name__ == "__main__":
            fastmp.log_to_stderr(logging.WARNING)
            for method in fastmp.get_all_start_methods():
                process = fastmp.get_context(method).Process(target=child)
                process.start(); process.join()
    """
    assert lines(run(tmp_path, text)) == ["30 1"] * 3


def test_flags_go_along(tmp_path, new_method):
    text = """
        import fastmp, sys
        def child(): print(sys.flags.optimize, sys.flags.dev_mode, sys.flags.utf8_mode, sys.warnoptions)
        if __name__ == "__main__":
            child()
            process = fastmp.get_context(sys.argv[1]).Process(target=child)
            process.start(); process.join()
    """
    path = {"PYTHONPATH": str(home())}
    ours, childs = lines(python("-O", "-Xutf8", "-Werror::UserWarning", program(tmp_path, text), new_method, env=path))
    assert ours == childs == "1 False 1 ['error::UserWarning']"


def test_descendants_of_all_kinds(tmp_path):
    """A child of each method has children of each method, and knows whose it is."""
    text = """
        import fastmp, sys
        def descend(methods):
            if not methods:
                return
            child = fastmp.get_context(methods[0]).Process(target=descend, args=(methods[1:],))
            child.start(); child.join()
            print(*methods, child.exitcode, fastmp.parent_process() is None, flush=True)
        if __name__ == "__main__":
            for methods in (("spawn", "fork", "spawn"), ("forkserver", "spawn", "fork"), ("fork", "spawn")):
                descend(methods)
    """
    shown = lines(run(tmp_path, text))
    assert len(shown) == 8
    assert all(" 0 " in line for line in shown)
    assert sum(line.endswith("True") for line in shown) == 3


def test_the_sentinel_of_the_parent_is_the_parent_alone(tmp_path, new_method):
    """A sibling that outlives it holds the same pipes; the sentinel is readable nevertheless."""
    told, token = tmp_path / "told", f"FASTMP_TEST_SIBLING={uuid.uuid4()}"
    text = """
        import fastmp, os, signal, sys, time
        from fastmp.connection import Connection
        def watch(ready, file):
            parent = fastmp.parent_process()
            before = parent.is_alive()
            ready.send_bytes(b"x")
            parent.join(30)
            with open(file, "x") as stream:
                stream.write(f"{before} {parent.is_alive()}")
        if __name__ == "__main__":
            reader, writer = os.pipe()
            watcher = fastmp.get_context(sys.argv[1]).Process(target=watch, args=(Connection(writer), sys.argv[2]))
            watcher.start()
            fastmp.get_context("fork").Process(target=time.sleep, args=(60,)).start()
            os.read(reader, 1)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    environment = {**os.environ, "PYTHONPATH": str(home()), **dict([token.split("=")])}
    try:
        subprocess.run([sys.executable, program(tmp_path, text), new_method, told], env=environment, check=False)
        assert eventually(lambda: told.exists() and told.read_text()) == "True False"
    finally:
        for pid in pids_with_environment(token):
            with suppress(ProcessLookupError):  # the watcher ends by itself
                os.kill(pid, signal.SIGKILL)


# ---- workers


WORKERS = """
    import fastmp, os, signal, sys, time
    def pid(_): return os.getpid()
    def begin(value):
        global given
        given = value
    def answer(n): return given + n
    if __name__ == "__main__":
        context = fastmp.get_context(sys.argv[1])
        if sys.argv[2] == "pool":
            pool = context.Pool(2, begin, (40,))
            print(pool.map(answer, range(3)))
            pids = {pid for pid in pool.map(pid, range(40), 1)} | {worker.pid for worker in pool._pool}
        else:
            pool = fastmp.ProcessPoolExecutor(2, context, begin, (40,))
            print(list(pool.map(answer, range(3))))
            pids = set(pool._processes)
        print(*pids, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("kind", ["pool", "executor"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_end_with_their_parent(tmp_path, method, kind):
    """Functions and initializers of the main module; then the parent is killed, and nobody stays."""
    result = run(tmp_path, WORKERS, method, kind)
    results, pids = result.stdout.splitlines()
    assert results == "[40, 41, 42]"
    assert len(pids.split()) == 2
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids.split()))


# ---- what starts the child


def test_an_executable_that_is_not_there(tmp_path):
    """Also with more to send than a pipe holds: nobody reads it."""
    text = """
        import fastmp
        from multiprocessing import resource_tracker
        if __name__ == "__main__":
            resource_tracker.ensure_running()
            fastmp.set_executable("/does/not/exist")
            for size in (1, 1_000_000):
                child = fastmp.get_context("spawn").Process(target=print, args=(bytes(size),))
                child.start(); child.join()
                print(child.exitcode)
    """
    assert lines(run(tmp_path, text)) == ["255", "255"]


def test_another_executable(tmp_path, new_method):
    wrapper = program(tmp_path, f"""#!/bin/sh\nTHROUGH_WRAPPER=1 exec {sys.executable} "$@"\n""", "wrapper")
    wrapper.chmod(0o755)
    text = """
        import fastmp, os, sys
        def child(): print(os.environ.get("THROUGH_WRAPPER"))
        if __name__ == "__main__":
            fastmp.set_executable(sys.argv[2])
            process = fastmp.get_context(sys.argv[1]).Process(target=child)
            process.start(); process.join()
    """
    assert lines(run(tmp_path, text, new_method, str(wrapper))) == ["1"]


FROZEN = """
    import os, sys
    from multiprocessing import resource_tracker
    resource_tracker.ensure_running()
    sys.frozen = True
    import {module}
    {module}.set_executable(os.environ["WRAPPER"])
    sys.executable = os.environ["WRAPPER"]
    import fastmp
    def child(): print("in the child", fastmp.parent_process() is not None, flush=True)
    if __name__ == "__main__":
        {module}.freeze_support()
        print("the program itself", flush=True)
        process = fastmp.get_context("spawn").Process(target=child)
        process.start(); process.join()
        print(process.exitcode)
"""


def test_a_frozen_program(tmp_path):
    path = program(tmp_path, FROZEN.format(module="fastmp"))
    wrapper = program(tmp_path, f"""#!/bin/sh\nexec {sys.executable} {path} "$@"\n""", "wrapper")
    wrapper.chmod(0o755)
    result = python(path, env={"PYTHONPATH": str(home()), "WRAPPER": str(wrapper)})
    assert lines(result) == ["the program itself", "in the child True", "0"]


# ---- the server


def test_the_server_preloads(tmp_path):
    program(tmp_path, "import os\npid = os.getpid()", "preloaded.py")
    text = """
        import fastmp, os, sys
        def child():
            print("preloaded" in sys.modules, "fastmp.queues" in sys.modules, flush=True)
            import preloaded
            print(preloaded.pid == os.getppid(), flush=True)
        if __name__ == "__main__":
            fastmp.set_forkserver_preload(["preloaded", "does.not.exist"])
            process = fastmp.get_context("forkserver").Process(target=child)
            process.start(); process.join()
    """
    assert lines(run(tmp_path, text)) == ["True True", "True"]


def test_what_the_server_preloads_is_installed(tmp_path):
    """And the server itself stays plain: a child says what it is."""
    program(tmp_path, "from multiprocessing.queues import Queue", "preloaded.py")
    text = """
        import fastmp, multiprocessing
        def child():
            import preloaded
            print(preloaded.Queue.__module__, multiprocessing.Process.__module__, flush=True)
        def run(context):
            process = context.Process(target=child)
            process.start(); process.join()
        if __name__ == "__main__":
            fastmp.install()
            multiprocessing.set_forkserver_preload(["preloaded"])
            run(multiprocessing.get_context("forkserver"))
            fastmp.uninstall()
            run(multiprocessing.get_context("forkserver"))
            run(fastmp.get_context("forkserver"))
    """
    ours, standard = "fastmp.process", "multiprocessing.context"
    assert lines(run(tmp_path, text)) == [f"fastmp.queues {name}" for name in (ours, standard, standard)]


def test_a_server_that_was_killed(tmp_path):
    """Its children's codes are lost; the next process has another server."""
    text = """
        import fastmp, os, signal, time
        from fastmp.connection import wait
        from multiprocessing.forkserver import _forkserver
        if __name__ == "__main__":
            context = fastmp.get_context("forkserver")
            child = context.Process(target=time.sleep, args=(60,))
            child.start()
            server = os.pidfd_open(_forkserver._forkserver_pid)
            signal.pidfd_send_signal(server, signal.SIGKILL)
            child.join()
            print(child.exitcode)
            os.kill(child.pid, signal.SIGKILL)
            wait([server])
            child = context.Process(target=os._exit, args=(3,))
            child.start(); child.join()
            print(child.exitcode)
    """
    assert lines(run(tmp_path, text)) == ["255", "3"]


def test_a_server_that_is_another_processs(tmp_path):
    """A forked child knows its parent's server, cannot wait for it, and has one of its own when it needs one."""
    text = """
        import fastmp, os
        from multiprocessing.forkserver import _forkserver
        def use():
            child = fastmp.get_context("forkserver").Process(target=os._exit, args=(3,))
            child.start(); child.join()
            return child.exitcode
        def main():
            before = _forkserver._forkserver_pid
            print(use(), _forkserver._forkserver_pid != before)
        if __name__ == "__main__":
            print(use())
            child = fastmp.get_context("fork").Process(target=main)
            child.start(); child.join()
            server = _forkserver._forkserver_pid
            print(use(), _forkserver._forkserver_pid == server)
    """
    assert lines(run(tmp_path, text)) == ["3", "3 True", "3 True"]


def test_too_many_descriptors(new_method):
    if new_method == "spawn":
        pytest.skip("has no such limit")
    ends = [os.dup(0) for _ in range(256)]
    try:
        child = fastmp.get_context(new_method).Process(target=print, args=tuple(map(Descriptor, ends)))
        with pytest.raises(ValueError, match="too many fds"):
            child.start()
    finally:
        for end in ends:
            os.close(end)


class Descriptor:
    """Takes a descriptor along."""

    def __init__(self, fd):
        self.fd = fd

    def __reduce__(self):
        from multiprocessing.reduction import DupFd

        return int, (DupFd(self.fd),)
