"""Functions and classes by value: what pickle refuses, what a worker's main module has not, and what stays refused."""

import gc
import operator
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


def call(function: Any, *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


def same(obj: Any) -> Any:
    return obj


def make_class() -> Any:
    class Local:
        factor = 1

        def __init__(self, number: int = 7) -> None:
            self.number = number

        def get(self) -> int:
            return self.number * self.factor

    return Local


def test_arguments_of_every_call_of_a_pool(pool: Any) -> None:
    thing = make_class()(5)
    assert pool.apply(call, (closure(10), 1)) == 11
    assert pool.apply(call, (lambda x, y: x - y,), {"x": 3, "y": 1}) == 2
    assert pool.map(call, [lambda: 1, thing.get]) == [1, 5]
    assert pool.starmap(call, [(closure(1), 1), (lambda x: -x, 4)]) == [2, -4]
    assert list(pool.imap(call, [thing.get, lambda: 2])) == [5, 2]
    assert sorted(pool.imap_unordered(call, [thing.get, lambda: 2, lambda: 3], 2)) == [2, 3, 5]
    assert pool.apply_async(call, (partial(closure(5), 6),)).get(30) == 11


def test_arguments_of_every_call_of_an_executor(executor: Any) -> None:
    assert executor.submit(call, closure(2), 3).result(30) == 5
    assert executor.submit(call, make_class()(4).get).result(30) == 4
    assert list(executor.map(call, [closure(1), lambda x: x], [5, 6], chunksize=2)) == [6, 6]


def test_arguments_and_results_share_what_they_share(pool: Any) -> None:
    add, data = closure(1), [3]
    first, second, one, other = pool.apply(same, ((add, add, data, data),))
    assert first is second
    assert one is other
    assert first(1) == 2


def test_results(pool: Any, executor: Any) -> None:
    assert pool.apply(closure, (5,))(1) == 6
    assert [get() for get in pool.map(lambda x: lambda: x, range(3))] == [0, 1, 2]
    assert executor.submit(closure, 7).result(30)(1) == 8
    assert pool.apply(make_class)(3).get() == 3


def test_a_class_that_comes_back_is_itself_and_unchanged(pool: Any) -> None:
    cls = make_class()
    task = pool.apply_async(call, (lambda thing: thing, cls(2)))
    assert type(task.get(30)) is cls
    cls.factor = 10
    assert pool.apply(call, (cls(2).get,)) == 20

    def change(thing: Any) -> Any:
        type(thing).factor = 0
        return thing

    back = pool.apply(change, (cls(3),))
    assert type(back) is cls
    assert back.get() == 30  # what a worker does to its class stays there


def test_large_arrays_beside_a_function_are_not_copied_into_the_pickle(pool: Any) -> None:
    import numpy

    array = numpy.arange(100_000.0)
    function, back = pool.apply(same, ((lambda: 3, array),))
    assert function() == 3
    assert (back == array).all()
    assert back.flags.writeable


def test_exceptions_of_a_local_class(pool: Any, executor: Any) -> None:
    class LocalError(Exception):
        pass

    def fail() -> None:
        raise LocalError("here", 5)

    with pytest.raises(LocalError) as caught:
        pool.apply(fail)
    assert caught.value.args == ("here", 5)
    with pytest.raises(LocalError):
        executor.submit(fail).result(30)


def test_shared_objects_beside_a_function(pool: Any) -> None:
    lock, value = fastmp.Lock(), fastmp.Value("i", 0)

    def count(lock: Any, value: Any, step: Any) -> Any:
        with lock:
            value.value = step(value.value)
        return lock

    back = pool.apply(count, (lock, value, lambda x: x + 3))
    assert value.value == 3
    with back:
        assert not lock.acquire(block=False)


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


def test_arguments_that_cannot_be_sent_at_all(pool: Any, executor: Any) -> None:
    """Pickle's error; nothing else is lost."""
    import threading

    with open(__file__) as file:
        for bad, error in ((threading.Lock(), "lock"), (file, "TextIOWrapper"), ((x for x in "a"), "generator")):
            for send in (
                lambda bad: pool.apply(same, (bad,)),
                lambda bad: pool.map(same, [1, bad]),
                lambda bad: list(pool.imap(same, [bad])),
                lambda bad: executor.submit(same, bad).result(30),
            ):
                with pytest.raises(TypeError, match=f"cannot pickle .*{error}"):
                    send(bad)
    lock = threading.Lock()
    with pytest.raises(REFUSED, match=r"(?i)can't (pickle|get)") as caught:
        pool.apply(same, (lambda: lock,))
    assert "cannot pickle '_thread.lock' object" in caught.value.__notes__[0]
    with pytest.raises(fastmp.pool.MaybeEncodingError, match="lock"):
        pool.apply(threading.Lock)
    assert pool.apply(same, (1,)) == executor.submit(same, 1).result(30) == 1


def test_installed_it_is_refused_as_in_the_standard_library(servers: None, pool: Any, executor: Any) -> None:
    with fastmp.installed():
        for call in (
            lambda: pool.apply(closure(1), (1,)),
            lambda: pool.map(closure(1), [1]),
            lambda: list(pool.imap(closure(1), [1])),
            lambda: executor.submit(closure(1), 1).result(30),
            lambda: pool.apply(same, (closure(1),)),
            lambda: pool.map(same, [closure(1)]),
            lambda: executor.submit(same, closure(1)).result(30),
        ):
            with pytest.raises(REFUSED):
                call()
        for method in ("spawn", "forkserver"):
            process = fastmp.get_context(method).Process(target=closure(1), args=(1,))
            with pytest.raises(REFUSED):
                process.start()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_arguments_of_a_process_and_of_an_initializer(method: str, servers: None) -> None:
    ctx = fastmp.get_context(method)
    queue, thing = ctx.SimpleQueue(), make_class()(6)
    process = ctx.Process(target=operator.call, args=(lambda x: queue.put(x.get()), thing))
    process.start()
    assert queue.get() == 6
    process.join(30)
    with ctx.Pool(1, initializer=operator.call, initargs=(lambda: queue.put(thing.get() + 1),)) as pool:
        assert queue.get() == 7
        assert pool.apply(lambda x: lambda y: x + y, (1,))(2) == 3


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
import os
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
    class Part:
        def double(self):
            return helper(0.5)
    def __init__(self, number):
        self.number = number
    def double(self):
        return helper(self.number)
'''

def call(function, *args):
    return function(*args)

def double(thing):
    return thing.double()

def has(name):
    return name in globals()

def check_beside_a_lambda(pool):
    exec("class Beside: pass", globals())
    assert type(pool.apply(list, ([lambda: 1, Beside()],))[1]) is Beside
    assert pool.apply(has, ("Beside",))

def check_arguments(pool, executor):
    thing = Thing(1)
    assert pool.map(double, [thing, Thing.Part(), Thing(2)], 2) == [2, 1, 4]
    assert pool.apply(call, (Thing.double, thing)) == pool.apply(call, (helper, 1)) == 2
    assert pool.starmap(call, [(helper, 3), (thing.double,)]) == [6, 2]
    assert list(pool.imap(double, [thing, thing], 2)) == list(executor.map(double, [thing] * 2, chunksize=2)) == [2, 2]
    assert type(pool.apply(call, (Thing, 5))) is Thing
    back = pool.apply(list, ([thing, thing, Thing],))
    assert back[0] is back[1] and type(back[0]) is back[2] is Thing
    Thing.double = lambda self: -self.number
    assert pool.map(double, [thing] * 2) == [-1, -1]  # the class is another now
    old = Thing
    exec("class Thing: double = lambda self: 'new'", globals())
    assert pool.apply(double, (Thing(),)) == executor.submit(double, Thing()).result() == "new"
    assert pool.apply(list, ([Thing()],))[0].double() == "new"

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
    with ctx.Pool(1) as pool, fastmp.ProcessPoolExecutor(1, mp_context=ctx) as executor:
        assert executor.submit(pow, 2, 2).result() == 4  # its workers are there
        exec(LATE, globals())
        if not os.environ["FASTMP_INSTALL"]:  # there a lambda is refused
            check_beside_a_lambda(pool)
        check_arguments(pool, executor)
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
