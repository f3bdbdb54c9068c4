"""Training texts with words left out or out of place, differently in each epoch.

Two of the four operations of EDA (Wei and Zou 2019, arXiv 1901.11196), those that need no
dictionary. Words are what whitespace separates, in any script; a text of a language that writes
without spaces is one word, and stays as it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.examples import Examples
from tfhub_transfer.data.pipeline import Features, Order, text_features

__all__ = ["augment", "augmented_features"]


def augmented_features(
    examples: Examples, order: Order, config: DataConfig, *, seed: int
) -> Features:
    """Return the texts as features, changed as `config` asks for in the order's present epoch."""
    if not (config.word_dropout or config.word_swap):
        return text_features(examples)

    def features(positions: np.ndarray) -> np.ndarray:
        texts = augment(
            examples.texts(positions),
            positions,
            seed=seed,
            epoch=order.epoch,
            dropout=config.word_dropout,
            swap=config.word_swap,
        )
        return np.array([text.encode() for text in texts], dtype=object)

    return features


def augment(
    texts: Sequence[str],
    positions: np.ndarray,
    *,
    seed: int,
    epoch: int,
    dropout: float = 0.0,
    swap: float = 0.0,
) -> list[str]:
    """Return the texts changed; each a function of its position, the seed and the epoch alone.

    A resumed training therefore sees what it would have seen, whatever the batches are; and an
    example that balancing repeats within an epoch is changed in one way. Changed texts are joined
    by single spaces.

    Args:
        texts: N of them.
        positions: int64[N], of the texts among the training examples.
        seed: of the draws.
        epoch: from 0.
        dropout: the share of words left out, drawn word by word. One word is always kept.
        swap: the share of words that change places with a neighbour.
    """
    if not (dropout or swap):
        return list(texts)
    # a pair begins at a word with this probability, unless it ends the pair before
    pair = swap / (2.0 - swap)
    changed = []
    for text, position in zip(texts, positions.tolist(), strict=True):
        words = text.split()
        if len(words) < 2:
            changed.append(text)
            continue
        rng = np.random.default_rng([seed, epoch, position])
        if dropout:
            words = _thinned(words, dropout, rng)
        if swap:
            _swap_neighbours(words, pair, rng)
        changed.append(" ".join(words))
    return changed


def _thinned(words: list[str], share: float, rng: np.random.Generator) -> list[str]:
    kept = rng.random(len(words)) >= share
    if not kept.any():
        kept[rng.integers(len(words))] = True
    return list(itertools.compress(words, kept.tolist()))


def _swap_neighbours(words: list[str], probability: float, rng: np.random.Generator) -> None:
    free = 0
    for first in np.flatnonzero(rng.random(len(words) - 1) < probability).tolist():
        if first >= free:
            words[first], words[first + 1] = words[first + 1], words[first]
            free = first + 2
