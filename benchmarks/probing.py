"""What word vectors are worth: logistic regression on those of SST-2's phrases and IMDB's reviews.

Fitted on nine tenths of the training rows, as every run's head is, and measured on SST-2's
validation sentences and on IMDB's test half.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.table import data_dir
from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.examples import Dataset
from tfhub_transfer.data.splits import load
from tfhub_transfer.encoders.bulk import BulkEncoder
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.evaluation.baselines import tfidf_probabilities

PROBED = {"SST-2": ("tfds:glue/sst2", "sentence"), "IMDB": ("tfds:imdb_reviews", "text")}
_TEXTS_AT_ONCE = 1024


@functools.cache
def data_set(name: str) -> Dataset:
    """Return one of the two, from the folder of real data."""
    source, column = PROBED[name]
    config = DataConfig(source, text_column=column, dir=str(data_dir() / "tfds"))
    return load(config, seed=0)


def probe(module: Path) -> dict[str, float]:
    """Return the accuracy on either data set with the vectors of a module as they are."""
    encode = BulkEncoder(HubLayer(str(module)))
    accuracies = {}
    for name in PROBED:
        data = data_set(name)
        train, test = (encode(split.texts()) for split in (data.train, data.test))
        regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        regression.fit(train, data.train.labels)
        accuracies[name] = float(np.mean(regression.predict(test) == data.test.labels))
    return accuracies


def tfidf() -> dict[str, float]:
    """Return the accuracies of the baseline that stands in every report."""
    accuracies = {}
    for name in PROBED:
        data = data_set(name)
        answers = tfidf_probabilities(
            data.train.texts(), data.train.labels, data.test.batches(_TEXTS_AT_ONCE), 2
        )
        accuracies[name] = float(np.mean(answers.argmax(axis=1) == data.test.labels))
    return accuracies
