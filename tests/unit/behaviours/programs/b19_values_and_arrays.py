"""19. Value/Array: `get_lock`, `get_obj`, zero-filled, buffer protocol, `lock=False` gives raw ctypes, `Array('c')` has
`.value` and `.raw`.
"""

import ctypes

from subject import ctx, outcome, part, run, say


class Point(ctypes.Structure):
    _fields_ = (("x", ctypes.c_double), ("y", ctypes.c_int))


def change(number, array, text, point, raw, lock):
    with number.get_lock():
        number.value += 1
    array[0], array[1:3] = 7, [8, 9]
    text.value = b"changed"
    point.x, point.y = 2.5, -1
    raw[2] = 99
    say("its lock:", lock.acquire(timeout=0.01), array.get_lock().acquire(False), array.get_lock().release())


def kinds():
    for code in "bBhHiIlLqQfdcu":
        value = ctx.Value(code)
        say(code, repr(value.value), type(value.get_obj()).__name__, len(memoryview(value.get_obj()).tobytes()))
    say(list(ctx.Array("i", 5)), list(ctx.Array("d", [1, 2.5])), ctx.Array("c", 4).raw, list(ctx.RawArray("h", 3)))
    say(ctx.RawValue("i").value, ctx.RawValue("d", 2.5).value, ctx.Value(Point).x, ctx.Value(Point, 1, 2).y)
    say(type(ctx.Value("i", lock=False)).__name__, type(ctx.Array("i", 3, lock=False)).__name__)
    say(isinstance(ctx.Value("i", lock=False), ctypes.c_int), isinstance(ctx.Array("i", 3, lock=False), ctypes.Array))
    say(
        isinstance(ctx.Array("i", 3).get_obj(), ctypes.c_int * 3), isinstance(ctx.Value("d").get_obj(), ctypes.c_double)
    )


def errors():
    say(outcome(ctx.Value, "z").split("(")[0], outcome(ctx.Value, "i", "text"), outcome(ctx.Value, "i", 1, 2))
    say(outcome(ctx.Array, "i", -1).split("(")[0], outcome(ctx.Array, "i", "ab"), outcome(ctx.Array, "i", 2.5))
    say(outcome(ctx.Value, "i", lock=5), outcome(ctx.Array, "i", 3, lock="no lock"))
    array = ctx.Array("i", 3)
    say(outcome(array.__getitem__, 3), outcome(array.__setitem__, 0, "x"), outcome(array.__getitem__, -4))
    say(outcome(array.__setitem__, slice(0, 2), [1]), outcome(array.__setitem__, 0, 2**40), array[0])
    text = ctx.Array("c", 3)
    say(outcome(setattr, text, "value", b"too long"), outcome(setattr, text, "raw", b"too long"), text.raw)
    say(outcome(setattr, text, "value", "text"), outcome(lambda: ctx.Array("i", 3).raw).split("(")[0])


def main():
    kinds()
    errors()
    number, array, text = ctx.Value("i", 41), ctx.Array("i", range(5)), ctx.Array("c", 10)
    point, raw, lock = ctx.Value(Point, 1, 2), ctx.RawArray("i", 3), ctx.Lock()
    shared = ctx.Value("i", 0, lock=lock)
    say("the lock given:", shared.get_lock() is lock, outcome(shared.acquire), lock.acquire(False), shared.release())
    lock.acquire()
    run(change, number, array, text, point, raw, lock)
    say(number.value, array[:], text.value, text.raw, point.x, point.y, raw[:], len(array), len(text))
    say(array[::-1], array[1:4:2], list(array), array[-1])
    whole = memoryview(array.get_obj())
    view = whole.cast("B").cast("i")
    view[0] = 1000
    say("buffer:", whole.format, whole.shape, whole.itemsize, array[0], bytearray(raw)[:4])
    number.get_obj().value = 5
    say(number.value, number.acquire(), number.acquire(), number.release(), number.release(), outcome(number.release))
    copy = part("sharedctypes").copy(array.get_obj())
    copy[0] = 1
    say(array[0], copy[0], type(copy) is type(array.get_obj()), part("sharedctypes").synchronized(copy)[0])
    say(repr(number).split(" ")[0].rsplit(".", 1)[-1])


if __name__ == "__main__":
    main()
