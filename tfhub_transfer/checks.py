"""What a setting may be, and which settings go together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tfhub_transfer.errors import ConfigError
from tfhub_transfer.registry import BASELINE_TASKS

if TYPE_CHECKING:
    from tfhub_transfer.config import Config

__all__ = ["at_least", "check_together", "regular_expression", "within"]

# What says how the encoder's weights move.
_MOVING = (
    "trainable",
    "groups",
    "last_layers",
    "unfreezing",
    "layer_decay",
    "encoder_learning_rate",
    "precision",
)

_ADAPTING = ("dann", "coral")
# Whose validation rows cannot say which epoch is the best.
_LAST_EPOCH = ("contrastive", *_ADAPTING)


def within(name: str, value: float, low: float, high: float) -> None:
    """Raise ConfigError unless a setting is from `low` to `high`."""
    if not low <= value <= high:
        raise ConfigError(f"{name} must be from {low:.10g} to {high:.10g}. Received: {value!r}")


def regular_expression(name: str, pattern: str) -> None:
    """Raise ConfigError unless a setting is a regular expression."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"{name} must be a regular expression ({error}). Received: {pattern!r}"
        ) from error


def at_least(name: str, value: float | None, low: float) -> None:
    """Raise ConfigError unless a setting is `low` or more, or not given."""
    if value is not None and not value >= low:  # NaN compares false
        raise ConfigError(f"{name} must be at least {low:g}. Received: {value!r}")


def check_together(config: Config) -> None:
    """Raise ConfigError where settings exclude each other, or one would be of no effect."""
    _check_task(config)
    if config.training.strategy == "distillation":
        _check_distillation(config)
    elif config.training.strategy == "contrastive":
        _check_contrastive(config)
    _check_adaptation(config)
    if config.data.stages and config.training.unfreezing == "gradual":
        raise ConfigError(
            f"Stages are of growing data or of gradual unfreezing: give one. Received: data.stages "
            f"{list(config.data.stages)}, training.unfreezing gradual"
        )
    if not moves_encoder(config):
        _check_frozen(config)
    if config.training.distribute != "none":
        _check_distributed(config)
    if config.training.strategy in _LAST_EPOCH and config.training.keep == "accuracy":
        raise ConfigError(
            f"Strategy {config.training.strategy} always keeps its last epoch: leave training.keep "
            f"out. Received: 'accuracy'"
        )


def moves_encoder(config: Config) -> bool:
    """Return whether weights of the encoder are trained."""
    strategy = config.training.strategy
    if strategy == "distillation":
        strategy = config.distillation.student
    elif strategy in _ADAPTING:
        strategy = config.adaptation.student
    return strategy in ("fine_tuning", "contrastive")


def _check_task(config: Config) -> None:
    """Raise where settings belong to another task."""
    baselines = [
        name for name in config.evaluation.baselines or () if BASELINE_TASKS[name] != config.task
    ]
    if baselines:
        known = [name for name, task in BASELINE_TASKS.items() if task == config.task]
        raise ConfigError(
            f"evaluation.baselines has what is fitted for another task than {config.task}. "
            f"Accepted: {', '.join(known) or 'none'}. Received: {', '.join(baselines)}"
        )
    if config.task == "classification":
        return
    adapted = _ADAPTING if config.task == "tagging" else ()
    strategies = ("feature_extraction", "fine_tuning", *adapted)
    of_texts: dict[str, tuple[object, tuple[object, ...]]] = {
        "training.strategy": (config.training.strategy, strategies),
        "data.balance": (config.data.balance, ("none",)),
        "data.word_dropout": (config.data.word_dropout, (0.0,)),
        "data.word_swap": (config.data.word_swap, (0.0,)),
        "head.loss": (config.head.loss, ("cross_entropy",)),
        "training.truncate_loss": (config.training.truncate_loss, (0.0,)),
    }
    for name, (value, accepted) in of_texts.items():
        if value not in accepted:
            raise ConfigError(
                f"{name} is of whole texts with one label: with task {config.task} it must be "
                f"{' or '.join(map(str, accepted))}. Received: {name} {value}"
            )


def _check_frozen(config: Config) -> None:
    fields = type(config.training).__dataclass_fields__
    given = {name: getattr(config.training, name) for name in _MOVING}
    given = {name: value for name, value in given.items() if value != fields[name].default}
    if given:
        settings = ", ".join(f"training.{name} {value!r}" for name, value in given.items())
        raise ConfigError(
            f"With feature_extraction no weight of the encoder moves, and what says how they move "
            f"would be of no effect: leave it out, or give --training.strategy fine_tuning. "
            f"Received: {settings}"
        )
    if (config.data.word_dropout or config.data.word_swap) and config.encoder.cache:
        raise ConfigError(
            f"data.word_dropout and data.word_swap change texts in each epoch, and the feature "
            f"cache holds what they were before: add --encoder.cache false, or let the encoder "
            f"move with --training.strategy fine_tuning. Received: strategy "
            f"{config.training.strategy!r} with the cache"
        )


