"""Raw rows as every kind of source yields them: a stream of batches for each split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from tfhub_transfer.config import DataConfig
from tfhub_transfer.errors import DataError, MissingColumnError
from tfhub_transfer.registry import did_you_mean

Text: TypeAlias = "str | list[str] | None"
Label: TypeAlias = "str | list[str] | None"

_ROLES = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "testa": "validation",
    "test": "test",
    "testb": "test",
}


class Batch(NamedTuple):
    """Some rows of a table, as they stand in the source.

    Attributes:
        rows: int64[N], row numbers from 1, the header not counted.
        texts: N texts, lists of words where words are labelled; None where the source has none.
        labels: N labels, lists of labels where a row may have several; None where it has none.
    """

    rows: np.ndarray
    texts: list[Text]
    labels: list[Label]


@dataclass(frozen=True)
class Table:
    """One split of a source. Each call of `read` streams it anew, in bounded memory."""

    origin: str
    read: Callable[[], Iterator[Batch]]


@dataclass(frozen=True)
class Source:
    """Tables of raw rows, by split.

    Attributes:
        name: as a report shows it.
        splits: those there are of `train`, `validation` and `test`; or only `all`, one table that
            is still to be divided.
        labels: the class names in order, where the source knows them.
        notes: sentences a person should read about how the source was understood.
        joint: whether the first label of each row is the text's own, and the others its words'.
    """

    name: str
    splits: dict[str, Table]
    labels: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    joint: bool = False


def role_of(name: str) -> str | None:
    """Return which split a file or a TFDS split called `name` is: train, validation or test."""
    return _ROLES.get(name.lower())


def check_columns(
    columns: Iterable[str], config: DataConfig, origin: str, kind: str = "column"
) -> None:
    """Check that the text and the label column are among `columns`, once each.

    Raises:
        MissingColumnError: one is not; the text lists those that are.
        DataError: one stands there twice, or one column is named for both.
    """
    known = list(columns)
    for flag, wanted in (
        ("--data.text_column", config.text_column),
        ("--data.label_column", config.label_column),
    ):
        if wanted not in known:
            raise MissingColumnError(
                f"No such {kind} in {origin}.{did_you_mean(wanted, known)} It has: "
                f"{', '.join(known)}. Name one of them with {flag}. Received: {wanted!r}"
            )
        if known.count(wanted) > 1:
            raise DataError(
                f"Several {kind}s of {origin} have one name, so {flag} is ambiguous: rename them. "
                f"Received: {wanted!r}"
            )
    if config.text_column == config.label_column:
        raise DataError(
            f"--data.text_column and --data.label_column must name different {kind}s. "
            f"Received: {config.text_column!r} for both"
        )
