"""A run as a document (JSON, in the manner of pyperf) and the document as a table.

Called by `__main__`, `html`, `chart`. The document: `metadata`, and `benchmarks`, one for each row and backend, with a
run for each repetition: `{"median", "values"}` in the row's unit (seconds, operations or bytes per second) and
`"distribution"` where operations were timed one by one, or `{"skipped": why}`, or `{"failed": why, "stderr"}`. The
value of a row is the median of its runs' medians.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any, NamedTuple

from .measure import PERCENTILES
from .runner import Case, Settings, middle
from .targets import GOAL, GOAL_ONE_CORE, REFERENCE

Document = dict[str, Any]

SCALES = {
    "s": ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "1/s": ((1e6, "M/s"), (1e3, "k/s"), (1, "/s")),
    "B/s": ((1e9, "GB/s"), (1e6, "MB/s")),
    "s/s": ((1e-3, "ms/s"),),
    "B": ((1 << 20, "MB"), (1 << 10, "KB"), (1, "B")),
}
NONE = "-"
NOISE = 0.05  # two runs of the same code differ so much: "never worse", a target of 1, is met down to 0.95
STDLIB, OURS = "stdlib", "fastmp"


def document(metadata: dict[str, Any], settings: Settings, runs: Iterable[tuple[Case, dict[str, Any]]]) -> Document:
    """Make the document of a run."""
    benchmarks: dict[tuple[str, str], dict[str, Any]] = {}
    for case, outcome in runs:
        row = case.row
        unit = {"unit": row.unit.name, "larger_is_better": row.unit.larger_is_better}
        curve = {"series": row.series, "x": row.x} if row.series else {}
        about = {"name": row.name, "backend": case.backend, "size": settings.size(row), **unit, **curve}
        entry = benchmarks.setdefault((row.name, case.backend), {"metadata": about, "runs": []})
        entry["runs"].append(outcome)
    times = {"repetitions": settings.repetitions, "seconds_per_case": settings.seconds, "shrink": settings.shrink}
    amounts = {**times, "copies": settings.copies, "percentiles": PERCENTILES}
    return {"version": "1.1", "metadata": {**metadata, **amounts}, "benchmarks": list(benchmarks.values())}


class Cell(NamedTuple):
    """One row on one backend."""

    value: float | None
    spread: float  # (largest - smallest) / median, of the repetitions
    note: str  # why there is no value
    distribution: list[float]

    def text(self, unit: str) -> str:
        """Return the value for a human."""
        return self.note if self.value is None else si(self.value, unit)


def cell(runs: Sequence[dict[str, Any]]) -> Cell:
    """Sum up a benchmark's runs. A repetition that failed makes the whole a failure."""
    for kind in ("failed", "skipped"):
        if any(kind in run for run in runs):
            return Cell(None, 0, kind, [])
    medians = [run["median"] for run in runs]
    value = median(medians)
    spread = (max(medians) - min(medians)) / value if value else 0
    return Cell(value, spread, "", middle([run["distribution"] for run in runs if "distribution" in run]))


class Line(NamedTuple):
    """One row on all backends."""

    name: str
    unit: str
    larger_is_better: bool
    cells: dict[str, Cell]
    series: str  # of a curve's point
    x: int

    def ratio(self, of: str, to: str) -> float | None:
        """How many times as good the backend `of` is as the backend `to`; None where either has no value."""
        mine, other = (self.cells[name].value if name in self.cells else None for name in (of, to))
        if not mine or not other:
            return None
        return mine / other if self.larger_is_better else other / mine

    def best_peer(self) -> str | None:
        """Return the best of those that are neither fastmp nor the standard library."""
        peers = [name for name, one in self.cells.items() if name not in (STDLIB, OURS) and one.value]
        return max(peers, key=lambda name: self.ratio(name, peers[0]) or 0, default=None)


def lines_of(doc: Document) -> list[Line]:
    """Return the rows of a document, in its order."""
    lines: dict[str, Line] = {}
    for entry in doc["benchmarks"]:
        meta = entry["metadata"]
        new = Line(meta["name"], meta["unit"], meta["larger_is_better"], {}, meta.get("series", ""), meta.get("x", 0))
        lines.setdefault(meta["name"], new).cells[meta["backend"]] = cell(entry["runs"])
    return list(lines.values())


