"""Shared memory is private to the process family: nothing has a name, nothing goes to programs that are started.

A process that has used every object looks at its own descriptors, mappings and sockets; so does a worker, and a program
that is started by either.
"""

import fcntl
import os
import re
import socket
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.leftovers import shared_files
from support.pressure import KEPT, Things, operations

import fastmp

SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
WHAT_IS_OPEN = """
import os
for name in os.listdir("/proc/self/fd"):
    if int(name) > 2 and os.path.exists(f"/proc/self/fd/{name}"):
        print(os.readlink(f"/proc/self/fd/{name}"))
"""


#: Shared memory without a file: a pool's template tells its parent a pid there. Only children have it.
ANONYMOUS = "/dev/zero (deleted)"


def mapped_shared() -> set[str]:
    """What this process shares by mappings that it can write to, and that others could open."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {line.split(maxsplit=5)[5] for line in lines if re.match(r"\S+ .w.s ", line)} - {ANONYMOUS}


def descriptors() -> dict[int, str]:
    """All descriptors, and where they lead."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the look at the folder itself
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def problems(before: dict[int, str]) -> list[str]:
    """What this process shows to others that it should not."""
    wrong = [f"{target} is mapped" for target in mapped_shared() if not target.startswith("/memfd:fastmp ")]
    for fd, target in descriptors().items():
        if before.get(fd) == target:
            continue
        if not fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC:
            wrong.append(f"{fd}, {target}, goes to programs")
        if target.startswith("/memfd:"):
            if fcntl.fcntl(fd, fcntl.F_GET_SEALS) & SEALS != SEALS:
                wrong.append(f"{target} is not sealed")
        elif target.startswith("/") and not target.startswith(("/dev/null", "/proc/")):
            wrong.append(f"{fd} is the file {target}")
        elif stat.S_ISSOCK(os.fstat(fd).st_mode):
            with socket.socket(fileno=os.dup(fd)) as mine:
                if mine.family != socket.AF_UNIX or mine.getsockname():
                    wrong.append(f"{fd} is a socket that others can find: {mine.getsockname()!r}")
    told = subprocess.run(
        [sys.executable, "-I", "-c", WHAT_IS_OPEN], stdout=subprocess.PIPE, text=True, check=True, close_fds=False
    )
    inherited = [link for link in told.stdout.splitlines() if link not in before.values()]
    return wrong + [f"a program got {link}" for link in inherited]


def named_sockets() -> set[str]:
    return set(re.findall(r"@\S+", Path("/proc/net/unix").read_text()))


def problems_in_worker(before: dict[int, str]) -> list[str]:
    use_some()
    return problems(before)


def use_everything() -> None:
    things = Things()
    try:
        for name, operation in operations(things).items():
            if name != "SharedMemory":  # which has a name by its nature
                operation()
        KEPT.append((things.queue._reader.fileno(), things.reader.fileno(), fastmp.shared_dict()))
        things.check()
    finally:
        things.end()
        KEPT.append(things)


@pytest.fixture
def kept() -> Any:
    yield KEPT
    KEPT.clear()


def test_nothing_is_to_be_found(servers: None, kept: Any) -> None:
    before, files, sockets = descriptors(), shared_files(), named_sockets()
    use_everything()
    assert problems(before) == []
    assert {name for name in shared_files() - files if not name.startswith(("sem.mp-", "psm_"))} == set()
    assert [
        name for name in named_sockets() - sockets if "fastmp" in name or "pymp" in name or "listener" in name
    ] == []


def test_nothing_is_to_be_found_in_a_worker(servers: None, kept: Any) -> None:
    before = descriptors()
    with fastmp.Pool(1) as pool:
        assert pool.apply(problems_in_worker, (before,)) == []


def use_some() -> None:
    """What a daemonic process may: no processes of its own."""
    queue, lock = fastmp.Queue(), fastmp.Lock()
    KEPT.append((queue, lock, fastmp.Pipe(), fastmp.Value("i"), fastmp.shared_array(10), queue._reader.fileno()))


def test_a_program_has_nothing_of_its_starters_memory(kept: Any) -> None:
    """Also where all descriptors are inherited, and after a fork that runs Python in between."""
    use_some()
    looks = "print(open('/proc/self/maps').read().count('memfd:'))"
    for start in ({"close_fds": False}, {"close_fds": True, "preexec_fn": len_of_nothing}, {"start_new_session": True}):
        done = subprocess.run(
            [sys.executable, "-I", "-c", looks], stdout=subprocess.PIPE, text=True, check=True, **start
        )  # type: ignore[call-overload]
        assert done.stdout == "0\n"


def len_of_nothing() -> None:
    len(())


def test_a_region_cannot_be_sealed_or_cut_by_who_has_it(kept: Any) -> None:
    use_some()
    fd = next(fd for fd, target in descriptors().items() if target.startswith("/memfd:fastmp "))
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    with pytest.raises(PermissionError):
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
