"""Ids of texts -> batches of words to predict, each after the words before it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

__all__ = ["held_out", "shuffled", "windows"]


def held_out(ids: np.ndarray, every: int, first: int) -> np.ndarray:
    """Return which ids, bool[N], are of a text that is held out: each `every`-th one.

    Args:
        ids: int32[N] of whole texts, with -1 after each.
        every: texts from one that is held out to the next.
        first: the number of the first text, from 0.
    """
    ends = ids < 0
    texts = first + np.cumsum(ends) - ends
    return np.asarray(texts % every == every - 1)


def windows(ids: np.ndarray, context: int, before: int, predicted: int) -> np.ndarray:
    """Return each word that is predicted, after the words before it in its text.

    Args:
        ids: int32[N] of whole texts, with -1 after each.
        context: how many words before.
        before: stands for a place before a text's first word; at least `predicted`.
        predicted: ids from 0 to below this are predicted; others are only seen.

    Returns:
        int32[M, context + 1], the oldest word first.
    """
    ends = ids < 0
    # in the place of its -1, each text is followed by `context` places before the next text
    places = np.arange(context, context + len(ids)) + (context - 1) * (np.cumsum(ends) - ends)
    # one more, so that there is a window where there is no id
    spread = np.full(len(ids) + context + (context - 1) * int(ends.sum()) + 1, before, np.int32)
    spread[places[~ends]] = ids[~ends]
    rows = np.lib.stride_tricks.sliding_window_view(spread, context + 1)
    return np.asarray(rows[spread[context:] < predicted])


def shuffled(rows: np.ndarray, size: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield batches of `size` rows, each row once, in random order; the last may be smaller."""
    order = random.permutation(len(rows))
    for start in range(0, len(order), size):
        yield rows[order[start : start + size]]