def table_lines(doc: Document) -> list[Line]:
    """Return the rows of the table; names with a colon belong to the plots."""
    return [line for line in lines_of(doc) if ":" not in line.name]


def goals_of(doc: Document) -> dict[str, float]:
    """Return the goals that count for a document's number of cores."""
    return GOAL if doc["metadata"]["cores"] > 1 else GOAL | GOAL_ONE_CORE


def si(value: float, unit: str) -> str:
    """Return a value with three digits and a prefix."""
    scaled, name = scaled_to(value, unit)
    return f"{scaled:.{0 if scaled >= 100 else 1 if scaled >= 10 else 2}f} {name}"


def tick(value: float, unit: str) -> str:
    """Return a round value with a prefix, as short as it can be."""
    scaled, name = scaled_to(value, unit)
    return f"{scaled:g} {name}"


def scaled_to(value: float, unit: str) -> tuple[float, str]:
    """Return a value's three digits, and the name of the unit in which they are handy."""
    scales = SCALES[unit]
    scale, name = next((pair for pair in scales if value >= pair[0] * (1 - 1e-9)), scales[-1])
    return float(f"{value / scale:.3g}"), name


def times(ratio: float | None) -> str:
    """Return a ratio for a human."""
    return NONE if ratio is None else f"{ratio:.{0 if ratio >= 100 else 1 if ratio >= 10 else 2}f}x"


def one_run(outcome: dict[str, Any], unit: str) -> str:
    """Return one run in a few words."""
    return si(outcome["median"], unit) if "median" in outcome else " ".join(map(str, outcome.values()))


def is_met(ratio: float, wanted: float) -> bool:
    """Whether a row has what is wanted of it."""
    return ratio >= (1 - NOISE if wanted == 1 else wanted)


def verdict(line: Line, goals: dict[str, float]) -> str:
    """Whether fastmp reaches a row's goal."""
    wanted, reference = goals.get(line.name), REFERENCE.get(line.name, STDLIB)
    if wanted is None or OURS not in line.cells:
        return NONE
    of = "" if reference == STDLIB else f" of {reference}"
    ratio = line.ratio(OURS, reference)
    if ratio is None:
        return f"{wanted:g}{of}"
    return f"{wanted:g}{of} {'met' if is_met(ratio, wanted) else 'not met'}"


def table(doc: Document) -> list[list[str]]:
    """Return the head and one line for each row."""
    goals, peers = goals_of(doc), set(doc["metadata"]["versions"]) - {STDLIB, OURS}
    shown = [name for name in (STDLIB, OURS) if name in doc["metadata"]["versions"]]
    head = ["row", *(text for name in shown for text in (name, "spread"))]
    table = [head + (["best peer", "vs peer"] if peers else []) + ["ratio", "goal"]]
    for line in table_lines(doc):
        texts = [line.name]
        for name in shown:
            one = line.cells.get(name, Cell(None, 0, NONE, []))
            texts += [one.text(line.unit), f"{one.spread:.0%}" if one.value else NONE]
        table.append(
            texts + (peer_texts(line) if peers else []) + [times(line.ratio(OURS, STDLIB)), verdict(line, goals)]
        )
    return table


def peer_texts(line: Line) -> list[str]:
    """Return the best peer's value, and how many times as good fastmp is."""
    peer = line.best_peer()
    if peer is None:
        return [NONE, NONE]
    return [f"{line.cells[peer].text(line.unit)} {peer}", times(line.ratio(OURS, peer))]


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
    copies = f", {meta['copies']} copies of each case at once" if meta.get("copies", 1) > 1 else ""
    return (
        f"{meta['cpu']}, {meta['cores']} core(s), load {meta['load']}, {meta['kernel']}, {meta['python']}\n"
        f"{versions}, commit {meta['commit']}, {meta['date']}, medians of {meta['repetitions']} interleaved "
        f"repetitions{copies}"
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
