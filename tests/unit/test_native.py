"""map_native: C functions over shared arrays, of every origin and of every type, and crashes."""

import ctypes
import ctypes.util
import os
import shutil
import signal
import subprocess
import sysconfig
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from support.c_functions import Pair, Point, sqrt, typed

import fastmp
from fastmp import Array, RawArray, RawValue, Value, _core
from fastmp._signature import read_signature

pytestmark = pytest.mark.usefixtures("region")

SOURCE = r"""
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <signal.h>
#include <stdbool.h>
#include <wchar.h>

#define IDENTITY(name, type) type name(type x) { return x; }
IDENTITY(id_schar, signed char)
IDENTITY(id_uchar, unsigned char)
IDENTITY(id_short, short)
IDENTITY(id_ushort, unsigned short)
IDENTITY(id_int, int)
IDENTITY(id_uint, unsigned)
IDENTITY(id_long, long)
IDENTITY(id_ulong, unsigned long)
IDENTITY(id_longlong, long long)
IDENTITY(id_ulonglong, unsigned long long)
IDENTITY(id_float, float)
IDENTITY(id_double, double)
IDENTITY(id_longdouble, long double)
IDENTITY(id_bool, bool)
IDENTITY(id_char, char)
IDENTITY(id_wchar, wchar_t)
IDENTITY(id_pointer, void *)

struct point { float x; double y; };
struct pair { int64_t a, b; };
struct mixed { char c; struct point p; int n[3]; };
struct point swap_point(struct point p) { return (struct point){(float)p.y, p.x}; }
struct pair swap_pair(struct pair p) { return (struct pair){p.b, p.a}; }
struct mixed next_mixed(struct mixed m) { m.c++; m.p.y *= 2; m.n[2] += m.n[0]; return m; }
double x_of(const struct point *p) { return p->x; }
void move(struct point *p, double by) { p->x += (float)by; p->y += by; }

double sum3(double a, double b, double c) { return a + 10 * b + 100 * c; }
float sum2f(float a, float b) { return a + 10 * b; }
int32_t add_ints(int32_t a, int32_t b) { return a + b; }
int64_t add_longs(int64_t a, int64_t b, int64_t c) { return a + b + c; }
double many(char a, short b, int c, long d, float e, double f, unsigned char g, double h)
{ return a + b + c + (double)d + e + f + g + h; }
double scale_int(int n, double x) { return n * x; }

double sum_block(const double *x, size_t n) { double s = 0; while (n--) s += *x++; return s; }
void square_block(const double *x, double *out, uint32_t n) { while (n--) { *out++ = *x * *x; x++; } }
void add_block(double *x, double by, int n) { while (n--) *x++ += by; }
int pid(int x) { extern int getpid(void); return x + 0 * getpid(); }

int crash_at(int x, int how)
{
    if (x != 5) return x;
    if (how == SIGABRT) abort();
    raise(how);
    return 0;
}
int read_null(int *x) { return *x == 5 ? *(volatile int *)8 : *x; }
static int hidden(int x) { return x + 1; }
int (*hidden_address(void))(int) { return hidden; }
"""


class Mixed(ctypes.Structure):
    _fields_ = [("c", ctypes.c_char), ("p", Point), ("n", ctypes.c_int * 3)]


@pytest.fixture(scope="module")
def pool() -> Iterator[Any]:
    """Its workers are older than the library."""
    with fastmp.Pool(2) as pool:
        assert all(worker.pid for worker in pool._pool)  # all are there: they are no test's leftovers
        yield pool


def compile_library(folder: Path, source: str, name: str = "small") -> Path:
    (folder / f"{name}.c").write_text(source)
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    library = folder / f"lib{name}.so"
    command = [*compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(folder / f"{name}.c"), "-lm"]
    subprocess.run(command, check=True, timeout=60)
    return library


