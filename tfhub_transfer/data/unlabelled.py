"""Texts without labels, beside the labelled ones: spooled to disk, and kept out of the test."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.examples import Examples, TextColumn
from tfhub_transfer.data.lines import FORMATS, batched, read_records
from tfhub_transfer.data.sources import open_source
from tfhub_transfer.errors import DataError
from tfhub_transfer.progress import progress

__all__ = ["Unlabelled", "read_unlabelled", "take_in_texts"]

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Unlabelled:
    """Rows of a text column that nobody labelled.

    Attributes:
        source: where they come from.
        rows: int64[M], which rows of the column these are.
        held_out: how many more there were that stand in validation or test.
        empty: how many more there were without text.
    """

    source: str
    rows: np.ndarray
    held_out: int
    empty: int

    def after(self, labelled: Examples) -> Examples:
        """Return examples of the same column and after them these rows, as yet of class 0."""
        count = len(self.rows)
        none = np.zeros((count, *labelled.labels.shape[1:]), labelled.labels.dtype)
        return Examples(
            column=labelled.column,
            rows=np.concatenate([labelled.rows, self.rows]),
            labels=np.concatenate([labelled.labels, none]),
            ids=np.concatenate([labelled.ids, np.arange(1, count + 1)]),
            origin=f"{labelled.origin} and {self.source}",
        )

    @property
    def note(self) -> str:
        """A sentence a person should read."""
        left_out = [
            f"{count:,} more were left out, {why}"
            for count, why in (
                (self.held_out, "for they stand in validation or test"),
                (self.empty, "for they are empty"),
            )
            if count
        ]
        return "; ".join([f"{len(self.rows):,} unlabelled texts of {self.source} joined the "
                          f"training rows", *left_out]) + "."


def read_unlabelled(
    source: str, config: DataConfig, column: TextColumn, held_out: Sequence[Examples]
) -> Unlabelled:
    """Append the texts of `source` to `column`.

    Args:
        source: a file of lines (.txt), or of rows with a text column (.csv, .tsv, .jsonl), or
            `tfds:NAME:SPLIT`, whose labels are not looked at.
        config: names the text column, and the folder of TFDS data sets.
        column: takes the texts.
        held_out: examples whose texts are not to be learned from.

    Raises:
        DataError: there is no such source, or no text in it.
    """
    return take_in_texts(source, _batches(source, config), column, held_out)


def take_in_texts(
    source: str,
    batches: Iterable[Sequence[str | None]],
    column: TextColumn,
    held_out: Sequence[Examples],
) -> Unlabelled:
    """Append texts to `column`.

    Args:
        source: where they come from.
        batches: of texts, None where there is none.
        column: takes the texts.
        held_out: examples whose texts are not to be learned from.

    Raises:
        DataError: there is no text.
    """
    start, empty = len(column), 0
    with progress(f"Reading {source}", "texts") as advance:
        for texts in batches:
            present = [text for text in texts if text and not text.isspace()]
            column.append(present)
            empty += len(texts) - len(present)
            advance(len(texts))
    if len(column) == start:
        raise DataError(f"There is no text in the unlabelled source. Received: {source!r}")
    # 64 of the 128 bits: two different texts among millions agree in them once in 10^6 times
    known = np.concatenate(
        [part.column.digests(0, len(part.column))[part.rows, 0] for part in held_out]
    )
    outside = ~np.isin(column.digests(start, len(column))[:, 0], known)
    return Unlabelled(source, start + np.flatnonzero(outside), int((~outside).sum()), empty)


def _batches(source: str, config: DataConfig) -> Iterator[list[str | None]]:
    if source.startswith("tfds:"):
        opened = open_source(dataclasses.replace(config, source=source))
        if "all" not in opened.splits:
            raise DataError(
                f"Unlabelled texts come from one split: tfds:NAME:SPLIT. It has "
                f"{', '.join(opened.splits)}. {' '.join(opened.notes)} Received: {source!r}"
            )
        for batch in opened.splits["all"].read():
            yield batch.texts
        return
    path = Path(source)
    if path.suffix.lower() not in FORMATS:
        raise DataError(
            f"The suffix does not tell how to read unlabelled texts. Accepted: "
            f"{', '.join(FORMATS)}, tfds:NAME:SPLIT. Received: {source!r}"
        )
    if not path.is_file():
        raise DataError(f"No such file of unlabelled texts. Received: {source!r}")
    format = FORMATS[path.suffix.lower()]
    with path.open(encoding="utf-8-sig", newline="") as file:
        name = "text" if format == "lines" else config.text_column
        records = read_records(file, format, name, source)
        yield from batched((text for _, text in records), _ROWS_AT_ONCE)
