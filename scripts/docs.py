"""`make docs`: the pages are read where they lie, so there is nothing to build; this checks what can be wrong in them.

Every relative link of README.md, CONTRIBUTING.md and docs/*.md must lead to a file of the project (and its #part to a
heading), every `>>>` example must give what the page says, and every path like `csrc/...` in back quotes must exist.
"""

import doctest
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from environments import environment, install

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
QUOTED_PATH = re.compile(r"`((?:csrc|fastmp|tests|docs|examples|benchmarks|scripts)/[\w./-]*)`")


def pages() -> list[Path]:
    """The pages that a reader may open."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]


def anchors(page: Path) -> set[str]:
    """The #parts of a page, as its headings are turned into them."""
    titles = HEADING.findall(page.read_text())
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def wrong_links(page: Path) -> list[str]:
    """Links that lead nowhere."""
    wrong = []
    for link in LINK.findall(page.read_text()):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, part = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (part and target.suffix == ".md" and part not in anchors(target)):
            wrong.append(f"link to {link}")
    return wrong


def wrong_paths(page: Path) -> list[str]:
    """Files named in the text that are not there."""
    return [f"path {path}" for path in QUOTED_PATH.findall(page.read_text()) if not (ROOT / path).exists()]


def wrong_examples(page: Path) -> list[str]:
    """Examples that give something else than the page says."""
    if ">>>" not in page.read_text():
        return []
    failed = doctest.testfile(str(page), module_relative=False, optionflags=doctest.ELLIPSIS).failed
    return [f"{failed} examples"] if failed else []


def has_packages() -> bool:
    """Whether this Python has what the examples want besides the project."""
    try:
        return int(version("cloudpickle").partition(".")[0]) >= 3 and bool(version("numpy"))
    except PackageNotFoundError:
        return False


def main() -> int:
    """Check all pages, in an environment of their own if need be."""
    if not has_packages():
        python = environment("docs", Path(sys.executable))
        install(python, "cloudpickle>=3,<4", "numpy>=1.26,<3")
        return subprocess.run([python, __file__], check=False).returncode
    sys.path.insert(0, str(ROOT))
    wrong = [
        f"{page.relative_to(ROOT)}: {line}"
        for page in pages()
        for line in [*wrong_links(page), *wrong_paths(page), *wrong_examples(page)]
    ]
    print("\n".join([*wrong, f"docs: {len(pages())} pages, {len(wrong)} wrong"]))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
