"""The package with its fault points compiled in, in a folder of its own; the tree is not touched.

Called by: run.py. Only the standard library: it runs before anything is installed.
"""

import os
import re
import shlex
import shutil
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FLAGS = ["-std=c11", "-O1", "-g", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-pthread"]
DEFINES = ["-D_GNU_SOURCE", "-DFMP_FAULT_POINTS", f"-I{ROOT / 'csrc'}"]


def fault_points() -> list[str]:
    """The names of all fault points in the sources."""
    text = "\n".join(path.read_text() for path in sorted(ROOT.glob("csrc/**/*.[ch]")))
    return sorted(set(re.findall(r'\bFMP_FAULT\("([^"]+)"\)', text)))


def pkg_config(option: str) -> list[str]:
    """What pkg-config says about libffi, or nothing where it is missing."""
    if shutil.which("pkg-config") is None:
        return []
    found = subprocess.run(["pkg-config", option, "libffi"], capture_output=True, text=True, check=False)
    return shlex.split(found.stdout) if found.returncode == 0 else []


def compiler() -> list[str]:
    """The compiler's command line."""
    werror = ["-Werror"] if os.environ.get("FASTMP_WERROR") == "1" else []
    python = [f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude")]
    cc = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    return [*cc, *FLAGS, *werror, *DEFINES, *python, *pkg_config("--cflags")]


def compile_all(command: list[str], folder: Path) -> list[Path]:
    """Every C file of the extension, as an object file in `folder`."""

    def compile_one(source: Path) -> Path:
        target = folder / ("_".join(source.relative_to(ROOT).with_suffix(".o").parts))
        subprocess.run([*command, "-c", str(source), "-o", str(target)], check=True)
        return target

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        return list(threads.map(compile_one, sorted(ROOT.glob("csrc/**/*.c"))))


def build(folder: Path) -> None:
    """Put the package into `folder`."""
    package = folder / "fastmp"
    shutil.copytree(ROOT / "fastmp", package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    objects = folder / "objects"
    objects.mkdir()
    command = compiler()
    parts = [str(path) for path in compile_all(command, objects)]
    library = package / f"_core{sysconfig.get_config_var('EXT_SUFFIX')}"
    subprocess.run([*command, "-shared", *parts, "-o", str(library), *(pkg_config("--libs") or ["-lffi"])], check=True)
    shutil.rmtree(objects)
