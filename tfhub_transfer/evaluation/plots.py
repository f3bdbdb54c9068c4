"""The report's figures, in one style, made without pyplot and so without its global state.

Every function returns a `matplotlib.figure.Figure` with a title that says what it shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from sklearn import metrics as sk

from tfhub_transfer.evaluation.bootstrap import Array
from tfhub_transfer.evaluation.metrics import (
    calibration_bins,
    decisions,
    expected_calibration_error,
    indicator,
)
from tfhub_transfer.evaluation.style import COLOURS, GREY, INK, WIDTH, figure_of, short, styled

NAMES = {
    "model": "This model",
    "majority": "Majority class",
    "tfidf_logreg": "TF-IDF + log. regression",
    "linear_probe": "Linear probe",
    "textblob": "TextBlob polarity",
    "crf_features": "CRF on word shapes",
    "hmm": "Hidden Markov model",
    "frequent_tag": "Most frequent tag",
    "tfidf_window": "TF-IDF window",
}
_WITH_NUMBERS = 12
_WITH_NAMES = 40
_WITH_LEGEND = 8
_CURVE_POINTS = 200


@styled
def result_bars(
    metrics: Mapping[str, Any],
    baselines: Mapping[str, Mapping[str, Any]],
    key: str = "accuracy",
    name: str = "Accuracy",
) -> Figure:
    """Draw a measure of the model and of each baseline with their 95% intervals.

    Args:
        metrics: of the model on the test rows.
        baselines: those of each baseline.
        key: of the measure.
        name: of the measure, on the axis.
    """
    rows = [("model", metrics), *baselines.items()]
    figure, axes = figure_of(height=1.5 + 0.45 * len(rows))
    for y, (who, row) in enumerate(reversed(rows)):
        low, high = row["ci95"][key]
        axes.barh(y, row[key], height=0.62, color=COLOURS[0] if who == "model" else GREY)
        axes.plot([low, high], [y, y], color=INK, linewidth=1.6, marker="|", markersize=9)
        axes.text(high + 0.015, y, f"{row[key]:.3f}", va="center")
    axes.set_yticks(range(len(rows)), [NAMES.get(who, who) for who, _ in reversed(rows)])
    axes.grid(axis="y", visible=False)
    axes.set(xlim=(0, 1.1), xticks=np.linspace(0, 1, 6), xlabel=f"{name} (line: 95% interval)")
    best = max(baselines.values(), key=lambda row: row[key], default=None)
    if best is None:
        axes.set_title(f"{name} {metrics[key]:.3f}")
    else:
        points = 100 * (metrics[key] - best[key])
        side = "above" if points >= 0 else "below"
        axes.set_title(f"{abs(points):.1f} points {side} the best baseline")
    return figure


@styled
def type_bars(per_type: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw precision, recall and F1 of each type of entity, the most frequent type first."""
    types = sorted(per_type, key=lambda name: -per_type[name]["support"])[:_WITH_NAMES]
    figure, axes = figure_of(height=1.6 + 0.5 * len(types))
    for y, name in enumerate(reversed(types)):
        row = per_type[name]
        axes.barh(y, row["f1"], height=0.62, color=COLOURS[0], label="F1" if not y else None)
        axes.plot(row["precision"], y, "o", color=COLOURS[4], label="Precision" if not y else None)
        axes.plot(row["recall"], y, "D", color=COLOURS[2], label="Recall" if not y else None)
        axes.text(1.02, y, f"{row['f1']:.3f}", va="center")
    names = [f"{short(name)} ({per_type[name]['support']:,})" for name in reversed(types)]
    axes.set_yticks(range(len(types)), names)
    axes.grid(axis="y", visible=False)
    axes.set(xlim=(0, 1.12), xticks=np.linspace(0, 1, 6), xlabel="Share")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    axes.set_title("Type by type (entities in the test rows)", pad=28)
    return figure


@styled
def confusion_matrix(matrix: Sequence[Sequence[int]] | Array, labels: Sequence[str]) -> Figure:
    """Draw a confusion matrix int[C, C], rows true, as shares of each row.

    Up to 12 classes have their counts in the cells, up to 40 their names on the axes.
    """
    counts = np.asarray(matrix)
    classes = len(labels)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = figure_of(height=min(6.6, 3.0 + 0.32 * classes))
    image = axes.imshow(shares, vmin=0, vmax=1)
    axes.grid(visible=False)
    numbered = "" if classes <= _WITH_NAMES else " (by number)"
    if not numbered:
        size = 10 if classes <= _WITH_NUMBERS else 6.5
        names = [short(label) for label in labels]
        axes.set_xticks(range(classes), names, rotation=90 if classes > 4 else 0, fontsize=size)
        axes.set_yticks(range(classes), names, fontsize=size)
    if classes <= _WITH_NUMBERS:
        for (row, column), share in np.ndenumerate(shares):
            # fixed colours: the cell's own brightness decides, not the page's
            axes.text(
                column,
                row,
                f"{counts[row, column]:,}",
                ha="center",
                va="center",
                fontsize=10,
                color="#000000" if share > 0.55 else "#FFFFFF",
            )
    axes.set(xlabel=f"Predicted class{numbered}", ylabel=f"True class{numbered}")
    axes.set_title(f"{np.trace(counts):,} of {counts.sum():,} on the diagonal")
    figure.colorbar(image, ax=axes, label="Share of the true class", shrink=0.8)
    return figure


