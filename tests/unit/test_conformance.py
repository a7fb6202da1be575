"""`scripts/conformance.py`: the list of exceptions, and what is made of a run's results."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
LOST, PASSED = "multiprocessing/fork/TestA.test_lost", "multiprocessing/fork/TestA.test_passed"

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def conformance():
    sys.path.insert(0, str(SCRIPTS))
    try:
        spec = importlib.util.spec_from_file_location("conformance_script", SCRIPTS / "conformance.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(SCRIPTS))


@pytest.fixture
def run(conformance):
    results = {
        "meta": {"python": "3.11.7 (main)", "lost": [LOST], "flaky": []},
        "tests": {LOST: ["failed", 1.0], PASSED: ["passed", 0.1], "futures/any/TestB.test_c": ["skipped", 0]},
        "details": {LOST: "Traceback\nAssertionError: no"},
    }
    return conformance.Run("3.11", False, results, {LOST: "passed", PASSED: "passed"})


def test_the_list_is_short_and_gives_reasons(conformance):
    known = conformance.read_exceptions()
    assert len(known) <= conformance.EXCEPTIONS_MAX
    assert all(entry.reason.strip() and set(entry.pythons) <= set(conformance.VERSIONS) for entry in known)


def test_a_list_that_has_grown(conformance, tmp_path, monkeypatch):
    entry = '[[exception]]\ntest = "a"\npythons = ["3.11"]\nreason = "b"\n'
    (tmp_path / "list.toml").write_text(entry * 11)
    monkeypatch.setattr(conformance, "EXCEPTIONS", tmp_path / "list.toml")
    with pytest.raises(SystemExit, match="11 entries"):
        conformance.read_exceptions()


def test_a_lost_test_must_be_on_the_list(conformance, run, capsys):
    assert conformance.unexpected(run, []) == [LOST]
    assert not conformance.show(run, [])
    assert f"LOST: {LOST}" in capsys.readouterr().out
    for pattern, pythons, good in [
        (LOST, ("3.11",), True),
        ("multiprocessing/*/TestA.test_lost", ("3.11",), True),
        (LOST, ("3.12",), False),
        (PASSED, ("3.11",), False),
    ]:
        assert conformance.show(run, [conformance.Known(pattern, pythons, "")]) == good


def test_the_table(conformance, run):
    _, futures, ours = conformance.rows(run)
    assert futures.split() == ["futures/any", "0", "0", "1", "0"]
    assert ours.split() == ["multiprocessing/fork", "2", "1", "0", "1"]


def test_an_entry_that_passes_is_told(conformance, run):
    entries = [
        conformance.Known(pattern, ("3.11",), "")
        for pattern in (LOST, PASSED, "multiprocessing/*/TestA.*", "multiprocessing/spawn/TestA.test_not_run")
    ]
    assert conformance.outlived([run], entries) == [PASSED]


def test_without_the_suites_it_says_so(tmp_path):
    command = [sys.executable, SCRIPTS / "conformance.py", "--suites", tmp_path / "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "SKIPPED" in done.stdout
