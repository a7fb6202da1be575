"""The wire delivers what pickle would: `decode(encode(x))` against `pickle.loads(pickle.dumps(x, 5))`."""

import array
import collections
import copyreg
import enum
import functools
import pickle
import random
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing import reduction as std_reduction
from typing import Any

import pytest
from support.graphs import difference, random_graph, random_repeats, random_tree

import fastmp
from fastmp import _core
from fastmp.reduction import ForkingPickler, register

try:
    import hypothesis
    from hypothesis import strategies
except ImportError:
    hypothesis = None

PICKLED = (18, 19)  # FMP_TAG_PICKLE, FMP_TAG_BUFFERS


def there_and_back(obj: object) -> Any:
    return _core.decode(_core.encode(obj))


def pickled(obj: object) -> Any:
    return pickle.loads(pickle.dumps(obj, 5))


def is_fast(obj: object) -> bool:
    return _core.encode(obj)[0] not in PICKLED


def assert_exact(obj: object) -> None:
    assert not difference(there_and_back(obj), pickled(obj))


def for_many_randoms(test: Callable[[random.Random], None]) -> Callable[[], None]:
    """Hypothesis's random numbers where it is installed (it finds small examples), else a row of seeds."""
    if hypothesis is not None:
        given = hypothesis.given(strategies.randoms(use_true_random=False))
        return hypothesis.settings(max_examples=150, deadline=None, database=None)(given(test))

    def run() -> None:
        for seed in range(1000):
            test(random.Random(seed))

    return run


@for_many_randoms
def test_a_random_tree_arrives_as_by_pickle(r: random.Random) -> None:
    assert_exact(random_tree(r))


@for_many_randoms
def test_a_random_graph_arrives_as_by_pickle(r: random.Random) -> None:
    assert_exact(random_graph(r))


# ---- the fast path ----

