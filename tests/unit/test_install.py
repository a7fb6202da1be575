"""fastmp.install, uninstall and installed; %load_ext; the hook behind FASTMP_INSTALL=1."""

import os
import textwrap
from types import SimpleNamespace

import pytest
from support.programs import home, output_of, python

import fastmp
from fastmp import _install

MODULES = """
import importlib
NAMES = (
    "multiprocessing multiprocessing.context multiprocessing.connection multiprocessing.synchronize "
    "multiprocessing.sharedctypes multiprocessing.queues multiprocessing.pool multiprocessing.process "
    "multiprocessing.managers multiprocessing.popen_fork multiprocessing.popen_spawn_posix "
    "multiprocessing.popen_forkserver multiprocessing.spawn multiprocessing.forkserver multiprocessing.reduction "
    "multiprocessing.dummy multiprocessing.util multiprocessing.shared_memory "
    "concurrent.futures concurrent.futures.process"
)
modules = [importlib.import_module(name) for name in NAMES.split()]

def everything():
    "Each attribute of each module, of its classes and dictionaries, by identity."
    found = {}
    for module in modules:
        for name, value in vars(module).items():
            found[module.__name__, name] = id(value)
            if isinstance(value, type) and value.__module__ == module.__name__:
                found.update({(module.__name__, name, inner): id(v) for inner, v in vars(value).items()})
    context, managers = modules[1], modules[8]
    found.update({("contexts", name): id(v) for name, v in context._concrete_contexts.items()})
    found.update({("registry", name): v for name, v in managers.SyncManager._registry.items()})
    found["method"] = context._default_context.get_start_method(allow_none=True)
    return found
"""


def test_every_module_hands_out_fastmps_classes():
    script = """
        import fastmp
        fastmp.install()
        import concurrent.futures, multiprocessing.connection, multiprocessing.pool, multiprocessing.queues
        import multiprocessing.sharedctypes, multiprocessing.synchronize
        from concurrent.futures.process import ProcessPoolExecutor
        for thing in (
            multiprocessing.Process, multiprocessing.get_context("fork").Process, multiprocessing.get_context(),
            multiprocessing.context.ForkContext, multiprocessing.connection.Connection, multiprocessing.pool.Pool,
            multiprocessing.queues.Queue, multiprocessing.queues.SimpleQueue, multiprocessing.synchronize.Lock,
            multiprocessing.synchronize.Barrier, multiprocessing.Queue(), multiprocessing.Lock(),
            multiprocessing.Event(), multiprocessing.Value("i"), multiprocessing.Pipe()[0],
            concurrent.futures.ProcessPoolExecutor, ProcessPoolExecutor,
        ):
            print((thing if isinstance(thing, type) else type(thing)).__module__.partition(".")[0])
    """
    assert set(output_of(script)) == {"fastmp"}


def test_names_taken_before_are_reached():
    script = """
        import multiprocessing
        from multiprocessing import Process, Queue, Value, get_context
        from multiprocessing.context import ForkProcess, ForkServerProcess, SpawnProcess
        fork, old_default = get_context("fork"), multiprocessing.context._default_context
        spawn, forkserver = get_context("spawn"), get_context("forkserver")
        import fastmp
        fastmp.install()
        for process in (
            Process(), ForkProcess(), fork.Process(), old_default.Process(),
            SpawnProcess(), spawn.Process(), ForkServerProcess(), forkserver.Process(),
        ):
            process.start()
            process.join()
            print(type(process._popen).__module__, process.exitcode)
        for thing in (Queue(), fork.Lock(), spawn.Event(), Value("i"), forkserver.Queue(), old_default.SimpleQueue()):
            print(type(thing).__module__.partition(".")[0])
    """
    kinds = ["fork"] * 4 + ["spawn_posix"] * 2 + ["forkserver"] * 2
    assert output_of(script) == [f"fastmp.popen_{kind} 0" for kind in kinds] + ["fastmp"] * 6


