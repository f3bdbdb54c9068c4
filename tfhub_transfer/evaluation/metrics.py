"""Classification metrics with bootstrap intervals, as `metrics.json` holds them.

Two kinds of targets are measured by one function: int[N] class indices (multi-class, binary
included) and 0/1 [N, C] (multi-label). Ratios are fractions, losses are in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import metrics as sk

from tfhub_transfer.errors import DataError
from tfhub_transfer.evaluation.bootstrap import Array, Statistic, bootstrap_intervals

CALIBRATION_BINS = 15
THRESHOLD = 0.5
_SUM_TOLERANCE = 1e-3
_SMALLEST = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class CalibrationBins:
    """Predictions grouped by confidence into bins of equal width over [0, 1].

    Attributes:
        edges: float64[B + 1].
        count: int64[B], predictions in each bin.
        confidence: float64[B], their mean confidence; NaN in an empty bin.
        accuracy: float64[B], the share of them that came true; NaN in an empty bin.
    """

    edges: Array
    count: Array
    confidence: Array
    accuracy: Array


def classification_metrics(
    targets: Array,
    probabilities: Array,
    labels: Sequence[str],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure predicted probabilities against the truth.

    What the numbers mean where conventions differ:

    - `macro_f1` averages over the classes that occur in the targets or among the predictions; a
      class in `labels` that does neither would add an F1 of 0/0 and is left out.
    - `roc_auc` is one class against the rest, averaged over the classes for which that is defined
      (some test rows are of the class and some are not); of two classes, the second one's.
    - `ece` is the expected calibration error of the top label (Guo et al. 2017, arXiv:1706.04599);
      for multi-label targets, that of all N * C yes-or-no decisions.
    - multi-label `accuracy` counts a row only if all its labels are right at a threshold of 0.5;
      `log_loss` is the mean binary cross-entropy of the N * C decisions.
    - `ci95` are percentile bootstrap intervals over test rows (Efron 1979); where all rows are
      right, or all wrong, resampling shows no spread and the accuracy's is Wilson's (1927,
      doi:10.1080/01621459.1927.10502953). There is none for
      `ece`: its absolute values push every resample upwards, so that the interval can miss the
      estimate itself.

    Args:
        targets: int[N] class indices, or 0/1 [N, C].
        probabilities: float[N, C]; for class indices every row sums to one.
        labels: C distinct names, two at least.
        bootstrap: resamples of the test rows behind each interval.
        seed: of the resampling.

    Returns:
        Plain dicts, lists, floats and ints, with `None` where a metric is undefined; JSON never
        sees NaN.

    Raises:
        DataError: shapes, types or values that no metric can be computed from.
    """
    targets, probabilities = check_predictions(targets, probabilities, labels)
    measure = _multi_label if targets.ndim == 2 else _multi_class
    values, statistics = measure(targets, probabilities)
    calibration = calibration_bins(*decisions(targets, probabilities))
    intervals = bootstrap_intervals(statistics, len(targets), resamples=bootstrap, seed=seed)
    if values["accuracy"] in (0.0, 1.0):
        # Wilson's interval at its two ends; 3.84 is the squared 97.5% quantile of the normal
        spread = 3.8415 / (len(targets) + 3.8415)
        intervals["accuracy"] = [1 - spread, 1.0] if values["accuracy"] else [0.0, spread]
    return {
        "n": len(targets),
        **values,
        "roc_auc": _roc_auc(targets, probabilities),
        "ece": expected_calibration_error(calibration),
        "ci95": intervals,
        **_per_class(targets, predict(targets, probabilities), labels),
    }


