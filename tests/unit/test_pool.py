"""Pool: calls, results, errors. Its life is in test_pool_life.py, deaths in test_pool_deaths.py."""

import gc
import multiprocessing
import pickle
import threading
import time
from multiprocessing.pool import MaybeEncodingError, RemoteTraceback
from types import MappingProxyType

import pytest
from support import parts
from support.parts import pid_after, square

import fastmp

try:
    import numpy  # here, as it starts threads of its own
except ImportError:
    numpy = None


needs_numpy = pytest.mark.skipif(numpy is None, reason="needs numpy")


def add(a, b=0, *, c=0):
    return a + b + c


def fail(x):
    raise ValueError("bad item", x)


def fail_on_three(x):
    if x == 3:
        raise KeyError(x)
    return x


def test_map_and_its_relatives(pool):
    assert pool.map(square, [1, 2, 3, 4, 5]) == [1, 4, 9, 16, 25]
    assert pool.map(square, range(1000)) == [x * x for x in range(1000)]
    assert pool.map(square, iter(range(7)), chunksize=3) == [x * x for x in range(7)]
    assert pool.map(square, [], chunksize=5) == []
    assert pool.starmap(add, [(1, 2), (3, 4)]) == [3, 7]
    assert pool.starmap(add, zip(range(50), range(50), strict=False), chunksize=1) == [2 * x for x in range(50)]
    assert pool.apply(add, (1,), {"b": 2, "c": 3}) == 6
    assert pool.apply(add, [4]) == 4


def test_more_tasks_than_the_rings_hold(pool):
    assert pool.map(square, range(20_000), chunksize=1) == [x * x for x in range(20_000)]
    results = [pool.apply_async(square, (i,)) for i in range(5000)]
    assert [r.get(timeout=30) for r in results] == [x * x for x in range(5000)]


def test_imap(pool):
    assert list(pool.imap(square, range(3000))) == [x * x for x in range(3000)]
    assert list(pool.imap(square, range(20), chunksize=6)) == [x * x for x in range(20)]
    assert sorted(pool.imap_unordered(square, range(3000))) == [x * x for x in range(3000)]
    it = pool.imap(square, [7])
    assert it.next(timeout=10) == 49
    with pytest.raises(StopIteration):
        it.next()
    with pytest.raises(ValueError, match="Chunksize"):
        pool.imap(square, [1], chunksize=0)


def test_imap_asks_its_input_as_results_make_room(pool):
    asked = []
    count = 500_000  # far more than goes by while one worker is kept from its core
    stream = pool.imap(square, (asked.append(i) or i for i in range(count)))
    assert next(stream) == 0
    assert len(asked) < count // 2
    assert sum(1 for _ in stream) == count - 1


def test_imap_errors(pool):
    def broken():
        yield 1
        raise OSError("input")

    stream = pool.imap(square, broken())
    assert next(stream) == 1
    with pytest.raises(OSError, match="input"):
        next(stream)
    stream = pool.imap(fail_on_three, range(6))
    got = []
    for _ in range(6):
        try:
            got.append(next(stream))
        except KeyError as e:
            got.append(repr(e))
    assert got == [0, 1, 2, "KeyError(3)", 4, 5]
    with pytest.raises(multiprocessing.TimeoutError):
        pool.imap(pid_after, [1.0]).next(timeout=0.05)


def test_async_results(pool):
    result = pool.apply_async(pid_after, (2,))
    assert not result.ready()
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    with pytest.raises(multiprocessing.TimeoutError):
        result.get(timeout=0.01)
    result.wait(10)
    assert result.ready()
    assert result.successful()
    assert result.get() in [p.pid for p in pool._pool]
    mapped = pool.map_async(square, range(10))
    assert mapped.get(timeout=10) == [x * x for x in range(10)]
    assert pool.starmap_async(add, [(1, 1)]).get(timeout=10) == [2]


def test_exceptions_keep_arguments_and_traceback(pool):
    for call in (lambda: pool.map(fail, [1]), lambda: pool.apply(fail, (1,)), lambda: list(pool.imap(fail, [1]))):
        with pytest.raises(ValueError, match="bad item") as caught:
            call()
        assert caught.value.args == ("bad item", 1)
        assert isinstance(caught.value.__cause__, RemoteTraceback)
        assert "in fail" in str(caught.value.__cause__)
    with pytest.raises(KeyError):
        pool.map(fail_on_three, range(10), chunksize=1)
    assert pool.apply(square, (3,)) == 9


