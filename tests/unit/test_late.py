"""Standard modules that are imported after `install`: fastmp's objects are in them at their first use, whichever."""

import pytest
from support.programs import output_of

# Each makes `thing` from a module that is not imported yet.
USES = {
    "attribute": "import multiprocessing.queues as m; thing = m.Queue",
    "from import": "from multiprocessing.synchronize import Lock as thing",
    "star": "from multiprocessing.sharedctypes import *; thing = Value",
    "namespace": "import multiprocessing.synchronize as m; thing = vars(m)['Event']",
    "pickle": "import pickle; thing = pickle.loads(b'cmultiprocessing.pool\\nPool\\n.')",
    "name": "import pkgutil; thing = pkgutil.resolve_name('concurrent.futures.process:ProcessPoolExecutor')",
    "package": "import concurrent.futures; thing = concurrent.futures.ProcessPoolExecutor",
    "members": "import inspect, multiprocessing.connection as m; thing = dict(inspect.getmembers(m))['Pipe']",
    "patch": """
from unittest.mock import patch
with patch("multiprocessing.pool.Pool") as mock:
    import multiprocessing.pool
    assert multiprocessing.pool.Pool is mock
thing = multiprocessing.pool.Pool
""",
    "assignment": """
import multiprocessing.queues as m
m.Queue = int
thing = m.JoinableQueue
assert m.Queue is int
""",
    "reload before": "import importlib, multiprocessing.queues as m; importlib.reload(m); thing = m.Queue",
    "reload after": """
import importlib, multiprocessing.synchronize as m
m.Lock
importlib.reload(m)
thing = m.Lock
""",
    "reload of what shows": """
import importlib, multiprocessing.pool as m
m.Pool
importlib.reload(m)
thing = m.Pool
""",
    "import anew": """
import sys, multiprocessing.queues as m
m.Queue
del sys.modules["multiprocessing.queues"]
from multiprocessing.queues import Queue as thing
""",
    "forked child": """
import os, sys, multiprocessing.queues as m
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
thing = m.Queue
""",
    "no finder": """
import sys, multiprocessing.queues as m
sys.meta_path[:] = [finder for finder in sys.meta_path if "fastmp" not in type(finder).__module__]
thing = m.Queue
""",
    "ours first": "import fastmp.pool, multiprocessing.pool; thing = multiprocessing.pool.Pool",
    "shared memory": """
from multiprocessing.shared_memory import ShareableList
things = ShareableList([1])
thing = type(things.shm)
things.shm.close()
things.shm.unlink()
""",
    "a manager's": "from multiprocessing.managers import SyncManager; thing = SyncManager._registry['Pool'][0]",
    "a child's": "import multiprocessing.spawn; thing = type(multiprocessing.spawn.get_start_method.__self__)",
}


@pytest.mark.parametrize("use", USES)
def test_whatever_is_used_first(use):
    script = f"import fastmp; fastmp.install()\n{USES[use]}\nprint(thing.__module__.partition('.')[0])"
    assert output_of(script) == ["fastmp"]


def test_a_late_module_looks_like_any_other():
    """To the import system: it is found without being imported, and its loader is its own."""
    script = """
        import copy, importlib.util, sys, types
        import fastmp
        fastmp.install()
        spec = importlib.util.find_spec("multiprocessing.queues")
        print("multiprocessing.queues" in sys.modules, "class Queue" in spec.loader.get_source(spec.name))
        print(copy.copy(spec) == spec, copy.copy(spec.loader).get_filename() == spec.origin)
        import multiprocessing.queues as queues, multiprocessing.connection as connection
        print(queues.__spec__.loader is queues.__loader__, type(queues.__loader__) is type(types.__loader__))
        print("fastmp.queues" in sys.modules, queues.__name__, repr(queues) == repr(sys.modules[queues.__name__]))
        queues.Queue, connection.wait
        print("fastmp.queues" in sys.modules, type(queues).__name__, type(connection) is types.ModuleType)
        spec = importlib.util.find_spec("multiprocessing.pool")
        another = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(another)
        print(another.Pool.__module__, type(another) is types.ModuleType, "multiprocessing.pool" in sys.modules)
    """
    assert output_of(script) == [
        "False True",
        "True True",
        "True True",
        "False multiprocessing.queues True",
        "True module True",
        "multiprocessing.pool True False",
    ]