def check_predictions(
    targets: Array, probabilities: Array, labels: Sequence[str]
) -> tuple[Array, Array]:
    """Return the targets and the probabilities in float64, rows normalised, or say what is wrong.

    Raises:
        DataError: see `classification_metrics`.
    """
    targets, probabilities = np.asarray(targets), np.asarray(probabilities, dtype=np.float64)
    classes = len(labels)
    if classes < 2 or len(set(labels)) != classes:
        raise DataError(f"Labels must be two or more distinct names. Received: {list(labels)}")
    if targets.ndim not in (1, 2) or not len(targets):
        raise DataError(
            "Targets must be class indices [N] or zeros and ones [N, C], with N at least 1. "
            f"Received shape: {list(targets.shape)}"
        )
    if probabilities.shape != (len(targets), classes):
        raise DataError(
            f"Probabilities must have one row per target and one column per label: "
            f"{[len(targets), classes]}. Received shape: {list(probabilities.shape)}"
        )
    impossible = ~((probabilities >= 0) & (probabilities <= 1 + _SUM_TOLERANCE))
    if impossible.any():  # NaN compares false, so it lands here too
        row, column = (int(i) for i in np.argwhere(impossible)[0])
        raise DataError(
            f"Probabilities must be finite and from 0 to 1; {impossible.sum()} are not, the first "
            f"of them in row {row} for {labels[column]!r}. Received: {probabilities[row, column]}"
        )
    if targets.ndim == 2:
        if targets.shape != probabilities.shape or not np.isin(targets, (0, 1)).all():
            raise DataError(
                f"Multi-label targets must be zeros and ones of shape "
                f"{list(probabilities.shape)}. Received: shape {list(targets.shape)}, "
                f"values from {targets.min(initial=0)} to {targets.max(initial=0)}"
            )
        return targets.astype(np.uint8), probabilities.clip(max=1.0)
    if targets.dtype.kind not in "iu" or targets.min() < 0 or targets.max() >= classes:
        raise DataError(
            f"Targets must be integers from 0 to {classes - 1}. Received: {targets.dtype} "
            f"from {targets.min()} to {targets.max()}"
        )
    sums = probabilities.sum(axis=1)
    off = np.abs(sums - 1)
    if off.max() > _SUM_TOLERANCE:
        raise DataError(
            f"Each row of probabilities must sum to 1 within {_SUM_TOLERANCE}; "
            f"{(off > _SUM_TOLERANCE).sum()} do not, the worst is row {off.argmax()}. "
            f"Received: {sums[off.argmax()]}"
        )
    return targets.astype(np.int64), probabilities / sums[:, None]


def predict(targets: Array, probabilities: Array) -> Array:
    """Return the predictions in the form of the targets: int64[N], or uint8[N, C]."""
    if targets.ndim == 2:
        return (probabilities >= THRESHOLD).astype(np.uint8)
    return np.asarray(probabilities.argmax(axis=1))


def decisions(targets: Array, probabilities: Array) -> tuple[Array, Array]:
    """Return how sure the model was and whether it came true, as calibration looks at them.

    Returns:
        Confidence float64[M] and outcome bool[M]. For class indices those of the top label of each
        row (M = N); for multi-label targets those of every label of every row (M = N * C).
    """
    if targets.ndim == 2:
        return probabilities.ravel(), targets.ravel().astype(bool)
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == targets


def calibration_bins(
    confidence: Array, outcome: Array, bins: int = CALIBRATION_BINS
) -> CalibrationBins:
    """Group predictions by confidence into `bins` intervals (low, high] of equal width."""
    which = (np.ceil(confidence * bins).astype(np.int64) - 1).clip(0, bins - 1)
    count = np.bincount(which, minlength=bins)
    filled = np.where(count > 0, count, np.nan)
    return CalibrationBins(
        edges=np.linspace(0, 1, bins + 1),
        count=count,
        confidence=np.bincount(which, weights=confidence, minlength=bins) / filled,
        accuracy=np.bincount(which, weights=outcome, minlength=bins) / filled,
    )


def expected_calibration_error(bins: CalibrationBins) -> float:
    """Return the mean distance between confidence and accuracy, each bin weighted by its count."""
    gaps = np.nan_to_num(np.abs(bins.accuracy - bins.confidence))
    return float(np.average(gaps, weights=bins.count))


