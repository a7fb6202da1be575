"""The simulation of many cores: it neither makes nor loses messages, and shows what it was written for."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2]))

from benchmarks.manycore import CELLS, Line, Machine, main, simulate

pytestmark = pytest.mark.once
MACHINE = Machine()
LONG = 50_000.0  # nanoseconds


@pytest.mark.parametrize("cores", [2, 16, 64])
@pytest.mark.parametrize("shards", [1, 2])
def test_what_was_put_is_got_or_still_there(cores, shards):
    counts = simulate(MACHINE, cores, LONG, shards=shards)
    assert counts.got > 50
    assert 0 <= counts.put - counts.got <= CELLS * shards


def test_the_same_run_twice():
    assert simulate(MACHINE, 16, LONG, pause=1000) == simulate(MACHINE, 16, LONG, pause=1000)


def test_rings_of_their_own_help_where_many_share_one():
    one, many = (simulate(MACHINE, 64, LONG, shards=shards).got for shards in (1, 8))
    assert many > 4 * one


def test_readers_share_a_line_and_a_writer_has_it_alone():
    line = Line()
    assert line.access(MACHINE, 1, 0, write=False) == MACHINE.near
    assert line.access(MACHINE, 1, 50, write=False) == 50 + MACHINE.own
    assert line.access(MACHINE, 127, 100, write=True) == 100 + MACHINE.far
    assert line.copies == {127}
    assert line.access(MACHINE, 1, 100, write=True) == 100 + 2 * MACHINE.far  # after the one before it


def test_table(capsys):
    main(["--microseconds", "5"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9
    assert all(line.count("|") == 5 for line in lines)
