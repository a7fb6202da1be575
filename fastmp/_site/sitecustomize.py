"""Arms `_fastmp_bootstrap` where no .pth file does: in a source tree, or below a folder made by `pip install --target`.

`fastmp run` puts this folder on PYTHONPATH then. Python imports the first `sitecustomize` that it finds when it starts;
the one that this file hides is executed after it.
"""

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def arm() -> None:
    """Import the bootstrap if this Python was asked to use fastmp."""
    if os.environ.get("FASTMP_INSTALL") == "1":
        __import__("_fastmp_bootstrap")


def tidy_path() -> None:
    """Take this folder out of the path, and let fastmp's own folder hide nothing of the user's."""
    sys.path[:] = [entry for entry in sys.path if entry not in (HERE, ROOT)] + [ROOT]


def run_hidden() -> None:
    """Execute the `sitecustomize` that comes after this one."""
    spec = PathFinder.find_spec(__name__, sys.path)
    if spec is not None and spec.loader is not None:
        sys.modules[__name__] = module = module_from_spec(spec)
        spec.loader.exec_module(module)


arm()
tidy_path()
run_hidden()
