"""How well answers agree with those that people gave: exact match and the F1 of their words.

The measures are those of SQuAD (Rajpurkar et al. 2016, arXiv 1606.05250, section 6.1; 2018, arXiv
1806.03822, section 6, for questions without answer), as the data sets' evaluation scripts compute
them; here as fractions.
"""

from __future__ import annotations

import collections
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfhub_transfer.errors import DataError
from tfhub_transfer.evaluation.bootstrap import Array, bootstrap_intervals
from tfhub_transfer.progress import progress

__all__ = ["Agreement", "Threshold", "agreement", "answer_metrics", "best_threshold", "normalised"]

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_AT_ONCE = 1024


def normalised(answer: str) -> str:
    """Return an answer in lower case without ASCII punctuation, articles and needless space."""
    bare = answer.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


@dataclass(frozen=True, eq=False)
class Agreement:
    """How far each of N answers agrees with the closest of its gold answers.

    Attributes:
        exact: float64[N], 1 where they are equal once normalised.
        f1: float64[N], the harmonic mean of precision and recall of the words.
        answerable: bool[N], whether there is a gold answer at all.
    """

    exact: Array
    f1: Array
    answerable: Array


def agreement(answers: Sequence[str], golds: Sequence[Sequence[str]]) -> Agreement:
    """Compare answers with their golds, of which the closest counts, for either measure its own.

    An empty answer is no answer, and so is one that nothing is left of once it is normalised: it
    agrees with a question without golds, wholly, and with any other not at all.

    Args:
        answers: N texts.
        golds: N lists of texts; an empty one where the context has no answer.

    Raises:
        DataError: there are not as many of one as of the other, or none.
    """
    if len(answers) != len(golds) or not len(answers):
        raise DataError(
            f"Each answer needs its gold answers, and there must be one at least. "
            f"Received: {len(answers)} answers, {len(golds)} lists of gold answers"
        )
    exact, f1 = np.empty(len(answers)), np.empty(len(answers))
    with progress("Comparing answers", "answers", len(answers)) as advance:
        for row, (answer, several) in enumerate(zip(answers, golds, strict=True)):
            given = normalised(answer)
            accepted = {gold for gold in map(normalised, several) if gold} or {""}
            exact[row] = given in accepted
            f1[row] = max(_f1(given, gold) for gold in accepted)
            if row % _AT_ONCE == _AT_ONCE - 1:
                advance(_AT_ONCE)
        advance(len(answers) % _AT_ONCE)
    return Agreement(exact, f1, np.array([len(several) > 0 for several in golds]))


def answer_metrics(
    answers: Sequence[str],
    golds: Sequence[Sequence[str]],
    *,
    contexts: Array | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return `n`, `exact_match`, `f1` and their 95% intervals under `ci95`.

    Where some questions have no answer, the same (without intervals) for those that have one under
    `with_answer`, and `n` and `accuracy` for the others under `without_answer`.

    Args:
        answers: N texts, empty for no answer.
        golds: N lists of texts, empty for no answer.
        contexts: int[N], which context each question is asked on. Whole contexts are resampled
            then, for the questions on one are alike; else questions are.
        bootstrap: resamples behind each interval.
        seed: of the resamples.

    Raises:
        DataError: as `agreement` does.
    """
    found = agreement(answers, golds)
    groups = np.arange(len(answers)) if contexts is None else np.asarray(contexts)
    groups = np.unique(groups, return_inverse=True)[1].reshape(-1)
    sizes = np.bincount(groups)

    def mean_of(values: Array) -> Any:
        sums = np.bincount(groups, values)
        return lambda weights: float(weights @ sums / (weights @ sizes))

    measures = {"exact_match": found.exact, "f1": found.f1}
    intervals = bootstrap_intervals(
        {name: mean_of(values) for name, values in measures.items()},
        len(sizes),
        resamples=bootstrap,
        seed=seed,
    )
    metrics: dict[str, Any] = {
        "n": len(answers),
        **{name: float(values.mean()) for name, values in measures.items()},
        "ci95": intervals,
    }
    answerable = found.answerable
    if not answerable.all():
        metrics["without_answer"] = {
            "n": int((~answerable).sum()),
            "accuracy": float(found.exact[~answerable].mean()),
        }
        if answerable.any():
            metrics["with_answer"] = {
                "n": int(answerable.sum()),
                **{name: float(values[answerable].mean()) for name, values in measures.items()},
            }
    return metrics


@dataclass(frozen=True)
class Threshold:
    """From where on no answer is the better answer.

    Attributes:
        value: no answer is given where its score is above this.
        score: what that gives on the questions it was found on, a fraction.
    """

    value: float
    score: float


def best_threshold(
    answers: Sequence[str],
    golds: Sequence[Sequence[str]],
    no_answer: Array,
    *,
    measure: str = "f1",
) -> Threshold:
    """Return the threshold for no answer that is best on these questions.

    As SQuAD 2's script finds its `best_f1_thresh`, but that questions of one score stay together,
    and that the value lies halfway between two scores that were seen, or by 1 beyond them all.
    Among thresholds that do equally well, the one that leaves fewest questions without answer.

    Args:
        answers: N texts: the best answer to each question, if it were to be given one.
        golds: N lists of texts, empty for no answer.
        no_answer: float[N], how much speaks for no answer, in any unit.
        measure: `f1` or `exact_match`.

    Raises:
        DataError: as `agreement` does.
    """
    found = agreement(answers, golds)
    answered = {"f1": found.f1, "exact_match": found.exact}[measure]
    scores, place = np.unique(np.asarray(no_answer, np.float64), return_inverse=True)
    gains = np.bincount(place.reshape(-1), answered - ~found.answerable)
    # at index k the questions of the k lowest scores are answered
    totals = np.concatenate([[0.0], np.cumsum(gains)]) + (~found.answerable).sum()
    best = len(totals) - 1 - int(np.argmax(totals[::-1] > totals.max() - 1e-9))
    edges = np.concatenate([[scores[0] - 2], scores, [scores[-1] + 2]])
    return Threshold(float((edges[best] + edges[best + 1]) / 2), float(totals[best] / len(answers)))


def _f1(answer: str, gold: str) -> float:
    """Return the F1 of two normalised answers, as bags of words."""
    given, wanted = answer.split(), gold.split()
    if not given or not wanted:
        return float(given == wanted)
    common = sum((collections.Counter(given) & collections.Counter(wanted)).values())
    return 2 * common / (len(given) + len(wanted))
