"""A finished run, asked once for each distinct text; what it says is kept on disk."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tfhub_transfer.config import Config
from tfhub_transfer.data.examples import Dataset, Examples
from tfhub_transfer.encoders.bulk import BulkEncoder
from tfhub_transfer.encoders.cache import FeatureCache
from tfhub_transfer.encoders.resolve import resolve
from tfhub_transfer.encoders.store import sha256
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.runs import Run, config_from_dict
from tfhub_transfer.training.classifier import Classifier

__all__ = ["Answers", "Teacher"]

Precision = Literal["float32", "bfloat16"]
_TEXTS_AT_ONCE = 4096
# Probabilities that round to 0 or 1 have logits of this size at most.
_EDGE = 1e-7


class Answers:
    """Numbers for some rows of a text column, read from disk.

    Args:
        cache: holds them.
        examples: the rows.
        places: int64[N], where those of each example are in the cache.
        order: int64[W], which of the cache's numbers stand where; as they are when not given.
    """

    def __init__(
        self,
        cache: FeatureCache,
        examples: Examples,
        places: np.ndarray,
        order: np.ndarray | None = None,
    ):
        self.width = cache.width
        self._cache, self._column = cache, examples.column
        self._order = np.arange(cache.width) if order is None else order
        self._places = np.full(len(examples.column), -1, np.int64)
        self._places[examples.rows] = places

    def known(self, examples: Examples, positions: np.ndarray) -> np.ndarray:
        """Return bool[n], for which of the examples at `positions` there are numbers."""
        if examples.column is not self._column:
            return np.zeros(len(positions), bool)
        return self._places[examples.rows[positions]] >= 0

    def read(self, examples: Examples, positions: np.ndarray) -> np.ndarray:
        """Return float32[n, width], zeros where there are none."""
        values = np.zeros((len(positions), self.width), np.float32)
        known = self.known(examples, positions)
        places = self._places[examples.rows[positions[known]]]
        values[known] = self._cache.read(places)[:, self._order]
        return values


class Teacher:
    """A finished classification run; its model is loaded only where something is to be computed.

    Attributes:
        config: the run's own.
        metrics: its metrics.json.

    Args:
        directory: of the run.
        data: what the student learns; its labels are the order of the answers.
        precision: of its matrix products; as its run has them when not given.

    Raises:
        RunError: there is no finished run.
        ConfigError: it has other labels than the student.
    """

    def __init__(self, directory: str, data: Dataset, precision: Precision | None = None):
        self._run = Run.open(directory)
        self.config: Config = config_from_dict(self._run.load_config())
        self._precision: Precision = precision or self.config.encoder.precision
        self.metrics = self._run.load_metrics()
        self._order = _matched(self.metrics, data, directory)
        self._vectors: FeatureCache | None = None

    def describe(self) -> dict[str, Any]:
        """Return what a report says of the teacher; plain JSON types."""
        return {
            "run": Path(self._run.path).resolve().name,
            "data": self.metrics["data"],
            "encoder": self.metrics["encoder"],
            "strategy": self.metrics["strategy"],
            "accuracy": self.metrics["test"]["accuracy"],
        }

    def logits(self, examples: Examples) -> Answers:
        """Return log p, or with several labels log p / (1 - p): C numbers a row."""
        if self._frozen:
            self.vectors(examples)  # which other runs with this encoder have use for
        cache = FeatureCache.open(f"logits {self._fingerprint}", width=len(self._order))

        def compute(texts: Sequence[str]) -> np.ndarray:
            (p,) = self._classifier.predict([texts], self._encode)
            p = np.clip(p, _EDGE, 1 - _EDGE)
            return np.log(p) - np.log1p(-p) if self.metrics["multi_label"] else np.log(p)

        places = cache.add(examples.batches(_TEXTS_AT_ONCE), compute, total=len(examples))
        return Answers(cache, examples, places, self._order)

    def vectors(self, examples: Examples) -> Answers:
        """Return what the teacher's head sees: D numbers a row; logits then come from these."""
        layer = self._classifier.encoder
        own = f"vectors {self._fingerprint}"
        self._vectors = FeatureCache.open(
            layer.fingerprint if self._frozen else own,
            width=layer.width,
            precision=self._precision,
        )
        texts = examples.batches(_TEXTS_AT_ONCE)
        places = self._vectors.add(texts, self._bulk, total=len(examples))
        return Answers(self._vectors, examples, places)

    def _encode(self, texts: Sequence[str]) -> np.ndarray:
        if self._vectors is None:
            return self._bulk(texts)
        return self._vectors.read(self._vectors.add([texts], self._bulk))

    @property
    def _frozen(self) -> bool:
        return self.config.training.strategy == "feature_extraction"

    @functools.cached_property
    def _fingerprint(self) -> str:
        """Of the weights: those the run stored, and those its encoder's handle brings back."""
        encoder = self.config.encoder
        found = resolve(encoder.name, offline=encoder.offline)
        both = f"{sha256(self._run.model_file)} {found.fingerprint} {self._precision}"
        return hashlib.sha256(both.encode()).hexdigest()

    @functools.cached_property
    def _classifier(self) -> Classifier:
        return Classifier.load(self._run)

    @functools.cached_property
    def _bulk(self) -> BulkEncoder:
        return BulkEncoder(self._classifier.encoder, self._precision)


def _matched(metrics: dict[str, Any], data: Dataset, directory: str) -> np.ndarray:
    """Return int64[C], where each of the student's labels is among the teacher's."""
    theirs = list(metrics["labels"])
    if bool(metrics["multi_label"]) != data.multi_label:
        kinds = {True: "several labels per text", False: "one label per text"}
        raise ConfigError(
            f"The teacher gives {kinds[not data.multi_label]}, and the data has "
            f"{kinds[data.multi_label]}. Received: --distillation.teacher {directory}"
        )
    if set(theirs) != set(data.labels):
        only = {
            "the teacher": [name for name in theirs if name not in data.labels],
            "the data": [name for name in data.labels if name not in theirs],
        }
        differing = "; ".join(
            f"only {who} has {', '.join(map(repr, names[:10]))}{' ...' if names[10:] else ''}"
            for who, names in only.items()
            if names
        )
        raise ConfigError(
            f"The teacher must have the labels of the data: {differing}. "
            f"Received: --distillation.teacher {directory}"
        )
    return np.array([theirs.index(name) for name in data.labels], np.int64)