def _multi_class(
    targets: Array, probabilities: Array
) -> tuple[dict[str, float], dict[str, Statistic]]:
    predictions = probabilities.argmax(axis=1)
    classes = probabilities.shape[1]
    correct = (predictions == targets).astype(np.float64)
    loss = -np.log(np.maximum(probabilities[np.arange(len(targets)), targets], _SMALLEST))
    cells = targets * classes + predictions

    def macro_f1(weights: Array) -> float:
        confusion = np.bincount(cells, weights=weights, minlength=classes * classes)
        confusion = confusion.reshape(classes, classes)
        return _mean_f1(confusion.diagonal(), confusion.sum(axis=0) + confusion.sum(axis=1))

    values = {
        "accuracy": float(sk.accuracy_score(targets, predictions)),
        "macro_f1": float(sk.f1_score(targets, predictions, average="macro", zero_division=0)),
        "log_loss": float(sk.log_loss(targets, probabilities, labels=range(classes))),
    }
    return values, {
        "accuracy": _mean_of(correct),
        "macro_f1": macro_f1,
        "log_loss": _mean_of(loss),
    }


def _multi_label(
    targets: Array, probabilities: Array
) -> tuple[dict[str, float], dict[str, Statistic]]:
    predictions = predict(targets, probabilities)
    likelihood = np.where(targets == 1, probabilities, 1 - probabilities)
    loss = -np.log(np.maximum(likelihood, _SMALLEST)).mean(axis=1)
    correct = (predictions == targets).all(axis=1).astype(np.float64)
    hits = (targets & predictions).astype(np.float64)
    marks = targets.astype(np.float64) + predictions

    def macro_f1(weights: Array) -> float:
        # einsum, not matmul: BLAS threads that wait for a busy core are 30 times slower here
        return _mean_f1(np.einsum("n,nc->c", weights, hits), np.einsum("n,nc->c", weights, marks))

    values = {
        "accuracy": float(sk.accuracy_score(targets, predictions)),
        "macro_f1": _mean_f1(hits.sum(axis=0), marks.sum(axis=0)),
        "micro_f1": float(sk.f1_score(targets, predictions, average="micro", zero_division=0)),
        "hamming_loss": float(sk.hamming_loss(targets, predictions)),
        "log_loss": float(loss.mean()),
    }
    return values, {
        "accuracy": _mean_of(correct),
        "macro_f1": macro_f1,
        "log_loss": _mean_of(loss),
    }


def _mean_of(per_row: Array) -> Statistic:
    return lambda weights: float(np.average(per_row, weights=weights))


def _mean_f1(hits: Array, marks: Array) -> float:
    """Average 2 * hits / (true + predicted) over the classes that occur at all."""
    occurs = marks > 0
    return float((2 * hits[occurs] / marks[occurs]).mean()) if occurs.any() else 0.0


def _roc_auc(targets: Array, probabilities: Array) -> float | None:
    truth = indicator(targets, probabilities.shape[1])
    defined = np.asarray(truth.any(axis=0) & ~truth.all(axis=0))
    if targets.ndim == 1 and len(defined) == 2:
        defined[0] = False  # its mirror image
    areas = [
        sk.roc_auc_score(truth[:, index], probabilities[:, index])
        for index in np.flatnonzero(defined)
    ]
    return float(np.mean(areas)) if areas else None


def indicator(targets: Array, classes: int) -> Array:
    """Return bool[N, C]: whether row n is of class c."""
    if targets.ndim == 2:
        return targets.astype(bool)
    return np.equal.outer(targets, np.arange(classes))


def _per_class(targets: Array, predictions: Array, labels: Sequence[str]) -> dict[str, Any]:
    classes = range(len(labels))
    columns = sk.precision_recall_fscore_support(
        targets, predictions, labels=classes, zero_division=0
    )
    if targets.ndim == 2:
        confusion = sk.multilabel_confusion_matrix(targets, predictions, labels=classes)
    else:
        confusion = sk.confusion_matrix(targets, predictions, labels=classes)
    return {
        "per_class": {
            label: {
                "precision": float(precision),
                "recall": float(recall),
                "f1": float(f1),
                "support": int(support),
            }
            for label, precision, recall, f1, support in zip(labels, *columns, strict=True)
        },
        "confusion_matrix": confusion.tolist(),
    }
