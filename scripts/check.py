"""`make check`: formatters, linters, types and layers. Changes nothing; ends with exit code 1 where anything is amiss.

ruff and mypy come into .venv/check in the versions named here; clang-format and clang-tidy are the machine's.
The hooks of .pre-commit-config.yaml run the same steps one by one: `python scripts/check.py ruff`.
"""

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from functools import cache
from pathlib import Path

from environments import ROOT, environment, install

TOOLS = ("ruff==0.17.*", "mypy==1.*", "numpy")


@cache
def tools() -> Path:
    """The folder of ruff and mypy."""
    python = environment("check", Path(sys.executable))
    if not all((python.parent / tool).exists() for tool in ("ruff", "mypy")):
        install(python, *TOOLS)
    return python.parent


def passes(*command: str | Path, stderr: int | None = None) -> bool:
    """Run one tool over the tree and tell whether it had nothing to say."""
    return subprocess.run([str(part) for part in command], cwd=ROOT, stderr=stderr, check=False).returncode == 0


def c_files() -> list[Path]:
    """Every C file of the project."""
    return sorted(path for folder in ("csrc", "tests", "benchmarks") for path in (ROOT / folder).glob("**/*.[ch]"))


def ruff() -> bool:
    """Layout and lint of all Python."""
    return passes(tools() / "ruff", "format", "--check", ".") & passes(tools() / "ruff", "check", ".")


def mypy() -> bool:
    """Types of the package."""
    return passes(tools() / "mypy")


def is_there(tool: str) -> bool:
    """Whether the machine has a tool; says how to get it where not."""
    if shutil.which(tool) is None:
        print(f"{tool} is not there: apt-get install {tool}")
        return False
    return True


def clang_format() -> bool:
    """Layout of all C."""
    return is_there("clang-format") and passes("clang-format", "--dry-run", "-Werror", *c_files())


def clang_tidy() -> bool:
    """Lint of the extension's C."""
    sources = [path for path in c_files() if path.suffix == ".c" and path.is_relative_to(ROOT / "csrc")]
    flags = ["-std=c11", "-D_GNU_SOURCE", "-Icsrc", f"-I{sysconfig.get_path('include')}"]
    command = ("clang-tidy", "--quiet", *sources, "--", *flags)
    return is_there("clang-tidy") and passes(*command, stderr=subprocess.DEVNULL)  # counts of what it suppressed


def layers() -> bool:
    """Each folder of csrc/ includes only those below it."""
    return passes(sys.executable, "tests/unit/test_layers.py")


STEPS: dict[str, Callable[[], bool]] = {
    "ruff": ruff,
    "mypy": mypy,
    "clang-format": clang_format,
    "clang-tidy": clang_tidy,
    "layers": layers,
}


def main() -> int:
    """Run the steps named on the command line, or all."""
    failed = [name for name in sys.argv[1:] or STEPS if not STEPS[name]()]
    print(f"check: {'failed: ' + ', '.join(failed) if failed else 'all good'}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
