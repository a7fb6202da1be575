"""A forked child's way from the fork to its end: as the standard library's, though most of it runs in C."""

import ast
import random
import subprocess
import sys

import pytest

from fastmp import _child

# What each case prints is one line of its own, of the child and of its parent, in any order; it is compared with what
# the standard library's process prints.
CASES = '''
import atexit, builtins, importlib, logging, os, random, signal, sys, threading
mp = importlib.import_module(sys.argv[1])
from multiprocessing import process, util
out = os.dup(1)

def tell(*what):
    os.write(out, (repr((case, *map(str, what))) + "\\n").encode())

def stack():
    frame, names = sys._getframe(1), set()
    while frame is not None:
        names.add(frame.f_code.co_name)
        frame = frame.f_back
    return names

def run(target=lambda: None, *args, cls=mp.Process, **options):
    child = cls(target=target, args=args, **options)
    child.start()
    child.join()
    tell("exit code", child.exitcode)
    child.close()

def leave(how):
    sys.exit(how)

def fails():
    1 / 0

def chained():
    try:
        fails()
    except ZeroDivisionError:
        raise KeyError("again")

def who(*args, **kwargs):
    me = mp.current_process()
    tell(me.name, me.daemon, me.is_alive(), args, kwargs, mp.active_children(), mp.parent_process().name)
    tell(mp.parent_process().pid == os.getppid(), mp.parent_process().is_alive(), mp.get_start_method())
    tell(threading.main_thread().native_id == os.getpid(), mp.Process().name)

def input_is_empty():
    tell(repr(sys.stdin.read()), sys.stdin.fileno() == sys.stdin.buffer.raw.fileno(), sys.stdin.closed, sys.stdin.mode)
    tell(os.fstat(sys.stdin.fileno()).st_rdev == os.stat(os.devnull).st_rdev, sys.stdin.encoding, sys.stdin.name > 0)
    tell(sys.__stdin__.closed, type(sys.stdin))

def input_is_plain():
    """Its own `close` is called, and who has a file open at its number has it still."""
    sys.stdin.close = lambda close=sys.stdin.close: (tell("own close"), close())
    run(input_is_empty)
    del sys.stdin.close
    with open(os.devnull) as other, open(__file__ if "__file__" in globals() else sys.executable, "rb"):
        run(input_is_empty)
        tell(other.read())
    sys.stdin, was = None, sys.stdin
    run(lambda: tell(sys.stdin))
    sys.stdin = Closed()
    run(lambda: tell(type(sys.stdin)))
    sys.stdin = was
    descriptors = os.listdir("/proc/self/fd")
    run(lambda: tell(sorted(set(os.listdir("/proc/self/fd")) - set(descriptors)) != []))
    tell(os.listdir("/proc/self/fd") == descriptors, sys.stdin.closed)

def registers():
    util.Finalize(None, tell, ("finalizer of the child",), exitpriority=1)
    atexit.register(tell, "exit function of the child")

def unregisters():
    atexit.unregister(util._exit_function)
    util.Finalize(None, tell, ("not run from 3.13 on",), exitpriority=1)

def leaves_thread():
    threading.Thread(target=lambda: (threading.main_thread().join(), tell("thread"))).start()

def threads_are_new():
    main = threading.main_thread()
    tell(main is threading.current_thread(), threading._active == {threading.get_ident(): main})
    tell(threading._limbo, len(getattr(threading, "_shutdown_locks", ())), main._started._cond._lock.locked())
    tell(main.ident == threading.get_ident(), main.is_alive(), " locked" in repr(vars(main).get("_tstate_lock")))
    tell(threading._active_limbo_lock._is_owned())
    thread = threading.Thread(target=tell, args=("a thread",))
    thread.start()
    thread.join()
    tell(threading.enumerate() == [main])

def holding(lock):
    with lock:
        run(threads_are_new)

def with_ended_thread():
    thread = threading.Thread(target=threads_are_new)
    run(threads_are_new)
    thread.start()
    thread.join()
    run(threads_are_new)

def random_is_seeded():
    tell(random.getstate() != drawn, random.getstate()[2], random.Random(3).random(), random._inst.gauss_next)

def draws():
    global drawn
    random.gauss(0, 1)
    drawn = random.getstate()
    run(random_is_seeded)
    tell(random.getstate() == drawn)

def seeds_by_default():
    random.Random.seed.__defaults__ = (3, 2)
    run(lambda: tell(random.random()))
    random.Random.seed.__defaults__ = (None, 2)

def leaves_daemon():
    threading.Thread(target=threading.Event().wait, daemon=True).start()

def leaves_child():
    mp.Process(target=who).start()

def grandchild():
    run(input_is_empty)
    run(input_is_empty)

def prints():
    sys.stdout.write("printed")

def logs():
    mp.log_to_stderr(logging.DEBUG)

def signalled():
    signal.signal(signal.SIGUSR1, lambda *_: sys.exit(7))
    signal.raise_signal(signal.SIGUSR1)

def ends_by_signal(number):
    os.kill(os.getpid(), number)

class Own(mp.Process):
    def run(self):
        tell("own run")
        super().run()

class Fails(mp.Process):
    def run(self):
        fails()

class Chooses(mp.Process):
    @staticmethod
    def _Popen(process_obj):
        tell("own _Popen")
        return mp.Process._Popen(process_obj)

class Starts(mp.Process):
    def start(self):
        tell("own start")
        super().start()

def refused(child):
    for name in ("start", "start", "close", "start"):
        try:
            getattr(child, name)()
        except Exception as error:
            tell(name, repr(error))
        if name == "start" and child._popen is not None:
            child.join()

def starts_another():
    refused(mp.Process(target=who))

def frees():
    child = mp.Process()
    child.start()
    child.join()
    tell(child.sentinel == child._popen.sentinel, hasattr(child, "_target"), child._popen.returncode)
    path = f"/proc/self/fd/{child.sentinel}"
    tell(os.path.exists(path), child in process._children)
    del child
    tell(os.path.exists(path))

class Closed:
    def flush(self):
        raise OSError

    def close(self):
        raise OSError

def breaks_stdout():
    sys.stdout = Closed()

def no_streams():
    sys.stdout = sys.stderr = sys.stdin = None

def after_fork(what):
    tell("after fork", what.__class__.__name__)

class Object:
    pass

def replace(owner, name, wrapper):
    """Call `wrapper` with what was there first, and as long as the case runs."""
    was = getattr(owner, name)
    setattr(owner, name, lambda *args, **kwargs: (tell("replaced", name), was(*args, **kwargs))[1])
    return lambda: setattr(owner, name, was)

def replaced(owner, name):
    undo = replace(owner, name, tell)
    run(who)
    undo()

def bound():
    child = mp.Process()
    child.run = lambda: tell("its own run")
    child.start()
    child.join()

def registered():
    thing = Object()
    util.register_after_fork(thing, after_fork)
    keeper = util.Finalize(thing, tell, ("of the parent",), exitpriority=2)
    run(who)
    keeper.cancel()

def with_thread():
    event = threading.Event()
    thread = threading.Thread(target=event.wait)
    thread.start()
    run(who)
    event.set()
    thread.join()

cases = {
    "plain": lambda: run(who, 1, "two", kwargs={"three": 3}, name="Name", daemon=True),
    "context": lambda: run(who, cls=mp.get_context("fork").Process),
    "no target": lambda: run(None),
    **{f"exit {code!r}": lambda code=code: run(leave, code) for code in (None, 0, 3, True, -1, 300, "text", 1.5, ())},
    "fails": lambda: run(fails),
    "chained": lambda: run(chained),
    "bad arguments": lambda: run(fails, 1),
    "fails in its own run": lambda: run(cls=Fails),
    "own run": lambda: run(who, cls=Own),
    "bound": bound,
    "own _Popen": lambda: run(who, cls=Chooses),
    "own start": lambda: run(who, cls=Starts),
    "start": lambda: replaced(process.BaseProcess, "start"),
    "refused": lambda: refused(mp.Process()),
    "daemon starts": lambda: run(starts_another, daemon=True),
    "frees": frees,
    "input": lambda: run(input_is_empty),
    "more input": input_is_plain,
    "registers": lambda: run(registers),
    "unregisters": lambda: run(unregisters),
    "thread": lambda: run(leaves_thread),
    "daemon": lambda: run(leaves_daemon),
    "child": lambda: run(leaves_child),
    "grandchild": lambda: run(grandchild),
    "prints": lambda: run(prints),
    "logs": lambda: run(logs),
    "signalled": lambda: run(signalled),
    "killed": lambda: run(ends_by_signal, signal.SIGTERM),
    "breaks stdout": lambda: run(breaks_stdout),
    "no streams": lambda: run(no_streams),
    "registered": registered,
    "with thread": with_thread,
    "threads": lambda: run(threads_are_new),
    "random": draws,
    "defaults": seeds_by_default,
    "ended thread": with_ended_thread,
    "started": lambda: holding(threading.main_thread()._started._cond),
    "limbo": lambda: holding(threading._active_limbo_lock),
    "shutdown locks": lambda: holding(getattr(threading, "_shutdown_locks_lock", None) or threading.Lock()),
    "_bootstrap": lambda: replaced(process.BaseProcess, "_bootstrap"),
    "run": lambda: replaced(process.BaseProcess, "run"),
    "_exit": lambda: replaced(os, "_exit"),
    "_shutdown": lambda: replaced(threading, "_shutdown"),
    "_exit_function": lambda: replaced(util, "_exit_function"),
    "_flush_std_streams": lambda: replaced(util, "_flush_std_streams"),
    "_close_stdin": lambda: replaced(util, "_close_stdin"),
    "_run_after_forkers": lambda: replaced(util, "_run_after_forkers"),
}
for case, function in cases.items():
    function()
    sys.stderr.write(f"--- {case}\\n")
    sys.stderr.flush()
case = "stack"
run(lambda: tell("_bootstrap" in stack()))
'''


