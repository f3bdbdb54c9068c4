"""What every head has."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import keras
import numpy as np

from tfhub_transfer.config import Config, HeadConfig


class Head(abc.ABC):
    """Layers on an encoder's output, the loss they are trained on, and what their output means.

    Args:
        config: sizes and regularisation.
        labels: class names, in the order of the outputs.
        multi_label: whether an example may have any number of labels.

    Attributes:
        facts: what it has to know of the data beside the labels: arguments of the constructor,
            and keys of a run's metrics.json.
        inputs: the names of its model's inputs, string[B] each.
        reads: the output of the encoder that it stands on, as `HubLayer` takes it.
        splitting: what parts words, where it reads them, as `HubLayer` takes it.
        word_shapes: whether it reads their shapes too, as `HubLayer` takes it.
    """

    facts: ClassVar[tuple[str, ...]] = ("multi_label",)
    inputs: ClassVar[tuple[str, ...]] = ("text",)
    reads: Literal["pooled", "words", "text_and_words"] = "pooled"
    splitting: Literal["spaces", "punctuation"] = "spaces"
    word_shapes: bool = False

    def __init__(self, config: HeadConfig, labels: Sequence[str], *, multi_label: bool = False):
        self.config = config
        self.labels = tuple(labels)
        self.multi_label = multi_label

    @classmethod
    def of(cls, config: Config, labels: Sequence[str], **facts: Any) -> Head:
        """Return the head that a run's settings ask for.

        Args:
            config: of the run; a head takes from it what it needs.
            labels: names, in the order of the outputs.
            **facts: what the data says beside them, as `multi_label`, or for tags `intents`.
        """
        return cls(config.head, labels, **facts)

    @abc.abstractmethod
    def network(self, width: int) -> keras.Model:
        """Return the untrained layers as a model: float32[B, width] to probabilities.

        A head over words takes float32[B, W, width] and gives logits.
        """

    @abc.abstractmethod
    def loss(self) -> keras.losses.Loss:
        """Return the loss of probabilities against targets."""

    @abc.abstractmethod
    def metrics(self) -> list[keras.metrics.Metric]:
        """Return what is shown while training."""

    @abc.abstractmethod
    def decode(self, probabilities: np.ndarray) -> list[dict[str, object]]:
        """Return what a person wants to know of each row of `probabilities`.

        A head over words also takes `lengths`, the words of each row.
        """
