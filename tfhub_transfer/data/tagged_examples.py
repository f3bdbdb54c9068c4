"""Labelled words: sentences with a tag for each word, and maybe an intent of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tfhub_transfer.data.examples import Dataset, Examples
from tfhub_transfer.data.sequences import Sequences
from tfhub_transfer.errors import DataError

__all__ = ["WITHHELD", "TaggedDataset", "TaggedExamples"]

WITHHELD = -2
"""The tag of a word that is there, but whose tag is not to be learnt from or not known."""


@dataclass(frozen=True, eq=False)
class TaggedExamples(Examples):
    """Sentences with the tags of their words; a text is its words, joined by single spaces.

    `labels` are int32[N], the index of each sentence's intent, and zeros where there are none.

    Attributes:
        tags: N rows, as long as the sentences have words, of indices of tags. Those that training
            rows do not have stand behind all others; so do such intents. `WITHHELD` is none.
        intents: how many intents training rows have; 0 where texts have none.
    """

    sequences = True

    tags: Sequences
    intents: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.tags) != len(self.rows):
            raise DataError(
                f"Tagged examples need as many rows of tags as texts. Received: "
                f"{len(self.rows)} texts, {len(self.tags)} rows of tags"
            )

    def take(self, positions: np.ndarray) -> TaggedExamples:
        """Return the examples at `positions`: int64[M], which may repeat, or a bool[N] mask."""
        return TaggedExamples(
            self.column,
            self.rows[positions],
            self.labels[positions],
            self.ids[positions],
            self.origin,
            self.tags.take(positions),
            self.intents,
        )

    def words(self, positions: np.ndarray | None = None) -> list[list[str]]:
        """Return the words of the sentences at `positions`, int64[M]; of all by default."""
        return [text.split(" ") for text in self.texts(positions)]

    def targets(self, classes: int, positions: np.ndarray | None = None) -> np.ndarray:
        """Return what a loss compares with, -1 where there is nothing to compare.

        A tag or an intent that no training row has cannot be learnt: in the loss of a validation
        row the tag counts as `O`, and the intent not at all. Measures take `tags` and `labels`.

        Args:
            classes: T, the tags that training rows have.
            positions: int64[n]; all by default.

        Returns:
            int32[n, W], the tags with -1 behind the last of each sentence, `WITHHELD` where one is;
            where there are intents, int32[n, 1 + W] with the intent in front.
        """
        table = self.tags.padded(positions)
        table[table >= classes] = 0
        if not self.intents:
            return table
        labels = self.labels if positions is None else self.labels[positions]
        first = np.where(labels < self.intents, labels, -1).astype(np.int32)
        return np.concatenate([first[:, None], table], axis=1)

    def class_counts(self, classes: int) -> np.ndarray:
        """Return int64[classes], how many words have each of the first `classes` tags."""
        values = self.tags.values
        known = values[(values >= 0) & (values < classes)]
        return np.bincount(known, minlength=classes).astype(np.int64)


@dataclass(frozen=True, eq=False)
class TaggedDataset(Dataset):
    """Sentences that a tagger is trained, validated and tested on.

    `labels` are the tags that the model tells apart: `O`, then type by type all tags of the scheme,
    also those of them that no training row has.

    Attributes:
        train: the examples that weights are fitted on.
        validation: those that training is steered by.
        test: those that are only reported on.
        scheme: of the tags: `iob2` or `iobes`.
        intents: names of the texts' own labels; none where they have none.
        unseen_tags: those that validation or test rows have and training rows do not; their
            indices go on from those of `labels`. No model can be right about them.
        unseen_intents: likewise, and their indices go on from those of `intents`.
    """

    train: TaggedExamples
    validation: TaggedExamples
    test: TaggedExamples
    scheme: str
    intents: tuple[str, ...]
    unseen_tags: tuple[str, ...]
    unseen_intents: tuple[str, ...]

    @property
    def row_classes(self) -> int:
        """The number of intents; a sentence without is of one class, whatever its tags."""
        return max(len(self.intents), 1)

    @property
    def facts(self) -> dict[str, Any]:
        """What a head has to know beside the labels."""
        return {"intents": list(self.intents)}

    @property
    def all_tags(self) -> tuple[str, ...]:
        """The names that the indices in `tags` are of."""
        return self.labels + self.unseen_tags

    @property
    def all_intents(self) -> tuple[str, ...]:
        """The names that the indices in an example's `labels` are of."""
        return self.intents + self.unseen_intents
