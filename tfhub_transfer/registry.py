"""Names that a configuration may use, and where their code is.

A registry holds import paths, not objects, so that the command line knows every name at once and
pays for TensorFlow only when one is used.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Iterator
from typing import Any

from tfhub_transfer.errors import ConfigError, UnknownNameError


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` when a known name is close to `name`, else an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


class Registry:
    """A table from a name to `"module:attribute"`, imported when used."""

    def __init__(self, kind: str, entries: dict[str, str]):
        self.kind = kind
        self._entries: dict[str, str] = {}
        for name, target in entries.items():
            self.add(name, target)

    def add(self, name: str, target: str) -> None:
        """Register `target`, an import path `"module:attribute"`, under `name`.

        Raises:
            ConfigError: `name` is taken, or `target` is no import path.
        """
        if name in self._entries:
            raise ConfigError(
                f"The {self.kind} {name!r} is registered already, as {self._entries[name]!r}. "
                f"A name stands for one thing. Received: {target!r}"
            )
        if target.count(":") != 1:
            raise ConfigError(
                f"A {self.kind} is registered as 'module:attribute'. Received: {target!r}"
            )
        self._entries[name] = target

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def check(self, name: str) -> None:
        """Raise UnknownNameError, naming the closest match, unless `name` is registered."""
        if name not in self._entries:
            raise UnknownNameError(
                f"Unknown {self.kind}.{did_you_mean(name, self._entries)} "
                f"Accepted: {', '.join(self._entries)}. Received: {name!r}"
            )

    def load(self, name: str) -> Any:
        """Import and return what is registered under `name`.

        Raises:
            UnknownNameError: no such name; the text names the closest one.
        """
        self.check(name)
        module, attribute = self._entries[name].split(":")
        return getattr(importlib.import_module(module), attribute)


TASKS = Registry(
    "task",
    {
        "classification": "tfhub_transfer.heads.classification:ClassificationHead",
        "tagging": "tfhub_transfer.heads.tagging:TaggingHead",
        "span": "tfhub_transfer.heads.span:SpanHead",
    },
)

EVALUATIONS = Registry(
    "task",
    {
        "classification": "tfhub_transfer.evaluation.classification:Classification",
        "tagging": "tfhub_transfer.evaluation.tagging:Tagging",
        "span": "tfhub_transfer.evaluation.answering:Answering",
    },
)

EXPORTS = Registry(
    "task for export",
    {
        "classification": "tfhub_transfer.artifact.classification:ClassificationExport",
        "tagging": "tfhub_transfer.artifact.tagging:TaggingExport",
        "span": "tfhub_transfer.artifact.answering:AnsweringExport",
    },
)

LABELLERS = Registry(
    "task for predict",
    {
        "classification": "tfhub_transfer.evaluation.labellers:TextLabeller",
        "tagging": "tfhub_transfer.evaluation.labellers:WordLabeller",
        "span": "tfhub_transfer.evaluation.labellers:AnswerLabeller",
    },
)

STRATEGIES = Registry(
    "strategy",
    {
        "feature_extraction": "tfhub_transfer.training.feature_extraction:FeatureExtraction",
        "fine_tuning": "tfhub_transfer.training.fine_tuning:FineTuning",
        "contrastive": "tfhub_transfer.training.contrastive:Contrastive",
        "distillation": "tfhub_transfer.training.distillation:Distillation",
        "dann": "tfhub_transfer.training.adaptation:Dann",
        "coral": "tfhub_transfer.training.adaptation:DeepCoral",
    },
)

BASELINES = Registry(
    "baseline",
    {
        "majority": "tfhub_transfer.evaluation.baselines:make_majority",
        "tfidf_logreg": "tfhub_transfer.evaluation.baselines:make_tfidf_logreg",
        "linear_probe": "tfhub_transfer.evaluation.linear_probe:make_linear_probe",
        "textblob": "tfhub_transfer.evaluation.polarity:make_textblob",
        # of words, for tagging
        "frequent_tag": "tfhub_transfer.evaluation.tagging_baselines:make_frequent_tag",
        "hmm": "tfhub_transfer.evaluation.tagging_baselines:make_hmm",
        "crf_features": "tfhub_transfer.evaluation.tagging_baselines:make_crf_features",
        # of questions
        "tfidf_window": "tfhub_transfer.evaluation.span_baseline:make_tfidf_window",
    },
)

BASELINE_TASKS = dict.fromkeys(BASELINES, "classification")
"""What each baseline is for."""
BASELINE_TASKS |= dict.fromkeys(("frequent_tag", "hmm", "crf_features"), "tagging")
BASELINE_TASKS["tfidf_window"] = "span"

FORMATS = Registry(
    "format",
    {
        "tflite": "tfhub_transfer.artifact.tflite:convert",
        "onnx": "tfhub_transfer.artifact.onnx:convert",
    },
)

PRETRAINERS = Registry(
    "pre-training",
    {
        "swivel": "tfhub_transfer.pretraining.swivel.run:train",
        "nnlm": "tfhub_transfer.pretraining.nnlm.run:train",
        "mlm": "tfhub_transfer.pretraining.mlm.run:train",
    },
)
