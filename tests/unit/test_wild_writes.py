"""Words written at random into the heap of a live region, while two processes use what is there."""

import subprocess
import sys

import pytest
from support.programs import ROOT, home

WILD = """
import os, random, signal, sys
sys.path[:0] = {path!r}
from unit.test_damage import used, word
import fastmp

r = random.Random({seed})
q, d, e = fastmp.Queue(16), fastmp.shared_dict(), fastmp.Event()
lock, condition = fastmp.Lock(), fastmp.Condition()
for i in range(20):
    d[i] = "x" * i

def use(i):
    actions = [lambda: q.get(timeout=0.005), lambda: q.put(b"y" * 10 ** (i % 5), timeout=0.005), lambda: d.get(i % 25),
               lambda: d.update({{i % 25: i}}), lambda: list(d), lambda: lock.acquire(timeout=0.005) and lock.release(),
               lambda: q.get_nowait(), lambda: fastmp.shared_array(10, "d")]
    try:
        actions[i % len(actions)]()
    except Exception:
        pass

def work():
    for i in range(400):
        use(i)
    os._exit(0)  # what it leaves is damaged

reader = os.fork()
signal.alarm({seconds})  # for each of the two: ends it if it is held up in C
if reader == 0:
    signal.alarm({seconds})
    work()
words = [at for start, data in used() for at in range(start, start + len(data), 8)]
for i in range(400):
    use(i)
    a = word(r.choice(words))
    a.value = r.choice([r.getrandbits(64), a.value ^ 1 << r.randrange(64), a.value + r.randrange(-9, 9) & 2**64 - 1])
_, status = os.waitpid(reader, 0)
print(os.waitstatus_to_exitcode(status), flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("seed", [*range(4), 29, 33, 43, 57])
def test_wild_writes(seed):
    """State words, lengths, offsets, entries, holders: each process goes on or raises, and ends by itself."""
    code = WILD.format(path=[str(ROOT / "tests"), str(home())], seed=seed, seconds=50)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=110, check=False)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr[-2000:]


CHANGING = """
import itertools, mmap, os, time
from fastmp import _core

m = mmap.mmap(-1, 4096)
key = "A" * 32
message, other = _core.encode({key: None}), _core.encode({key.encode(): None})
m[: len(message)] = message
tag = next(i for i, byte in enumerate(message) if byte != other[i])
if os.fork() == 0:
    end = time.monotonic() + 2
    while time.monotonic() < end:
        m[tag] = other[tag]
        m[tag] = message[tag]
    os._exit(0)
end = time.monotonic() + 2
for n in itertools.count():
    m[tag + 12 : tag + 22] = b"%010d" % n  # one that has not come before
    ((got, _),) = _core.decode(memoryview(m)[: len(message)]).items()
    assert len(got) == 32, got
    if not n % 1024 and time.monotonic() > end:
        break
os.wait()
"""


def test_a_key_that_changes_while_it_is_read():
    """It is a str or bytes, and what is kept of it for the next message is what it was taken for."""
    done = subprocess.run([sys.executable, "-c", CHANGING], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


CHANGING_TEXT = """
import mmap, os, pickle, signal
from fastmp import _core

m = mmap.mmap(-1, 1 << 16)
message = _core.encode("\U0001f600" * 4_000)  # long: there is time for a change between a look and the copy
m[: len(message)] = message
top = message.index(b"\x01") + 1  # the highest byte of the first character
reader, writer = os.getpid(), os.fork()
if writer == 0:
    while os.getppid() == reader:
        for _ in range(1000):
            m[top] = 0x7f
            m[top] = 0
    os._exit(0)
whole = refused = 0
while min(whole, refused) < 500:
    try:
        text = _core.decode(memoryview(m)[: len(message)])
    except pickle.UnpicklingError:
        refused += 1
    else:
        assert text[0] == "\U0001f600"
        whole += 1
os.kill(writer, signal.SIGKILL)
os.wait()
"""


def test_a_text_that_changes_while_it_is_read():
    """It is refused or whole: in no str is a character beyond Unicode's last one."""
    code = CHANGING_TEXT
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
