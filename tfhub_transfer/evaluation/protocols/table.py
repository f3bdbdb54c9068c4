"""The runs of a protocol -> one row for each method: mean, deviation, and what differs."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfhub_transfer.errors import RunError
from tfhub_transfer.evaluation.bootstrap import Array
from tfhub_transfer.evaluation.metrics import predict
from tfhub_transfer.evaluation.plots import NAMES
from tfhub_transfer.evaluation.predictions import Predictions
from tfhub_transfer.evaluation.protocols.grid import Cell, Protocol
from tfhub_transfer.evaluation.protocols.listing import is_finished
from tfhub_transfer.evaluation.protocols.significance import Difference, compare, holm
from tfhub_transfer.runs import Run

__all__ = ["Row", "as_csv", "as_markdown", "rows_of"]

SIGNIFICANT = 0.05
HEADINGS = (
    "Data",
    "Shots",
    "Encoder",
    "Method",
    "Seeds",
    "Accuracy",
    "Difference, points",
    "p (Holm)",
    "Macro F1",
    "Encoding, s",
    "Training, s",
    "Texts/s",
)
TEXTS = 4
"""So many of the first columns are words; the others are numbers, or nearly."""


@dataclass(frozen=True)
class Row:
    """One method on one data set, over the seeds whose runs are finished.

    Attributes:
        data: the data set's name.
        shots: training rows of each class; None for all.
        encoder: its name; None for a baseline without one.
        method: a strategy's name, or a baseline's.
        is_baseline: whether it is a baseline.
        seeds: how many runs are behind the means.
        accuracy: mean, of the test rows.
        accuracy_sd: standard deviation over seeds (n - 1); None for one seed.
        macro_f1: mean.
        macro_f1_sd: its standard deviation.
        train_rows: labelled rows trained on, mean.
        test_rows: mean.
        encode_s: mean; the cache is shared, so that whoever came first has encoded.
        train_s: mean.
        texts_per_s: strings in, probabilities out; None where it was not measured.
        compared_with: encoder and method; None for what is not compared.
        difference: from that, on accuracy; None for what is not compared.
        p: of the difference, corrected after Holm over the table's rows.
    """

    data: str
    shots: int | None
    encoder: str | None
    method: str
    is_baseline: bool
    seeds: int
    accuracy: float
    accuracy_sd: float | None
    macro_f1: float
    macro_f1_sd: float | None
    train_rows: float
    test_rows: float
    encode_s: float
    train_s: float
    texts_per_s: float | None
    compared_with: str | None = None
    difference: Difference | None = None
    p: float | None = None

    @property
    def name(self) -> str:
        """The encoder's and the method's, as a legend shows them."""
        method = NAMES.get(self.method, self.method)
        return f"{method}, {self.encoder}" if self.encoder else method

    @property
    def significant(self) -> bool:
        """Whether the difference is more than seeds and rows explain, at 5% over the table."""
        return self.p is not None and self.p < SIGNIFICANT


_Key = tuple[str, int | None, str | None, str]


def rows_of(protocol: Protocol, output: Path) -> list[Row]:
    """Return the table's rows, in the order of the data sets, then shots, then methods.

    Raises:
        RunError: predictions of a run cannot be read, or were made on other rows than those of
            the run that they are compared with.
    """
    groups: dict[_Key, list[Cell]] = {}
    for cell in protocol.cells():
        groups.setdefault(_key(cell), [])
        if is_finished(cell, output):
            groups[_key(cell)].append(cell)
    groups = {key: cells for key, cells in groups.items() if cells}
    correct = {key: [_correct(cell, output) for cell in cells] for key, cells in groups.items()}
    metrics = {
        key: [Run(output / cell.path).load_metrics() for cell in cells]
        for key, cells in groups.items()
    }
    speeds = _speeds(metrics)
    rows = []
    for key, cells in groups.items():
        row = _row(cells, metrics[key], speeds.get(_kind(key)))
        if reference := protocol.reference(cells[0]):
            other = (*key[:2], *reference)
            if other in groups and other != key:
                row = dataclasses.replace(
                    row,
                    compared_with="/".join(filter(None, reference)),
                    difference=_difference(
                        (cells, correct[key]), (groups[other], correct[other]), output
                    ),
                )
        rows.append(row)
    compared = {index: row.difference.p for index, row in enumerate(rows) if row.difference}
    for index, p in zip(compared, holm(list(compared.values())), strict=True):
        rows[index] = dataclasses.replace(rows[index], p=p)
    order = [entry.name for entry in protocol.data]
    return sorted(
        rows, key=lambda row: (order.index(row.data), protocol.shots.index(row.shots))
    )


def _key(cell: Cell) -> _Key:
    return (cell.data, cell.shots, cell.encoder, cell.method)


def _correct(cell: Cell, output: Path) -> tuple[Array, Array]:
    """Return the test targets and bool[N], whether each row's labels were all right."""
    split = Predictions.load(Run(output / cell.path)).test
    right = predict(split.targets, split.probabilities) == split.targets
    return split.targets, right.all(axis=1) if right.ndim == 2 else right


