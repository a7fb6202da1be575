"""docs/reliability.md: what it names is there; and what it says of a Manager, which neither matrix nor chaos shows."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from support.processes import child
from support.programs import python

import fastmp

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "reliability.md"

NAMES = """
import glob, importlib, json, os, sys
tests = sys.argv[1]
sys.path[:0] = [os.path.join(tests, "crash"), os.path.join(tests, "chaos")]
matrix = []
for path in glob.glob(os.path.join(tests, "crash", "*_scenarios.py")):
    matrix += importlib.import_module(os.path.basename(path)[:-3]).SCENARIOS
import episode
print(json.dumps([matrix, list(episode.WORLDS)]))
"""


@pytest.mark.skipif(not PAGE.exists(), reason="the tests alone, without the pages")
def test_page_names_scenarios_and_worlds_that_there_are():
    result = python("-c", NAMES, ROOT / "tests")
    assert result.returncode == 0, result.stderr
    scenarios, worlds = json.loads(result.stdout)
    table = PAGE.read_text().partition("## What comes back")[0]
    for kind, found in re.findall(r"(matrix|chaos) (`[^`]+`(?:, `[^`]+`)*)", table):
        for name in re.findall(r"`([^`]+)`", found):
            if kind == "matrix":
                assert any(name.lower() in scenario.lower() for scenario in scenarios), name
            else:
                assert name in worlds


def use_and_die(queue: Any, table: Any) -> None:
    """A client of a manager that holds a lock of its thread's, and is killed."""
    table["mine"] = 1
    queue.put("mine")
    os.kill(os.getpid(), signal.SIGKILL)


def test_client_of_a_manager_is_killed_and_the_others_go_on():
    with fastmp.Manager() as manager:
        queue, table = manager.Queue(), manager.dict()
        process = fastmp.Process(target=use_and_die, args=(queue, table))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        process.close()
        assert queue.get(timeout=20) == "mine"
        assert table.copy() == {"mine": 1}
        with child(queue.put, "other"):
            assert queue.get(timeout=20) == "other"


def test_server_of_a_manager_is_killed_and_its_clients_are_told():
    manager = fastmp.Manager()
    table = manager.dict(a=1)
    os.kill(manager._process.pid, signal.SIGKILL)
    manager._process.join()
    with pytest.raises((EOFError, ConnectionError)):
        table["a"]
    manager.shutdown()
