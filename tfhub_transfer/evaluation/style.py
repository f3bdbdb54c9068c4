"""One look for every figure, and the two forms in which figures leave: SVG for a page, and PNG."""

from __future__ import annotations

import functools
import html
import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

P = ParamSpec("P")

# Okabe and Ito's palette, which the common kinds of colour blindness keep apart
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F", "#8A8A8A")
GREY = COLOURS[-1]
INK = "#20242B"
"""Of text, axes and grid; `to_svg` makes it the page's own text colour."""

STYLE: Any = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.12,
    "lines.linewidth": 2,
    "legend.frameon": False,
    "image.cmap": "cividis",
    "svg.fonttype": "none",
    "text.parse_math": False,  # a label with dollar signs is a label
}
WIDTH = 7.2  # inches; at 600 pixels on screen the smallest type is then 9 pixels high


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Let `draw` draw in the common style, whatever the caller's own settings are."""

    @functools.wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapped


def plot_style() -> None:
    """Give the figures that pyplot makes from now on the look of the report's.

    The colours are `"C0"` to `"C7"`, in the order of `COLOURS`. Unlike the report's own figures,
    these read dollar signs as mathematics, as the ticks of logarithmic axes are written.
    """
    own = {
        "text.parse_math": True,
        "figure.figsize": (WIDTH, WIDTH / 2),
        "figure.constrained_layout.use": True,
    }
    matplotlib.rcParams.update({**STYLE, **own})


def to_svg(figure: Figure, name: str, description: str) -> str:
    """Return the figure as an `<svg>` element to stand in an HTML page beside others.

    Texts stay texts, the background is the page's, and so is the colour of what was drawn in
    `INK`. `name` keeps the element's ids apart from those of other figures.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        _save(
            figure,
            buffer,
            format="svg",
            transparent=True,
            metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")),
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK.lower(), "currentColor")
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)
    label = html.escape(description)
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def write_png(figure: Figure, path: Path) -> None:
    """Write the figure to `path` on a white background, at 150 dots per inch."""
    with matplotlib.rc_context(STYLE):
        _save(figure, path, format="png", dpi=150, facecolor="white")


def _save(figure: Figure, target: Any, **options: Any) -> None:
    with warnings.catch_warnings():
        # labels may be in any script; where the drawing font lacks it, the viewer's may not
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(target, **options)


def short(label: str, length: int = 28) -> str:
    """Return a label that fits beside an axis, on one line."""
    line = " ".join(label.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def figure_of(height: float, width: float = WIDTH) -> tuple[Figure, Axes]:
    """Return a figure of that size in inches, and its only axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()
