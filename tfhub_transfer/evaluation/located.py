"""Answers as characters of their contexts, which the artifact and `predict` tell alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfhub_transfer.heads.raw_words import word_offsets
from tfhub_transfer.heads.span_decoding import Spans
from tfhub_transfer.training.classifier import Classifier

__all__ = ["Answer", "answers_to", "words_about"]


@dataclass(frozen=True)
class Answer:
    """What a model says to a question.

    Attributes:
        text: of the context; empty for no answer.
        start: its first character in the context, -1 for no answer.
        end: one past its last, -1 for no answer.
        score: how probable it is, among all answers and none.
        no_answer: by how much the logit of none is above that of the best text.
    """

    text: str
    start: int
    end: int
    score: float
    no_answer: float


def answers_to(
    classifier: Classifier,
    pairs: Sequence[tuple[str, str]],
    encode: Callable[[Sequence[Any]], Any] | None = None,
) -> list[list[Answer]]:
    """Return the answers to questions on contexts.

    Args:
        classifier: a trained one of task `span`.
        pairs: questions with their contexts, which go through the network together.
        encode: pairs to vectors; the model's own way when not given.

    Returns:
        For each question what is answered, and then what else could be, the likeliest first. Only
        the first may be no answer.
    """
    contexts = [context for _, context in pairs]
    places = word_offsets(contexts, classifier.head.splitting)
    (outputs,) = classifier.predict([pairs], encode)
    lengths = tf.constant([len(words) for words in places], tf.int32)
    spans = Spans(*map(np.asarray, classifier.head.decide(tf.constant(outputs), lengths)))
    return [
        _located(context, words, Spans(*told))
        for context, words, *told in zip(contexts, places, *spans, strict=True)
    ]


def words_about(context: str) -> int:
    """Return about how many words or pieces a context has, without parting it, in any script."""
    return len(context.encode()) // 3 + 1


def _located(context: str, words: np.ndarray, spans: Spans) -> list[Answer]:
    """Return the answers of one context, whose words are int32[W, 2], from one row of `Spans`."""
    answers = []
    for place, (first, last) in enumerate(zip(spans.first, spans.last, strict=True)):
        told = float(spans.score[place]), float(spans.difference)
        if first >= 0:
            start, end = int(words[first, 0]), int(words[last, 1])
            answers.append(Answer(context[start:end], start, end, *told))
        elif place == 0:
            answers.append(Answer("", -1, -1, *told))
    return answers
