"""How much of the scores each setting explains.

A random forest (Breiman 2001, doi:10.1023/A:1010933404324) learns scores from settings; then one
setting's values are shuffled among the trials, and the forest's error grows by what it knew of it.
Whether the forest knows anything, the trials that each of its trees has not seen say.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance

from tfhub_transfer.evaluation.search.trials import TrialRow
from tfhub_transfer.training.search_space import Choice, Space

__all__ = ["EPOCHS", "Importances", "encoded", "importances"]

EPOCHS = "epochs, by hyperband"
_TREES, _SHUFFLES = 300, 20
_FEW_TRIALS = 10
_LITTLE = 0.1  # of the scores' variance


@dataclass(frozen=True)
class Importances:
    """Of each setting of a space.

    Attributes:
        shares: of the variance of the scores that is lost without it, by name, the largest first.
        explained: of the variance of the scores of trials that trees have not seen.
        note: why it means little; None if it means something.
    """

    shares: dict[str, float]
    explained: float
    note: str | None


def importances(rows: Sequence[TrialRow], space: Space) -> Importances | None:
    """Return the importance of each setting; None from too few trials, or if all score alike.

    Args:
        rows: the trials.
        space: what they were drawn from.
    """
    finished = [row for row in rows if row.score is not None]
    scores = np.array([row.score for row in finished])
    needed = max(_FEW_TRIALS, 2 * len(space.dimensions))
    if len(finished) < _FEW_TRIALS or not scores.std():
        return None
    columns = {dimension.name: encoded(dimension, finished) for dimension in space.dimensions}
    if any(row.result.stopped == "hyperband" for row in finished):
        columns[EPOCHS] = np.array([float(row.result.epochs) for row in finished])
    table = np.stack(list(columns.values()), axis=1)
    # ranks, so that a trial that diverged does not outweigh all others
    ranks = scores.argsort().argsort() / len(scores)
    forest = RandomForestRegressor(
        _TREES, min_samples_leaf=2, oob_score=True, random_state=0
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Some inputs do not have OOB scores")
        forest.fit(table, ranks)
    shuffled = permutation_importance(forest, table, ranks, n_repeats=_SHUFFLES, random_state=0)
    shares = dict(zip(columns, np.maximum(shuffled.importances_mean, 0.0).tolist(), strict=True))
    explained = float(forest.oob_score_)
    note = None
    if explained < _LITTLE:
        note = (
            "the forest predicts hardly anything of trials that it has not seen, so that the "
            "bars are chance"
        )
    elif len(finished) < needed:
        note = f"{len(finished)} trials are few for {len(columns)} settings: the bars may be chance"
    return Importances(
        dict(sorted(shares.items(), key=lambda item: -item[1])), explained, note
    )


def encoded(dimension: Any, rows: Sequence[TrialRow]) -> np.ndarray:
    """Return float[N], where between 0 and 1 each trial's value stands in its dimension.

    Values of a list stand evenly, as `ordered` has them.
    """
    values = [row.settings[dimension.name] for row in rows]
    if isinstance(dimension, Choice):
        order = ordered(dimension)
        return np.array([order.index(value) / max(1, len(order) - 1) for value in values])
    low, high = dimension.low, dimension.high
    # the configuration's own may be none, or lie outside
    inside = [dimension.start if value is None else dimension.within(value) for value in values]
    if dimension.log:
        return np.log(np.array(inside) / low) / np.log(high / low)
    return (np.array(inside) - low) / (high - low)


def ordered(dimension: Choice) -> list[Any]:
    """Return the values of a list, numbers and lists in ascending order."""
    values = list(dimension.values)
    kinds = {type(value) for value in values}
    return sorted(values) if kinds <= {int, float} or kinds == {list} else values