@pytest.fixture(scope="module")
def library(pool: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    if shutil.which((os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]) is None:
        pytest.skip("there is no C compiler here")
    return ctypes.CDLL(str(compile_library(tmp_path_factory.mktemp("native"), SOURCE)))


def function(library: Any, name: str, result: Any, *params: Any) -> Any:
    made = ctypes.CFUNCTYPE(result, *params)((name, library))
    made.__name__ = name
    return made


# ---- functions of every origin ----


@pytest.mark.parametrize(("name", "count"), [("sqrt", 1), ("sin", 1), ("exp", 1), ("pow", 2), ("hypot", 2), ("fma", 3)])
def test_libm(pool: Any, name: str, count: int) -> None:
    """Some have variants for each processor, which have no symbols."""
    found = getattr(ctypes.CDLL("libm.so.6"), name)
    found.argtypes, found.restype = [ctypes.c_double] * count, ctypes.c_double
    arrays = [RawArray("d", [0.25 * (i + k) for i in range(1000)]) for k in range(count)]
    result = pool.map_native(found, *arrays)
    assert list(result) == [found(*args) for args in zip(*arrays, strict=True)]


def test_a_library_loaded_after_the_workers_started(pool: Any, library: Any) -> None:
    add = function(library, "add_ints", ctypes.c_int32, ctypes.c_int32, ctypes.c_int32)
    assert list(pool.map_native(add, range(100), 7)) == list(range(7, 107))


def test_an_address_with_a_signature(pool: Any, library: Any) -> None:
    """Also of a function that has no symbol."""
    library.hidden_address.restype = ctypes.c_void_p
    address = library.hidden_address()
    for signature in ("int(int)", "int(int x);", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)):
        assert list(pool.map_native(address, [1, 2, 3], signature=signature)) == [2, 3, 4]


def test_a_function_of_the_program_itself(pool: Any) -> None:
    found = ctypes.CDLL(None).toupper
    found.argtypes, found.restype = [ctypes.c_int], ctypes.c_int
    assert bytes(pool.map_native(found, list(b"shout"))) == bytes(RawArray("i", list(b"SHOUT")))


def test_cffi(pool: Any, library: Any) -> None:
    cffi = pytest.importorskip("cffi", reason="cffi is not installed")
    ffi = cffi.FFI()
    ffi.cdef("""
        struct point { float x; double y; };
        double sum3(double, double, double);
        struct point swap_point(struct point);
        double sum_block(const double *, size_t);
        int printf(const char *, ...);
    """)
    opened = ffi.dlopen(library._name)
    assert list(pool.map_native(opened.sum3, [1.0, 2.0], 1.0, 2.0)) == [211.0, 212.0]
    assert pool.map_native(opened.sum_block, RawArray("d", range(10)), block=True, chunksize=10)[0] == 45
    points = RawArray(read_signature(opened.swap_point).result, [(1, 2), (3, 4)])
    assert [(p.x, p.y) for p in pool.map_native(opened.swap_point, points)] == [(2, 1), (4, 3)]
    with pytest.raises(TypeError, match="variadic"):
        pool.map_native(opened.printf, [1])
    callback = ffi.callback("int(int)", lambda x: x)
    with pytest.raises(TypeError, match="back into Python"):
        pool.map_native(callback, [1])


def test_numba() -> None:
    numba = pytest.importorskip("numba", reason="numba is not installed")
    with fastmp.Pool(2) as older:
        older.map(abs, [1])

        @numba.cfunc("float64(float64, int64)")
        def power(x: float, n: int) -> float:
            return x**n

        with pytest.raises(RuntimeError, match="power was compiled after worker"):
            older.map_native(power, [1.0, 2.0], 3)
        with fastmp.Pool(2) as younger:
            assert list(younger.map_native(power, [1.0, 2.0, 3.0], 3)) == [1.0, 8.0, 27.0]


def test_zlib_by_blocks(pool: Any) -> None:
    """As many checksums as blocks; the data lies in bytes, which are copied, or in shared memory."""
    found = ctypes.util.find_library("z")
    try:
        crc32 = ctypes.CDLL(found or "libz.so.1").crc32
    except OSError:
        pytest.skip("there is no libz here")
    crc32.argtypes, crc32.restype = [ctypes.c_ulong, ctypes.c_char_p, ctypes.c_uint], ctypes.c_ulong
    data = os.urandom(100_003)
    wanted = [zlib.crc32(data[i : i + 4096]) for i in range(0, len(data), 4096)]
    for shared in (data, RawArray("B", data), numpy.asarray(RawArray("b", len(data)))):
        if isinstance(shared, numpy.ndarray):
            shared[:] = numpy.frombuffer(data, "b")
        assert list(pool.map_native(crc32, 0, shared, block=True, chunksize=4096)) == wanted


