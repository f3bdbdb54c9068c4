"""The settings of single tasks, and defaults that differ between them; part of `config`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tfhub_transfer.checks import at_least

__all__ = ["HIDDEN", "TASK_BASELINES", "SpanConfig", "TaggingConfig"]

# What a report has beside the model, where nothing is named.
TASK_BASELINES: dict[str, tuple[str, ...]] = {
    "classification": ("majority", "tfidf_logreg"),
    "tagging": ("frequent_tag",),
    "span": ("tfidf_window",),
}

# Between the vector and the output, where no sizes are given.
HIDDEN: dict[str, tuple[int, ...]] = {"classification": (1024,), "tagging": (), "span": ()}


@dataclass(frozen=True)
class TaggingConfig:
    """With task `tagging`: what decides on a word's tag besides its own vector.

    Attributes:
        recurrent: units of a bidirectional LSTM over the words' vectors, in each direction; 0 for
            none.
        crf: a linear-chain conditional random field decides on all tags of a sentence at once.
        scheme: of the tags that are learnt and answered: `iob2`, or `iobes`, which also marks
            where an entity ends. Files may be in either, or in IOB1.
        intent_weight: of the loss of a text's own label, where the data has one besides the tags;
            the tags' is 1.
        word_shapes: the shape of a word, its capitals, digits and marks, decides too; for encoders
            whose vocabulary is uncased, and texts whose capitals mean something.
    """

    recurrent: int = 0
    crf: bool = False
    scheme: Literal["iob2", "iobes"] = "iob2"
    intent_weight: float = 1.0
    word_shapes: bool = False

    def __post_init__(self) -> None:
        at_least("tagging.recurrent", self.recurrent, 0)
        at_least("tagging.intent_weight", self.intent_weight, 0)


@dataclass(frozen=True)
class SpanConfig:
    """With task `span`: which stretch of a context may be the answer.

    Attributes:
        max_words: of an answer at most.
        n_best: answers that are kept besides the best.
        no_answer: how much better than the best answer none must score (a difference of logits)
            to be answered, where the data has questions without answer; found on the validation
            rows when not given.
    """

    max_words: int = 30
    n_best: int = 5
    no_answer: float | None = None

    def __post_init__(self) -> None:
        at_least("span.max_words", self.max_words, 1)
        at_least("span.n_best", self.n_best, 1)
