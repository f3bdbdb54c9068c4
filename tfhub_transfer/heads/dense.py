"""The dense layers that heads have between the encoder's vectors and their output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tfhub_transfer.config import HeadConfig
from tfhub_transfer.errors import ConfigError

__all__ = ["activation_of", "hidden_layers", "penalty_of"]


def penalty_of(config: HeadConfig) -> keras.Regularizer | None:
    """Return the squared-weight penalty on a dense kernel."""
    return keras.regularizers.L2(config.l2) if config.l2 else None


def activation_of(config: HeadConfig) -> str:
    """Return the activation's name, once it is sure that Keras knows it.

    Raises:
        ConfigError: it does not.
    """
    try:
        keras.activations.get(config.activation)
    except ValueError:
        raise ConfigError(
            f"head.activation must be a name that Keras knows, such as relu, gelu or tanh. "
            f"Received: {config.activation!r}"
        ) from None
    return config.activation


def hidden_layers(config: HeadConfig, units: Sequence[int], prefix: str = "") -> list[Any]:
    """Return dropout and a dense layer for each number of units, and the output's dropout.

    Args:
        config: activation, dropout and penalty.
        units: of the dense layers, in order.
        prefix: of the layers' names.

    Raises:
        ConfigError: Keras knows no such activation.
    """
    activation = activation_of(config)
    layers: list[Any] = []
    for index, size in enumerate(units):
        layers.append(keras.layers.Dropout(config.dropout, name=f"{prefix}dropout_{index}"))
        layers.append(
            keras.layers.Dense(
                size,
                activation=activation,
                kernel_regularizer=penalty_of(config),
                name=f"{prefix}hidden_{index}",
            )
        )
    return [*layers, keras.layers.Dropout(config.dropout, name=f"{prefix}dropout")]
