"""Questions with their contexts and the stretches of these that answer them."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfhub_transfer.data.examples import Dataset, Examples, TextColumn
from tfhub_transfer.errors import DataError
from tfhub_transfer.progress import progress

__all__ = ["ANSWERABLE", "QuestionDataset", "QuestionExamples", "QuestionTable", "WordOffsets"]

WordOffsets = Callable[[Sequence[str]], Sequence[np.ndarray]]
"""B texts -> of each the first and one past the last character of its words, int[W, 2]."""

ANSWERABLE = ("answer", "no answer")

_CONTEXTS_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class QuestionTable:
    """What is known of the questions in a column, by their row there.

    Attributes:
        contexts: the texts that questions are asked on, each once.
        keys: what the source calls the questions.
        context_rows: int64[R], the row in `contexts`.
        answers: int32[M, 2], the first and one past the last character of each answer.
        bounds: int64[R + 1]; the answers to row r are those from bounds[r] to bounds[r + 1].
    """

    contexts: TextColumn
    keys: TextColumn
    context_rows: np.ndarray
    answers: np.ndarray
    bounds: np.ndarray


@dataclass(frozen=True, eq=False)
class QuestionExamples(Examples):
    """Questions, as `Examples` whose texts are the questions alone.

    A label is an index into `ANSWERABLE`: 1 where the context does not answer the question.

    Attributes:
        table: their contexts and answers, and maybe those of other splits.
        words: int32[N, 2], the first and the last word of the answer, counted from 1; zeros where
            there is none. Missing until `at_words` has made it.
    """

    sequences = True

    table: QuestionTable
    words: np.ndarray | None = None

    def take(self, positions: np.ndarray) -> QuestionExamples:
        """Return the questions at `positions`: int64[M], which may repeat, or a bool[N] mask."""
        return dataclasses.replace(
            self,
            rows=self.rows[positions],
            labels=self.labels[positions],
            ids=self.ids[positions],
            words=None if self.words is None else self.words[positions],
        )

    def context_rows(self, positions: np.ndarray | None = None) -> np.ndarray:
        """Return int64[M], which context each question is asked on."""
        rows: np.ndarray = self.table.context_rows[self._rows(positions)]
        return rows

    def contexts(self, positions: np.ndarray | None = None) -> list[str]:
        """Return the context of each question at `positions`, int64[M]; of all by default."""
        return self.table.contexts.read(self.context_rows(positions))

    def keys(self, positions: np.ndarray | None = None) -> list[str]:
        """Return what the source calls the questions at `positions`."""
        return self.table.keys.read(self._rows(positions))

    def spans(self, positions: np.ndarray | None = None) -> list[np.ndarray]:
        """Return int32[A, 2] for each question: the characters of its answers, maybe none."""
        bounds = self.table.bounds
        return [
            self.table.answers[bounds[row] : bounds[row + 1]]
            for row in self._rows(positions).tolist()
        ]

    def golds(self, positions: np.ndarray | None = None) -> list[list[str]]:
        """Return the texts of each question's answers, maybe none."""
        return [
            [context[start:end] for start, end in spans.tolist()]
            for context, spans in zip(self.contexts(positions), self.spans(positions), strict=True)
        ]

    def inputs(self, positions: np.ndarray | None = None) -> dict[str, list[str]]:
        """Return what an encoder of questions takes: `question` and `context`."""
        return {"question": self.texts(positions), "context": self.contexts(positions)}

    def encodable(self, positions: np.ndarray | None = None) -> list[tuple[str, str]]:
        """Return what encoders take: pairs of a question and its context."""
        return list(zip(self.texts(positions), self.contexts(positions), strict=True))

    def batches(self, size: int) -> Iterator[list[tuple[str, str]]]:  # type: ignore[override]
        """Yield all pairs in order, `size` questions at a time."""
        for start in range(0, len(self), size):
            yield self.encodable(np.arange(start, min(start + size, len(self))))

    def passages(self) -> Examples:
        """Return the contexts, each once, as examples of one class."""
        rows = np.unique(self.context_rows())
        labels = np.zeros(len(rows), np.int32)
        return Examples(self.table.contexts, rows, labels, rows + 1, self.origin)

    def at_words(self, offsets: WordOffsets) -> tuple[QuestionExamples, int]:
        """Return these questions with `words`, and the number of answers that had to be widened.

        Where people differ, the words are taken that most of them gave, and of those the first
        that was given. An answer that begins or ends inside a word is widened to the whole of it.

        Args:
            offsets: where words stand; the encoder's own, for its vectors are what is pointed at.
        """
        context_rows = self.context_rows()
        order = np.argsort(context_rows, kind="stable")
        words = np.zeros((len(self), 2), np.int32)
        widened = 0
        distinct, starts = np.unique(context_rows[order], return_index=True)
        groups = np.split(order, starts[1:])
        with progress("Finding answers among words", "questions", len(self)) as advance:
            for first in range(0, len(distinct), _CONTEXTS_AT_ONCE):
                chosen = slice(first, first + _CONTEXTS_AT_ONCE)
                places = offsets(self.table.contexts.read(distinct[chosen]))
                for positions, of_words in zip(groups[chosen], places, strict=True):
                    for position, spans in zip(positions, self.spans(positions), strict=True):
                        words[position], wider = _most_given(spans, np.asarray(of_words))
                        widened += wider
                advance(sum(map(len, groups[chosen])))
        return dataclasses.replace(self, words=words), widened

    def targets(self, classes: int = 0, positions: np.ndarray | None = None) -> np.ndarray:
        """Return int32[M, 2], first and last word counted from 1, zeros for no answer.

        Args:
            classes: plays no part here.
            positions: int64[M], of the questions; all by default.

        Raises:
            DataError: `at_words` was not called.
        """
        del classes
        if self.words is None:
            raise DataError(
                f"Answers are characters until at_words says which words they are. "
                f"Received: {len(self)} questions of {self.origin} without words"
            )
        targets: np.ndarray = self.words if positions is None else self.words[positions]
        return targets

    def _rows(self, positions: np.ndarray | None) -> np.ndarray:
        return self.rows if positions is None else self.rows[positions]