def test_every_start_method(library: Any, method: str) -> None:
    add = function(library, "add_ints", ctypes.c_int32, ctypes.c_int32, ctypes.c_int32)
    with fastmp.get_context(method).Pool(2) as pool:
        assert list(pool.map_native(add, RawArray("i", range(100)), 7)) == list(range(7, 107))


# ---- types ----

SIMPLE = [
    ("schar", ctypes.c_byte, [-128, 0, 127]),
    ("uchar", ctypes.c_ubyte, [0, 255]),
    ("short", ctypes.c_short, [-32768, 32767]),
    ("ushort", ctypes.c_ushort, [0, 65535]),
    ("int", ctypes.c_int, [-(2**31), 2**31 - 1]),
    ("uint", ctypes.c_uint, [0, 2**32 - 1]),
    ("long", ctypes.c_long, [-(2**63), 2**63 - 1]),
    ("ulong", ctypes.c_ulong, [0, 2**64 - 1]),
    ("longlong", ctypes.c_longlong, [-(2**63), 2**63 - 1]),
    ("ulonglong", ctypes.c_ulonglong, [0, 2**64 - 1]),
    ("float", ctypes.c_float, [0.5, -1e30, float("inf")]),
    ("double", ctypes.c_double, [0.1, -1e300]),
    ("longdouble", ctypes.c_longdouble, [0.5, -3.25]),
    ("bool", ctypes.c_bool, [True, False]),
    ("char", ctypes.c_char, [b"a", b"\xff"]),
    ("wchar", ctypes.c_wchar, ["x", "\u20ac"]),
    ("pointer", ctypes.c_void_p, [None, 2**64 - 1]),
]


@pytest.mark.parametrize(("name", "type_", "values"), SIMPLE, ids=[row[0] for row in SIMPLE])
def test_simple_types(pool: Any, library: Any, name: str, type_: Any, values: list[Any]) -> None:
    identity = function(library, f"id_{name}", type_, type_)
    items = RawArray(type_, values * 3)
    out = RawArray(type_, len(items))
    assert pool.map_native(identity, items, out=out) is out
    assert list(out) == list(items)


@pytest.mark.parametrize(
    ("name", "type_", "before", "after"),
    [
        ("swap_point", Point, (1.5, 2.5), (2.5, 1.5)),
        ("swap_pair", Pair, (1, -2), (-2, 1)),
        ("next_mixed", Mixed, (b"a", (1, 2), (1, 2, 3)), (b"b", (1, 4), (1, 2, 4))),
    ],
)
def test_structures_by_value(pool: Any, library: Any, name: str, type_: Any, before: Any, after: Any) -> None:
    items = RawArray(type_, [before] * 10)
    result = pool.map_native(function(library, name, type_, type_), items)
    assert [bytes(item) for item in result] == [bytes(type_(*after))] * 10


def test_structures_by_address(pool: Any, library: Any) -> None:
    points = Array(Point, [(i, 2 * i) for i in range(50)])
    x_of = function(library, "x_of", ctypes.c_double, ctypes.POINTER(Point))
    assert list(pool.map_native(x_of, points)) == list(range(50))
    move = function(library, "move", None, ctypes.POINTER(Point), ctypes.c_double)
    assert pool.map_native(move, points, 0.5) is None
    assert [(p.x, p.y) for p in points] == [(i + 0.5, 2 * i + 0.5) for i in range(50)]
    total = RawValue(Point, 1, 1)
    assert list(pool.map_native(function(library, "x_of", ctypes.c_double, ctypes.c_void_p), points))[:2] == [0.5, 1.5]
    pool.map_native(move, total, RawArray("d", [0.25] * 4), chunksize=4)
    assert total.x == 2