OTHERS = """
import multiprocessing, os
from multiprocessing.context import BaseContext, SpawnContext, SpawnProcess
from multiprocessing.popen_spawn_posix import Popen
from multiprocessing.process import BaseProcess

class TheirProcess(SpawnProcess):
    def run(self):
        print(type(multiprocessing.Lock()).__module__.partition(".")[0], multiprocessing.get_start_method(), flush=True)

class TheirContext(SpawnContext):
    Process = TheirProcess

class OwnProcess(BaseProcess):
    _start_method = "own"
    @staticmethod
    def _Popen(process):
        return Popen(process)
    run = TheirProcess.run

class OwnContext(BaseContext):
    _name = "own"
    Process = OwnProcess

multiprocessing.context._concrete_contexts["own"] = OwnContext()
contexts = [TheirContext(), multiprocessing.get_context("own")]
"""


def test_contexts_of_other_libraries(tmp_path):
    """Made from the standard ones before `install`: what inherits the way to start a child makes fastmp's."""
    (tmp_path / "others.py").write_text(OTHERS)
    program = """
        import sys
        import others, multiprocessing
        import fastmp
        if __name__ == "__main__":
            fastmp.install()
            for context in others.contexts:
                process = context.Process()
                process.start()
                process.join()
                print(process.exitcode, type(process._popen).__module__, context.Queue().__module__)
            print(multiprocessing.get_context("own") is others.contexts[1])
    """
    (tmp_path / "program.py").write_text(textwrap.dedent(program))
    result = python(tmp_path / "program.py", env={"PYTHONPATH": str(home())})
    assert not result.stderr
    assert result.stdout.splitlines() == [
        "fastmp spawn",
        "0 fastmp.popen_spawn_posix fastmp.queues",
        "multiprocessing own",
        "0 multiprocessing.popen_spawn_posix fastmp.queues",
        "True",
    ]


def test_uninstall_restores_everything():
    script = (
        MODULES
        + """
import fastmp
before = everything()
for _ in range(2):
    fastmp.install()
    fastmp.install()
    print(everything() != before, len(fastmp._install.replacements()) > 40)
    fastmp.uninstall()
    fastmp.uninstall()
    after = everything()
    print(sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key)))
"""
    )
    assert output_of(script) == ["True True", "[]"] * 2


def test_executor_that_nobody_had_asked_for():
    """`concurrent.futures` has its own binding, made at the first use."""
    script = """
        import concurrent.futures, fastmp
        print("ProcessPoolExecutor" in vars(concurrent.futures))
        with fastmp.installed():
            print(concurrent.futures.ProcessPoolExecutor.__module__)
        print("ProcessPoolExecutor" in vars(concurrent.futures), concurrent.futures.ProcessPoolExecutor.__module__)
    """
    ours, standard = "fastmp.concurrent.futures.process", "concurrent.futures.process"
    assert output_of(script) == ["False", ours, f"False {standard}"]


def test_installed_nests():
    import multiprocessing.queues

    standard = multiprocessing.queues.Queue
    with fastmp.installed():
        with fastmp.installed():
            pass
        assert multiprocessing.queues.Queue is not standard
    assert multiprocessing.queues.Queue is standard


def test_installed_uninstalls_after_an_error():
    import multiprocessing

    with pytest.raises(KeyError), fastmp.installed():
        raise KeyError
    assert not multiprocessing.Process.__module__.startswith("fastmp")


def test_what_others_have_put_there_since_stays(monkeypatch):
    import multiprocessing.queues

    standard = multiprocessing.queues.Queue
    with fastmp.installed():
        multiprocessing.queues.Queue = patched = object()
    assert multiprocessing.queues.Queue is patched
    multiprocessing.queues.Queue = standard


def test_a_failed_install_changes_nothing(monkeypatch):
    import multiprocessing.queues

    standard = multiprocessing.queues.Queue

    def fail():
        raise OSError("no more")

    monkeypatch.setattr(_install, "_complete_loaded", fail)
    with pytest.raises(OSError, match="no more"):
        fastmp.install()
    assert multiprocessing.queues.Queue is standard
    assert not _install.replacements()


def test_start_method_goes_along_and_comes_back():
    script = """
        import fastmp, multiprocessing
        multiprocessing.set_start_method("spawn")
        fastmp.install()
        print(multiprocessing.get_start_method(allow_none=True))
        fastmp.uninstall()
        multiprocessing.set_start_method(None, force=True)
        fastmp.set_start_method(None, force=True)
        fastmp.install()
        print(multiprocessing.get_start_method(allow_none=True))
        multiprocessing.set_start_method("forkserver")
        fastmp.uninstall()
        print(multiprocessing.get_start_method(allow_none=True))
    """
    assert output_of(script) == ["spawn", "None", "forkserver"]


