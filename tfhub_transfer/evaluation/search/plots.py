"""The figures of a search, in the style of all others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tfhub_transfer.evaluation.search.importance import Importances, encoded, ordered
from tfhub_transfer.evaluation.search.trials import TrialRow, ranked
from tfhub_transfer.evaluation.style import COLOURS, GREY, INK, WIDTH, figure_of, short, styled
from tfhub_transfer.training.search_space import Choice, Dimension, Space

__all__ = ["OBJECTIVES", "cost_bars", "importance_bars", "parallel_coordinates", "trial_scores"]

OBJECTIVES = {"log_loss": "Validation log loss", "accuracy": "Validation accuracy"}
_BEST = 5  # lines of the parallel coordinates that stand out


@styled
def trial_scores(rows: Sequence[TrialRow], objective: str) -> Figure:
    """Draw each trial's score in the order of the trials, and the best so far.

    Args:
        rows: of which one is finished at least.
        objective: `log_loss` or `accuracy`.
    """
    figure, axes = figure_of(height=3.6)
    places = np.arange(len(rows))  # as trials are numbered
    scores = np.array([np.nan if row.score is None else row.score for row in rows])
    best = (np.fmin if objective == "log_loss" else np.fmax).accumulate(scores)
    axes.step(places, best, where="post", color=COLOURS[0], label="Best so far")
    axes.plot(places, scores, "o", color=COLOURS[1], markersize=6, label="Trial")
    if not np.isnan(scores[0]) and not rows[0].result.settings:
        axes.plot(
            0, scores[0], "D", color=COLOURS[2], markersize=9, label="Configuration as given"
        )
    failed = [place for place, row in zip(places, rows, strict=True) if row.status == "failed"]
    if failed:
        low, high = axes.get_ylim()
        axes.plot(failed, np.full(len(failed), low), "x", color=INK, label="Failed", clip_on=False)
        axes.set_ylim(low, high)
    final = best[~np.isnan(best)][-1]
    axes.set(
        xlabel="Trial",
        ylabel=OBJECTIVES[objective],
        title=f"Best {OBJECTIVES[objective].lower()} of {len(rows)} trials: {final:.4f}",
    )
    axes.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(loc="outside lower center", ncols=4)
    return figure


@styled
def parallel_coordinates(rows: Sequence[TrialRow], space: Space, objective: str) -> Figure:
    """Draw each finished trial as a line through its settings, coloured by its rank.

    Args:
        rows: of which one is finished at least.
        space: an axis for each of its settings.
        objective: `log_loss` or `accuracy`.
    """
    finished = ranked(rows, objective)
    columns = np.stack([encoded(one, finished) for one in space.dimensions], axis=1)
    count = columns.shape[1]
    figure, axes = figure_of(height=0.62 * count + 1.6)
    # axes lie on their side, so that their names have room
    spread = np.random.default_rng(0).uniform(-0.012, 0.012, columns.shape)
    colours = matplotlib.colormaps["cividis"]
    for row in reversed(range(len(finished))):
        outstanding = row < _BEST
        axes.plot(
            columns[row] + spread[row],
            np.arange(count)[::-1],
            color=COLOURS[1] if outstanding else colours(row / max(1, len(finished) - 1)),
            linewidth=2.2 if outstanding else 1.0,
            alpha=0.95 if outstanding else 0.45,
        )
    for place, dimension in zip(np.arange(count)[::-1], space.dimensions, strict=True):
        axes.axhline(place, color=GREY, linewidth=0.8, zorder=0)
        for position, text in _ticks(dimension):
            axes.text(position, place - 0.13, text, ha="center", va="top", fontsize=8)
    axes.set_yticks(np.arange(count)[::-1], [one.name for one in space.dimensions])
    axes.set(xlim=(-0.08, 1.08), ylim=(-0.6, count - 0.7), xticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_title(f"Settings of {len(finished)} finished trials, a line each")
    shown = [
        (COLOURS[1], f"the best {min(_BEST, len(finished))}"),
        (colours(0.15), "good"),
        (colours(1.0), "bad"),
    ]
    lines = [Line2D([], [], color=colour, label=label) for colour, label in shown]
    figure.legend(handles=lines, loc="outside lower center", ncols=3)
    return figure


def _ticks(dimension: Dimension) -> list[tuple[float, str]]:
    if isinstance(dimension, Choice):
        values = ordered(dimension)
        last = max(1, len(values) - 1)
        texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
        return [(index / last, short(text, 16)) for index, text in enumerate(texts)]
    return [(0.0, f"{dimension.low:g}"), (1.0, f"{dimension.high:g}")]


@styled
def importance_bars(found: Importances) -> Figure:
    """Draw how much the forest's error grows without each setting."""
    names = list(found.shares)[::-1]
    figure, axes = figure_of(height=1.2 + 0.34 * len(names))
    axes.barh(names, [found.shares[name] for name in names], height=0.62, color=COLOURS[0])
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("Loss of R² when its values are shuffled")
    axes.set_title(f"Most depends on {short(names[-1], 34)}")
    return figure


@styled
def cost_bars(cost: Mapping[str, float], retraining: float | None) -> Figure:
    """Draw what the seconds of a search went into."""
    parts = {
        "Encoding texts": cost["encode"],
        "Training": cost["train"],
        "Everything else in the trials": cost["other"],
        **({} if retraining is None else {"Retraining over seeds": retraining}),
    }
    figure, axes = figure_of(height=1.1 + 0.4 * len(parts), width=WIDTH)
    names = list(parts)[::-1]
    bars = axes.barh(names, [parts[name] for name in names], height=0.62, color=COLOURS[0])
    axes.bar_label(bars, [f"{parts[name]:.1f} s" for name in names], padding=4)
    axes.margins(x=0.15)
    axes.grid(axis="y", visible=False)
    axes.set(xlabel="Seconds", title=f"{sum(parts.values()):.0f} seconds in all")
    return figure
