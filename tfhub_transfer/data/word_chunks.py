"""Sentences that go through a network together, so that their padding does not fill the memory."""

from __future__ import annotations

import numpy as np

__all__ = ["word_chunks"]

# Words, padding included, that go through the network together.
WORDS_AT_ONCE = 16_384
# A CRF adds its scores to each sentence's outputs: 100 kB for ATIS' tags.
TEXTS_AT_ONCE = 512


def word_chunks(lengths: np.ndarray) -> list[np.ndarray]:
    """Return positions, int64[n] each: sentences of like length, as many as go together.

    Args:
        lengths: int[N], words of each sentence.
    """
    order = np.argsort(-lengths, kind="stable")
    chunks = []
    first = 0
    while first < len(order):
        size = max(1, WORDS_AT_ONCE // max(1, int(lengths[order[first]])))
        size = min(size, TEXTS_AT_ONCE)
        chunks.append(order[first : first + size])
        first += size
    return chunks
