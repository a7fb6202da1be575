"""fastmp._tree: a signal that also reaches what a process has started."""

import os
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support.processes import eventually

import fastmp


def family(fifo: Path) -> list[str]:
    """A command: a shell that starts a shell that starts a program; the last two hold an end of the pipe."""
    return ["sh", "-c", f"sh -c 'sleep 100; true' > {fifo}; true"]


def only_child(pid: int) -> int:
    """The pid of the first child that the process's first thread has started, 0 if it has none."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(found[0]) if found else 0


def last_of_family(pid: int) -> int:
    """The pid of the program at the end of it, 0 if it is not there yet."""
    for _ in range(3):
        pid = pid and only_child(pid)
    return pid


@pytest.mark.parametrize(
    ("method", "how"), [("fork", "terminate"), ("fork", "kill"), ("spawn", "kill"), ("forkserver", "terminate")]
)
def test_a_process(tmp_path, servers, method, how):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = fastmp.get_context(method).Process(target=subprocess.call, args=(family(fifo),))
    process.start()
    with fifo.open("rb") as ends:
        eventually(lambda: last_of_family(process.pid))
        getattr(process, how)(tree=True)
        process.join()
        assert process.exitcode == {"terminate": -signal.SIGTERM, "kill": -signal.SIGKILL}[how]
        assert ends.read() == b""  # the last one that holds the other end has ended
    getattr(process, how)(tree=True)  # nobody is there any more
    process.close()
    with pytest.raises(ValueError, match="closed"):
        getattr(process, how)(tree=True)


def test_without_tree_the_rest_stays(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = fastmp.get_context("fork").Process(target=subprocess.call, args=(family(fifo),))
    process.start()
    with fifo.open("rb") as ends:
        last = eventually(lambda: last_of_family(process.pid))
        process.terminate()
        process.join()
        assert not select.select([ends], [], [], 0)[0]
        os.kill(last, signal.SIGKILL)  # the shells go on and end
        assert ends.read() == b""


@pytest.mark.parametrize("kind", ["pool", "executor"])
def test_workers(tmp_path, kind):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    workers = fastmp.Pool(1) if kind == "pool" else fastmp.ProcessPoolExecutor(1, fastmp.get_context("fork"))
    if isinstance(workers, fastmp.ProcessPoolExecutor):
        workers.submit(subprocess.call, family(fifo))
        [worker] = workers._processes.values()
    else:
        workers.apply_async(subprocess.call, (family(fifo),))
        [worker] = workers._pool
    with fifo.open("rb") as ends:
        eventually(lambda: last_of_family(worker.pid))
        if isinstance(workers, fastmp.ProcessPoolExecutor):
            workers.terminate_workers(tree=True)
            workers.shutdown()
        else:
            workers.terminate(tree=True)
            workers.join()
        assert ends.read() == b""


def test_one_that_forks_meanwhile(tmp_path):
    """None slips through while the others are counted."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = fastmp.get_context("fork").Process(target=multiply, args=(str(fifo),))
    process.start()
    with fifo.open("rb") as ends:
        assert ends.read(3) == b"xxx"
        process.kill(tree=True)
        process.join()
        ends.read()  # to the end: all have ended


def multiply(path: str) -> None:
    """A chain of processes, each of which starts the next."""
    writer = os.open(path, os.O_WRONLY)
    for _ in range(50):
        os.write(writer, b"x")
        if os.fork() != 0:
            break
    time.sleep(30)
