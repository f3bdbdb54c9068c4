"""What does a run owe to each of its parts? A protocol that takes away one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfhub_transfer.config import Config
from tfhub_transfer.dotted import flat
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.evaluation.protocols.grid import DECIDED, Entry, Protocol
from tfhub_transfer.runs import Run, config_from_dict

__all__ = ["ablation"]

FULL = "full"
# What a frozen encoder, whose vectors are cached, does not go with.
_OF_TUNING = (
    "training.trainable",
    "training.groups",
    "training.last_layers",
    "training.unfreezing",
    "training.layer_decay",
    "training.encoder_learning_rate",
    "training.precision",
    "data.word_dropout",
    "data.word_swap",
)


@dataclass(frozen=True)
class Component:
    """Something a run may have.

    Attributes:
        name: of the row without it.
        off: the settings that take it away; the run has it where one of its own differs.
        strategy: the only one that it does something in; None for all.
    """

    name: str
    off: Mapping[str, Any]
    strategy: str | None = None


COMPONENTS = (
    Component("no-warmup", {"training.warmup": 0.0}),
    Component("constant-rate", {"training.decay": "none"}),
    Component("no-augmentation", {"data.word_dropout": 0.0, "data.word_swap": 0.0}),
    Component("linear-head", {"head.hidden": []}),
    Component("no-bottleneck", {"head.bottleneck": None}),
    Component("no-dropout", {"head.dropout": 0.0}),
    Component("no-l2", {"head.l2": 0.0}),
    Component("no-label-smoothing", {"head.label_smoothing": 0.0}),
    Component("cross-entropy", {"head.loss": "cross_entropy"}),
    Component("no-truncation", {"training.truncate_loss": 0.0}),
    Component("no-balance", {"data.balance": "none"}),
    Component("no-stages", {"data.stages": []}),
    Component("no-weight-decay", {"training.weight_decay": 0.0}),
    Component("no-clipping", {"training.clip_norm": None}),
    Component("float32-encoding", {"encoder.precision": "float32"}),
    Component("all-of-the-layers", {"encoder.layers": None}),
    Component("published-pooling", {"encoder.pooling": "published"}),
    Component("float32-training", {"training.precision": "float32"}),
    Component("all-layers-move", {"training.last_layers": None, "training.trainable": ".*"}),
    Component("at-once", {"training.unfreezing": "at_once"}),
    Component("one-rate", {"training.layer_decay": 1.0, "training.groups": []}),
    Component("no-vectors", {"distillation.vectors": 0.0}, "distillation"),
    Component("no-unlabelled-text", {"distillation.unlabelled": None}, "distillation"),
)


def ablation(run: Run, seeds: int) -> Protocol:
    """Return a protocol of a run as it is, and without each component that it has.

    Args:
        run: finished or not; its configuration is what counts.
        seeds: how many, from the run's own on.

    Raises:
        ConfigError: fewer than one seed, or nothing to take away.
        RunError: the run's configuration cannot be read.
    """
    if seeds < 1:
        raise ConfigError(f"--seeds must be at least 1. Received: {seeds}")
    config = config_from_dict(run.load_config())
    settings = flat(config.to_dict())
    defaults = flat(Config().to_dict())
    kept = {
        key: value
        for key, value in settings.items()
        if value != defaults[key] and key not in DECIDED
    }
    without = list(_without(config, settings, defaults))
    return Protocol(
        title=f"{run.path.resolve().name} without its parts",
        data=(Entry(_named(config.data.source)),),
        encoders=(Entry(_named(config.encoder.name)),),
        strategies=(Entry(FULL), *without),
        shots=(config.data.shots,),
        seeds=tuple(range(config.seed, config.seed + seeds)),
        compare=FULL,
        settings=kept,
    )


def _named(value: str) -> str:
    """Return what a folder may be called after a path, an address or a name."""
    name = Path(value).stem if "/" in value else value
    kept = "".join(sign if sign.isalnum() or sign in "._+-" else "-" for sign in name)
    return kept.strip("-._") or "unnamed"


def _without(
    config: Config, settings: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Iterator[Entry]:
    strategy, student = config.training.strategy, config.distillation.student
    # as many epochs as a head alone takes by default
    frozen = {"training.epochs": None} | {key: defaults[key] for key in _OF_TUNING}
    if strategy == "distillation":
        yield Entry("no-teacher", {"training.strategy": student})
        if student != "feature_extraction":
            yield Entry("frozen", {**frozen, "distillation.student": "feature_extraction"})
    elif strategy != "feature_extraction":
        yield Entry("frozen", {**frozen, "training.strategy": "feature_extraction"})
    for component in COMPONENTS:
        has_it = any(settings[key] != value for key, value in component.off.items())
        if has_it and component.strategy in (None, strategy):
            yield Entry(component.name, component.off)