def lines_and_errors(library):
    """What the cases print with this library, by case; what is written to the standard streams."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CASES, library],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told, rest = {}, []
    for line in done.stdout.replace("printed", "printed\n").splitlines():
        if line.startswith("("):
            case, *what = ast.literal_eval(line)
            told.setdefault(case, []).append(what)
        else:
            rest.append(line)
    return {case: sorted({tuple(line) for line in lines}) for case, lines in told.items()}, rest, done.stderr


@pytest.fixture(scope="module")
def both():
    return lines_and_errors("multiprocessing"), lines_and_errors("fastmp")


def test_a_child_does_what_the_standard_one_does(both):
    standard, ours = (dict(told) for told, _, _ in both)
    standard.pop("stack")
    ours.pop("stack")
    assert ours == standard


def test_what_a_child_has_not_written_yet_is_written_once_at_its_end(both):
    (_, standard, _), (_, ours, _) = both
    assert ours == standard == ["printed"]


def test_what_a_child_tells_of_an_exception_is_what_the_standard_one_tells(both):
    (_, _, standard), (_, _, ours) = both
    assert ours == standard


def test_no_python_of_the_standard_library_is_below_the_target_of_a_child(both):
    (standard, _, _), (ours, _, _) = both
    assert ("True",) in standard["stack"]
    assert ("False",) in ours["stack"]


def test_what_modules_do_in_a_child_is_known_of_this_python():
    """C stands for that code: of other code the digest is to be added, once it has been read."""
    assert _child.STARTS
    assert _child._digest(_child._threads) in _child.KNOWN_THREADS
    assert _child._digest((_child._original(random.Random, "seed"),)) in _child.KNOWN_SEEDS


def test_a_child_runs_no_python_of_threading():
    script = """
