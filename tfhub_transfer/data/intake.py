"""The border: raw rows are checked, and become examples or are written down as rejected."""

from __future__ import annotations

import array
import collections
import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tfhub_transfer.data.examples import Examples, TextColumn
from tfhub_transfer.data.spool import Spool
from tfhub_transfer.data.table import Label, Table, Text
from tfhub_transfer.errors import DataError
from tfhub_transfer.progress import progress
from tfhub_transfer.runs import atomic_path


class RejectedRow(Exception):
    """Why a row is left out; caught where rows are taken in."""


class Rejections:
    """Rows that cannot be used: on disk, and counted by reason."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self._lines = Spool()

    def add(
        self, split: str, row: int, reason: str, text: Text, label: Label, **more: str
    ) -> None:
        """Write down the row with this number in the source, and what `more` a source tells."""
        self.counts[reason] += 1
        record = {"split": split, "row": row, "reason": reason, "text": text, "label": label}
        record |= more
        self._lines.append(json.dumps(record, ensure_ascii=False).encode("utf-8") + b"\n")

    def mark(self) -> tuple[int, collections.Counter[str]]:
        """Return a state to `rewind` to."""
        return self._lines.size, self.counts.copy()

    def rewind(self, mark: tuple[int, collections.Counter[str]]) -> None:
        """Forget what was added since `mark`."""
        size, self.counts = mark
        self._lines.truncate(size)

    def save(self, target: Path) -> None:
        """Write the rows to `target` as JSONL; where there are none, leave no such file behind."""
        if self.counts:
            with atomic_path(target) as temporary:
                self._lines.copy_to(temporary)
        else:
            target.unlink(missing_ok=True)


class Vocabulary:
    """Class names and their indices: learned from training rows, then closed.

    Args:
        separator: splits a cell into several labels, which makes every row multi-label.
        keep_unseen: whether names that come after it was closed get an index too, behind all
            others, instead of being a reason to reject their row.
    """

    def __init__(self, separator: str | None = None, *, keep_unseen: bool = False):
        self.names: tuple[str, ...] = ()
        self.multi_label: bool | None = None if separator is None else True
        self._separator = separator
        self._keep_unseen = keep_unseen
        self._indices: dict[str, int] = {}
        self._closed = False

    @classmethod
    def of(
        cls,
        names: tuple[str, ...],
        *,
        multi_label: bool,
        separator: str | None,
        keep_unseen: bool = False,
    ) -> Vocabulary:
        """Return the closed vocabulary of a trained model."""
        vocabulary = cls(separator, keep_unseen=keep_unseen)
        vocabulary.multi_label = multi_label
        vocabulary._indices = {name: index for index, name in enumerate(names)}
        vocabulary.names = names
        vocabulary._closed = True
        return vocabulary

    @property
    def unseen(self) -> tuple[str, ...]:
        """The names that came after it was closed; their indices go on from those of `names`."""
        return tuple(self._indices)[len(self.names) :] if self._closed else ()

    def close(self, order: tuple[str, ...] | None = None) -> np.ndarray:
        """Give the names their final order, and take no more of them.

        Args:
            order: the names as the source orders them. Without it they are sorted, as numbers if
                all of them are integers.

        Returns:
            int32[C], the final index of each index given so far.
        """
        given = list(self._indices)
        if order is not None:
            names = [name for name in order if name in self._indices]
        elif all(re.fullmatch(r"[+-]?\d+", name) for name in given):
            names = sorted(given, key=lambda name: (int(name), name))
        else:
            names = sorted(given)
        self.names = tuple(names)
        self._indices = {name: index for index, name in enumerate(names)}
        self._closed = True
        return np.array([self._indices[name] for name in given], np.int32)

    def encode(self, label: Label) -> list[int]:
        """Return the indices of the names in one cell.

        An empty list of labels is an answer (none of the classes); an empty cell is not.

        Raises:
            RejectedRow: there is no label in the cell, or one that training rows did not have.
            ValueError: it is a list, and earlier rows have one label each.
        """
        if label is None:
            raise RejectedRow("null label")
        names = self._split(label)
        if not all(name and not name.isspace() for name in names):
            raise RejectedRow("empty label")
        if self._closed and not self._keep_unseen:
            if not all(name in self._indices for name in names):
                raise RejectedRow("label unseen in training")
            return [self._indices[name] for name in names]
        return [self._indices.setdefault(name, len(self._indices)) for name in names]

    def _split(self, label: str | list[str]) -> list[str]:
        if isinstance(label, list):
            if self.multi_label is None:
                self.multi_label = True
            if not self.multi_label:
                raise ValueError("a list of labels, where training rows have one label each")
            return list(dict.fromkeys(label))
        if self._separator is not None:
            names = dict.fromkeys(part.strip() for part in label.split(self._separator))
            return [name for name in names if name] or [""]
        if self.multi_label is None:
            self.multi_label = False
        return [label]


class Intake:
    """The rows of one split that passed, their texts spooled to disk.

    Attributes:
        origin: the file or the split they come from.
        column: their texts.
        labels: int32[N] class indices, or uint8[N, C] multi-hot; there once settled.
        class_counts: int64[C], in how many rows each class stands; there once settled.
    """

    labels: np.ndarray
    class_counts: np.ndarray

    def __init__(self, origin: str, vocabulary: Vocabulary):
        self.origin = origin
        self._vocabulary = vocabulary
        self.column = TextColumn()
        # arrays of machine integers: lists would hold a Python object for every row
        self._ids = array.array("I")
        self._codes = array.array("i")
        self._lengths = array.array("i")

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def known(self) -> tuple[str, ...]:
        """The class names, once the vocabulary is closed."""
        return self._vocabulary.names

    def check(self, text: Text, label: Label) -> tuple[str, list[int]]:
        """Return the text of a row and its class indices.

        Raises:
            RejectedRow: it cannot be used.
            ValueError: it does not go with the others, or with itself.
        """
        return _checked(text), self._vocabulary.encode(label)

    def append(self, texts: list[str], ids: list[int], codes: list[list[int]]) -> None:
        """Add rows: their texts, row numbers and class indices."""
        self.column.append(texts)
        self._ids.extend(ids)
        if self._vocabulary.multi_label:
            self._lengths.extend(map(len, codes))
        self._codes.extend(itertools.chain.from_iterable(codes))

    def filled(self) -> None:
        """Check the rows that `fill` took in as a whole.

        Raises:
            DataError: they cannot be used.
        """

    def settle(self, final: np.ndarray | None = None) -> None:
        """Make `labels` from the class indices, when no more rows come.

        Args:
            final: int32[C], what `Vocabulary.close` returned, where rows came in before that.
        """
        classes = len(self._vocabulary.names)
        self.labels = codes = np.frombuffer(self._codes, np.int32)
        if final is not None:
            np.take(final, codes, out=codes)
        self.class_counts = np.bincount(codes, minlength=classes)
        if self._vocabulary.multi_label:
            self.labels = np.zeros((len(self), classes), np.uint8)
            self.labels[np.repeat(np.arange(len(self)), self._lengths), codes] = 1

    def examples(self, chosen: np.ndarray | None = None) -> Examples:
        """Return the rows where `chosen`, bool[N], is true; all by default."""
        if chosen is None:
            chosen = np.ones(len(self), bool)
        return Examples(
            column=self.column,
            rows=np.flatnonzero(chosen),
            labels=self.labels[chosen],
            ids=np.frombuffer(self._ids, np.uint32)[chosen].astype(np.int64),
            origin=self.origin,
        )


def take_in(table: Table, split: str, vocabulary: Vocabulary, rejections: Rejections) -> Intake:
    """Read a table once: spool the rows that can be used, write down those that cannot.

    Raises:
        DataError: some rows have one label, others a list of labels.
    """
    intake = Intake(table.origin, vocabulary)
    fill(intake, table, split, rejections)
    return intake


def fill(intake: Intake, table: Table, split: str, rejections: Rejections) -> None:
    """Take the rows of a table into `intake`, and write down those that it rejects.

    Raises:
        DataError: a row that neither can be used nor left out.
    """
    with progress(f"Reading {table.origin}", "rows") as advance:
        for batch in table.read():
            texts: list[str] = []
            ids: list[int] = []
            codes: list[list[int]] = []
            rows = batch.rows.tolist()
            for row, text, label in zip(rows, batch.texts, batch.labels, strict=True):
                try:
                    checked, code = intake.check(text, label)
                except RejectedRow as reason:
                    rejections.add(split, row, str(reason), text, label)
                except ValueError as error:
                    where = f"{table.origin}, row {row}"
                    raise DataError(f"{where}: {error}. Received: {label}") from None
                else:
                    texts.append(checked)
                    ids.append(row)
                    codes.append(code)
            intake.append(texts, ids, codes)
            advance(len(batch.rows))
    intake.filled()


def _checked(text: str | None) -> str:
    if text is None:
        raise RejectedRow("null text")
    if not text or text.isspace():
        raise RejectedRow("empty text")
    return text


def rejection_notes(counts: Mapping[str, int]) -> list[str]:
    """Return a sentence for each reason and its number of rows."""
    return [
        f"{count:,} row{' was' if count == 1 else 's were'} rejected: {reason}."
        for reason, count in sorted(counts.items())
    ]
