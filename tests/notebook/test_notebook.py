"""Two notebooks, unchanged, on fastmp: in a real Jupyter kernel, and their cells as one script in three ways.

The notebooks are the project's examples/tour.ipynb and, where the folder `shared` lies beside it, the user's own.
Most of their time is sleep, so all runs of one notebook go side by side, once for this module.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.leftovers import pids_with_environment, shared_files
from support.notebook_steps import STEPS, TOUR, TUTORIAL, Check, Wording

import fastmp

ROOT = Path(__file__).resolve().parent.parent.parent
RUNNER = ROOT / "examples" / "run_notebook.py"
NOTEBOOKS: dict[str, tuple[Path, Wording]] = {
    "tour": (ROOT / "examples" / "tour.ipynb", TOUR),
    "tutorial": (ROOT.parent / "shared" / "notebook" / "tutorial.ipynb", TUTORIAL),
}
PRESENT = {name: entry for name, entry in NOTEBOOKS.items() if entry[0].exists()}
SCRIPTS = ("fastmp run", "FASTMP_INSTALL=1", "import fastmp as multiprocessing")
MARK = "=== end of step"
RUN_SECONDS = 120  # all runs of one notebook together

pytestmark = pytest.mark.time_limit(RUN_SECONDS + 60)

# Two cells after the notebook's own: the classes of the very objects that its cells made, and what is left of them.
OBJECTS = """
import json
made = {"Process": process, "Pool": pool, "Lock": lock, "Value": resource, "Pipe": parent_conn, "Queue": queue,
        "ProcessPoolExecutor": executor}
print(json.dumps({name: type(it).__module__ for name, it in made.items()}))
"""
CHILDREN = """
import os
def parent_of(pid):
    try:
        return int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
    except OSError:
        return 0
