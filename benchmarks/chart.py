"""The charts of a run: ratios, curves, distributions. Called by `__main__` (the README's chart) and `html`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .report import OURS, STDLIB, Document, Line, goals_of, lines_of, si, table_lines, tick, times
from .svg import Canvas, Scale, grid
from .targets import REFERENCE

COLOURS = {
    "fastmp": "#1f883d",
    "stdlib": "#8c959f",
    "faster-fifo": "#bf8700",
    "billiard": "#8250df",
    "multiprocess": "#bf3989",
    "loky": "#0969da",
    "joblib": "#54aeff",
    "mpire": "#cf222e",
    "pebble": "#e16f24",
    "ray": "#1b7c83",
}
BEHIND = "#cf222e"  # slower than the standard library
PEER, GOAL = "#bf8700", "#8250df"

WIDTH, COLUMNS = 940, 2
LABEL, VALUE = 156, 48  # pixels for a row's name and its ratio
STEP, TOP, FOOT = 16, 62, 26
PLOT_WIDTH, PLOT_HEIGHT = 460, 300
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 62, 92, 34, 42
LABEL_STEP = 13  # pixels between the names at the ends of curves
NINES = (50, 90, 99, 99.9, 99.99)


def of_ratios(doc: Document) -> str:
    """Return how many times as good fastmp is as the standard library, a bar for each row."""
    lines = [line for line in table_lines(doc) if line.ratio(OURS, STDLIB)]
    per_column = math.ceil(len(lines) / COLUMNS) or 1
    height = TOP + per_column * STEP + FOOT
    canvas = Canvas(WIDTH, height, "fastmp against the standard library")
    canvas.text((10, 20), "How many times as fast as the standard library", kind="title")
    legend(canvas, doc)
    most = max([10.0, *(line.ratio(OURS, STDLIB) or 0 for line in lines)])
    for column in range(COLUMNS):
        left = column * WIDTH / COLUMNS
        scale = Scale(0.5, most * 1.1, left + LABEL, left + WIDTH / COLUMNS - VALUE)
        bars(canvas, scale, lines[column * per_column : (column + 1) * per_column], doc)
    return canvas.svg()


def legend(canvas: Canvas, doc: Document) -> None:
    """Explain the marks, and say where the run was made."""
    meta = doc["metadata"]
    canvas.bar((10, 30), (34, 38), COLOURS[OURS])
    canvas.text((40, 38), "fastmp", kind="small")
    canvas.dot((96, 34), PEER)
    canvas.text((104, 38), "best peer", kind="small")
    canvas.line((172, 28), (172, 40), colour=GOAL, width=2)
    canvas.text((178, 38), "goal", kind="small")
    where = f"{meta['cpu']}, {meta['cores']} core(s), {meta['python']}, {meta['date'][:10]}, logarithmic scale"
    canvas.text((WIDTH - 10, 38), where, "end", "small soft")


def bars(canvas: Canvas, scale: Scale, lines: Sequence[Line], doc: Document) -> None:
    """Draw one column of rows."""
    bottom = TOP + len(lines) * STEP
    for value in [1.0, *scale.decades()]:
        canvas.line((scale(value), TOP - 4), (scale(value), bottom), "axis" if value == 1 else "grid")
        canvas.text((scale(value), bottom + 14), f"{value:g}x", "middle", "small soft")
    goals = goals_of(doc)
    for number, line in enumerate(lines):
        y = TOP + number * STEP
        bar(canvas, scale, line, y)
        if line.name in goals and line.name not in REFERENCE:
            at = scale(goals[line.name])
            canvas.line((at, y), (at, y + STEP - 4), colour=GOAL, width=2)


def bar(canvas: Canvas, scale: Scale, line: Line, y: float) -> None:
    """Draw one row: its name, the bar from 1 to its ratio, the best peer's ratio."""
    ratio, peer = line.ratio(OURS, STDLIB) or 1, line.best_peer()
    canvas.text((scale.start - 8, y + 10), line.name, "end", "small")
    colour = COLOURS[OURS] if ratio >= 1 else BEHIND
    canvas.bar((scale(1), y + 1), (scale(ratio), y + STEP - 5), colour, hint(line))
    canvas.text((scale.end + VALUE - 6, y + 10), times(ratio), "end", "small")
    if peer:
        canvas.dot((scale(line.ratio(peer, STDLIB) or 1), y + STEP / 2 - 2), PEER, 3, peer)


