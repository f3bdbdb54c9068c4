"""What an export does otherwise for each task: its signatures, its checks, what is told of it."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from rich.table import Table

from tfhub_transfer.artifact.predictor import Text
from tfhub_transfer.artifact.serving_files import SENTENCE
from tfhub_transfer.artifact.settings import ExportConfig
from tfhub_transfer.artifact.verification import Expected
from tfhub_transfer.runs import Run
from tfhub_transfer.training.classifier import Classifier

__all__ = ["TaskExport"]


class TaskExport(abc.ABC):
    """One of `--task`, as `export_run` goes through it.

    Args:
        run: a finished one.
        config: of the export.

    Attributes:
        second: the signature beside `serving_default`.
        splitting: whether servers may compute the texts of one request in parts. TensorFlow Serving
            puts parts together that have one shape, and crashes on others (`tensor::Concat`).
        example: an instance of a request, of nobody's data, for those who call the model first.
        texts: of the validation split, maybe pairs; what warms up, is measured and compared.

    Raises:
        TransferError: the run's files are missing, or the settings ask for what this task has not.
    """

    second: ClassVar[str]
    splitting: ClassVar[bool] = True
    example: ClassVar[Any] = SENTENCE
    texts: Sequence[Text]

    def __init__(self, run: Run, config: ExportConfig):
        self.run, self.config = run, config

    @abc.abstractmethod
    def save(self, classifier: Classifier, target: Path) -> int:
        """Write the SavedModel, and return the bytes that its weights take."""

    @abc.abstractmethod
    def expected(self, classifier: Classifier) -> list[Expected]:
        """Return what the Keras model says of validation texts and of `verification.HARD_TEXTS`."""

    @abc.abstractmethod
    def facts(self, described: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the artifact's `metrics.json` has for this task alone.

        Args:
            described: the run's `metrics.json`.
        """

    @staticmethod
    @abc.abstractmethod
    def table(metrics: Mapping[str, Any]) -> Table:
        """Return the terminal's form of what was measured.

        Args:
            metrics: the artifact's `metrics.json`.
        """
