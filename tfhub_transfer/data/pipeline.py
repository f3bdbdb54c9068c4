"""Examples -> tf.data: order, balance and batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfhub_transfer.data.examples import Examples
from tfhub_transfer.data.splits import class_weights
from tfhub_transfer.errors import ConfigError

__all__ = ["Features", "Order", "batches", "text_features"]

# Positions to what the model takes: int64[n] -> float32[n, D], or n texts; or several such by name.
Features = Callable[[np.ndarray], Any]
# Positions to what it should say: int64[n] -> float32[n, ...].
Targets = Callable[[np.ndarray], np.ndarray]

# Rows handed to tf.data at a time. Each hand-over costs about 0.2 ms, as much as a head's step.
_ROWS_AT_ONCE = 2048
# Batches whose examples are sorted by length together. More would pad less and mix less.
_WINDOW = 50


class Order:
    """Which examples an epoch goes through, in which order; a function of seed and epoch.

    Args:
        examples: what is drawn from.
        classes: C, the number of classes.
        balance: `oversample` repeats examples of the smaller classes, and `undersample` leaves out
            some of the larger ones, anew in each epoch, so that all have equally many;
            `class_weight` weighs each example by its class.
        seed: of the draws.
        lengths: int[N], of the examples' texts in any unit. With them, each batch holds texts of
            like length, so that little of it is padding: the shuffled examples are sorted within
            windows of 50 batches, and the batches shuffled.
        batch_size: rows of each batch but the last; needed where there are lengths.

    Raises:
        ConfigError: classes cannot be sampled to equal sizes where examples have several labels.
    """

    def __init__(
        self,
        examples: Examples,
        classes: int,
        *,
        balance: str = "none",
        seed: int = 0,
        lengths: np.ndarray | None = None,
        batch_size: int = 1,
    ):
        self.epoch = 0
        self._seed = seed
        self._size = len(examples)
        self._lengths, self._batch_size = lengths, batch_size
        self._weights: np.ndarray | None = None
        self._members: list[np.ndarray] | None = None
        self._quota = 0
        if balance == "class_weight":
            self._weights = _example_weights(examples, classes)
        elif balance in ("oversample", "undersample"):
            if examples.labels.ndim == 2:
                raise ConfigError(
                    f"Where examples have several labels, classes cannot be sampled to equal "
                    f"sizes. Accepted: none, class_weight. Received: data.balance {balance!r}"
                )
            self._members = [np.flatnonzero(examples.labels == c) for c in range(classes)]
            self._members = [members for members in self._members if len(members)]
            sizes = [len(members) for members in self._members]
            self._quota = max(sizes) if balance == "oversample" else min(sizes)

    def __len__(self) -> int:
        """The number of examples an epoch goes through."""
        return self._quota * len(self._members) if self._members else self._size

    def positions(self) -> np.ndarray:
        """Return int64[len(self)], the positions of the current epoch's examples in order."""
        rng = np.random.default_rng([self._seed, self.epoch])
        if not self._members:
            drawn = rng.permutation(self._size)
        else:
            parts = []
            for members in self._members:
                whole, rest = divmod(self._quota, len(members))
                parts += [members] * whole + [rng.choice(members, rest, replace=False)]
            drawn = rng.permutation(np.concatenate(parts))
        if self._lengths is not None:
            self._sort_within_windows(drawn, self._lengths, rng)
        return drawn

    def _sort_within_windows(
        self, drawn: np.ndarray, lengths: np.ndarray, rng: np.random.Generator
    ) -> None:
        """Reorder `drawn` in place; what is left for a last, smaller batch stays last."""
        size = self._batch_size
        whole = drawn[: len(drawn) // size * size]
        for start in range(0, len(whole), _WINDOW * size):
            window = whole[start : start + _WINDOW * size]
            window[:] = window[np.argsort(lengths[window], kind="stable")]
        whole[:] = rng.permutation(whole.reshape(-1, size)).ravel()

    def weights(self, positions: np.ndarray) -> np.ndarray:
        """Return float32[n], how much each example at `positions`, int64[n], counts."""
        if self._weights is None:
            return np.ones(len(positions), np.float32)
        weights: np.ndarray = self._weights[positions]
        return weights


def _example_weights(examples: Examples, classes: int) -> np.ndarray:
    """Return float32[N], which make all classes count alike."""
    weights = class_weights(examples.class_counts(classes)).astype(np.float32)
    if examples.labels.ndim == 1:
        of_each: np.ndarray = weights[examples.labels]
        return of_each
    # an example with several labels weighs as their mean, and one with none as any other
    count = examples.labels.sum(axis=1)
    means = (examples.labels @ weights) / np.maximum(count, 1)
    return np.where(count > 0, means, 1).astype(np.float32)


def batches(
    features: Features,
    examples: Examples,
    targets: Targets,
    batch_size: int,
    *,
    order: Order | None = None,
) -> tf.data.Dataset:
    """Return batches of (features, targets [b, ...], weights float32[b]).

    Where examples are sequences, features and targets are padded to the longest of each batch.

    Args:
        features: what the model takes, by position.
        examples: what the positions are of.
        targets: what the model should give, by position.
        batch_size: rows of each batch but the last.
        order: read at the beginning of each pass; the examples' own order when not given.
    """
    # sequences are padded to the longest of a batch, and so handed over batch by batch
    rows_at_once = (
        batch_size
        if examples.sequences
        else math.ceil(_ROWS_AT_ONCE / batch_size) * batch_size
    )

    def generate():  # type: ignore[no-untyped-def]
        positions = order.positions() if order else np.arange(len(examples))
        for start in range(0, len(positions), rows_at_once):
            chunk = positions[start : start + rows_at_once]
            weights = order.weights(chunk) if order else np.ones(len(chunk), np.float32)
            yield features(chunk), targets(chunk), weights

    first = np.zeros(1, np.int64)
    spec = tf.nest.map_structure(
        lambda values: _spec(values, examples.sequences), (features(first), targets(first))
    )
    spec = (*spec, tf.TensorSpec([None], tf.float32))
    steps = math.ceil((len(order) if order else len(examples)) / batch_size)
    dataset = tf.data.Dataset.from_generator(generate, output_signature=spec)
    if rows_at_once != batch_size:
        dataset = dataset.rebatch(batch_size)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
    return dataset.prefetch(tf.data.AUTOTUNE)


def _spec(values: np.ndarray, sequences: bool) -> tf.TensorSpec:
    shape = [None, *values.shape[1:]]
    if sequences and values.ndim > 1:
        shape[1] = None
    return tf.TensorSpec(shape, tf.as_dtype(values.dtype))


def text_features(examples: Examples) -> Features:
    """Return the texts themselves as features; of questions by the names of a model's inputs."""

    def features(positions: np.ndarray) -> Any:
        texts = examples.encodable(positions)
        if texts and isinstance(texts[0], tuple):
            question, context = zip(*texts, strict=True)
            return {"question": _encoded(question), "context": _encoded(context)}
        return _encoded(texts)

    return features


def _encoded(texts: Sequence[str]) -> np.ndarray:
    return np.array([text.encode() for text in texts], dtype=object)
