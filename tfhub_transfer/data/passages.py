"""Questions on texts as every kind of source yields them: a stream of passages for each split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Answer", "Passage", "PassageSource", "PassageTable", "Question"]


class Answer(NamedTuple):
    """What a person answered: `text`, which should stand at the character `start`."""

    text: str
    start: int


class Question(NamedTuple):
    """One question, as it stands in the source.

    Attributes:
        key: what the source calls it.
        text: the question.
        answers: of one person or of several; none where the context does not answer it.
        problem: why it cannot be used, where the reader of the source knows a reason.
    """

    key: str
    text: str
    answers: tuple[Answer, ...]
    problem: str | None = None


class Passage(NamedTuple):
    """A context and the questions on it; a source may bring one context several times."""

    context: str
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class PassageTable:
    """One split of a source. Each call of `read` streams it anew."""

    origin: str
    read: Callable[[], Iterator[Passage]]


@dataclass(frozen=True)
class PassageSource:
    """Tables of passages, by split; as `table.Source` is for labelled texts.

    Attributes:
        name: as a report shows it.
        splits: those there are of `train`, `validation` and `test`; or only `all`.
        notes: sentences a person should read about how the source was understood.
    """

    name: str
    splits: dict[str, PassageTable]
    notes: tuple[str, ...] = ()
