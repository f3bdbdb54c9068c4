"""A training in stages: on growing data, or with more and more of the encoder moving.

Each stage has an optimizer and a learning-rate schedule of its own, and begins with the weights of
the best epoch of the one before. A training without stages is a training of one stage.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfhub_transfer.config import Config
from tfhub_transfer.data.division import stream
from tfhub_transfer.data.examples import Dataset, Examples
from tfhub_transfer.data.pipeline import Order
from tfhub_transfer.data.stratify import draw_limit
from tfhub_transfer.encoders.depth import level_of
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.errors import DataError, TrainingError
from tfhub_transfer.runs import Run
from tfhub_transfer.training import checkpoint
from tfhub_transfer.training.groups import let_move
from tfhub_transfer.training.loop import Progress, fit
from tfhub_transfer.training.objective import Objective

__all__ = ["Stage", "fit_stages", "plan"]

# Of the learning rate, by the path of each encoder weight that moves.
Rates = Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Stage:
    """What is trained, on what, for how long.

    Attributes:
        name: as reports and the folder of its checkpoints show it; empty for the only stage.
        train: the examples it learns from.
        epochs: passes over them at most.
        moving: multipliers of the learning rate, by the path of each encoder weight that moves.
    """

    name: str
    train: Examples
    epochs: int
    moving: Rates


def plan(
    config: Config, data: Dataset, rates: Rates | None = None, *, depth: int = 0
) -> list[Stage]:
    """Return the stages that `data.stages` or `training.unfreezing` asks for, or the only one.

    Args:
        config: of the run.
        data: whose training rows are divided.
        rates: multipliers by path of the encoder weights that move in the end; none if it is
            frozen.
        depth: the encoder's number of layers.

    Raises:
        DataError: the first share is too small.
        TrainingError: there are fewer epochs than stages of gradual unfreezing.
    """
    rates, epochs = rates or {}, config.training.max_epochs
    if config.data.stages:
        parts = _growing(data, config.data.stages, config.seed)
        names = [f"{100 * share:g}%" for share in config.data.stages]
        return [
            Stage(name if len(parts) > 1 else "", part, epochs, rates)
            for name, part in zip(names, parts, strict=True)
        ]
    if config.training.unfreezing == "gradual":
        steps = _thawing(rates, depth)
        last = epochs - len(steps) + 1
        if last < 1:
            raise TrainingError(
                f"Gradual unfreezing takes an epoch for the head and one for each layer that is "
                f"added: --training.epochs {len(steps)} or more here "
                f"({', '.join(name for name, _ in steps)}). Received: {epochs}"
            )
        lengths = [1] * (len(steps) - 1) + [last]
        return [
            Stage(name, data.train, length, moving)
            for (name, moving), length in zip(steps, lengths, strict=True)
        ]
    return [Stage("", data.train, epochs, rates)]


def _growing(data: Dataset, shares: Sequence[float], seed: int) -> list[Examples]:
    """Return stratified parts of the training rows, each within the next (incremental migration).

    Drawn from the largest down, for seats apportioned to a class may fall as the total rises.
    """
    part, classes, parts = data.train, data.row_classes, []
    rng = stream(seed, "stages")
    for share in reversed(shares):
        rows = round(share * len(data.train))
        if rows < (1 if data.multi_label else classes):
            raise DataError(
                f"Each of data.stages must leave at least one training row of each of the "
                f"{classes} classes; of {len(data.train):,} rows, {share:g} is {rows:,}. "
                f"Received: {list(shares)}"
            )
        if rows < len(part):
            part = part.take(draw_limit(part.labels, rows, classes, rng))
        parts.append(part)
    return parts[::-1]


def _thawing(rates: Rates, depth: int) -> list[tuple[str, Rates]]:
    """Return (what is added, all that moves then), from the head alone down to the embeddings."""
    levels = {path: level_of(path, depth) for path in rates}
    # the pooler moves with the layer below it
    top = max((level for level in levels.values() if level < depth), default=depth)
    steps: list[tuple[str, Rates]] = [("head", {})]
    for level in sorted({min(level, top) for level in levels.values()}, reverse=True):
        name = {-1: "embeddings", depth: "pooler"}.get(level, f"layer_{level}")
        steps.append((name, {path: rates[path] for path in rates if levels[path] >= level}))
    return steps


def fit_stages(
    stages: Sequence[Stage],
    model: keras.Model,
    objective: Objective,
    train: Callable[[Examples], tuple[Order, tf.data.Dataset]],
    validation: tf.data.Dataset,
    *,
    encoder: HubLayer,
    config: Config,
    run: Run,
    rate: float = 1.0,
    steps_per_call: int = 1,
) -> tuple[Progress, dict[str, Any]]:
    """Train one stage after the other, from where a killed run was.

    Args:
        stages: in turn.
        model: features to probabilities.
        objective: of all stages.
        train: a stage's examples to their order, and the batches that go by it.
        validation: batches of all stages.
        encoder: some of whose weights move.
        config: of the run.
        run: where checkpoints, history and logs go.
        rate: the multiplier of the learning rate that the stages' own are of.
        steps_per_call: see `loop.fit`.

    Returns:
        The progress of all as one, its epochs counted through; and for `metrics.json`, if there
        are several, `stages`: of each name, rows, epochs, best_epoch, val_loss and val_accuracy
        (of that epoch), seconds.

    Raises:
        TrainingError: the loss is no number any more.
        KeyboardInterrupt: Ctrl-C before the first epoch was whole.
    """
    done: list[Progress] = []
    for stage in stages:
        let_move(encoder, stage.moving)
        order, batches = train(stage.train)
        start = [(weight, weight.numpy()) for weight in checkpoint.moving(model)] if done else []
        try:
            progress = fit(
                model,
                objective,
                batches,
                validation,
                order=order,
                config=config.training,
                run=run,
                stage=stage.name,
                epochs=stage.epochs,
                before=[record for earlier in done for record in earlier.history],
                resume=config.resume,
                multipliers={path: rate * factor for path, factor in stage.moving.items()},
                steps_per_call=steps_per_call,
            )
        except KeyboardInterrupt:
            if not done:
                raise
            for weight, value in start:
                weight.assign(value)
            print(
                f"interrupted in stage {stage.name}: what stands before it is kept; --resume "
                f"continues. Measuring what there is; Ctrl-C again leaves at once.",
                file=sys.stderr,
            )
            break
        done.append(progress)
        if not progress.finished:
            break
    history = [record for progress in done for record in progress.history]
    whole = Progress(
        history=history,
        best_epoch=len(history) - done[-1].epoch + done[-1].best_epoch,
        seconds=sum(progress.seconds for progress in done),
        finished=len(done) == len(stages) and done[-1].finished,
        planned=sum(stage.epochs for stage in stages),
    )
    if len(stages) == 1:
        return whole, {}
    trained = zip(stages, done, strict=False)  # fewer than planned, where Ctrl-C came
    return whole, {"stages": [_described(stage, progress) for stage, progress in trained]}


def _described(stage: Stage, progress: Progress) -> dict[str, Any]:
    best = progress.history[progress.best_epoch - 1]
    return {
        "name": stage.name,
        "rows": len(stage.train),
        "epochs": progress.epoch,
        "best_epoch": best["epoch"],
        "val_loss": best["val_loss"],
        "val_accuracy": best["val_accuracy"],
        "seconds": round(progress.seconds, 3),
    }
