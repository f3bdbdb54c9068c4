"""What a model has to beat: predictors fitted in seconds, and how any baseline is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tfhub_transfer.config import Config
from tfhub_transfer.data.examples import Dataset, Examples
from tfhub_transfer.data.stratify import draw_limit
from tfhub_transfer.evaluation.bootstrap import Array
from tfhub_transfer.evaluation.metrics import classification_metrics
from tfhub_transfer.registry import BASELINES

Predictor = Callable[[Sequence[str], Array, Iterable[list[str]], int], Array]
"""(train texts, train targets, batches of test texts, C) -> probabilities float64[N, C]."""

MAX_FEATURES = 2**18
FEW_TEXTS = 200


_TEXTS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Measured:
    """What a baseline said of the test rows.

    Attributes:
        probabilities: float64[N, C].
        metrics: what `classification_metrics` says of them as a whole; `n_train`; and in seconds
            `fit_s` and `predict_s`.
    """

    probabilities: Array
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Baseline:
    """A predictor, fitted on the training texts and measured on the test texts when called.

    Attributes:
        predictor: gives the probabilities; fits before it takes the first batch of test texts.
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
    ) -> Measured:
        """Fit, predict and measure.

        Args:
            train_texts: one string per training row.
            train_targets: int[N_train] class indices, or 0/1 [N_train, C].
            test_texts: batches of strings, in the order of `test_targets`.
            test_targets: int[N] class indices, or 0/1 [N, C].
            labels: C names.
            seed: of the bootstrap; no predictor here makes a random choice.
            bootstrap: resamples of the test rows behind each interval.
        """
        fitted = began = time.perf_counter()

        def timed() -> Iterator[list[str]]:
            nonlocal fitted
            fitted = time.perf_counter()
            yield from test_texts

        probabilities = self.predictor(
            train_texts, np.asarray(train_targets), timed(), len(labels)
        )
        ended = time.perf_counter()
        metrics = classification_metrics(
            test_targets, probabilities, labels, bootstrap=bootstrap, seed=seed
        )
        for detail in ("per_class", "confusion_matrix"):
            del metrics[detail]
        metrics |= {
            "n_train": len(train_targets),
            "fit_s": fitted - began,
            "predict_s": ended - fitted,
        }
        return Measured(probabilities, metrics)


def ready_baselines(config: Config, data: Dataset) -> dict[str, Baseline]:
    """Return the baselines that `config` names, before anything is trained for long.

    Raises:
        ConfigError: one of them needs a package that is missing, or other labels.
    """
    return {name: BASELINES.load(name)(config, data) for name in config.evaluation.baselines}


def baseline_rows(
    config: Config, data: Dataset, unit: str = "rows"
) -> tuple[Examples, tuple[str, ...]]:
    """Return the training rows, or `baseline_limit` of them, and what a report says of that.

    Args:
        config: of the run.
        data: whose rows they are.
        unit: what a report calls them.
    """
    train, limit = data.train, config.evaluation.baseline_limit
    if len(train) <= limit:
        return train, ()
    rng = np.random.default_rng(config.seed)
    drawn = train.take(np.sort(draw_limit(train.labels, limit, len(data.labels), rng)))
    return drawn, (
        f"The baselines were fitted on {limit:,} of {len(train):,} training {unit} "
        f"(evaluation.baseline_limit).",
    )


def measure(baseline: Baseline, config: Config, data: Dataset, train: Examples) -> Measured:
    """Fit a baseline on `train` and measure it on the test rows."""
    return baseline(
        train.texts(),
        train.labels,
        data.test.batches(_TEXTS_AT_ONCE),
        data.test.labels,
        data.labels,
        seed=config.seed,
        bootstrap=config.evaluation.bootstrap,
    )


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
    predict = fit_regression(features, train_targets, classes)
    return np.concatenate([predict(vectorizer.transform(batch)) for batch in test_texts])


majority = Baseline(class_frequencies)
tfidf_logreg = Baseline(tfidf_probabilities)


def make_majority(config: Config, data: Dataset) -> Baseline:
    """Return the majority class, whatever the data."""
    del config, data
    return majority


def make_tfidf_logreg(config: Config, data: Dataset) -> Baseline:
    """Return logistic regression on TF-IDF weights, whatever the data."""
    del config, data
    return tfidf_logreg


def _frequencies(targets: Array, classes: int) -> Array:
    if targets.ndim == 2:
        return np.asarray((targets.sum(axis=0) + 1) / (len(targets) + 2))
    counts = np.bincount(targets, minlength=classes)
    return np.asarray((counts + 1) / (len(targets) + classes))


def fit_regression(
    features: Any, targets: Array, classes: int, *, inverse_regularisation: float = 10.0
) -> Callable[[Any], Array]:
    """Fit a logistic regression, or for multi-label targets one for each label.

    Args:
        features: float[N, F], sparse or dense.
        targets: int[N] class indices, or 0/1 [N, C].
        classes: C; those without a training row get no probability.
        inverse_regularisation: scikit-learn's C.

    Returns:
        A function from features float[B, F] to probabilities float64[B, C].
    """
    if targets.ndim == 2:
        per_label = [
            fit_regression(features, column, 2, inverse_regularisation=inverse_regularisation)
            for column in targets.T
        ]
        return lambda batch: np.stack([predict(batch)[:, 1] for predict in per_label], axis=1)

    present = np.unique(targets)
    if len(present) == 1:  # nothing to tell apart
        frequencies = _frequencies(targets, classes)
        return lambda batch: np.tile(frequencies, (batch.shape[0], 1))

    regression = LogisticRegression(C=inverse_regularisation, max_iter=1000)
    regression.fit(features, targets)

    def predict(batch: Any) -> Array:
        probabilities = np.zeros((batch.shape[0], classes))
        probabilities[:, present] = regression.predict_proba(batch)
        return probabilities

    return predict
