"""YAML -> a search space; whatever it does not understand is an error.

    head.hidden: [[], [256], [1024]]                            # one of these
    head.dropout: {min: 0, max: 0.6}                            # any number between them
    training.learning_rate: {min: 1e-4, max: 1e-2, log: true}   # evenly in its logarithm
    training.last_layers: {min: 0, max: 6, step: 2}             # whole numbers stay whole

A setting is named as its flag is. The configuration's own value is always among a list's. Drawn
values that do not go with each other, as `training.last_layers` with an encoder that a strategy
keeps frozen, are no error: what stands later in the space is left at the configuration's own value.
"""

from __future__ import annotations

import functools
import json
import math
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import jsonargparse

from tfhub_transfer.checks import moves_encoder
from tfhub_transfer.config import Config
from tfhub_transfer.dotted import flat
from tfhub_transfer.errors import ConfigError, TransferError
from tfhub_transfer.registry import did_you_mean
from tfhub_transfer.training.search_space import Choice, Dimension, Range, Space, with_settings

__all__ = ["read_space"]

# Whatever decides on which rows a trial is measured has to be the same for all of them.
_VARIED_DATA = ("data.balance", "data.stages", "data.word_dropout", "data.word_swap")
_FIXED = ("task", "run", "resume", "overwrite", "seed", "evaluation.", "data.")
_FIXED += ("training.tensorboard", "training.distribute")
_RANGE_KEYS = ("min", "max", "step", "log")

_OF_HEADS: dict[str, Any] = {
    "head.hidden": [[], [64], [256], [1024], [256, 64]],
    "training.learning_rate": {"min": 2e-4, "max": 2e-2, "log": True},
    "head.dropout": {"min": 0.0, "max": 0.6},
    "head.l2": [0.0, 1e-6, 1e-5, 1e-4],
    "head.label_smoothing": [0.0, 0.05, 0.1],
    "head.activation": ["relu", "gelu", "tanh"],
    "training.optimizer": ["adamw", "nadam", "rmsprop"],  # whose rates are of one size
    "training.batch_size": [32, 64, 128],
    "data.balance": ["none", "class_weight"],
}
_OF_TUNING: dict[str, Any] = {
    "training.encoder_learning_rate": {"min": 1e-5, "max": 1e-3, "log": True},
    "training.learning_rate": {"min": 2e-4, "max": 1e-2, "log": True},
    "head.hidden": [[], [256]],
    "head.dropout": {"min": 0.0, "max": 0.5},
    "training.batch_size": [16, 32, 64],
    "training.weight_decay": [0.0, 0.01, 0.1],
    "training.decay": ["linear", "cosine"],
}


def read_space(config: Config, content: Mapping[str, Any] | None) -> Space:
    """Return the space that `content` describes, or the default one of the strategy.

    Args:
        config: what all trials have in common.
        content: as this module's docstring shows it.

    Raises:
        ConfigError: a setting that there is not, or that a search cannot vary; a list or a range
            that is empty; a value that the setting refuses. The text names the setting.
    """
    if content is None:
        content = _OF_TUNING if moves_encoder(config) else _OF_HEADS
    if not content:
        raise ConfigError(
            f"search.space must name at least one setting. Received: {dict(content)!r}"
        )
    for name in content:
        _check_name(name)
    space = Space(config, tuple(_dimension(config, *item) for item in content.items()))
    for dimension in space.dimensions:
        _check_values(space, dimension)
    return space


def _check_name(name: str) -> None:
    known = flat(Config().to_dict())
    if inner := [one for one in known if one.startswith(f"{name}.")]:
        raise ConfigError(
            f"search.space: a setting is named in one, as its flag is, not as a section. "
            f"Accepted: {', '.join(inner[:3])}, ... Received: {name!r}"
        )
    if name not in known:
        raise ConfigError(
            f"search.space: unknown setting.{did_you_mean(str(name), known)} A setting is named as "
            f"its flag is, as in head.dropout. Received: {name!r}"
        )
    if name.startswith(_FIXED) and name not in _VARIED_DATA:
        raise ConfigError(
            f"search.space: {name} is the same for all trials, which could not be compared "
            f"otherwise. Accepted: settings of the encoder, the head, the training and "
            f"{', '.join(_VARIED_DATA)}. Received: {name!r}"
        )


