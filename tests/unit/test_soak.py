"""The long run (tests/soak): what it takes for growth, and that a short one ends well."""

import json
import random
import sys
from pathlib import Path

import pytest
from support.programs import python

SOAK = Path(__file__).resolve().parent.parent / "soak"
pytestmark = pytest.mark.skipif(not SOAK.is_dir(), reason="the tests alone, without the long run")


@pytest.fixture
def trend_of(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SOAK))
    yield __import__("trend").trend_of
    sys.modules.pop("trend")


TIMES = [float(second) for second in range(200)]


def test_a_leak_is_found_under_noise(trend_of):
    draw = random.Random(1)
    leak = trend_of(TIMES, [1000 + 2 * t + draw.uniform(-100, 100) for t in TIMES])
    assert leak.is_upward(50)
    assert 250 < leak.growth < 350  # over the part that counts


def test_noise_and_wild_samples_are_no_trend(trend_of):
    draw = random.Random(1)
    values = [1000 + draw.uniform(-100, 100) for _ in TIMES]
    values[190:] = [9e9] * 10
    assert not trend_of(TIMES, values).is_upward(50)


def test_a_warm_up_is_no_trend(trend_of):
    assert not trend_of(TIMES, [min(t, 40.0) * 100 for t in TIMES]).is_upward(50)


def test_a_trend_too_small_to_matter_is_none(trend_of):
    assert not trend_of(TIMES, [1000 + t / 100 for t in TIMES]).is_upward(50)


@pytest.mark.time_limit(120)
def test_a_short_run_ends_well_and_draws_a_plot(tmp_path):
    result = python(SOAK / "run.py", "--minutes", "0.05", "--out", tmp_path)
    assert "0 wrong" in result.stdout, result.stdout + result.stderr
    assert result.returncode == 0
    assert (tmp_path / "soak.svg").read_text().startswith("<svg")
    assert all(json.loads((tmp_path / "soak.json").read_text())["counts"].values())
