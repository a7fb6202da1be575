"""The order table of docs/memory-model.md and the labels in csrc/ are the same; no ordered atomic is left out."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ORDERED = re.compile(
    r"\bfmp_(?:(?:load|store|exchange|cas|fetch_\w+?)_(?:acquire|release|acq_rel|seq_cst)|fence_seq_cst)\("
)
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
LABEL = re.compile(r"\b[A-Z]\d{1,2}\b")
DEFINES_THE_OPERATIONS = "csrc/base/atomic.h"


@dataclass
class Unit:
    title: str
    letters: set[str]
    files: list[str]
    labels: list[str]


def documented_units() -> list[Unit]:
    page = (ROOT / "docs" / "memory-model.md").read_text()
    table = page.split("## The order table", 1)[1]
    units = []
    for section in table.split("\n### ")[1:]:
        title, _, letters = section.splitlines()[0].partition(": ")
        files = re.findall(r"`(csrc/[^`]+)`", section.split("Files: ", 1)[1].splitlines()[0])
        labels = re.findall(r"^\| ([A-Z]\d+) \|", section, re.MULTILINE)
        units.append(Unit(title, set(letters.split(", ")), files, labels))
    return units


def labels_in(files: list[str], letters: set[str]) -> set[str]:
    comments = (comment for name in files for comment in COMMENT.findall((ROOT / name).read_text()))
    return {label for comment in comments for label in LABEL.findall(comment) if label[0] in letters}


def test_each_table_holds_the_labels_of_its_files() -> None:
    units = documented_units()
    assert units
    for unit in units:
        assert unit.labels, unit.title
        assert len(unit.labels) == len(set(unit.labels)), unit.title
        assert set(unit.labels) == labels_in(unit.files, unit.letters), unit.title


def test_ordered_operations_are_in_documented_files_only() -> None:
    documented = {name for unit in documented_units() for name in unit.files}
    using = {
        str(path.relative_to(ROOT)) for path in ROOT.glob("csrc/**/*.[ch]") if ORDERED.search(path.read_text())
    } - {DEFINES_THE_OPERATIONS}
    assert using <= documented


def comment_near(lines: list[str], number: int) -> str:
    """The statement's lines and the comment above it: where a label may stand."""
    first = number
    while first > 0 and number - first < 8 and not re.search(r"[;{}]\s*(/\*.*\*/)?\s*$", lines[first - 1]):
        first -= 1
    last = number
    while last < len(lines) - 1 and last - number < 3 and not re.search(r"[;{]", lines[last]):
        last += 1
    return "\n".join(lines[first : last + 1])


def test_each_ordered_operation_has_a_label_beside_it() -> None:
    missing = []
    for unit in documented_units():
        for name in unit.files:
            lines = (ROOT / name).read_text().splitlines()
            for number, text in enumerate(lines):
                if ORDERED.search(text) and not LABEL.search(comment_near(lines, number)):
                    missing.append(f"{name}:{number + 1}: {text.strip()}")
    assert not missing
