"""The toy problem of Ganin et al. 2016 (arXiv 1505.07818), section 5.1.1: inter-twining moons.

The target is the source turned by 35 degrees. A network that learned from the source alone is wrong
about a part of it; one that was adapted is not. Both are trained by the strategy's own parts: the
head, the layer and its schedule, the loss, the order of the rows, and the loop.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.datasets import make_moons

from tests.training.problems import examples_of
from tfhub_transfer.config import AdaptationConfig, Config, HeadConfig, TrainingConfig
from tfhub_transfer.data.pipeline import batches
from tfhub_transfer.heads.classification import ClassificationHead
from tfhub_transfer.runs import Run
from tfhub_transfer.training import checkpoint
from tfhub_transfer.training.adaptation import Dann
from tfhub_transfer.training.domain_losses import packed
from tfhub_transfer.training.domain_order import DomainOrder
from tfhub_transfer.training.loop import fit
from tfhub_transfer.training.objective import Objective

pytestmark = pytest.mark.slow

ROWS, PASSES, EPOCHS = 300, 10, 30


def moons(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return points and classes of the source, then of the target."""
    source, classes = make_moons(ROWS, noise=0.05, random_state=2 * seed)
    target, target_classes = make_moons(ROWS, noise=0.05, random_state=2 * seed + 1)
    middle, angle = source.mean(axis=0), np.deg2rad(35.0)
    turned = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return 2 * (source - middle), classes, 2 * (target - middle) @ turned, target_classes


def accuracies(folder: Path, seed: int, weight: float) -> tuple[float, float]:
    """Return those on the source and on the target, of a network adapted with a weight."""
    source, classes, target, target_classes = moons(seed)
    keras.utils.set_random_seed(seed)
    config = Config(
        head=HeadConfig(hidden=(15,), activation="sigmoid", dropout=0.0),
        training=TrainingConfig(
            strategy="dann",
            epochs=EPOCHS,
            patience=EPOCHS,
            batch_size=60,
            optimizer="sgd",  # with momentum 0.9
            learning_rate=0.06,
            warmup=0.0,
            decay="linear",  # a constant rate swings, and where it ends differs by processor
        ),
        adaptation=AdaptationConfig(target="the other moons", weight=weight),
    )
    head = ClassificationHead(config.head, ("one", "other"))
    network, strategy = head.network(2), Dann(config, Run(folder))
    # an epoch goes through the points several times, for each is measured and written down
    points = np.concatenate([np.tile(source, (PASSES, 1)), np.tile(target, (PASSES, 1))])
    count = PASSES * ROWS
    train = examples_of(np.concatenate([np.tile(classes, PASSES), np.zeros(count, int)]))
    order = DomainOrder(train, 2, sources=count, seed=seed)
    steps = EPOCHS * len(order) // config.training.batch_size
    objective = Objective(
        strategy.loss(head.loss(), 2),
        (),
        lambda examples, positions: packed(
            examples.targets(2, positions), (positions >= count) & (examples is train)
        ),
    )

    def batches_of(examples, vectors, order=None):
        return batches(
            lambda positions: vectors[positions].astype(np.float32),
            examples,
            partial(objective.targets, examples),
            config.training.batch_size,
            order=order,
        )

    adapted = strategy.network(network, steps)
    fit(
        adapted,
        objective,
        batches_of(train, points, order),
        batches_of(examples_of(classes), source),
        order=order,
        config=config.training,
        run=Run(folder),
        steps_per_call=100,
    )
    # as the strategy does: the source alone would choose an epoch from before
    checkpoint.load(Run(folder).checkpoints / "last.safetensors", adapted, optimizer=False)
    return tuple(
        float((network.predict(x.astype(np.float32), verbose=0).argmax(axis=1) == wanted).mean())
        for x, wanted in ((source, classes), (target, target_classes))
    )


def test_what_the_source_alone_cannot_learn(tmp_path):
    of_source, of_target = np.transpose(
        [accuracies(tmp_path / f"adapted-{seed}", seed, weight=1.0) for seed in range(3)]
    )
    assert of_source.min() >= 0.95
    assert of_target.min() >= 0.9
    assert of_target.mean() >= 0.95


def test_the_source_alone_is_wrong_about_the_target(tmp_path):
    of_source, of_target = np.transpose(
        [accuracies(tmp_path / f"alone-{seed}", seed, weight=0.0) for seed in range(3)]
    )
    assert of_source.min() >= 0.95
    assert of_target.mean() <= 0.9
