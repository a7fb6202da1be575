"""Round trips of any objects through the wire, against pickle: equal, of the same types, with the same shared parts."""

import pickle
from collections import OrderedDict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.graphs import difference

from fastmp import _core

BOUNDED = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


class Text(str): ...


class Number(int): ...


class Numbers(list): ...


class Names(dict): ...


# Sizes where something changes: the long form of a size, a cell, a leaf that is not copied, a buffer out of band.
EDGES = [0, 1, 7, 8, 9, 15, 16, 60, 79, 80, 96, 104, 105, 254, 255, 256, 4095, 4096, 4097, 65536]
ints = st.integers() | st.sampled_from(
    [s * 2**p + d for p in (4, 7, 8, 15, 16, 31, 32, 63, 64) for s in (1, -1) for d in (-1, 0, 1)]
)
sized = st.sampled_from(EDGES)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    ints,
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    sized.map(lambda n: b"x" * n),
    st.builds(lambda n, c: c * n, sized, st.sampled_from("aé€😀")),
    sized.map(lambda n: list(range(n % 5000))),
    sized.map(lambda n: (0.5,) * (n % 5000)),
    st.text().map(Text),
    ints.map(Number),
    st.complex_numbers(allow_nan=False),
)
keys = st.one_of(st.none(), st.booleans(), ints, st.text(), st.binary(), st.tuples(st.integers(), st.text()))


def containers(inner):
    return st.one_of(
        st.lists(inner, max_size=12),
        st.lists(inner, max_size=12).map(tuple),
        st.dictionaries(keys, inner, max_size=12),
        st.lists(inner, max_size=4).map(Numbers),
        st.dictionaries(st.text(), inner, max_size=4).map(Names),
        st.dictionaries(st.text(), inner, max_size=4).map(OrderedDict),
    )


objects = st.recursive(leaves, containers, max_leaves=15)


def same(a, b):
    """Equal, and of the same types all the way down; 1, 1.0 and True are not the same, nor are 0.0 and -0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return len(a) == len(b) and all(
            same(x, y) and same(a[x], b[y]) for x, y in zip(a, b, strict=True)
        )  # in the same order
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b and repr(a) == repr(b)


def refuses_a_cut(message, data):
    if message[0] not in (18, 19):  # no pickle
        cut = data.draw(st.integers(0, len(message) - 1))
        with pytest.raises(pickle.UnpicklingError):
            _core.decode(message[:cut])


@BOUNDED
@given(objects)
def test_any_object(obj):
    arrived = _core.decode(_core.encode(obj))
    assert same(arrived, obj)
    assert same(arrived, pickle.loads(pickle.dumps(obj, 5)))


@BOUNDED
@given(objects, st.integers(0, 3))
def test_shared_parts_stay_shared(obj, depth):
    shared = [obj]
    for _ in range(depth):
        shared = [shared, shared]
    arrived = _core.decode(_core.encode([shared, {"again": shared}]))
    assert arrived[0] is arrived[1]["again"]
    assert same(arrived[0], shared)


# What a message may refer to, and few enough of them that each comes again.
repeats = st.lists(st.text(min_size=1) | st.binary(min_size=1) | st.sampled_from(["x" * 300, "é" * 40, b"y" * 5000]))


def trees_of(words):
    """Trees whose leaves and keys are these very objects, over and over, with equal ones beside them."""
    word = st.sampled_from(words)
    leaf = word | word.map(lambda w: w[:1] + w[1:]) | st.integers(-20, 300)
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, max_size=20),
            st.lists(inner, max_size=20).map(tuple),
            st.dictionaries(word, inner, max_size=8),
        ),
        max_leaves=60,
    )


@BOUNDED
@given(repeats.filter(bool).flatmap(trees_of))
def test_repeated_leaves_arrive_as_by_pickle(obj):
    message = _core.encode(obj)
    assert not difference(_core.decode(message), pickle.loads(pickle.dumps(obj, 5)))


@BOUNDED
@given(repeats.filter(bool).flatmap(trees_of), st.data())
def test_a_cut_among_references_is_refused(obj, data):
    refuses_a_cut(_core.encode([obj, *[obj] * isinstance(obj, str)]), data)


@BOUNDED
@given(st.lists(objects, max_size=4))
def test_an_object_that_holds_itself(items):
    loop = [*items]
    loop.append({"self": loop, "pair": (loop,)})
    arrived = _core.decode(_core.encode(loop))
    assert arrived[-1]["self"] is arrived
    assert arrived[-1]["pair"][0] is arrived
    assert same(arrived[:-1], items)


@BOUNDED
@given(objects, st.lists(st.tuples(sized, st.booleans()), min_size=1, max_size=4), st.booleans())
def test_buffers(obj, sizes, owned):
    kinds = [bytes(n) if readonly else bytearray(n) for n, readonly in sizes]
    message = _core.encode([obj, *map(pickle.PickleBuffer, kinds)])
    first, *buffers = _core.decode(message, message if owned else None)
    assert same(first, obj)
    assert [bytes(b) for b in buffers] == [bytes(k) for k in kinds]


@BOUNDED
@given(objects, st.data())
def test_a_cut_is_refused(obj, data):
    refuses_a_cut(_core.encode(obj), data)
