"""Ends a training between two epochs, at a number of them or at a time.

A search sets the limit around a whole trial, which may be of any strategy; the training loop asks.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["Limit", "limited", "reached"]


@dataclass(frozen=True)
class Limit:
    """When a training ends, though it might go on; never before its first epoch is whole.

    Attributes:
        epochs: after so many, counted through all stages.
        deadline: after the epoch that ends at this time or later, as `time.monotonic` has it.
    """

    epochs: float = math.inf
    deadline: float = math.inf

    def reached(self, epochs: int) -> bool:
        """Whether a training of so many epochs ends now."""
        return epochs >= self.epochs or time.monotonic() >= self.deadline


_current: ContextVar[Limit | None] = ContextVar("limit", default=None)


@contextlib.contextmanager
def limited(limit: Limit) -> Iterator[None]:
    """Let trainings within the block end at `limit`."""
    token = _current.set(limit)
    try:
        yield
    finally:
        _current.reset(token)


def reached(epochs: int) -> bool:
    """Whether the training that asks, with so many whole epochs, ends now."""
    limit = _current.get()
    return limit is not None and limit.reached(epochs)
