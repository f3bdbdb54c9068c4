"""How good an adapted model is on rows of a domain, and whose rows it takes them for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from tfhub_transfer.data.examples import Dataset, Examples
from tfhub_transfer.data.schemes import entities
from tfhub_transfer.data.tagged_examples import TaggedDataset, TaggedExamples
from tfhub_transfer.data.word_chunks import word_chunks
from tfhub_transfer.progress import progress
from tfhub_transfer.training.classifier import Classifier

__all__ = ["Measured", "measured", "measured_words"]

_TEXTS_AT_ONCE = 1024

Encode = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class Measured:
    """What came of it.

    Attributes:
        measures: by name, `accuracy` and for tags `f1`; plain JSON types.
        as_target: the share of texts, or of words, that the first output behind the head's own is
            above 0 for.
    """

    measures: dict[str, float]
    as_target: float


def measured(adapted: Classifier, encode: Encode, examples: Examples, data: Dataset) -> Measured:
    """Measure the labels of texts.

    Args:
        adapted: with outputs behind those of the head.
        encode: texts to vectors.
        examples: N labelled rows.
        data: what the model learned from.
    """
    classes = len(data.labels)
    (accuracy,) = adapted.head.metrics()
    as_target = done = 0
    with progress("Measuring", "texts", len(examples)) as advance:
        for said in adapted.predict(examples.batches(_TEXTS_AT_ONCE), encode):
            positions = np.arange(done, done + len(said))
            accuracy.update_state(examples.targets(classes, positions), said[:, :classes])
            as_target += int((said[:, classes] > 0).sum())
            done += len(said)
            advance(len(said))
    return Measured({"accuracy": float(accuracy.result())}, as_target / done)


def measured_words(
    adapted: Classifier, encode: Encode, examples: TaggedExamples, data: TaggedDataset
) -> Measured:
    """Measure the tags of words, and the entities that they spell.

    F1 is conlleval's, over all entities of all types; see `data.schemes`.

    Args:
        adapted: with outputs behind those of the head.
        encode: sentences to vectors.
        examples: N sentences.
        data: what the model learned from.
    """
    columns, lengths, head = len(data.labels), examples.tags.lengths, cast(Any, adapted.head)
    truth = examples.tags.named(data.all_tags)
    found: list[list[str]] = [[] for _ in truth]
    as_target = 0
    with progress("Measuring", "sentences", len(examples)) as advance:
        for positions in word_chunks(lengths):
            (said,) = adapted.predict([examples.texts(positions)], encode)
            counts = lengths[positions]
            decoded = head.decode(said[..., :columns], counts)
            for row, one in zip(positions.tolist(), decoded, strict=True):
                found[row] = one["tags"]
            words = said[:, said.shape[1] - counts.max() :, columns]
            inside = np.arange(counts.max()) < counts[:, np.newaxis]
            as_target += int((words[inside] > 0).sum())
            advance(len(positions))
    total = int(lengths.sum())
    right = sum(sum(map(str.__eq__, *pair)) for pair in zip(truth, found, strict=True))
    there, told = _entities(truth), _entities(found)
    f1 = 2 * len(there & told) / max(len(there) + len(told), 1)
    return Measured({"f1": f1, "accuracy": right / total}, as_target / total)


def _entities(sentences: Sequence[Sequence[str]]) -> set[tuple[Any, ...]]:
    return {(row, *entity) for row, tags in enumerate(sentences) for entity in entities(tags)}
