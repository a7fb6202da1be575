"""23. `__cause__` is a RemoteTraceback with the text; arguments preserved; MaybeEncodingError."""

import re
import threading
from multiprocessing.pool import MaybeEncodingError

from subject import SECONDS, ctx, executor, plain, say


class Detailed(Exception):
    def __init__(self, code, text):
        super().__init__(code, text)
        self.code = code


def fail(item):
    raise ValueError("bad item", item, {"a": 1})


def fail_in_a_row(item):
    try:
        fail(item)
    except ValueError as error:
        raise Detailed(5, "the outer one") from error


def unpicklable_result(_):
    return threading.Lock()


def unpicklable_error(_):
    raise ValueError(threading.Lock())


class Attributes(Exception):
    pass


def error_with_attributes(_):
    error = Attributes("text")
    error.extra = [1, 2]
    raise error


def show(label, call, *args):
    try:
        call(*args)
    except MaybeEncodingError as error:
        say(label, type(error).__name__, error.exc, "Error sending result" in str(error))
    except Exception as error:
        cause = error.__cause__
        say(label, type(error).__name__, plain(str(error.args)), plain(str(vars(error))))
        say("  cause:", type(cause).__name__, type(cause).__module__.replace("fastmp", "multiprocessing"))
        text = re.sub(r"line \d+|\"[^\"]*/", "", str(cause))
        own = [line for line in text.splitlines() if "Error" in line or "in fail" in line or "the direct cause" in line]
        say("  ", plain(str(own)))
        say("  context:", error.__context__ is None, error.__suppress_context__, bool(error.__traceback__))
    else:
        say(label, "nothing was raised")


def main():
    with ctx.Pool(1) as pool:
        calls = {
            "apply": lambda f: pool.apply(f, (3,)),
            "map": lambda f: pool.map(f, [3]),
            "starmap": lambda f: pool.starmap(f, [(3,)]),
            "imap": lambda f: list(pool.imap(f, [3])),
            "imap_unordered": lambda f: list(pool.imap_unordered(f, [3])),
            "apply_async": lambda f: pool.apply_async(f, (3,)).get(SECONDS),
            "map_async": lambda f: pool.map_async(f, [3]).get(SECONDS),
        }
        for name, call in calls.items():
            for function in (fail, fail_in_a_row, unpicklable_error, unpicklable_result, error_with_attributes):
                show(f"{name} {function.__name__}:", call, function)
        say("and the pool goes on:", pool.map(abs, [-1, 2]))
    with executor(1) as pool:
        for function in (fail, fail_in_a_row, unpicklable_error, unpicklable_result, error_with_attributes):
            show(f"submit {function.__name__}:", pool.submit(function, 3).result)
        show("executor.map:", list, pool.map(fail, [1]))
        say("and the executor goes on:", list(pool.map(abs, [-1, 2])))


if __name__ == "__main__":
    main()