def _check_distillation(config: Config) -> None:
    teacher = config.distillation.teacher
    if teacher is None:
        raise ConfigError(
            "Strategy distillation needs a finished run to learn from: add "
            "--distillation.teacher DIR. Received: none"
        )
    if config.run and Path(teacher).resolve() == Path(config.run).resolve():
        raise ConfigError(f"A run cannot be its own teacher. Received: --run {config.run}")


def _check_adaptation(config: Config) -> None:
    strategy, asked = config.training.strategy, config.adaptation
    given = {
        f"adaptation.{name}": getattr(asked, name)
        for name, field in type(asked).__dataclass_fields__.items()
        if getattr(asked, name) != field.default
    }
    if strategy not in _ADAPTING:
        if given:
            raise ConfigError(
                f"Settings of adaptation have an effect with strategy dann or coral alone: leave "
                f"them out, or give --training.strategy dann. Received: strategy {strategy!r}, "
                f"{_listed(given)}"
            )
        return
    if asked.target is None:
        raise ConfigError(
            f"Strategy {strategy} needs texts of the domain to adapt to: add --adaptation.target "
            f"SOURCE. Received: none"
        )
    by_word = config.task == "tagging"
    learnt = config.head.hidden or config.head.bottleneck
    learnt = learnt or (by_word and config.tagging.recurrent)
    if asked.student == "feature_extraction" and not learnt:
        raise ConfigError(
            f"With a frozen encoder, what strategy {strategy} adapts is the head's hidden layer, "
            f"and there is none: give --head.hidden sizes{', --tagging.recurrent' * by_word}, or "
            f"--adaptation.student fine_tuning. Received: head.hidden "
            f"{list(config.head.hidden or ())}"
        )
    if strategy == "coral" and "adaptation.hidden" in given:
        raise ConfigError(
            f"Strategy coral has no domain classifier: leave adaptation.hidden out. "
            f"Received: {asked.hidden}"
        )
    excluded: dict[str, object] = {
        "data.stages": list(config.data.stages),
        "training.unfreezing": "gradual" if config.training.unfreezing == "gradual" else "",
        "training.truncate_loss": config.training.truncate_loss,
    }
    if excluded := {name: value for name, value in excluded.items() if value}:
        raise ConfigError(
            f"Strategy {strategy} goes through both domains in one stage, and half of each batch "
            f"has no labels to rank: it does not go with these. Received: {_listed(excluded)}"
        )
    if config.training.batch_size < 4:
        raise ConfigError(
            f"With strategy {strategy} half of each batch is of the target: training.batch_size "
            f"must be at least 4. Received: {config.training.batch_size}"
        )


def _listed(settings: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _check_contrastive(config: Config) -> None:
    staged = {
        "data.stages": list(config.data.stages),
        "training.unfreezing": "gradual" if config.training.unfreezing == "gradual" else "",
    }
    if given := [f"{name} {value}" for name, value in staged.items() if value]:
        raise ConfigError(
            f"Strategy contrastive trains on pairs once, then the head: it has no stages. "
            f"Accepted: strategy fine_tuning with them. Received: {', '.join(given)}"
        )


def _check_distributed(config: Config) -> None:
    training, encoder = config.training, config.encoder
    in_training = moves_encoder(config) or not encoder.cache
    if training.distribute == "tpu" and in_training:
        raise ConfigError(
            f"A TPU has no strings: --training.distribute tpu trains a head on cached vectors, "
            f"with strategy feature_extraction and the cache. Accepted: mirrored, on GPUs. "
            f"Received: strategy {training.strategy!r}, encoder.cache {str(encoder.cache).lower()}"
        )
    # what a batch's pairs, ranks, sums and a graph of its own have to do with the devices
    whole = {
        "training.strategy contrastive (the loss is over all pairs of a batch)": (
            training.strategy == "contrastive"
        ),
        f"training.strategy {training.strategy} (the loss is over both domains of a batch)": (
            training.strategy in _ADAPTING
        ),
        f"training.truncate_loss {training.truncate_loss:g} (it ranks all losses of a batch)": (
            training.truncate_loss > 0
        ),
        f"training.accumulate {training.accumulate} (a larger batch does the same, divided)": (
            training.accumulate > 1
        ),
        f"encoder.layers {encoder.layers} (the graph that is cut belongs to one device)": (
            encoder.layers is not None and in_training
        ),
    }
    if given := [name for name, asked in whole.items() if asked]:
        raise ConfigError(
            f"--training.distribute {training.distribute} divides batches among devices, which "
            f"does not go with everything: leave it out, or what it does not go with. Received: "
            f"{', '.join(given)}"
        )
