"""The public names are those of the standard library, exactly, with fastmp's own beside them."""

import importlib
import inspect
import multiprocessing
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

import fastmp
from fastmp._install import MIRRORS

OWN = {
    "OwnerDied",
    "ProcessPoolExecutor",
    "TaskFailed",
    "WorkerDied",
    "atomic",
    "install",
    "installed",
    "load_ipython_extension",
    "shared_array",
    "shared_dict",
    "uninstall",
    "unload_ipython_extension",
}
UNCHANGED = (
    "multiprocessing.dummy",
    "multiprocessing.dummy.connection",
    "multiprocessing.managers",
    "multiprocessing.process",
    "multiprocessing.shared_memory",
    "multiprocessing.util",
)
# Used by the standard contexts and by libraries, though the standard `__all__` leaves them out.
EXTRA = {"multiprocessing.connection": {"Connection"}, "multiprocessing.synchronize": {"Barrier"}}


def counterpart(name):
    return importlib.import_module("fastmp." + name.removeprefix("multiprocessing."))


def exports(name):
    module = importlib.import_module(name)
    return set(getattr(module, "__all__", ())) | EXTRA.get(name, set())


def test_names_of_the_package():
    assert set(fastmp.__all__) == set(multiprocessing.__all__) | OWN
    assert len(fastmp.__all__) == len(set(fastmp.__all__))


def test_star_import():
    namespace = {}
    exec("from fastmp import *", namespace)
    assert set(fastmp.__all__) <= set(namespace)


@pytest.mark.parametrize("name", multiprocessing.__all__)
def test_signatures(name):
    standard, ours = getattr(multiprocessing, name), getattr(fastmp, name)
    if inspect.isroutine(standard):
        wanted, found = (inspect.signature(function).parameters for function in (standard, ours))
        assert [(p.name, p.kind, p.default) for p in found.values()] == [
            (p.name, p.kind, p.default) for p in wanted.values()
        ]


@pytest.mark.parametrize("name", [*MIRRORS, *UNCHANGED])
def test_names_of_the_modules(name):
    module = counterpart(name)
    assert exports(name) <= set(module.__all__)
    assert all(hasattr(module, export) for export in module.__all__)


def submodules():
    """The standard modules that this machine can import."""
    found = pkgutil.walk_packages(multiprocessing.__path__, "multiprocessing.")
    others = ("popen_spawn_win32",)
    return [module.name for module in found if module.name.rpartition(".")[2] not in others]


@pytest.mark.parametrize("name", submodules())
def test_every_submodule_has_the_standard_names(name):
    standard, ours = importlib.import_module(name), counterpart(name)
    public = {name for name, value in vars(standard).items() if name[0] != "_" and not isinstance(value, ModuleType)}
    assert {name for name in public if not hasattr(ours, name)} == set()
    assert set(getattr(standard, "__all__", ())) <= set(ours.__all__)


@pytest.mark.parametrize("name", submodules())
def test_submodules_are_attributes(name):
    path = name.removeprefix("multiprocessing.")
    code = f"import fastmp as multiprocessing; multiprocessing.{path.partition('.')[0]}"
    if not path.startswith("popen_"):
        subprocess.run([sys.executable, "-c", code], timeout=60, check=True)


@pytest.mark.parametrize("name", MIRRORS)
def test_classes_say_that_they_are_fastmps(name):
    standard, ours = importlib.import_module(name), counterpart(name)
    for export in ours.__all__:
        value = getattr(ours, export)
        if isinstance(value, type) and value is not getattr(standard, export, None):
            assert value.__module__.startswith("fastmp"), value


def test_contexts_are_of_the_standard_types():
    for method in multiprocessing.get_all_start_methods():
        standard = multiprocessing.get_context(method)
        assert isinstance(fastmp.get_context(method), type(standard))


def test_executor_and_its_module():
    executor = importlib.import_module("fastmp.concurrent.futures.process").ProcessPoolExecutor
    assert fastmp.ProcessPoolExecutor is executor
    assert importlib.import_module("fastmp.concurrent.futures").ProcessPoolExecutor is executor
    standard = importlib.import_module("concurrent.futures")
    assert issubclass(executor, standard.Executor)
    assert set(standard.__all__) <= set(importlib.import_module("fastmp.concurrent.futures").__all__)


def test_unknown_names():
    for module in (fastmp, importlib.import_module("fastmp.concurrent.futures"), fastmp.util):
        with pytest.raises(AttributeError, match="no_such_name"):
            _ = module.no_such_name


def test_import_is_light():
    """No thread, and nothing that only some programs need."""
    script = "import fastmp, sys, threading; print(threading.active_count(), *sorted(sys.modules))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    threads, *modules = result.stdout.split()
    assert threads == "1"
    heavy = {"numpy", "ctypes", "multiprocessing.managers", "multiprocessing.pool", "fastmp.queues", "asyncio"}
    assert heavy.isdisjoint(modules)


def parameters(function):
    """Names in order, without `self`; None if nothing is known of them."""
    try:
        found = inspect.signature(function).parameters.values()
    except ValueError:
        return None
    return [parameter.name for parameter in found if parameter.kind is not parameter.VAR_KEYWORD]


@pytest.mark.parametrize(
    "path",
    [
        "queues.Queue",
        "queues.JoinableQueue",
        "queues.SimpleQueue",
        "connection.Connection",
        "synchronize.Lock",
        "synchronize.RLock",
        "synchronize.Semaphore",
        "synchronize.Condition",
        "synchronize.Event",
        "synchronize.Barrier",
        "process.BaseProcess",
        "pool.Pool",
        "pool.ApplyResult",
        "pool.MapResult",
        "pool.IMapIterator",
        "concurrent.futures.process.ProcessPoolExecutor",
    ],
)
def test_methods_have_the_parameters(path):
    """By name and in order, so that keywords and `mock.create_autospec` work; ours may take more after them."""
    module, _, name = path.rpartition(".")
    standard_module = module if module.startswith("concurrent") else f"multiprocessing.{module}"
    standard = getattr(importlib.import_module(standard_module), name)
    ours = getattr(importlib.import_module(f"fastmp.{module}"), name)
    for method in [method for method in dir(standard) if not method.startswith("_")]:
        if callable(getattr(standard, method)):
            wanted = parameters(getattr(standard, method))
            given = parameters(getattr(ours, method))
            assert (given or [])[: len(wanted or ())] == (wanted or []), f"{path}.{method}"
            assert given is not None, f"{path}.{method}"


def test_methods_in_c_take_keywords():
    queue, (sender, receiver) = fastmp.Queue(), fastmp.Pipe()
    queue.put_nowait(obj=1)
    sender.send(obj=2)
    assert (queue.get(block=True, timeout=None), receiver.recv()) == (1, 2)
    with pytest.raises(TypeError, match=r"put_nowait\(\)"):
        queue.put_nowait(1, obj=2)
    with pytest.raises(TypeError, match=r"send\(\)"):
        sender.send()
    sender.close()
    receiver.close()