@pytest.mark.parametrize(
    ("name", "code", "type_", "count"),
    [
        ("sum3", "d", ctypes.c_double, 3),
        ("sum2f", "f", ctypes.c_float, 2),
        ("add_ints", "i", ctypes.c_int, 2),
        ("add_longs", "q", ctypes.c_int64, 3),
    ],
)
def test_functions_that_are_called_directly(
    pool: Any, library: Any, name: str, code: str, type_: Any, count: int
) -> None:
    called = function(library, name, type_, *[type_] * count)
    arrays = [RawArray(code, range(k, k + 300)) for k in range(count)]
    wanted = [called(*args) for args in zip(*arrays, strict=True)]
    assert list(pool.map_native(called, *arrays)) == wanted
    assert list(pool.map_native(called, *arrays, chunksize=7)) == wanted
    gaps = numpy.asarray(RawArray(code, 600))
    gaps[::2] = numpy.asarray(arrays[0])
    assert list(pool.map_native(called, gaps[::2], *arrays[1:])) == wanted
    backwards = numpy.asarray(arrays[0])[::-1]
    assert list(pool.map_native(called, backwards, *arrays[1:])) == [
        called(*args) for args in zip(reversed(arrays[0]), *arrays[1:], strict=True)
    ]


def test_items_that_are_not_aligned(pool: Any) -> None:
    raw = numpy.asarray(RawArray("B", 8 * 10 + 1))
    odd = raw[1:].view("d")
    odd[:] = numpy.arange(10) ** 2
    assert list(pool.map_native(sqrt(), odd)) == list(range(10))


def test_many_parameters(pool: Any, library: Any) -> None:
    types = ["c_byte", "c_short", "c_int", "c_long", "c_float", "c_double", "c_ubyte", "c_double"]
    many = function(library, "many", ctypes.c_double, *[getattr(ctypes, name) for name in types])
    assert list(pool.map_native(many, 1, 2, range(5), 4, 5.0, 6.0, 7, [0.5] * 5)) == [25.5 + i for i in range(5)]


def test_broadcast(pool: Any, library: Any) -> None:
    scale = function(library, "scale_int", ctypes.c_double, ctypes.c_int, ctypes.c_double)
    for n in (3, ctypes.c_int(3), Value("i", 3), RawValue("i", 3), numpy.int32(3), numpy.int64(3)):
        assert list(pool.map_native(scale, n, [1.0, 2.0])) == [3.0, 6.0]


# ---- layout ----


def texts() -> list[tuple[str, Any]]:
    simple = [(type_._type_ if type_ is not ctypes.c_void_p else "P", type_) for _, type_, _ in SIMPLE]
    pairs = []
    for code, type_ in simple:
        made = type(
            f"With_{code}", (ctypes.Structure,), {"_fields_": [("c", ctypes.c_char), ("x", type_), ("n", type_ * 3)]}
        )
        pairs.append((f"{{c{code}[3{code}]}}", made))
    nested = type(
        "Nested", (ctypes.Structure,), {"_fields_": [("b", ctypes.c_byte), ("m", Mixed * 2), ("s", ctypes.c_short)]}
    )
    return [*simple, *pairs, ("{fd}", Point), ("{c{fd}[3i]}", Mixed), ("{b[2{c{fd}[3i]}]h}", nested)]


@pytest.mark.parametrize(("text", "type_"), texts(), ids=[text for text, _ in texts()])
def test_libffi_and_ctypes_agree(text: str, type_: Any) -> None:
    size, alignment, _ = _core.native_layout(text)
    assert (size, alignment) == (ctypes.sizeof(type_), ctypes.alignment(type_))


def test_offsets() -> None:
    offsets = _core.native_layout("{c{fd}[3i]}")[2]
    assert offsets == (0, Mixed.p.offset, *(Mixed.n.offset + 4 * i for i in range(3)))


@pytest.mark.parametrize(
    "text", ["", "x", "{", "{}", "{i", "ii", "[3i]", "{[0i]}", "{[3i}", "{[i]}", "{" * 40, "{[9999i]}", "{v}"]
)
def test_texts_that_are_no_types(text: str) -> None:
    with pytest.raises(TypeError, match="libffi"):
        _core.native_layout(text)


