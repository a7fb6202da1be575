"""How many workers there are if nobody says: the affinity, the control groups, the user's word."""

import os
import subprocess
import sys

import pytest

import fastmp
from fastmp import _cpus


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Control groups of our own: `groups(lines of /proc/self/cgroup, {file: text})`."""

    def make(own, files):
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    monkeypatch.setattr(_cpus, "OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(_cpus, "CGROUPS", tmp_path / "root")
    monkeypatch.setattr(_cpus, "_affinity", lambda: 8)
    monkeypatch.setattr(os, "process_cpu_count", lambda: 8, raising=False)
    monkeypatch.delenv("PYTHON_CPU_COUNT", raising=False)
    return make


@pytest.mark.parametrize(
    ("own", "files", "count"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "250000 100000\n"}, 3),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n"}, 2),
        ("0::/a/b\n", {"a/b/cpu.max": "10000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "400000 100000\n"}, 4),
        ("0::/\n", {"cpu.max": "9900000 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "what?\n"}, 8),
        ("0::/\n", {}, 8),
        ("", {}, 8),
        ("4:cpu,cpuacct:/a\n", {"cpu/a/cpu.cfs_quota_us": "150000\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, 2),
        ("4:cpu,cpuacct:/a\n", {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, 8),
        ("3:memory:/a\n", {"cpu/a/cpu.cfs_quota_us": "100000\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, 8),
    ],
)
def test_quotas(groups, own, files, count):
    groups(own, files)
    assert _cpus.usable_cpus() == count


def test_no_control_groups(groups):
    assert _cpus.usable_cpus() == 8


def test_pools_and_executors_keep_to_it(groups):
    groups("0::/\n", {"cpu.max": "100000 100000\n"})
    with fastmp.Pool() as pool:
        assert pool._processes == 1
    with fastmp.ProcessPoolExecutor() as executor:
        assert executor._max_workers == 1
    assert fastmp.cpu_count() == os.cpu_count()


def test_affinity():
    one = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, [{one}]); from fastmp._cpus import usable_cpus; print(usable_cpus())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True).stdout == b"1\n"


@pytest.mark.skipif(sys.version_info < (3, 13), reason="from 3.13 on")
def test_what_the_user_says_counts(groups, monkeypatch):
    groups("0::/\n", {"cpu.max": "100000 100000\n"})
    monkeypatch.setenv("PYTHON_CPU_COUNT", "8")
    assert _cpus.usable_cpus() == 8