@styled
def roc_curves(targets: Array, probabilities: Array, labels: Sequence[str]) -> Figure:
    """Draw receiver operating characteristics: of two classes the second's, else one per class."""
    figure, axes = _unit_square()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
    curves = {}
    for name, truth, score in _one_against_rest(targets, probabilities, labels):
        false_positive, true_positive, _ = sk.roc_curve(truth, score)
        curves[name] = (false_positive, true_positive, sk.auc(false_positive, true_positive))
    _draw_curves(axes, curves, "AUC")
    axes.set(xlabel="False positive rate", ylabel="True positive rate (recall)")
    axes.set_title(_curve_title("AUC", [area for *_, area in curves.values()]))
    return figure


@styled
def precision_recall_curves(targets: Array, probabilities: Array, labels: Sequence[str]) -> Figure:
    """Draw precision over recall: of two classes the second's, else one curve per class."""
    figure, axes = _unit_square()
    curves = {}
    for name, truth, score in _one_against_rest(targets, probabilities, labels):
        precision, recall, _ = sk.precision_recall_curve(truth, score)
        area = float(sk.average_precision_score(truth, score))
        curves[name] = (recall[::-1], precision[::-1], area)
    _draw_curves(axes, curves, "AP")
    axes.set(xlabel="Recall", ylabel="Precision")
    axes.set_title(_curve_title("average precision", [area for *_, area in curves.values()]))
    return figure