def test_callbacks(pool):
    done, failed = threading.Event(), threading.Event()
    got = []
    pool.apply_async(square, (3,), callback=lambda x: (got.append(x), done.set()))
    pool.apply_async(fail, (3,), error_callback=lambda e: (got.append(e.args), failed.set()))
    assert done.wait(10)
    assert failed.wait(10)
    assert sorted(map(str, got)) == ["('bad item', 3)", "9"]
    everything = threading.Event()
    pool.map_async(square, range(5), callback=lambda x: (got.append(x), everything.set()))
    assert everything.wait(10)
    assert got[-1] == [0, 1, 4, 9, 16]
    pool.map_async(square, [], callback=lambda x: got.append(x))
    assert got[-1] == []


def test_raising_callback_hurts_nobody(pool, monkeypatch):
    seen = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(args.exc_type))

    def callback(_):
        raise RuntimeError("in callback")

    assert pool.apply_async(square, (2,), callback=callback).get(timeout=10) == 4
    assert pool.apply(square, (3,)) == 9
    assert seen == [RuntimeError]


class LoadFails(Exception):
    def __init__(self, a, b):
        super().__init__(a)


def raise_load_fails(_):
    raise LoadFails(1, 2)


def return_lock(_):
    return threading.Lock()


def exit_in_task(code):
    raise SystemExit(code)


def test_a_bad_task_spoils_only_itself(pool):
    with pytest.raises(MaybeEncodingError):
        pool.apply(return_lock, (1,))
    with pytest.raises(fastmp.TaskFailed, match=r"LoadFails: 1 .*TypeError") as caught:
        pool.apply(raise_load_fails, (1,))
    assert "in raise_load_fails" in str(caught.value.__cause__)
    with pytest.raises(RuntimeError, match=r"SystemExit\(3\)"):
        pool.apply(exit_in_task, (3,))
    with fastmp.installed():
        with pytest.raises((pickle.PicklingError, AttributeError)):
            pool.apply(lambda: 0)
        with pytest.raises((pickle.PicklingError, AttributeError)):
            pool.map(lambda x: x, [1, 2, 3])
    with pytest.raises((TypeError, pickle.PicklingError)):
        pool.map(square, [threading.Lock()], chunksize=1)
    with pytest.raises(TypeError):
        pool.map(square, 5)
    assert pool.map(square, [1, 2]) == [1, 4]


