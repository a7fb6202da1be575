"""shared_dict: the mapping protocol, keys and values of every kind, several processes."""

import contextlib
import operator
import os
import pickle
import random
import signal
from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy
import pytest
from support.crowd import fork, in_child, run

import fastmp
from fastmp import Value, _core, shared_dict


@pytest.fixture(autouse=True, scope="module")
def _memory() -> None:
    """The region, which stays until the process ends, is there before the first test."""
    shared_dict()


def test_a_mapping() -> None:
    table = shared_dict({"a": 1}, b=2)
    assert isinstance(table, MutableMapping)
    assert isinstance(table, Mapping)
    assert (len(table), list(table), table["a"], "b" in table, "c" in table) == (2, ["a", "b"], 1, True, False)
    table["c"] = [3]
    del table["a"]
    assert table == {"b": 2, "c": [3]}
    assert table.keys() == ["b", "c"]
    assert table.values() == [2, [3]]
    assert table.items() == [("b", 2), ("c", [3])]
    assert dict(table) == table.copy() == {"b": 2, "c": [3]}
    assert repr(table) == "<SharedDict {'b': 2, 'c': [3]}>"
    table.update([("d", 4)], e=5)
    assert {**table} == {"b": 2, "c": [3], "d": 4, "e": 5}
    assert shared_dict(table) == table
    assert table
    table.clear()
    table.clear()
    assert not table
    assert table.items() == []


def test_methods_that_change() -> None:
    table = shared_dict(a=1)
    assert table.setdefault("a", 2) == 1
    assert table.setdefault("b") is None
    assert table.setdefault("c", [2]) == [2]
    assert (table.get("x"), table.get("x", 5), table.get("a", 5)) == (None, 5, 1)
    assert (table.pop("a"), table.pop("a", 7)) == (1, 7)
    assert table.popitem() == ("c", [2])
    assert table.popitem() == ("b", None)
    for call in (table.popitem, lambda: table.pop("a"), lambda: table["a"], lambda: table.__delitem__("a")):
        with pytest.raises(KeyError):
            call()


def test_operators() -> None:
    d = shared_dict(a=1)
    merged = d | {"b": 2}
    assert type(merged) is dict
    assert merged == {"a": 1, "b": 2}
    assert list(({"z": 0, "a": 5} | d).items()) == [("z", 0), ("a", 1)]
    assert d | shared_dict(a=3) == {"a": 3}
    same = d
    d |= {"c": 3}
    d |= [("d", 4)]
    assert d is same
    assert list(reversed(d)) == ["d", "c", "a"]
    assert type(d).fromkeys("xy", 0) == {"x": 0, "y": 0}
    with pytest.raises(TypeError):
        d | [("a", 1)]


def test_a_value_is_a_copy() -> None:
    table = shared_dict(a=[1])
    table["a"].append(2)
    assert table["a"] == [1]
    table["a"] = table["a"] + [2]
    assert table["a"] == [1, 2]


KEYS: list[Any] = [
    None,
    0,
    -1,
    2**63 - 1,
    -(2**63),
    2**63,
    -(10**40),
    0.5,
    float("inf"),
    -1e300 / 7,
    "",
    "text",
    "\u20ac\U0001f600",
    "\ud800",
    "a\0b",
    b"",
    b"text",
    (),
    (1, ("a", (b"b", None)), 2.5),
    "long" * 1000,
]


@pytest.mark.parametrize("key", KEYS, ids=[repr(key)[:30] for key in KEYS])
def test_keys(key: Any) -> None:
    table = shared_dict({"other": 1})
    table[key] = "value"
    assert table[key] == "value"
    assert key in table
    (found,) = [each for each in table if each != "other"]
    assert found == key
    assert type(found) is type(key)
    assert pickle.dumps(found) == pickle.dumps(key)
    del table[key]
    assert table == {"other": 1}


@pytest.mark.parametrize(
    "equal", [(1, 1.0, True), (0.0, -0.0, False, 0), (2.0**70, 2**70), ((1, 2), (1.0, 2), (True, 2.0))]
)
def test_keys_that_are_equal_are_one(equal: tuple[Any, ...]) -> None:
    """And the first one stays, as in a dict."""
    for first in equal:
        table, usual = shared_dict({first: 0}), {first: 0}
        for number, other in enumerate(equal, 1):
            table[other] = usual[other] = number
        assert table == usual
        assert [repr(key) for key in table] == [repr(key) for key in usual]


def test_keys_that_are_not_equal() -> None:
    keys = [1, "1", b"1", (1,), ((1,),), 1.5, None, (None,), "", b"", (), "i\0\0\0\0\0\0\0\0", 49]
    table = shared_dict({key: number for number, key in enumerate(keys)})
    assert table == {key: number for number, key in enumerate(keys)}


@pytest.mark.parametrize(
    "key", [[1], {}, object(), frozenset([1]), (1, [2]), 1j, numpy.float64(1), type("S", (str,), {})("x")]
)
def test_what_is_no_key(key: Any) -> None:
    table = shared_dict()
    for call in (
        lambda: table[key],
        lambda: table.__setitem__(key, 1),
        lambda: key in table,
        lambda: table.pop(key, 1),
    ):
        with pytest.raises(TypeError, match="a key of a shared dict"):
            call()
    deep: Any = ()
    for _ in range(20):
        deep = (deep,)
    with pytest.raises(ValueError, match="16 levels"):
        table[deep] = 1
    assert not table


