"""What `with` asks locks for: bound methods that are kept, which nobody can tell from those that are made anew."""

import copy
import gc
import inspect
import pickle
import sys
import types
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

import fastmp
from fastmp import synchronize

fork = fastmp.get_context("fork")
REGION = fork.Event()  # whatever comes first makes the region, which stays open as long as the process lives
MAKERS: dict[str, Callable[[], Any]] = {
    "Lock": fork.Lock,
    "RLock": fork.RLock,
    "Semaphore": fork.Semaphore,
    "BoundedSemaphore": fork.BoundedSemaphore,
    "Condition": fork.Condition,
    "Condition on a Lock": lambda: fork.Condition(fork.Lock()),
}
NAMES = ["__enter__", "__exit__"]


@pytest.fixture(params=MAKERS)
def lock(request: pytest.FixtureRequest) -> Any:
    return MAKERS[request.param]()


def is_free(lock: Any) -> bool:
    taken = lock.acquire(block=False)
    if taken:
        lock.release()
    # an RLock can be taken once more by its owner
    return bool(taken) and not getattr(lock, "_lock", lock)._semlock._count()


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="`with` asks for none")
@pytest.mark.parametrize("name", NAMES)
def test_a_bound_method_is_kept(lock: Any, name: str) -> None:
    assert getattr(lock, name) is getattr(lock, name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition"])
def test_an_heir_keeps_none(kind: str, name: str) -> None:
    heir = type("Heir", (getattr(synchronize, kind),), {})(ctx=fork)
    assert getattr(heir, name) is not getattr(heir, name)


# ---- looks ----


def signature(method: Any) -> str:
    try:
        return str(inspect.signature(method))
    except ValueError:
        return "none"


@pytest.mark.parametrize("name", NAMES)
def test_a_bound_method_looks_like_any_other(lock: Any, name: str) -> None:
    with lock:
        pass
    kind, method = type(lock), getattr(lock, name)
    assert type(method) is types.BuiltinMethodType
    assert method.__name__ == name
    assert method.__qualname__ == f"{kind.__name__}.{name}"
    assert method.__self__ is lock
    assert method.__doc__
    assert method.__module__ is lock.acquire.__module__ is None
    assert repr(method) == f"<built-in method {name} of {kind.__module__}.{kind.__qualname__} object at {id(lock):#x}>"
    assert inspect.isbuiltin(method)
    anew = types.MethodDescriptorType.__get__(vars(kind)[name], lock, kind)
    assert anew is not method
    assert anew == method
    assert dir(anew) == dir(method)
    assert anew.__text_signature__ == method.__text_signature__
    assert signature(anew) == signature(method)


@pytest.mark.parametrize("name", NAMES)
def test_a_method_of_the_class_looks_like_any_other(lock: Any, name: str) -> None:
    kind = type(lock)
    method = getattr(kind, name)
    assert isinstance(method, types.MethodDescriptorType)
    assert type(method).__name__ == type(kind.acquire).__name__
    assert method is vars(kind)[name]
    assert method.__name__ == name
    assert method.__qualname__ == f"{kind.__name__}.{name}"
    assert method.__objclass__ is kind
    assert method.__doc__ == getattr(lock, name).__doc__
    assert method.__text_signature__ == getattr(lock, name).__text_signature__
    assert dir(method) == dir(kind.acquire)
    assert repr(method) == f"<method {name!r} of '{kind.__module__}.{kind.__qualname__}' objects>"
    assert inspect.ismethoddescriptor(method)
    assert inspect.isroutine(method)
    assert not inspect.isdatadescriptor(method)
    assert method.__get__(None, kind) is method
    assert pickle.loads(pickle.dumps(method)) is method
    assert copy.copy(method) is method
    with pytest.raises(TypeError):
        type(method)()
    with pytest.raises(TypeError):
        object.__new__(type(method))


@pytest.mark.parametrize("name", NAMES)
def test_equality_and_hash(lock: Any, name: str) -> None:
    other = type(lock)(ctx=fork)
    method = getattr(lock, name)
    assert method == getattr(lock, name)
    assert hash(method) == hash(getattr(lock, name))
    assert method != getattr(other, name)
    assert method != lock.acquire
    assert lock.__enter__ != lock.__exit__


@pytest.mark.parametrize("name", NAMES)
def test_copies_and_pickles_of_a_bound_method(lock: Any, name: str) -> None:
    method = getattr(lock, name)
    assert copy.copy(method) is method
    assert copy.deepcopy(method) is method
    assert method.__reduce__() == (getattr, (lock, name))
    back = pickle.loads(pickle.dumps(method))
    assert back.__name__ == name
    assert type(back.__self__) is type(lock)


# ---- calls ----


def test_calls(lock: Any) -> None:
    assert lock.__enter__() is True
    assert not is_free(lock)
    assert lock.__exit__(None, None, None) is None
    enter, exit_ = lock.__enter__, lock.__exit__
    assert enter() is True
    assert exit_(None, None, None) is None
    assert type(lock).__enter__(lock) is True
    assert type(lock).__exit__(lock, None, None, None) is None
    assert type(lock).__enter__.__get__(lock)() is True
    assert type(lock).__exit__.__get__(lock, type(lock))(None, None, None) is None
    with ExitStack() as stack:
        assert stack.enter_context(lock) is True
    assert is_free(lock)


def test_wrong_arguments(lock: Any) -> None:
    kind = type(lock)
    for call in (
        lambda: lock.__enter__(1),
        lambda: lock.__enter__(x=1),
        lambda: lock.__exit__(x=1),
        lambda: kind.__enter__(),
        lambda: kind.__exit__(),
        lambda: kind.__enter__(lock, 1),
        lambda: kind.__enter__(object()),
        lambda: kind.__exit__(7, None, None, None),
        lambda: kind.__enter__.__get__(7),
        lambda: kind.__exit__.__get__("text", str),
    ):
        with pytest.raises(TypeError):
            call()
    assert is_free(lock)


def test_a_bounded_semaphore_is_a_semaphore() -> None:
    lock = fork.BoundedSemaphore()
    enter, exit_ = (vars(synchronize.Semaphore)[name].__get__(lock) for name in NAMES)
    assert enter.__self__ is lock
    enter()
    assert lock.get_value() == 0
    exit_()
    assert lock.get_value() == 1


@pytest.mark.parametrize("kind", [getattr(synchronize, name) for name in MAKERS if " " not in name])
def test_subclasses(kind: Any) -> None:
    class Plain(kind):  # type: ignore[misc]
        pass

    class Own(kind):  # type: ignore[misc]
        entered = 0

        def __enter__(self) -> Any:
            self.entered += 1
            return super().__enter__()

        def __exit__(self, *args: object) -> Any:
            self.entered += 10
            return super().__exit__(*args)

    for lock in (Plain(ctx=fork), Own(ctx=fork)):
        with lock as got:
            assert got is True
        with pytest.raises(KeyError), lock:
            raise KeyError
        assert is_free(lock)
    assert lock.entered == 22


def test_a_subclass_instance_that_keeps_its_own_method_can_be_collected() -> None:
    class Own(synchronize.Lock):
        pass

    lock = Own(ctx=fork)
    lock.f, lock.g = lock.__enter__, lock.__exit__
    gone = weakref.ref(lock)
    del lock
    gc.collect()
    assert gone() is None


def test_a_class_can_be_given_other_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = fork.Lock()
    with lock:
        pass
    monkeypatch.setattr(synchronize.Lock, "__enter__", lambda _: "other")
    with lock as got:
        assert got == "other"
        assert lock.acquire(block=False)  # for the __exit__


# ---- lives ----


def test_a_lock_ends_with_its_last_reference(lock: Any) -> None:
    before = sys.getrefcount(lock)
    for _ in range(3):
        with lock:
            pass
    assert sys.getrefcount(lock) == before
    fresh = type(lock)(ctx=fork)
    with fresh:
        pass
    gone = weakref.ref(fresh)
    del fresh
    assert gone() is None


@pytest.mark.parametrize("names", [["__enter__"], ["__exit__"], NAMES])
@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_a_method_keeps_its_lock_alive(maker: Callable[[], Any], names: list[str]) -> None:
    lock = maker()
    with lock:
        pass
    kept = [getattr(lock, name) for name in names]
    gone, place = weakref.ref(lock), id(lock)
    del lock
    for method in kept:
        assert id(method.__self__) == place
        assert gone() is method.__self__
    kept[0].__self__.acquire()
    kept[0].__self__.release()
    with kept[0].__self__:
        pass
    assert is_free(kept[0].__self__)
    del method
    while kept:
        assert gone() is not None
        kept.pop()
    assert gone() is None


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_a_lock_that_only_the_statement_has(maker: Callable[[], Any]) -> None:
    with maker() as got:
        assert got is True
    lock = maker()
    gone = weakref.ref(lock)
    with lock:
        del lock
        gc.collect()
        assert gone() is not None
    assert gone() is None


def test_a_method_watched_by_a_weak_reference() -> None:
    lock = fork.Lock()
    with lock:
        pass
    seen: list[Any] = []
    watched = [weakref.ref(getattr(lock, name), lambda ref: seen.append(ref())) for name in NAMES]
    assert [ref() for ref in watched] == [lock.__enter__, lock.__exit__]
    del lock
    assert seen == [None, None]


def test_a_watcher_may_save_the_lock() -> None:
    lock = fork.Lock()
    with lock:
        pass
    saved: list[Any] = []
    exit_ = weakref.ref(lock.__exit__)
    enter = weakref.ref(lock.__enter__, lambda _: saved.append(exit_()))
    del lock
    assert enter() is None
    [method] = saved
    with method.__self__ as got:
        assert got is True
    assert is_free(method.__self__)
    gone = weakref.ref(method.__self__)
    saved.clear()
    del method
    assert gone() is None


@pytest.mark.parametrize("name", NAMES)
def test_the_collector_may_ask_for_the_method_meanwhile(name: str) -> None:
    """Up to Python 3.11 it runs whenever an object is made."""
    lock = fork.Lock()
    gone, seen = weakref.ref(lock), []

    def ask(phase: str, _: object) -> None:
        held = gone()
        if phase == "stop" and held is not None:
            seen.append(getattr(held, name))

    thresholds = gc.get_threshold()
    ballast: list[Any] = [[] for _ in range(10)]
    gc.callbacks.append(ask)
    try:
        gc.set_threshold(1)
        method = getattr(lock, name)
        gc.set_threshold(*thresholds)
    finally:
        gc.callbacks.remove(ask)
    assert method.__self__ is lock
    assert all(other == method for other in seen)
    del lock, method, ballast
    assert seen or sys.version_info >= (3, 12)
    if seen:
        assert gone() is not None
        with seen[0].__self__ as got:
            assert got is True
    seen.clear()
    assert gone() is None


class Foreign:
    """A lock that is none of ours, and refers to whatever it is told."""

    def __init__(self) -> None:
        self._lock = fork.RLock()
        self._semlock = self._lock
        self.acquire, self.release = self._lock.acquire, self._lock.release
        self.other: Any = None

    def __enter__(self) -> Any:
        return self._lock.__enter__()

    def __exit__(self, *args: object) -> Any:
        return self._lock.__exit__(*args)


def test_a_condition_in_a_cycle_is_collected() -> None:
    condition = fork.Condition(Foreign())
    with condition:
        pass
    condition._lock.other = condition
    condition._lock.methods = [condition.__enter__, condition.__exit__]
    gone = weakref.ref(condition)
    del condition
    gc.collect()
    assert gone() is None


def test_a_condition_that_only_its_method_refers_to_is_not_collected() -> None:
    condition = fork.Condition(Foreign())
    condition._lock.other = condition
    exit_ = condition.__exit__
    del condition
    gc.collect()
    with exit_.__self__:
        assert exit_.__self__._lock.other is exit_.__self__
    exit_.__self__._lock.other = None


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_a_lock_of_an_object_that_is_collected_during_the_statement(maker: Callable[[], Any]) -> None:
    class Owner:
        def __init__(self) -> None:
            self.itself, self.lock = self, maker()

    owner = Owner()
    owners, locks = weakref.ref(owner), weakref.ref(owner.lock)
    with owner.lock:
        del owner
        gc.collect()
        assert owners() is None
        lock = locks()
        assert lock is not None
    assert is_free(lock)
    del lock
    assert locks() is None


def test_a_condition_that_was_not_initialised() -> None:
    condition = synchronize.Condition.__new__(synchronize.Condition)
    for method in (condition.__enter__, condition.__exit__, condition.acquire, condition.release):
        with pytest.raises(RuntimeError, match="__init__"):
            method()


def test_a_condition_that_is_given_another_lock() -> None:
    condition = fork.Condition()
    with condition:
        pass
    exit_ = condition.__exit__
    condition.__init__(Foreign(), ctx=fork)
    with condition:
        assert condition._lock._lock._semlock._count() == 1
    condition._lock.other = condition
    gone = weakref.ref(condition)
    del condition
    gc.collect()
    assert exit_.__self__ is gone()
    del exit_
    gc.collect()
    assert gone() is None
