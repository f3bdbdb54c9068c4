"""The border for questions: passages are checked, and become examples or are written down."""

from __future__ import annotations

import array
import hashlib

import numpy as np

from tfhub_transfer.data.examples import TextColumn
from tfhub_transfer.data.intake import RejectedRow, Rejections
from tfhub_transfer.data.passages import Passage, PassageTable, Question
from tfhub_transfer.data.question_examples import QuestionExamples, QuestionTable
from tfhub_transfer.progress import progress

__all__ = ["QuestionIntake", "take_in_questions"]

_QUESTIONS_AT_ONCE = 4096


class QuestionIntake:
    """The questions of one split that passed, on disk; what is divided are their contexts.

    A context that a source brings several times is kept once.

    Attributes:
        origin: the file or the split they come from.
        labels: int32[contexts], zeros: contexts are all of one class.
    """

    labels: np.ndarray

    def __init__(self, origin: str):
        self.origin = origin
        self._contexts, self._questions, self._keys = TextColumn(), TextColumn(), TextColumn()
        self._row_of: dict[bytes, int] = {}  # by the context's digest
        self._context_rows = array.array("q")
        self._ids = array.array("q")
        self._answers = array.array("i")
        self._bounds = array.array("q", [0])
        self._waiting: tuple[list[str], list[str], list[str]] = ([], [], [])

    def __len__(self) -> int:
        """The number of contexts."""
        return len(self._row_of)

    def append(self, context: str, question: Question, number: int) -> None:
        """Add a question that was checked, the source's row of that number."""
        contexts, questions, keys = self._waiting
        digest = hashlib.blake2b(context.encode("utf-8"), digest_size=16).digest()
        row = self._row_of.setdefault(digest, len(self._row_of))
        if row == len(self._contexts) + len(contexts):
            contexts.append(context)
        questions.append(question.text)
        keys.append(question.key)
        self._context_rows.append(row)
        self._ids.append(number)
        for text, start in question.answers:
            self._answers.extend((start, start + len(text)))
        self._bounds.append(len(self._answers) // 2)
        if len(questions) == _QUESTIONS_AT_ONCE:
            self._write()

    def settle(self) -> None:
        """Make `labels`, when no more questions come."""
        self._write()
        self.labels = np.zeros(len(self), np.int32)
        self._table = QuestionTable(
            contexts=self._contexts,
            keys=self._keys,
            context_rows=np.frombuffer(self._context_rows, np.int64),
            answers=np.frombuffer(self._answers, np.int32).reshape(-1, 2),
            bounds=np.frombuffer(self._bounds, np.int64),
        )

    def examples(self, chosen: np.ndarray | None = None) -> QuestionExamples:
        """Return the questions on the `chosen` contexts, bool[contexts]; on all by default."""
        if chosen is None:
            chosen = np.ones(len(self), bool)
        rows = np.flatnonzero(chosen[self._table.context_rows])
        without_answer = np.diff(self._table.bounds)[rows] == 0
        return QuestionExamples(
            column=self._questions,
            rows=rows,
            labels=without_answer.astype(np.int32),
            ids=np.frombuffer(self._ids, np.int64)[rows],
            origin=self.origin,
            table=self._table,
        )

    def _write(self) -> None:
        columns = (self._contexts, self._questions, self._keys)
        for column, texts in zip(columns, self._waiting, strict=True):
            column.append(texts)
            texts.clear()


def take_in_questions(table: PassageTable, split: str, rejections: Rejections) -> QuestionIntake:
    """Read a table once: keep the questions that can be used, write down those that cannot."""
    intake = QuestionIntake(table.origin)
    number = 0
    with progress(f"Reading {table.origin}", "questions") as advance:
        for passage in table.read():
            for question in passage.questions:
                number += 1
                try:
                    _check(passage, question)
                except RejectedRow as reason:
                    answers = [answer.text for answer in question.answers]
                    rejections.add(
                        split, number, str(reason), question.text, answers, id=question.key
                    )
                else:
                    intake.append(passage.context, question, number)
            advance(len(passage.questions))
    intake.settle()
    return intake


def _check(passage: Passage, question: Question) -> None:
    if question.problem is not None:
        raise RejectedRow(question.problem)
    if not question.text.strip():
        raise RejectedRow("empty question")
    if not passage.context.strip():
        raise RejectedRow("empty context")
    for text, start in question.answers:
        if not text.strip():
            raise RejectedRow("empty answer")
        if start < 0 or passage.context[start : start + len(text)] != text:
            raise RejectedRow("an answer that does not stand at its answer_start")
