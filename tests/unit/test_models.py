"""The runner of `make model`: it forgets no variant, and believes nothing but a complete search."""

import sys
from pathlib import Path

import pytest

MODELS = Path(__file__).resolve().parent.parent / "model"


@pytest.fixture
def runner(monkeypatch):
    monkeypatch.syspath_prepend(MODELS)
    for name in ("run", "runs"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import run

    yield run
    for name in ("run", "runs"):
        sys.modules.pop(name, None)


SOUND = "State-vector 92 byte, depth reached 320, errors: 0\n 337487 states, stored\n"
FOUND = "pan:1: assertion violated (crashes>0) (at depth 153)\nerrors: 1\n"
LOOP = "pan:1: non-progress cycle (at depth 72)\nerrors: 1\n"


def test_each_model_and_each_broken_variant_has_a_run(runner):
    assert runner.forgotten() == []


def test_each_model_stands_for_functions_that_are_there(runner, monkeypatch, tmp_path):
    assert runner.unfounded() == []
    (tmp_path / "made_up.pml").write_text(
        "/*\n * Stands for: csrc/sync/lock.c: fmp_lock_acquire fmp_lock_forget\n */\n"
    )
    (tmp_path / "without.pml").write_text("/* nothing */\n")
    monkeypatch.setattr(runner, "HERE", tmp_path)
    assert runner.unfounded() == ["made_up: fmp_lock_forget is not in csrc/sync/lock.c", "without: stands for nothing"]


@pytest.mark.parametrize(
    ("report", "sound", "broken"),
    [
        pytest.param(SOUND, True, False, id="nothing found"),
        pytest.param(FOUND, False, True, id="assertion"),
        pytest.param(LOOP, False, True, id="cycle"),
        pytest.param("pan:1: invalid end state\nerrors: 1\n", False, False, id="another error"),
        pytest.param(SOUND + "error: max search depth too small\n", False, False, id="too deep"),
        pytest.param(SOUND + "pan: reached -DMEMLIM bound\nWarning: Search not completed\n", False, False, id="memory"),
        pytest.param("", False, False, id="no report"),
    ],
)
def test_the_verdict(runner, report, sound, broken):
    assert runner.judge(runner.Run("ring", "sound"), report)[1] is sound
    assert runner.judge(runner.Run("ring", "X", "BROKEN_X"), report)[1] is broken


def test_without_spin_it_tells_what_to_install(runner, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert runner.main() == 2
    assert "install spin: apt-get install spin" in capsys.readouterr().err
