"""How samples of a time are told: median, 99th percentile and maximum."""

import math
import statistics
from collections.abc import Sequence


def said(name: str, samples_s: Sequence[float]) -> str:
    ordered = sorted(samples_s)
    p99 = ordered[math.ceil(0.99 * len(ordered)) - 1]
    return (
        f"{name}: {len(ordered)} times, median {statistics.median(ordered) * 1_000:.0f} ms, p99 {p99 * 1_000:.0f} ms, "
        f"max {ordered[-1] * 1_000:.0f} ms"
    )