def test_thread_pools_keep_working():
    script = """
        import multiprocessing, multiprocessing.dummy
        from multiprocessing.pool import ThreadPool
        import fastmp
        fastmp.install()
        for kind in (ThreadPool, multiprocessing.pool.ThreadPool, multiprocessing.dummy.Pool):
            with kind(2) as pool:
                print(pool.map(abs, [-1, -2]), pool.apply(abs, (-3,)), sorted(pool.imap_unordered(abs, [-4, -5])))
    """
    assert output_of(script) == ["[1, 2] 3 [4, 5]"] * 3


def test_standard_objects_made_before_keep_working():
    script = """
        import multiprocessing, multiprocessing.pool
        queue, pool = multiprocessing.JoinableQueue(), multiprocessing.Pool(1)
        import fastmp
        fastmp.install()
        queue.put(1)  # starts the feeder thread
        print(queue.get(), type(queue).__module__)
        queue.task_done()
        queue.join()
        print(pool.map(abs, [-1, -2]), pool.apply(abs, (-3,)), type(pool).__module__)
        pool.close()
        pool.join()
    """
    assert output_of(script) == ["1 multiprocessing.queues", "[1, 2] 3 multiprocessing.pool"]


def test_managers():
    """One imported before, and one after: the Pool that it serves is the one that is in `multiprocessing.pool`."""
    script = """
        import {first}
        import fastmp
        fastmp.install()
        import multiprocessing.managers
        registry = multiprocessing.managers.SyncManager._registry
        print(registry["Pool"][0].__module__)
        with multiprocessing.Manager() as manager:
            print(manager.dict(a=1)["a"], manager.Pool(1).apply(abs, (-2,)))
        fastmp.uninstall()
        print(registry["Pool"][0].__module__)
    """
    for first in ("multiprocessing.managers", "sys"):
        assert output_of(script.format(first=first)) == ["fastmp.pool", "1 2", "multiprocessing.pool"]


CHILDREN = """
import sys
import fastmp, multiprocessing
from multiprocessing import Lock, Queue
def child():
    from concurrent.futures import ProcessPoolExecutor
    context = multiprocessing.get_context("spawn")
    for thing in (Queue(), Lock(), multiprocessing.Value("i"), context, ProcessPoolExecutor):
        print((thing if isinstance(thing, type) else type(thing)).__module__.partition(".")[0], end=" ")
    print(multiprocessing.get_start_method(), flush=True)
def run(method):
    process = multiprocessing.get_context(method).Process(target=child)
    process.start()
    process.join()
if __name__ == "__main__":
    fastmp.install()
    for method in multiprocessing.get_all_start_methods():
        run(method)
    fastmp.uninstall()
    for method in multiprocessing.get_all_start_methods():
        run(method)
"""


def test_children_are_installed_too(tmp_path):
    """Before their main module is imported, and only if their parent is when it starts them."""
    (tmp_path / "program.py").write_text(CHILDREN)
    result = python(tmp_path / "program.py", env={"PYTHONPATH": str(home())})
    assert not result.stderr
    ours, plain = "fastmp " * 5, "multiprocessing " * 4 + "concurrent "
    forked = "multiprocessing " * 3 + "multiprocessing concurrent "
    assert result.stdout.splitlines() == [
        ours + "fork",
        ours + "spawn",
        ours + "forkserver",
        forked + "fork",
        plain + "spawn",
        plain + "forkserver",
    ]


def test_notebook_names_are_rebound():
    import concurrent.futures
    import multiprocessing.queues

    standard = concurrent.futures.ProcessPoolExecutor, multiprocessing.Process, multiprocessing.Queue
    names = dict(zip(("Executor", "Process", "Queue"), standard, strict=True), other=multiprocessing)
    shell = SimpleNamespace(user_ns=names)
    fastmp.load_ipython_extension(shell)
    try:
        assert names["Executor"] is fastmp.ProcessPoolExecutor
        assert names["Process"] is fastmp.Process
        assert names["Queue"] == fastmp.Queue
        assert names["other"] is multiprocessing
    finally:
        fastmp.unload_ipython_extension(shell)
    assert (names["Executor"], names["Process"], names["Queue"]) == standard
    assert not _install.replacements()


