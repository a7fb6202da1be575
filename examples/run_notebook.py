"""Executes a notebook in a real Jupyter kernel and tells, cell by cell, what came out and how long it took.

    python examples/run_notebook.py examples/tour.ipynb             on the standard library, then on fastmp
    python examples/run_notebook.py examples/tour.ipynb --json      the same as data, for tests

The notebook is not changed, neither on disk nor in memory: fastmp comes in through the kernel's environment variable
FASTMP_INSTALL=1. Needs nbclient and ipykernel. Called by `make notebook` and by tests/notebook/test_notebook.py.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat
from nbclient import NotebookClient

CELL_SECONDS = 120
SIDES = {"standard library": {}, "fastmp": {"FASTMP_INSTALL": "1"}}


@dataclass
class Cell:
    """What became of one code cell."""

    source: str
    output: str
    error: str
    seconds: float


def text_of(output: nbformat.NotebookNode) -> str:
    """The plain text of one output of a cell."""
    if output.output_type == "stream":
        return output.text
    if output.output_type == "error":
        return ""
    return output.data.get("text/plain", "") + "\n"


def error_of(outputs: Sequence[nbformat.NotebookNode]) -> str:
    """The error that ended a cell, or nothing."""
    return "\n".join(f"{one.ename}: {one.evalue}" for one in outputs if one.output_type == "error")


class Stopwatch:
    """Remembers how long each cell took, from the kernel's being asked to its answer."""

    def __init__(self) -> None:
        self.seconds: dict[int, float] = {}
        self._start = 0.0

    def started(self, cell: nbformat.NotebookNode, cell_index: int) -> None:
        """A cell was sent to the kernel."""
        self._start = time.monotonic()

    def ended(self, cell: nbformat.NotebookNode, cell_index: int, execute_reply: dict[str, object]) -> None:
        """The kernel answered."""
        self.seconds[cell_index] = time.monotonic() - self._start


def execute(path: Path, variables: dict[str, str], more_cells: Sequence[str] = ()) -> list[Cell]:
    """Run a notebook, and then some more cells, in a kernel of its own with these environment variables."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in more_cells]
    watch = Stopwatch()
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        allow_errors=True,
        extra_arguments=["--log-level=ERROR"],
        on_cell_execute=watch.started,
        on_cell_executed=watch.ended,
    )
    with tempfile.TemporaryDirectory() as folder:  # nobody's IPython profile or start-up files
        client.execute(env={**os.environ, "IPYTHONDIR": folder, **variables}, cwd=folder)
    return [
        Cell(cell.source, "".join(map(text_of, cell.outputs)), error_of(cell.outputs), watch.seconds.get(number, 0.0))
        for number, cell in enumerate(notebook.cells)
        if cell.cell_type == "code"
    ]


def title(source: str) -> str:
    """The line that says most about a cell: the first that names what it is about."""
    lines = [line.strip() for line in source.splitlines()]
    telling = [line for line in lines if "multiprocessing." in line or "futures." in line]
    return (telling or lines or [""])[0][:60]


def report(sides: dict[str, list[Cell]]) -> str:
    """Each cell's output, then the times side by side."""
    lines = []
    for number, (plain, fast) in enumerate(zip(*sides.values(), strict=True), 1):
        lines += [f"--- cell {number}: {title(fast.source)}", fast.output.rstrip(), fast.error]
        if plain.error:
            lines.append(f"(on the standard library: {plain.error})")
    lines += ["", f"{'cell':<66}{'standard library':>18}{'fastmp':>10}"]
    for number, (plain, fast) in enumerate(zip(*sides.values(), strict=True), 1):
        lines.append(f"{number:>2}  {title(fast.source):<62}{plain.seconds:>16.3f} s{fast.seconds:>8.3f} s")
    return "\n".join(line for line in lines if line is not None)


def main() -> int:
    """Execute one notebook as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--side", choices=SIDES, action="append", help="only this side (default: both)")
    parser.add_argument("--more", action="append", default=[], help="source of a cell to execute after the others")
    parser.add_argument("--json", action="store_true", help="print {side: [cell, ...]}")
    arguments = parser.parse_args()
    names = arguments.side or list(SIDES)
    sides = {name: execute(arguments.notebook, SIDES[name], arguments.more) for name in names}
    if arguments.json:
        print(json.dumps({name: [asdict(cell) for cell in cells] for name, cells in sides.items()}))
    else:
        print(report(sides))
    return int(any(cell.error for cells in sides.values() for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