def _difference(
    ours: tuple[list[Cell], list[tuple[Array, Array]]],
    theirs: tuple[list[Cell], list[tuple[Array, Array]]],
    output: Path,
) -> Difference | None:
    """Compare the seeds that both have; None where there is none."""
    one, other = (
        {cell.seed: values for cell, values in zip(*side, strict=True)} for side in (ours, theirs)
    )
    seeds = [seed for seed in one if seed in other]
    if not seeds:
        return None
    for seed in seeds:
        if not np.array_equal(one[seed][0], other[seed][0]):
            raise RunError(
                f"Runs are compared on the same test rows, and these have others: did the data "
                f"change in between? Delete {output} to begin anew. Received: "
                f"{ours[0][0].path.parent} and {theirs[0][0].path.parent}, seed {seed}"
            )
    targets = one[seeds[0]][0]
    return compare(
        [one[seed][1] for seed in seeds],
        [other[seed][1] for seed in seeds],
        # other rows may by chance have the same targets, in the same order; the row means then add
        # a variance that the seeds' has in it already, which errs on the careful side
        same_rows=all(np.array_equal(one[seed][0], targets) for seed in seeds),
    )


def _kind(key: _Key) -> tuple[str, str | None, str]:
    data, _, encoder, method = key
    return data, encoder, method


def _speeds(metrics: Mapping[_Key, Sequence[Mapping[str, Any]]]) -> dict[Any, float]:
    """Return texts/s of each method on each data set; that of a model does not hang on shots."""
    measured: dict[Any, list[float]] = {}
    for key, runs in metrics.items():
        speeds = [run["timing"].get("predict_texts_per_s") for run in runs]
        measured.setdefault(_kind(key), []).extend(filter(None, speeds))
    return {kind: float(np.median(speeds)) for kind, speeds in measured.items() if speeds}


def _row(
    cells: Sequence[Cell], metrics: Sequence[Mapping[str, Any]], texts_per_s: float | None
) -> Row:
    def mean(values: list[float]) -> float:
        return float(np.mean(values))

    def deviation(values: list[float]) -> float | None:
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    accuracy = [run["test"]["accuracy"] for run in metrics]
    macro_f1 = [run["test"]["macro_f1"] for run in metrics]
    timing = [run["timing"] for run in metrics]
    first = cells[0]
    return Row(
        data=first.data,
        shots=first.shots,
        encoder=first.encoder,
        method=first.method,
        is_baseline=first.is_baseline,
        seeds=len(cells),
        accuracy=mean(accuracy),
        accuracy_sd=deviation(accuracy),
        macro_f1=mean(macro_f1),
        macro_f1_sd=deviation(macro_f1),
        train_rows=mean([run["data_summary"]["splits"]["train"]["n"] for run in metrics]),
        test_rows=mean([run["test"]["n"] for run in metrics]),
        encode_s=mean([time.get("encode_s", 0.0) for time in timing]),
        train_s=mean([time["train_s"] for time in timing]),
        texts_per_s=texts_per_s,
    )


def as_csv(rows: Sequence[Row]) -> str:
    """Return all of the rows' numbers, unrounded."""
    text = io.StringIO()
    names = [field.name for field in dataclasses.fields(Row) if field.name != "difference"]
    parts = ("mean", "low", "high")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, *(f"difference_{part}" for part in parts), "p_uncorrected"])
    for row in rows:
        values = [getattr(row, name) for name in names]
        for part in (*parts, "p"):
            values.append(getattr(row.difference, part) if row.difference else None)
        writer.writerow(["" if value is None else value for value in values])
    return text.getvalue()


def cells_of(row: Row) -> list[str]:
    """Return a row as texts under HEADINGS."""
    return [
        row.data,
        "all" if row.shots is None else str(row.shots),
        row.encoder or "",
        NAMES.get(row.method, row.method),
        str(row.seeds),
        _spread(row.accuracy, row.accuracy_sd),
        _points(row.difference),
        "" if row.p is None else ("< 0.001" if row.p < 0.001 else f"{row.p:.3f}"),
        _spread(row.macro_f1, row.macro_f1_sd),
        f"{row.encode_s:.1f}",
        f"{row.train_s:.1f}",
        "" if row.texts_per_s is None else f"{row.texts_per_s:,.0f}",
    ]


def as_markdown(rows: Sequence[Row]) -> str:
    """Return a table; a difference that seeds and rows do not explain stands in bold."""
    lines = [
        f"| {' | '.join(HEADINGS)} |",
        f"|{'|'.join([' --- '] * TEXTS + [' ---: '] * (len(HEADINGS) - TEXTS))}|",
    ]
    for row in rows:
        cells = [cell.replace("|", r"\|") for cell in cells_of(row)]
        if row.significant:
            at = HEADINGS.index("Difference, points")
            cells[at] = f"**{cells[at]}**"
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _spread(mean: float, deviation: float | None) -> str:
    return f"{mean:.3f}" if deviation is None else f"{mean:.3f} ± {deviation:.3f}"


def _points(difference: Difference | None) -> str:
    if difference is None:
        return ""
    # of two seeds an interval may reach further than accuracies do
    low, high = 100 * max(-1.0, difference.low), 100 * min(1.0, difference.high)
    return f"{100 * difference.mean:+.1f} ({low:+.1f} to {high:+.1f})"
