"""A protocol's result: `table.csv`, `table.md`, and one page that needs no other file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tfhub_transfer.evaluation.page import page_template
from tfhub_transfer.evaluation.protocols import plots
from tfhub_transfer.evaluation.protocols.grid import Protocol
from tfhub_transfer.evaluation.protocols.table import (
    HEADINGS,
    TEXTS,
    Row,
    as_csv,
    as_markdown,
    cells_of,
)
from tfhub_transfer.evaluation.style import to_svg, write_png
from tfhub_transfer.runs import Run, as_yaml, atomic_path, environment

__all__ = ["Result", "print_result", "write_result"]


@dataclass(frozen=True)
class Result:
    """What a protocol came to.

    Attributes:
        protocol: what was run.
        rows: of the table.
        failures: the error of each cell that failed, by its directory.
        command: repeats the protocol.
    """

    protocol: Protocol
    rows: tuple[Row, ...]
    failures: Mapping[str, str]
    command: str


def write_result(result: Result, home: Run) -> None:
    """Write the table in three forms, and each figure as a PNG, into the protocol's directory."""
    protocol, rows = result.protocol, result.rows
    home.write_text("table.csv", as_csv(rows))
    home.write_text("table.md", as_markdown(rows))
    figures = []
    for name, figure in _figures(protocol, rows):
        with atomic_path(home.plots / f"{name}.png") as temporary:
            write_png(figure, temporary)
        figures.append(Markup(to_svg(figure, name, figure.axes[0].get_title(loc="left"))))
    page = page_template("protocol.html.j2").render(
        result=result,
        protocol=protocol,
        expected=len(protocol.cells()),
        headings=HEADINGS,
        texts=TEXTS,
        rows=[(row, cells_of(row)) for row in rows],
        figures=figures,
        settings=_settings(protocol),
        environment=environment(),
    )
    home.write_text(home.report_file.name, page)


def print_result(result: Result, directory: Path) -> None:
    """Print the table, what failed, and where the report is, for a person at a terminal."""
    console = Console()
    table = Table()
    for heading in ("Data", "Shots", "Method"):
        table.add_column(heading)
    for heading in ("Accuracy", "Points", "p (Holm)"):
        table.add_column(heading, justify="right")
    for row in result.rows:
        cells = dict(zip(HEADINGS, cells_of(row), strict=True))
        points = f"{100 * row.difference.mean:+.1f}" if row.difference else ""
        # as Text, since brackets in a name are no markup
        shown = (row.data, cells["Shots"], row.name, cells["Accuracy"], points, cells["p (Holm)"])
        table.add_row(*map(Text, shown), style="bold" if row.significant else "")
    console.print(table)
    for path, error in result.failures.items():
        console.print(f"failed: {path}: {error}", markup=False, highlight=False, soft_wrap=True)
    report = f"report: {directory / 'report.html'}, with table.csv and table.md beside it"
    console.print(report, markup=False, highlight=False, soft_wrap=True)


def _figures(protocol: Protocol, rows: Sequence[Row]) -> Iterator[tuple[str, Figure]]:
    for entry in protocol.data:
        own = [row for row in rows if row.data == entry.name]
        if len({row.shots for row in own}) > 1:
            yield f"{entry.name}-examples", plots.accuracy_by_examples(own)
        if any(row.texts_per_s for row in own):
            yield f"{entry.name}-speed", plots.accuracy_by_speed(own)


def _settings(protocol: Protocol) -> str:
    """Return what each entry sets, as a protocol's file would."""
    axes = {"data": protocol.data, "encoders": protocol.encoders, "strategies": protocol.strategies}
    content: dict[str, Any] = {
        axis: [{"name": entry.name, **entry.settings} for entry in entries]
        for axis, entries in axes.items()
    }
    content |= {
        "shots": ["all" if shots is None else shots for shots in protocol.shots],
        "seeds": list(protocol.seeds),
        "baselines": list(protocol.baselines),
        "compare": protocol.compare,
        "settings": dict(protocol.settings),
    }
    return as_yaml(content)