WORD = "".join(["wo", "rd"])
PLAIN = {
    "none": None,
    "true": True,
    "false": False,
    "int": 7,
    "smallest one-byte int": -16,
    "uint64": 2**64 - 1,
    "int64": -(2**63),
    "float": 2.5,
    "nan": float("nan"),
    "minus zero": -0.0,
    "bytes": b"a\0b",
    "no bytes": b"",
    "ascii": "abc\0def",
    "latin-1": "né\xff",
    "latin-1 character": "é",
    "ucs2": "€\ud800",
    "ucs4": "😀\U0010ffff",
    "no text": "",
    "tuple": (1, "abc", 2.5),
    "empty tuple": (),
    "empty list": [],
    "empty dict": {},
    "dict": {"b": 1, "a": [1, 2], 3: None, (1, 2): b"x"},
    "ints": list(range(-300, 300)),
    "wide ints": [2**k for k in range(63)],
    "tuple of ints": tuple(range(10)),
    "floats": [k / 7 for k in range(100)],
    "ints and one more": [*range(100), None],
    "ints and a large one": [*range(100), 2**63],
    "bools": [True, False] * 10,
    "large bytes": bytes(range(256)) * 40,
    "large text": "€" * 5000,
    "large leaves": [b"x" * 5000, "a" * 5000, 1, "é" * 5000],
    "long list": [str(k) for k in range(5000)],
    "bytearray": bytearray(b"abc"),
    "empty bytearray": bytearray(),
    "large bytearray": bytearray(range(256)) * 400,
    "bytearrays inside": [bytearray(b"x" * k) for k in (0, 1, 254, 255, 256, 5000)],
    "the only empty ones": ["", "", b"", b"", (), ()],
    "the only single ones": ["a", "a", "é", "é", b"a", b"a"],
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_objects_take_the_fast_path(name: str) -> None:
    assert is_fast(PLAIN[name])
    assert_exact(PLAIN[name])


@pytest.mark.parametrize("count", [0, 1, 31, 32, 1000])
@pytest.mark.parametrize("typecode", "bBhHiIlLqQfd")
def test_arrays_of_numbers_take_the_fast_path(typecode: str, count: int) -> None:
    numbers = array.array(typecode, [k % 100 for k in range(count)])
    there_and_back({1})  # which reducers there are is known from the first pickle on
    assert is_fast(numbers)
    for back in (there_and_back(numbers), there_and_back({"key": (numbers,)})["key"][0]):
        assert back == numbers
        assert type(back) is array.array
        assert back.typecode == typecode


class Numbers(array.array):  # type: ignore[type-arg]
    """A subclass, which pickle does differently."""


@pytest.mark.filterwarnings("ignore:The 'u' type code is deprecated:DeprecationWarning")
def test_other_arrays_are_pickled() -> None:
    for other in (array.array("u", "text €"), Numbers("i", [1, 2])):
        assert not is_fast(other)
        back = there_and_back(other)
        assert back == other
        assert type(back) is type(other)
        assert back.typecode == other.typecode


def test_arrays_take_the_fast_path_beside_managers() -> None:
    import multiprocessing.managers

    numbers = array.array("d", [1.5, 2.5])
    assert ForkingPickler._extra_reducers[array.array] is multiprocessing.managers.reduce_array
    there_and_back({1})
    assert is_fast(numbers)


def reduce_to_a_list(numbers: Any) -> tuple[Any, ...]:
    return list, (numbers.tolist(),)


def test_a_reducer_for_arrays_is_in_force() -> None:
    numbers = array.array("d", [1.5, 2.5])
    before = ForkingPickler._extra_reducers.get(array.array)
    register(array.array, reduce_to_a_list)
    try:
        assert there_and_back(numbers) == [1.5, 2.5]
    finally:
        if before is None:
            del ForkingPickler._extra_reducers[array.array]
        else:
            register(array.array, before)
    assert there_and_back(numbers) == numbers


@pytest.mark.parametrize("one", [bytearray(300), array.array("i", range(300))], ids=type)
def test_one_buffer_twice_is_one(one: Any) -> None:
    first, second, inside = there_and_back((one, one, [one]))
    assert first is second is inside[0]
    assert first == one


@pytest.mark.parametrize("one", [bytearray(300), array.array("B", range(200)) * 2], ids=type)
def test_a_buffer_may_be_resized_after_it_was_sent(one: Any) -> None:
    queue = fastmp.SimpleQueue()
    queue.put(one)
    one.append(1)
    assert queue.get() == one[:-1]


def nested(depth: int) -> list[Any]:
    return functools.reduce(lambda inner, _: [inner], range(depth - 1), [])


def holds_itself() -> list[Any]:
    loop: list[Any] = [1]
    loop.append(loop)
    return loop


def records(n: int, *keys: Any) -> list[dict[Any, Any]]:
    return [{key: f"{k} of {i}" for k, key in enumerate(keys)} for i in range(n)]


def words(n: int) -> list[str]:
    return [f"word {k}" for k in range(n)]


REPEATED: dict[str, Any] = {
    "str": [WORD, WORD],
    "bytes": [bytes([1, 2]), *[bytes([3, 4])] * 2],
    "large bytes": (bytes(9000),) * 2,
    "large texts": ["a" * 9000, *["é" * 9000] * 2, *["a" * 300] * 3],
    "each width": [*["née"] * 2, *["€"] * 2, *["€uro"] * 2, *["😀"] * 2, *["a😀"] * 2],
    "far apart": [WORD, *words(1000), WORD],
    "many": words(1000) * 2,
    "as many as a byte refers to": words(48) * 2,
    "one more": words(49) * 2,
    "as few as are compared one by one": words(16) * 2,
    "and one more": words(17) * 2,
    "key and value": {WORD: WORD},
    "keys": records(20, "id", "name"),
    "keys of each kind": records(5, "ab", "k" * 32, "k" * 33, "k" * 300, "é" * 3, "€", b"bytes", 7),
    "values": [{f"{k} x": WORD} for k in range(20)],
    "a value before the key": [WORD, {WORD: 1}, {"it": WORD}],
    "nested": [[[WORD, {"a key": (WORD, [WORD])}]], {"a key": [WORD]}],
    "rows": [(k, WORD, k / 7) for k in range(50)],
    "arguments": ((WORD, 1), {"name": WORD, "text": "name"}),
    "beside singletons": ["a", "a", WORD, "é", "é", WORD, "", "", b"", b"a", b"a"],
    "beside equal ones": [WORD, WORD, "".join(["wo", "rd"]), {WORD: 1}, {"".join(["wo", "rd"]): 2}],
}


@pytest.mark.parametrize("name", REPEATED)
def test_repeated_texts_and_bytes_take_the_fast_path(name: str) -> None:
    for _ in range(3):  # keys that an earlier message had, too
        assert is_fast(REPEATED[name])
        assert_exact(REPEATED[name])


@for_many_randoms
def test_random_repeats_arrive_as_by_pickle(r: random.Random) -> None:
    obj = random_repeats(r)
    assert is_fast(obj)
    assert_exact(obj)


def test_references_belong_to_one_message() -> None:
    plain = [WORD, "another", {"key": WORD[:3]}]
    before = _core.encode(plain)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        _core.encode([WORD, WORD, lambda: None])
    for _ in range(2):
        _core.encode(REPEATED["many"])
        assert _core.encode(plain) == before


def test_what_is_referred_to_is_let_go() -> None:
    first, second, third = there_and_back([WORD] * 3)
    a = b = c = "".join(["not ", "sent"])
    assert first is second is third
    assert a is b is c
    assert sys.getrefcount(first) == sys.getrefcount(a)


ASIDE: dict[str, Any] = {
    "shared list": [[1]] * 2,
    "shared tuple": [(1,)] * 2,
    "shared dict": ({},) * 2,
    "shared list beside a shared str": [WORD, WORD, *[[1]] * 2],
    "shared str beside a set": [WORD, WORD, {1}],
    "recursion": holds_itself(),
    "great depth": nested(100),
    "big int": 2**64,
    "negative big int": -(2**63) - 1,
}


@pytest.mark.parametrize("name", ASIDE)
def test_the_fast_path_steps_aside(name: str) -> None:
    assert not is_fast(ASIDE[name])
    assert_exact(ASIDE[name])


@pytest.mark.parametrize("depth", range(1, 40))
def test_every_depth_arrives(depth: int) -> None:
    assert_exact(nested(depth))


def test_identity_survives() -> None:
    shared, loop = [1], holds_itself()
    first, second = there_and_back((shared, shared))
    assert first is second
    back = there_and_back(loop)
    assert back[1] is back


def test_distinct_equal_objects_stay_distinct() -> None:
    first, second = there_and_back([[1], [1]])
    assert first is not second


@pytest.mark.parametrize(
    "key", ["ab", "abc", "k" * 7, "k" * 8, "number 17", "k" * 16, "x" * 17, "y" * 32, "z" * 33, "é" * 5]
)
def test_equal_keys_of_one_message_stay_distinct(key: str) -> None:
    """Though a key that came in an earlier message is the same str again."""
    for _ in range(3):
        message = [{key: 1}, {key[:1] + key[1:]: 2}]
        assert is_fast(message)
        first, second = (next(iter(d)) for d in there_and_back(message))
        assert first == second == key
        assert first is not second


def test_keys_that_are_alike_do_not_mix() -> None:
    keys = [
        f"{head}{n:0{width}}{tail}"
        for head in "ab"
        for tail in ("", "_of_it")
        for width in (1, 9, 25)
        for n in range(500)
    ]
    for _ in range(2):
        for key in keys:
            assert there_and_back({key: key}) == {key: key}


def test_a_small_message_is_small() -> None:
    assert len(_core.encode(7)) == 1
    assert len(_core.encode((1, "abc", 2.5))) == 17


# ---- everything else ----

Point = collections.namedtuple("Point", "x y")


class Whole(int):
    pass


class Text(str):
    __slots__ = ()


class Mapping(dict[str, int]):
    pass


class Colour(enum.IntEnum):
    RED = 1


class Reduced:
    def __init__(self, value: int) -> None:
        self.value = value

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return Reduced, (self.value + 1000 * protocol,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reduced) and other.value == self.value

    __hash__ = None  # type: ignore[assignment]


def annotated_error() -> ValueError:
    error = ValueError("text", 5)
    error.add_note("a note")
    return error


OTHERS: dict[str, Any] = {
    "namedtuple": Point(1, 2),
    "int subclass": Whole(5),
    "str subclass": Text("abc"),
    "dict subclass": Mapping(a=1),
    "enum": Colour.RED,
    "subclasses inside": [Whole(5), Text("abc"), {"c": Colour.RED, "p": Point(1, 2)}],
    "among ints": [*range(20), Whole(5), True],
    "ordered dict": collections.OrderedDict(b=1, a=2),
    "default dict": collections.defaultdict(list, a=[1]),
    "deque": collections.deque([1, 2], 3),
    "complex": 1 + 2j,
    "set": {1, 2},
    "frozenset": frozenset("ab"),
    "range": range(3),
    "ellipsis": ...,
    "class": Point,
    "function": nested,
    "builtin": len,
    "reduced": Reduced(1),
    "large pickle": [Whole(5), b"x" * 200_000, bytearray(b"y" * 100_000), "z" * 70_000, {1}],
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_objects_are_pickled(name: str) -> None:
    obj = OTHERS[name]
    assert not is_fast(obj)
    back, by_pickle = there_and_back(obj), pickled(obj)
    assert type(back) is type(by_pickle)
    assert back == by_pickle


def test_partial_and_exception_arrive() -> None:
    partial = there_and_back(functools.partial(nested, 3))
    assert partial() == nested(3)
    error = there_and_back(annotated_error())
    assert type(error) is ValueError
    assert error.args == ("text", 5)
    assert error.__notes__ == ["a note"]


@pytest.mark.parametrize("obj", [lambda: None, memoryview(b"abc"), threading.Lock(), sys._getframe()], ids=type)
def test_what_cannot_be_pickled_raises_what_pickle_raises(obj: object) -> None:
    with pytest.raises((TypeError, pickle.PicklingError, AttributeError)) as by_pickle:
        pickle.dumps(obj, 5)
    with pytest.raises(by_pickle.type) as error:
        _core.encode([1, obj])
    assert str(error.value) == str(by_pickle.value)
    assert there_and_back([1]) == [1]
    assert there_and_back({1}) == {1}


def test_an_exception_of_a_reducer_arrives_unchanged() -> None:
    with pytest.raises(ZeroDivisionError):
        _core.encode(Reducing(lambda: 1 // 0))


class Reducing:
    """Runs `action` while it is pickled."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action

    def __reduce__(self) -> tuple[Any, ...]:
        return (list, (), None, iter([self.action()]))


def test_a_reducer_may_encode() -> None:
    inner = {1, 2}
    assert there_and_back(Reducing(lambda: _core.encode(inner))) == [_core.encode(inner)]


def test_a_reducer_may_change_the_container_it_is_in() -> None:
    holder: list[Any] = [1, 2]
    holder.append(Reducing(holder.clear))
    assert isinstance(there_and_back(holder), list)


def test_nothing_is_kept_after_the_message() -> None:
    large = b"x" * 100_000
    inside = [large]
    before = sys.getrefcount(large)
    for obj in (inside, [inside, {1}]):
        _core.encode(obj)
        assert sys.getrefcount(large) == before
    with pytest.raises((pickle.PicklingError, AttributeError)):
        _core.encode([inside, lambda: None])
    assert sys.getrefcount(large) == before


# ---- reducers ----


class Late:
    """Has its reducer registered after the pickler was made."""

    def __reduce__(self) -> Any:
        raise TypeError("no reducer is registered")


@pytest.fixture
def tables() -> Iterator[None]:
    """Puts the tables of reducers back."""
    saved = [(table, dict(table)) for table in (copyreg.dispatch_table, std_reduction.ForkingPickler._extra_reducers)]
    yield
    for table, contents in saved:
        table.clear()
        table.update(contents)


REGISTER = {
    "copyreg": copyreg.pickle,
    "standard library": std_reduction.ForkingPickler.register,
    "fastmp": ForkingPickler.register,
    "function": register,
}


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize("where", REGISTER)
def test_a_reducer_registered_late_is_honoured(where: str) -> None:
    assert there_and_back({1}) == {1}
    with pytest.raises(TypeError, match="no reducer"):
        _core.encode(Late())
    REGISTER[where](Late, lambda _: (int, ("4",)))
    assert there_and_back([Late()]) == [4]
    REGISTER[where](Late, lambda _: (int, ("5",)))
    assert there_and_back([Late()]) == [5]


@pytest.mark.usefixtures("tables")
def test_forking_reducers_win_over_copyreg() -> None:
    copyreg.pickle(Late, lambda _: (int, ("1",)))  # type: ignore[arg-type]
    std_reduction.ForkingPickler.register(Late, lambda _: (int, ("2",)))
    assert there_and_back(Late()) == 2
    del std_reduction.ForkingPickler._extra_reducers[Late]
    assert there_and_back(Late()) == 1


def test_forking_pickler_is_the_standard_one() -> None:
    assert issubclass(ForkingPickler, std_reduction.ForkingPickler)
    assert ForkingPickler.__module__ == "fastmp.reduction"
    assert ForkingPickler.loads(ForkingPickler.dumps({1: 2})) == {1: 2}
