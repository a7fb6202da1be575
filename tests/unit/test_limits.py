"""Something is short: memory, descriptors, processes, address space, /dev/shm.

support/pressure.py is run once for each. Whatever is short, an operation works or raises what is expected here, never a
signal; what was put before is there, in order, and when the pressure is gone everything works.
"""

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support import limited, pressure
from support.processes import eventually
from support.programs import home, python

NO_SPACE = "OSError 28 .*"
NO_FILES = "OSError 24 .*"
NO_PROCESS = "BlockingIOError 11 .*"
NO_THREAD = "RuntimeError: can't start new thread"
NO_MEMORY = "(MemoryError.*|OSError 12 .*)"
LARGE = ("put large", "bounded put large", "send large", "apply large", "large result", "submit large")
SYNC = ("Lock", "RLock", "Semaphore", "Condition", "Event", "Barrier", "Value")
MADE = ("Queue", "SimpleQueue", "Pipe", *SYNC, "Array", "shared_array", "shared_dict", "Pool", "executor")
GROUP_BYTES = 256 << 20
PRIVATE = ["unshare", "--mount", "sh", "-c"]

pytestmark = pytest.mark.time_limit(120)


def run(*arguments: str, env: dict[str, str] | None = None, before: list[str] | None = None) -> list[dict[str, str]]:
    """What came of each operation while something was short, and afterwards; no message must have been lost."""
    command = [*(before or []), sys.executable, pressure.__file__, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=100, check=False, cwd=home(), env={**os.environ, **(env or {})}
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    lines = done.stdout.splitlines()
    assert lines[-1] == "all is well"
    then = lines.index("and then")
    return [dict(line.split(" -> ") for line in part) for part in (lines[:then], lines[then + 1 : -1])]


def unexpected(came: list[dict[str, str]], must: dict[str, str], may: dict[str, str] | None = None) -> list[str]:
    """What came otherwise than it must, or may; what is not named must work, and all of it afterwards."""
    during, afterwards = came
    wrong = [f"afterwards: {name} -> {what}" for name, what in afterwards.items() if what != "works"]
    for name, what in during.items():
        expected = must.get(name) or f"works|{(may or {}).get(name, 'works')}"
        if not re.fullmatch(expected, what):
            wrong.append(f"{name} -> {what}, not {expected}")
    return wrong


def each(names: tuple[str, ...], what: str) -> dict[str, str]:
    return dict.fromkeys(names, what)


def test_full_region() -> None:
    came = run("region", env={"FASTMP_REGION_SIZE": str(96 << 20)})
    assert unexpected(came, each(LARGE + MADE, NO_SPACE)) == []


def test_more_work_than_memory() -> None:
    """Pools and executors send no more than there is room for, and get along."""
    done = python(pressure.__file__, "flow", env={"FASTMP_REGION_SIZE": str(96 << 20)})
    assert done.returncode == 0, done.stderr


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group with little memory."""
    for folder, limit in (("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")):
        path = Path(folder, f"fastmp-test-{os.getpid()}")
        if not Path(folder, "cgroup.procs").exists():
            continue
        with suppress(OSError):
            path.mkdir()
            try:
                (path / limit).write_text(str(GROUP_BYTES))
                yield path
            finally:
                eventually(lambda path=path: not (path / "cgroup.procs").read_text())
                path.rmdir()
            return
    pytest.skip("a control group with a limit of memory cannot be made here")


def test_full_control_group(group: Path) -> None:
    """The kernel would kill somebody in it."""
    came = run("group", str(group))
    always = (*LARGE, "Queue", "Pipe", "Array", "shared_array", "Pool", "executor")
    assert unexpected(came, each(always, NO_SPACE), each(MADE, NO_SPACE)) == []


def test_no_descriptors() -> None:
    """A queue is made without one: then only its fileno() fails."""
    came = run("files")
    assert unexpected(came, each(("Pipe", "start", "Pool", "executor", "SharedMemory"), NO_FILES)) == []


def test_no_processes() -> None:
    """Nor threads: a queue that is full cannot have a feeder, and says so."""
    came = run("processes")
    must = each(("start", "Pool", "executor"), NO_PROCESS) | each(("put", "put large", "callback"), NO_THREAD)
    assert unexpected(came, must) == []


def test_file_size() -> None:
    """The limit is for files that grow; a region has its size from the start."""
    assert unexpected(run("file_size"), each(("SharedMemory",), "OSError 27 .*")) == []


def test_address_space() -> None:
    came = run("address_space")
    tight = (*LARGE, *MADE, "SharedMemory")
    assert unexpected(came, {}, each(tight, NO_MEMORY) | each(("put", "put large", "callback"), NO_THREAD)) == []


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_address_space_from_the_start(method: str) -> None:
    """Under `ulimit -v`, as on clusters: queue, pool and array work, with large contents, and half is the program's."""
    done = python(limited.__file__, method, str(3_000_000 << 10))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_no_address_space_for_a_region() -> None:
    """What needs one says so, and works when there is room."""
    done = python(limited.__file__, "none", str(4_000_000 << 10))
    assert (done.returncode, done.stderr) == (0, "")
    kinds = [re.fullmatch(r"(\w+) (MemoryError|OSError)\(.*\)", line) for line in done.stdout.splitlines()]
    assert [found and found[1] for found in kinds] == ["Queue", "Lock", "Pool"], done.stdout


@functools.cache
def why_no_private_mounts() -> str:
    """Empty if a program can have a /dev/shm of its own."""
    if shutil.which("unshare") is None:
        return "there is no unshare here"
    done = subprocess.run([*PRIVATE, "mount -t tmpfs -o size=64k none /dev/shm"], capture_output=True, check=False)
    return "" if done.returncode == 0 else done.stderr.decode().strip()


@pytest.mark.parametrize("mount", ["mount -t tmpfs -o size=64k", "mount -t tmpfs -o ro"], ids=["full", "read-only"])
def test_no_room_in_dev_shm(mount: str) -> None:
    """fastmp has nothing there; what the user makes there is refused."""
    if why := why_no_private_mounts():
        pytest.skip(why)
    came = run("nothing", before=[*PRIVATE, f'{mount} none /dev/shm && exec "$0" "$@"'])
    assert re.fullmatch("OSError (28|30) .*", came[1].pop("SharedMemory"))  # it is short until the end
    assert unexpected(came, each(("SharedMemory",), "OSError (28|30) .*")) == []


@pytest.mark.parametrize("name", ["FASTMP_WARM_BYTES", "FASTMP_REGION_SIZE"])
def test_settings_that_are_no_numbers(name):
    result = python("-c", "import fastmp", env={name: "64M"})
    assert f"ImportError: {name} must be a number of bytes, not 64M" in result.stderr
    assert python("-c", "import fastmp; fastmp.Lock()", env={name: ""}).returncode == 0
