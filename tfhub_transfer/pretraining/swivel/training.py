"""Swivel's steps, a submatrix each, which go on after a kill as if there had been none."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfhub_transfer.pretraining import checkpoint
from tfhub_transfer.pretraining.swivel.cooccurrence import Layout
from tfhub_transfer.pretraining.swivel.objective import Confidence, log_marginals, submatrix_loss

__all__ = ["SwivelTraining"]

# Of the vectors' normal distribution at the beginning, and of Adagrad's sums of squares.
_FIRST_DEVIATION = 0.03
_FIRST_SUM = 0.1
# The loss, which is only told, is measured on each so many-th row.
_LOSS_SAMPLING = 16


class _Block(NamedTuple):
    """What belongs to the words of a block, as rows or as columns.

    Attributes:
        vectors: float32[S, D].
        biases: float32[S].
        vector_sums: of squares of gradients, as Adagrad adds them up.
        bias_sums: likewise.
    """

    vectors: tf.Tensor
    biases: tf.Tensor
    vector_sums: tf.Tensor
    bias_sums: tf.Tensor


class SwivelTraining:
    """The vectors of all words, as rows and as columns, and Adagrad (Duchi et al. 2011, JMLR 12).

    Args:
        layout: of the words in blocks.
        marginals: float64[n, S], the sum of each row of counts.
        dimensions: D.
        confidence: of observed pairs.
        learning_rate: of Adagrad, whose steps become smaller by themselves.
        train_biases: move the biases too, which otherwise stay at the logarithms of the marginals.
        seed: of the vectors to begin with.
    """

    def __init__(
        self,
        layout: Layout,
        marginals: np.ndarray,
        dimensions: int,
        confidence: Confidence,
        *,
        learning_rate: float,
        train_biases: bool,
        seed: int,
    ):
        self._layout, self._confidence = layout, confidence
        self._rate, self._train_biases = learning_rate, train_biases
        random = np.random.default_rng([seed, 0])
        biases = log_marginals(marginals).astype(np.float32)

        def begun(block: int) -> _Block:
            vectors = random.standard_normal((layout.side, dimensions), np.float32)
            return _Block(
                tf.constant(vectors * np.float32(_FIRST_DEVIATION)),
                tf.constant(biases[block]),
                tf.fill([layout.side, dimensions], _FIRST_SUM),
                tf.fill([layout.side], _FIRST_SUM),
            )

        self._rows = [begun(block) for block in range(layout.blocks)]
        self._columns = [begun(block) for block in range(layout.blocks)]

    def step(self, shard: tuple[int, int], cells: np.ndarray, counts: np.ndarray) -> float:
        """Move the vectors of a shard's words, and return the loss of all its cells.

        The counts are symmetric: those of the shard (r, c) are also those of the columns of r with
        the rows of c, which is a second submatrix that has no parameter in common with the first.
        TensorFlow computes the two side by side.

        Args:
            shard: its row block and column block.
            cells: int32[N] and counts float32[N], as `Cooccurrences.read` returns them.
            counts: see `cells`.
        """
        row, column = shard
        if row == column:
            loss, self._rows[row], self._columns[row] = self._one(
                self._rows[row], self._columns[row], cells, counts
            )
            return float(loss)
        loss, first, second = self._two(
            (self._rows[row], self._columns[column]),
            (self._columns[row], self._rows[column]),
            cells,
            counts,
        )
        self._rows[row], self._columns[column] = first
        self._columns[row], self._rows[column] = second
        return float(loss)

    @tf.function(reduce_retracing=True)
    def _one(
        self, first: _Block, second: _Block, cells: tf.Tensor, counts: tf.Tensor
    ) -> tuple[tf.Tensor, _Block, _Block]:
        loss, gradients = submatrix_loss(
            first.vectors,
            second.vectors,
            first.biases,
            second.biases,
            cells,
            counts,
            self._confidence,
            _LOSS_SAMPLING,
        )
        by_first, by_second, by_first_bias, by_second_bias = gradients
        return (
            loss,
            self._moved(first, by_first, by_first_bias),
            self._moved(second, by_second, by_second_bias),
        )

    @tf.function(reduce_retracing=True)
    def _two(
        self,
        pair: tuple[_Block, _Block],
        other: tuple[_Block, _Block],
        cells: tf.Tensor,
        counts: tf.Tensor,
    ) -> tuple[tf.Tensor, tuple[_Block, _Block], tuple[_Block, _Block]]:
        loss, *moved = self._one(*pair, cells, counts)
        other_loss, *other_moved = self._one(*other, cells, counts)
        return loss + other_loss, tuple(moved), tuple(other_moved)

    def _moved(self, block: _Block, by_vectors: tf.Tensor, by_biases: tf.Tensor) -> _Block:
        vectors, biases, vector_sums, bias_sums = block
        vector_sums += tf.square(by_vectors)
        vectors -= self._rate * by_vectors * tf.math.rsqrt(vector_sums)
        if self._train_biases:
            bias_sums += tf.square(by_biases)
            biases -= self._rate * by_biases * tf.math.rsqrt(bias_sums)
        return _Block(vectors, biases, vector_sums, bias_sums)

    def vectors(self) -> np.ndarray:
        """Return float32[V, D], each word's vector as a row plus that as a column.

        Their sum does better in probes than either alone, as is known of GloVe's.
        """
        pairs = zip(self._rows, self._columns, strict=True)
        return self._layout.in_order(
            np.stack([(row.vectors + column.vectors).numpy() for row, column in pairs])
        )

    def save(self, target: Path, progress: dict[str, Any]) -> None:
        """Write everything that moves, and `progress`, a JSON value, as one file."""
        checkpoint.save(target, self._state(), progress)

    def load(self, source: Path) -> dict[str, Any]:
        """Take back what was saved, and return its `progress`.

        Raises:
            RunError: the file is damaged, or of another training.
        """
        shapes = {name: value.shape for name, value in self._state().items()}
        loaded, progress = checkpoint.load(source, shapes)
        for role, blocks in self._roles().items():
            for place in range(len(blocks)):
                blocks[place] = _Block(
                    *(tf.constant(loaded[f"{role}/{name}"][place]) for name in _Block._fields)
                )
        return progress

    def _roles(self) -> dict[str, list[_Block]]:
        return {"rows": self._rows, "columns": self._columns}

    def _state(self) -> dict[str, np.ndarray]:
        return {
            f"{role}/{name}": np.stack([getattr(block, name).numpy() for block in blocks])
            for role, blocks in self._roles().items()
            for name in _Block._fields
        }
