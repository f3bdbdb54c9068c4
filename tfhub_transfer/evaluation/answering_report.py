"""One page about answers to questions, with the wrong ones marked in their contexts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table
from rich.text import Text

from tfhub_transfer.data.splits import LabelledExamples
from tfhub_transfer.evaluation import plots
from tfhub_transfer.evaluation.answers import agreement
from tfhub_transfer.evaluation.page import Page, write_page
from tfhub_transfer.evaluation.report import result_rows
from tfhub_transfer.evaluation.verdict import compare, verdict
from tfhub_transfer.runs import Run

__all__ = ["answer_table", "worst_answers", "write_report"]

_SHOWN = 20
_AROUND = 300  # characters of a long context on either side of what is marked


def write_report(run: Run, page: Page) -> None:
    """Write `report.html`, which loads nothing from elsewhere, and each figure as a PNG.

    Args:
        run: gets `report.html` and `plots/*.png`.
        page: what is told; its mistakes as `worst_answers` returns them.
    """
    metrics = {**page.metrics, "baselines": page.baselines}
    comparison = compare(metrics)
    write_page(
        run,
        "answering_report.html.j2",
        page,
        _figures(page),
        rows=list(result_rows(metrics)),
        verdict=verdict(metrics),
        outcome=comparison.outcome if comparison else "undecided",
    )


def _figures(page: Page) -> Iterator[tuple[str, Figure]]:
    yield "results", plots.result_bars(page.metrics["test"], page.baselines, "f1", "F1")
    if page.history:
        yield "learning_curves", plots.learning_curves(page.history, page.metrics.get("best_epoch"))
    splits = page.data_summary.get("splits", {})
    if any(split.get("words") for split in splits.values()):
        yield "text_lengths", plots.text_lengths(splits)


def worst_answers(
    rows: LabelledExamples, answers: Sequence[Any], count: int = _SHOWN
) -> list[dict[str, Any]]:
    """Return the wrong answers that the model was surest of, the surest first.

    Args:
        rows: the questions.
        answers: to each, as `Answering.answer` returns them.
        count: answers to return at most.

    Returns:
        Dicts of `id`, `question`, `golds`, `answer`, `score`, `f1`, and of the context in pieces,
        `before`, `marked` and `after`.
    """
    examples = rows.examples
    found = agreement([answer.text for answer in answers], examples.golds())
    scores = np.array([answer.score for answer in answers]) * (found.exact < 1)
    worst = np.argsort(-scores, kind="stable")[:count]
    worst = worst[scores[worst] > 0]
    shown = []
    told = zip(worst.tolist(), examples.encodable(worst), examples.golds(worst), strict=True)
    for row, (question, context), golds in told:
        answer = answers[row]
        start, end = max(answer.start, 0), max(answer.end, 0)
        from_, until = max(0, start - _AROUND), end + _AROUND
        shown.append(
            {
                "id": int(examples.ids[row]),
                "question": question,
                "golds": list(dict.fromkeys(golds)),
                "answer": answer.text,
                "score": answer.score,
                "f1": float(found.f1[row]),
                "before": ("…" if from_ else "") + context[from_:start],
                "marked": context[start:end],
                "after": context[end:until] + ("…" if until < len(context) else ""),
            }
        )
    return shown


def answer_table(metrics: Mapping[str, Any]) -> Table:
    """Return the terminal's table: the model beside its baselines, and the verdict below.

    Args:
        metrics: what `metrics.json` holds, whole.
    """
    table = Table(caption=Text(verdict(metrics)), caption_justify="left", caption_style="")
    table.add_column("Test set")
    for heading in ("F1", "95% interval", "Exact match", "95% interval"):
        table.add_column(heading, justify="right")
    for name, row in result_rows(metrics):
        cells = []
        for key in ("f1", "exact_match"):
            low, high = row["ci95"][key]
            cells += [f"{row[key]:.3f}", f"{low:.3f} to {high:.3f}"]
        table.add_row(name, *cells)
    return table
