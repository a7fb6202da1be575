"""Random killing: processes at work on every kind of object are killed, stopped and followed by others, at random.

Called by `make chaos`. A developer runs `python tests/chaos/run.py queue lock` (those worlds only), with `--seconds` or
`--kills` for how long, and `--seed`: it determines each episode's seed, worlds and plan. One episode again: `--episode
SEED queue` with what the failure has printed. What is checked: everybody alive makes progress, nothing arrives twice or
out of order, no more is lost than the dead had in hand, what a lock guards is whole, and afterwards the memory is back,
the descriptors are, and nobody is left. With `--storm` the package is built with its fault points, and at each of them
an actor may die, or pause, by chance: kills in the middle of the protocols, of several processes at a time.
Ends with `N episodes, N kills, ... N failed`.
"""

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("worlds", nargs="*", help="only these worlds")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--kills", type=int, help="so many, however long it takes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--each", type=int, help="kills of one episode")
    parser.add_argument("--episode", type=int, help="the one episode with this seed, of the worlds named")
    parser.add_argument("--storm", action="store_true", help="with fault points compiled in, any of which may kill")
    parser.add_argument("--built", type=Path, help="a folder with a package with fault points that is built already")
    parser.add_argument("--json", type=Path, help="write the summary there")
    parser.add_argument("--verbose", action="store_true", help="a line for each episode")
    return parser.parse_args()


def report(found: dict[str, object]) -> None:
    """The last two lines."""
    kills_of = found["kills_of"]
    assert isinstance(kills_of, dict)
    print("kills by world: " + ", ".join(f"{name} {count}" for name, count in kills_of.items()))
    print(
        "{episodes} episodes, {kills} kills, {stops} stops, {starts} processes, {turns} turns in {seconds} s "
        "({kills_per_second} kills/s), longest {longest_without_progress} s without progress, {failed} failed".format(
            **found
        )
    )


def main() -> int:
    """Build if need be, then play."""
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left behind then either
    sys.path.insert(0, str(HERE.parent / "crash"))
    with tempfile.TemporaryDirectory(prefix="fastmp-chaos-") as folder:
        package = ROOT
        if arguments.storm:
            package = arguments.built or Path(folder)
            if arguments.built is None:
                import build

                build.build(package)
        sys.path.insert(0, str(package))
        from season import play_season

        found = play_season(arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    report(found)
    return int(found["failed"] != 0 or found["kills"] == 0)


if __name__ == "__main__":
    sys.exit(main())
