"""What somebody who gets an exported model has to know of it, on a page of Markdown.

After Mitchell et al. 2019, Model Cards for Model Reporting, https://arxiv.org/abs/1810.03993.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from tfhub_transfer.evaluation.verdict import RIVALS, verdict
from tfhub_transfer.registry import EXPORTS
from tfhub_transfer.runs import atomic_path

MOST_CLASSES = 30
_WEAKEST = 20  # of more classes
# What is measured one by one.
_PARTS = {"classification": "per_class", "tagging": "per_type"}


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a card is written from.

    Absolute paths in any of it are shortened to their end, for a card is passed on.

    Attributes:
        name: of the exported model.
        version: of it.
        date: of the export, `2025-01-31`.
        serving_version: the TensorFlow Serving that its ops were checked for.
        metrics: what the run's `metrics.json` holds, whole.
        config: what the run's `config.yaml` holds.
        encoder: its name.
        encoder_handle: where it is published.
        encoder_licence: SPDX identifier, None if nobody knows.
        languages: of the encoder, ISO 639-1 codes or `multi`; empty if nobody knows.
        max_tokens: that the encoder reads of a text, None where there is no such limit.
        size_bytes: of the version, on disk.
        weights_bytes: of the encoder's and the head's weights.
        parity: the largest difference between two numbers that the reload check found.
        parity_texts: how many texts it compared.
        warm_up_requests: how many lie with the model, made of real validation texts.
        packages: versions by package.
        calibration: what `evaluation.calibration` measured; of a classifier alone.
        data_summary: `splits`, each with `n`, `class_counts` by label and `words`, as the run's
            report takes it; the card says less without it.
    """

    name: str
    version: int
    date: str
    serving_version: str
    metrics: Mapping[str, Any]
    config: Mapping[str, Any]
    encoder: str
    encoder_handle: str
    encoder_licence: str | None
    languages: Sequence[str]
    max_tokens: int | None
    size_bytes: int
    weights_bytes: int
    parity: float
    parity_texts: int
    warm_up_requests: int
    packages: Mapping[str, str]
    calibration: Mapping[str, Any] = field(default_factory=dict)
    data_summary: Mapping[str, Any] = field(default_factory=dict)


def write_model_card(target: Path, card: ModelCard) -> None:
    """Write the card as Markdown with tables (GitHub's, https://github.github.com/gfm/).

    Args:
        target: the file, `model_card.md`.
        card: what stands in it.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfhub_transfer.artifact", "templates"),
        autoescape=False,  # Markdown has other characters to escape than HTML: `plain`
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "plain": plain,
        "short": _shortener(card.config),
        "number": _number,
        "share": _share,
        "interval": _interval,
        "megabytes": lambda size: f"{size / 1e6:,.1f} MB",
    }
    metrics, test = card.metrics, card.metrics["test"]
    splits = card.data_summary.get("splits", {})
    parts = test[_PARTS[metrics["task"]]] if metrics["task"] in _PARTS else {}
    ranked = sorted(parts.items(), key=lambda item: item[1]["f1"])
    few = len(ranked) <= MOST_CLASSES
    text = environment.get_template(f"{metrics['task']}_card.md.j2").render(
        card=card,
        test=test,
        labels=metrics["labels"],
        splits=splits,
        verdict=verdict(metrics),
        languages=plain(", ".join(card.languages) or "not known"),
        example=json.dumps(EXPORTS.load(metrics["task"]).example),
        counts=_counts(card),
        words=bool(splits) and all("words" in split for split in splits.values()),
        rows=[("This model", test)]
        + [(_name(key), row) for key, row in metrics.get("baselines", {}).items()],
        classes=list(parts.items()) if few else ranked[:_WEAKEST],
        hidden=[] if few else ranked[_WEAKEST:],
        training=splits.get("train", {}).get("class_counts"),
    )
    text = re.sub(r"\n{3,}", "\n\n", text).lstrip("\n")
    with atomic_path(target) as temporary:
        # a label may hold half a surrogate pair, which UTF-8 has no form for
        temporary.write_text(text, encoding="utf-8", errors="replace")


def plain(text: str) -> str:
    """Escape what Markdown, its tables and HTML would not show as it is.

    Args:
        text: any; line breaks become spaces.
    """
    text = " ".join(str(text).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*\[\]|~#!])", r"\\\1", text)
    # within a word an underscore is one
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)


def _shortener(config: Mapping[str, Any]) -> Callable[[str], str]:
    """Return what takes absolute paths, which are one machine's, down to their end."""
    folder = str(config.get("data", {}).get("dir") or "").rstrip("/")

    def short(text: str) -> str:
        if folder.startswith("/"):
            text = text.replace(f"{folder}/", "")
        return re.sub(r"(?<![\w:/.])/(?:[^\s/]+/)+(?=[^\s/])", "", text)

    return short


def _counts(card: ModelCard) -> dict[str, int]:
    """Return the number of texts by split; without the data's summary, of those that are known."""
    if splits := card.data_summary.get("splits"):
        return {name: split["n"] for name, split in splits.items()}
    return {name: card.metrics[name]["n"] for name in ("validation", "test")}


def _name(baseline: str) -> str:
    name = RIVALS.get(baseline, baseline)
    return name[0].upper() + name[1:]


def _share(value: float | None) -> str:
    return "an undefined share" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _interval(row: Mapping[str, Any], metric: str) -> str:
    if metric not in row.get("ci95", {}):
        return ""
    low, high = row["ci95"][metric]
    return f" ({low:.3f} to {high:.3f})"
