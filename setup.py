"""Builds fastmp: the C extension, and the .pth line that FASTMP_INSTALL=1 needs in site-packages.

Everything that is not code lives in pyproject.toml. Called by pip, `python -m build` and `make build`.
"""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
PTH = "fastmp-install.pth"
WARNINGS = ["-Wall", "-Wextra"]
FLAGS = ["-std=c11", "-O3", "-fvisibility=hidden", "-fno-semantic-interposition"]


def compiler() -> list[str]:
    """The C compiler's command line, chosen as distutils chooses it."""
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")


def pkg_config(option: str) -> list[str]:
    """What pkg-config says about libffi, or nothing where pkg-config or its file is missing."""
    if shutil.which("pkg-config") is None:
        return []
    found = subprocess.run(["pkg-config", option, "libffi"], capture_output=True, text=True, check=False)
    return shlex.split(found.stdout) if found.returncode == 0 else []


def finds_header(header: str, flags: list[str]) -> bool:
    """Whether the compiler's preprocessor finds `header`."""
    command = [*compiler(), *flags, "-E", "-include", header, "-x", "c", os.devnull]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def what_is_missing() -> list[str]:
    """One line for each thing that the build needs and this machine lacks."""
    if not sys.platform.startswith("linux"):
        return [f"Linux: fastmp uses futexes, memfds and pidfds; this is {sys.platform}"]
    if shutil.which(compiler()[0]) is None:
        return [f"a C compiler ({compiler()[0]} is not there): apt-get install build-essential"]
    includes = {f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude")}
    missing = []
    if not finds_header("Python.h", sorted(includes)):
        missing.append("Python's headers (Python.h): apt-get install python3-dev")
    if not finds_header("ffi.h", pkg_config("--cflags")):
        missing.append("libffi's headers (ffi.h): apt-get install libffi-dev")
    return missing


def extension() -> Extension:
    """fastmp._core: every C file below csrc/."""
    werror = ["-Werror"] if os.environ.get("FASTMP_WERROR") == "1" else []
    return Extension(
        "fastmp._core",
        sources=sorted(str(path.relative_to(HERE)) for path in HERE.glob("csrc/**/*.c")),
        depends=sorted(str(path.relative_to(HERE)) for path in HERE.glob("csrc/**/*.h")),
        include_dirs=["csrc"],
        define_macros=[("_GNU_SOURCE", None)],
        extra_compile_args=[*FLAGS, *WARNINGS, *werror, *pkg_config("--cflags")],
        extra_link_args=pkg_config("--libs") or ["-lffi"],
    )


class BuildExt(build_ext):
    """Says what is missing before the compiler says it in its own words."""

    def run(self) -> None:
        """Check, then compile."""
        missing = what_is_missing()
        if missing:
            raise SystemExit("fastmp cannot be built here. It needs:\n" + "\n".join(f"  - {line}" for line in missing))
        super().run()


class BuildPy(build_py):
    """Puts the .pth at the root of the wheel, which is the root of site-packages once installed."""

    def run(self) -> None:
        """Copy the modules, then the .pth (an editable wheel is assembled in `install_lib`)."""
        super().run()
        self.copy_file(str(HERE / PTH), str(self._pth_path()), preserve_mode=False)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Every file this command writes: an ordinary install records them for its removal."""
        return [*super().get_outputs(include_bytecode), str(self._pth_path())]

    def _pth_path(self) -> Path:
        editable = getattr(self, "editable_mode", False)
        return Path(self.get_finalized_command("install").install_lib if editable else self.build_lib) / PTH


setup(
    ext_modules=[extension()],
    cmdclass={"build_ext": BuildExt, "build_py": BuildPy},
)
