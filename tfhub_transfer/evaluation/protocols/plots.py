"""The figures of a protocol, one for each data set, in the style of all others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator

from tfhub_transfer.evaluation.protocols.table import Row
from tfhub_transfer.evaluation.style import COLOURS, WIDTH, short, styled

__all__ = ["accuracy_by_examples", "accuracy_by_speed"]

# Apart for those who see no colours, and where there are more methods than colours.
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")


@styled
def accuracy_by_examples(rows: Sequence[Row]) -> Figure:
    """Draw accuracy over the number of labelled training rows, a band of one deviation around it.

    Args:
        rows: of one data set.
    """
    sizes = sorted({round(row.train_rows) for row in rows})
    figure, axes = _figure(rows)
    for name, colour, marker, own in _methods(rows):
        points = sorted(own, key=lambda row: row.train_rows)
        x = [row.train_rows for row in points]
        y = np.array([row.accuracy for row in points])
        spread = np.array([row.accuracy_sd or 0.0 for row in points])
        dashed = "--" if own[0].is_baseline else "-"
        axes.plot(x, y, color=colour, marker=marker, linestyle=dashed, label=short(name, 44))
        axes.fill_between(x, y - spread, y + spread, color=colour, alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(
        xlabel="Labelled training rows",
        ylabel="Test accuracy",
        title=f"{rows[0].data}: accuracy against labelled examples",
    )
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@styled
def accuracy_by_speed(rows: Sequence[Row]) -> Figure:
    """Draw accuracy over predicted texts a second, with one deviation as bars.

    Args:
        rows: of one data set, some of them with a speed; of each method, the one with the most
            training rows is drawn.
    """
    figure, axes = _figure(rows)
    speeds: list[float] = []
    for name, colour, marker, own in _methods(rows):
        speed = own[0].texts_per_s
        if speed is None:
            continue
        speeds.append(speed)
        last = max(own, key=lambda row: row.train_rows)
        axes.errorbar(
            [speed],
            [last.accuracy],
            yerr=[last.accuracy_sd or 0.0],
            color=colour,
            marker=marker,
            markersize=9,
            capsize=4,
            linestyle="none",
            label=short(name, 44),
        )
    axes.set_xscale("log")
    axes.set(
        xlim=(min(speeds) / 2, max(speeds) * 2),
        xlabel="Predicted texts per second",
        ylabel="Test accuracy",
        title=f"{rows[0].data}: accuracy against speed",
    )
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_locator(NullLocator())
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _methods(rows: Sequence[Row]) -> Iterator[tuple[str, str, str, list[Row]]]:
    """Yield name, colour, marker and rows of each method, the same in every figure."""
    names = list(dict.fromkeys(row.name for row in rows))
    for index, name in enumerate(names):
        own = [row for row in rows if row.name == name]
        yield name, COLOURS[index % len(COLOURS)], _MARKERS[index % len(_MARKERS)], own


def _figure(rows: Sequence[Row]) -> tuple[Figure, Axes]:
    names = len({row.name for row in rows})
    figure = Figure(figsize=(WIDTH, 3.8 + 0.22 * ((names + 1) // 2)), layout="constrained")
    return figure, figure.subplots()
