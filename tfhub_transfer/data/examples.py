"""Labelled texts: on disk, addressed by row, with their targets in memory."""

from __future__ import annotations

import array
import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tfhub_transfer.data.spool import Spool
from tfhub_transfer.errors import DataError

_DIGEST_BYTES = 16


class TextColumn:
    """A column of texts that lives on disk, so that memory holds 8 bytes a row.

    The texts stand one after the other in UTF-8; only where each begins is in memory. Digests of
    the texts stand in a second file, for finding duplicates without reading the texts again.
    Rows may be read from several threads while nothing is appended.
    """

    def __init__(self) -> None:
        self._starts = array.array("q", [0])
        self._texts = Spool()
        self._digests = Spool()

    def __len__(self) -> int:
        return len(self._starts) - 1

    def append(self, texts: list[str]) -> None:
        """Add `texts` as the next rows.

        Raises:
            DataError: the disk that holds temporary files is full.
        """
        encoded = [text.encode("utf-8") for text in texts]
        self._texts.append(b"".join(encoded))
        self._digests.append(b"".join(map(_digest, encoded)))
        ends = itertools.accumulate(map(len, encoded), initial=self._starts.pop())
        self._starts.extend(ends)

    def read(self, rows: np.ndarray) -> list[str]:
        """Return the texts of `rows`, int64[N], in that order."""
        starts, spool = self._starts, self._texts
        return [
            spool.read(starts[row], starts[row + 1] - starts[row]).decode("utf-8")
            for row in rows.tolist()
        ]

    def digests(self, start: int, stop: int) -> np.ndarray:
        """Return uint64[stop - start, 2], the 128-bit BLAKE2b digests of a range of rows."""
        content = self._digests.read(_DIGEST_BYTES * start, _DIGEST_BYTES * (stop - start))
        return np.frombuffer(content, np.uint64).reshape(-1, 2)


@dataclass(frozen=True, eq=False)
class Examples:
    """Rows of a text column with their targets.

    Attributes:
        column: holds the texts, and maybe those of other splits.
        rows: int64[N], which rows of the column these are.
        labels: int32[N] class indices, or uint8[N, C] multi-hot.
        ids: int64[N], row numbers in the source, from 1, the header not counted.
        origin: the file or the split that the rows come from.
    """

    # whether rows are of unequal length: features and targets have a second axis that varies
    sequences: ClassVar[bool] = False

    column: TextColumn
    rows: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    origin: str

    def __post_init__(self) -> None:
        if not len(self.rows) == len(self.labels) == len(self.ids):
            raise DataError(
                f"Examples need as many labels and ids as rows. Received: {len(self.rows)} rows, "
                f"{len(self.labels)} labels, {len(self.ids)} ids"
            )

    def __len__(self) -> int:
        return len(self.rows)

    def texts(self, positions: np.ndarray | None = None) -> list[str]:
        """Return the texts at `positions`, int64[M]; all of them, in memory, by default."""
        return self.column.read(self.rows if positions is None else self.rows[positions])

    def encodable(self, positions: np.ndarray | None = None) -> list[Any]:
        """Return what encoders take at `positions`: the texts."""
        return self.texts(positions)

    def take(self, positions: np.ndarray) -> Examples:
        """Return the examples at `positions`: int64[M], which may repeat, or a bool[N] mask."""
        return Examples(
            self.column,
            self.rows[positions],
            self.labels[positions],
            self.ids[positions],
            self.origin,
        )

    def batches(self, size: int) -> Iterator[list[str]]:
        """Yield all texts in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.column.read(self.rows[start : start + size])

    def targets(self, classes: int, positions: np.ndarray | None = None) -> np.ndarray:
        """Return float32[M, classes], one-hot or multi-hot, at `positions` (default: all)."""
        labels = self.labels if positions is None else self.labels[positions]
        if labels.ndim == 2:
            return labels.astype(np.float32)
        targets = np.zeros((len(labels), classes), np.float32)
        targets[np.arange(len(labels)), labels] = 1.0
        return targets

    def class_counts(self, classes: int) -> np.ndarray:
        """Return int64[classes], in how many examples each class stands."""
        if self.labels.ndim == 2:
            counts: np.ndarray = self.labels.sum(axis=0, dtype=np.int64)
            return counts
        return np.bincount(self.labels, minlength=classes).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Dataset:
    """What a model is trained, validated and tested on.

    Attributes:
        name: of the source, as a report shows it.
        labels: class names; a class index points into them.
        multi_label: whether an example may have any number of labels.
        train: the examples that weights are fitted on.
        validation: those that training is steered by.
        test: those that are only reported on.
        notes: sentences a person should read: what was split off, rejected or found twice.
        summary: the same and more for programs; plain JSON types.
    """

    name: str
    labels: tuple[str, ...]
    multi_label: bool
    train: Examples
    validation: Examples
    test: Examples
    notes: tuple[str, ...]
    summary: dict[str, Any]

    @property
    def row_classes(self) -> int:
        """How many classes there are of whole rows, which a draw of rows keeps in proportion."""
        return len(self.labels)

    @property
    def facts(self) -> dict[str, Any]:
        """What a head has to know beside the labels; also in a run's metrics.json."""
        return {"multi_label": self.multi_label}


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=_DIGEST_BYTES).digest()
