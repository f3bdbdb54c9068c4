"""The words that have a vector of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Vocabulary"]


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """V words by falling count.

    Attributes:
        words: V of them; a word's place is its id.
        counts: int64[V], how often each stands in the corpus.
    """

    words: tuple[str, ...]
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.words)