def _dimension(config: Config, name: str, described: Any) -> Dimension:
    own = flat(config.to_dict())[name]
    if isinstance(described, list | tuple) and described:
        values = [_typed(name, value) for value in described]
        distinct = {json.dumps(value): value for value in [own, *values]}
        if len(distinct) > 1:
            return Choice(name, tuple(distinct.values()))
    if isinstance(described, Mapping):
        return _range(name, described, own)
    raise ConfigError(
        f"search.space, {name}: give a list of values of which one is not the configuration's own, "
        f"{json.dumps(own)}, or a mapping with min and max. Received: {described!r}"
    )


def _range(name: str, described: Mapping[str, Any], own: Any) -> Range:
    kind = _number(name)
    if kind is None:
        raise ConfigError(
            f"search.space, {name}: only a number has a range; give a list of values. "
            f"Received: {dict(described)!r}"
        )
    low, high = (
        None if described.get(end) is None else _typed(name, described[end])
        for end in ("min", "max")
    )
    step, log = described.get("step"), described.get("log", False)
    good = (
        described.keys() <= set(_RANGE_KEYS)
        and low is not None
        and high is not None
        and low < high
        and isinstance(log, bool)
        and (low > 0 or not log)
        and (step is None or _is_step(step, kind, low, high, log))
    )
    if not good:
        raise ConfigError(
            f"search.space, {name}: a range has a min below its max, maybe a step that fits "
            f"between them, and maybe log: true, for which min is above 0 and the step, a factor, "
            f"above 1{'; all of them whole numbers' if kind is int else ''}. Accepted: "
            f"{', '.join(_RANGE_KEYS)}. "
            f"Received: {dict(described)!r}"
        )
    middle = math.sqrt(low * high) if log else (low + high) / 2
    near = min(max(middle if own is None else own, low), high)
    if step is not None:  # as Keras Tuner counts, lest 0.3 and 0.1 + 0.2 be two values
        steps = round(math.log(near / low, step) if log else (near - low) / step)
        stood = low * math.pow(step, steps) if log else low + steps * step
        near = stood if math.isclose(near, stood) else near
    # of values that can be counted, that of the start would never be tried
    takes_own = (step is None and kind is float) or (own is not None and math.isclose(near, own))
    return Range(name, low, high, step, log, kind is int, kind(near), takes_own)


def _is_step(step: Any, kind: type, low: float, high: float, log: bool) -> bool:
    if isinstance(step, bool) or not isinstance(step, kind | int):
        return False
    return bool(1 < step <= high / low if log else 0 < step <= high - low)


def _number(name: str) -> type[int] | type[float] | None:
    """Return the kind of number that a setting is, if it is one."""
    section, _, inner = name.partition(".")
    hints = typing.get_type_hints(type(getattr(Config(), section)))
    kinds = set(typing.get_args(hints[inner]) or (hints[inner],)) - {type(None)}
    return {frozenset({int}): int, frozenset({float}): float}.get(frozenset(kinds))


def _typed(name: str, value: Any) -> Any:
    """Return a value as YAML and JSON hold it, of the setting's own type."""
    section, _, inner = name.partition(".")
    try:
        parsed = _parser().parse_object({section: {inner: value}})[name]
    except jsonargparse.ArgumentError as error:
        said = " ".join(str(error).split())
        raise ConfigError(f"search.space, {name}: {said}. Received: {value!r}") from error
    return json.loads(json.dumps(parsed, default=lambda other: other.as_dict()))


@functools.cache
def _parser() -> jsonargparse.ArgumentParser:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Config)
    return parser


def _check_values(space: Space, dimension: Dimension) -> None:
    """Check that each value is accepted, alone or beside one of another setting's."""
    for value in dimension.values:
        refused: TransferError | None = None
        for beside in _beside(space, dimension):
            try:
                with_settings(space.config, {**beside, dimension.name: value})
            except TransferError as error:
                refused = refused or error
            else:
                break
        else:
            raise ConfigError(f"search.space, {dimension.name}: {refused}") from refused


def _beside(space: Space, dimension: Dimension) -> Iterator[dict[str, Any]]:
    yield {}
    for other in space.dimensions:
        if other is not dimension:
            for value in other.values:
                yield {other.name: value}