import sys, threading, fastmp
def tell_lock():
    print(id(threading._active_limbo_lock))
def run():
    child = fastmp.get_context("fork").Process(target=tell_lock)
    child.start()
    child.join()
tell_lock()
run()
sys.setprofile(lambda *_: None)
run()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    first, plain, profiled = done.stdout.split()
    assert plain == first
    assert profiled != first, "a profiler saw no call"


def test_threads_that_start_their_first_processes_at_once():
    script = """
import os, sys, threading, fastmp
from fastmp import _child
def reads():
    sys.exit(len(sys.stdin.read()))
def starts():
    child = fastmp.get_context("fork").Process(target=reads)
    child.start()
    child.join()
    os.write(1, f"{child.exitcode}\\n".encode())  # nothing is left in a buffer, which another thread's child would have
starts()
_child._keep_stdin()
starts()
threads = [threading.Thread(target=starts) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["0"] * 10, done.stderr


REPLACED_BEFORE = '''
import multiprocessing as mp
import sys
from functools import partial
from multiprocessing import process, util


class Wrapper:
    """As wrapt's: no function, but with all that the function has."""

    def __init__(self, wrapped):
        self.wrapped = wrapped

    def __getattr__(self, name):
        return getattr(self.wrapped, name)

    def __get__(self, instance, owner):
        return self if instance is None else partial(self, instance)

    def __call__(self, *args, **kwargs):
        print("replaced", flush=True)
        return self.wrapped(*args, **kwargs)


