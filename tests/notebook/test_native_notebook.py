"""examples/native.ipynb in a real Jupyter kernel: every cell ends well and says what it should."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
RUN_SECONDS = 120

pytestmark = pytest.mark.time_limit(RUN_SECONDS + 60)

#: What each cell prints, the plot and the times aside.
WANTED = {
    2: "True True\n",
    5: "True\n",
    6: "13\n11 range(1, 2)\n1.0\n",
    7: "40000 [10000, 10000, 10000, 10000]\n",
    8: "[('started', 0), (0, 0), (1, 1), (2, 4)]\n",
    9: "[[7, 7, 7], [0, 0, 9]]\n",
}


def test_native_notebook() -> None:
    runner, notebook = ROOT / "examples" / "run_notebook.py", ROOT / "examples" / "native.ipynb"
    command = [sys.executable, "-W", "ignore", str(runner), str(notebook), "--side", "fastmp", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
    cells = json.loads(done.stdout)["fastmp"]
    assert [cell["error"] for cell in cells] == [""] * len(cells), done.stderr
    for number, wanted in WANTED.items():
        output = cells[number - 1]["output"]
        assert output.endswith(wanted), f"cell {number}: {output}"
    assert "map_native is faster than Pool.map:" in cells[3]["output"]