@styled
def reliability_diagram(targets: Array, probabilities: Array) -> Figure:
    """Draw accuracy over confidence in 15 bins, above the histogram of confidences."""
    bins = calibration_bins(*decisions(targets, probabilities))
    figure = Figure(figsize=(WIDTH, 5.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    width = np.diff(bins.edges)
    above.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="Calibrated")
    above.bar(
        bins.edges[:-1],
        np.nan_to_num(bins.accuracy),
        width,
        align="edge",
        color=COLOURS[0],
        alpha=0.75,
        label="This model",
    )
    above.plot(
        bins.confidence,
        bins.accuracy,
        "o",
        color=COLOURS[1],
        markersize=5,
        label="Mean confidence of the bin",
    )
    above.set(ylim=(0, 1.02), ylabel="Share that is right")
    above.legend(loc="upper left")
    below.bar(bins.edges[:-1], bins.count, width, align="edge", color=GREY)
    below.set(xlim=(0, 1), xlabel="Confidence", ylabel="Predictions")
    gap = np.average(np.nan_to_num(bins.accuracy - bins.confidence), weights=bins.count)
    lean = "more sure than right" if gap < 0 else "less sure than right"
    error = expected_calibration_error(bins)
    above.set_title(f"On average {abs(100 * gap):.1f} points {lean} (ECE {error:.3f})")
    return figure


@styled
def learning_curves(history: Sequence[Mapping[str, Any]], kept: int | None = None) -> Figure:
    """Draw the loss and one more metric over the epochs, for training and validation.

    Args:
        history: one dict per epoch.
        kept: the epoch, counted from 1, whose weights the model has, to be marked; the one of the
            lowest validation loss when not given.
    """
    measured = [key for key in history[0] if f"val_{key}" in history[0]]
    shown = sorted(measured, key=lambda key: key != "loss")[:2] or ["loss"]
    epochs = [int(_number(row.get("epoch", index))) for index, row in enumerate(history)]
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    for axes, key in zip(np.atleast_1d(figure.subplots(1, len(shown))), shown, strict=True):
        for prefix, name, colour in (("", "Training", GREY), ("val_", "Validation", COLOURS[0])):
            values = np.array([_number(row.get(prefix + key)) for row in history])
            if np.isfinite(values).any():
                axes.plot(epochs, values, marker="o", markersize=4, color=colour, label=name)
                if prefix and key == "loss":
                    best = kept - 1 if kept else int(np.nanargmin(values))
                    axes.plot(
                        epochs[best],
                        values[best],
                        "o",
                        color=COLOURS[1],
                        markersize=9,
                        label=f"{'Kept' if kept else 'Lowest'}: epoch {epochs[best]}",
                    )
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set(xlabel="Epoch", ylabel=key.replace("_", " ").capitalize())
        axes.set_title(key.replace("_", " ").capitalize())
        axes.legend()
    return figure


@styled
def class_balance(splits: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw the share of each class in each split; more than 40 classes sorted and unnamed."""
    counted = {name: split for name, split in splits.items() if split.get("class_counts")}
    first = next(iter(counted.values()))["class_counts"]
    names = sorted(first, key=lambda name: -first[name])
    named = len(names) <= _WITH_NAMES
    figure, axes = figure_of(height=1.9 + 0.34 * len(names) if named else 3.4)
    thickness = 0.8 / len(counted)
    for index, (split, summary) in enumerate(counted.items()):
        counts = summary["class_counts"]
        total = summary.get("n", sum(counts.values()))
        shares = np.array([100 * counts.get(name, 0) / max(total, 1) for name in names])
        label = f"{split} ({total:,})"
        if named:
            places = np.arange(len(names)) + (index - (len(counted) - 1) / 2) * thickness
            axes.barh(places, shares, thickness, color=COLOURS[index % 8], label=label)
        else:
            axes.step(range(1, len(names) + 1), shares, where="mid", label=label)
    if named:
        axes.set_yticks(range(len(names)), [short(name) for name in names])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set(xlabel="Share of the split (%)")
    else:
        axes.set(xlabel="Classes, the largest in training first", ylabel="Share of the split (%)")
        axes.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=3)
    largest, smallest = first[names[0]], first[names[-1]]
    if not smallest:
        title = f"{sum(not count for count in first.values())} classes have no training row"
    elif largest / smallest < 1.05:
        title = "The classes are of equal size"
    else:
        title = f"The largest class is {largest / smallest:.1f} times the smallest"
    axes.set_title(title)
    return figure


@styled
def text_lengths(splits: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw how many words the texts of each split have: 5%, median, 95% and the longest."""
    measured = {name: split["words"] for name, split in splits.items() if split.get("words")}
    figure, axes = figure_of(height=1.5 + 0.4 * len(measured))
    low, median, high, longest = (
        [words[key] for words in measured.values()] for key in ("p5", "p50", "p95", "max")
    )
    y = range(len(measured))
    axes.hlines(y, low, high, color=COLOURS[5], linewidth=8, label="5% to 95% of the texts")
    axes.plot(median, y, "o", color=COLOURS[0], markersize=9, label="Median")
    axes.plot(longest, y, "|", color=COLOURS[1], markersize=14, mew=2, label="Longest")
    axes.set_yticks(y, list(measured))
    axes.set_ylim(len(measured) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlim=(max(min(low), 1) / 1.5, max(longest) * 1.5), xlabel="Words per text")
    figure.legend(loc="outside lower center", ncols=3)
    axes.set_title(f"Half of the {next(iter(measured))} texts have at most {median[0]:,.0f} words")
    return figure


def _unit_square() -> tuple[Figure, Axes]:
    figure, axes = figure_of(height=5.2, width=5.2)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    return figure, axes


def _one_against_rest(
    targets: Array, probabilities: Array, labels: Sequence[str]
) -> Iterable[tuple[str, Array, Array]]:
    """Yield (label, truth bool[N], score float[N]) of each class that has a curve."""
    truth = indicator(targets, len(labels))
    only_second = targets.ndim == 1 and len(labels) == 2
    for index, label in enumerate(labels):
        column = truth[:, index]
        if column.any() and not column.all() and (index or not only_second):
            yield label, column, probabilities[:, index]


def _draw_curves(axes: Axes, curves: Mapping[str, tuple[Array, Array, float]], area: str) -> None:
    """Draw each curve and name it; of more than 8, draw them faintly and name their mean."""
    grid = np.linspace(0, 1, _CURVE_POINTS)
    if len(curves) <= _WITH_LEGEND:
        for label, (x, y, value) in curves.items():
            keep = np.unique(np.linspace(0, len(x) - 1, _CURVE_POINTS).astype(int))
            axes.plot(x[keep], y[keep], label=f"{area} {value:.3f}  {short(label)}")
    else:
        heights = np.array([np.interp(grid, x, y) for x, y, _ in curves.values()])
        axes.plot(grid, heights.T, color=COLOURS[5], linewidth=0.6, alpha=0.35)
        mean = np.mean([value for *_, value in curves.values()])
        axes.plot(grid, heights.mean(axis=0), label=f"{area} {mean:.3f}  mean of all classes")
    if curves:
        axes.legend(loc="lower center")


def _curve_title(what: str, areas: Sequence[float]) -> str:
    if not areas:
        return "No curve: the test set holds a single class"
    if len(areas) == 1:
        return f"{what[0].upper()}{what[1:]} {areas[0]:.3f}"
    return f"Mean {what} {np.mean(areas):.3f} ({min(areas):.3f} to {max(areas):.3f})"


def _number(value: Any) -> float:
    """Return a cell of the history as a number, NaN if it is empty."""
    return float(value) if value not in (None, "") else float("nan")
