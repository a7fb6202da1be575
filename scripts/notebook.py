"""`make notebook`: the tutorial in a real Jupyter kernel, on the standard library and on fastmp, times side by side.

Makes .venv/notebook, builds and installs fastmp there, and executes the notebooks of examples/; and the user's own
notebook, where the folder `shared` lies beside the project.
"""

import subprocess
import sys
from pathlib import Path

from environments import ROOT, environment, install_project

WHOSE = "import multiprocessing\nprint(multiprocessing.Process.__module__)"
EXAMPLES = ("tour.ipynb", "native.ipynb")
NOTEBOOKS = (*(ROOT / "examples" / name for name in EXAMPLES), ROOT.parent / "shared" / "notebook" / "tutorial.ipynb")


def main() -> int:
    """Execute each notebook that is there, and tell of each that is not."""
    python = environment("notebook", Path(sys.executable))
    install_project(python, "notebook")
    failed = False
    for notebook in NOTEBOOKS:
        name = notebook.relative_to(ROOT.parent)
        if not notebook.exists():
            print(f"==== {name}: not there, not executed")
            continue
        print(f"==== {name}", flush=True)
        command = [python, "-W", "ignore", ROOT / "examples" / "run_notebook.py", notebook, "--more", WHOSE]
        failed |= subprocess.run(command, cwd=ROOT / "examples", check=False).returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
