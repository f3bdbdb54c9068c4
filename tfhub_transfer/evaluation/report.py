"""One page about a classifier: a self-contained `report.html`, and the terminal's short form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table
from rich.text import Text

from tfhub_transfer.evaluation import plots
from tfhub_transfer.evaluation.bootstrap import Array
from tfhub_transfer.evaluation.metrics import check_predictions, predict
from tfhub_transfer.evaluation.page import Page, write_page
from tfhub_transfer.evaluation.verdict import compare, verdict
from tfhub_transfer.runs import Run

__all__ = [
    "Report",
    "most_confident_mistakes",
    "result_table",
    "verdict",
    "write_report",
]


@dataclass(frozen=True, eq=False, kw_only=True)
class Report(Page):
    """What a classifier's report is written from.

    Attributes:
        labels: C class names.
        targets: of the test rows: int[N] class indices, or 0/1 [N, C].
        probabilities: of the test rows: float[N, C].
    """

    labels: Sequence[str]
    targets: Array
    probabilities: Array


def write_report(run: Run, *, result: Report) -> None:
    """Write `report.html`, which loads nothing from elsewhere, and each figure as a PNG.

    Args:
        run: gets `report.html` and `plots/*.png`.
        result: what is reported.

    Raises:
        DataError: targets and probabilities do not fit each other.
    """
    targets, probabilities = check_predictions(result.targets, result.probabilities, result.labels)
    metrics = {**result.metrics, "baselines": result.baselines}
    comparison = compare(metrics)
    write_page(
        run,
        "report.html.j2",
        result,
        _figures(result, targets, probabilities),
        rows=list(result_rows(metrics)),
        verdict=verdict(metrics),
        outcome=comparison.outcome if comparison else "undecided",
        multi_label=targets.ndim == 2,
        confused=most_confused(result.metrics["test"]["confusion_matrix"], result.labels),
    )


def most_confident_mistakes(
    texts_of: Callable[[Array], list[str]],
    targets: Array,
    probabilities: Array,
    labels: Sequence[str],
    ids: Sequence[Any] | Array,
    count: int = 20,
) -> list[dict[str, Any]]:
    """Return the wrong predictions that the model was surest of, the surest first.

    A row with several labels is as confidently wrong as its most confident wrong label.

    Args:
        texts_of: from positions int64[M] to M texts; asked for those that are returned only.
        targets: int[N] class indices, or 0/1 [N, C].
        probabilities: float[N, C].
        labels: C names.
        ids: N identifiers of the rows.
        count: mistakes to return at most.

    Returns:
        Dicts of `id`, `text`, `truth`, `predicted` and `confidence`.
    """
    targets, probabilities = check_predictions(targets, probabilities, labels)
    predictions = predict(targets, probabilities)
    if targets.ndim == 2:
        sure = np.maximum(probabilities, 1 - probabilities)
        confidence = np.where(predictions != targets, sure, 0).max(axis=1)
    else:
        confidence = np.where(predictions != targets, probabilities.max(axis=1), 0)
    worst = np.argsort(-confidence, kind="stable")[:count]
    worst = worst[confidence[worst] > 0]

    def name(classes: Array) -> str:
        chosen = np.flatnonzero(classes).tolist() if targets.ndim == 2 else [int(classes)]
        return " | ".join(labels[index] for index in chosen) or "(none)"

    return [
        {
            "id": np.asarray(ids)[row].item(),
            "text": text,
            "truth": name(targets[row]),
            "predicted": name(predictions[row]),
            "confidence": float(confidence[row]),
        }
        for row, text in zip(worst, texts_of(worst), strict=True)
    ]


def most_confused(matrix: Sequence[Any], labels: Sequence[str], count: int = 15) -> list[Any]:
    """Return (truth, predicted, rows, share of the truth) of the largest off-diagonal cells.

    Args:
        matrix: int[C, C], rows true; the per-label matrices of multi-label targets have no pairs.
        labels: C names.
        count: pairs to return at most.
    """
    counts = np.array(matrix)
    if counts.ndim != 2:
        return []
    support = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    largest = np.argsort(-counts, axis=None, kind="stable")[:count]
    return [
        (labels[row], labels[column], int(counts[row, column]), counts[row, column] / support[row])
        for row, column in zip(*np.unravel_index(largest, counts.shape), strict=True)
        if counts[row, column]
    ]


def result_rows(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (name, metrics) of the model on the test rows, then of each baseline on the same."""
    yield plots.NAMES["model"], metrics["test"]
    for name, baseline in metrics.get("baselines", {}).items():
        yield plots.NAMES.get(name, name), baseline


def result_table(metrics: Mapping[str, Any]) -> Table:
    """Return the terminal's table: the model beside its baselines, and the verdict below.

    Args:
        metrics: what `metrics.json` holds, whole.
    """
    # as Text, since brackets in an encoder's name or path are no markup
    table = Table(caption=Text(verdict(metrics)), caption_justify="left", caption_style="")
    table.add_column("Test set")
    for heading in ("Accuracy", "95% interval", "Macro F1", "Log loss", "ECE"):
        table.add_column(heading, justify="right")
    for name, row in result_rows(metrics):
        low, high = row["ci95"]["accuracy"]
        table.add_row(
            name,
            f"{row['accuracy']:.3f}",
            f"{low:.3f} to {high:.3f}",
            *(f"{row[key]:.3f}" for key in ("macro_f1", "log_loss", "ece")),
        )
    return table


def _figures(result: Report, targets: Array, probabilities: Array) -> Iterator[tuple[str, Figure]]:
    """Yield (file name, figure) of all that there is data for."""
    test, labels = result.metrics["test"], result.labels
    yield "results", plots.result_bars(test, result.baselines)
    if targets.ndim == 1:
        yield "confusion_matrix", plots.confusion_matrix(test["confusion_matrix"], labels)
    yield "roc", plots.roc_curves(targets, probabilities, labels)
    yield "precision_recall", plots.precision_recall_curves(targets, probabilities, labels)
    yield "reliability", plots.reliability_diagram(targets, probabilities)
    if result.history:
        kept = result.metrics.get("best_epoch")
        yield "learning_curves", plots.learning_curves(result.history, kept)
    splits = result.data_summary.get("splits", {})
    if any(split.get("class_counts") for split in splits.values()):
        yield "class_balance", plots.class_balance(splits)
    if any(split.get("words") for split in splits.values()):
        yield "text_lengths", plots.text_lengths(splits)
