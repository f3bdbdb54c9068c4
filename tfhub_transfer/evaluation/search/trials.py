"""The trials of a search as a table: what they tried, and what it came to."""

from __future__ import annotations

import csv
import io
import json
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tfhub_transfer.evaluation.search.result import TrialResult
from tfhub_transfer.training.search import SearchTuner
from tfhub_transfer.training.search_space import Space

__all__ = ["TrialRow", "as_csv", "best_of", "ranked", "rows_of"]

_Trial = TypeVar("_Trial")


@dataclass(frozen=True)
class TrialRow:
    """One trial.

    Attributes:
        number: as its directory is named.
        status: `finished`, `failed` or `unfinished`.
        score: of the objective; None unless it is finished.
        settings: the value of every setting of the space, the configuration's own where the trial
            has no other.
        result: what it came to.
    """

    number: str
    status: str
    score: float | None
    settings: Mapping[str, Any]
    result: TrialResult


def rows_of(tuner: SearchTuner, space: Space) -> list[TrialRow]:
    """Return the trials that were begun, in that order.

    Args:
        tuner: with its oracle in this process.
        space: what they were drawn from.
    """
    words = {"COMPLETED": "finished", "FAILED": "failed"}
    rows = []
    for trial in tuner.oracle.trials.values():
        status = words.get(trial.status, "unfinished")
        result = TrialResult.load(tuner.directory_of(trial.trial_id))
        _, applied = space.applied({} if tuner.is_own(trial) else tuner.settings(trial))
        rows.append(
            TrialRow(
                trial.trial_id,
                status,
                None if trial.score is None else float(trial.score),
                {**space.own, **applied},
                result or TrialResult(applied, error=trial.message),
            )
        )
    return rows


def ranked(
    rows: Iterable[_Trial],
    objective: str,
    score: Callable[[_Trial], float | None] = operator.attrgetter("score"),
) -> list[_Trial]:
    """Return the trials that have a score, the best first, of equals the earlier.

    Args:
        rows: in the order in which they were begun.
        objective: `log_loss` or `accuracy`.
        score: what a trial scored.
    """
    scored = [(found, row) for row in rows if (found := score(row)) is not None]
    scored.sort(key=lambda pair: pair[0], reverse=objective == "accuracy")
    return [row for _, row in scored]


def best_of(rows: Sequence[TrialRow], objective: str) -> TrialRow | None:
    """Return the first of the ranked trials; None if none is finished."""
    return next(iter(ranked(rows, objective)), None)


def as_csv(rows: Sequence[TrialRow]) -> str:
    """Return a line for each trial, lists as JSON."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(rows[0].settings) if rows else []
    measured = ("log_loss", "accuracy")
    told = ("epochs", "stopped", "repeats")
    seconds = ("total", "encode", "train")
    writer.writerow(
        ["trial", "status", *names, *measured, *told, *(f"{s}_s" for s in seconds), "error"]
    )
    for row in rows:
        result = row.result
        writer.writerow(
            [
                row.number,
                row.status,
                *(_cell(row.settings[name]) for name in names),
                *(result.scores.get(name, "") for name in measured),
                *(_cell(getattr(result, name)) for name in told),
                *(result.seconds.get(name, "") for name in seconds),
                result.error or "",
            ]
        )
    return text.getvalue()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return value if isinstance(value, str | int | float) else json.dumps(value)
