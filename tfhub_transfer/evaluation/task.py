"""What an experiment does otherwise for each task: its rows, its measures, its page."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from tfhub_transfer.config import Config, DataConfig
from tfhub_transfer.data.examples import Dataset
from tfhub_transfer.data.splits import LabelledExamples
from tfhub_transfer.evaluation.baselines import ready_baselines
from tfhub_transfer.evaluation.page import Page
from tfhub_transfer.evaluation.predictions import sample_texts, save_texts
from tfhub_transfer.runs import Run
from tfhub_transfer.training.classifier import Classifier

__all__ = ["Task"]

Encode = Callable[[Sequence[str]], Any]


class Task(abc.ABC):
    """One of `--task`, as `run_experiment` and `score_run` go through it.

    Args:
        config: of the run.
    """

    def __init__(self, config: Config):
        self.config = config

    @abc.abstractmethod
    def load(self, rejected: Path | None = None) -> Dataset:
        """Return the data set that the configuration names.

        Args:
            rejected: a file for the rows that cannot be used, written if there are any.
        """

    def prepared(self, data: Dataset, classifier: Classifier) -> Dataset:
        """Return the data set as a model is trained on it, once its encoder is there."""
        del classifier
        return data

    @abc.abstractmethod
    def load_other(
        self, data: DataConfig, classifier: Classifier, rejected: Path
    ) -> LabelledExamples:
        """Return rows of another data set, under the labels of a trained model."""

    def rows(self, data: Dataset, split: str) -> LabelledExamples:
        """Return a split of the run's own data set, as `load_other` returns other rows."""
        return LabelledExamples(data.name, getattr(data, split), data.notes, {})

    def ready_baselines(self, data: Dataset) -> dict[str, Any]:
        """Return what `evaluation.baselines` names, before anything is trained for long."""
        return ready_baselines(self.config, data)

    @abc.abstractmethod
    def fit_baselines(
        self, baselines: Mapping[str, Any], data: Dataset
    ) -> tuple[dict[str, Any], Sequence[str]]:
        """Return the measures of each on the test rows, and what a report says of them."""

    def settle(
        self, classifier: Classifier, rows: LabelledExamples, encode: Encode | None = None
    ) -> None:
        """Find what a trained model's answers also depend on, by the validation rows."""
        return

    @abc.abstractmethod
    def answer(
        self, classifier: Classifier, rows: LabelledExamples, encode: Encode | None = None
    ) -> Any:
        """Return what a trained model says of rows.

        Args:
            classifier: the model.
            rows: N of them.
            encode: texts to vectors, as a strategy left it; the model's own way when not given.
        """

    @abc.abstractmethod
    def measure(
        self, classifier: Classifier, rows: LabelledExamples, answers: Any, *, bootstrap: int
    ) -> dict[str, Any]:
        """Return the measures of what `answer` returned, as `metrics.json` holds them in `test`."""

    def keep(self, run: Run, data: Dataset, validation: Any, test: Any) -> None:
        """Write what `export` needs: texts to warm up with, and of the answers what a task adds."""
        save_texts(run, sample_texts(data.validation, self.config.seed))

    def summary(self, data: Dataset) -> dict[str, Any]:
        """Return the data set's summary as a report takes it, the classes by their names."""
        summary = dict(data.summary)
        splits = {}
        for name in ("train", "validation", "test"):
            split = summary.pop(name)
            splits[name] = {**split, "class_counts": self.counts(data, split)}
        return {"splits": splits, **summary}

    def counts(self, data: Dataset, split: Mapping[str, Any]) -> dict[str, int]:
        """Return how often each class stands in a split, of which `Dataset.summary` has this."""
        return dict(zip(data.labels, split["class_counts"], strict=True))

    @abc.abstractmethod
    def write_report(
        self, run: Run, page: Page, classifier: Classifier, rows: LabelledExamples, answers: Any
    ) -> None:
        """Write `report.html` and its figures.

        Args:
            run: gets them.
            page: what is told of any run.
            classifier: the model.
            rows: what it was measured on.
            answers: what `answer` returned for them.
        """

    @staticmethod
    @abc.abstractmethod
    def table(metrics: Mapping[str, Any]) -> Table:
        """Return the terminal's form of what `metrics.json` holds."""
