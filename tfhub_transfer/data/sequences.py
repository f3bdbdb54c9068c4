"""Rows of unequal length as two arrays."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfhub_transfer.errors import DataError

__all__ = ["Sequences"]


@dataclass(frozen=True, eq=False)
class Sequences:
    """Ragged rows of integers, such as the tags of sentences.

    Attributes:
        values: int32[M], the rows one after the other.
        starts: int64[N + 1], where each row begins in `values`, and at the end M.

    Raises:
        DataError: `starts` do not ascend from 0 to M.
    """

    values: np.ndarray
    starts: np.ndarray

    def __post_init__(self) -> None:
        starts = self.starts
        bounds = [0, len(self.values)]
        if not len(starts) or [starts[0], starts[-1]] != bounds or (np.diff(starts) < 0).any():
            raise DataError(
                f"The starts of ragged rows must ascend from 0 to the number of values, "
                f"{len(self.values)}. Received: {np.asarray(starts).tolist()!s:.100}"
            )

    @classmethod
    def of(cls, values: np.ndarray, lengths: np.ndarray) -> Sequences:
        """Return rows of these lengths, int[N], whose values stand one after the other."""
        starts = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=starts[1:])
        return cls(np.asarray(values, np.int32), starts)

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[int] | np.ndarray]) -> Sequences:
        """Return the same rows."""
        values = np.concatenate([np.zeros(0, np.int32), *(np.asarray(r, np.int32) for r in rows)])
        return cls.of(values, np.array([len(row) for row in rows], np.int64))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        """Return the values of one row, int32[length]."""
        row = range(len(self))[row]
        return self.values[self.starts[row] : self.starts[row + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """How long each row is, int64[N]."""
        return np.diff(self.starts)

    def take(self, positions: np.ndarray) -> Sequences:
        """Return the rows at `positions`: int64[M], which may repeat, or a bool[N] mask."""
        lengths = self.lengths[positions]
        taken = Sequences.of(np.zeros(lengths.sum(), np.int32), lengths)
        begins = np.repeat(self.starts[:-1][positions] - taken.starts[:-1], lengths)
        np.take(self.values, begins + np.arange(len(begins)), out=taken.values)
        return taken

    def padded(self, positions: np.ndarray | None = None, fill: int = -1) -> np.ndarray:
        """Return int32[n, W]: the rows at `positions`, int64[n], with `fill` behind shorter ones.

        Args:
            positions: of the rows; all by default.
            fill: what stands behind the end of a row.
        """
        rows = self if positions is None else self.take(positions)
        lengths = rows.lengths
        table = np.full((len(rows), lengths.max(initial=0)), fill, np.int32)
        table[np.arange(table.shape[1]) < lengths[:, None]] = rows.values
        return table

    def named(self, names: Sequence[str]) -> list[list[str]]:
        """Return the rows as lists of the names that their values are indices of."""
        found = [names[value] for value in self.values.tolist()]
        starts = self.starts.tolist()
        return [found[start:stop] for start, stop in itertools.pairwise(starts)]
