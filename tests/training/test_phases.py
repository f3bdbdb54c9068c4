"""A loss that changes over a training is told when."""

from __future__ import annotations

import dataclasses
from functools import partial

import keras

from tests.training.problems import Problem
from tfhub_transfer.config import TrainingConfig
from tfhub_transfer.data.pipeline import Order, batches
from tfhub_transfer.heads.losses import PhasedLoss
from tfhub_transfer.runs import Run
from tfhub_transfer.training.loop import fit
from tfhub_transfer.training.objective import Objective
from tfhub_transfer.training.phases import Phases


class Noting(PhasedLoss):
    """Writes down what it was told; nothing is learned while it is changed."""

    def __init__(self, inner: keras.losses.Loss):
        super().__init__(inner, "noting")
        self.told: list[int | None] = []

    def changes(self, epoch: int) -> bool:
        return epoch == 1

    def begin(self, epoch: int | None) -> None:
        super().begin(epoch)
        self.told.append(epoch)

    def call(self, y_true, y_pred):
        return (1.0 - self.active) * self.inner.call(y_true, y_pred)


def test_the_loop_tells_epochs_and_validations(tmp_path):
    problem = Problem()
    model, head = problem.model()
    loss = Noting(head.loss())
    objective = Objective(loss, tuple(head.metrics()), lambda rows, at: rows.targets(3, at))
    order = Order(problem.train, 3)
    of_train = partial(objective.targets, problem.train)
    of_validation = partial(objective.targets, problem.validation)
    progress = fit(
        model,
        objective,
        batches(problem.train_vectors, problem.train, of_train, 10, order=order),
        batches(problem.validation_vectors, problem.validation, of_validation, 10),
        order=order,
        config=dataclasses.replace(TrainingConfig(), epochs=3, batch_size=10),
        run=Run(tmp_path),
    )
    assert loss.told == [0, None, 0, 1, None, 1, 2, None, 2]
    losses = [record["loss"] for record in progress.history]
    assert losses[0] > 0 == losses[1] < losses[2]
    assert all(record["val_loss"] > 0 for record in progress.history)


def test_epochs_are_counted_through_all_stages():
    loss = Noting(keras.losses.CategoricalCrossentropy())
    phases = Phases(loss, before=4)
    phases.on_epoch_begin(0)
    phases.on_test_begin()
    phases.on_test_end()
    assert loss.told == [4, None, 4]
