"""A source becomes a data set: checked, divided with the seed, and looked through for leaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.division import check_fractions, divide, stream
from tfhub_transfer.data.duplicates import count_duplicates, duplicate_notes
from tfhub_transfer.data.examples import Dataset, Examples
from tfhub_transfer.data.intake import (
    Intake,
    Rejections,
    Vocabulary,
    fill,
    rejection_notes,
    take_in,
)
from tfhub_transfer.data.label_map import read_label_map, renamed
from tfhub_transfer.data.sources import open_source
from tfhub_transfer.data.stratify import draw_limit, draw_shots
from tfhub_transfer.data.summary import describe
from tfhub_transfer.data.table import Source
from tfhub_transfer.errors import DataError

_SHOWN_CLASSES = 10

AnyIntake = TypeVar("AnyIntake", bound=Intake)


@dataclass(frozen=True, eq=False)
class LabelledExamples:
    """Examples of another data set, under a trained model's labels.

    Attributes:
        name: of the source, as a report shows it.
        examples: the rows whose labels the model knows.
        notes: sentences a person should read.
        rejected: how many rows were left out, by reason.
    """

    name: str
    examples: Examples
    notes: tuple[str, ...]
    rejected: dict[str, int]


def load(
    config: DataConfig, *, seed: int, rejected: Path | None = None, labels: str | None = None
) -> Dataset:
    """Read a source once, and divide it into train, validation and test.

    Args:
        config: where the examples come from and how they are split.
        seed: of every draw.
        rejected: a file for the rows that cannot be used, written if there are any.
        labels: a file that maps the source's labels onto others; see `data.label_map`.

    Raises:
        DataError: the source cannot be trained and tested on; the text says why.
    """
    source = open_source(config)
    if labels is not None and (names := read_label_map(labels, "source")) is not None:
        source = renamed(source, names, config.label_separator)
    check_fractions(source.splits, config)
    notes = list(source.notes)
    rejections = Rejections()
    vocabulary = Vocabulary(config.label_separator)
    try:
        splits = _take_all(source, vocabulary, rejections, notes)
    finally:  # most of all where so many were rejected that it is an error
        if rejected is not None:
            rejections.save(rejected)
    notes += rejection_notes(rejections.counts)
    classes = len(vocabulary.names)
    parts, duplicates = draw_parts(splits, config, classes, seed, notes)
    del splits
    summary: dict[str, Any] = {
        name: describe(part, classes, stream(seed, "lengths")) for name, part in parts.items()
    }
    summary |= {"rejected": dict(sorted(rejections.counts.items())), "duplicates": duplicates}
    return Dataset(
        name=source.name,
        labels=vocabulary.names,
        multi_label=bool(vocabulary.multi_label),
        notes=tuple(notes),
        summary=summary,
        **parts,
    )


def draw_parts(
    splits: dict[str, Intake],
    config: DataConfig,
    classes: int,
    seed: int,
    notes: list[str],
    *,
    unit: str = "rows",
) -> tuple[dict[str, Examples], dict[str, Any]]:
    """Divide what was taken in, draw from it as `config` asks for, and look for leaks.

    Args:
        splits: those with labels, by name.
        config: the shares and the limits.
        classes: C, the number of classes.
        seed: of the draws.
        notes: takes a sentence about each thing done or found.
        unit: what is drawn, in the plural.

    Returns:
        Train, validation and test by name, and what `count_duplicates` says of them.
    """
    carved = not {"validation", "test"} <= splits.keys()
    train, validation, test = divide(splits, config, classes, seed, notes, unit=unit)
    rows = len(train) + len(validation) + len(test)
    if config.limit is not None:
        train, validation, test = _limited((train, validation, test), config.limit, classes, seed)
    if config.shots is not None:
        train = train.take(draw_shots(train.labels, config.shots, classes, stream(seed, "shots")))
    if len(train) + len(validation) + len(test) < rows:
        notes.append(
            f"By data.limit or data.shots, {len(train):,} training, {len(validation):,} validation "
            f"and {len(test):,} test {unit} were drawn from those."
        )
    elif config.limit is not None or config.shots is not None:
        notes.append(f"There are no more {unit} than data.limit or data.shots ask for: all stay.")
    duplicates = count_duplicates(train, validation, test, carved=carved)
    notes += duplicate_notes(duplicates, carved=carved)
    return {"train": train, "validation": validation, "test": test}, duplicates


def load_labelled(
    config: DataConfig,
    *,
    labels: tuple[str, ...],
    multi_label: bool,
    seed: int,
    rejected: Path | None = None,
) -> LabelledExamples:
    """Read the rows to test a trained model on: the test split, else validation, else all.

    Args:
        config: where the examples come from.
        labels: the model's class names. A row with another label is rejected.
        multi_label: whether the model gives a row several labels.
        seed: of the draw that `config.limit` asks for.
        rejected: a file for the rows that cannot be used, written if there are any.

    Raises:
        DataError: no row can be used; the text says why.
    """
    source = open_source(config)
    notes = list(source.notes)
    rejections = Rejections()
    vocabulary = Vocabulary.of(labels, multi_label=multi_label, separator=config.label_separator)
    intake = take_to_measure(
        source, lambda origin: Intake(origin, vocabulary), rejections, notes, rejected
    )
    examples = intake.examples()
    if config.limit is not None:
        drawn = draw_limit(examples.labels, config.limit, len(labels), stream(seed, "limit"))
        examples = examples.take(drawn)
    return LabelledExamples(source.name, examples, tuple(notes), dict(rejections.counts))


def take_to_measure(
    source: Source,
    empty: Callable[[str], AnyIntake],
    rejections: Rejections,
    notes: list[str],
    rejected: Path | None,
) -> AnyIntake:
    """Take in the split to test a trained model on: the test split, else validation, else all.

    Args:
        source: of the rows.
        empty: makes what they are taken into, by where they come from.
        rejections: gets those that cannot be used.
        notes: gets what a person should read.
        rejected: a file for the rows that cannot be used, written if there are any.

    Raises:
        DataError: no split can test a model, or none of its rows can be used.
    """
    intake = None
    try:
        for name in ("test", "validation", "all"):
            if intake is None and name in source.splits:
                into = empty(source.splits[name].origin)
                intake = take_labelled(source, name, into, rejections, notes)
    finally:
        if rejected is not None:
            rejections.save(rejected)
    if intake is not None:
        notes += rejection_notes(rejections.counts)
        return intake
    raise DataError(
        f"{source.name} has no labelled split to measure on but, maybe, its training split. "
        f"Accepted: a test or validation split, a single file, or tfds:NAME:SPLIT. "
        f"Received: splits {', '.join(source.splits)}. {' '.join(notes)}".rstrip()
    )


def class_weights(counts: np.ndarray) -> np.ndarray:
    """Return float32[C], the loss weight of each class: n / (C * count), and 0 without examples.

    This is scikit-learn's `class_weight="balanced"`, after King and Zeng, "Logistic Regression in
    Rare Events Data" (2001). Weighted so, every class adds the same to the loss.

    Args:
        counts: int64[C], the examples of each class.
    """
    present = counts > 0
    weights = np.zeros(len(counts), np.float32)
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights


def _take_all(
    source: Source, vocabulary: Vocabulary, rejections: Rejections, notes: list[str]
) -> dict[str, Intake]:
    """Take in every labelled split; the training rows, which come first, name the classes."""
    first = "train" if "train" in source.splits else "all"
    intake = take_in(source.splits[first], first, vocabulary, rejections)
    final = vocabulary.close(source.labels)
    intake.settle(final)
    _check_classes(intake, vocabulary.names)
    splits = {first: intake}
    for name in sorted(source.splits.keys() - {first}):
        empty = Intake(source.splits[name].origin, vocabulary)
        other = take_labelled(source, name, empty, rejections, notes)
        if other is not None:
            splits[name] = other
    return splits


def take_labelled(
    source: Source, name: str, intake: AnyIntake, rejections: Rejections, notes: list[str]
) -> AnyIntake | None:
    """Take a split into `intake` under fixed class names; None if none of its rows is labelled.

    Raises:
        DataError: it has labelled rows, but none that can be used.
    """
    mark = rejections.mark()
    fill(intake, source.splits[name], name, rejections)
    added = rejections.counts - mark[1]
    if not len(intake) and added and added.keys() <= {"null label", "empty label"}:
        rejections.rewind(mark)
        notes.append(f"The {name} split has no labels ({intake.origin}) and was left out.")
        return None
    if not len(intake):
        reasons = " ".join(rejection_notes(added)) or "no rows"
        raise DataError(
            f"The {name} split has no row that can be used ({intake.origin}). Labels known: "
            f"{_some(intake.known)}. Received: {reasons}"
        )
    intake.settle()
    return intake


def _check_classes(intake: Intake, names: tuple[str, ...]) -> None:
    """Check that there is something to tell apart, and enough of it to hold some out."""
    if not len(intake):
        raise DataError(
            f"{intake.origin} has no row with both a text and a label. Are --data.text_column and "
            f"--data.label_column right?"
        )
    if len(names) < 2:
        raise DataError(
            f"Classification needs at least two classes in the training rows ({intake.origin}). "
            f"Received: {_some(names)}"
        )
    single = [names[index] for index in np.flatnonzero(intake.class_counts == 1)]
    if single:
        raise DataError(
            f"A class needs at least two training rows, one to train on and one to hold out "
            f"({intake.origin}). Add rows, merge classes, or leave these rows out. "
            f"Received: {len(single)} with a single row: {_some(single)}"
        )


def _limited(
    parts: tuple[Examples, Examples, Examples], limit: int, classes: int, seed: int
) -> tuple[Examples, Examples, Examples]:
    """Return at most `limit` rows of each split."""
    if limit < classes and parts[0].labels.ndim == 1:
        raise DataError(
            f"--data.limit must leave at least one training row of each of the {classes} classes. "
            f"Received: {limit}"
        )
    train, validation, test = (
        part.take(draw_limit(part.labels, limit, classes, stream(seed, "limit"))) for part in parts
    )
    return train, validation, test


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(f"{name!r:.60}" for name in names[:_SHOWN_CLASSES])
    more = len(names) - _SHOWN_CLASSES
    return f"{shown} and {more} more" if more > 0 else shown or "none"
