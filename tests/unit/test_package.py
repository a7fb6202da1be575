"""The package as pip sees it: what sdist and wheels hold, what the .pth does, and what a bare machine is told.

The wheels here hold a stub of the extension, which compiles in a moment: this is about files, not about code.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.time_limit(120)

STUB = """
#include <Python.h>
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_core"};
PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&definition); }
"""
FAKE_COMPILER = """#!/bin/sh
echo "$@" >> "{log}"
case "$*" in *-E*{header}*) exit 1 ;; esac
exit 0
"""
ARMED = "import sys; print(*('_fastmp_bootstrap' in sys.modules, 'fastmp' in sys.modules))"


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=100, check=False, **options
    )


def built(hook: str, tree: Path, target: Path) -> Path:
    """What one of the build backend's hooks makes of a tree."""
    target.mkdir(exist_ok=True)
    code = f"import setuptools.build_meta as backend; print(); print(backend.{hook}({str(target)!r}))"
    done = run(sys.executable, "-W", "ignore", "-c", code, cwd=tree)
    assert done.returncode == 0, done.stderr
    return target / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project as a fresh clone would be."""
    copy = tmp_path_factory.mktemp("clone") / "fastmp"
    left_out = shutil.ignore_patterns(".git", ".venv", "build", "dist", "*.egg-info", "*.so", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, copy, ignore=left_out)
    return copy


@pytest.fixture(scope="module")
def sdist(tree: Path) -> Path:
    return built("build_sdist", tree, tree.parent / "sdist")


@pytest.fixture(scope="module")
def unpacked(sdist: Path) -> Path:
    """The sdist's content, with a stub in place of the C sources."""
    folder = sdist.parent / "unpacked"
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (project,) = folder.iterdir()
    shutil.rmtree(project / "csrc")
    (project / "csrc").mkdir()
    (project / "csrc" / "module.c").write_text(STUB)
    return project


@pytest.fixture(scope="module", params=["build_wheel", "build_editable"])
def wheel(request: pytest.FixtureRequest, unpacked: Path) -> Path:
    return built(request.param, unpacked, unpacked.parent / request.param)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    done = run(sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", wheel)
    assert done.returncode == 0, done.stderr
    return python


def test_sdist_holds_all_that_a_build_needs(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {str(path.relative_to(ROOT)) for path in [*ROOT.glob("csrc/**/*.[ch]"), *ROOT.glob("fastmp/**/*.py*")]}
    needed = {name for name in needed if "__pycache__" not in name}
    needed |= {"setup.py", "pyproject.toml", "fastmp-install.pth", "_fastmp_bootstrap.py", "LICENSE", "README.md"}
    assert needed <= names


def test_wheel_holds_the_pth_at_its_root(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("fastmp-install.pth") == (ROOT / "fastmp-install.pth").read_bytes()


def test_wheel_holds_every_module_and_the_types(unpacked: Path) -> None:
    with zipfile.ZipFile(built("build_wheel", unpacked, unpacked.parent / "complete")) as archive:
        names = set(archive.namelist())
    needed = {str(path.relative_to(unpacked)) for path in unpacked.glob("fastmp/**/*.py*")} | {"_fastmp_bootstrap.py"}
    assert {name for name in needed if "__pycache__" not in name} <= names
    assert "fastmp/py.typed" in names


@pytest.mark.parametrize(("value", "armed"), [("1", True), ("0", False), (None, False)])
def test_pth_arms_only_when_asked_and_never_imports_fastmp(installed: Path, value: str | None, armed: bool) -> None:
    env = {key: text for key, text in os.environ.items() if key != "FASTMP_INSTALL"}
    env |= {} if value is None else {"FASTMP_INSTALL": value}
    done = run(installed, "-c", ARMED, env=env, cwd="/")
    assert done.stderr == ""
    assert done.stdout.split() == [str(armed), "False"]


def test_pth_costs_less_than_a_millisecond() -> None:
    line = (ROOT / "fastmp-install.pth").read_text()
    setup = "import os; os.environ.pop('FASTMP_INSTALL', None)"
    done = run(sys.executable, "-m", "timeit", "-n", "1000", "-r", "5", "-u", "msec", "-s", setup, f"exec({line!r})")
    milliseconds = float(done.stdout.split("best of 5: ")[1].split()[0])
    assert milliseconds < 1


def test_uninstall_leaves_nothing(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path)
    python, pip = tmp_path / "bin" / "python", (sys.executable, "-m", "pip", "--python", tmp_path / "bin" / "python")
    run(*pip, "install", "--no-index", "--no-deps", wheel)
    run(python, "-c", "pass")
    assert run(*pip, "uninstall", "-y", "fastmp").returncode == 0
    assert [path.name for path in tmp_path.glob("lib*/python*/site-packages/*fastmp*")] == []


def missing_message(tmp_path: Path, tree: Path, compiler: str) -> str:
    """What setup.py says with this compiler."""
    env = {**os.environ, "CC": compiler, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = run(sys.executable, "-W", "ignore", "setup.py", "build_ext", "-b", tmp_path, cwd=tree, env=env)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


def test_missing_compiler_is_named(tmp_path: Path, tree: Path) -> None:
    message = missing_message(tmp_path, tree, "no-such-compiler")
    assert "fastmp cannot be built here" in message
    assert "apt-get install build-essential" in message


@pytest.mark.parametrize(
    ("header", "package", "other"), [("Python.h", "python3-dev", "libffi-dev"), ("ffi.h", "libffi-dev", "python3-dev")]
)
def test_missing_header_is_named_before_compiling(
    tmp_path: Path, tree: Path, header: str, package: str, other: str
) -> None:
    log = tmp_path / "log"
    fake = tmp_path / "fake-cc"
    fake.write_text(FAKE_COMPILER.format(log=log, header=f"*{header}"))
    fake.chmod(0o755)
    message = missing_message(tmp_path, tree, str(fake))
    assert message.count("apt-get install") == 1
    assert f"apt-get install {package}" in message
    assert other not in message
    assert all("-E" in line for line in log.read_text().splitlines())
