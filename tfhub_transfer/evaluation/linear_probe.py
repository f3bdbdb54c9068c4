"""A baseline that asks what the encoder knows before any training: a linear probe.

Logistic regression on the vectors of the encoder as it was published (Alain and Bengio 2016, arXiv
1610.01644). Vectors come out of the feature cache and go into it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tfhub_transfer.config import Config
from tfhub_transfer.data.examples import Dataset
from tfhub_transfer.evaluation.baselines import Baseline, fit_regression
from tfhub_transfer.evaluation.bootstrap import Array
from tfhub_transfer.training.published_vectors import published_vectors

_TEXTS_AT_ONCE = 4096
# Of 1, 3, 10, 30 and 100, near the best on AG News and TREC at 8 and at 16 shots and in whole.
_INVERSE_REGULARISATION = 3.0


def make_linear_probe(config: Config, data: Dataset) -> Baseline:
    """Return a linear probe of the configured encoder, which is loaded when it is fitted."""
    del data

    def probabilities(
        train_texts: Sequence[str],
        train_targets: Array,
        test_texts: Iterable[list[str]],
        classes: int,
    ) -> Array:
        """Predict by logistic regression on standardised vectors.

        Standardised with the training vectors' mean and one scale for all dimensions, so that
        encoders with vectors of any length are regularised alike.
        """
        encode = published_vectors(config.encoder)
        starts = range(0, len(train_texts), _TEXTS_AT_ONCE)
        vectors = np.concatenate([encode(train_texts[n : n + _TEXTS_AT_ONCE]) for n in starts])
        centre = vectors.mean(axis=0)
        scale = float(np.sqrt(np.square(vectors - centre).sum(axis=1).mean())) or 1.0
        predict = fit_regression(
            (vectors - centre) / scale,
            train_targets,
            classes,
            inverse_regularisation=_INVERSE_REGULARISATION,
        )
        return np.concatenate([predict((encode(batch) - centre) / scale) for batch in test_texts])

    return Baseline(probabilities)
