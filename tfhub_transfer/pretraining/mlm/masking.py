"""Which word pieces a masked language model has to guess, and what it sees in their place.

Devlin et al. 2018 (arXiv 1810.04805), section 3.1 and appendix A.1. Whole words are masked as in
the paper's later release: all pieces of a word or none.
"""

from __future__ import annotations

import numpy as np

__all__ = ["choose", "hide"]

_MASKED, _RANDOM = 0.8, 0.1  # what is left, a tenth, is seen as it is


def choose(begins: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Return int64[M], the places of the pieces to guess, in their order; one at least.

    Words are drawn until `share` of the pieces is reached.

    Args:
        begins: bool[N], which pieces begin a word; all of them where pieces are masked one by one.
        share: of the pieces, 0.15 in the paper.
        random: draws.
    """
    begins = begins.copy()
    begins[0] = True  # a text may have been cut within a word
    word = np.cumsum(begins) - 1
    sizes = np.bincount(word)
    order = random.permutation(len(sizes))
    before = np.cumsum(sizes[order]) - sizes[order]
    taken = np.zeros(len(sizes), bool)
    taken[order[before < max(1, round(share * len(begins)))]] = True
    return np.flatnonzero(taken[word])


def hide(
    pieces: np.ndarray, mask: int, others: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Return what is seen in the place of chosen pieces: 80% the mask, 10% others, 10% themselves.

    Args:
        pieces: int32[M], the chosen ones.
        mask: the id of `[MASK]`.
        others: int32[R], the ids that may stand for them.
        random: draws, for each piece of its own.
    """
    draw = random.random(len(pieces))
    drawn = others[random.integers(len(others), size=len(pieces))]
    shown = np.where(draw < _MASKED + _RANDOM, drawn, pieces)
    return np.where(draw < _MASKED, mask, shown).astype(np.int32)
