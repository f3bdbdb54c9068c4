"""Answers to questions, in an experiment."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.questions import QuestionDataset, load_answered, load_questions
from tfhub_transfer.data.splits import LabelledExamples
from tfhub_transfer.data.word_chunks import word_chunks
from tfhub_transfer.evaluation.answering_report import answer_table, worst_answers, write_report
from tfhub_transfer.evaluation.answers import answer_metrics, best_threshold
from tfhub_transfer.evaluation.located import Answer, answers_to, words_about
from tfhub_transfer.evaluation.page import Page
from tfhub_transfer.evaluation.span_baseline import SpanBaseline
from tfhub_transfer.evaluation.task import Encode, Task
from tfhub_transfer.heads.raw_words import word_offsets
from tfhub_transfer.progress import progress
from tfhub_transfer.runs import Run
from tfhub_transfer.training.classifier import Classifier

__all__ = ["Answering"]


class Answering(Task):
    """A stretch of a context for each question; what `answer` returns is a list of `Answer`."""

    def load(self, rejected: Path | None = None) -> QuestionDataset:
        """Return the data set that the configuration names."""
        return load_questions(self.config.data, seed=self.config.seed, rejected=rejected)

    def prepared(self, data: QuestionDataset, classifier: Classifier) -> QuestionDataset:
        """Return the data set with answers as words of the encoder."""
        return data.at_words(lambda texts: word_offsets(texts, classifier.head.splitting))

    def load_other(
        self, data: DataConfig, classifier: Classifier, rejected: Path
    ) -> LabelledExamples:
        """Return questions of another data set."""
        return load_answered(data, seed=self.config.seed, rejected=rejected)

    def fit_baselines(
        self, baselines: Mapping[str, SpanBaseline], data: QuestionDataset
    ) -> tuple[dict[str, Any], Sequence[str]]:
        """Return the measures of each, fitted on the same training questions."""
        settings = {"seed": self.config.seed, "bootstrap": self.config.evaluation.bootstrap}
        fitted = {
            name: baseline(data.train, data.test, data, **settings)
            for name, baseline in baselines.items()
        }
        return fitted, ()

    def settle(
        self, classifier: Classifier, rows: LabelledExamples, encode: Encode | None = None
    ) -> None:
        """Find from where on no answer is the better one, where the data has such questions."""
        examples = rows.examples
        if self.config.span.no_answer is not None or not examples.labels.any():
            return
        answers = self.answer(classifier, rows, encode)
        differences = np.array([answer.no_answer for answer in answers])
        texts = [answer.text for answer in answers]
        classifier.head.no_answer = best_threshold(texts, examples.golds(), differences).value

    def answer(
        self, classifier: Classifier, rows: LabelledExamples, encode: Encode | None = None
    ) -> list[Answer]:
        """Return the answer to each question."""
        examples = rows.examples
        answers: list[Any] = [None] * len(examples)
        sizes = np.array([words_about(text) for text in examples.contexts()])
        with progress("Answering", "questions", len(examples)) as advance:
            for chunk in word_chunks(sizes):
                several = answers_to(classifier, examples.encodable(chunk), encode)
                for row, (best, *_) in zip(chunk.tolist(), several, strict=True):
                    answers[row] = best
                advance(len(chunk))
        return answers

    def measure(
        self,
        classifier: Classifier,
        rows: LabelledExamples,
        answers: Sequence[Answer],
        *,
        bootstrap: int,
    ) -> dict[str, Any]:
        """Return exact match and F1, as SQuAD's script has them."""
        return answer_metrics(
            [answer.text for answer in answers],
            rows.examples.golds(),
            contexts=rows.examples.context_rows(),
            bootstrap=bootstrap,
            seed=self.config.seed,
        )

    def write_report(
        self,
        run: Run,
        page: Page,
        classifier: Classifier,
        rows: LabelledExamples,
        answers: Sequence[Answer],
    ) -> None:
        """Write `report.html` and its figures."""
        write_report(run, dataclasses.replace(page, mistakes=worst_answers(rows, answers)))

    @staticmethod
    def table(metrics: Mapping[str, Any]) -> Table:
        """Return the terminal's form of what `metrics.json` holds."""
        return answer_table(metrics)
