"""Probabilities that mean what they say, and a score below which no label is given.

Temperature scaling is Guo et al. 2017 (arXiv 1706.04599, section 4.2): logits are divided by one
number, fitted on validation rows. It changes no prediction of a single label, only how sure it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, special

from tfhub_transfer.errors import DataError
from tfhub_transfer.evaluation.bootstrap import Array
from tfhub_transfer.evaluation.metrics import (
    calibration_bins,
    decisions,
    expected_calibration_error,
)
from tfhub_transfer.evaluation.predictions import Predictions, Split

# A temperature outside is a sign of too few rows rather than of a model so wrong about itself.
_COLDEST, _HOTTEST = 0.1, 10.0
# From fewer rows, temperatures and precisions are chance: half of 30 is 50% give or take 18.
_FEW_ROWS = 30
_SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Calibration:
    """How a trained model's probabilities become the answers of a served one.

    Attributes:
        temperature: logits are divided by it; 1 leaves them as they are.
        threshold: texts that score less get no label; None gives every text one.
        metrics: of the validation rows it was fitted on and of the test rows, before and after:
            expected calibration error, log loss and, with a threshold, precision, coverage and
            the number of rows answered; and `notes`, sentences that a person should read.
    """

    temperature: float
    threshold: float | None
    metrics: dict[str, Any]


def calibrate(
    predictions: Predictions, *, temperature: bool = True, precision: float | None = None
) -> Calibration:
    """Fit temperature and threshold on a run's validation rows, and measure both on its test rows.

    From fewer than 30 validation rows no temperature is fitted; the notes say so.

    Args:
        predictions: of the run.
        temperature: whether one is fitted.
        precision: the share of right labels wanted among the texts that get one; None rejects none.

    Raises:
        DataError: no threshold reaches the precision.
    """
    fitted = predictions.validation
    several, rows, notes = fitted.targets.ndim == 2, len(fitted.targets), []
    if temperature and rows < _FEW_ROWS:
        temperature = False
        notes.append(
            f"Probabilities are not calibrated: {rows} validation rows are too few, {_FEW_ROWS} "
            f"are needed."
        )
    degrees = fit_temperature(fitted.targets, fitted.probabilities) if temperature else 1.0
    splits = {"validation": fitted, "test": predictions.test}
    scaled = {
        name: scale(split.probabilities, degrees, multi_label=several)
        for name, split in splits.items()
    }
    threshold = None
    if precision is not None:
        threshold = choose_threshold(fitted.targets, scaled["validation"], precision)
    metrics: dict[str, Any] = {"temperature": degrees, "threshold": threshold}
    for name, split in splits.items():
        before = np.asarray(split.probabilities, np.float64)
        metrics[name] = {
            "n": len(split.targets),
            "ece_before": calibration_error(split.targets, before),
            "ece_after": calibration_error(split.targets, scaled[name]),
            "log_loss_before": _log_loss(split.targets, before),
            "log_loss_after": _log_loss(split.targets, scaled[name]),
        }
        if threshold is not None:
            metrics[name].update(_kept(split.targets, scaled[name], threshold))
    if threshold is not None and metrics["validation"]["answered"] < _FEW_ROWS:
        answered = metrics["validation"]["answered"]
        notes.append(
            f"The reject threshold was chosen on the {answered} validation rows that score above "
            f"it: too few to promise a precision of {precision:g}."
        )
    metrics["notes"] = notes
    return Calibration(degrees, threshold, metrics)


def calibrated_log_loss(split: Split) -> float:
    """Return the log loss of these rows at the temperature that suits them best.

    It tells models apart by what they know, whether or not they are too sure of it.
    """
    several = split.targets.ndim == 2
    temperature = fit_temperature(split.targets, split.probabilities)
    scaled = scale(split.probabilities, temperature, multi_label=several)
    return _log_loss(split.targets, scaled)


def _log_loss(targets: Array, probabilities: Array) -> float:
    if targets.ndim == 2:
        chosen = np.where(targets, probabilities, 1 - probabilities)
    else:
        chosen = probabilities[np.arange(len(targets)), targets]
    return float(np.abs(np.log(np.maximum(chosen, _SMALLEST))).mean())  # no minus before a 0


def _kept(targets: Array, probabilities: Array, threshold: float) -> dict[str, float | None]:
    """Return how many texts get a label, their share, and that of right labels among them."""
    score, right = decisions(targets, probabilities)
    kept = score >= threshold
    precision = float(right[kept].mean()) if kept.any() else None
    return {
        "precision": precision,
        "coverage": float(kept.mean()),
        "answered": int(kept.sum()),
    }


def fit_temperature(targets: Array, probabilities: Array) -> float:
    """Return the temperature of least cross-entropy on these rows.

    Args:
        targets: int[N] class indices, or 0/1 [N, C].
        probabilities: float[N, C] of the uncalibrated model.
    """
    logits = _logits(probabilities, targets.ndim == 2)

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        if targets.ndim == 2:
            # log(1 + exp(z)) - y z, the cross-entropy of a sigmoid, without overflow
            return float((np.logaddexp(0, scaled) - targets * scaled).mean())
        chosen = scaled[np.arange(len(targets)), targets]
        return float((special.logsumexp(scaled, axis=1) - chosen).mean())

    bounds = (np.log(_COLDEST), np.log(_HOTTEST))
    best = optimize.minimize_scalar(loss, bounds=bounds, method="bounded")
    return float(np.exp(best.x))


def scale(probabilities: Array, temperature: float, *, multi_label: bool) -> Array:
    """Return the probabilities, float64[N, C], that a model with this temperature gives."""
    scaled = _logits(probabilities, multi_label) / temperature
    result: Array = special.expit(scaled) if multi_label else special.softmax(scaled, axis=1)
    return result


def _logits(probabilities: Array, multi_label: bool) -> Array:
    """Return logits that give these probabilities; those of a softmax up to a constant per row."""
    probabilities = np.maximum(np.asarray(probabilities, np.float64), _SMALLEST)
    if not multi_label:
        return np.asarray(np.log(probabilities))
    # float32 knows no probability between 1 - 6e-8 and 1
    ceiling = 1 - float(np.finfo(np.float32).epsneg)
    return np.asarray(special.logit(np.minimum(probabilities, ceiling)))


def calibration_error(targets: Array, probabilities: Array) -> float:
    """Return the expected calibration error, as `metrics.json` has it."""
    return expected_calibration_error(calibration_bins(*decisions(targets, probabilities)))


def choose_threshold(targets: Array, probabilities: Array, precision: float) -> float:
    """Return the lowest threshold that reaches a precision among the labels still given.

    Args:
        targets: int[N] class indices.
        probabilities: float[N, C], calibrated.
        precision: the share of right labels that is wanted.

    Raises:
        DataError: no threshold reaches it on these rows.
    """
    score, right = decisions(targets, probabilities)
    order = np.argsort(-score, kind="stable")
    score, right = score[order], right[order]
    precisions = np.cumsum(right) / np.arange(1, len(right) + 1)
    # a threshold between equal scores does not exist
    ends = np.append(score[1:] < score[:-1], True)
    reached = np.flatnonzero((precisions >= precision) & ends)
    if not len(reached):
        raise DataError(
            f"No reject threshold gives that precision on the {len(right)} validation rows; the "
            f"most that one gives is {precisions[ends].max():.4f}. Received: {precision}"
        )
    kept = int(reached[-1])
    if kept + 1 == len(score):
        return 0.0
    # half-way to the first text below, so that rounding in float32 moves none across
    return float((score[kept] + score[kept + 1]) / 2)
