"""The crash matrix: in each scenario, the victim is killed at each fault point that it passes.

Called by `make crash`; a developer runs `python tests/crash/run.py queue pool` (scenarios whose name has one of the
words), or `--point heap` (those points only). Builds the package with its fault points into a temporary folder, plays
each scenario once to find out what the victim passes, and then kills it at the first and at the last passage of each
point; in the first few scenarios that pass a point it is stopped there as well, and goes on a little later. A point
of the sources that no victim has died at is a failure too. Ends with `N passed, N failed`.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import build

RETRIES = 3
#: In so many scenarios the victim is also stopped at a point, for a while.
STOPS_PER_POINT = 2
ROUND_SECONDS = 60.0


class Tally:
    """What has been seen so far."""

    def __init__(self) -> None:
        self.passed = self.failed = 0
        self.deadly: set[str] = set()
        self.stops_at: Counter[str] = Counter()

    def fail(self, what: str, why: str) -> None:
        """One case that went wrong."""
        self.failed += 1
        print(f"FAIL {what}\n{why}", flush=True)


def passages(count: int) -> list[int]:
    """At which passages to kill: a few tell all, as each is like one of these."""
    return sorted({1, count})


class Series:
    """One scenario, at every point that its victim passes."""

    def __init__(
        self, name: str, scenario: Callable[..., None], is_wanted: Callable[[str], bool], tally: Tally
    ) -> None:
        self.name, self.scenario, self.is_wanted, self.tally = name, scenario, is_wanted, tally
        self.kills = self.stops = self.missed = self.failed = 0
        self.slowest = 0.0
        self.points: dict[str, int] = {}  # passages of each
        self.todo: list[tuple[str, int]] = []

    def play(self) -> None:
        """Find the points, kill at each, print the line."""
        from case import run_case

        start = time.monotonic()
        whole = run_case(self.scenario, None, 0)
        if whole.error:
            self.fail("nobody killed", whole.error)
        self.note_points(whole.passed)
        while self.todo:
            point, nth = self.todo.pop(0)
            self.kill_at(point, nth)
        for point in self.points:
            if self.tally.stops_at[point] < STOPS_PER_POINT:
                self.stop_at(point)
        seconds = time.monotonic() - start
        print(
            f"{'FAIL' if self.failed else 'ok  '} {self.name}: {len(self.points)} points, {self.kills} kills, "
            f"{self.stops} stops, {self.missed} not reached, {seconds:.1f} s, slowest {self.slowest * 1000:.0f} ms: "
            f"{' '.join(sorted(self.points))}",
            flush=True,
        )

    def note_points(self, passed: dict[str, int]) -> None:
        """A point not seen before is on the way of some runs only; it is tried too."""
        for point, count in sorted(passed.items()):
            if point not in self.points and self.is_wanted(point):
                self.points[point] = count
                self.todo += [(point, nth) for nth in passages(count)]

    def kill_at(self, point: str, nth: int) -> None:
        """One case, again if the victim has not come by."""
        from case import run_case

        for _ in range(RETRIES if nth == 1 and point not in self.tally.deadly else 1):
            outcome = run_case(self.scenario, point, nth)
            self.note_points(outcome.passed)
            if outcome.killed or outcome.error:
                break
        self.slowest = max(self.slowest, outcome.seconds)
        if outcome.error:
            self.fail(f"killed at passage {nth} of {point}", outcome.error)
        elif outcome.killed:
            self.kills += 1
            self.tally.passed += 1
            self.tally.deadly.add(point)
        else:
            self.missed += 1

    def stop_at(self, point: str) -> None:
        """One case in which the victim is stopped there for a while."""
        from case import run_case

        outcome = run_case(self.scenario, point, 1, action="stop")
        if outcome.error:
            self.fail(f"stopped at {point}", outcome.error)
        else:
            self.stops += 1
            self.tally.passed += 1
            self.tally.stops_at[point] += 1

    def fail(self, where: str, why: str) -> None:
        self.failed += 1
        self.tally.fail(f"{self.name}, {where}", why)


def play_rounds(words: list[str], seed: int, tally: Tally) -> None:
    """The kills at random moments."""
    from case import run_case
    from rounds import ROUNDS, as_scenario

    for name, (kills, play) in ROUNDS.items():
        if words and not any(word.lower() in name for word in words):
            continue
        outcome = run_case(as_scenario(play, seed), None, 0, ROUND_SECONDS)
        if outcome.error:
            tally.fail(f"{name}, seed {seed}", outcome.error)
        else:
            tally.passed += 1
            print(f"ok   {name}: {kills} kills, {outcome.seconds:.1f} s", flush=True)


def check_complete(tally: Tally, points: Callable[[str], bool]) -> None:
    """Every fault point of the sources must have killed somebody."""
    for point in build.fault_points():
        if points(point) and point not in tally.deadly:
            tally.fail(point, f"no scenario passes {point}")


def all_series(points: Callable[[str], bool], tally: Tally) -> Iterator[Series]:
    """In the order in which they are played."""
    import dict_scenarios
    import heap_scenarios
    import newcomer_scenarios
    import pool_scenarios
    import queue_scenarios
    import sync_scenarios
    import travel_scenarios

    modules = (
        queue_scenarios,
        sync_scenarios,
        heap_scenarios,
        travel_scenarios,
        newcomer_scenarios,
        dict_scenarios,
        pool_scenarios,
    )
    for module in modules:
        for name, scenario in module.SCENARIOS.items():
            only = getattr(module, "ONLY", {}).get(name, ("",))
            yield Series(name, scenario, lambda point, only=only: points(point) and point.startswith(only), tally)


def play_all(arguments: argparse.Namespace) -> int:
    """Play what was asked for, with the package that was built."""
    words = arguments.words

    def wanted_point(point: str) -> bool:
        return arguments.point is None or arguments.point in point

    from groups import adopt_orphans

    adopt_orphans()
    tally = Tally()
    for series in all_series(wanted_point, tally):
        if not words or any(word.lower() in series.name.lower() for word in words):
            series.play()
    if arguments.point is None:
        play_rounds(words, arguments.seed, tally)
    if not words:
        check_complete(tally, wanted_point)
    print(f"{tally.passed} passed, {tally.failed} failed")
    return int(tally.failed > 0 or tally.passed == 0)


def main() -> int:
    """Build, then play."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only scenarios whose name has one of these words")
    parser.add_argument("--point", help="only points whose name has this in it")
    parser.add_argument("--seed", type=int, default=1, help="of the random rounds")
    parser.add_argument("--built", type=Path, help="a folder with a package that is built already")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left behind then either
    with tempfile.TemporaryDirectory(prefix="fastmp-crash-") as folder:
        if arguments.built is None:
            build.build(Path(folder))
        sys.path.insert(0, str(arguments.built or folder))
        return play_all(arguments)


if __name__ == "__main__":
    sys.exit(main())
