"""The crash matrix: in each scenario, the victim is killed at each fault point that it passes.

Called by `make crash`; a developer runs `python tests/crash/run.py queue pool` (scenarios whose name has one of the
words), or `--point heap` (those points only). Builds the package with its fault points into a temporary folder, plays
each scenario once to find out what the victim passes, and then kills it at the first and at the last passage of each
point. A point of the sources that no victim has died at is a failure too. Ends with `N passed, N failed`.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import build

RETRIES = 3


class Tally:
    """What has been seen so far."""

    def __init__(self) -> None:
        self.passed = self.failed = 0
        self.deadly: set[str] = set()

    def fail(self, what: str, why: str) -> None:
        """One case that went wrong."""
        self.failed += 1
        print(f"FAIL {what}\n{why}", flush=True)


def passages(count: int) -> list[int]:
    """At which passages to kill: a few tell all, as each is like one of these."""
    return sorted({1, count})


def play_scenario(name: str, scenario: Callable[..., None], points: Callable[[str], bool], tally: Tally) -> None:
    """One scenario, at every point that its victim passes."""
    from case import run_case

    start = time.monotonic()
    whole = run_case(scenario, None, 0)
    if whole.error:
        tally.fail(f"{name}, nobody killed", whole.error)
        return
    kills, missed, slowest, failed_before = 0, 0, 0.0, tally.failed
    chosen = {point: count for point, count in sorted(whole.passed.items()) if points(point)}
    for point, count in chosen.items():
        for nth in passages(count):
            outcome = run_case(scenario, point, nth)
            for _ in range(RETRIES if nth == 1 else 0):
                if not outcome.killed and not outcome.error:
                    outcome = run_case(scenario, point, nth)
            slowest = max(slowest, outcome.seconds)
            if outcome.error:
                tally.fail(f"{name}, killed at passage {nth} of {point}", outcome.error)
            elif outcome.killed:
                kills += 1
                tally.passed += 1
                tally.deadly.add(point)
            else:
                missed += 1
    verdict = "ok  " if tally.failed == failed_before else "FAIL"
    seconds = time.monotonic() - start
    print(
        f"{verdict} {name}: {len(chosen)} points, {kills} kills, {missed} not reached, {seconds:.1f} s, slowest "
        f"{slowest * 1000:.0f} ms: {' '.join(chosen)}",
        flush=True,
    )


def check_complete(tally: Tally, points: Callable[[str], bool]) -> None:
    """Every fault point of the sources must have killed somebody."""
    for point in build.fault_points():
        if points(point) and point not in tally.deadly:
            tally.fail(point, f"no scenario passes {point}")


def all_scenarios() -> dict[str, Callable[..., None]]:
    """By name, in the order in which they are played."""
    import queue_scenarios

    return {**queue_scenarios.SCENARIOS}


def play_all(arguments: argparse.Namespace) -> int:
    """Play what was asked for, with the package that was built."""
    words = arguments.words

    def wanted_point(point: str) -> bool:
        return arguments.point is None or arguments.point in point

    tally = Tally()
    for name, scenario in all_scenarios().items():
        if not words or any(word.lower() in name.lower() for word in words):
            play_scenario(name, scenario, wanted_point, tally)
    if not words:
        check_complete(tally, wanted_point)
    print(f"{tally.passed} passed, {tally.failed} failed")
    return int(tally.failed > 0 or tally.passed == 0)


def main() -> int:
    """Build, then play."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only scenarios whose name has one of these words")
    parser.add_argument("--point", help="only points whose name has this in it")
    parser.add_argument("--built", type=Path, help="a folder with a package that is built already")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fastmp-crash-") as folder:
        if arguments.built is None:
            build.build(Path(folder))
        sys.path.insert(0, str(arguments.built or folder))
        return play_all(arguments)


if __name__ == "__main__":
    sys.exit(main())
