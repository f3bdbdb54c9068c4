"""Batches that hold as many rows of the target domain as of the source."""

from __future__ import annotations

import math

import numpy as np

from tfhub_transfer.data.examples import Examples
from tfhub_transfer.data.pipeline import Order

__all__ = ["DomainOrder"]

_ANOTHER_STREAM = 2**32  # seeds are below: the two domains are not drawn alike


class DomainOrder(Order):
    """The source's rows in the order they would have alone, a row of the target after each.

    An epoch is a pass over the source. The target's rows are gone through as often as that takes,
    and where they are more, each epoch draws from them anew.

    Args:
        examples: the source's, and after them the target's.
        classes: C, the number of classes.
        sources: how many are the source's.
        balance: of the source's classes; nobody knows the target's.
        seed: of the draws.
        lengths: see `Order`; each domain's rows are sorted among themselves.
        batch_size: rows of each batch, of both domains together.
    """

    def __init__(
        self,
        examples: Examples,
        classes: int,
        *,
        sources: int,
        balance: str = "none",
        seed: int = 0,
        lengths: np.ndarray | None = None,
        batch_size: int = 2,
    ):
        half, of_source = max(1, batch_size // 2), np.arange(len(examples)) < sources
        of_each = (None, None) if lengths is None else (lengths[of_source], lengths[~of_source])
        super().__init__(
            examples.take(of_source),
            classes,
            balance=balance,
            seed=seed,
            lengths=of_each[0],
            batch_size=half,
        )
        self._sources = sources
        self._target = Order(
            examples.take(~of_source),
            classes,
            seed=seed + _ANOTHER_STREAM,
            lengths=of_each[1],
            batch_size=half,
        )

    def __len__(self) -> int:
        """The number of examples an epoch goes through, of both domains."""
        return 2 * super().__len__()

    def positions(self) -> np.ndarray:
        """Return int64[len(self)], the source's rows at even and the target's at odd places."""
        source, passes = super().positions(), math.ceil(len(self) / 2 / len(self._target))
        drawn = []
        for number in range(passes):
            self._target.epoch = self.epoch * passes + number
            drawn.append(self._target.positions())
        target = self._sources + np.concatenate(drawn)[: len(source)]
        return np.stack([source, target], axis=1).ravel()

    def weights(self, positions: np.ndarray) -> np.ndarray:
        """Return float32[n], how much each example at `positions`, int64[n], counts."""
        weights, of_source = np.ones(len(positions), np.float32), positions < self._sources
        weights[of_source] = super().weights(positions[of_source])
        return weights
