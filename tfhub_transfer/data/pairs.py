"""Pairs of texts of one class and of two, drawn from the labels a batch at a time."""

from __future__ import annotations

import numpy as np

from tfhub_transfer.errors import DataError

__all__ = ["PairBatches"]

# Rows of a batch, where no number is given. A batch of 32 holds 16 of Banking77's 77 classes, and
# those that are easily confused seldom meet: at 8 texts a class the vectors came out worse than the
# published ones, with all classes in each batch better. Memory sets the upper limit.
_FEWEST, _MOST = 32, 160


class PairBatches:
    """Batches of rows in which each row has a partner of its own class and of others.

    SetFit (Tunstall et al. 2022, arXiv 2209.11055) lists all N(N-1)/2 pairs of rows and encodes
    both texts of each. Here every pair within a batch counts, so that b encoded texts give
    b(b-1)/2 pairs, and nothing is listed: memory is O(N), 8 bytes a label.

    Each batch holds equally many rows of each of its classes, at least two. Classes take turns:
    each stands in every round of batches once or twice. A class with fewer rows than its share
    brings some more than once; of one with a single row, the partner is the row itself, which a
    network with dropout maps to two different vectors (as in SimCSE, Gao et al. 2021,
    arXiv 2104.08821) and one without to a pair that teaches nothing.

    Args:
        labels: int32[N], class indices.
        batch_size: rows in a batch at most; 4 at least. When not given, two for each class there
            is, but 32 at least and 160 at most.
        seed: of the draws; a batch is a function of it and the batch's number.

    Attributes:
        classes: that rows have.
        classes_per_batch: as many as there are, or as fit in with two rows each.
        rows_per_class: of each of them in a batch.

    Raises:
        DataError: rows have several labels, or none differ.
    """

    def __init__(self, labels: np.ndarray, batch_size: int | None = None, *, seed: int = 0):
        if labels.ndim != 1:
            raise DataError(
                f"Pairs of one class and of two need exactly one label per text. Received: "
                f"{labels.shape[1]} labels, any number of them per text"
            )
        # rows of one class side by side: `starts` and `sizes` say where
        self._rows = np.argsort(labels, kind="stable")
        self._starts = np.flatnonzero(np.diff(labels[self._rows], prepend=-1))
        self._sizes = np.diff(self._starts, append=len(labels))
        self._seed = seed
        self.classes = classes = len(self._sizes)
        if classes < 2:
            raise DataError(
                f"Pairs of two classes need texts of at least two classes. Received: {len(labels)} "
                f"texts of {classes}"
            )
        if batch_size is None:
            batch_size = min(max(2 * classes, _FEWEST), _MOST)
        if batch_size < 4:
            raise DataError(
                f"Two classes with two texts each are the smallest batch of pairs: 4 texts. "
                f"Received: a batch size of {batch_size}"
            )
        self.classes_per_batch = min(classes, batch_size // 2)
        # no more than the largest class has: the others' repetitions would not add to anything
        self.rows_per_class = min(
            batch_size // self.classes_per_batch, max(2, int(self._sizes.max()))
        )

    @property
    def round(self) -> int:
        """The number of batches in which each class has had its turn."""
        return -(-self.classes // self.classes_per_batch)

    @property
    def batch_size(self) -> int:
        """The number of rows in each batch."""
        return self.classes_per_batch * self.rows_per_class

    def rows(self, number: int) -> np.ndarray:
        """Return int64[batch_size], the rows of the batch of that number, from zero."""
        turn, place = divmod(number, self.round)
        order = np.random.default_rng([self._seed, 0, turn]).permutation(self.classes)
        first = place * self.classes_per_batch
        chosen = order[np.arange(first, first + self.classes_per_batch) % self.classes]
        rng = np.random.default_rng([self._seed, 1, number])
        return np.concatenate([self._of_class(index, rng) for index in chosen])

    def _of_class(self, index: int, rng: np.random.Generator) -> np.ndarray:
        size = int(self._sizes[index])
        whole, rest = divmod(self.rows_per_class, size)
        places = [np.arange(size)] * whole + [rng.choice(size, rest, replace=False)]
        rows: np.ndarray = self._rows[self._starts[index] + np.concatenate(places)]
        return rows
