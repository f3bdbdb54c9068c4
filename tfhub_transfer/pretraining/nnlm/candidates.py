"""The words that a step of a sampled softmax tells the right ones from."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["LogUniform"]


class LogUniform:
    """Draws distinct words, i with probability log((i + 2) / (i + 1)) / log(V + 1).

    Words are counted from 0 by falling frequency, so that this is near to Zipf's law. The op
    `tf.random.log_uniform_candidate_sampler` draws the same way. Its state cannot be saved, though,
    and a training that was stopped could not go on as if it had not been.

    Args:
        words: V, the size of the vocabulary.
        drawn: S, how many distinct words a draw has; all where it is V or more.
    """

    def __init__(self, words: int, drawn: int):
        self._words, self._drawn = words, min(words, drawn)
        places = np.arange(words, dtype=np.float64)
        with np.errstate(divide="ignore"):  # of a vocabulary of one word, which is never missed
            self._log_miss = np.log1p(-np.log1p(1 / (places + 1)) / np.log(words + 1))

    def draw(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return the words, and how often each of the vocabulary is expected among them.

        Returns:
            int32[S], distinct, and float32[V], the logarithms of the expected numbers.
        """
        if self._drawn == self._words:
            return np.arange(self._words, dtype=np.int32), np.zeros(self._words, np.float32)
        tried = np.empty(0, np.int32)
        first = tried
        while len(first) < self._drawn:
            more = random.random(len(tried) + 2 * self._drawn) * math.log(self._words + 1)
            found = np.minimum(np.expm1(more).astype(np.int32), self._words - 1)
            tried = np.concatenate([tried, found])
            first = np.sort(np.unique(tried, return_index=True)[1])
        tries = first[self._drawn - 1] + 1
        expected = -np.expm1(tries * self._log_miss)
        return tried[first[: self._drawn]], np.log(expected).astype(np.float32)
