"""The benchmarks: every row runs on fastmp; the runner survives cases that hang, crash or compute wrong results."""

import io
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
from benchmarks.backends import (  # noqa: E402
    BACKENDS,
    Backend,
    CannotMeasureError,
    is_installed,
    is_measured,
    version,
)
from benchmarks.measure import PERCENTILES, ROWS, TIME, Row, Watch, WrongResultError  # noqa: E402
from benchmarks.progress import Progress  # noqa: E402

pytestmark = pytest.mark.once
SMALL = {
    "queue_idle_cpu": 1,
    "queue_bytes_64k": 20,
    "pipe_bytes_1M": 3,
    "ndarray_64MB_queue": 1,
    "pool_startup_shutdown": 2,
    "process_start_join": 4,
    "process_start_join_1GB": 1,
    "ndarray_64MB_pool": 1,
    "ndarray_64MB_executor": 1,
    "shared_array_64MB": 1,
    "size:queue:4194304": 2,
    "size:pipe:4194304": 2,
    "size:queue:33554432": 1,
    "size:pipe:33554432": 1,
}
LIMIT = 20.0


@pytest.mark.parametrize("name", ROWS)
def test_row_on_fastmp(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.rows.process.HELD_BYTES", 1 << 22)
    backend = Backend("fastmp")
    assert backend.Queue == fastmp.Queue
    watch = Watch(0)
    try:
        ROWS[name].function(backend, SMALL.get(name, 40), watch)
    except CannotMeasureError as reason:
        pytest.skip(str(reason))
    assert len(watch.rounds) == 1
    assert watch.rounds[0] > 0


def test_the_round_that_warms_up_never_counts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even if the time is over when it ends."""
    monkeypatch.setattr("benchmarks.measure.clock", iter(range(0, 1000, 60)).__next__)
    watch = Watch(0.5)
    for number in watch:
        watch.add(7.0 if number == 0 else 1.0)
    assert watch.rounds == [1.0]


def test_every_row_has_its_goal() -> None:
    curves = {name for name, row in ROWS.items() if row.series or name.startswith("latency:")}
    assert set(ROWS) - curves == set(targets.GOAL)
    assert set(targets.REFERENCE) | set(targets.GOAL_ONE_CORE) <= set(targets.GOAL)


def test_row_is_measured_where_it_has_a_meaning() -> None:
    assert is_measured("stdlib", "executor_submit")
    assert not is_measured("billiard", "executor_submit")
    assert is_measured("billiard", "event_pingpong")
    assert is_measured("faster-fifo", "queue_put_get_many")
    assert not is_measured("faster-fifo", "lock_with")


@pytest.mark.parametrize("name", [name for name in BACKENDS if name not in ("ray", "loky", "joblib")])
def test_peer_is_measured_where_it_is_installed(name: str) -> None:
    if not is_installed(name):
        pytest.skip(f"{name} is not installed")
    row = next(row for row in ("queue_small", "pool_map_small", "executor_submit") if is_measured(name, row))
    settings = runner.Settings((ROWS[row],), (name,), repetitions=1, shrink=1000, seconds=0)
    (case,) = runner.cases(settings)
    assert "median" in runner.run(case, settings)
    assert version(name)


def test_errors_that_are_kept_name_no_folder() -> None:
    said = 'Traceback:\n  File "/a/folder/case.py", line 3, in main\n  File "<string>", line 1\nOSError: 5 / 2'
    assert runner.without_folders(said) == said.replace("/a/folder/", "")


def test_operations_that_are_timed_one_by_one_make_a_distribution() -> None:
    watch = Watch(60)
    rounds = iter(watch)
    for seconds in ([9.0, 9.0], [1.0, 2.0], [4.0, 3.0]):
        next(rounds)
        watch.each(seconds)
    assert watch.rounds == [3.0, 7.0]
    assert watch.distribution[0] == 1.0
    assert watch.distribution[-1] == 4.0
    assert len(watch.distribution) == len(PERCENTILES)


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


def a_run(tmp_path: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    written = tmp_path / "run.json"
    assert command.main([*arguments, "--quick", "--json", str(written)]) == 0
    return json.loads(written.read_text()), written.with_suffix(".html").read_text()


def test_report_has_bars_curves_and_percentiles(tmp_path: Path) -> None:
    _, page = a_run(tmp_path, "lock_with", "size:queue:64", "size:queue:1024", "latency:pipe")
    assert page.count("<svg") == 3
    for text in ("lock_with", "by the size of a message", "Round trip over a Pipe", "p99.9", "fastmp"):
        assert text in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")  # nothing is fetched


def test_copies_at_once_and_one_core(tmp_path: Path) -> None:
    document, _ = a_run(tmp_path, "lock_with", "--oversubscribed", "--one-core", "--backends", "fastmp")
    assert document["metadata"]["copies"] == 2
    assert document["metadata"]["cores"] == 1
    assert document["benchmarks"][0]["metadata"]["backend"] == "fastmp"


def test_chart_of_the_readme_is_that_of_the_last_kept_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = max((ROOT / "benchmarks" / "results").glob("*.json"))
    command.main(["--show", str(kept), "--chart", str(tmp_path / "chart.svg")])  # 1 if a peer's case failed in it
    capsys.readouterr()
    made = (tmp_path / "chart.svg").read_text()
    assert made == (ROOT / "docs" / "bench.svg").read_text(), (
        f"make bench.svg anew: --show {kept} --chart docs/bench.svg"
    )


def test_bar_of_a_run() -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    progress = Progress(2, terminal)
    progress.begin("queue_small fastmp 1")
    progress.end("queue_small fastmp 1", "5 M/s")
    progress.close()
    assert "0/2 queue_small fastmp 1" in terminal.getvalue()
    assert "1/2, 0:00 left" in terminal.getvalue()


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


def test_cases_are_compiled_modules_on_the_backend_that_they_name(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("FASTMP_INSTALL", "PYTHONDONTWRITEBYTECODE")
    for name in names:
        monkeypatch.setenv(name, "1")
    code = f"import os; print([name for name in {names} if name in os.environ])"
    ended, output, _ = runner.run_process([sys.executable, "-P", "-S", "-c", code], LIMIT)
    assert (ended, output) == (0, "[]\n")


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
    [
        (3.21e-8, "s", "32.1 ns"),
        (1e-7, "s", "100 ns"),
        (1.5e-3, "s", "1.50 ms"),
        (12.3e6, "1/s", "12.3 M/s"),
        (4.5e8, "B/s", "450 MB/s"),
    ],
)
def test_values_are_readable(value: float, unit: str, text: str) -> None:
    assert report.si(value, unit) == text


def test_ratio_is_above_one_where_fastmp_is_better() -> None:
    cells = {
        name: report.Cell(value, 0, "", []) for name, value in (("stdlib", 4e-6), ("fastmp", 1e-6), ("loky", 2e-6))
    }
    line = report.Line("value_read", "s", False, cells, "", 0)
    assert line.ratio("fastmp", "stdlib") == 4
    assert line.best_peer() == "loky"
    assert report.verdict(line, targets.GOAL) == "4 met"
    assert report.peer_texts(line) == ["2.00 µs loky", "2.00x"]
    assert line._replace(larger_is_better=True).ratio("fastmp", "stdlib") == 0.25


def test_goal_against_a_peer() -> None:
    cells = {name: report.Cell(value, 0, "", []) for name, value in (("faster-fifo", 1.0), ("fastmp", 59.0))}
    line = report.Line("queue_put_get_many", "1/s", True, cells, "", 0)
    assert report.verdict(line, targets.GOAL) == "60 of faster-fifo not met"


def test_never_worse_allows_for_noise() -> None:
    assert report.is_met(0.96, 1)
    assert not report.is_met(0.94, 1)
    assert not report.is_met(1.99, 2)
