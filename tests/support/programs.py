"""Small Python programs that tests run in a process of their own."""

import importlib.util
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 50


def home() -> Path:
    """The folder that holds the fastmp under test: the project's root, or the site-packages it is installed in."""
    spec = importlib.util.find_spec("fastmp")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent.parent


def python(
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    executable: str | Path = sys.executable,
    stdin: str = "",
    folder: Path | None = None,
    seconds: float = SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Run Python beside the fastmp under test, or in `folder`; FASTMP_INSTALL only if `env` says so."""
    environment = {name: value for name, value in os.environ.items() if name != "FASTMP_INSTALL"} | dict(env or {})
    command = [str(part) for part in (executable, *arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=folder or home(),
        env=environment,
        timeout=seconds,
        check=False,
        input=stdin,
    )


def output_of(script: str, env: Mapping[str, str] | None = None) -> list[str]:
    """The lines that a program prints; it must end well and say nothing on stderr."""
    result = python("-c", textwrap.dedent(script), env=env)
    assert result.returncode == 0, result.stderr
    assert not result.stderr, result.stderr
    return result.stdout.splitlines()
