"""fastmp.context: start methods and what the factories make."""

import multiprocessing
import subprocess
import sys
from multiprocessing import context as standard

import pytest
from support.targets import use_everything, write_into

import fastmp
from fastmp import context, shared_memory
from fastmp.pool import ThreadPool


def run_script(script):
    """The output of a Python program, line by line."""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    return result.stdout.splitlines()


def test_the_start_methods_are_the_standard_ones():
    assert fastmp.get_all_start_methods() == multiprocessing.get_all_start_methods()
    assert set(fastmp.get_all_start_methods()) == {"fork", "spawn", "forkserver"}
    for module in ("fastmp", "multiprocessing"):
        script = f"import {module} as m; print(m.get_start_method(True), m.get_start_method())"
        assert run_script(script) == [f"None {standard._default_context._default_context._name}"]


def test_unknown_method():
    with pytest.raises(ValueError, match="cannot find context for 'teleport'"):
        fastmp.get_context("teleport")


def test_start_method_is_set_once():
    script = """
import fastmp
fastmp.set_start_method("spawn")
print(fastmp.get_start_method(), type(fastmp.get_context()).__name__)
try:
    fastmp.set_start_method("fork")
except RuntimeError as error:
    print(error)
fastmp.set_start_method("forkserver", force=True)
print(fastmp.get_start_method())
fastmp.set_start_method(None, force=True)
print(fastmp.get_start_method(allow_none=True))
"""
    assert run_script(script) == ["spawn SpawnContext", "context has already been set", "forkserver", "None"]


def test_a_concrete_context_is_fixed(ctx, method):
    assert ctx.get_context() is ctx
    assert ctx.get_start_method() == method
    with pytest.raises(ValueError, match="cannot set start method"):
        ctx.set_start_method(method)


def test_types(ctx, method):
    assert isinstance(ctx, type(multiprocessing.get_context(method)))
    assert isinstance(fastmp.get_context(), context.BaseContext)
    assert isinstance(context._default_context, standard.DefaultContext)
    for name in ("ForkContext", "SpawnContext", "ForkServerContext", "DefaultContext"):
        assert issubclass(getattr(context, name), getattr(standard, name))
        assert issubclass(getattr(context, name), context.BaseContext)
    for name in ("Process", "ForkProcess", "SpawnProcess", "ForkServerProcess"):
        assert issubclass(getattr(context, name), getattr(standard, name))


def test_exceptions_are_the_standard_ones():
    for name in ("ProcessError", "BufferTooShort", "TimeoutError", "AuthenticationError"):
        assert getattr(fastmp, name) is getattr(multiprocessing, name)


def test_a_context_registered_by_another_library(monkeypatch):
    foreign = type("ForeignContext", (standard.BaseContext,), {"_name": "foreign"})()
    monkeypatch.setitem(standard._concrete_contexts, "foreign", foreign)
    assert fastmp.get_context("foreign") is foreign


FACTORIES = [
    ("Lock", ()),
    ("RLock", ()),
    ("Semaphore", (2,)),
    ("BoundedSemaphore", (2,)),
    ("Condition", ()),
    ("Event", ()),
    ("Barrier", (2,)),
    ("Queue", (3,)),
    ("JoinableQueue", (3,)),
    ("SimpleQueue", ()),
    ("Value", ("i", 1)),
    ("Array", ("i", 3)),
]


@pytest.mark.parametrize(("name", "arguments"), FACTORIES)
def test_factories_make_fastmps_objects(ctx, name, arguments):
    for factory in (fastmp, ctx):
        made = getattr(factory, name)(*arguments)
        assert type(made).__module__.startswith("fastmp."), type(made)


def test_pipe_makes_fastmps_connections():
    for duplex in (True, False):
        ends = fastmp.Pipe(duplex)
        assert {type(end).__module__ for end in ends} == {"fastmp.connection"}
        for end in ends:
            end.close()


def test_pool_is_fastmps(ctx):
    with ctx.Pool(1) as pool:
        assert type(pool).__module__ == "fastmp.pool"
        assert pool.apply(abs, (-3,)) == 3


def test_raw_memory():
    assert fastmp.RawValue("i", 4).value == 4
    assert list(fastmp.RawArray("i", [1, 2])) == [1, 2]


def test_manager_serves(ctx):
    with ctx.Manager() as manager:
        assert manager.list([1, 2])[1] == 2
        assert type(manager._process).__module__ == "fastmp.process"
        assert type(manager._process) is ctx.Process
        queue = manager.Queue()
        queue.put({"a": 1})
        assert queue.get() == {"a": 1}
        with manager.Lock(), manager.Pool(1) as pool:
            assert pool.apply(abs, (-3,)) == 3


def test_small_functions():
    assert fastmp.cpu_count() == multiprocessing.cpu_count()
    assert fastmp.get_logger() is multiprocessing.get_logger()
    assert fastmp.reducer is multiprocessing.reducer
    fastmp.freeze_support()
    fastmp.allow_connection_pickling()


def test_objects_reach_a_child(ctx):
    """One of each kind, as an argument: both processes have the same one."""
    arguments = {
        "Value": ("i", 1),
        "Array": ("i", [1, 2]),
        "Barrier": (2,),
        "Semaphore": (1,),
        "BoundedSemaphore": (1,),
    }
    kinds = ("Queue", "JoinableQueue", "SimpleQueue", "Lock", "RLock", "Event", "Condition", *arguments)
    objects = {kind: getattr(ctx, kind)(*arguments.get(kind, ())) for kind in kinds}
    ours, objects["Connection"] = ctx.Pipe()
    ours.send(1)
    for kind in ("Queue", "JoinableQueue", "SimpleQueue"):
        objects[kind].put(1)
    objects["Lock"].acquire()
    objects["BoundedSemaphore"].acquire()
    child = ctx.Process(target=use_everything, args=(objects,))
    with objects["Condition"]:
        child.start()
        objects["Barrier"].wait(30)
        assert objects["Condition"].wait(30)
    child.join()
    assert child.exitcode == 0
    assert [objects[kind].get() for kind in ("Queue", "JoinableQueue", "SimpleQueue")] == [2] * 3
    assert ours.recv() == 2
    assert objects["Lock"].acquire(block=False)
    assert not objects["Semaphore"].acquire(block=False)
    assert objects["BoundedSemaphore"].get_value() == 1
    assert (objects["Value"].value, list(objects["Array"])) == (2, [1, 3])
    assert objects["Event"].is_set()
    ours.close()
    objects.pop("Connection").close()
    child.close()


def test_shared_memory_and_threads(ctx):
    """What is the standard library's own: segments by name with their tracker, pools of threads."""
    segment = shared_memory.SharedMemory(create=True, size=16)
    try:
        child = ctx.Process(target=write_into, args=(segment,))
        child.start()
        child.join()
        assert (child.exitcode, bytes(segment.buf[:3])) == (0, b"abc")
        child.close()
    finally:
        segment.close()
        segment.unlink()
    with ThreadPool(2) as pool:
        assert pool.map(abs, [-1, -2]) == [1, 2]
