"""One label, or several, for a whole text."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tfhub_transfer.config import HIDDEN
from tfhub_transfer.heads.dense import hidden_layers, penalty_of
from tfhub_transfer.heads.head import Head
from tfhub_transfer.heads.losses import FocalCrossentropy

_THRESHOLD = 0.5  # from which a label applies, where several may


class ClassificationHead(Head):
    """A linear bottleneck, if one is asked for, and dense layers to one probability per class.

    Classes exclude each other (softmax, cross-entropy), or with `multi_label` do not (sigmoid,
    binary cross-entropy).
    """

    def network(self, width: int) -> keras.Model:
        """Return float32[B, width] -> float32[B, C].

        Raises:
            ConfigError: Keras knows no such activation.
        """
        config = self.config
        layers: list[Any] = [keras.Input((width,), name="vector")]
        if config.bottleneck is not None:
            layers.append(
                keras.layers.Dense(
                    config.bottleneck, kernel_regularizer=penalty_of(config), name="bottleneck"
                )
            )
        hidden = HIDDEN["classification"] if config.hidden is None else config.hidden
        layers += hidden_layers(config, hidden)
        layers.append(
            keras.layers.Dense(
                len(self.labels),
                activation="sigmoid" if self.multi_label else "softmax",
                kernel_regularizer=penalty_of(config),
                # probabilities stay float32 under mixed precision
                dtype="float32",
                name="probabilities",
            )
        )
        return keras.Sequential(layers, name="head")

    def loss(self) -> keras.losses.Loss:
        """Return cross-entropy, or focal loss, against one-hot or multi-hot targets[B, C]."""
        smoothing = self.config.label_smoothing
        if self.config.loss == "focal":
            return FocalCrossentropy(self.config.focal_gamma, smoothing, self.multi_label)
        kind = (
            keras.losses.BinaryCrossentropy
            if self.multi_label
            else keras.losses.CategoricalCrossentropy
        )
        return kind(label_smoothing=smoothing)

    def metrics(self) -> list[keras.metrics.Metric]:
        """Return the accuracy: of the top class, or of each label on its own."""
        if self.multi_label:
            return [keras.metrics.BinaryAccuracy(name="accuracy", threshold=_THRESHOLD)]
        return [keras.metrics.CategoricalAccuracy(name="accuracy")]

    def decode(self, probabilities: np.ndarray) -> list[dict[str, object]]:
        """Return `label`, `score` and every class's probability for each row, float32[N, C].

        With several labels, `label` is a list and `score` is that of the least likely one in it.
        """
        decoded: list[dict[str, object]] = []
        for row in probabilities:
            if self.multi_label:
                chosen = np.flatnonzero(row >= _THRESHOLD)
                label: object = [self.labels[c] for c in chosen]
                score = row[chosen].min() if len(chosen) else row.max()
            else:
                label, score = self.labels[row.argmax()], row.max()
            by_class = {
                name: round(float(p), 6) for name, p in zip(self.labels, row, strict=True)
            }
            decoded.append(
                {"label": label, "score": round(float(score), 6), "probabilities": by_class}
            )
        return decoded
