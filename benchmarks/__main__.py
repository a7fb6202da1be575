"""`python -m benchmarks`, `make bench`, `fastmp bench`: measure, show the table, write the JSON.

Exit code 0 also where a row falls short of its target: this is a measurement, not a test. 1 if a case could not be run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from . import report
from .backends import BACKENDS
from .machine import describe
from .measure import Row
from .rows import ROWS
from .runner import ROOT, Case, Settings, cases, run

QUICK = {"repetitions": 1, "shrink": 10, "seconds": 0.1, "limit": 20.0}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="rows to measure; queue_* for a family; default: all")
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    parser.add_argument("--quick", action="store_true", help="once, small rounds: under two minutes")
    parser.add_argument("-n", "--repetitions", type=int, help="of each case, default 3")
    parser.add_argument("--cores", type=int, help="use only so many cores")
    parser.add_argument("--limit", type=float, help="seconds after which a case is ended, default 60")
    parser.add_argument(
        "--backends", default="stdlib,fastmp", help=f"of {', '.join(BACKENDS)}; the first is the reference"
    )
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "bench.json", help="where to write the JSON")
    parser.add_argument("--show", type=Path, metavar="JSON", help="show the table of an earlier run")
    parser.add_argument("--markdown", action="store_true", help="the table as Markdown")
    options = parser.parse_args(arguments)
    check_options(parser, options)
    return options


def check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with a message where something named is not there."""
    unknown = [name for name in options.backends.split(",") if name not in BACKENDS]
    if unknown:
        parser.error(f"no such backend: {', '.join(unknown)}")
    for pattern in options.rows:
        if not matching(pattern):
            parser.error(f"no such row: {pattern} (--list names them)")
    for name in ("repetitions", "cores", "limit"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            parser.error(f"--{name} must be above 0")


def matching(pattern: str) -> list[Row]:
    """Return the rows that a name, or the beginning of one with *, stands for."""
    if pattern.endswith("*"):
        return [row for name, row in ROWS.items() if name.startswith(pattern[:-1])]
    return [ROWS[pattern]] if pattern in ROWS else []


def settings_from(options: argparse.Namespace) -> Settings:
    """Return what the command line asks for."""
    chosen = {row for pattern in options.rows or ["*"] for row in matching(pattern)}
    given = {name: getattr(options, name) for name in ("repetitions", "limit") if getattr(options, name) is not None}
    times: dict[str, Any] = {**(QUICK if options.quick else {}), **given}
    rows = tuple(row for row in ROWS.values() if row in chosen)
    return Settings(rows, tuple(options.backends.split(",")), **times)


def measured(settings: Settings) -> Iterator[tuple[Case, dict[str, Any]]]:
    """Run all cases and tell of each as it ends."""
    for case in cases(settings):
        outcome = run(case, settings)
        what = report.one_run(outcome, case.row.unit.name)
        print(f"{case.row.name} {case.backend} {case.repetition + 1}: {what}", file=sys.stderr, flush=True)
        yield case, outcome


def measure(options: argparse.Namespace) -> report.Document:
    """Run everything that is asked for and write the JSON."""
    if options.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    settings = settings_from(options)
    document = report.document(describe(settings.backends), settings, measured(settings))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(document, indent=None, separators=(",", ":"), ensure_ascii=False) + "\n")
    return document


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    options = parse(arguments)
    if options.list:
        print("\n".join(ROWS))
        return 0
    document = json.loads(options.show.read_text()) if options.show else measure(options)
    lines = report.table(document)
    print(report.about(document), end="\n\n")
    print(report.as_markdown(lines) if options.markdown else report.as_text(lines))
    for text in report.failures(document):
        print(f"\n{text}")
    return int(report.has_failed(document))


if __name__ == "__main__":
    sys.exit(main())