def test_installing_imports_nothing_for_pools_to_come():
    """A short program pays for each module: what only a pool needs comes with the first one."""
    script = """
        import sys
        import concurrent.futures.process, multiprocessing.connection, multiprocessing.managers
        import multiprocessing.pool, multiprocessing.sharedctypes, multiprocessing.synchronize
        late = ("json", "pathlib", "urllib.parse")
        for name in late:
            sys.modules.pop(name, None)  # site may have imported it
        import fastmp
        fastmp.install()
        print([name for name in late if name in sys.modules])
    """
    assert output_of(script) == ["[]"]


# ---- FASTMP_INSTALL=1: the hook alone; tests/unit/test_run.py has the rest

ARMED = "import _fastmp_bootstrap; "
FIRST_IMPORTS = [
    "import multiprocessing",
    "import multiprocessing.pool",
    "from multiprocessing import Queue",
    "import concurrent.futures; concurrent.futures.ProcessPoolExecutor",
    "from concurrent.futures.process import ProcessPoolExecutor",
    "import fastmp",
    "import fastmp.queues",
    "from fastmp.concurrent.futures import ProcessPoolExecutor",
]


@pytest.mark.parametrize("first", FIRST_IMPORTS)
def test_hook_installs_at_the_first_import(first):
    script = f"""
import _fastmp_bootstrap, sys
{first}
import concurrent.futures, multiprocessing
print(multiprocessing.Process.__module__, type(multiprocessing.Queue()).__module__)
print(concurrent.futures.ProcessPoolExecutor.__module__)
print(any(isinstance(finder, _fastmp_bootstrap.Finder) for finder in sys.meta_path))
print(multiprocessing.__spec__.loader.exec_module.__self__ is multiprocessing.__loader__)
"""
    assert output_of(script) == ["fastmp.process fastmp.queues", "fastmp.concurrent.futures.process", "False", "True"]


def test_hook_installs_where_multiprocessing_is_there_already():
    script = "import multiprocessing, _fastmp_bootstrap; print(multiprocessing.Process.__module__)"
    assert output_of(script) == ["fastmp.process"]


def test_hook_does_nothing_to_other_programs():
    script = """
        import sys
        before = set(sys.modules)
        import _fastmp_bootstrap
        print(*(set(sys.modules) - before))
        import json, threading, concurrent.futures
        print("multiprocessing" in sys.modules, "fastmp" in sys.modules)
    """
    assert output_of(script) == ["_fastmp_bootstrap", "False False"]


def test_hook_costs_next_to_nothing():
    """It imports no module, and for the import of any other one it only compares the name."""
    script = """
        import sys
        before = set(sys.modules)
        import _fastmp_bootstrap
        print(*(set(sys.modules) - before))
        finder = sys.meta_path[0]
        finder.others = lambda: print("the other finders are asked")
        print(finder.find_spec("json"), finder.find_spec("concurrent.futures"))
    """
    assert output_of(script) == ["_fastmp_bootstrap", "None None"]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_child_of_a_standard_program_is_standard(tmp_path, method):
    """What is installed in the child, or in the fork server, cannot read the standard library's queues and locks."""
    tmp_path.joinpath("sitecustomize.py").write_text(
        "import os\nif 'INSTALL_IN_CHILDREN' in os.environ:\n    import fastmp\n    fastmp.install()\n"
    )
    program = tmp_path / "program.py"
    program.write_text(f"""
import multiprocessing, os

def told(queue, lock):
    with lock:
        queue.put(type(queue).__module__)

if __name__ == "__main__":
    multiprocessing.set_start_method({method!r})
    os.environ["INSTALL_IN_CHILDREN"] = "1"
    queue, lock = multiprocessing.Queue(), multiprocessing.Lock()
    process = multiprocessing.Process(target=told, args=(queue, lock))
    process.start()
    print(queue.get(timeout=30))
    process.join()
    with multiprocessing.Pool(1) as pool:
        print(pool.map_async(abs, [-1, 2]).get(30))
""")
    result = python(program, env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{home()}"})
    assert (result.returncode, result.stdout, result.stderr) == (0, "multiprocessing.queues\n[1, 2]\n", "")