# ---- arrays and results ----


def test_the_result_is_numpys_where_an_argument_is(pool: Any) -> None:
    matrix = numpy.asarray(RawArray("d", 6)).reshape(2, 3)
    matrix[:] = [[0, 1, 4], [9, 16, 25]]
    result = pool.map_native(sqrt(), matrix)
    assert isinstance(result, numpy.ndarray)
    assert result.tolist() == [[0, 1, 2], [3, 4, 5]]
    private = pool.map_native(sqrt(), numpy.array([4.0, 9.0]))
    assert private.tolist() == [2, 3]
    assert pool.map_native(sqrt(), result, out=matrix) is matrix
    assert matrix[1].tolist() == pytest.approx([3**0.5, 2, 5**0.5])


def test_numpys_types(pool: Any, library: Any) -> None:
    sqrtl = typed(ctypes.c_longdouble, ctypes.c_longdouble, name="sqrtl")
    roots = pool.map_native(sqrtl, numpy.array([4, 9], numpy.longdouble))
    assert roots.dtype == numpy.longdouble
    assert roots.tolist() == [2, 3]
    points = numpy.frombuffer(RawArray(Point, [(1, 2), (3, 4)]), numpy.dtype(Point))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        swapped = pool.map_native(function(library, "swap_point", Point, Point), points)
    assert swapped.tolist() == [(2, 1), (4, 3)]
    same = function(library, "id_char", ctypes.c_char, ctypes.c_char)
    assert pool.map_native(same, numpy.array([b"a", b"b"])).tolist() == [b"a", b"b"]


def test_numpys_scalars_and_chunks(pool: Any) -> None:
    power = typed(*[ctypes.c_double] * 3, name="pow")
    for two in (numpy.array(2.0), numpy.float64(2), numpy.int8(2), numpy.array(2)):
        assert list(pool.map_native(power, [1.0, 2.0, 3.0], two, chunksize=numpy.int64(2))) == [1, 4, 9]


def test_pointers_to_one_item(pool: Any) -> None:
    """By their place, so that they lead to the same item where the memory lies elsewhere."""
    frexp = typed(ctypes.c_double, ctypes.c_double, ctypes.POINTER(ctypes.c_int), name="frexp")
    exponent = ctypes.pointer(RawValue("i"))
    assert list(pool.map_native(frexp, [8.0], exponent)) == [0.5]
    assert exponent.contents.value == 4


def test_results_in_any_kind_of_shared_array(pool: Any) -> None:
    for out in (Array("d", 2), RawArray("d", 2), memoryview(RawArray("d", 2)), numpy.asarray(RawArray("d", 4))[::2]):
        assert pool.map_native(sqrt(), [1.0, 4.0], out=out) is out
        assert numpy.asarray(out).tolist() == [1, 2]


def test_two_dimensional_ctypes_arrays(pool: Any) -> None:
    rows = RawArray(ctypes.c_double * 3, 2)
    rows[1][2] = 16
    assert list(pool.map_native(sqrt(), rows)) == [0, 0, 0, 0, 0, 4]


def test_nothing_to_do() -> None:
    called: list[Any] = []
    with fastmp.Pool(1) as pool:
        assert len(pool.map_native(sqrt(), RawArray("d", 0))) == 0
        assert len(pool.map_native_async(sqrt(), RawArray("d", 0), callback=called.append).get(10)) == 0
        assert len(called) == 1
        pool.close()
        pool.join()


def test_asynchronous() -> None:
    called: list[Any] = []
    with fastmp.Pool(2) as pool:
        result = pool.map_native_async(sqrt(), [4.0] * 100, callback=called.append)
        assert list(result.get(30)) == [2.0] * 100
        assert result.successful()
        pool.close()
        pool.join()
    assert [list(item) for item in called] == [[2.0] * 100]


