"""Distinct words with their counts, in bounded memory.

Source: Manku and Motwani, "Approximate frequency counts over data streams" (VLDB 2002), section
4.2, lossy counting. There the rarest words are forgotten at fixed intervals; here whenever there
are too many, so that counts of a corpus that fits are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["WordCounts"]

_LONG = 64  # characters; a longer word counts as several, for it takes as much memory


class WordCounts:
    """Numbers words, and counts them.

    A word keeps its number until it is forgotten. Then the next period begins, and another word
    may be given that number.

    Args:
        limit: forget the rarest when there are more words than this, long ones counted as several.

    Attributes:
        counts: int64[N] of each number.
        since: int32[N], the period in which a number's present word came.
        period: how often words have been forgotten.
        bound: no count is too low by more than this, and no word that stood more often is missing.
        forgotten: how many words have been.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self.counts = np.zeros(0, np.int64)
        self.since = np.zeros(0, np.int32)
        # how often a word may have been seen, and forgotten, before it came; the paper's delta
        self._before = np.zeros(0, np.int64)
        self._numbers = _Numbers()
        self.period = self.bound = self.forgotten = 0

    def __len__(self) -> int:
        return len(self._numbers)

    def count(self, words: Sequence[str]) -> np.ndarray:
        """Count the words and return their numbers, int32[n]."""
        numbers = np.fromiter(map(self._numbers.__getitem__, words), np.int32, len(words))
        came, self._numbers.came = self._numbers.came, []
        self._grow(self._numbers.given)
        self.counts[came] = 0
        self.since[came] = self.period
        self._before[came] = self.bound
        np.add.at(self.counts, numbers, 1)
        return numbers

    @property
    def full(self) -> bool:
        """Whether it is time to forget."""
        return self._numbers.room > self.limit

    def forget(self) -> None:
        """Forget the rarest, so that at most half of them, and half as many as the limit, stay."""
        held = np.fromiter(self._numbers.values(), np.int64, len(self))
        most = self.counts[held] + self._before[held]
        excess = max(len(self) - self.limit // 2, (len(self) + 1) // 2)
        self.bound = int(np.partition(most, excess - 1)[excess - 1])
        gone = set(held[most <= self.bound].tolist())
        self.counts[list(gone)] = 0
        self.forgotten += len(gone)
        self.period += 1
        kept = {word: number for word, number in self._numbers.items() if number not in gone}
        self._numbers = _Numbers(kept, self._numbers.given)

    def state(self) -> dict[str, np.ndarray]:
        """Return arrays from which `restored` makes an equal object."""
        return {
            # no word has a line end in it
            "words": np.frombuffer("\n".join(self._numbers).encode(), np.uint8),
            "numbers": np.fromiter(self._numbers.values(), np.int32, len(self)),
            "counts": self.counts[: self._numbers.given],
            "since": self.since[: self._numbers.given],
            "before": self._before[: self._numbers.given],
            "scalars": np.array([self.limit, self.period, self.bound, self.forgotten], np.int64),
        }

    @classmethod
    def restored(cls, state: dict[str, np.ndarray]) -> WordCounts:
        """Return what `state` was of."""
        limit, period, bound, forgotten = state["scalars"].tolist()
        counted = cls(limit)
        counted.period, counted.bound, counted.forgotten = period, bound, forgotten
        counted.counts, counted.since = state["counts"], state["since"]
        counted._before = state["before"]
        numbers = state["numbers"].tolist()
        words = state["words"].tobytes().decode().split("\n") if numbers else []
        numbered = dict(zip(words, numbers, strict=True))
        counted._numbers = _Numbers(numbered, len(state["counts"]))
        return counted

    def words(self) -> dict[int, str]:
        """Return the words by their numbers."""
        return {number: word for word, number in self._numbers.items()}

    def _grow(self, size: int) -> None:
        if size > len(self.counts):
            # by half as much again, so that not each batch copies them
            more = max(size, len(self.counts) * 3 // 2) - len(self.counts)
            self.counts = np.pad(self.counts, (0, more))
            self.since = np.pad(self.since, (0, more))
            self._before = np.pad(self._before, (0, more))


class _Numbers(dict[str, int]):
    """Words' numbers; a new word is given the lowest one that is free.

    Args:
        numbers: of words that are there already.
        given: all numbers below this have been given, and maybe taken back.
    """

    def __init__(self, numbers: Any = (), given: int = 0):
        super().__init__(numbers)
        self.given = given
        self.room = sum(map(_room, self))
        free = np.ones(given, bool)
        free[np.fromiter(self.values(), np.int64, len(self))] = False
        self._free = np.flatnonzero(free)[::-1].tolist()
        self.came: list[int] = []

    def __missing__(self, word: str) -> int:
        if self._free:
            number = self._free.pop()
        else:
            number = self.given
            self.given += 1
        self[word] = number
        self.room += _room(word)
        self.came.append(number)
        return number


def _room(word: str) -> int:
    return 1 + len(word) // _LONG
