"""Does the encoder earn its place? One comparison, one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

RIVALS = {
    "tfidf_logreg": "TF-IDF + logistic regression",
    "linear_probe": "logistic regression on the frozen encoder's vectors",
    "textblob": "TextBlob's polarity",
    "majority": "the majority class",
    "crf_features": "a CRF on word shapes",
    "hmm": "a hidden Markov model",
    "frequent_tag": "each word's most frequent tag",
    "tfidf_window": "the window of words closest to the question's",
}
"""Baselines by how much they have to say; the first one that was fitted is the rival."""

MEASURES = {
    "classification": ("accuracy", "accuracy"),
    "tagging": ("f1", "entity F1"),
    "span": ("f1", "F1"),
}
"""What a task is judged by: a key of the measures, and its name in a sentence."""

# Below this hardly a difference that matters shows: one row of 50 is two points of accuracy.
FEW_ROWS = 50


@dataclass(frozen=True)
class Comparison:
    """The model's accuracy, or what its task is judged by, less a baseline's, as fractions.

    Attributes:
        rival: the baseline's name in a sentence.
        difference: positive where the model is better.
        low: the lower end of the difference's 95% interval.
        high: its upper end.
    """

    rival: str
    difference: float
    low: float
    high: float

    @property
    def outcome(self) -> Literal["wins", "loses", "undecided"]:
        """What the interval allows to say about the model."""
        if self.low > 0:
            return "wins"
        return "loses" if self.high < 0 else "undecided"


def compare(metrics: Mapping[str, Any]) -> Comparison | None:
    """Compare the model with the strongest kind of baseline that was fitted.

    The difference's interval comes from the two measures' own intervals (Zou and Donner 2008,
    doi:10.1002/sim.3095), as if the two had been measured on different rows. They were measured on
    the same rows and tend to fail on the same ones, so the interval is, if anything, too wide.

    Args:
        metrics: what `metrics.json` holds, whole.

    Returns:
        None if no baseline was fitted.
    """
    baselines = metrics.get("baselines", {})
    rival = next((name for name in RIVALS if name in baselines), None)
    if rival is None:
        return None
    key, _ = _measure(metrics)
    ours, theirs = metrics["test"], baselines[rival]
    difference = ours[key] - theirs[key]
    our_low, our_high = ours["ci95"][key]
    their_low, their_high = theirs["ci95"][key]
    return Comparison(
        rival=RIVALS[rival],
        difference=difference,
        low=difference - math.hypot(ours[key] - our_low, their_high - theirs[key]),
        high=difference + math.hypot(our_high - ours[key], theirs[key] - their_low),
    )


def verdict(metrics: Mapping[str, Any]) -> str:
    """Say in one sentence whether the encoder beats the baseline by more than chance explains.

    Args:
        metrics: what `metrics.json` holds, whole.
    """
    comparison = compare(metrics)
    if comparison is None:
        return (
            "No baseline was fitted on these rows. The report of a whole training run has them "
            "(--evaluation.baselines)."
        )

    key, name = _measure(metrics)
    rival, rows, ours = comparison.rival, metrics["test"]["n"], metrics["test"][key]
    if rows < FEW_ROWS and comparison.outcome == "undecided":
        return (
            f"Too few test rows to tell the encoder from {rival}: {name} {ours:.3f} "
            f"against {ours - comparison.difference:.3f} on {rows} rows. "
            f"A hundred and more would begin to show a difference."
        )
    encoder = f"The encoder ({metrics['encoder']})" if metrics.get("encoder") else "The encoder"
    scale = (
        f"{name} {ours:.3f} against {ours - comparison.difference:.3f} "
        f"on {rows:,} test rows, a difference of {100 * comparison.difference:+.1f} points "
        f"(95% interval {100 * comparison.low:+.1f} to {100 * comparison.high:+.1f})"
    )
    if comparison.outcome == "wins":
        return f"{encoder} beats {rival}: {scale}."
    if comparison.outcome == "loses":
        return f"{encoder} loses to {rival}: {scale}; use the baseline, or try {_advice(metrics)}."
    return (
        f"{encoder} does not beat {rival} by more than chance can explain: {scale}; "
        f"more test rows would settle it, {_advice(metrics)} may change it."
    )


def _measure(metrics: Mapping[str, Any]) -> tuple[str, str]:
    return MEASURES[metrics.get("task", "classification")]


def _advice(metrics: Mapping[str, Any]) -> str:
    """Name what the run has not tried yet."""
    tuned = metrics.get("strategy") != "feature_extraction"
    return (
        "a larger --encoder.name, "
        + ("" if tuned else "--training.strategy fine_tuning ")
        + "or more training rows"
    )
