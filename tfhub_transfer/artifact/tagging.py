"""Tags of words, in an export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from rich.table import Table

from tfhub_transfer.artifact.predictor import DEFAULT_SIGNATURE, OF_WORDS
from tfhub_transfer.artifact.settings import ExportConfig
from tfhub_transfer.artifact.tagger import save_tagger
from tfhub_transfer.artifact.task import TaskExport
from tfhub_transfer.artifact.verification import HARD_TEXTS, Expected
from tfhub_transfer.encoders.words import split_words
from tfhub_transfer.errors import ConfigError, ConversionError
from tfhub_transfer.evaluation.predictions import load_texts
from tfhub_transfer.heads.raw_words import raw_words
from tfhub_transfer.runs import Run
from tfhub_transfer.training.classifier import Classifier

__all__ = ["TaggingExport"]

_VERIFIED_TEXTS = 64  # of the validation split, besides the hard ones
_AT_ONCE = 16
# Of a text that is compared: each text of a batch takes as many vectors as the longest has words.
_CHARACTERS = 4000
_TIES = 0.01


class TaggingExport(TaskExport):
    """A tag for each word, and where the data has one a label for the whole text."""

    second = OF_WORDS
    splitting = False  # answers are as wide as their batch

    def __init__(self, run: Run, config: ExportConfig):
        super().__init__(run, config)
        if config.reject_precision is not None:
            raise ConfigError(
                f"A tagger answers each word with one of its tags, and every tag has a score: "
                f"reject_precision is for task classification, and must not be given. "
                f"Received: {config.reject_precision}"
            )
        if config.format:
            raise ConversionError(
                f"A tagger is not converted to other formats: how words are parted, and tags are "
                f"decided, takes ops that their runtimes do not have. Accepted: no --format, or a "
                f"run of task classification. Received: --format {', '.join(config.format)}"
            )
        self.texts = load_texts(run)

    def save(self, classifier: Classifier, target: Path) -> int:
        """Write the SavedModel, and return the bytes that its weights take."""
        return save_tagger(classifier.encoder, classifier.head, classifier.network, target)

    def expected(self, classifier: Classifier) -> list[Expected]:
        """Return the scores that the Keras model gives, and its intents' probabilities.

        Those of validation sentences go with the signature `words`, for their words are parted
        already; the hard texts are raw.
        """
        head, columns = classifier.head, classifier.network.output_shape[-1]
        decide = tf.function(
            head.decide,
            [tf.TensorSpec([None, None, columns]), tf.TensorSpec([None], tf.int32)],
        )
        found = []
        hard = [text[:_CHARACTERS] for text in HARD_TEXTS]
        for signature, texts in [
            *((OF_WORDS, part) for part in _parts(self.texts[:_VERIFIED_TEXTS])),
            *((DEFAULT_SIGNATURE, part) for part in _parts(hard)),
        ]:
            read = tf.constant(texts)
            if signature == OF_WORDS:
                words = split_words(read, "spaces")
            else:
                words, read = raw_words(read)
            lengths = tf.cast(words.words.row_lengths(), tf.int32)
            decided = decide(classifier.network(classifier.encoder(read)), lengths)
            outputs = {"scores": decided.scores.numpy()}
            if decided.intents is not None:
                outputs["intent_probabilities"] = decided.intents.numpy()
            found.append(Expected(signature, texts, outputs, ties=_TIES))
        return found

    def facts(self, described: Mapping[str, Any]) -> dict[str, Any]:
        """Return the labels of whole texts, none where there are none."""
        return {"intents": described["intents"]}

    @staticmethod
    def table(metrics: Mapping[str, Any]) -> Table:
        """Return what was measured on the test sentences."""
        test = metrics["test"]
        table = Table()
        table.add_column("what")
        table.add_column("test", justify="right")
        table.add_row("sentences", f"{test['n']:,}")
        rows = {"entity F1": "f1", "precision": "precision", "recall": "recall"}
        rows |= {"words with the right tag": "accuracy"}
        if metrics["intents"]:
            rows["right intents"] = "intent_accuracy"
        for name, key in rows.items():
            table.add_row(name, f"{test[key]:.4f}")
        return table


def _parts(texts: Sequence[str]) -> Iterator[list[str]]:
    for first in range(0, len(texts), _AT_ONCE):
        yield list(texts[first : first + _AT_ONCE])
