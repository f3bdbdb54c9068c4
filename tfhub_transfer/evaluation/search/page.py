"""A search's report: one page that needs no other file, and a few lines for a terminal."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure
from rich.console import Console

from tfhub_transfer.evaluation.page import next_commands, page_template, print_next, print_result
from tfhub_transfer.evaluation.search import plots
from tfhub_transfer.evaluation.search.directory import SETTINGS
from tfhub_transfer.evaluation.search.importance import Importances
from tfhub_transfer.evaluation.search.trials import TrialRow, ranked
from tfhub_transfer.evaluation.style import to_svg, write_png
from tfhub_transfer.runs import Run, as_yaml, atomic_path, environment
from tfhub_transfer.training.search_settings import TuneConfig
from tfhub_transfer.training.search_space import Space

__all__ = ["SearchReport", "few_rows", "print_search", "verdict", "write_search_report"]

_SHOWN = 10
_ENOUGH_ROWS = 200  # to know an accuracy of 0.9 to within 4 points
_FIGURE_TEXTS = {
    "scores": "Every trial is measured on the same validation rows. The best of many is flattered "
    "by them: what it is worth, the test rows of the retrained runs say.",
    "parallel": "Follow the lines of the best trials: where they meet, a setting matters; where "
    "they spread, it does not.",
    "importance": "By permutation on a random forest that learned the trials' ranks from their "
    "settings.",
    "cost": "Texts are encoded once for all trials with a frozen encoder.",
}


@dataclass(frozen=True)
class SearchReport:
    """What a report is written from.

    Attributes:
        config: of the search.
        space: what was drawn from.
        validation_rows: that the trials are compared on.
        rows: the trials.
        best: the one of the best score, if any is finished.
        importance: of each setting, if there are trials enough.
        cost: seconds in `trials`, of these `encode`, `train` and `other`.
        summary: what `metrics.json` says of the search; None before the best is retrained.
    """

    config: TuneConfig
    space: Space
    validation_rows: int
    rows: Sequence[TrialRow]
    best: TrialRow | None
    importance: Importances | None
    cost: Mapping[str, float]
    summary: Mapping[str, Any] | None


def write_search_report(home: Run, report: SearchReport) -> None:
    """Write `report.html`, which loads nothing from elsewhere, and each figure as a PNG."""
    figures = {}
    for name, figure in _figures(report):
        with atomic_path(home.plots / f"{name}.png") as temporary:
            write_png(figure, temporary)
        title = figure.axes[0].get_title(loc="left")
        figures[name] = (Markup(to_svg(figure, name, title)), _FIGURE_TEXTS[name])
    best = ranked(report.rows, report.config.search.objective)[:_SHOWN]
    folder = shlex.quote(str(home.path / SETTINGS))
    page = page_template("search.html.j2").render(
        report=report,
        objective=plots.OBJECTIVES[report.config.search.objective],
        verdict=verdict(report.summary) if report.summary else None,
        outcome=_outcome(report.summary),
        figures=figures,
        best_rows=[(row, _changed(row, report.space)) for row in best],
        failures=[row for row in report.rows if row.status == "failed"],
        cut=sum(row.result.stopped == "budget" for row in report.rows),
        repeated=sum(row.result.repeats is not None for row in report.rows),
        command=f"python -m tfhub_transfer.tune --config {folder} --run NEW_DIRECTORY",
        few=few_rows(report.validation_rows),
        next=next_commands(home.path.parent) if report.summary else (),
        settings=as_yaml(report.config.settings()),
        environment=environment(),
    )
    # an error may quote half a surrogate pair, which UTF-8 has no form for
    home.write_text(home.report_file.name, page.encode("utf-8", "replace").decode("utf-8"))


def _figures(report: SearchReport) -> Iterator[tuple[str, Figure]]:
    objective = report.config.search.objective
    if report.best is not None:
        yield "scores", plots.trial_scores(report.rows, objective)
        yield "parallel", plots.parallel_coordinates(report.rows, report.space, objective)
    if report.importance is not None:
        yield "importance", plots.importance_bars(report.importance)
    seconds = report.summary["seconds"]["retraining"] if report.summary else None
    yield "cost", plots.cost_bars(report.cost, seconds)


def _changed(row: TrialRow, space: Space) -> str:
    """Return what a trial has other than the configuration."""
    own = space.own
    texts = [
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {_plain(value)}"
        for name, value in row.settings.items()
        if value != own[name]
    ]
    return ", ".join(texts) or "the configuration as given"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def verdict(summary: Mapping[str, Any]) -> str:
    """Say what the search was worth on the test rows, in one or two sentences."""
    seeds = len(summary["seeds"])
    ours = _spread(summary["test_accuracy"])
    over = f"over {seeds} seeds" if seeds > 1 else "with one seed"
    if summary["as_given_is_best"]:
        return (
            f"No trial did better on the validation rows than the configuration as given, whose "
            f"test accuracy is {ours} {over}."
        )
    text = f"The best settings reach a test accuracy of {ours} {over}"
    found = summary["difference"]
    if summary["as_given_failed"]:
        return f"{text}; the configuration as given failed: {summary['as_given_failed']}"
    if found is None:
        return f"{text}; the configuration as given was not trained for comparison."
    if found["low"] == found["high"] == 0:
        return (
            f"{text}, and so does the configuration as given, with the same test rows right: "
            f"between them these rows cannot tell."
        )
    points, low, high = (100 * found[key] for key in ("mean", "low", "high"))
    told = {
        "wins": "more than seeds and test rows explain",
        "loses": "worse than seeds and test rows explain: the search misled",
        "undecided": "which seeds and test rows may explain",
    }[_outcome(summary)]
    return (
        f"{text}, the configuration as given {_spread(summary['as_given'])}: a difference of "
        f"{points:+.1f} points (95% interval {low:+.1f} to {high:+.1f}), {told}."
    )


def few_rows(validation_rows: int) -> str:
    """Return a warning where chance chooses the best trial; empty where rows are enough."""
    if validation_rows >= _ENOUGH_ROWS:
        return ""
    points = 100 * 1.96 * math.sqrt(0.9 * 0.1 / validation_rows)
    return (
        f"the trials are compared on {validation_rows} validation rows, by which an accuracy of "
        f"0.9 is known to within {points:.0f} points: among many trials the best may be the "
        f"luckiest. More rows, or a larger --data.validation_fraction, tell better."
    )


def _outcome(summary: Mapping[str, Any] | None) -> str:
    found = summary["difference"] if summary else None
    if found is None or found["low"] <= 0 <= found["high"]:
        return "undecided"
    return "wins" if found["mean"] > 0 else "loses"


def _spread(accuracy: Mapping[str, Any]) -> str:
    deviation = "" if accuracy["sd"] is None else f" ± {accuracy['sd']:.3f}"
    return f"{accuracy['mean']:.3f}{deviation}"


def print_search(run: Run) -> None:
    """Print the result of a search and where the reports are, for a person at a terminal."""
    metrics = run.load_metrics()
    summary = metrics["search"]
    print_result(metrics, run.report_file)
    console = Console()
    lines = [
        f"search: {summary['finished']} of {summary['trials']} trials finished, "
        f"{summary['failed']} failed, in {summary['seconds']['trials']:.0f} s in all; best: trial "
        f"{summary['best_trial']}, {summary['objective']} {summary['best_score']:.4f}",
        *(f"  {name}: {_plain(value)}" for name, value in summary["settings"].items()),
        verdict(summary),
        f"search report: {run.path / 'search' / 'report.html'}",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    print_next(run.path)
