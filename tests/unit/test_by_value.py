"""Functions and classes by value: what pickle refuses, what a worker's main module has not, and what stays refused."""

import gc
import pickle
import textwrap
from functools import partial
from typing import Any

import pytest
from support.programs import home, python

import fastmp
from fastmp import _core

pytest.importorskip("cloudpickle")
pytest.importorskip("numpy")  # its threads are there before the first test

REFUSED = (pickle.PicklingError, AttributeError)


def closure(number: int) -> Any:
    """A function that only this process knows."""

    def add(x: int) -> int:
        return number + x

    return add


@pytest.fixture
def pool() -> Any:
    with fastmp.get_context("fork").Pool(1) as pool:
        yield pool


@pytest.fixture
def executor() -> Any:
    with fastmp.ProcessPoolExecutor(1, mp_context=fastmp.get_context("fork")) as executor:
        yield executor


def test_every_call_of_a_pool(pool: Any) -> None:
    add = closure(10)
    assert pool.apply(add, (1,)) == 11
    assert pool.map(add, range(3)) == [10, 11, 12]
    assert list(pool.imap(lambda x: -x, range(3))) == [0, -1, -2]
    assert sorted(pool.imap_unordered(add, range(3), 2)) == [10, 11, 12]
    assert pool.starmap(lambda x, y: x * y, [(2, 3)]) == [6]
    assert pool.apply_async(partial(add, 5)).get(30) == 15


def test_every_call_of_an_executor(executor: Any) -> None:
    assert executor.submit(closure(2), 3).result(30) == 5
    assert list(executor.map(lambda x, y: x + y, range(3), range(3))) == [0, 2, 4]


def test_classes_and_their_methods(pool: Any) -> None:
    class Local:
        def __init__(self, number: int = 7) -> None:
            self.number = number

        def get(self) -> int:
            return self.number

    assert pool.apply(Local(5).get) == 5
    assert pool.apply(lambda: Local().get()) == 7


def test_a_closure_that_changes_is_sent_anew(pool: Any) -> None:
    number = 1

    def get() -> int:
        return number

    assert pool.apply(get) == 1
    number = 2
    assert pool.apply(get) == 2


def test_shared_objects_in_a_closure(pool: Any) -> None:
    lock, value, array = fastmp.Lock(), fastmp.Value("i", 0), fastmp.shared_array(3)

    def count(x: int) -> None:
        with lock:
            value.value += x
            array[1] += x

    pool.map(count, range(5))
    pool.apply(count, (10,))
    assert value.value == array[1] == 20


def test_many_leave_nothing(pool: Any) -> None:
    pool.apply(lambda: 0)
    gc.collect()
    before = _core.heap_stats()["shared"]
    for number in range(100):
        assert pool.apply(closure(number), (1,)) == number + 1
    gc.collect()
    assert _core.heap_stats()["shared"] <= before + 2


def test_what_cannot_be_sent_at_all(pool: Any, executor: Any) -> None:
    import threading

    lock = threading.Lock()
    with pytest.raises(TypeError, match="lock"):
        pool.apply(lambda: lock)
    with pytest.raises(TypeError, match="lock"):
        executor.submit(lambda: lock).result(30)
    assert pool.apply(closure(1), (1,)) == 2


def test_installed_it_is_refused_as_in_the_standard_library(servers: None, pool: Any, executor: Any) -> None:
    with fastmp.installed():
        for call in (
            lambda: pool.apply(closure(1), (1,)),
            lambda: pool.map(closure(1), [1]),
            lambda: list(pool.imap(closure(1), [1])),
            lambda: executor.submit(closure(1), 1).result(30),
        ):
            with pytest.raises(REFUSED):
                call()
        for method in ("spawn", "forkserver"):
            process = fastmp.get_context(method).Process(target=closure(1), args=(1,))
            with pytest.raises(REFUSED):
                process.start()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_target_of_a_process(method: str, servers: None) -> None:
    ctx = fastmp.get_context(method)
    queue, number = ctx.SimpleQueue(), 6
    process = ctx.Process(target=lambda x: queue.put(number * x), args=(7,))
    process.start()
    assert queue.get() == 42
    process.join(30)
    assert process.exitcode == 0


# ---- the main module's own

MAIN = """
import sys
import fastmp

calls = 0

def old(x):
    global calls
    calls += 1
    return calls

def late():
    '''What a notebook's next cells define.'''
    exec(LATE, globals())

LATE = '''
factor = 2
def helper(x):
    return x * factor
def new(x):
    global calls
    calls += 10
    return helper(x), calls
class Thing:
    def __init__(self, number):
        self.number = number
    def double(self):
        return helper(self.number)
'''

if __name__ == "__main__":
    ctx = fastmp.get_context(sys.argv[1])
    with ctx.Pool(1) as pool:
        assert pool.apply(old, (0,)) == 1
        late()
        assert pool.apply(new, (1,)) == (2, 11)  # the worker's own `calls`
        assert pool.map(new, [1, 2]) == [(2, 21), (4, 31)]
        assert pool.apply(old, (0,)) == 32  # the same one
        exec("def helper(x): return x * 100", globals())
        assert pool.apply(new, (1,)) == (100, 42)  # a function that it calls is another now
        things = pool.map(Thing, range(3))
        assert [type(thing) for thing in things] == [Thing] * 3
        assert pool.apply(things[2].double) == 200
        from functools import partial
        assert pool.apply(partial(new, 3)) == (300, 52)
    with fastmp.ProcessPoolExecutor(1, mp_context=ctx) as executor:
        assert executor.submit(old, 0).result() == 1
        exec("def newer(x): return old(x) + 1000", globals())
        assert list(executor.map(newer, range(2))) == [1002, 1003]
    print("done")
"""


@pytest.mark.parametrize("installed", ["", "1"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_what_the_main_module_defines_later(tmp_path: Any, method: str, installed: str) -> None:
    path = tmp_path / "program.py"
    path.write_text(MAIN)
    result = python(path, method, env={"PYTHONPATH": str(home()), "FASTMP_INSTALL": installed})
    assert (result.stdout, result.stderr) == ("done\n", "")


WITHOUT_FILE = """
import fastmp

def put(queue, number):
    queue.put(number + base)

def double(x):
    return 2 * x

base = 1
for method in ("spawn", "forkserver"):
    ctx = fastmp.get_context(method)
    queue = ctx.SimpleQueue()
    process = ctx.Process(target=put, args=(queue, 5))
    process.start()
    print(queue.get(), end=" ")
    process.join()
    with ctx.Pool(1) as pool:
        print(pool.map(double, range(3)), end=" ")
"""


def test_a_main_module_that_no_child_can_import() -> None:
    result = python("-c", WITHOUT_FILE)
    assert (result.stdout, result.stderr) == ("6 [0, 2, 4] 6 [0, 2, 4] ", "")


WITHOUT_CLOUDPICKLE = """
import sys
sys.modules["cloudpickle"] = None
import pickle
import fastmp
from fastmp import Pool

with Pool(1) as pool:
    def late():
        pass
    for function in (lambda: 0, late):
        try:
            pool.apply(function)
        except (pickle.PicklingError, AttributeError) as error:
            print(type(error).__name__)
"""


def test_without_cloudpickle() -> None:
    result = python("-c", textwrap.dedent(WITHOUT_CLOUDPICKLE))
    assert (result.stdout, result.stderr) == ("PicklingError\nAttributeError\n", "")
