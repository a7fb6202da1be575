"""A run as one page that needs nothing else: charts, table, percentiles. Called by `__main__`."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from . import chart, report

STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; max-width: 980px;
  margin: 2rem auto; padding: 0 1rem; color: light-dark(#24292f, #e6edf3); background: light-dark(#fff, #0d1117) }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
p, td, th { max-width: 70ch } .soft { color: light-dark(#6e7781, #8d96a0) }
table { border-collapse: collapse; font-size: 13px; display: block; overflow-x: auto }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid light-dark(#d0d7de, #30363d) }
th:first-child, td:first-child { text-align: left }
svg { max-width: 100%; height: auto } .plots { display: flex; flex-wrap: wrap; gap: .6rem }
pre { overflow-x: auto; font-size: 12px; padding: .6rem; background: light-dark(#f6f8fa, #161b22) }
"""
TITLES = {
    "size:queue": "Queue: bytes, by the size of a message",
    "size:pipe": "Pipe: bytes, by the size of a message",
    "parties:queue": "Queue: by producers, and as many consumers",
    "messages:queue": "Queue: small ints, by their number",
    "tasks:pool": "Pool.map with chunksize=1, by the number of tasks",
    "workers:pool": "Pool.map with chunksize=1, by workers",
    "latency:queue": "Round trip over two Queues",
    "latency:pipe": "Round trip over a Pipe",
    "latency:pool": "Pool.apply",
    "latency:executor": "executor.submit(…).result()",
}
SHOWN = (50, 99, 99.9)


def page(doc: report.Document) -> str:
    """Return the page of a run."""
    body = [*head(doc), *ratios(doc), *curves(doc), *distributions(doc), *problems(doc)]
    return f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n{"".join(body)}</html>\n'


def head(doc: report.Document) -> list[str]:
    """Return the title, and where the run was made."""
    viewport = '<meta name="viewport" content="width=device-width">'
    about = escape(report.about(doc)).replace("\n", "<br>")
    title = "fastmp: benchmarks"
    return [f"{viewport}\n<title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n", f"<p>{about}</p>\n"]


def ratios(doc: report.Document) -> list[str]:
    """Return the bars and the table."""
    lines = report.table(doc)
    if len(lines) == 1:
        return []
    note = (
        "Each row on one library, then on the next, then again, every case in a fresh process; the value is the "
        "median of the repetitions, the spread the distance between the best and the worst of them."
    )
    chart_of_all = chart.of_ratios(doc)
    return [f"<h2>Rows</h2>\n{chart_of_all}", f'<p class="soft">{note}</p>\n', table(lines)]


def curves(doc: report.Document) -> list[str]:
    """Return throughput against size, number, parties and workers."""
    plots = [chart.of_curve(TITLES.get(name, name), points) for name, points in chart.curves_of(doc).items()]
    return ["<h2>Throughput</h2>\n", f'<div class="plots">{"".join(plots)}</div>\n'] if plots else []


def distributions(doc: report.Document) -> list[str]:
    """Return how long single operations take."""
    lines, percentiles = chart.distributions_of(doc), doc["metadata"].get("percentiles", [])
    if not lines:
        return []
    plots = [chart.of_distribution(TITLES.get(line.name, line.name), line, percentiles) for line in lines]
    head = ["round trip", "library", *(f"p{percent:g}" for percent in SHOWN), "longest"]
    rows = [row for line in lines for row in percentile_rows(line, percentiles)]
    return ["<h2>Latency</h2>\n", f'<div class="plots">{"".join(plots)}</div>\n', table([head, *rows])]


def percentile_rows(line: report.Line, percentiles: Sequence[float]) -> list[list[str]]:
    """Return a table line for each library."""
    rows = []
    for name, one in line.cells.items():
        if one.distribution:
            at = dict(zip(percentiles, one.distribution, strict=True))
            shown = [at[percent] for percent in SHOWN] + [one.distribution[-1]]
            rows.append([TITLES.get(line.name, line.name), name, *(report.si(value, line.unit) for value in shown)])
    return rows


def problems(doc: report.Document) -> list[str]:
    """Return what could not be measured, and why."""
    texts = "\n\n".join(report.failures(doc))
    return [f"<h2>Not measured</h2>\n<pre>{escape(texts)}</pre>\n"] if texts else []


def table(lines: Sequence[Sequence[str]]) -> str:
    """Return a table; the first line is its head."""
    rows = [
        "".join(f"<{tag}>{escape(text)}</{tag}>" for text in line)
        for tag, line in zip(["th"] + ["td"] * (len(lines) - 1), lines, strict=True)
    ]
    return "<table>\n" + "\n".join(f"<tr>{row}</tr>" for row in rows) + "\n</table>\n"
