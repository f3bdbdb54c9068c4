"""One page about a tagger: entities by type, and the sentences it got wrong, marked in context."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table
from rich.text import Text

from tfhub_transfer.data.schemes import entities
from tfhub_transfer.data.tagged import LabelledSentences
from tfhub_transfer.evaluation import plots
from tfhub_transfer.evaluation.page import Page, write_page
from tfhub_transfer.evaluation.report import result_rows
from tfhub_transfer.evaluation.verdict import compare, verdict
from tfhub_transfer.runs import Run

__all__ = ["tagging_table", "worst_sentences", "write_report"]

_SHOWN = 20

Piece = tuple[str, str | None]
"""Words joined, and the type of the entity that they are."""


def write_report(run: Run, page: Page) -> None:
    """Write `report.html`, which loads nothing from elsewhere, and each figure as a PNG.

    Args:
        run: gets `report.html` and `plots/*.png`.
        page: what is told; its mistakes as `worst_sentences` returns them.
    """
    metrics = {**page.metrics, "baselines": page.baselines}
    comparison = compare(metrics)
    per_type = page.metrics["test"]["per_type"]
    write_page(
        run,
        "tagging_report.html.j2",
        page,
        _figures(page),
        rows=list(result_rows(metrics)),
        verdict=verdict(metrics),
        outcome=comparison.outcome if comparison else "undecided",
        # colours by type, as many as the palette has
        colours={name: number % 7 for number, name in enumerate(sorted(per_type))},
    )


def _figures(page: Page) -> Iterator[tuple[str, Figure]]:
    test = page.metrics["test"]
    yield "results", plots.result_bars(test, page.baselines, "f1", "Entity F1")
    if test["per_type"]:
        yield "types", plots.type_bars(test["per_type"])
    if page.history:
        yield "learning_curves", plots.learning_curves(page.history, page.metrics.get("best_epoch"))
    splits = page.data_summary.get("splits", {})
    if any(split.get("class_counts") for split in splits.values()):
        yield "class_balance", plots.class_balance(splits)
    if any(split.get("words") for split in splits.values()):
        yield "text_lengths", plots.text_lengths(splits)


def worst_sentences(
    rows: LabelledSentences, answers: Sequence[Mapping[str, Any]], count: int = _SHOWN
) -> list[dict[str, Any]]:
    """Return the sentences with wrong tags, first those where the model was surest of them.

    Args:
        rows: the sentences and their tags.
        answers: what the head's `decode` said of each.
        count: sentences to return at most.

    Returns:
        Dicts of `id`, `confidence`, and of the sentence in pieces, `truth` and `predicted`; with
        intents also `intent` and `predicted_intent`.
    """
    truths = rows.examples.tags.named(rows.all_tags)
    confidence = np.zeros(len(answers))
    for row, (truth, answer) in enumerate(zip(truths, answers, strict=True)):
        told = zip(truth, answer["tags"], answer["scores"], strict=True)
        wrong = [score for true, found, score in told if true != found]
        confidence[row] = np.mean(wrong) if wrong else 0.0
    worst = np.argsort(-confidence, kind="stable")[:count]
    worst = worst[confidence[worst] > 0]
    shown = []
    for row, words in zip(worst.tolist(), rows.examples.words(worst), strict=True):
        mistake: dict[str, Any] = {
            "id": int(rows.examples.ids[row]),
            "confidence": float(confidence[row]),
            "truth": _pieces(words, truths[row]),
            "predicted": _pieces(words, answers[row]["tags"]),
        }
        if rows.all_intents:
            mistake["intent"] = rows.all_intents[rows.examples.labels[row]]
            mistake["predicted_intent"] = answers[row]["intent"]
        shown.append(mistake)
    return shown


def _pieces(words: Sequence[str], tags: Sequence[str]) -> list[Piece]:
    """Return a sentence as runs of words: each entity, and what is between them."""
    pieces: list[Piece] = []
    after = 0
    for entity in entities(tags):
        if entity.first > after:
            pieces.append((" ".join(words[after : entity.first]), None))
        after = entity.last + 1
        pieces.append((" ".join(words[entity.first : after]), entity.type))
    if after < len(words):
        pieces.append((" ".join(words[after:]), None))
    return pieces


def tagging_table(metrics: Mapping[str, Any]) -> Table:
    """Return the terminal's table: the model beside its baselines, and the verdict below.

    Under `Words` and `Intents` stand the shares of those that are right.

    Args:
        metrics: what `metrics.json` holds, whole.
    """
    intents = "intent_accuracy" in metrics["test"]
    table = Table(caption=Text(verdict(metrics)), caption_justify="left", caption_style="")
    table.add_column("Test set")
    headings = ["Entity F1", "95% interval", "Precision", "Recall", "Words"]
    for heading in [*headings, *(["Intents"] if intents else [])]:
        table.add_column(heading, justify="right")
    for name, row in result_rows(metrics):
        low, high = row["ci95"]["f1"]
        cells = [f"{row[key]:.3f}" for key in ("precision", "recall", "accuracy")]
        if intents:
            cells.append(f"{row['intent_accuracy']:.3f}" if "intent_accuracy" in row else "")
        table.add_row(name, f"{row['f1']:.3f}", f"{low:.3f} to {high:.3f}", *cells)
    return table
