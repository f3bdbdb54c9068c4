"""Is one method better than another, or were the seeds and the test rows kind to it?

Both matter. A few labelled examples drawn anew, or another order of training, move an accuracy by
points, whatever the size of the test set; and so do other test rows. A test that counts rows alone,
over all seeds, calls differences certain that the next seed turns round. So seeds and rows are both
taken as samples, crossed with each other, after Clark 1973, "The language-as-fixed-effect fallacy"
(doi:10.1016/S0022-5371(73)80014-3): min F', of which `compare` gives the square root, a t with
Satterthwaite's 1946 degrees of freedom (doi:10.2307/3002019). Of one seed it is the paired t test
over rows. Many comparisons in a table are corrected after Holm 1979 (jstor.org/stable/4615733).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from tfhub_transfer.evaluation.bootstrap import Array

__all__ = ["Difference", "compare", "holm"]


@dataclass(frozen=True)
class Difference:
    """Of two methods on the same seeds and rows.

    Attributes:
        mean: the first's score less the second's.
        low: the lower end of its 95% interval.
        high: its upper end.
        p: of a difference this large, either way, where there is none.
    """

    mean: float
    low: float
    high: float
    p: float


def compare(ours: Sequence[Array], theirs: Sequence[Array], *, same_rows: bool) -> Difference:
    """Compare two methods' scores, row by row.

    The difference's variance is that of its seed means over the number of seeds, plus that of its
    row means over the number of rows. What seeds and rows do to each other is in both, so that the
    test errs on the careful side.

    Args:
        ours: for each seed, a score of each test row, float[N] or bool[N]; higher is better.
        theirs: the same of the other method.
        same_rows: whether a row's number stands for the same text under all seeds. Where it does
            not, as of a test split drawn with the seed, the spread of the seeds holds that of the
            rows already; but of few seeds that may come out small by chance, so the variance is
            at least that of the rows within the seeds.
    """
    differences = [
        one.astype(np.float64) - other for one, other in zip(ours, theirs, strict=True)
    ]
    by_seed = np.array([difference.mean() for difference in differences])
    mean, parts = float(by_seed.mean()), []  # of the variance, each with its degrees of freedom
    seeds = len(differences)
    if seeds > 1:
        parts.append((by_seed.var(ddof=1) / seeds, seeds - 1))
    if not same_rows and seeds > 1:
        rows = sum(len(difference) for difference in differences)
        within = [d.var(ddof=1) / len(d) for d in differences if len(d) > 1]
        if within:
            parts = [max(parts[0], (float(np.mean(within)) / seeds, rows - seeds))]
    else:
        by_row = np.mean(differences, axis=0)
        if len(by_row) > 1:
            parts.append((by_row.var(ddof=1) / len(by_row), len(by_row) - 1))
    variance = sum(part for part, _ in parts)
    if not variance:
        # no spread to judge by: the same everywhere, or a single row
        spread = 0.0 if parts else float("inf")
        return Difference(mean, mean - spread, mean + spread, 1.0 if spread or not mean else 0.0)
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    error = float(np.sqrt(variance))
    spread = error * float(stats.t.ppf(0.975, freedom))
    p = 2 * float(stats.t.sf(abs(mean) / error, freedom))
    return Difference(mean, mean - spread, mean + spread, p)


def holm(ps: Sequence[float]) -> list[float]:
    """Return p values, corrected so that 5% is the chance of any false alarm among them."""
    adjusted = [0.0] * len(ps)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = largest
    return adjusted