@dataclass(frozen=True, eq=False)
class QuestionDataset(Dataset):
    """What a model of answers is trained, validated and tested on; `labels` are `ANSWERABLE`."""

    train: QuestionExamples
    validation: QuestionExamples
    test: QuestionExamples

    @property
    def facts(self) -> dict[str, Any]:
        """Nothing: what a head of answers has to know is in the settings."""
        return {}

    @property
    def answers_all(self) -> bool:
        """Whether every training question has an answer, so that none need not be an option."""
        return not self.train.labels.any()

    def at_words(self, offsets: WordOffsets) -> QuestionDataset:
        """Return the data set with `words` in each split, and a note where answers were widened.

        Args:
            offsets: as `QuestionExamples.at_words` takes it.
        """
        train, in_train = self.train.at_words(offsets)
        validation, in_validation = self.validation.at_words(offsets)
        test, in_test = self.test.at_words(offsets)
        widened = {"train": in_train, "validation": in_validation, "test": in_test}
        notes = [
            f"{count:,} {name} {'answer begins or ends' if count == 1 else 'answers begin or end'} "
            f"inside a word; the model can only give the whole word."
            for name, count in widened.items()
            if count
        ]
        return dataclasses.replace(
            self,
            train=train,
            validation=validation,
            test=test,
            notes=(*self.notes, *notes),
            summary={**self.summary, "widened": widened},
        )


def _most_given(spans: np.ndarray, words: np.ndarray) -> tuple[tuple[int, int], bool]:
    """Return the words that most of the spans cover, from 1, and whether they cover more.

    Args:
        spans: int32[A, 2], characters.
        words: int[W, 2], characters, ascending.
    """
    if not len(spans) or not len(words):
        return (0, 0), False
    # the first word that ends behind the answer's beginning, the last that begins before its end
    first = np.searchsorted(words[:, 1], spans[:, 0], side="right")
    last = np.searchsorted(words[:, 0], spans[:, 1], side="left") - 1
    # an answer of characters that belong to no word takes the next one
    first = np.minimum(first, len(words) - 1)
    last = np.maximum(last, first)
    covered = list(zip(first.tolist(), last.tolist(), strict=True))
    given = collections.Counter(covered)
    (chosen, _), *_ = given.most_common(1)  # the first of those that tie
    start, end = spans[covered.index(chosen)]
    return (chosen[0] + 1, chosen[1] + 1), bool(
        words[chosen[0], 0] < start or words[chosen[1], 1] > end
    )
