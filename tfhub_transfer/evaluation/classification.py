"""Labels of whole texts, in an experiment."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.examples import Dataset
from tfhub_transfer.data.splits import LabelledExamples, load, load_labelled
from tfhub_transfer.evaluation.baselines import Baseline, baseline_rows, measure
from tfhub_transfer.evaluation.metrics import classification_metrics
from tfhub_transfer.evaluation.page import Page
from tfhub_transfer.evaluation.predictions import Predictions, Split, sample_texts
from tfhub_transfer.evaluation.report import (
    Report,
    most_confident_mistakes,
    result_table,
    write_report,
)
from tfhub_transfer.evaluation.task import Encode, Task
from tfhub_transfer.progress import progress
from tfhub_transfer.runs import Run
from tfhub_transfer.training.classifier import Classifier

__all__ = ["Classification"]

_TEXTS_AT_ONCE = 1024


class Classification(Task):
    """One label, or several, for a whole text; answers are probabilities, float32[N, C]."""

    def load(self, rejected: Path | None = None) -> Dataset:
        """Return the data set that the configuration names."""
        return load(
            self.config.data,
            seed=self.config.seed,
            rejected=rejected,
            labels=self.config.adaptation.labels,
        )

    def load_other(
        self, data: DataConfig, classifier: Classifier, rejected: Path
    ) -> LabelledExamples:
        """Return rows of another data set, under the labels of a trained model."""
        head = classifier.head
        return load_labelled(
            data,
            labels=head.labels,
            multi_label=head.multi_label,
            seed=self.config.seed,
            rejected=rejected,
        )

    def fit_baselines(
        self, baselines: Mapping[str, Baseline], data: Dataset
    ) -> tuple[dict[str, Any], Sequence[str]]:
        """Return the measures of each, fitted on the same training rows."""
        if not baselines:
            return {}, ()
        train, notes = baseline_rows(self.config, data)
        fitted = {
            name: measure(baseline, self.config, data, train).metrics
            for name, baseline in baselines.items()
        }
        return fitted, notes

    def answer(
        self, classifier: Classifier, rows: LabelledExamples, encode: Encode | None = None
    ) -> np.ndarray:
        """Return probabilities, float32[N, C]."""
        parts = []
        with progress("Predicting", "texts", len(rows.examples)) as advance:
            for part in classifier.predict(rows.examples.batches(_TEXTS_AT_ONCE), encode):
                parts.append(part)
                advance(len(part))
        return np.concatenate(parts)

    def measure(
        self,
        classifier: Classifier,
        rows: LabelledExamples,
        answers: np.ndarray,
        *,
        bootstrap: int,
    ) -> dict[str, Any]:
        """Return the measures of probabilities, as `metrics.json` holds them in `test`."""
        return classification_metrics(
            rows.examples.labels,
            answers,
            classifier.head.labels,
            bootstrap=bootstrap,
            seed=self.config.seed,
        )

    def keep(self, run: Run, data: Dataset, validation: np.ndarray, test: np.ndarray) -> None:
        """Write what calibration and the check of an export are made from."""
        Predictions(
            Split(data.validation.labels, validation),
            Split(data.test.labels, test),
            sample_texts(data.validation, self.config.seed),
        ).save(run)

    def write_report(
        self,
        run: Run,
        page: Page,
        classifier: Classifier,
        rows: LabelledExamples,
        answers: np.ndarray,
    ) -> None:
        """Write `report.html` and its figures."""
        labels, examples = classifier.head.labels, rows.examples
        mistakes = most_confident_mistakes(
            examples.texts, examples.labels, answers, labels, examples.ids
        )
        told = {item.name: getattr(page, item.name) for item in dataclasses.fields(page)}
        report = Report(
            **{**told, "mistakes": mistakes},
            labels=labels,
            targets=examples.labels,
            probabilities=answers,
        )
        write_report(run, result=report)

    @staticmethod
    def table(metrics: Mapping[str, Any]) -> Table:
        """Return the terminal's form of what `metrics.json` holds."""
        return result_table(metrics)
