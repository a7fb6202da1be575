"""`python -m benchmarks`, `make bench`, `fastmp bench`: measure, show the table, write JSON and report.

Exit code 0 also where a row falls short of its target: this is a measurement, not a test. 1 if a case could not be run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from . import chart, html, report
from .backends import BACKENDS, is_installed
from .machine import describe
from .measure import Row
from .progress import Progress
from .rows import ROWS
from .runner import ROOT, Case, Settings, cases, run

QUICK = {"repetitions": 1, "shrink": 10, "seconds": 0.05, "limit": 20.0}
OVERSUBSCRIBED = 4  # times as many processes as cores
PARTIES = 2  # processes of most rows


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="rows to measure; queue_* for a family; default: all")
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    add_amounts(parser)
    add_outputs(parser)
    options = parser.parse_args(arguments)
    check_options(parser, options)
    return options


def add_amounts(parser: argparse.ArgumentParser) -> None:
    """Add what and how much is measured."""
    parser.add_argument("--quick", action="store_true", help="once, small rounds, without the peers: under two minutes")
    parser.add_argument("-n", "--repetitions", type=int, help="of each case, default 3")
    parser.add_argument("--one-core", action="store_const", const=1, dest="cores", help="all on one core: --cores 1")
    parser.add_argument("--cores", type=int, help="use only so many cores")
    parser.add_argument(
        "--oversubscribed", action="store_true", help="copies of each case at once: 4 times as many processes as cores"
    )
    parser.add_argument("--limit", type=float, help="seconds after which a case is ended, default 60")
    parser.add_argument(
        "--backends", help=f"some of {', '.join(BACKENDS)}; the first is the reference. Default: those installed"
    )


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Add where the results go."""
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "bench.json", help="where to write the JSON")
    parser.add_argument("--html", type=Path, help="where to write the report; default: beside the JSON")
    parser.add_argument("--chart", type=Path, metavar="SVG", help="write the chart of the README")
    parser.add_argument("--show", type=Path, metavar="JSON", help="show an earlier run, measure nothing")
    parser.add_argument("--markdown", action="store_true", help="the table as Markdown")


def check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with a message where something named is not there."""
    for name in (options.backends or "").split(","):
        if name and name not in BACKENDS:
            parser.error(f"no such backend: {name}")
        if name and not is_installed(name):
            parser.error(f"{name} is not installed")
    for pattern in options.rows:
        if not matching(pattern):
            parser.error(f"no such row: {pattern} (--list names them)")
    for name in ("repetitions", "cores", "limit"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            parser.error(f"--{name} must be above 0")


def matching(pattern: str) -> list[Row]:
    """Return the rows that a name, or a pattern with *, stands for."""
    return [row for name, row in ROWS.items() if fnmatchcase(name, pattern)]


def chosen_backends(options: argparse.Namespace) -> tuple[str, ...]:
    """Return the backends that are asked for: by default all there are, the peers not in a quick run."""
    if options.backends:
        return tuple(options.backends.split(","))
    wanted = ("stdlib", "fastmp") if options.quick else BACKENDS
    return tuple(name for name in wanted if is_installed(name))


def settings_from(options: argparse.Namespace) -> Settings:
    """Return what the command line asks for."""
    chosen = {row for pattern in options.rows or ["*"] for row in matching(pattern)}
    given = {name: getattr(options, name) for name in ("repetitions", "limit") if getattr(options, name) is not None}
    times: dict[str, Any] = {**(QUICK if options.quick else {}), **given}
    rows = tuple(row for row in ROWS.values() if row in chosen)
    cores = len(os.sched_getaffinity(0))
    copies = OVERSUBSCRIBED * cores // PARTIES if options.oversubscribed else 1
    return Settings(rows, chosen_backends(options), copies=copies, **times)


def measured(settings: Settings) -> Iterator[tuple[Case, dict[str, Any]]]:
    """Run all cases and tell of each as it ends."""
    planned = list(cases(settings))
    progress = Progress(len(planned), sys.stderr)
    for case in planned:
        what = f"{case.row.name} {case.backend} {case.repetition + 1}"
        progress.begin(what)
        outcome = run(case, settings)
        progress.end(what, report.one_run(outcome, case.row.unit.name))
        yield case, outcome
    progress.close()


def measure(options: argparse.Namespace) -> report.Document:
    """Run everything that is asked for and write the JSON."""
    if options.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    settings = settings_from(options)
    document = report.document(describe(settings.backends), settings, measured(settings))
    write(options.json, json.dumps(document, indent=None, separators=(",", ":"), ensure_ascii=False) + "\n")
    return document


def write(path: Path, text: str) -> None:
    """Write a file, and its folder where it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    options = parse(arguments)
    if options.list:
        print("\n".join(ROWS))
        return 0
    document = json.loads(options.show.read_text()) if options.show else measure(options)
    page = options.html or (None if options.show else options.json.with_suffix(".html"))
    if page:
        write(page, html.page(document))
    if options.chart:
        write(options.chart, chart.of_ratios(document))
    lines = report.table(document)
    print(report.about(document), end="\n\n")
    print(report.as_markdown(lines) if options.markdown else report.as_text(lines))
    for text in report.failures(document):
        print(f"\n{text}")
    if page:
        print(f"\nreport with plots: {page}")
    return int(report.has_failed(document))


if __name__ == "__main__":
    sys.exit(main())
