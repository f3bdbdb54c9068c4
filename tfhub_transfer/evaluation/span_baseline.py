"""What a model of answers has to beat: the words that stand among those of the question."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from tfhub_transfer.config import Config
from tfhub_transfer.data.examples import Dataset
from tfhub_transfer.data.question_examples import QuestionDataset, QuestionExamples
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.evaluation.answers import agreement, answer_metrics
from tfhub_transfer.evaluation.bootstrap import Array
from tfhub_transfer.progress import progress

__all__ = ["SpanBaseline", "TfidfWindow", "make_tfidf_window"]

_WORD = re.compile(r"\w+(?:[.,'’&-]\w+)*")
_AT_ONCE = 512
_CHOSEN_ON = 1000
_WIDTHS = (1, 2, 3, 4, 5, 6)
_REACHES = (1, 2, 3, 5, 8, 12)


class TfidfWindow:
    """Answers with the words around which the question's stand closest.

    The sliding window of Richardson et al. 2013 ("MCTest", EMNLP, algorithm 1), turned to answers
    that are not given to choose from: every window of `width` words of the context is scored by
    the inverse document frequencies (IDF) of the question's words among the `reach` words on either
    side of it. Words of the question are no answer: a window that holds the fewest of them comes
    first. Where windows score alike, the one whose own words are rarest is taken. It always
    answers.

    Attributes:
        width: words in an answer.
        reach: words on either side that count.
    """

    def __init__(self) -> None:
        self._idf: dict[str, float] = {}
        self._rarest = 1.0  # the IDF of a word that stands in no training context
        self.width, self.reach = 2, 3

    def fit(self, train: QuestionExamples, *, seed: int = 0) -> TfidfWindow:
        """Learn how rare words are from all training contexts, and choose `width` and `reach`.

        Of all widths up to 6 and some reaches up to 12, those that give the highest mean F1 on
        1,000 training questions with an answer, drawn with the seed.
        """
        vectorizer = TfidfVectorizer(token_pattern=None, tokenizer=_terms, lowercase=False)
        batches = train.passages().batches(_AT_ONCE)
        vectorizer.fit(text for texts in batches for text in texts)
        terms = vectorizer.get_feature_names_out().tolist()
        self._idf = dict(zip(terms, vectorizer.idf_.tolist(), strict=True))
        self._rarest = max(self._idf.values())
        answerable = np.flatnonzero(train.labels == 0)
        size = min(_CHOSEN_ON, len(answerable))
        rng = np.random.default_rng(seed)
        drawn = train.take(np.sort(rng.choice(answerable, size, replace=False)))
        if not size:
            return self
        golds, inputs = drawn.golds(), drawn.inputs()
        settings = [(width, reach) for width in _WIDTHS for reach in _REACHES]
        best = -1.0
        with progress("Choosing the window of the baseline", "settings", len(settings)) as advance:
            scored = [*map(self._weighed, inputs["question"], inputs["context"])]
            for width, reach in settings:
                answers = [one.best(width, reach) for one in scored]
                f1 = float(agreement(answers, golds).f1.mean())
                if f1 > best:
                    best, self.width, self.reach = f1, width, reach
                advance(1)
        return self

    def answer(self, questions: Sequence[str], contexts: Sequence[str]) -> list[str]:
        """Return an answer to each question, empty where its context has no words."""
        pairs = zip(questions, contexts, strict=True)
        return [self._weighed(*pair).best(self.width, self.reach) for pair in pairs]

    def _weighed(self, question: str, context: str) -> _Weighed:
        spans = [match.span() for match in _WORD.finditer(context)]
        words = [context[start:end].lower() for start, end in spans]
        asked = set(_terms(question))
        idf = np.array([self._idf.get(word, self._rarest) for word in words])
        return _Weighed(context, spans, idf, np.array([word in asked for word in words], bool))


@dataclass(frozen=True, eq=False)
class _Weighed:
    """A context's W words: where they stand, how rare they are, and which the question has."""

    context: str
    spans: list[tuple[int, int]]
    idf: Array
    asked: Array

    def best(self, width: int, reach: int) -> str:
        count = len(self.spans)
        if not count:
            return ""
        width = min(width, count)
        first = np.arange(count - width + 1)
        last = first + width

        def within(values: Array, start: Array, stop: Array) -> Array:
            sums = np.concatenate([[0.0], np.cumsum(values)])
            return np.asarray(sums[np.minimum(stop, count)] - sums[np.maximum(start, 0)])

        of_question = np.where(self.asked, self.idf, 0.0)
        overlap = within(of_question, first - reach, first) + within(
            of_question, last, last + reach
        )
        order = np.lexsort(
            (
                first,
                -within(self.idf, first, last),
                -np.round(overlap, 9),
                within(self.asked, first, last),
            )
        )
        start = int(first[order[0]])
        return self.context[self.spans[start][0] : self.spans[start + width - 1][1]]


class SpanBaseline:
    """The window, fitted on training questions and measured on test questions when called."""

    def __call__(
        self,
        train: QuestionExamples,
        test: QuestionExamples,
        data: QuestionDataset,
        *,
        seed: int = 0,
        bootstrap: int = 1000,
    ) -> dict[str, Any]:
        """Fit, answer and measure.

        Args:
            train: what it is fitted on.
            test: what it is measured on.
            data: plays no part here.
            seed: of the draw of training questions, and of the bootstrap.
            bootstrap: resamples of the test contexts behind each interval.

        Returns:
            What `answer_metrics` says; `n_train`; in seconds `fit_s` and `predict_s`; and the
            window's `width` and `reach`.
        """
        del data
        began = time.perf_counter()
        window = TfidfWindow().fit(train, seed=seed)
        fitted = time.perf_counter()
        answers = _answered(window, test.batches(_AT_ONCE), len(test))
        ended = time.perf_counter()
        return {
            **answer_metrics(
                answers,
                test.golds(),
                contexts=test.context_rows(),
                bootstrap=bootstrap,
                seed=seed,
            ),
            "n_train": len(train),
            "fit_s": fitted - began,
            "predict_s": ended - fitted,
            "width": window.width,
            "reach": window.reach,
        }


def make_tfidf_window(config: Config, data: Dataset) -> SpanBaseline:
    """Return the window baseline, for questions.

    Raises:
        ConfigError: the data are no questions.
    """
    if not isinstance(data, QuestionDataset):
        raise ConfigError(
            f"The baseline tfidf_window answers questions: it is for the task span. "
            f"Received: task {config.task!r}"
        )
    return SpanBaseline()


def _answered(
    window: TfidfWindow, batches: Iterable[list[tuple[str, str]]], total: int
) -> list[str]:
    answers: list[str] = []
    with progress("Answering by the baseline", "questions", total) as advance:
        for batch in batches:
            answers += window.answer(*zip(*batch, strict=True))
            advance(len(batch))
    return answers


def _terms(text: str) -> list[str]:
    return [match.group().lower() for match in _WORD.finditer(text)]
