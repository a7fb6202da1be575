"""The plot of a long run: memory, descriptors, throughput over time, as one SVG. Called by: run.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.svg import Canvas, Scale, grid

WIDTH, PANEL, TOP, LEFT, RIGHT = 720.0, 120.0, 44.0, 86.0, 150.0
COLOURS = ("#1f883d", "#0969da", "#8250df", "#bf8700", "#cf222e")


def ticks(high: float) -> list[float]:
    """Two round numbers and 0."""
    return [0.0, high / 2, high]


def short(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def panel(canvas: Canvas, top: float, title: str, times: Sequence[float], curves: dict[str, Sequence[float]]) -> None:
    """One plot: its curves share a linear axis that begins at 0."""
    high = max([1.0, *(max(values) for values in curves.values())]) * 1.1
    x = Scale(0, times[-1], LEFT, WIDTH - RIGHT, float)
    y = Scale(0, high, top + PANEL - 34, top + 18, float)
    canvas.text((LEFT, top + 8), title, kind="small")
    minutes = [(times[-1] * part / 4, f"{times[-1] * part / 240:.2g} min") for part in range(5)]
    grid(canvas, x, y, minutes, [(value, short(value)) for value in ticks(high)])
    for number, (name, values) in enumerate(curves.items()):
        colour = COLOURS[number]
        canvas.path([(x(t), y(value)) for t, value in zip(times, values, strict=True)], colour, 1.4)
        canvas.text((x.end + 10, top + 28 + 15 * number), f"{name}: {short(values[-1])}", kind="small", colour=colour)


def of_run(found: dict[str, Any]) -> str:
    """The whole picture."""
    samples = found["samples"]
    panels = (
        ("Resident memory of the processes, bytes (without what they share)", ("resident",)),
        ("Shared memory, bytes", ("region_backed", "region_in_use")),
        ("Descriptors, processes, blocks in use", ("descriptors", "processes", "blocks")),
        ("Operations per second of CPU time", ("operations_per_cpu_second",)),
    )
    canvas = Canvas(WIDTH, TOP + PANEL * len(panels), "fastmp: a long run")
    canvas.text((10, 20), f"A long run: {found['minutes']:g} minutes of mixed traffic", kind="title")
    canvas.text((10, 36), found["about"], kind="small soft")
    for number, (title, names) in enumerate(panels):
        curves = {name.replace("_", " "): samples[name] for name in names}
        panel(canvas, TOP + PANEL * number + 8, title, samples["seconds"], curves)
    return canvas.svg()
