"""A baseline that was never trained: the polarity of TextBlob's English sentiment lexicon.

Scores of adjectives from -1 to 1 with rules for negation and emphasis, as De Smedt and Daelemans
2012, "Pattern for Python" (JMLR 13), made them; https://textblob.readthedocs.io.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tfhub_transfer.config import Config
from tfhub_transfer.data.examples import Dataset
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.evaluation.baselines import Baseline
from tfhub_transfer.evaluation.bootstrap import Array

__all__ = ["make_textblob", "polarity_probabilities"]

# What a class is called, in lower case, where its texts are of that polarity.
_NAMES = {
    "negative": -1,
    "neg": -1,
    "neutral": 0,
    "neu": 0,
    "positive": 1,
    "pos": 1,
}
NEUTRAL = 0.05
"""Up to this polarity, either way, a text counts as neutral where there is such a class."""
# Of the softmax. It moves no decision, only how sure it looks.
_SHARPNESS = 5.0


def make_textblob(config: Config, data: Dataset) -> Baseline:
    """Return TextBlob's polarity as probabilities of the data's two or three classes.

    Raises:
        ConfigError: TextBlob is not installed, or the labels do not say what is positive.
    """
    del config
    sides = [_NAMES.get(label.lower()) for label in data.labels]
    if data.multi_label or sorted(side for side in sides if side is not None) not in (
        [-1, 1],
        [-1, 0, 1],
    ) or None in sides:
        raise ConfigError(
            f"The baseline textblob knows negative from positive, and neutral between them: labels "
            f"must be named so, or neg, pos and neu, one to a row. Rename them in the data, or "
            f"leave it out of evaluation.baselines. Received: {', '.join(data.labels[:10])}"
            f"{', any number of them to a row' if data.multi_label else ''}"
        )
    try:
        from textblob import TextBlob
    except ImportError as error:
        raise ConfigError(
            f"The baseline textblob needs TextBlob: pip install 'tfhub-transfer[textblob]' "
            f"({error}). Received: evaluation.baselines with textblob"
        ) from error

    def probabilities(
        train_texts: Sequence[str],
        train_targets: Array,
        test_texts: Iterable[list[str]],
        classes: int,
    ) -> Array:
        del train_texts, train_targets, classes
        polarities = [TextBlob(text).polarity for batch in test_texts for text in batch]
        return polarity_probabilities(np.array(polarities), np.array(sides))

    return Baseline(probabilities)


def polarity_probabilities(polarities: Array, sides: Array) -> Array:
    """Return probabilities whose largest is that of the class a polarity falls into.

    Args:
        polarities: float64[N], from -1 to 1.
        sides: int[C], of each class -1, 0 or 1; no class twice.

    Returns:
        float64[N, C]; without a neutral class, a polarity of zero is as probably one as the other.
    """
    logits = _SHARPNESS * np.where(sides == 0, NEUTRAL, np.multiply.outer(polarities, sides))
    exponentials = np.exp(logits)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))