def test_blocks(pool: Any, library: Any) -> None:
    numbers = RawArray("d", range(1000))
    total = function(library, "sum_block", ctypes.c_double, ctypes.POINTER(ctypes.c_double), ctypes.c_size_t)
    wanted = [float(sum(range(i, min(i + 300, 1000)))) for i in range(0, 1000, 300)]
    assert list(pool.map_native(total, numbers, block=True, chunksize=300)) == wanted
    assert list(pool.map_native(total, numbers, block=True, chunksize=1000)) == [499500.0]
    assert sum(pool.map_native(total, numbers, block=True)) == 499500
    assert list(pool.map_native(total, [1.0, 2.0], block=True, chunksize=1)) == [1, 2]
    pointer = ctypes.POINTER(ctypes.c_double)
    square = function(library, "square_block", None, pointer, pointer, ctypes.c_uint32)
    assert list(pool.map_native(square, numbers, block=True)) == [x * x for x in numbers]
    out = RawArray("d", 1000)
    assert pool.map_native(square, numbers, out=out, block=True, chunksize=7) is out
    assert list(out) == [x * x for x in numbers]
    other = RawArray("d", 1000)
    add = function(library, "add_block", None, pointer, ctypes.c_double, ctypes.c_int)
    assert pool.map_native(add, other, 0.5, block=True, chunksize=64) is None
    assert list(other) == [0.5] * 1000


def test_executor(library: Any) -> None:
    with fastmp.ProcessPoolExecutor(2) as executor:
        assert list(executor.map_native(sqrt(), [1.0, 4.0])) == [1, 2]
        future = executor.submit_native(sqrt(), [9.0] * 10, chunksize=1)
        assert list(future.result(30)) == [3] * 10
        assert len(executor.submit_native(sqrt(), RawArray("d", 0)).result(30)) == 0
        with pytest.raises(TypeError, match="argument 1"):
            executor.submit_native(sqrt(), RawArray("f", 3))
        crash = function(library, "crash_at", ctypes.c_int, ctypes.c_int, ctypes.c_int)
        failed = executor.submit_native(crash, range(10), signal.SIGSEGV, chunksize=2)
        with pytest.raises(fastmp.WorkerDied) as caught:
            failed.result(30)
        assert (caught.value.signal, caught.value.indices) == (signal.SIGSEGV, range(4, 6))
        assert executor.submit(abs, -3).result(30) == 3
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.map_native(sqrt(), [1.0])


# ---- crashes ----


@pytest.mark.parametrize("how", [signal.SIGSEGV, signal.SIGFPE, signal.SIGABRT, signal.SIGILL, signal.SIGKILL])
def test_a_crash_fails_the_call_and_the_pool_heals(library: Any, how: int) -> None:
    crash = function(library, "crash_at", ctypes.c_int, ctypes.c_int, ctypes.c_int)
    with fastmp.Pool(2) as pool:
        with pytest.raises(fastmp.WorkerDied, match=r"crash_at, items 3 to 5") as caught:
            pool.map_native(crash, range(100), how, chunksize=3)
        assert (caught.value.signal, caught.value.indices) == (how, range(3, 6))
        assert list(pool.map_native(sqrt(), [4.0])) == [2.0]
        assert pool.map(abs, [-1, -2]) == [1, 2]


def test_a_bad_address_in_the_function(library: Any) -> None:
    read = function(library, "read_null", ctypes.c_int, ctypes.POINTER(ctypes.c_int))
    with fastmp.Pool(2) as pool, pytest.raises(fastmp.WorkerDied) as caught:
        pool.map_native(read, RawArray("i", range(10)), chunksize=5)
    assert (caught.value.signal, caught.value.indices) == (signal.SIGSEGV, range(5, 10))


def test_a_library_that_has_changed(pool: Any, tmp_path: Path) -> None:
    path = compile_library(tmp_path, "int twice(int x) { return 2 * x; }", "changing")
    twice = function(ctypes.CDLL(str(path)), "twice", ctypes.c_int, ctypes.c_int)
    path.unlink()
    with pytest.raises(OSError, match="cannot open the library"):
        pool.map_native(twice, [1])
    compile_library(tmp_path, "int twice(int x) { return x * 3 - 7; } int more(int x) { return x; }", "changing")
    with pytest.raises(OSError, match="has changed since"):
        pool.map_native(twice, [1])
