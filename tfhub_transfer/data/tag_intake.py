"""The border for labelled words: sentences are checked, and their tags brought into one scheme."""

from __future__ import annotations

import array
import collections
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tfhub_transfer.data.intake import Intake, RejectedRow, Vocabulary
from tfhub_transfer.data.schemes import (
    OUTSIDE,
    Entity,
    SchemeEvidence,
    entities,
    problem,
    write,
)
from tfhub_transfer.data.sequences import Sequences
from tfhub_transfer.data.table import Label, Text
from tfhub_transfer.data.tagged_examples import TaggedExamples
from tfhub_transfer.errors import DataError

__all__ = ["TagReading", "TaggedIntake"]


@dataclass(frozen=True, eq=False)
class TagReading:
    """How the tags of a source are read.

    Attributes:
        given: the scheme they are in, or `auto`.
        scheme: the scheme they are brought into.
        tags: the names of the tags, in that scheme.
        intents: the names of intents; None where rows have none.
        types: what types of entities are called instead, and `O` for those that are left out; None
            where they keep their names.
    """

    given: str
    scheme: str
    tags: Vocabulary
    intents: Vocabulary | None
    types: Mapping[str, str] | None = None


class TaggedIntake(Intake):
    """The sentences of one split that passed, their texts spooled to disk.

    Attributes:
        origin: the file or the split they come from.
        column: their texts.
        labels: int32[N], the indices of their intents, zeros where there are none; once settled.
        tags: the indices of their words' tags; once settled.
        evidence: which scheme the split is in.
        types: the types of its entities.
        left_out: how many entities count as `O`, by the type that they have in the source.
    """

    tags: Sequences

    def __init__(self, origin: str, reading: TagReading):
        super().__init__(origin, reading.tags)
        self.evidence = SchemeEvidence()
        self.types: set[str] = set()
        self.left_out: collections.Counter[str] = collections.Counter()
        self._reading = reading
        self._unmapped: set[str] = set()
        self._intents = array.array("i")

    def check(self, text: Text, label: Label) -> tuple[str, list[int]]:
        """Return a sentence and the index of its intent, or 0, with those of its tags.

        Raises:
            RejectedRow: there are no words or no tags, or one that is no word.
            ValueError: there are not as many tags as words, or one is no tag.
        """
        reading = self._reading
        if text is None or label is None:
            raise RejectedRow("null text" if text is None else "null label")
        if isinstance(text, str) or isinstance(label, str):
            raise ValueError("expected a list of words and a list of as many tags")
        intent, tags = (label[0], label[1:]) if reading.intents else ("", label)
        if len(tags) != len(text):
            raise ValueError(f"{len(tags)} tags for {len(text)} words")
        if why := next((why for tag in tags if (why := problem(tag, reading.given))), None):
            raise ValueError(why)
        if not text:
            raise RejectedRow("empty text")
        if any(word.split() != [word] for word in text):
            raise RejectedRow("a word is empty or has white space in it")
        first = reading.intents.encode(intent) if reading.intents else [0]
        self.evidence.add(tags)
        found = self._renamed(entities(tags))
        self.types.update(entity.type for entity in found)
        encode = reading.tags.encode
        written = write(found, len(text), reading.scheme)
        return " ".join(text), first + [encode(tag)[0] for tag in written]

    def append(self, texts: list[str], ids: list[int], codes: list[list[int]]) -> None:
        """Add rows: their texts, row numbers, and the indices that `check` gave."""
        self._intents.extend(code[0] for code in codes)
        self._lengths.extend(len(code) - 1 for code in codes)
        super().append(texts, ids, [code[1:] for code in codes])

    def filled(self) -> None:
        """Check that types of entities are mapped all, or not at all."""
        if self._unmapped:
            raise DataError(
                f"{self.origin} has types of entities that adaptation.labels does not map: give "
                f"each a name, or {OUTSIDE}, without the prefix of a tag. "
                f"It maps: {', '.join(self._reading.types or ())}. "
                f"Received: {', '.join(sorted(self._unmapped))}"
            )

    def settle(
        self, final: np.ndarray | None = None, final_intents: np.ndarray | None = None
    ) -> None:
        """Make `tags` and `labels` when no more rows come.

        Args:
            final: what `close` of the tags' vocabulary returned, where rows came in before that.
            final_intents: the same of the intents'.
        """
        tags = np.frombuffer(self._codes, np.int32)
        self.labels = np.frombuffer(self._intents, np.int32)
        if final is not None:
            tags = final[tags]
        if final_intents is not None:
            self.labels = final_intents[self.labels]
        self.tags = Sequences.of(tags, np.frombuffer(self._lengths, np.int32))

    def examples(self, chosen: np.ndarray | None = None) -> TaggedExamples:
        """Return the rows where `chosen`, bool[N], is true; all by default."""
        rows = np.arange(len(self)) if chosen is None else np.flatnonzero(chosen)
        intents = self._reading.intents
        return TaggedExamples(
            column=self.column,
            rows=rows,
            labels=self.labels[rows],
            ids=np.frombuffer(self._ids, np.uint32)[rows].astype(np.int64),
            origin=self.origin,
            tags=self.tags.take(rows),
            intents=len(intents.names) if intents else 0,
        )

    def _renamed(self, found: list[Entity]) -> list[Entity]:
        types = self._reading.types
        if types is None:
            return found
        kept = []
        for entity in found:
            name = types.get(entity.type)
            if name is None:
                self._unmapped.add(entity.type)  # all of them are told at the end
            elif name == OUTSIDE:
                self.left_out[entity.type] += 1
            else:
                kept.append(entity._replace(type=name))
        return kept