def test_threads_wait_each_for_its_own(pool):
    got = {}

    def call(n):
        got[n] = pool.map(square, range(n, n + 500), chunksize=1)

    threads = [threading.Thread(target=call, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert got == {n: [x * x for x in range(n, n + 500)] for n in range(4)}


def test_a_thread_is_told_at_once_of_a_result_that_another_one_took(pool):
    """Both wait; whichever of them takes the results, the other does not sleep on beside its own."""
    late = []

    def wait_for_many():
        for _ in range(30):
            start = time.monotonic()
            pool.apply(square, (1,))
            late.append(time.monotonic() - start)

    threads = [threading.Thread(target=wait_for_many) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(late)[len(late) // 2] < 0.03  # the re-check period is 0.04


class Counter:
    def __init__(self):
        self.n = 0

    def method(self, x):
        return self.n + x


def test_a_callable_that_changes_is_sent_as_it_is(pool):
    counter = Counter()
    assert pool.apply(counter.method, (1,)) == 1
    counter.n = 10
    assert pool.apply(counter.method, (1,)) == 11
    assert pool.map(counter.method, [1, 2]) == [11, 12]


@needs_numpy
def test_arrays_come_back_as_views(pool):
    arrays = pool.map(numpy.arange, [100_000, 50_000], chunksize=1)
    assert [len(a) for a in arrays] == [100_000, 50_000]
    assert arrays[0][-1] == 99_999


def raise_unpicklable(text):
    raise LookupError(text, threading.Lock())


def test_an_exception_that_cannot_be_pickled_is_still_told(pool):
    with pytest.raises(MaybeEncodingError, match=r"LookupError\('the text'") as caught:
        pool.apply(raise_unpicklable, ("the text",))
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "in raise_unpicklable" in str(caught.value.__cause__)


def keywords(*args, **kwds):
    return args, kwds


def test_arguments_of_any_kind(pool):
    assert pool.apply(keywords, [1, 2]) == ((1, 2), {})
    assert pool.apply(keywords, iter((1,)), MappingProxyType({"a": 2})) == ((1,), {"a": 2})
    assert pool.apply(keywords, kwds={}) == ((), {})
    with pytest.raises(TypeError):
        pool.apply(keywords, 5)
    with pytest.raises(TypeError):
        pool.apply(keywords, (), 5)
    with pytest.raises(TypeError):
        pool.apply(keywords, (), "ab")


def spread(*args):
    return args


def test_chunks_of_arguments_of_any_kind(pool):
    same = ["one object"]
    items = [
        (),
        (1,),
        [2, "three"],
        "four",
        b"56",
        range(7, 9),
        tuple(range(8)),
        tuple(range(300)),
        [{"a": 1.5}],
        {"k": 0},
    ]
    for chunk in (items[:5], items, [*items, (same, same)], [(same,), (same,)], [(x,) for x in range(40)]):
        assert pool.starmap(spread, chunk, chunksize=len(chunk)) == [tuple(item) for item in chunk]
        assert pool.starmap(spread, tuple(chunk), chunksize=3) == [tuple(item) for item in chunk]
    for chunk in ([0.5] * 20, list(range(-300, 300)), ["a" * 300] * 3, [1, None, "x", 2**70, 2**63]):
        assert pool.map(spread, chunk, chunksize=len(chunk)) == [(x,) for x in chunk]
    assert pool.map(square, Doubling([1, 2, 3]), chunksize=2) == [4, 16, 36]
    for numbers in (range(5, 400, 3), range(10, -10, -1), range(2**62, 2**62 + 9), range(2**70, 2**70 + 9)):
        for chunksize in (None, 1, 4, 1000):
            assert pool.map(spread, numbers, chunksize=chunksize) == [(x,) for x in numbers]
    with pytest.raises(TypeError):
        pool.starmap(spread, range(9))
    with pytest.raises(TypeError):
        pool.starmap(spread, [(1,), 2, (3,)], chunksize=3)
    with pytest.raises(KeyError):
        pool.map(fail_on_three, range(6), chunksize=6)


class Doubling(list):
    def __iter__(self):
        return (2 * x for x in super().__iter__())


seen: list[object] = []


def is_one_of_those_before(x):
    seen.append(x)
    return any(x is y for y in seen[:-1])


def test_what_is_one_object_in_a_chunk_arrives_as_one(pool):
    one, two = "a text of some length", ["a list"]
    assert pool.map(is_one_of_those_before, [one, one, "".join([one, ""])], chunksize=3)[:2] == [False, True]
    assert pool.starmap(is_one_of_those_before, [(two,), (two,)], chunksize=2) == [False, True]


def count_of_its_kind(marker, _):
    return sum(type(x) is list and len(x) == 1 and x[0] == marker[0] for x in gc.get_objects())


def test_a_worker_holds_an_argument_no_longer_than_its_call(pool):
    assert pool.starmap(count_of_its_kind, [(["marked"], i) for i in range(50)], chunksize=50) == [1] * 50


def test_the_whole_of_a_pool(ctx):
    with ctx.Pool(2) as pool:
        assert pool.map(square, range(100)) == [n * n for n in range(100)]
        assert list(pool.imap(square, range(10), chunksize=3)) == [n * n for n in range(10)]
        assert sorted(pool.imap_unordered(square, range(10))) == [n * n for n in range(10)]
        assert set(pool.map(pid_after, [0.2] * 2, chunksize=1)) <= {worker.pid for worker in pool._pool}
        with pytest.raises(ValueError, match=r"^3$") as caught:
            pool.apply(parts.fail, (3,))
        assert "in fail" in str(caught.value.__cause__)
        slow = pool.apply_async(pid_after, (0.3,))
        with pytest.raises(fastmp.TimeoutError):
            slow.get(0)
        assert slow.get(30) > 0
        pool.close()
        with pytest.raises(ValueError, match="not running"):
            pool.apply(square, (1,))
        pool.join()


def test_list_that_shrinks_within_a_chunk_fails_its_own_call(pool):
    items = [0.0002] * 4_000
    result = pool.map_async(time.sleep, items, chunksize=2)  # more chunks than are sent at once
    other = pool.apply_async(square, (3,))
    items.pop()
    with pytest.raises(RuntimeError, match="changed its size"):
        result.get(timeout=50)
    assert other.get(timeout=50) == 9


def test_range_while_the_collector_calls_the_pool(pool):
    """Up to Python 3.11 it runs, and its callbacks, whenever an object is made."""
    calls = []

    def call(phase, _):
        if phase == "stop" and len(calls) % 2 == 0:  # not within itself
            calls.append(None)
            calls.append(pool.apply_async(square, (3,)).get(timeout=50))

    thresholds = gc.get_threshold()
    gc.callbacks.append(call)
    try:
        gc.set_threshold(1)
        result = pool.map(square, range(20_000), chunksize=10)
        gc.set_threshold(*thresholds)
    finally:
        gc.callbacks.remove(call)
    assert result == [x * x for x in range(20_000)]
    assert set(calls[1::2]) <= {9}
