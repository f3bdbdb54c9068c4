"""How far a number measured on a test set may be from the number it estimates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Statistic = Callable[[Array], float]
"""A number computed from row weights float64[N]: how often each test row counts."""


def resample_weights(n: int, resamples: int, seed: int) -> Iterator[Array]:
    """Yield, for each bootstrap resample of `n` rows, how often each row is in it: float64[n].

    One resample is in memory at a time. Statistics of two models under the same weights are
    paired.
    """
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn = generator.integers(n, size=n)
        yield np.bincount(drawn, minlength=n).astype(np.float64)


def bootstrap_intervals(
    statistics: Mapping[str, Statistic], n: int, *, resamples: int = 1000, seed: int = 0
) -> dict[str, list[float]]:
    """Return the 95% percentile interval `[low, high]` of each statistic, all on the same draws."""
    drawn = np.array(
        [
            [statistic(weights) for statistic in statistics.values()]
            for weights in resample_weights(n, resamples, seed)
        ]
    )
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return {name: [float(low[i]), float(high[i])] for i, name in enumerate(statistics)}
