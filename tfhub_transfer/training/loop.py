"""Compile, fit, checkpoint, resume: the one training loop of every strategy."""

from __future__ import annotations

import csv
import gc
import io
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfhub_transfer.config import TrainingConfig
from tfhub_transfer.data.pipeline import Order
from tfhub_transfer.errors import TrainingError
from tfhub_transfer.heads.losses import PhasedLoss
from tfhub_transfer.progress import Advance, progress
from tfhub_transfer.runs import Run
from tfhub_transfer.training import checkpoint, limits
from tfhub_transfer.training.distribution import copies, replicated, scope_of
from tfhub_transfer.training.interrupts import held_interrupts
from tfhub_transfer.training.objective import Objective
from tfhub_transfer.training.optimizer import make_optimizer
from tfhub_transfer.training.phases import Phases
from tfhub_transfer.training.schedule import WarmupDecay

__all__ = ["Progress", "fit"]


@dataclass
class Progress:
    """How far a training has come; what a checkpoint holds beside the weights.

    Attributes:
        history: one record per epoch: stage (where there are several), epoch (from 1, counted
            through all stages), loss, accuracy, val_loss, val_accuracy, learning_rate, seconds.
        best_epoch: the place in `history`, from 1, of the epoch whose weights are kept, of the
            last stage; see `training.keep`.
        seconds: spent in all, resumed parts included.
        finished: all epochs are done, or patience ran out.
        planned: epochs, at most.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    seconds: float = 0.0
    finished: bool = False
    planned: int = 0

    @property
    def epoch(self) -> int:
        """The number of whole epochs."""
        return len(self.history)


def fit(
    model: keras.Model,
    objective: Objective,
    train: tf.data.Dataset,
    validation: tf.data.Dataset,
    *,
    order: Order,
    config: TrainingConfig,
    run: Run,
    epochs: int | None = None,
    stage: str = "",
    before: Sequence[dict[str, Any]] = (),
    resume: bool = False,
    multipliers: Mapping[str, float] | None = None,
    steps_per_call: int = 1,
) -> Progress:
    """Train `model` and leave it with the weights of its best epoch.

    After each epoch `checkpoints/last.safetensors` and `history.csv` are replaced, so that a killed
    training loses one epoch at most; a resumed one takes the same steps as if it had not been
    killed. Ctrl-C ends the training and keeps what the whole epochs before it reached.

    Args:
        model: features to probabilities.
        objective: the loss, and the metrics that are shown.
        train: batches of (features, targets, weights).
        validation: the same, in a fixed order.
        order: that of `train`, told each epoch's number.
        config: rates and patience.
        run: where checkpoints, history and logs go.
        epochs: passes over the training rows at most; `config.max_epochs` when not given.
        stage: a name, and the folder of the checkpoints; empty if the training is all of the run.
        before: the history of the stages before this one.
        resume: begin from the stage's last checkpoint, if it has one.
        multipliers: of the learning rate, by the weight's path; 1 where not given.
        steps_per_call: optimizer steps per call into the graph; more than one pays where a step
            takes less than a millisecond.

    Raises:
        TrainingError: the loss is no number any more; or the devices that `config.distribute` asks
            for are not there.
        KeyboardInterrupt: Ctrl-C before the first epoch was whole.
    """
    epochs = epochs or config.max_epochs
    steps = math.ceil(len(order) / config.batch_size)
    if steps * epochs < config.accumulate:
        raise TrainingError(
            f"training.accumulate must be at most {steps * epochs}, the batches of the whole "
            f"training{_in(stage)}, or no step would be taken. Received: {config.accumulate}"
        )
    # of batches, which is what an optimizer counts where gradients of several make a step
    rate = WarmupDecay(config.peak_rate, steps * epochs, config.warmup, config.decay)
    for metric in objective.metrics:
        metric.reset_state()  # Keras would not, before the first batch, of what a stage left behind
    last, best = _checkpoints(run, stage)
    state = Progress()
    trained = replicated(model, config.distribute)
    with scope_of(trained):
        trained.compile(
            optimizer=make_optimizer(rate, config, multipliers),
            loss=objective.loss,
            weighted_metrics=(
                list(objective.metrics) if trained is model else copies(objective.metrics)
            ),
            # several in one call fail in TensorFlow 2.21 where there are replicas
            steps_per_execution=min(steps_per_call, steps) if trained is model else 1,
        )
        if resume and last.exists():
            state = Progress(**checkpoint.load(last, trained))
    if not (state.finished or (state.history and limits.reached(len(before) + state.epoch))):
        with progress("Training", "examples", (epochs - state.epoch) * len(order)) as advance:
            callbacks: list[keras.callbacks.Callback] = [
                _Epochs(state, order, config, run, advance, epochs, stage, before)
            ]
            if isinstance(objective.loss, PhasedLoss):
                callbacks.append(Phases(objective.loss, len(before)))
            if config.tensorboard:
                callbacks.append(keras.callbacks.TensorBoard(run.logs / stage))
            try:
                with held_interrupts() as check:
                    callbacks.append(_AfterEachStep(check))
                    trained.fit(
                        train,
                        validation_data=validation,
                        epochs=epochs,
                        initial_epoch=state.epoch,
                        callbacks=callbacks,
                        shuffle=False,  # `order` has done it
                        verbose=0,
                    )
            except KeyboardInterrupt:
                if not state.history:
                    raise
                print(
                    f"interrupted{_in(stage)}: {state.epoch} of {epochs} epochs are kept; "
                    f"--resume continues. Measuring what there is; Ctrl-C again leaves at once.",
                    file=sys.stderr,
                )
            if not state.finished:
                # Keras' iterator, where it was left: its thread calls Python, and would end the
                # process with SIGABRT if it were still at it when the interpreter goes
                gc.collect()
    kept = Progress(**checkpoint.load(best, model, optimizer=False))
    # Ctrl-C right after the best weights were written leaves them ahead
    return kept if kept.epoch > state.epoch else state


def _best_epoch(history: Sequence[Mapping[str, Any]], keep: str) -> int:
    """Return the place, from 1, of the epoch whose weights `training.keep` keeps."""
    if keep == "last":
        return len(history)
    scores = [(epoch["val_loss"],) for epoch in history]
    if keep == "accuracy":
        scores = [(-epoch["val_accuracy"], epoch["val_loss"]) for epoch in history]
    return scores.index(min(scores)) + 1


def _checkpoints(run: Run, stage: str) -> tuple[Path, Path]:
    folder = run.checkpoints / stage
    return folder / "last.safetensors", folder / "best.safetensors"


def _in(stage: str) -> str:
    return f" in stage {stage}" if stage else ""


class _AfterEachStep(keras.callbacks.Callback):
    """Calls a function where no step is under way."""

    def __init__(self, function: Callable[[], None]):
        super().__init__()
        self._function = function

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._function()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self._function()


class _Epochs(keras.callbacks.Callback):
    """What happens around each epoch."""

    def __init__(
        self,
        state: Progress,
        order: Order,
        config: TrainingConfig,
        run: Run,
        advance: Advance,
        epochs: int,
        stage: str,
        before: Sequence[dict[str, Any]],
    ):
        super().__init__()
        self._state, self._order, self._config, self._run = state, order, config, run
        self._advance, self._epochs, self._stage, self._before = advance, epochs, stage, before
        self._last, self._best = _checkpoints(run, stage)
        self._seconds_before = state.seconds
        self._start = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        # counted through all stages, lest stages of one epoch all draw the same
        self._order.epoch = len(self._before) + epoch
        self._epoch_start = time.monotonic()
        self._done = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        done = min((batch + 1) * self._config.batch_size, len(self._order))
        self._advance(done - self._done)
        self._done = done

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        values = {key: float(value) for key, value in (logs or {}).items()}
        self._check(epoch, values)
        now, state = time.monotonic(), self._state
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        record = {
            **({"stage": self._stage} if self._stage else {}),
            "epoch": len(self._before) + epoch + 1,
            **values,
            "learning_rate": rate,
            "seconds": round(now - self._epoch_start, 3),
        }
        history = [*state.history, record]
        best_epoch = _best_epoch(history, self._config.keep)
        out_of_patience = len(history) - best_epoch >= self._config.patience
        reached = Progress(
            history=history,
            best_epoch=best_epoch,
            seconds=self._seconds_before + now - self._start,
            finished=len(history) == self._epochs or out_of_patience,
            planned=self._epochs,
        )
        if best_epoch == len(history):
            checkpoint.save(self._best, self.model, vars(reached), optimizer=False)
        # Ctrl-C may come anywhere: the state is not ahead of the best weights, nor behind the last
        vars(state).update(vars(reached))
        checkpoint.save(self._last, self.model, vars(reached))
        self._run.write_text("history.csv", _as_csv([*self._before, *history]))
        over = limits.reached(len(self._before) + len(history))
        self.model.stop_training = out_of_patience or over
        self._advance(
            0,
            f"Training{_in(self._stage)}, epoch {state.epoch} of at most {self._epochs}, "
            f"val_loss {values['val_loss']:.3f}, best in {state.best_epoch}",
        )

    def _check(self, epoch: int, values: dict[str, float]) -> None:
        # the weights too: ReLU gives 0 for NaN, which keeps the loss finite
        if not (
            all(math.isfinite(value) for value in values.values())
            and all(tf.reduce_all(tf.math.is_finite(w)) for w in self.model.trainable_variables)
        ):
            raise TrainingError(
                f"The loss or a weight is no number any more in epoch {epoch + 1}"
                f"{_in(self._stage)}; the weights of the epoch before are in "
                f"{self._run.checkpoints}. A lower --training.learning_rate than "
                f"{self._config.peak_rate:g} or a longer --training.warmup usually helps. "
                f"Received: {values}"
            )


def _as_csv(records: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()