def wrapper(wrapped):
    def replaced(*args, **kwargs):
        print("replaced", flush=True)
        return wrapped(*args, **kwargs)

    return replaced


def failing():
    raise ValueError("mine")


owner = {"process": process.BaseProcess, "util": util}[sys.argv[1]]
setattr(owner, sys.argv[2], (Wrapper if sys.argv[3] == "object" else wrapper)(getattr(owner, sys.argv[2])))
for target in (print, failing):
    child = mp.get_context("fork").Process(target=target, args=("ran",) * (target is print))
    child.start()
    child.join()
    print(child.exitcode, flush=True)
'''


@pytest.mark.parametrize("how", ["function", "object"])
@pytest.mark.parametrize(("owner", "name"), [("process", "_bootstrap"), ("process", "run"), ("util", "_exit_function")])
def test_what_was_replaced_before_the_first_child_is_called(owner, name, how):
    standard, ours = (
        subprocess.run(
            [sys.executable, "-c", script + REPLACED_BEFORE, owner, name, how],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        for script in ("", "import _fastmp_bootstrap")
    )
    assert "replaced" in ours.stdout
    assert (ours.stdout, ours.stderr) == (standard.stdout, standard.stderr)


def test_a_thread_class_of_another_library_leaves_children_to_python():
    """As gevent's: a subclass in the place of threading.Thread, which has not the methods itself."""
    script = """
import threading
threading.Thread = type("Thread", (threading.Thread,), {})
import fastmp
child = fastmp.Process(target=print, args=("ran",))
child.start()
child.join()
print(child.exitcode)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["ran", "0"]


@pytest.mark.parametrize("made", ["initializer=int", ""])
def test_an_exit_that_raises_ends_no_other_process(made):
    """As scalene's, `os._exit = sys.exit`: a pool's template sent SIGKILL to process 0, the whole group."""
    script = f"""
import os, sys
os._exit = sys.exit
import fastmp
if __name__ == "__main__":
    with fastmp.Pool(2, {made}) as pool:
        told = pool.map(abs, [-1, -2])
        pool.close()
        pool.join()
    print(told, flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, start_new_session=True
    )
    assert (done.returncode, done.stdout) == (0, "[1, 2]\n"), done.stderr
