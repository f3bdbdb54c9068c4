"""Which of an encoder's weights move, and how fast: path -> multiplier of the learning rate."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable

import keras
import tensorflow as tf

from tfhub_transfer.config import TrainingConfig
from tfhub_transfer.encoders.depth import level_of
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.errors import TrainingError
from tfhub_transfer.strategy_config import RELATIVE_RATE, TRANSFORMER_RATE

__all__ = ["encoder_rate", "let_move", "rates_of"]

# Weights that are zero would never move; Adafactor's bound too.
_SMALLEST = 1e-3


def rates_of(encoder: HubLayer, config: TrainingConfig) -> dict[str, float]:
    """Let weights of the encoder move, and return their multipliers of its learning rate, by path.

    Of the weights that `trainable` matches, `last_layers` keeps the layers at the top, with the
    pooler above them (0 keeps the pooler alone). The first of `groups` that matches a path gives
    its rate. `layer_decay` multiplies that once for each layer above the weight's own: d^0 for the
    last layer and the pooler, d^(L-1) for the first of L layers, d^L for the embeddings.

    Raises:
        EncoderError: `trainable` matches nothing.
        TrainingError: layers are asked for that the encoder does not have; a group is of no
            effect; or no weight is left to move.
    """
    layers = encoder.depth
    paths = encoder.move(config.trainable)
    _check_layers(encoder, config)
    if config.last_layers is not None:
        lowest = layers - config.last_layers
        paths = [path for path in paths if level_of(path, layers) >= lowest]

    groups, effective = config.groups, set()
    rates = {}
    for path in paths:
        first = next((n for n, group in enumerate(groups) if re.search(group.match, path)), None)
        effective.add(first)
        rate = 1.0 if first is None else groups[first].rate
        rates[path] = rate * config.layer_decay ** max(0, layers - 1 - level_of(path, layers))
    for number, group in enumerate(groups):
        if number not in effective:
            raise TrainingError(
                f"A group of training.groups matches no weight that moves and that no group before "
                f"it matches. Weights that move: {_some(paths)}. Received: {group.match!r}"
            )
    moving = {path: rate for path, rate in rates.items() if rate}
    if not moving:
        raise TrainingError(
            f"No weight of {encoder.encoder.handle} is left to move; --training.strategy "
            f"feature_extraction trains a head alone, and faster. Received: training.trainable "
            f"{config.trainable!r}, last_layers {config.last_layers}, groups "
            f"{[(group.match, group.rate) for group in groups]}"
        )
    let_move(encoder, moving)
    return moving


def encoder_rate(encoder: HubLayer, config: TrainingConfig) -> float:
    """Return the learning rate of the encoder's weights, one that suits them where none is given.

    Args:
        encoder: as it was loaded: once trained, its weights may be larger.
        config: with the rate, or none.
    """
    if config.encoder_learning_rate is not None:
        return config.encoder_learning_rate
    if encoder.encoder.preprocess:
        return TRANSFORMER_RATE
    return RELATIVE_RATE * max(_SMALLEST, _root_mean_square(encoder.movable))


def let_move(encoder: HubLayer, paths: Collection[str]) -> None:
    """Let the weights with these paths move, and no other; without any the encoder is frozen."""
    if not paths:
        encoder.trainable = False
    elif set(paths) == {weight.path for weight in encoder.movable}:
        encoder.move(".*")
    else:
        encoder.move(f"^({'|'.join(map(re.escape, paths))})$")


def _root_mean_square(weights: Iterable[keras.Variable]) -> float:
    tensors = [tf.convert_to_tensor(weight.value) for weight in weights]
    squares = sum(2 * float(tf.nn.l2_loss(tensor)) for tensor in tensors)  # makes no copy of them
    return math.sqrt(squares / sum(int(tf.size(tensor)) for tensor in tensors))


def _check_layers(encoder: HubLayer, config: TrainingConfig) -> None:
    asked = {
        "last_layers": config.last_layers,
        "layer_decay": config.layer_decay if config.layer_decay != 1.0 else None,
        "unfreezing": config.unfreezing if config.unfreezing != "at_once" else None,
    }
    given = ", ".join(f"training.{name} {v}" for name, v in asked.items() if v is not None)
    if given and not encoder.depth:
        paths = [weight.path for weight in encoder.movable]
        raise TrainingError(
            f"{encoder.encoder.handle} has no numbered layers, as transformers have them: its "
            f"weights are {_some(paths)}. --training.groups and --training.encoder_learning_rate "
            f"say how fast those move. Received: {given}"
        )
    if config.last_layers is not None and config.last_layers > encoder.depth:
        raise TrainingError(
            f"training.last_layers must be at most {encoder.depth}, the layers of "
            f"{encoder.encoder.handle}. Received: {config.last_layers}"
        )


def _some(paths: list[str]) -> str:
    return ", ".join(paths[:6]) + (", ..." if len(paths) > 6 else "")
