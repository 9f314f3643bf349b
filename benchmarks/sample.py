"""One run of one side, and what a row of runs says."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """`cpu_us` is processor time per payout, of all who worked at it; `postgres_cpu_us` the server's part."""

    payouts: int
    seconds: float
    cpu_us: float
    postgres_cpu_us: float
    p99_ms: float | None = None
    p50_ms: float | None = None

    @property
    def per_second(self) -> float:
        return self.payouts / self.seconds

    def document(self) -> dict[str, float]:
        named = {
            "per_second": self.per_second, "cpu_us": self.cpu_us, "postgres_cpu_us": self.postgres_cpu_us,
            "p50_ms": self.p50_ms, "p99_ms": self.p99_ms,
        }
        return {name: round(value, 2) for name, value in named.items() if value is not None}


def median_of(samples: Sequence[Sample], what: Callable[[Sample], float]) -> float:
    return statistics.median(what(sample) for sample in samples)


def rate(sample: Sample) -> float:
    return sample.per_second


def cpu(sample: Sample) -> float:
    return sample.cpu_us
