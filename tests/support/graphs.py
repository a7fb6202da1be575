"""Random graphs of plain objects, and whether two graphs are the same. Used by tests/unit/test_wire*.py and tests/fuzz.

Same means more than equal: the same types, the same bits of a float, the same order of a dict, and the same objects
occurring twice at the same places.
"""

import array
import random
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

INTERESTING_INTS = [0, -1, 1, -16, -17, 111, 112, 127, 128, -128, -129, 255, 256, 32767, 32768, -32769, 2**31 - 1]
INTERESTING_INTS += [2**31, -(2**31) - 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, 10**30, -(10**30)]
INTERESTING_FLOATS = [0.0, -0.0, 1.5, -1e308, 5e-324, float("inf"), float("-inf"), float("nan"), -float("nan")]
ALPHABETS = ["abc\0\x7f", "aé\x80ÿ", "a€\ud800\udfff\ufffe", "a😀\U0010ffff"]


def random_text(r: random.Random) -> str:
    """Text of each width that CPython stores, with NUL characters and lone surrogates among them."""
    alphabet = r.choice(ALPHABETS)
    return "".join(r.choice(alphabet) for _ in range(r.choice([0, 1, 2, 7, 8, 9, 40, 254, 255, 300])))


LEAVES: list[Callable[[random.Random], Any]] = [
    lambda r: r.choice([None, True, False]),
    lambda r: r.choice(INTERESTING_INTS),
    lambda r: r.randrange(-(2**70), 2**70) >> r.randrange(70),
    lambda r: r.choice(INTERESTING_FLOATS),
    lambda r: r.random(),
    random_text,
    lambda r: r.randbytes(r.choice([0, 1, 2, 30, 254, 255, 256])),
    lambda r: bytearray(r.randbytes(r.choice([0, 1, 255, 256]))),
    lambda r: array.array(r.choice("bHiLqd"), [r.randrange(100) for _ in range(r.choice([0, 1, 63, 300]))]),
    lambda r: [r.randrange(-(2 ** r.choice([6, 14, 30, 62])), 100) for _ in range(r.randrange(20))],
    lambda r: tuple(r.random() for _ in range(r.randrange(20))),
]


def random_leaf(r: random.Random) -> Any:
    return r.choice(LEAVES)(r)


def hashable(obj: object) -> bool:
    try:
        hash(obj)
    except TypeError:
        return False
    return True


def random_container(r: random.Random, pick: Callable[[], Any]) -> Any:
    """A container of objects that `pick` gives."""
    items = [pick() for _ in range(r.choice([0, 1, 2, 3, 9]))]
    kind = r.randrange(3)
    if kind == 2:
        return {item if hashable(item) else i: pick() for i, item in enumerate(items)}
    return tuple(items) if kind else items


def random_tree(r: random.Random, depth: int = 5) -> Any:
    """An object whose parts are all new ones: what the fast path writes."""
    if depth == 0 or r.random() < 0.3:
        return random_leaf(r)
    return random_container(r, lambda: random_tree(r, depth - 1))


def random_repeats(r: random.Random) -> Any:
    """A tree in which texts and bytes occur several times, keys and values, beside others: what is written with
    references."""
    pool = [random_text(r) for _ in range(r.choice([1, 3, 60]))] + [r.randbytes(r.choice([2, 30, 300]))]
    build = partial(random_container, r, lambda: r.choice(pool) if r.random() < 0.7 else random_text(r))
    return [build() for _ in range(r.choice([1, 5, 20]))]


def random_graph(r: random.Random) -> Any:
    """An object with shared parts, now and then one that holds itself."""
    pool: list[Any] = [random_leaf(r) for _ in range(3)]
    for _ in range(r.randrange(1, 12)):
        pool.append(random_container(r, lambda: r.choice(pool) if r.random() < 0.5 else random_leaf(r)))
    if r.random() < 0.2:
        holder: list[Any] = [pool[-1]]
        holder.append(holder)
        pool.append(holder)
    return pool[-1]


class Comparison:
    """One walk over two graphs; `difference` says where they part, or is empty."""

    def __init__(self) -> None:
        self._partner: dict[int, object] = {}
        self._partner_back: dict[int, object] = {}

    def difference(self, a: Any, b: Any, at: str = "") -> str:
        if type(a) is not type(b):
            return f"{at or 'root'}: {type(a).__name__} and {type(b).__name__}"
        if isinstance(a, (str, bytes, bytearray, array.array, tuple, list, dict)):
            if id(a) in self._partner or id(b) in self._partner_back:
                same = self._partner.get(id(a)) is b and self._partner_back.get(id(b)) is a
                return "" if same else f"{at}: another identity"
            self._partner[id(a)] = b
            self._partner_back[id(b)] = a
        return self._contents(a, b, at)

    def _contents(self, a: Any, b: Any, at: str) -> str:
        if isinstance(a, float):
            return "" if struct.pack("d", a) == struct.pack("d", b) else f"{at}: {a!r} and {b!r}"
        if isinstance(a, dict):
            return self._items([x for pair in a.items() for x in pair], [x for pair in b.items() for x in pair], at)
        if isinstance(a, (list, tuple)):
            return self._items(list(a), list(b), at)
        if isinstance(a, array.array) and a.typecode != b.typecode:
            return f"{at}: {a.typecode} and {b.typecode}"
        return "" if a == b else f"{at}: {a!r} and {b!r}"

    def _items(self, a: list[Any], b: list[Any], at: str) -> str:
        if len(a) != len(b):
            return f"{at}: {len(a)} and {len(b)} items"
        found = (self.difference(x, y, f"{at}[{i}]") for i, (x, y) in enumerate(zip(a, b, strict=True)))
        return next(filter(None, found), "")


def difference(a: object, b: object) -> str:
    """Where `a` and `b` part, or nothing if they are the same."""
    return Comparison().difference(a, b)
