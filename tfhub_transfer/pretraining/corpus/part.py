"""What a corpus is made of, whatever kind of source it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Part"]


@dataclass(frozen=True)
class Part:
    """One file, or one split of a TFDS set.

    Attributes:
        name: for error texts.
        size: in bytes.
        version: changes when the content does.
        read: yields lists of texts, and how many bytes lie behind them.
    """

    name: str
    size: int
    version: str
    read: Callable[[], Iterator[tuple[list[str], int]]]
