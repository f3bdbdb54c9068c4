"""The domain that a model is adapted to: texts to learn from without labels, and rows to test on.

Which rows are held out for the test is drawn without a look at the labels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfhub_transfer.config import Config, DataConfig
from tfhub_transfer.data.division import stream
from tfhub_transfer.data.duplicates import count_duplicates
from tfhub_transfer.data.examples import Dataset, Examples, TextColumn
from tfhub_transfer.data.intake import Rejections, Vocabulary, rejection_notes, take_in
from tfhub_transfer.data.label_map import read_label_map, renamed
from tfhub_transfer.data.lines import FORMATS
from tfhub_transfer.data.sources import open_source
from tfhub_transfer.data.stratify import draw_limit
from tfhub_transfer.data.table import Batch, Source, Table
from tfhub_transfer.data.unlabelled import Unlabelled, read_unlabelled, take_in_texts
from tfhub_transfer.errors import DataError, MissingColumnError

__all__ = [
    "TargetDomain",
    "divided",
    "limited",
    "nothing_note",
    "overlap_notes",
    "read_target",
    "rejected_notes",
]


@dataclass(frozen=True, eq=False)
class TargetDomain:
    """What there is of another domain.

    Attributes:
        name: of its source, as a report shows it.
        texts: to learn from; rows of the column that was given.
        test: labelled rows to report on, under the model's labels; None where there are none.
        notes: sentences a person should read.
    """

    name: str
    texts: Unlabelled
    test: Examples | None
    notes: tuple[str, ...]


def read_target(
    config: Config, data: Dataset, column: TextColumn, rejected: Path | None = None
) -> TargetDomain:
    """Read `adaptation.target`; its texts to learn from become the next rows of `column`.

    A source with a test split (or else a validation split) is tested on that and learnt from in its
    training split; of one table `data.test_fraction` is held out. A table without the label column,
    and a file of lines (.txt), is learnt from as a whole.

    Args:
        config: of the run; the target's columns are called as the source's are.
        data: what the model learns the labels of.
        column: takes the texts.
        rejected: a file for the rows that cannot be tested on, written if there are any.

    Raises:
        DataError: there is no such source, no text in it, or labels that the model does not know.
    """
    name = config.adaptation.target or ""
    opened = _opened(name, config)
    held_out = [data.validation, data.test]
    if opened is None:
        texts = read_unlabelled(name, config.data, column, held_out)
        test, notes = None, [f"{name} has no labels, and nothing was measured there."]
    else:
        train, held = divided(opened, config.data, config.seed)
        test, notes = _labelled(held, config, data, rejected)
        held_out += [test] if test is not None else []
        texts = take_in_texts(name, (batch.texts for batch in train.read()), column, held_out)
    texts = limited(texts, config.data.limit, config.seed)
    shown = opened.name if opened is not None else Path(name).name
    return TargetDomain(shown, texts, test, (texts.note, *notes))


def _opened(name: str, config: Config) -> Source | None:
    """Return the target as a source with labels; None if it has none."""
    suffix = Path(name).suffix.lower()
    if suffix == ".txt":
        return None
    try:
        opened = open_source(dataclasses.replace(config.data, source=name))
    except MissingColumnError:
        if suffix not in FORMATS:
            raise
        return None
    file = config.adaptation.labels
    names = read_label_map(file, "target") if file is not None else None
    return renamed(opened, names, config.data.label_separator) if names else opened


def limited(texts: Unlabelled, limit: int | None, seed: int) -> Unlabelled:
    """Return what is learnt from: all rows, or so many of them.

    Raises:
        DataError: there are none.
    """
    if not len(texts.rows):
        raise DataError(f"The target has no text to learn from. Received: {texts.note}")
    if limit is None or len(texts.rows) <= limit:
        return texts
    rows = stream(seed, "target").choice(texts.rows, limit, replace=False)
    return dataclasses.replace(texts, rows=np.sort(rows))


def divided(source: Source, config: DataConfig, seed: int) -> tuple[Table, Table]:
    """Return the table to learn from and the one to test on.

    Raises:
        DataError: there is nothing to test on.
    """
    splits = source.splits
    if "all" not in splits:
        held = splits.get("test", splits.get("validation"))
        if held is None:
            raise DataError(
                f"{source.name} has no test split to report on. Received: {', '.join(splits)}"
            )
        return splits["train"], held
    return _part(splits["all"], config, seed, held=False), _part(
        splits["all"], config, seed, held=True
    )


def _part(table: Table, config: DataConfig, seed: int, *, held: bool) -> Table:
    """Return the rows that are held out of a table, or those that are not."""

    def read() -> Iterator[Batch]:
        rng = stream(seed, "target")  # each reading draws the same
        for batch in table.read():
            drawn = rng.random(len(batch.rows)) < config.test_fraction
            places = np.flatnonzero(drawn == held)
            yield batch._replace(
                rows=batch.rows[places],
                texts=[batch.texts[place] for place in places],
                labels=[batch.labels[place] for place in places],
            )

    return Table(table.origin, read)


def rejected_notes(rejections: Rejections, target: Path | None) -> list[str]:
    """Write down the rows that cannot be tested on, and return a sentence for each reason."""
    if target is not None:
        rejections.save(target)
    return [f"Target: {note}" for note in rejection_notes(rejections.counts)]


def nothing_note(table: Table, rows: int, wanted: str) -> str:
    """Return a sentence about a table in whose `rows` to test on nothing is `wanted`."""
    held = f"None of the {rows:,} rows" if rows else "No row"
    return f"{held} of {table.origin} to test on has {wanted}, and nothing was measured there."


def overlap_notes(data: Dataset, test: Examples) -> list[str]:
    """Return a sentence about texts that the model learns from with labels and is tested on."""
    texts = count_duplicates(data.train, data.validation, test, carved=False)["train_test"]
    if not texts:
        return []
    stand = "text stands" if texts == 1 else "distinct texts stand"
    return [
        f"{texts:,} {stand} in the source's training rows and in the target's to test on: its "
        f"scores may flatter."
    ]


def _labelled(
    table: Table, config: Config, data: Dataset, rejected: Path | None
) -> tuple[Examples | None, list[str]]:
    """Return the rows of `table` that have a label, and what is to be said of the others."""
    vocabulary, rejections = Vocabulary(config.data.label_separator), Rejections()
    intake = take_in(table, "target", vocabulary, rejections)
    notes = rejected_notes(rejections, rejected)
    if not len(intake):
        return None, [*notes, nothing_note(table, rejections.counts.total(), "a label")]
    intake.settle(vocabulary.close())
    if unknown := [name for name in vocabulary.names if name not in data.labels]:
        raise DataError(
            f"{table.origin} has labels that the source does not have: give --adaptation.labels "
            f"FILE, which maps both onto labels that they share. Accepted: "
            f"{', '.join(map(repr, data.labels))}. Received: {', '.join(map(repr, unknown))}"
        )
    if bool(vocabulary.multi_label) != data.multi_label:
        kinds = {True: "several labels per text", False: "one label per text"}
        raise DataError(
            f"{table.origin} should have {kinds[data.multi_label]}, as the source has. "
            f"Received: {kinds[not data.multi_label]}"
        )
    places = np.array([data.labels.index(name) for name in vocabulary.names], np.int32)
    examples = intake.examples()
    if data.multi_label:
        labels = np.zeros((len(examples), len(data.labels)), np.uint8)
        labels[:, places] = examples.labels
    else:
        labels = places[examples.labels]
    examples = dataclasses.replace(examples, labels=labels)
    if config.data.limit is not None:
        rng = stream(config.seed, "limit")
        drawn = draw_limit(examples.labels, config.data.limit, len(data.labels), rng)
        examples = examples.take(drawn)
    return examples, [*notes, *overlap_notes(data, examples)]
