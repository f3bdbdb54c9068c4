"""How well entities were found: precision, recall and F1, as conlleval and seqeval count them.

An entity is right if its type and both of its boundaries are (Tjong Kim Sang and De Meulder 2003,
"Introduction to the CoNLL-2003 Shared Task", section 2.4). Sequences are read as conlleval reads
them, broken ones included; see `data.schemes`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfhub_transfer.data.schemes import Entity, entities
from tfhub_transfer.errors import DataError
from tfhub_transfer.evaluation.bootstrap import Array, Statistic, bootstrap_intervals

__all__ = ["entity_metrics", "overlaps"]

Tags = Sequence[Sequence[str]]


def entity_metrics(
    true: Tags, predicted: Tags, *, bootstrap: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Measure predicted tags against the truth.

    What the numbers mean:

    - `precision`, `recall` and `f1` are micro averages, over all entities of all types: conlleval's
      overall figures, and seqeval's micro average. 0 where they would be 0/0, as there.
    - `macro_f1` averages over the types that occur in the truth or among the predictions.
    - `partial` counts an entity that overlaps one of the same type as half right: the weight that
      MUC-5 gives to partial matches (Chinchor and Sundheim 1993) and, without regard to the type,
      SemEval-2013's task 9.1. Each entity matches one other at most, an equal one if there is one.
    - `accuracy` is the share of words with the right tag.
    - `ci95` are percentile bootstrap intervals over sentences (Efron 1979).

    Args:
        true: the tags of each sentence.
        predicted: likewise, as many for each.
        bootstrap: resamples of the sentences behind each interval.
        seed: of the resampling.

    Returns:
        Plain dicts, lists, floats and ints: `n` sentences, `words`, `entities` and `found` ones,
        the numbers above, and `per_type` with `precision`, `recall`, `f1`, `support` (true
        entities), `predicted` ones and `partial_f1` of each.

    Raises:
        DataError: there are no sentences, or not as many tags in one as in the other.
    """
    _check(true, predicted)
    spelt = [(entities(t), entities(p)) for t, p in zip(true, predicted, strict=True)]
    types = sorted({entity.type for pair in spelt for found in pair for entity in found})
    counts = _counts(spelt, types)
    words = np.array([len(tags) for tags in true], np.float64)
    right = np.array(
        [sum(map(str.__eq__, t, p)) for t, p in zip(true, predicted, strict=True)], np.float64
    )

    def micro(measure: Callable[..., Array]) -> Statistic:
        totals = counts.sum(axis=1)
        # einsum, not matmul: BLAS threads that wait for a busy core are 30 times slower here
        return lambda weights: float(measure(*np.einsum("n,nk->k", weights, totals)))

    def macro_f1(weights: Array) -> float:
        true, found, exact, _ = np.einsum("n,ntk->kt", weights, counts)
        occurs = true + found > 0
        return float(_f1(true, found, exact)[occurs].mean()) if occurs.any() else 0.0

    def accuracy(weights: Array) -> float:
        return float(_share((weights * right).sum(), (weights * words).sum()))

    statistics: dict[str, Statistic] = {
        "precision": micro(lambda true, found, exact, partial: _share(exact, found)),
        "recall": micro(lambda true, found, exact, partial: _share(exact, true)),
        "f1": micro(lambda true, found, exact, partial: _f1(true, found, exact)),
        "macro_f1": macro_f1,
        "accuracy": accuracy,
    }
    once = np.ones(len(true))
    every = counts.sum(axis=0)
    support, found, exact, partial = (int(total) for total in every.sum(axis=0))
    credit = exact + partial / 2
    return {
        "n": len(true),
        "words": int(words.sum()),
        "entities": support,
        "found": found,
        **{name: statistic(once) for name, statistic in statistics.items()},
        "partial": {
            "precision": float(_share(credit, found)),
            "recall": float(_share(credit, support)),
            "f1": float(_f1(support, found, credit)),
        },
        "ci95": bootstrap_intervals(statistics, len(true), resamples=bootstrap, seed=seed),
        "per_type": {type: _of_type(row) for type, row in zip(types, every, strict=True)},
    }


def overlaps(true: Sequence[Entity], found: Sequence[Entity]) -> int:
    """Return how many pairs of overlapping entities of one type can be formed, at most.

    Args:
        true: entities of one sentence in order, none of which overlap.
        found: likewise.
    """
    pairs = 0
    for type in {entity.type for entity in true}:
        left = [entity for entity in true if entity.type == type]
        right = [entity for entity in found if entity.type == type]
        i = j = 0
        while i < len(left) and j < len(right):
            if left[i].last < right[j].first:
                i += 1
            elif right[j].last < left[i].first:
                j += 1
            else:  # what ends first has no better partner than this
                pairs, i, j = pairs + 1, i + 1, j + 1
    return pairs


def _counts(spelt: list[tuple[list[Entity], list[Entity]]], types: list[str]) -> Array:
    """Return float64[N, T, 4]: entities of each type that are true, found, both, and overlap."""
    index = {type: n for n, type in enumerate(types)}
    counts = np.zeros((len(spelt), len(types), 4))
    for row, (true, found) in enumerate(spelt):
        both = set(true) & set(found)
        for column, some in enumerate((true, found, both)):
            for entity in some:
                counts[row, index[entity.type], column] += 1
        true_rest, found_rest = ([e for e in some if e not in both] for some in (true, found))
        for type in {entity.type for entity in true_rest}:
            of_type = ([e for e in some if e.type == type] for some in (true_rest, found_rest))
            counts[row, index[type], 3] = overlaps(*of_type)
    return counts


def _of_type(row: Array) -> dict[str, Any]:
    true, found, exact, partial = row
    return {
        "precision": float(_share(exact, found)),
        "recall": float(_share(exact, true)),
        "f1": float(_f1(true, found, exact)),
        "support": int(true),
        "predicted": int(found),
        "partial_f1": float(_f1(true, found, exact + partial / 2)),
    }


def _f1(true: Any, found: Any, right: Any) -> Array:
    """Return 2 * precision * recall / (precision + recall)."""
    return _share(2 * right, true + found)


def _share(part: Any, whole: Any) -> Array:
    """Return the ratio, and 0 where it is 0/0."""
    return np.asarray(part / np.maximum(whole, 1))  # both are counts: where whole is 0, part is


def _check(true: Tags, predicted: Tags) -> None:
    if not len(true):
        raise DataError("Entities are measured on one sentence at least. Received: none")
    if len(true) != len(predicted):
        raise DataError(
            f"There must be predicted tags for each sentence. Received: {len(predicted)} for "
            f"{len(true)} sentences"
        )
    for row, (t, p) in enumerate(zip(true, predicted, strict=True)):
        if len(t) != len(p):
            raise DataError(
                f"There must be a predicted tag for each word. Received: {len(p)} for the {len(t)} "
                f"words of sentence {row}, counted from 0"
            )
