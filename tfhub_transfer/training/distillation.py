"""A student learns what a teacher, another run, says of its texts, beside their labels."""

from __future__ import annotations

import dataclasses
import time

import keras
import numpy as np

from tfhub_transfer.config import EPOCHS, Config, DistillationConfig
from tfhub_transfer.data.examples import Dataset, Examples
from tfhub_transfer.data.sources import open_source
from tfhub_transfer.data.unlabelled import Unlabelled, read_unlabelled
from tfhub_transfer.registry import STRATEGIES
from tfhub_transfer.training.classifier import Classifier
from tfhub_transfer.training.objective import Objective, truncated
from tfhub_transfer.training.soft_targets import AgainstTruth, SoftTargets, VectorDistance, packed
from tfhub_transfer.training.strategy import Outcome, Strategy
from tfhub_transfer.training.teacher import Answers, Teacher

__all__ = ["Distillation"]

_ROWS_AT_ONCE = 65_536


class Distillation(Strategy):
    """Asks the teacher about the training rows once, and hands them to the student's strategy.

    Unlabelled texts join the training rows with the teacher's word alone; where classes are
    balanced, they count as what the teacher takes them for. The validation loss, by which the
    best epoch is chosen, is the head's own against the labels: the teacher is not asked there.
    """

    def fit(self, classifier: Classifier, data: Dataset) -> Outcome:
        """Train the classifier as `distillation.student` would, on the softened targets."""
        config, asked = self.config, self.config.distillation
        start = time.monotonic()
        teacher = Teacher(asked.teacher or "", data, asked.precision)
        train, unlabelled, labelled_rows = data.train, None, len(data.train.column)
        if asked.unlabelled is not None:
            held_out = (data.validation, data.test)
            unlabelled = read_unlabelled(asked.unlabelled, config.data, train.column, held_out)
            train = unlabelled.after(train)
        vectors = teacher.vectors(train) if asked.vectors else None
        logits = teacher.logits(train)
        if unlabelled is not None:
            train = _labelled_by(logits, train, len(data.train), data)
        objective = _objective(config, classifier, data, logits, labelled_rows)
        if vectors is not None:
            objective = _with_vectors(objective, vectors, train, asked, len(data.labels))
            classifier = _Mapped(classifier, vectors.width, config.seed)
        described, notes = teacher.describe(), _notes(teacher, config, unlabelled)
        del teacher  # its weights are not needed any more
        seconds = time.monotonic() - start

        strategy = STRATEGIES.load(asked.student)(_of_student(config), self.run, objective)
        outcome: Outcome = strategy.fit(classifier, dataclasses.replace(data, train=train))
        return dataclasses.replace(
            outcome,
            encode_seconds=outcome.encode_seconds + seconds,
            notes=(*outcome.notes, *notes),
            details={
                **outcome.details,
                "teacher": {
                    **described,
                    "temperature": asked.temperature,
                    "weight": asked.weight,
                    "vectors": asked.vectors,
                    "unlabelled": len(unlabelled.rows) if unlabelled else 0,
                },
            },
        )


def _labelled_by(logits: Answers, train: Examples, labelled: int, data: Dataset) -> Examples:
    """Return `train` with what the teacher takes the rows after the first `labelled` for."""
    labels = train.labels.copy()
    for start in range(labelled, len(train), _ROWS_AT_ONCE):
        positions = np.arange(start, min(start + _ROWS_AT_ONCE, len(train)))
        said = logits.read(train, positions)
        labels[positions] = said > 0 if data.multi_label else said.argmax(axis=1)
    return dataclasses.replace(train, labels=labels)


def _objective(
    config: Config, classifier: Classifier, data: Dataset, logits: Answers, labelled_rows: int
) -> Objective:
    """Return the softened loss; rows of the column from `labelled_rows` on have no ground truth."""
    head, asked, classes = classifier.head, config.distillation, len(data.labels)
    column = data.train.column

    def targets(examples: Examples, positions: np.ndarray) -> np.ndarray:
        unlabelled = (examples.rows[positions] >= labelled_rows) & (examples.column is column)
        return packed(
            examples.targets(classes, positions),
            logits.read(examples, positions),
            ~unlabelled,
            logits.known(examples, positions),
        )

    loss = SoftTargets(
        head.loss(),
        classes,
        temperature=asked.temperature,
        weight=asked.weight,
        multi_label=data.multi_label,
    )
    metrics = tuple(AgainstTruth(metric, classes) for metric in head.metrics())
    return Objective(truncated(loss, config.training.truncate_loss), metrics, targets)


def _with_vectors(
    objective: Objective,
    vectors: Answers,
    train: Examples,
    asked: DistillationConfig,
    classes: int,
) -> Objective:
    """Return `objective` with the teacher's vectors as a start and a further target."""
    variance = float(vectors.read(train, np.arange(min(len(train), _ROWS_AT_ONCE))).var(0).mean())

    def targets(examples: Examples, positions: np.ndarray) -> np.ndarray:
        further = vectors.read(examples, positions)
        return np.concatenate([objective.targets(examples, positions), further], axis=1)

    loss = VectorDistance(objective.loss, classes, weight=asked.vectors, variance=variance)
    return dataclasses.replace(objective, loss=loss, targets=targets)


class _Mapped(Classifier):
    """A student whose model also gives its vectors, mapped to the teacher's width.

    Args:
        student: whose layers these are.
        width: of the teacher's vectors.
        seed: of the map.
    """

    def __init__(self, student: Classifier, width: int, seed: int):
        super().__init__(student.head, student.encoder, student.network)
        text = keras.Input((), dtype="string", name="text")
        vectors = self.encoder(text)
        initial = keras.initializers.GlorotUniform(seed=seed)
        mapped = keras.layers.Dense(width, kernel_initializer=initial, name="map")(vectors)
        outputs = keras.layers.Concatenate(name="both")([self.network(vectors), mapped])
        self.model = keras.Model(text, outputs, name="classifier")


def _of_student(config: Config) -> Config:
    """Return the configuration with the epochs that the student's own strategy would take."""
    epochs = config.training.epochs or EPOCHS[config.distillation.student]
    training = dataclasses.replace(config.training, epochs=epochs)
    return dataclasses.replace(config, training=training)


def _notes(teacher: Teacher, config: Config, unlabelled: Unlabelled | None) -> list[str]:
    """Return what a person should read: who taught, on what, and what it had seen."""
    told, theirs = teacher.describe(), teacher.config
    notes = [
        f"The student learned from the run {told['run']} ({told['encoder']}, {told['strategy']}), "
        f"whose test accuracy was {told['accuracy']:.3f} on {told['data']}. The best epoch is the "
        f"one of the lowest loss against the labels, without the teacher."
    ]
    if unlabelled is not None:
        notes.append(unlabelled.note)
    splits = open_source(config.data).splits
    differing = [
        name
        for name in ("seed", "data.test_fraction", "data.validation_fraction")
        if _setting(theirs, name) != _setting(config, name)
    ]
    carved = not {"test", "validation"} & splits.keys()
    if theirs.data.source == config.data.source and differing and carved:
        notes.append(
            f"The test rows were split off with the seed, and the teacher had another "
            f"{' and '.join(differing)}: it has seen some of them, and scores flatter."
        )
    return notes


def _setting(config: Config, name: str) -> object:
    value: object = config
    for part in name.split("."):
        value = getattr(value, part)
    return value
