"""The command line: `fastmp run script.py …`, also as `python -m fastmp run …`.

`run` becomes a Python with FASTMP_INSTALL=1 (exec, the same process): arguments, `__main__`, `sys.path`, exit codes,
signals and tracebacks are exactly those of `python script.py`, and every Python that it starts inherits fastmp.
"""

import os
import site
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from subprocess import _args_from_interpreter_flags  # type: ignore[attr-defined]  # the flags that children inherit
from typing import NoReturn

USAGE = """\
usage: fastmp run [python's options] script.py [arguments]
       fastmp run [python's options] -m module [arguments]
       fastmp run [python's options] -c code [arguments]
       fastmp bench [arguments]

Runs a program, and every Python that it starts, with multiprocessing and ProcessPoolExecutor on fastmp.
FASTMP_INSTALL=1 in the environment does the same: FASTMP_INSTALL=1 jupyter lab

fastmp bench compares it with the standard library on this machine; it needs the source folder. fastmp bench --help
"""
PTH = "fastmp-install.pth"
BAD_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    command, *rest = (sys.argv[1:] if arguments is None else list(arguments)) or [""]
    if command in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    if command in ("-V", "--version"):
        from fastmp import __version__

        print(f"fastmp {__version__}")
        return 0
    if command not in COMMANDS:
        return complain(f"no such command: {command}" if command else "a command is missing")
    return COMMANDS[command](rest)


def complain(text: str) -> int:
    """Say what is wrong with the command line."""
    print(f"fastmp: {text}\n{USAGE}", end="", file=sys.stderr)
    return BAD_USAGE


def run(arguments: list[str]) -> int:
    """Become a Python with fastmp installed."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE, end="")
        return 0
    return complain("run what?") if not arguments else become_python(arguments)


def become_python(arguments: list[str]) -> NoReturn:
    """Replace this process."""
    environment = {**os.environ, "FASTMP_INSTALL": "1"}
    if not armed_by_pth():
        environment["PYTHONPATH"] = os.pathsep.join([*own_folders(), *filter(None, [os.environ.get("PYTHONPATH")])])
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *_args_from_interpreter_flags(), *arguments], environment)


def armed_by_pth() -> bool:
    """Whether a Python like this one finds fastmp's .pth file when it starts."""
    folders = site.getsitepackages() + ([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])
    return any((Path(folder) / PTH).exists() for folder in folders)


def own_folders() -> list[str]:
    """Return what PYTHONPATH needs without it: the folder of sitecustomize.py, and that of fastmp."""
    package = Path(__file__).resolve().parent
    return [str(package / "_site"), str(package.parent)]


def bench(arguments: list[str]) -> int:
    """Run the benchmarks, which are not installed with the package but lie beside it in its source folder."""
    folder = Path(__file__).resolve().parent.parent
    if not (folder / "benchmarks" / "__main__.py").exists():
        print("fastmp: the benchmarks are only in the source folder: make bench", file=sys.stderr)
        return BAD_USAGE
    sys.path.insert(0, str(folder))
    return int(import_module("benchmarks.__main__").main(arguments))


COMMANDS: dict[str, Callable[[list[str]], int]] = {"bench": bench, "run": run}

if __name__ == "__main__":
    sys.exit(main())
