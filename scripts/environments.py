"""The Pythons of this machine and the virtual environments that the other scripts make in .venv/.

Only the standard library: it runs before anything is installed.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.11", "3.12", "3.13")


def version_of(python: Path) -> str | None:
    """`3.12` for a Python 3.12, None for what does not run."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def candidates(version: str) -> list[Path]:
    """Where a Python of this version may be: this one, pyenv's, and PATH's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [Path(sys.executable), *sorted(pyenv.glob(f"versions/{version}.*/bin/python"), reverse=True)]
    on_path = shutil.which(f"python{version}")
    return [*found, Path(on_path)] if on_path else found


def find_python(version: str) -> Path | None:
    """A Python of this version, or None."""
    return next((python for python in candidates(version) if version_of(python) == version), None)


def call(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
    """Run a command that must succeed."""
    subprocess.run([str(part) for part in command], cwd=cwd, env=env, check=True)


def environment(name: str, python: Path) -> Path:
    """The Python of the environment .venv/<name>, made if it is not there or is another version's."""
    folder = ROOT / ".venv" / name
    inside = folder / "bin" / "python"
    if version_of(inside) != version_of(python):
        shutil.rmtree(folder, ignore_errors=True)
        call(python, "-m", "venv", folder)
    return inside


def install(python: Path, *requirements: str) -> None:
    """Install with pip, which says nothing unless it fails."""
    call(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements)


def install_project(python: Path, extra: str | None = None) -> None:
    """Build and install this tree, with one of its extras."""
    for stale in (ROOT / "build").glob("lib.*"):  # a module deleted since would be installed with the others
        shutil.rmtree(stale)
    install(python, f"{ROOT}[{extra}]" if extra else f"{ROOT}")