print([pid for pid in os.listdir("/proc") if pid.isdigit() and parent_of(pid) == os.getpid()])
"""


@dataclass
class Run:
    """One finished run of a notebook."""

    returncode: int
    errors: str
    survivors: list[int]
    outputs: list[str] = field(default_factory=list)  # one per cell
    cell_errors: list[str] = field(default_factory=list)


def script_of(path: Path, way: str) -> str:
    """The cells as one program, with a mark after each, and the cell about the objects at the end."""
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    source = "".join(f"{''.join(cell['source'])}\nprint({MARK!r}, flush=True)\n" for cell in cells) + OBJECTS
    if way == "import fastmp as multiprocessing":
        source = re.sub(r"^import multiprocessing$", "import fastmp as multiprocessing", source, flags=re.MULTILINE)
        source = source.replace("concurrent.futures.ProcessPoolExecutor", "multiprocessing.ProcessPoolExecutor")
    return source


def start(command: list[str], token: str, **variables: str) -> subprocess.Popen[str]:
    env = {key: value for key, value in os.environ.items() if key != "FASTMP_INSTALL"}
    env |= {"FASTMP_TEST_TOKEN": token, **variables}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def start_kernel(path: Path, token: str) -> subprocess.Popen[str]:
    more = ["--more", OBJECTS, "--more", CHILDREN]
    return start([sys.executable, "-W", "ignore", str(RUNNER), str(path), "--side", "fastmp", "--json", *more], token)


def start_script(path: Path, way: str, folder: Path, token: str) -> subprocess.Popen[str]:
    script = folder / f"{path.stem}-{SCRIPTS.index(way)}.py"
    script.write_text(script_of(path, way))
    launcher = ["-m", "fastmp", "run"] if way == "fastmp run" else []
    variables = {"FASTMP_INSTALL": "1"} if way == "FASTMP_INSTALL=1" else {}
    return start([sys.executable, *launcher, str(script)], token, **variables)


def finish(process: subprocess.Popen[str], token: str, deadline: float) -> tuple[str, Run]:
    """Wait for a run: what it printed, how it ended, and the processes that outlive it, which are ended."""
    over = threading.Timer(deadline - time.monotonic(), end_all, [token])
    over.start()
    with process:
        text, errors = process.communicate()
    over.cancel()
    over.join()
    return text, Run(process.returncode, errors, end_all(token))


def end_all(token: str) -> list[int]:
    """Kill what belongs to a run; the pids."""
    pids = pids_with_environment(f"FASTMP_TEST_TOKEN={token}")
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return pids


def finish_kernel(process: subprocess.Popen[str], token: str, deadline: float) -> Run:
    text, run = finish(process, token, deadline)
    cells = json.loads(text)["fastmp"] if text else []
    run.outputs = [cell["output"] for cell in cells]
    run.cell_errors = [cell["error"] for cell in cells]
    return run


def finish_script(process: subprocess.Popen[str], token: str, deadline: float) -> Run:
    text, run = finish(process, token, deadline)
    run.outputs = text.split(MARK)
    return run


@pytest.fixture(scope="module", params=PRESENT)
def notebook(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def runs(notebook: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """All runs of one notebook, side by side: the kernel's and the scripts'."""
    path, _ = PRESENT[notebook]
    folder = tmp_path_factory.mktemp(notebook)
    tokens = {way: uuid.uuid4().hex for way in ("kernel", *SCRIPTS)}
    files = shared_files()
    deadline = time.monotonic() + RUN_SECONDS
    with ExitStack() as stack:
        for token in tokens.values():
            stack.callback(end_all, token)
        kernel = start_kernel(path, tokens["kernel"])
        scripts = {way: start_script(path, way, folder, tokens[way]) for way in SCRIPTS}
        done = {"kernel": finish_kernel(kernel, tokens["kernel"], deadline)}
        done |= {way: finish_script(scripts[way], tokens[way], deadline) for way in SCRIPTS}
    assert shared_files() <= files
    return done


@pytest.fixture
def checks(notebook: str) -> dict[str, Check]:
    return PRESENT[notebook][1].checks()


def test_the_users_notebook_is_executed_where_it_is_there() -> None:
    assert ("tutorial" in PRESENT) == (ROOT.parent / "shared").is_dir()


def test_kernel_runs_every_cell_without_error(runs: dict[str, Run]) -> None:
    kernel = runs["kernel"]
    assert kernel.cell_errors == [""] * (len(STEPS) + 2), kernel.errors
    assert kernel.returncode == 0, kernel.errors


@pytest.mark.parametrize("step", STEPS)
def test_kernel_output_is_right_and_under_its_cell(step: str, runs: dict[str, Run], checks: dict[str, Check]) -> None:
    checks[step](runs["kernel"].outputs[STEPS.index(step)])


@pytest.mark.parametrize("way", ["kernel", *SCRIPTS])
def test_objects_were_fastmps(way: str, runs: dict[str, Run]) -> None:
    modules = json.loads(runs[way].outputs[len(STEPS)])
    assert len(modules) == 7
    assert {name: module.partition(".")[0] for name, module in modules.items()} == dict.fromkeys(modules, "fastmp")


def test_kernel_has_no_child_left_after_its_cells(runs: dict[str, Run]) -> None:
    assert runs["kernel"].outputs[len(STEPS) + 1].strip() == "[]"


@pytest.mark.parametrize("way", SCRIPTS)
def test_script_ends_well(way: str, runs: dict[str, Run]) -> None:
    assert runs[way].errors == ""
    assert runs[way].returncode == 0


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("way", SCRIPTS)
def test_script_output_is_right(way: str, step: str, runs: dict[str, Run], checks: dict[str, Check]) -> None:
    checks[step](runs[way].outputs[STEPS.index(step)])


@pytest.mark.parametrize("way", ["kernel", *SCRIPTS])
def test_nothing_outlives_a_run(way: str, runs: dict[str, Run]) -> None:
    """No process: so no descriptor of theirs and no memfd either, which live only as long as a process holds them."""
    assert runs[way].survivors == []


def test_the_fastmp_of_the_runs_is_this_one() -> None:
    code = "import fastmp; print(fastmp.__file__)"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert there.stdout.strip() == fastmp.__file__
