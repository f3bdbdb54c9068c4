"""What a model has to beat: predictors fitted in seconds, without any pre-training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tfhub_transfer.evaluation.bootstrap import Array
from tfhub_transfer.evaluation.metrics import classification_metrics

Predictor = Callable[[Sequence[str], Array, Iterable[list[str]], int], Array]
"""(train texts, train targets, batches of test texts, C) -> probabilities float64[N, C]."""

MAX_FEATURES = 2**18
FEW_TEXTS = 200
INVERSE_REGULARISATION = 10.0


@dataclass(frozen=True)
class Baseline:
    """A predictor, fitted on the training texts and measured on the test texts when called.

    Attributes:
        predictor: gives the probabilities; call it alone to compare two models row by row.
    """

    predictor: Predictor

    def __call__(
        self,
        train_texts: Sequence[str],
        train_targets: Array,
        test_texts: Iterable[list[str]],
        test_targets: Array,
        labels: Sequence[str],
        *,
        seed: int = 0,
        bootstrap: int = 1000,
    ) -> dict[str, Any]:
        """Fit, predict and measure.

        Args:
            train_texts: one string per training row.
            train_targets: int[N_train] class indices, or 0/1 [N_train, C].
            test_texts: batches of strings, in the order of `test_targets`.
            test_targets: int[N] class indices, or 0/1 [N, C].
            labels: C names.
            seed: of the bootstrap; no predictor here makes a random choice.
            bootstrap: resamples of the test rows behind each interval.

        Returns:
            What `classification_metrics` says of the test set as a whole, `n_train`, and `fit_s`:
            the seconds that fitting and predicting took.
        """
        began = time.perf_counter()
        probabilities = self.predictor(
            train_texts, np.asarray(train_targets), test_texts, len(labels)
        )
        fit_s = time.perf_counter() - began
        metrics = classification_metrics(
            test_targets, probabilities, labels, bootstrap=bootstrap, seed=seed
        )
        for detail in ("per_class", "confusion_matrix"):
            del metrics[detail]
        return {**metrics, "n_train": len(train_targets), "fit_s": fit_s}


def class_frequencies(
    train_texts: Sequence[str],
    train_targets: Array,
    test_texts: Iterable[list[str]],
    classes: int,
) -> Array:
    """Predict every row with the training classes' frequencies, so the largest class wins.

    Each class counts one row more than it has (Laplace): a class that occurs in the test only is
    unlikely, not impossible.
    """
    frequencies = _frequencies(train_targets, classes)
    return np.tile(frequencies, (sum(len(batch) for batch in test_texts), 1))


def tfidf_probabilities(
    train_texts: Sequence[str],
    train_targets: Array,
    test_texts: Iterable[list[str]],
    classes: int,
) -> Array:
    """Predict by logistic regression on TF-IDF weights of words and word pairs.

    One setting for every data set: sublinear term frequencies, terms in at least two training
    texts (one, if there are fewer than 200), the 262,144 most frequent of them, C = 10, and for
    multi-label targets one regression per label. Multinomial L-BFGS takes 4 s for 77 classes on
    10,000 short texts and 10 s for 151 on 15,100 (one core). A tolerance of 1e-3 would halve that
    and cost a point of accuracy on AG News. Memory peaks while terms are counted, before the rare
    ones go: at 0.8 GB for 25,000 film reviews.
    """
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2),
        sublinear_tf=True,
        min_df=1 if len(train_texts) < FEW_TEXTS else 2,
        max_features=MAX_FEATURES,
    )
    try:
        features = vectorizer.fit_transform(train_texts)
    except ValueError:
        # no term at all, as of texts that are all punctuation: a regression on nothing but an
        # intercept is left, and that one gives the frequencies
        return class_frequencies(train_texts, train_targets, test_texts, classes)
    predict = _fit(features, train_targets, classes)
    return np.concatenate([predict(vectorizer.transform(batch)) for batch in test_texts])


majority = Baseline(class_frequencies)
tfidf_logreg = Baseline(tfidf_probabilities)

BASELINES: dict[str, Baseline] = {"majority": majority, "tfidf_logreg": tfidf_logreg}


def _frequencies(targets: Array, classes: int) -> Array:
    if targets.ndim == 2:
        return np.asarray((targets.sum(axis=0) + 1) / (len(targets) + 2))
    counts = np.bincount(targets, minlength=classes)
    return np.asarray((counts + 1) / (len(targets) + classes))


def _fit(features: Any, targets: Array, classes: int) -> Callable[[Any], Array]:
    """Return a function from sparse[B, F] features to probabilities float64[B, C]."""
    if targets.ndim == 2:
        per_label = [_fit(features, column, classes=2) for column in targets.T]
        return lambda batch: np.stack([predict(batch)[:, 1] for predict in per_label], axis=1)

    present = np.unique(targets)
    if len(present) == 1:  # nothing to tell apart
        frequencies = _frequencies(targets, classes)
        return lambda batch: np.tile(frequencies, (batch.shape[0], 1))

    regression = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1000)
    regression.fit(features, targets)

    def predict(batch: Any) -> Array:
        probabilities = np.zeros((batch.shape[0], classes))
        probabilities[:, present] = regression.predict_proba(batch)
        return probabilities

    return predict
