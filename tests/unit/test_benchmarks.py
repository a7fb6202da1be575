"""The benchmarks: every row runs on fastmp; the runner survives cases that hang, crash or compute wrong results."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fastmp
from fastmp import __main__ as entry

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # last: fastmp itself stays the one that is under test

from benchmarks import __main__ as command  # noqa: E402
from benchmarks import report, runner, targets  # noqa: E402
from benchmarks.backends import Backend, CannotMeasureError  # noqa: E402
from benchmarks.measure import ROWS, TIME, Row, Watch, WrongResultError  # noqa: E402

SMALL = {
    "queue_idle_cpu": 1,
    "queue_bytes_64k": 20,
    "pipe_bytes_1M": 3,
    "ndarray_64MB_queue": 1,
    "pool_startup_shutdown": 2,
    "process_start_join": 4,
}
LIMIT = 20.0


@pytest.mark.parametrize("name", ROWS)
def test_row_on_fastmp(name: str) -> None:
    backend = Backend("fastmp")
    assert backend.Queue == fastmp.Queue
    watch = Watch(0)
    try:
        ROWS[name].function(backend, SMALL.get(name, 40), watch)
    except CannotMeasureError as reason:
        pytest.skip(str(reason))
    assert len(watch.rounds) == 1
    assert watch.rounds[0] > 0


def test_every_row_has_its_goal() -> None:
    assert set(ROWS) == set(targets.GOAL)
    assert set(targets.STAGE) | set(targets.GOAL_ONE_CORE) <= set(targets.GOAL)


def test_backend_without_a_name_cannot_be_measured() -> None:
    with pytest.raises(CannotMeasureError, match="stdlib has no Wheel"):
        _ = Backend("stdlib").Wheel


def test_first_round_is_dropped_if_there_are_others() -> None:
    watch = Watch(60)
    rounds = iter(watch)
    for seconds in (9.0, 1.0, 2.0):
        next(rounds)
        watch.add(seconds)
    assert watch.rounds == [1.0, 2.0]


def test_round_without_a_time_is_an_error() -> None:
    rounds = iter(Watch(60))
    next(rounds)
    with pytest.raises(WrongResultError, match="without a time"):
        next(rounds)


def test_run_of_the_standard_library(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = tmp_path / "run.json"
    arguments = ["lock_with", "pool_map_s*", "--quick", "-n", "2", "--backends", "stdlib"]
    assert command.main([*arguments, "--json", str(written)]) == 0
    document = json.loads(written.read_text())
    assert {entry["metadata"]["name"] for entry in document["benchmarks"]} == {"lock_with", "pool_map_small"}
    assert all("median" in run for entry in document["benchmarks"] for run in entry["runs"])
    capsys.readouterr()
    assert command.main(["--show", str(written), "--markdown"]) == 0
    assert "| lock_with |" in capsys.readouterr().out


def test_fastmp_bench_in_the_source_folder(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(entry, "__file__", str(ROOT / "fastmp" / "__main__.py"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert entry.main(["bench", "--list"]) == 0
    assert capsys.readouterr().out.split() == list(ROWS)


def test_fastmp_bench_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(entry, "__file__", str(tmp_path / "fastmp" / "__main__.py"))
    assert entry.main(["bench"]) == entry.BAD_USAGE
    assert "only in the source folder" in capsys.readouterr().err


def test_unknown_rows_and_backends_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["no_such_row"], ["--backends", "stdlib,nobody"], ["-n", "0"]):
        with pytest.raises(SystemExit):
            command.main(arguments)
    assert "no such row: no_such_row" in capsys.readouterr().err


def test_process_over_its_limit_is_ended_with_its_children() -> None:
    code = "import os, time; os.fork(); print('begun', flush=True); time.sleep(60)"
    ended, output, _ = runner.run_process([sys.executable, "-c", code], 1.0)
    assert ended is None
    assert output.startswith("begun")


def test_process_that_leaves_a_child_does_not_hold_up_the_run() -> None:
    code = "import os, time\nif os.fork() == 0:\n    time.sleep(60)\nprint('done', flush=True)"
    ended, output, _ = runner.run_process([sys.executable, "-c", code], LIMIT)
    assert (ended, output) == (0, "done\n")


def outcomes(settings: runner.Settings) -> Iterator[tuple[runner.Case, dict[str, Any]]]:
    for case in runner.cases(settings):
        yield case, runner.run(case, settings)


def test_case_that_fails_is_reported() -> None:
    row = Row("no_such_row", TIME, 1, lambda *_: None)
    settings = runner.Settings((row, ROWS["lock_with"]), ("stdlib",), repetitions=1, shrink=1000, seconds=0.01)
    document = report.document({"versions": {"stdlib": "x"}, "cores": 2}, settings, outcomes(settings))
    assert report.has_failed(document)
    (text,) = report.failures(document)
    assert "no_such_row on stdlib: exit code 1" in text
    assert "KeyError" in text
    _, failed, good = report.table(document)
    assert failed[1] == "failed"
    assert good[1].endswith("ns")


def test_backends_are_interleaved() -> None:
    settings = runner.Settings((ROWS["lock_with"],), ("stdlib", "fastmp"), repetitions=2)
    order = [(case.repetition, case.backend) for case in runner.cases(settings)]
    assert order == [(0, "stdlib"), (0, "fastmp"), (1, "stdlib"), (1, "fastmp")]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(3.21e-8, "s", "32.1 ns"), (1.5e-3, "s", "1.50 ms"), (12.3e6, "1/s", "12.3 M/s"), (4.5e8, "B/s", "450 MB/s")],
)
def test_values_are_readable(value: float, unit: str, text: str) -> None:
    assert report.si(value, unit) == text


def test_ratio_is_above_one_where_fastmp_is_better() -> None:
    faster, slower = report.Cell(1e-6, 0, ""), report.Cell(4e-6, 0, "")
    assert report.judged("value_read", [slower, faster], False, targets.GOAL) == ["4.0x", "-", "4 met"]
    assert report.judged("queue_small", [faster, slower], True, {}) == ["4.0x", "15 not met", "-"]


def test_never_worse_allows_for_noise() -> None:
    assert report.verdict(0.96, 1) == "1 met"
    assert report.verdict(0.94, 1) == "1 not met"
    assert report.verdict(1.99, 2) == "2 not met"
