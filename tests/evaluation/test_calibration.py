"""Temperatures and thresholds, on predictions whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from tfhub_transfer.errors import DataError
from tfhub_transfer.evaluation.calibration import (
    calibrate,
    choose_threshold,
    fit_temperature,
    scale,
)
from tfhub_transfer.evaluation.predictions import Predictions, Split


def drawn(rows: int, heat: float, *, several: bool = False, seed: int = 0) -> Split:
    """Return targets drawn from probabilities, and those made `heat` times as sure."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(0.0, 2.0, (rows, 4))
    if several:
        targets = (draw.random((rows, 4)) < special.expit(logits)).astype(np.uint8)
        return Split(targets, special.expit(logits * heat).astype(np.float32))
    shares = special.softmax(logits, axis=1).cumsum(axis=1)
    targets = (draw.random((rows, 1)) > shares).sum(axis=1)
    return Split(targets, special.softmax(logits * heat, axis=1).astype(np.float32))


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("heat", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_overconfidence(heat, several):
    split = drawn(20_000, heat, several=several)
    assert fit_temperature(split.targets, split.probabilities) == pytest.approx(heat, rel=0.06)


def test_a_perfect_model_ends_at_the_bound_and_not_at_zero():
    targets = np.arange(4)
    assert fit_temperature(targets, np.eye(4, dtype=np.float32)) >= 0.1


@pytest.mark.parametrize("several", [False, True])
def test_temperature_one_changes_nothing(several):
    split = drawn(500, 1.0, several=several)
    scaled = scale(split.probabilities, 1.0, multi_label=several)
    np.testing.assert_allclose(scaled, split.probabilities, atol=1e-7)


def test_scaling_moves_no_prediction():
    split = drawn(500, 3.0)
    scaled = scale(split.probabilities, 2.5, multi_label=False)
    np.testing.assert_array_equal(scaled.argmax(1), split.probabilities.argmax(1))
    np.testing.assert_allclose(scaled.sum(1), 1.0)


def test_calibration_is_measured_on_rows_it_was_not_fitted_on():
    predictions = Predictions(drawn(5_000, 3.0), drawn(5_000, 3.0, seed=1), ())
    metrics = calibrate(predictions).metrics
    assert metrics["test"]["ece_before"] > 0.15 > 0.03 > metrics["test"]["ece_after"]
    assert metrics["test"]["log_loss_after"] < metrics["test"]["log_loss_before"]
    assert metrics["threshold"] is None
    assert "precision" not in metrics["test"]


def test_without_calibration_nothing_is_moved():
    predictions = Predictions(drawn(500, 3.0), drawn(500, 3.0, seed=1), ())
    calibration = calibrate(predictions, temperature=False)
    assert calibration.temperature == 1.0
    for split in ("validation", "test"):
        found = calibration.metrics[split]
        assert found["ece_before"] == pytest.approx(found["ece_after"], abs=1e-6)


def test_the_threshold_reaches_the_precision_with_the_most_texts():
    predictions = Predictions(drawn(5_000, 2.0), drawn(5_000, 2.0, seed=1), ())
    found = calibrate(predictions, precision=0.9)
    assert found.metrics["validation"]["precision"] >= 0.9
    assert found.metrics["test"]["precision"] == pytest.approx(0.9, abs=0.03)
    scaled = scale(predictions.validation.probabilities, found.temperature, multi_label=False)
    right = scaled.argmax(1) == predictions.validation.targets
    lower = scaled.max(1) >= found.threshold - 0.02
    assert right[lower].mean() < 0.9


def test_a_threshold_that_is_not_needed_rejects_nothing():
    probabilities = np.array([[0.9, 0.1], [0.3, 0.7]])
    assert choose_threshold(np.array([0, 1]), probabilities, 0.95) == 0.0


def test_texts_of_one_score_stand_on_one_side():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.8, 0.2]])
    assert choose_threshold(np.array([0, 0, 1]), probabilities, 1.0) == pytest.approx(0.85)


def test_a_precision_that_no_threshold_reaches():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4]])
    with pytest.raises(DataError, match=r"the most that one gives is 0.6667. Received: 0.99"):
        choose_threshold(np.array([1, 0, 0]), probabilities, 0.99)


def test_few_rows_calibrate_nothing_and_promise_nothing():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]] * 7, np.float32)
    split = Split(probabilities.argmax(axis=1), probabilities)
    few = calibrate(Predictions(split, split, ("a",)), precision=0.9)
    assert few.temperature == 1.0
    assert few.metrics["notes"] == [
        "Probabilities are not calibrated: 28 validation rows are too few, 30 are needed.",
        "The reject threshold was chosen on the 28 validation rows that score above it: too few "
        "to promise a precision of 0.9.",
    ]
    assert few.metrics["test"]["answered"] == 28
    twice = Split(np.tile(split.targets, 2), np.tile(probabilities, (2, 1)))
    enough = calibrate(Predictions(twice, twice, ("a",)), precision=0.9)
    assert enough.metrics["notes"] == []
    assert enough.temperature != 1.0
