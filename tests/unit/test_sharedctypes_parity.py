"""Each snippet gives on fastmp what it gives on the standard library: the same result or kind of exception."""

import ctypes
from multiprocessing import sharedctypes as standard
from typing import Any

import pytest

import fastmp.sharedctypes


class Index:
    def __index__(self) -> int:
        return 3


class Point(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int), ("y", ctypes.c_double))


# Each line is run with the names that `outcome` makes; what stands after "=>" is the result.
SNIPPETS = """
=> v.value
v.value = 'x'
v.value = 2.5
v.value = None
v.value = 2**40 + 7 => v.value
v.value = -2**31 - 1 => v.value
v.value = 2**31 => v.value
v.value = 2**100 + 5 => v.value
v.value = Index() => v.value
v.value = True => v.value
del v.value
v.foo = 3 => v.foo
=> v + 1
=> repr(v)
=> v.__enter__()
v.release()
=> m.Value('b', 200).value
=> m.Value('B', -1).value
=> m.Value('H', 2**16 + 1).value
=> m.Value('I', -1).value
=> m.Value('Q', -1).value
=> m.Value('q', 2**63).value
=> m.Value('c').value
=> m.Value('c', b'x').value
=> m.Value('c', 120).value
=> m.Value('c', b'xy').value
=> m.Value('c', 'x').value
=> m.Value('u', 'é').value
=> m.Value('u', b'x').value
=> m.Value('f', 1e300).value
=> m.Value('f', 0.1).value
d.value = 3 => d.value
d.value = 10**400
d.value = 'x'
d.value = None
d.value = True => d.value
b.value = 5 => b.value
b.value = [] => b.value
b.value = True => b.value
=> a[0]
=> a[-1]
=> a[-5]
=> a[5]
=> a[-6]
=> a['x']
=> a[1.0]
=> a[None]
=> a[Index()]
=> a[True]
=> a[2**80]
a[0] = 'x'
a[0] = 2.5
a[5] = 1
a[2**80] = 1
a[-1] = 9 => a[:]
a[Index()] = 8 => a[:]
a[0] = 2**33 + 1 => a[:]
del a[0]
del a[0:1]
=> a[:]
=> a[1:3]
=> a[::2]
=> a[::-1]
=> a[-2:]
=> a[3:1]
=> a[:2**80]
=> a[2**80:]
=> a[-2**80:2]
=> a[::0]
=> a['x':]
=> a[Index():]
=> a[4:0:-2]
a[0:2] = [8, 9] => a[:]
a[::2] = (7, 8, 9) => a[:]
a[0:2] = [1]
a[0:2] = [1, 2, 3]
a[0:2] = 5
a[0:2] = [1, 'x'] => a[:]
a[::0] = []
=> len(a)
=> list(a)
=> list(reversed(a))
=> 3 in a
=> 33 in a
=> sum(a)
=> a.value
=> a.index(3)
=> a.__getslice__(1, 3)
a.__setslice__(0, 2, [5, 6]) => a[:]
=> max(f)
f[0] = 1e300 => f[0]
f[0] = 'x'
f[:] = [1, 2.5, True] => f[:]
=> c.value
=> c.raw
=> c[0]
=> c[1:3]
=> c[::2]
c.value = b'abc' => (c.value, c.raw, c[:], c[0])
c.value = b'abcdef'
c.value = 'abc'
c.raw = b'xy' => c.raw
c.raw = b'123456'
c[0] = b'x' => c[:]
c[0] = 120 => c[:]
c[0] = b'xy'
c[0] = 'x'
c[0:2] = b'ab' => c[:]
c[0:2] = b'a'
=> list(c)
=> u[:]
u[0] = 'é' => (u[0], u[:])
u[0] = 'ab'
u[0] = 5
u[0:2] = 'xy' => u[:]
=> (p.x, p.y)
p.x = 'a'
p.x = 2**32 + 5 => p.x
=> p.z
=> p.value
=> m.Value(Point, 'x')
=> m.Value(Point, 1, 2, 3)
=> [(q.x, q.y) for q in m.Array(Point, 2)]
=> m.Array(Point, [(1, 2.0)])[0].y
=> m.Array('i', 0)[:]
=> len(m.Array('i', 0))
=> m.Array('i', -1)
=> m.Array('i', 2**62)
=> m.Array('i', 2**70)
=> m.Array('i', 'abc')
=> m.Array('i', [1, 'x'])
=> m.Array('i', iter([1]))
=> m.Array('i', 2.5)
=> m.Array('i', True)[:]
=> m.Array('i', (1, 2))[:]
=> m.Array('c', b'hello').value
=> m.Array('u', 'hé')[:]
=> m.Array('z', 1)
=> m.Array(int, 3)
=> m.Array(ctypes.c_int * 3, 2)[1][:]
=> m.Array('i', 3, lock='navalue')
=> m.Array('i', 3, lock=False)[:]
=> m.Array()
=> m.Array('i')
=> m.Array('i', 3, True)
=> m.Value()
=> m.Value('z')
=> m.Value(int)
=> m.Value([])
=> m.Value('i', 1, 2)
=> m.Value('i', 'x')
=> m.Value('i', lock=5)
=> m.Value('i', lock='navalue')
=> m.Value('i', lock=[])
=> m.Value('i', lock=None).value
=> m.Value('i', lock=False).value
=> m.Value('i', unknown=1)
=> m.Value(ctypes.c_int * 3)[:]
=> m.Value(ctypes.c_char * 3).raw
=> m.Value(ctypes.c_longdouble, 1.5).value
=> m.Value(ctypes.c_void_p).value
=> m.Value(ctypes.c_size_t, 9).value
=> m.Value(ctypes.c_int.__ctype_be__, 258).value
=> m.Array(ctypes.c_int.__ctype_be__, [258])[0]
=> m.RawValue('i', 'x')
=> m.RawValue('i').value
=> m.RawArray('i', -1)
=> m.RawArray('i', [1, 2])[:]
=> m.RawArray('i', 2.5)
=> m.copy(m.RawArray('i', [1, 2]))[:]
=> m.copy(5)
=> m.copy(v)
=> m.synchronized(v)
=> m.synchronized(5)
=> m.synchronized(m.RawValue('i', 3)).value
=> isinstance(m.synchronized(m.RawArray('c', 3)), m.SynchronizedString)
=> hasattr(m.Array('i', 1, lock=False), 'get_lock')
=> sorted(m.__all__)
=> m.typecode_to_type
""".strip().splitlines()


@pytest.fixture(autouse=True, scope="module")
def _memory() -> None:
    """Both libraries' shared memory, which stays until the process ends, is there before the first test."""
    standard.RawValue("i")
    fastmp.sharedctypes.RawValue("i")


def outcome(module: Any, snippet: str) -> object:
    """The result of `snippet` on a module, or the type of what it raised."""
    statement, _, result = snippet.partition("=>")
    names = {
        "m": module,
        "v": module.Value("i", 7),
        "d": module.Value("d"),
        "a": module.Array("i", range(5)),
        "f": module.Array("f", 3),
        "c": module.Array("c", 5),
        "u": module.Array("u", 3),
        "b": module.Value(ctypes.c_bool),
        "p": module.Value(Point, 1, 2.0),
        "ctypes": ctypes,
        "Index": Index,
        "Point": Point,
    }
    try:
        exec(statement.strip(), names)
        return eval(result.strip() or "None", names)
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_same_outcome(snippet: str) -> None:
    expected = outcome(standard, snippet)
    assert outcome(fastmp.sharedctypes, snippet) == expected
    assert type(outcome(fastmp.sharedctypes, snippet)) is type(expected)
