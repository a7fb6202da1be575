"""Each folder of csrc/ includes only folders below it, and Python.h begins at pyrt/.

The list is the order of docs/architecture.md, which is read here: the page and the code cannot disagree.
Runs under pytest, and alone (`python tests/unit/test_layers.py`) as a step of `make check`.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FIRST_WITH_PYTHON = "pyrt"
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([a-z]+)/[^"]+"|<(Python\.h|structmember\.h)>|"([^"/]+)")', re.MULTILINE)


def documented_layers() -> list[str]:
    page = (ROOT / "docs" / "architecture.md").read_text()
    return re.findall(r"^\| `csrc/([a-z]+)/` \|", page, re.MULTILINE)


def breaches() -> list[str]:
    layers = documented_layers()
    level = {name: number for number, name in enumerate(layers)}
    found = []
    for path in sorted(ROOT.glob("csrc/**/*.[ch]")):
        name = path.relative_to(ROOT / "csrc").parts[0]
        if name not in level:
            found.append(f"{path.relative_to(ROOT)}: no layer of docs/architecture.md")
            continue
        for folder, python, bare in INCLUDE.findall(path.read_text()):
            if folder and level.get(folder, len(layers)) > level[name]:
                found.append(f"{path.relative_to(ROOT)}: includes {folder}/, which is above {name}/")
            if python and level[name] < level[FIRST_WITH_PYTHON]:
                found.append(f"{path.relative_to(ROOT)}: includes {python} below {FIRST_WITH_PYTHON}/")
            if bare:
                found.append(f'{path.relative_to(ROOT)}: "{bare}" does not name its folder')
    return found


def test_every_layer_of_the_page_is_known() -> None:
    layers = documented_layers()
    assert layers[0] == "base"
    assert layers[-1] == "py"
    assert FIRST_WITH_PYTHON in layers


def test_layers_include_only_those_below() -> None:
    assert not breaches()


if __name__ == "__main__":
    sys.exit("\n".join(breaches()) or None)
