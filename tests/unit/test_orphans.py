"""Nobody stays when the parent is killed: workers, idle or at work, the fork server, the resource tracker."""

import os
import signal
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path

import pytest
from support.leftovers import pids_with_environment
from support.processes import eventually
from support.programs import SECONDS, home

METHODS = ["fork", "spawn", "forkserver"]

#: python program.py method state maker: it prints a line when the workers are in that state, and is killed then.
PARENT = """
    import fastmp, fastmp.concurrent.futures, itertools, os, signal, sys, threading
    def begin(queue):
        global started
        started = queue
    def compute(_):
        started.put(os.getpid())
        while True:
            pass
    def never_give_up_the_gil(_):
        started.put(os.getpid())
        sum(itertools.repeat(0))
    def nothing(_):
        started.put(os.getpid())
    def make():
        global pool, executor
        context = fastmp.get_context(method)
        queue = context.SimpleQueue()
        pool = context.Pool(2, begin, (queue,))
        executor = fastmp.ProcessPoolExecutor(2, context, begin, (queue,))
        tasks = {"computing": [compute, never_give_up_the_gil], "idle": [nothing, nothing]}[state]
        results = [pool.apply_async(task, (0,)) for task in tasks]
        futures = [executor.submit(task, 0) for task in tasks]
        for _ in results + futures:
            queue.get()
        if state == "idle":
            for result in results:
                result.get()
            fastmp.concurrent.futures.wait(futures)
    if __name__ == "__main__":
        method, state, maker = sys.argv[1:]
        if maker == "main":
            make()
        else:
            thread = threading.Thread(target=make)
            thread.start()
            thread.join()
        print("ready", flush=True)
        signal.pause()
"""


def orphan(tmp_path: Path, *arguments: str) -> str:
    """Run the parent, kill it when its workers are ready, and return the mark that its descendants carry."""
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(PARENT))
    name, value = "FASTMP_TEST_ORPHANS", uuid.uuid4().hex
    env = {**os.environ, "PYTHONPATH": str(home()), name: value}
    token = f"{name}={value}"
    command = [sys.executable, str(path), *arguments]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            assert parent.stdout.readline() == "ready\n"
            assert len(pids_with_environment(token)) >= 5
        finally:
            parent.kill()
    return token


def nobody_left(token: str) -> None:
    try:
        eventually(lambda: not pids_with_environment(token), SECONDS / 5)
    finally:
        for pid in pids_with_environment(token):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(("state", "maker"), [("idle", "main"), ("computing", "main"), ("computing", "thread")])
@pytest.mark.parametrize("method", METHODS)
def test_all_end_with_their_parent(tmp_path, method, state, maker):
    nobody_left(orphan(tmp_path, method, state, maker))
