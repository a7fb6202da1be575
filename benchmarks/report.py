"""A run as a document (JSON, in the manner of pyperf) and the document as a table.

Called by `__main__`. The document: `metadata`, and `benchmarks`, one for each row and backend, with a run for each
repetition: `{"median", "values"}` in the row's unit (seconds, operations or bytes per second), or `{"skipped": why}`,
or `{"failed": why, "stderr"}`. The value of a row is the median of its runs' medians.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any, NamedTuple

from .runner import Case, Settings
from .targets import GOAL, GOAL_ONE_CORE, STAGE

Document = dict[str, Any]

SCALES = {
    "s": ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "1/s": ((1e6, "M/s"), (1e3, "k/s"), (1, "/s")),
    "B/s": ((1e9, "GB/s"), (1e6, "MB/s")),
    "s/s": ((1e-3, "ms/s"),),
}
NONE = "-"
NOISE = 0.05  # two runs of the same code differ so much: "never worse", a target of 1, is met down to 0.95


def document(metadata: dict[str, Any], settings: Settings, runs: Iterable[tuple[Case, dict[str, Any]]]) -> Document:
    """Make the document of a run."""
    benchmarks: dict[tuple[str, str], dict[str, Any]] = {}
    for case, outcome in runs:
        row = case.row
        unit = {"unit": row.unit.name, "larger_is_better": row.unit.larger_is_better}
        about = {"name": row.name, "backend": case.backend, "size": settings.size(row), **unit}
        entry = benchmarks.setdefault((row.name, case.backend), {"metadata": about, "runs": []})
        entry["runs"].append(outcome)
    times = {"repetitions": settings.repetitions, "seconds_per_case": settings.seconds, "shrink": settings.shrink}
    return {"version": "1.0", "metadata": {**metadata, **times}, "benchmarks": list(benchmarks.values())}


class Cell(NamedTuple):
    """One row on one backend."""

    value: float | None
    spread: float  # (largest - smallest) / median, of the repetitions
    note: str  # why there is no value

    def text(self, unit: str) -> str:
        """Return the value for a human."""
        return self.note if self.value is None else si(self.value, unit)


def cell(runs: Sequence[dict[str, Any]]) -> Cell:
    """Sum up a benchmark's runs. A repetition that failed makes the whole a failure."""
    for kind in ("failed", "skipped"):
        if any(kind in run for run in runs):
            return Cell(None, 0, kind)
    medians = [run["median"] for run in runs]
    middle = median(medians)
    return Cell(middle, (max(medians) - min(medians)) / middle if middle else 0, "")


def si(value: float, unit: str) -> str:
    """Return a value with three digits and a prefix."""
    scales = SCALES[unit]
    scale, name = next((pair for pair in scales if value >= pair[0]), scales[-1])
    scaled = value / scale
    return f"{scaled:.{0 if scaled >= 100 else 1 if scaled >= 10 else 2}f} {name}"


def one_run(outcome: dict[str, Any], unit: str) -> str:
    """Return one run in a few words."""
    return si(outcome["median"], unit) if "median" in outcome else " ".join(map(str, outcome.values()))


def verdict(ratio: float, wanted: float | None) -> str:
    """Whether a row has what is wanted of it."""
    if wanted is None:
        return NONE
    enough = ratio >= (1 - NOISE if wanted == 1 else wanted)
    return f"{wanted:g} {'met' if enough else 'not met'}"


def table(doc: Document) -> list[list[str]]:
    """Return the head and one line for each row. The first backend is the reference; the ratio is the last one's."""
    meta = doc["metadata"]
    backends = list(meta["versions"])
    goals = GOAL if meta["cores"] > 1 else GOAL | GOAL_ONE_CORE
    head = ["row"] + [text for name in backends for text in (name, "spread")] + ["ratio", "this stage", "goal"]
    lines = [head]
    by_row: dict[str, dict[str, Any]] = {}
    for entry in doc["benchmarks"]:
        by_row.setdefault(entry["metadata"]["name"], {})[entry["metadata"]["backend"]] = entry
    for name, entries in by_row.items():
        about = entries[backends[0]]["metadata"]
        cells = [cell(entries[backend]["runs"]) for backend in backends]
        line = [name] + [part for one in cells for part in (one.text(about["unit"]), f"{one.spread:.0%}")]
        lines.append(line + judged(name, cells, about["larger_is_better"], goals))
    return lines


def judged(name: str, cells: list[Cell], larger_is_better: bool, goals: dict[str, float]) -> list[str]:
    """Return a row's ratio, and whether it is enough for this stage and for the goal."""
    reference, mine = cells[0].value, cells[-1].value
    if not reference or not mine:
        return [NONE, NONE, NONE]
    ratio = mine / reference if larger_is_better else reference / mine
    return [f"{ratio:.1f}x", verdict(ratio, STAGE.get(name)), verdict(ratio, goals.get(name))]


def as_text(lines: list[list[str]]) -> str:
    """Return the table for a terminal."""
    widths = [max(len(text) for text in column) for column in zip(*lines, strict=True)]
    pattern = "  ".join(f"{{:{'>' if column else '<'}{width}}}" for column, width in enumerate(widths))
    return "\n".join(pattern.format(*line) for line in lines)


def as_markdown(lines: list[list[str]]) -> str:
    """Return the table for a page."""
    rule = ["---"] + ["---:"] * (len(lines[0]) - 1)
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def about(doc: Document) -> str:
    """Return in two lines where and how the run was made."""
    meta = doc["metadata"]
    versions = ", ".join(f"{name} {version}" for name, version in meta["versions"].items())
    return (
        f"{meta['cpu']}, {meta['cores']} core(s), load {meta['load']}, {meta['kernel']}, {meta['python']}\n"
        f"{versions}, commit {meta['commit']}, {meta['date']}, medians of {meta['repetitions']} interleaved repetitions"
    )


def failures(doc: Document) -> list[str]:
    """Return one text for each run without a value."""
    texts = []
    for entry in doc["benchmarks"]:
        for run in entry["runs"]:
            for kind in ("failed", "skipped"):
                if kind in run:
                    what = f"{entry['metadata']['name']} on {entry['metadata']['backend']}"
                    texts.append(f"{kind}: {what}: {run[kind]}\n{run.get('stderr', '')}".rstrip())
    return list(dict.fromkeys(texts))


def has_failed(doc: Document) -> bool:
    """Whether any case could not be run."""
    return any("failed" in run for entry in doc["benchmarks"] for run in entry["runs"])