def hint(line: Line) -> str:
    """Return a row's values on all backends."""
    return ", ".join(f"{name} {one.text(line.unit)}" for name, one in line.cells.items() if one.value)


def curves_of(doc: Document) -> dict[str, list[Line]]:
    """Return the points of each curve's series."""
    series: dict[str, list[Line]] = {}
    for line in lines_of(doc):
        if line.series and any(one.value for one in line.cells.values()):
            series.setdefault(line.series, []).append(line)
    return series


def of_curve(title: str, points: Sequence[Line]) -> str:
    """Return a series, a curve for each backend: its value over x."""
    unit, xs = points[0].unit, sorted(line.x for line in points)
    curves: dict[str, list[tuple[float, float]]] = {}
    for line in sorted(points, key=lambda line: line.x):
        for name, one in line.cells.items():
            if one.value:
                curves.setdefault(name, []).append((line.x, one.value))
    x_ticks = [(float(x), tick(x, "B") if unit == "B/s" else str(x)) for x in xs]
    bend = math.log10 if len(xs) > 1 else float
    x = Scale(xs[0], xs[-1], MARGIN_LEFT, PLOT_WIDTH - MARGIN_RIGHT, bend)
    return plot(title, unit, x, x_ticks, curves)


def distributions_of(doc: Document) -> list[Line]:
    """Return the rows whose operations were timed one by one."""
    return [line for line in lines_of(doc) if any(one.distribution for one in line.cells.values())]


def of_distribution(title: str, line: Line, percentiles: Sequence[float]) -> str:
    """Return the time within which each part of the operations ends, a curve for each backend."""
    curves = {
        name: [
            (percent, value)
            for percent, value in zip(percentiles, one.distribution, strict=True)
            if NINES[0] <= percent <= NINES[-1]
        ]
        for name, one in line.cells.items()
        if one.distribution
    }
    x = Scale(NINES[0], NINES[-1], MARGIN_LEFT, PLOT_WIDTH - MARGIN_RIGHT, lambda percent: -math.log10(100 - percent))
    return plot(title, line.unit, x, [(percent, f"p{percent:g}") for percent in NINES], curves)


def plot(
    title: str,
    unit: str,
    x: Scale,
    x_ticks: Sequence[tuple[float, str]],
    curves: dict[str, list[tuple[float, float]]],
) -> str:
    """Return a plot of curves on a logarithmic y axis, each with its name at its end."""
    values = [value for curve in curves.values() for _, value in curve]
    low, high = 10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values)))
    y = Scale(low, max(high, low * 10), PLOT_HEIGHT - MARGIN_BOTTOM, MARGIN_TOP)
    canvas = Canvas(PLOT_WIDTH, PLOT_HEIGHT, title)
    canvas.text((MARGIN_LEFT, 18), title, kind="title")
    grid(canvas, x, y, x_ticks, [(value, tick(value, unit)) for value in y.decades()])
    for name, curve in curves.items():
        canvas.path([(x(at), y(value)) for at, value in curve], COLOURS[name], 2.4 if name == OURS else 1.6)
        for at, value in curve:
            canvas.dot((x(at), y(value)), COLOURS[name], 2.6, f"{name}: {si(value, unit)}")
    ends = {name: y(curve[-1][1]) for name, curve in curves.items()}
    for name, at in apart(ends, y.start).items():
        canvas.text((x.end + 8, at + 4), name, kind="small", colour=COLOURS[name])
    return canvas.svg()


def apart(ends: dict[str, float], bottom: float) -> dict[str, float]:
    """Return the heights of names so that none covers another, as near to their curves as that allows."""
    heights: dict[str, float] = {}
    last = -math.inf
    for name, at in sorted(ends.items(), key=lambda pair: pair[1]):
        heights[name] = last = max(at, last + LABEL_STEP)
    below = bottom
    for name in reversed(heights):
        heights[name] = min(heights[name], below)
        below = heights[name] - LABEL_STEP
    return heights
