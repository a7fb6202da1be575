"""Just enough SVG for charts: a canvas, scales, axes. Called by `chart`, tests/soak/plot.py.

Coordinates are pixels, y downwards. Texts and grid follow the reader's light or dark theme by CSS, so that one file
serves a README and a page; the colours of the data are legible on both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import NamedTuple

STYLE = """
text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 14px } .small { font-size: 10.5px } .soft { fill: #6e7781 }
.grid { stroke: #d0d7de; stroke-width: 1 } .axis { stroke: #6e7781; stroke-width: 1 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .soft { fill: #8d96a0 } .grid { stroke: #30363d } .axis { stroke: #8d96a0 } }
"""

Point = tuple[float, float]


def number(value: float) -> str:
    """Return a coordinate, short."""
    return f"{value:.1f}".removesuffix(".0")


class Scale(NamedTuple):
    """A mapping of values from `low` to `high` onto pixels from `start` to `end`, straight after `bend`."""

    low: float
    high: float
    start: float
    end: float
    bend: Callable[[float], float] = math.log10

    def __call__(self, value: float) -> float:
        low, high = self.bend(self.low), self.bend(self.high)
        part = (self.bend(value) - low) / (high - low) if high > low else 0.5
        return self.start + min(max(part, 0), 1) * (self.end - self.start)

    def decades(self) -> list[float]:
        """Return the powers of ten within the scale."""
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        return [10.0**power for power in range(first, last + 1)]


class Canvas:
    """An SVG picture that grows by what is drawn on it."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self._width, self._height, self._title = width, height, title
        self._parts: list[str] = []

    def text(self, at: Point, what: str, anchor: str = "start", kind: str = "", colour: str = "") -> None:
        """Write a text; `at` is on its base line."""
        css = f' class="{kind}"' if kind else ""
        fill = f' style="fill:{colour}"' if colour else ""
        x, y = map(number, at)
        self._parts.append(f'<text x="{x}" y="{y}" text-anchor="{anchor}"{css}{fill}>{escape(what)}</text>')

    def line(self, start: Point, end: Point, kind: str = "grid", colour: str = "", width: float = 1) -> None:
        """Draw a line, in the colour of its kind or in its own."""
        paint = f'stroke="{colour}" stroke-width="{number(width)}"' if colour else f'class="{kind}"'
        (x1, y1), (x2, y2) = (tuple(map(number, point)) for point in (start, end))
        self._parts.append(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" {paint}/>')

    def bar(self, start: Point, end: Point, colour: str, hint: str = "") -> None:
        """Fill the rectangle between two corners."""
        (x1, y1), (x2, y2) = start, end
        left, top, width, height = (number(value) for value in (min(x1, x2), min(y1, y2), abs(x2 - x1), abs(y2 - y1)))
        self._parts.append(
            f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="1.5" fill="{colour}">{tip(hint)}</rect>'
        )

    def dot(self, at: Point, colour: str, radius: float = 3, hint: str = "") -> None:
        """Draw a disc."""
        x, y = map(number, at)
        self._parts.append(f'<circle cx="{x}" cy="{y}" r="{number(radius)}" fill="{colour}">{tip(hint)}</circle>')

    def path(self, points: Iterable[Point], colour: str, width: float = 1.8) -> None:
        """Draw a line through points."""
        along = " ".join(f"{number(x)},{number(y)}" for x, y in points)
        self._parts.append(f'<polyline points="{along}" fill="none" stroke="{colour}" stroke-width="{number(width)}"/>')

    def svg(self) -> str:
        """Return the picture."""
        size = f'viewBox="0 0 {number(self._width)} {number(self._height)}" width="{number(self._width)}"'
        body = "\n".join(self._parts)
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
        return f"{head}\n<title>{escape(self._title)}</title>\n<style>{STYLE}</style>\n{body}\n</svg>\n"


def tip(hint: str) -> str:
    """Return what a reader sees who points at a shape."""
    return f"<title>{escape(hint)}</title>" if hint else ""


def grid(
    canvas: Canvas, x: Scale, y: Scale, x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]]
) -> None:
    """Draw the lines and labels behind a plot; y runs upwards, from y.start at the bottom."""
    for value, label in x_ticks:
        canvas.line((x(value), y.start), (x(value), y.end))
        canvas.text((x(value), y.start + 16), label, "middle", "small")
    for value, label in y_ticks:
        canvas.line((x.start, y(value)), (x.end, y(value)))
        canvas.text((x.start - 6, y(value) + 4), label, "end", "small")
    canvas.line((x.start, y.start), (x.end, y.start), "axis")
