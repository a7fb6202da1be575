"""Whether a series of samples grows: Theil-Sen's slope and Kendall's test, which a few wild samples do not mislead.

Called by: run.py, tests/unit/test_soak.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

#: Samples compared, pair by pair; of more, every so-manieth.
PAIRS_OF = 300
#: Growth that chance would show less than once in a thousand runs.
SURE = 3.1
#: The first part of a run, in which caches fill, does not count.
WARM_UP = 0.25


@dataclass(frozen=True)
class Trend:
    """`growth` over the part of the run that counts, `sureness` in standard deviations, `level` the median."""

    growth: float
    sureness: float
    level: float

    def is_upward(self, at_least: float) -> bool:
        """Whether it has surely grown, and by more than a twentieth of its level and `at_least`."""
        return self.sureness > SURE and self.growth > max(at_least, self.level / 20)


def trend_of(times: Sequence[float], values: Sequence[float]) -> Trend:
    """The trend of the samples after the warm-up."""
    first = int(len(times) * WARM_UP)
    step = max(1, (len(times) - first) // PAIRS_OF)
    points = list(zip(times, values, strict=True))[first::step]
    if len(points) < 3:
        return Trend(0.0, 0.0, points[-1][1] if points else 0.0)
    slopes, sign = [], 0
    for i, (t1, v1) in enumerate(points):
        for t2, v2 in points[i + 1 :]:
            slopes.append((v2 - v1) / (t2 - t1))
            sign += (v2 > v1) - (v2 < v1)
    n = len(points)
    deviation = math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    growth = median(slopes) * (points[-1][0] - points[0][0])
    return Trend(growth, sign / deviation, median(value for _, value in points))
