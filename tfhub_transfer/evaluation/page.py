"""What the pages about runs share: their figures, and the terminal's short form of them."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure
from rich.console import Console

from tfhub_transfer.evaluation.style import to_svg, write_png
from tfhub_transfer.registry import EVALUATIONS
from tfhub_transfer.runs import Run, as_yaml, atomic_path

__all__ = [
    "Page",
    "next_commands",
    "page_template",
    "print_next",
    "print_result",
    "write_page",
]

LARGEST_SVG = 400_000
"""Characters; a figure of more goes into the page as PNG."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Page:
    """What is told of a run, whatever its task.

    Attributes:
        title: of the page.
        metrics: what `metrics.json` holds, whole.
        baselines: name to the metrics of each baseline on the same test rows.
        config: the settings of the run.
        history: one dict per epoch: `epoch`, `loss`, `val_loss`, ...
        mistakes: test rows that the model got wrong, as the task shows them.
        data_summary: as `Dataset.summary` holds it; what is missing is left out of the page.
        notes: sentences that a reader should not miss.
        command: repeats the run.
        environment: package versions and hardware.
        timing: seconds by step.
    """

    title: str
    metrics: Mapping[str, Any]
    baselines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()
    mistakes: Sequence[Mapping[str, Any]] = ()
    data_summary: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    command: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    timing: Mapping[str, float] = field(default_factory=dict)


def page_template(name: str) -> jinja2.Template:
    """Return the template of a page of this folder; what it is rendered with is escaped."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("tfhub_transfer.evaluation", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return templates.get_template(name)


def write_page(
    run: Run, template: str, page: Page, figures: Iterable[tuple[str, Figure]], **more: Any
) -> None:
    """Write `report.html`, which loads nothing from elsewhere, and each figure as a PNG.

    Args:
        run: gets `report.html` and `plots/*.png`.
        template: of the page.
        page: what is told, as the template's `result`.
        figures: by the name of their file.
        **more: what else the template takes.
    """
    embedded = {}
    for name, figure in figures:
        png = run.plots / f"{name}.png"
        with atomic_path(png) as temporary:
            write_png(figure, temporary)
        embedded[name] = _embed(figure, name, png)
    text = page_template(template).render(
        result=page,
        test=page.metrics["test"],
        figures=embedded,
        config=as_yaml(page.config),
        **more,
    )
    # a text may hold half a surrogate pair, which UTF-8 has no form for
    run.write_text(run.report_file.name, text.encode("utf-8", "replace").decode("utf-8"))


def print_result(metrics: Mapping[str, Any], report: Path) -> None:
    """Print the notes, the result table and where the report is, for a person at a terminal."""
    console = Console()
    for note in metrics["notes"]:
        console.print(f"note: {note}", markup=False, highlight=False)
    console.print(EVALUATIONS.load(metrics["task"]).table(metrics))
    console.print(f"report: {report}", markup=False, highlight=False, soft_wrap=True)


def next_commands(run: Path) -> tuple[str, ...]:
    """Return what a person may type once a run is finished."""
    directory = shlex.quote(str(run))
    return (
        f"python -m tfhub_transfer.export --run {directory}",
        f"python -m tfhub_transfer.predict --run {directory} --input FILE",
    )


def print_next(run: Path) -> None:
    """Print the commands that follow a training."""
    print("\nnext: " + "\n      ".join(next_commands(run)))


def _embed(figure: Figure, name: str, png: Path) -> Markup:
    """Return the figure as markup that needs no other file."""
    title = " / ".join(filter(None, (axes.get_title(loc="left") for axes in figure.axes)))
    svg = to_svg(figure, name, title)
    if len(svg) <= LARGEST_SVG:
        return Markup(svg)
    data = base64.b64encode(png.read_bytes()).decode("ascii")
    return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(title, data)