MODULES = """
import importlib, types
NAMES = (
    "multiprocessing", "multiprocessing.connection", "multiprocessing.context", "multiprocessing.managers",
    "multiprocessing.pool", "multiprocessing.queues", "multiprocessing.sharedctypes", "multiprocessing.spawn",
    "multiprocessing.synchronize", "concurrent.futures", "concurrent.futures.process",
)

def ours():
    "The names in standard modules that hold something of fastmp's."
    found = []
    for name in NAMES:
        module = importlib.import_module(name)
        if type(module) is not types.ModuleType:
            found.append(name)
        things = {**vars(module), **module.SyncManager._registry} if name.endswith("managers") else vars(module)
        for attribute, thing in things.items():
            for part in thing if isinstance(thing, tuple) else (thing, getattr(thing, "__self__", thing)):
                kind = part if isinstance(part, (type, types.FunctionType)) else type(part)
                if str(kind.__module__).startswith("fastmp"):
                    found.append(f"{name}.{attribute}")
    return found
"""


@pytest.mark.parametrize("used", ["", "Queue, m.__dict__", "nothing that it has"])
def test_uninstall_restores_modules_that_were_imported_meanwhile(used):
    """Used or not, and also those that are no longer in `sys.modules`."""
    script = (
        MODULES
        + f"""
import fastmp, sys
fastmp.install()
from multiprocessing import managers, pool, queues as m, sharedctypes
gone = sys.modules.pop("multiprocessing.queues"), sys.modules.pop("concurrent.futures.process", None)
del importlib.import_module("multiprocessing").queues
for name in NAMES:
    module = importlib.import_module(name)
    for attribute in "Queue Pool Lock ProcessPoolExecutor SyncManager Value wait".split() * {bool(used)}:
        getattr(module, attribute, None)
print(len(ours()) > 40 if {bool(used)} else len(ours()) > 20)
fastmp.uninstall()
print(ours(), gone[0].Queue.__module__, type(gone[0]) is types.ModuleType)
"""
    )
    assert output_of(script) == ["True", "[] multiprocessing.queues True"]


def test_uninstalled_while_it_was_late():
    script = (
        MODULES
        + """
import fastmp, sys
fastmp.install()
import multiprocessing.queues as m
fastmp.uninstall()
print(m.Queue.__module__, "fastmp.queues" in sys.modules, ours())
fastmp.install()
print(m.Queue.__module__)
"""
    )
    assert output_of(script) == ["multiprocessing.queues False []", "fastmp.queues"]


def test_threads_that_import_at_once():
    """Every one of them, and in any order, gets fastmp's."""
    script = """
        import importlib, random, sys, threading
        import fastmp
        fastmp.install()
        names = [
            "multiprocessing.queues Queue", "multiprocessing.pool Pool", "multiprocessing.synchronize Lock",
            "multiprocessing.connection Pipe", "multiprocessing.sharedctypes Value", "fastmp.managers SyncManager",
            "concurrent.futures.process ProcessPoolExecutor", "fastmp.queues SimpleQueue", "fastmp.pool Pool",
        ]
        sys.setswitchinterval(1e-5)
        barrier = threading.Barrier(16, timeout=30)
        homes, failures = set(), []

        def take(seed):
            mine = random.Random(seed).sample(names, len(names))
            barrier.wait()
            for module, name in map(str.split, mine):
                homes.add(getattr(importlib.import_module(module), name).__module__.partition(".")[0])

        threading.excepthook = lambda args: failures.append(args.exc_value)
        threads = [threading.Thread(target=take, args=(seed,)) for seed in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(homes, failures)
    """
    assert output_of(script) == ["{'fastmp'} []"]


@pytest.mark.parametrize("before", ["multiprocessing.managers", "sys"])
def test_standard_classes_know_the_start_method(before):
    """Modules that have imported `get_context` ask the default context that there is now."""
    script = f"""
        import {before}
        import fastmp
        fastmp.install()
        import multiprocessing, multiprocessing.managers, multiprocessing.pool, multiprocessing.sharedctypes
        multiprocessing.set_start_method("spawn")
        print(multiprocessing.managers.SyncManager()._ctx.get_start_method())
        print(multiprocessing.pool.get_context().get_start_method())
        print(multiprocessing.sharedctypes.get_context().get_start_method())
    """
    assert output_of(script) == ["spawn"] * 3
