"""Labels of whole texts, in an export: calibrated probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from rich.table import Table

from tfhub_transfer.artifact.predictor import DEFAULT_SIGNATURE, OF_EXAMPLES
from tfhub_transfer.artifact.settings import ExportConfig
from tfhub_transfer.artifact.signatures import save_classifier, without_activation
from tfhub_transfer.artifact.task import TaskExport
from tfhub_transfer.artifact.verification import HARD_TEXTS, Expected
from tfhub_transfer.evaluation.calibration import calibrate
from tfhub_transfer.evaluation.predictions import Predictions
from tfhub_transfer.runs import Run, config_from_dict
from tfhub_transfer.training.classifier import Classifier

__all__ = ["ClassificationExport"]

_VERIFIED_TEXTS = 64  # of the validation split, besides the hard ones
_SEPARATOR = "|"  # between labels, where the run's data has none of its own


class ClassificationExport(TaskExport):
    """One label, or several, for a whole text."""

    second = OF_EXAMPLES

    def __init__(self, run: Run, config: ExportConfig):
        super().__init__(run, config)
        predictions = Predictions.load(run)
        self.texts = predictions.texts
        self._calibration = calibrate(
            predictions, temperature=config.calibrate, precision=config.reject_precision
        )

    def save(self, classifier: Classifier, target: Path) -> int:
        """Write the SavedModel, and return the bytes that its weights take."""
        separator = config_from_dict(self.run.load_config()).data.label_separator
        return save_classifier(
            classifier.encoder,
            classifier.head,
            classifier.network,
            target,
            temperature=self._calibration.temperature,
            threshold=self._calibration.threshold,
            separator=separator or _SEPARATOR,
        )

    def expected(self, classifier: Classifier) -> list[Expected]:
        """Return the Keras model's probabilities, calibrated, under both signatures."""
        texts = [*self.texts[:_VERIFIED_TEXTS], *HARD_TEXTS]
        logits = without_activation(classifier.network)(classifier.encoder(tf.constant(texts)))
        activation = tf.sigmoid if classifier.head.multi_label else tf.nn.softmax
        probabilities: np.ndarray = activation(logits / self._calibration.temperature).numpy()
        return [
            Expected(DEFAULT_SIGNATURE, texts, {"probabilities": probabilities}),
            Expected(OF_EXAMPLES, texts, {"scores": probabilities}),
        ]

    def facts(self, described: Mapping[str, Any]) -> dict[str, Any]:
        """Return how many labels a text may have, and the calibration."""
        return {
            "multi_label": described["multi_label"],
            "calibration": self._calibration.metrics,
        }

    @staticmethod
    def table(metrics: Mapping[str, Any]) -> Table:
        """Return what calibration and a reject threshold changed."""
        table = Table()
        table.add_column("what")
        table.add_column("validation", justify="right")
        table.add_column("test", justify="right")
        for name, validation, test in _rows(metrics["calibration"]):
            table.add_row(name, validation, test)
        return table


def _rows(calibration: dict[str, Any]) -> list[tuple[str, str, str]]:
    validation, test = calibration["validation"], calibration["test"]
    rows = [
        ("rows", f"{validation['n']:,}", f"{test['n']:,}"),
        ("calibration error, before", *_both(validation, test, "ece_before")),
    ]
    if calibration["temperature"] != 1.0:
        after = f"calibration error, temperature {calibration['temperature']:.3f}"
        rows.append((after, *_both(validation, test, "ece_after")))
    if calibration["threshold"] is not None:
        threshold = f"score {calibration['threshold']:.3f} or more"
        rows += [
            (f"right, of the labels given ({threshold})", *_both(validation, test, "precision")),
            ("texts that get a label", *_both(validation, test, "coverage")),
        ]
    return rows


def _both(validation: dict[str, Any], test: dict[str, Any], name: str) -> tuple[str, str]:
    return _number(validation[name]), _number(test[name])


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
