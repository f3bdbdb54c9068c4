"""Which settings the scores hang on, and what is drawn of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tfhub_transfer.config import Config
from tfhub_transfer.evaluation.search import plots
from tfhub_transfer.evaluation.search.importance import EPOCHS, encoded, importances
from tfhub_transfer.evaluation.search.result import TrialResult
from tfhub_transfer.evaluation.search.trials import TrialRow, as_csv, best_of
from tfhub_transfer.training.search_space_reader import read_space

SPACE = read_space(
    Config(),
    {
        "training.learning_rate": {"min": 1e-4, "max": 1e-2, "log": True},
        "head.dropout": {"min": 0.0, "max": 0.5},
        "head.hidden": [[], [8]],
        "head.activation": ["tanh"],
    },
)


def rows_of(count: int, score=None, **result) -> list[TrialRow]:
    draw = np.random.default_rng(0)
    rows = []
    for number in range(count):
        settings = {
            "training.learning_rate": float(10 ** draw.uniform(-4, -2)),
            "head.dropout": float(draw.uniform(0, 0.5)),
            "head.hidden": [[1024], [], [8]][draw.integers(3)],
            "head.activation": ["relu", "tanh"][draw.integers(2)],
        }
        value = (score or by_rate)(settings)
        scores = {} if value is None else {"log_loss": value, "accuracy": 1 - value}
        status = "failed" if value is None else "finished"
        told = TrialResult(settings, scores, error="it broke" if value is None else None, **result)
        rows.append(TrialRow(f"{number:02}", status, value, settings, told))
    return rows


def by_rate(settings) -> float:
    linear = 0.8 if settings["head.hidden"] == [] else 0.0
    return float(abs(np.log10(settings["training.learning_rate"]) + 3)) + linear


def test_what_the_scores_hang_on_comes_first():
    found = importances(rows_of(40), SPACE)
    assert found is not None
    assert set(list(found.shares)[:2]) == {"training.learning_rate", "head.hidden"}
    assert found.shares["head.dropout"] < found.shares["training.learning_rate"] / 3
    assert found.explained > 0.4
    assert found.note is None
    figure = plots.importance_bars(found)
    first = next(iter(found.shares))
    assert figure.axes[0].get_title(loc="left") == f"Most depends on {first}"


def test_scores_of_chance_are_called_so():
    draw = np.random.default_rng(1)
    found = importances(rows_of(30, lambda settings: float(draw.random())), SPACE)
    assert found is not None
    assert "bars are chance" in str(found.note)


@pytest.mark.parametrize("rows", [rows_of(9), rows_of(20, lambda settings: 0.5), []])
def test_of_few_trials_or_equal_ones_nothing_is_said(rows):
    assert importances(rows, SPACE) is None


def test_epochs_of_hyperband_are_not_held_against_the_settings():
    rows = rows_of(30, stopped="hyperband", epochs=3)
    found = importances(rows, SPACE)
    assert found is not None
    assert EPOCHS in found.shares


def test_values_stand_where_they_are_in_their_dimension():
    rate, dropout, hidden, activation = SPACE.dimensions
    rows = rows_of(3)
    for row, values in zip(
        rows, [(1e-4, 0.0, [], "relu"), (1e-3, 0.25, [8], "tanh"), (0.5, None, [1024], "relu")],
        strict=True,
    ):  # fmt: skip
        row.settings.update(zip(SPACE.names, values, strict=True))
    assert encoded(rate, rows) == pytest.approx([0, 0.5, 1])
    assert encoded(dropout, rows) == pytest.approx([0, 0.5, 0.6])  # its own is 0.3
    assert encoded(hidden, rows) == pytest.approx([0, 0.5, 1])
    assert encoded(activation, rows) == pytest.approx([0, 1, 0])


def failing(settings) -> float | None:
    return None if settings["head.dropout"] > 0.3 else by_rate(settings)


@pytest.mark.parametrize("objective", ["log_loss", "accuracy"])
def test_figures_of_trials_of_which_some_failed(objective):
    rows = rows_of(12, failing)
    rows[0] = dataclasses.replace(rows[0], result=dataclasses.replace(rows[0].result, settings={}))
    best = best_of(rows, "log_loss")
    assert best is not None
    assert best.score == min(row.score for row in rows if row.score is not None)
    scores = plots.trial_scores(rows, objective).axes[0]
    labels = [line.get_label() for line in scores.lines]
    assert "Failed" in labels
    assert ("Configuration as given" in labels) == (rows[0].score is not None)
    lines = plots.parallel_coordinates(rows, SPACE, objective).axes[0]
    assert [label.get_text() for label in lines.get_yticklabels()] == list(SPACE.names)
    cost = plots.cost_bars({"encode": 1.0, "train": 2.0, "other": 3.0}, 4.0).axes[0]
    assert cost.get_title(loc="left") == "10 seconds in all"


def test_the_best_is_the_earliest_of_equals():
    rows = rows_of(5, lambda settings: 0.5)
    assert best_of(rows, "accuracy") is rows[0]
    assert best_of(rows_of(3, lambda settings: None), "log_loss") is None


def test_a_line_for_each_trial():
    lines = as_csv(rows_of(6, failing)).splitlines()
    assert lines[0].startswith("trial,status,training.learning_rate,head.dropout,head.hidden")
    assert len(lines) == 7
    assert any(line.endswith(",it broke") and ",failed," in line for line in lines)
