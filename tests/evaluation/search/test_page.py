"""What a search's report says of its worth, and what it must not say."""

from __future__ import annotations

import numpy as np
import pytest

from tfhub_transfer.evaluation.calibration import calibrated_log_loss
from tfhub_transfer.evaluation.page import next_commands
from tfhub_transfer.evaluation.predictions import Split
from tfhub_transfer.evaluation.search.page import few_rows, verdict


def summary(**changes):
    accuracy = {"mean": 0.9, "sd": None, "values": [0.9]}
    return {
        "seeds": [0],
        "test_accuracy": accuracy,
        "as_given": accuracy,
        "as_given_is_best": False,
        "as_given_failed": None,
        "difference": {"mean": 0.0, "low": 0.0, "high": 0.0, "p": 1.0},
        **changes,
    }


def test_no_interval_where_there_is_no_difference():
    text = verdict(summary())
    assert "with the same test rows right" in text
    assert "interval" not in text


def test_an_interval_where_there_is_one():
    found = {"mean": 0.02, "low": 0.01, "high": 0.03, "p": 0.01}
    text = verdict(summary(difference=found))
    assert "+2.0 points (95% interval +1.0 to +3.0), more than" in text


@pytest.mark.parametrize(("rows", "points"), [(7, 22), (199, 4)])
def test_few_validation_rows_are_warned_of(rows, points):
    text = few_rows(rows)
    assert f"compared on {rows} validation rows" in text
    assert f"within {points} points" in text


def test_enough_validation_rows_are_not():
    assert few_rows(200) == ""


def test_no_minus_before_a_zero():
    certain = Split(np.array([0, 1]), np.eye(2, dtype=np.float32))
    assert f"{calibrated_log_loss(certain):.4f}" == "0.0000"


def test_the_commands_that_follow_can_be_typed(tmp_path):
    export, predict = next_commands(tmp_path / "a run")
    assert export == f"python -m tfhub_transfer.export --run '{tmp_path}/a run'"
    assert predict.endswith("--input FILE")
