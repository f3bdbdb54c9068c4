"""A split in numbers, for reports."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfhub_transfer.data.examples import Examples

_SAMPLE = 10_000


def describe(examples: Examples, classes: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return the number of rows, of rows in each class, and percentiles of lengths in words.

    Lengths are those of 10,000 rows at most, drawn with `rng`.
    """
    size = min(len(examples), _SAMPLE)
    sample = examples.texts(np.sort(rng.choice(len(examples), size, replace=False)))
    lengths = [len(text.split()) for text in sample]
    p5, p50, p95 = np.percentile(lengths, [5, 50, 95]).round(1).tolist()
    return {
        "n": len(examples),
        "class_counts": examples.class_counts(classes).tolist(),
        "words": {"p5": p5, "p50": p50, "p95": p95, "max": max(lengths)},
    }
