"""fastmp.context: start methods and what the factories make."""

import multiprocessing
import subprocess
import sys
from multiprocessing import context as standard

import pytest

import fastmp
from fastmp import context


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