def test_values() -> None:
    array = numpy.arange(100_000.0)
    values = [None, 1, 2**100, "x" * 10_000, b"y" * 1_000_000, {"a": (1, [2.5])}, {1, 2}, range(3), os.path.join, array]
    table = shared_dict(enumerate(values))
    for number, value in enumerate(values[:-1]):
        assert table[number] == value
        assert type(table[number]) is type(value)
    assert (table[len(values) - 1] == array).all()
    table[len(values) - 1][0] = 5
    assert table[len(values) - 1][0] == 0
    with pytest.raises((pickle.PicklingError, AttributeError)):
        table[0] = lambda: None
    assert table[0] is None


def test_as_a_dict_in_many_steps() -> None:
    """Also where it is filled, emptied and filled again."""
    dice = random.Random(5)
    table, usual = shared_dict(), dict[Any, Any]()
    for step in range(30_000):
        limit = 10 if step % 10_000 < 3000 else 2000
        key = dice.choice([int, str, float, lambda k: (k, -k)])(dice.randrange(limit))
        chance = dice.random()
        if chance < 0.5:
            table[key] = usual[key] = "v" * dice.randrange(100)
        elif chance < 0.9:
            assert table.pop(key, None) == usual.pop(key, None)
        elif chance < 0.95 and usual:
            assert table.popitem() == usual.popitem()
        else:
            assert table.get(key) == usual.get(key)
    assert list(table.items()) == list(usual.items())


def test_memory_is_given_back() -> None:
    before = _core.heap_stats()
    table = shared_dict()
    for number in range(2000):
        table["same"] = "x" * 5000
        table[number] = "y" * 100
    for number in range(2000):
        del table[number]
    table["same"] = "x" * 100_000
    now = _core.heap_stats()
    assert now["bytes_in_use"] - before["bytes_in_use"] < 2_000_000
    del table
    after = _core.heap_stats()
    assert [after[phase] for phase in ("owned", "transit", "shared")] == [
        before[phase] for phase in ("owned", "transit", "shared")
    ]


def test_children_see_it() -> None:
    table = shared_dict(a=1)

    def child() -> None:
        table["b"] = table["a"] + 1
        del table["a"]

    in_child(child)
    assert table == {"b": 2}


def test_what_a_child_has_put_outlives_it() -> None:
    """And so does what it has moved to a larger place; the parent was at work too."""
    table = shared_dict()

    def child(name: str) -> None:
        for number in range(500):
            table[name, number] = name * number

    run(*[(child, (name,)) for name in "abcd"])
    assert len(table) == 2000
    assert all(table[name, number] == name * number for name in "abcd" for number in range(500))
    for name in "abcd":
        assert [key[1] for key in table if key[0] == name] == list(range(500))


def test_steps_of_four_processes_are_whole() -> None:
    table, taken, firsts = shared_dict(enumerate(range(800))), Value("i"), shared_dict()

    def child(number: int) -> None:
        with contextlib.suppress(KeyError):
            while True:
                table.popitem()
                taken.fetch_add(1)
        firsts["seen by", number] = firsts.setdefault("first", number)

    run(*[(child, (number,)) for number in range(4)])
    assert taken.value == 800
    assert [firsts["seen by", number] for number in range(4)] == [firsts["first"]] * 4


def test_a_killed_process_holds_nobody_up() -> None:
    table = shared_dict(kept="x")
    begun = Value("i")

    def child() -> None:
        begun.fetch_add(1)
        begun.notify()
        while True:
            table["k"] = table.get("k", 0) + 1
            table.pop("k")

    for _ in range(20):
        begun.store(0)
        process = fork.Process(target=child)
        process.start()
        assert begun.wait(0, timeout=30)
        os.kill(process.pid, signal.SIGKILL)
        process.join(30)
        table["mine"] = 1
        assert table["kept"] == "x"


def test_every_start_method(method: str) -> None:
    table = shared_dict(here=1)
    process = fastmp.get_context(method).Process(target=operator.setitem, args=(table, "there", 2))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert table == {"here": 1, "there": 2}


@pytest.mark.parametrize(
    "make",
    [fastmp.Lock, fastmp.Event, shared_dict, lambda: Value("i"), lambda: fastmp.shared_array(3)[1:]],
)
def test_it_holds_no_shared_objects(make: Any) -> None:
    before = _core.heap_stats()["shared"]
    table = shared_dict(kept=1)
    for value in (make(), [make()]):
        with pytest.raises(TypeError, match="holds copies"):
            table["a"] = value
        with pytest.raises(TypeError, match="holds copies"):
            table.update(kept=value)
        with pytest.raises(TypeError, match="holds copies"):
            table.setdefault("b", value)
    assert table == {"kept": 1}
    table["a"] = fastmp.shared_array(3).copy()
    assert table["a"].tolist() == [0, 0, 0]
    del value, table
    assert _core.heap_stats()["shared"] <= before


def test_pickles_by_its_place() -> None:
    shared = shared_dict()
    again = pickle.loads(pickle.dumps(shared))
    shared["one"] = 1
    assert again["one"] == 1
    for record in (b"", bytes(48), b"x" * 48):
        with pytest.raises((ValueError, OSError)):
            _core.SharedDict._arrive(record)


def test_the_name_of_the_package() -> None:
    assert fastmp.shared_dict is shared_dict
