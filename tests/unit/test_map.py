"""The table of CONTRIBUTING.md that tells where things lie: what it names is there, and it names all that is there."""

import itertools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ROW = re.compile(r"^\| (?P<what>[^|`]+) \| (?P<code>`[^|]+`) \| (?P<tests>`[^|]+`) \|$", re.MULTILINE)

pytestmark = pytest.mark.once


def expanded(pattern: str) -> list[str]:
    """The patterns that `a{b,c}d` stands for."""
    parts = [part.split(",") for part in re.split(r"[{}]", pattern)]
    return ["".join(choice) for choice in itertools.product(*parts)]


def found(pattern: str, folder: Path = ROOT) -> set[Path]:
    """The files that one of the table's names means."""
    below = "**/*" if pattern.endswith("/") else ""
    return {path for one in expanded(pattern) for path in folder.glob(one + below) if path.is_file()}


def rows() -> dict[str, tuple[list[str], list[str]]]:
    """What: the names of its code, and of its tests."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    names = re.compile(r"`([^`]+)`")
    return {row["what"]: (names.findall(row["code"]), names.findall(row["tests"])) for row in ROW.finditer(page)}


def test_what_it_names_is_there() -> None:
    missing = [
        one
        for code, tests in rows().values()
        for names, folder in ((code, ROOT), (tests, ROOT / "tests" / "unit"))
        for name in names
        for one in expanded(name)
        if not found(one, folder)
    ]
    assert not missing


def test_what_is_there_is_named() -> None:
    named = {path for code, _ in rows().values() for name in code for path in found(name)}
    there = {*ROOT.glob("fastmp/**/*.py"), *ROOT.glob("csrc/py/*.[ch]")}
    assert [str(path.relative_to(ROOT)) for path in sorted(there - named)] == []
