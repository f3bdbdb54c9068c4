"""A small problem for a head, and what `fit` takes of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfhub_transfer.config import HeadConfig, TrainingConfig
from tfhub_transfer.data.examples import Examples, TextColumn
from tfhub_transfer.data.pipeline import Order, batches
from tfhub_transfer.heads.classification import ClassificationHead
from tfhub_transfer.runs import Run
from tfhub_transfer.training.loop import Progress, fit
from tfhub_transfer.training.objective import Objective

WIDTH, ROWS = 6, 96


def examples_of(labels: np.ndarray) -> Examples:
    column = TextColumn()
    column.append([""] * len(labels))
    rows = np.arange(len(labels))
    return Examples(column, rows, labels.astype(np.int32), rows + 1, "made up")


@dataclass
class Problem:
    """Vectors whose first two numbers tell the class; `noise` of the validation's are wrong."""

    noise: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.vectors = rng.normal(size=(2 * ROWS, WIDTH)).astype(np.float32)
        labels = (self.vectors[:, 0] > 0) * 1 + (self.vectors[:, 1] > 0)
        self.train = examples_of(labels[:ROWS])
        wrong = rng.random(ROWS) < self.noise
        self.validation = examples_of(np.where(wrong, (labels[ROWS:] + 1) % 3, labels[ROWS:]))

    def train_vectors(self, positions: np.ndarray) -> np.ndarray:
        return self.vectors[positions]

    def validation_vectors(self, positions: np.ndarray) -> np.ndarray:
        return self.vectors[ROWS + positions]

    def model(self, hidden: tuple[int, ...] = (8,)) -> tuple[keras.Model, ClassificationHead]:
        keras.utils.set_random_seed(self.seed)
        head = ClassificationHead(HeadConfig(hidden=hidden, dropout=0.3), ("a", "b", "c"))
        return head.network(WIDTH), head

    def fit(
        self,
        folder: Path,
        *,
        steps_per_call: int = 4,
        resume: bool = False,
        hidden: tuple[int, ...] = (8,),
        **settings: Any,
    ) -> tuple[Progress, keras.Model]:
        config = TrainingConfig(**{"epochs": 4, "batch_size": 10, **settings})
        model, head = self.model(hidden)
        order = Order(self.train, 3, seed=self.seed)
        size = config.batch_size
        objective = Objective(
            head.loss(),
            tuple(head.metrics()),
            lambda examples, positions: examples.targets(3, positions),
        )
        targets = partial(objective.targets, self.train)
        validation_targets = partial(objective.targets, self.validation)
        progress = fit(
            model,
            objective,
            batches(self.train_vectors, self.train, targets, size, order=order),
            batches(self.validation_vectors, self.validation, validation_targets, size),
            order=order,
            config=config,
            run=Run(folder),
            resume=resume,
            steps_per_call=steps_per_call,
        )
        return progress, model


def losses(progress: Progress) -> list[tuple[float, float]]:
    return [(epoch["loss"], epoch["val_loss"]) for epoch in progress.history]
