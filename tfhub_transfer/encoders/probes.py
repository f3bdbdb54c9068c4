"""What a text embedding's vectors say of words: neighbours, and analogies.

Source: Mikolov, Yih and Zweig, "Linguistic regularities in continuous space word representations"
(NAACL 2013), section 4: A is to B as C is to the word whose vector has the highest cosine with
B - A + C, all of length one, A, B and C themselves left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from rich.table import Table
from rich.text import Text

from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.encoders.resolve import Encoder
from tfhub_transfer.errors import EncoderError, UnreadableFileError
from tfhub_transfer.progress import progress
from tfhub_transfer.registry import did_you_mean

__all__ = ["WordProbe", "probe_table"]

_BATCH = 4096
# Entries such as [CLS], <UNK> and ##ing, which are no words.
_NO_WORD = re.compile(r"\[.+\]|<.+>|##.+")
_CLOSE = 50_000  # words among which one of like letters is looked for


class WordProbe:
    """The words of a text embedding's vocabulary, with their vectors.

    Args:
        layer: a text embedding.

    Attributes:
        words: N of them, as they stand in the vocabulary, without entries that are no words.
        vectors: float32[N, D], of length one; of length zero where the encoder's is.

    Raises:
        EncoderError: it is no text embedding, or has no vocabulary among its assets.
    """

    def __init__(self, layer: HubLayer):
        self.words = _vocabulary(layer.encoder)
        self._places = {word: place for place, word in enumerate(self.words)}
        self.vectors = _vectors(layer, self.words)

    def neighbours(self, word: str, count: int = 10) -> list[tuple[str, float]]:
        """Return the words nearest to one of them, and their cosines.

        Raises:
            EncoderError: the word is not in the vocabulary.
        """
        return self._nearest(self._vector(word), count, without=(word,))

    def analogy(self, a: str, b: str, c: str, count: int = 10) -> list[tuple[str, float]]:
        """Return what C is to, as A is to B, the likeliest first, and the cosines.

        Raises:
            EncoderError: one of the words is not in the vocabulary.
        """
        wanted = self._vector(b) - self._vector(a) + self._vector(c)
        return self._nearest(wanted, count, without=(a, b, c))

    def _vector(self, word: str) -> np.ndarray:
        if word not in self._places:
            like = [known for known in self.words[:_CLOSE] if known[:1].lower() == word[:1].lower()]
            raise EncoderError(
                f"This word is not in the encoder's vocabulary of {len(self.words):,} words, so it "
                f"has no vector of its own.{did_you_mean(word, like)} Received: {word!r}"
            )
        vector: np.ndarray = self.vectors[self._places[word]]
        return vector

    def _nearest(
        self, vector: np.ndarray, count: int, without: Sequence[str]
    ) -> list[tuple[str, float]]:
        cosines = self.vectors @ (vector / max(float(np.linalg.norm(vector)), 1e-12))
        cosines[[self._places[word] for word in without]] = -np.inf
        best = np.argsort(-cosines, kind="stable")[:count]
        return [(self.words[n], float(cosines[n])) for n in best if np.isfinite(cosines[n])]


def probe_table(
    layer: HubLayer, neighbours: Sequence[str], analogy: Sequence[str] | None
) -> Table:
    """Return what a person reads of neighbours and an analogy.

    Args:
        layer: a text embedding.
        neighbours: words, of each of which the neighbours are told.
        analogy: A, B and C.

    Raises:
        EncoderError: the layer has no vocabulary, or that has no such word.
    """
    probe = WordProbe(layer)
    found = {f"near {word}": probe.neighbours(word) for word in neighbours}
    if analogy:
        a, b, c = analogy
        found[f"{a} : {b} = {c} :"] = probe.analogy(a, b, c)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("words", no_wrap=True)
    table.add_column("nearest, with the cosine", overflow="fold")
    for title, words in found.items():
        told = ", ".join(f"{word} {cosine:.2f}" for word, cosine in words)
        table.add_row(Text(title), Text(told))
    return table


def _vocabulary(encoder: Encoder) -> tuple[str, ...]:
    """Return the words of the one file among the assets."""
    if encoder.preprocess is not None:
        raise EncoderError(
            f"Words are probed in a text embedding, and this is a transformer, whose vectors "
            f"depend on the text around a word. Received: {encoder.handle}"
        )
    assets = sorted(path for path in Path(encoder.path, "assets").glob("*") if path.is_file())
    if len(assets) != 1:
        raise EncoderError(
            f"Words are probed where an encoder has one vocabulary among its assets, as the nnlm "
            f"and swivel modules do. Received: {encoder.handle}, with "
            f"{', '.join(path.name for path in assets) or 'no assets'}"
        )
    try:
        lines = assets[0].read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise UnreadableFileError(
            f"A vocabulary is text in UTF-8 with a word on each line ({error.reason}). "
            f"Received: {assets[0]}"
        ) from None
    return tuple(dict.fromkeys(line for line in lines if line and not _NO_WORD.fullmatch(line)))


def _vectors(layer: HubLayer, words: Sequence[str]) -> np.ndarray:
    vectors = np.empty((len(words), layer.width), np.float32)
    with progress("Encoding the vocabulary", "words", len(words)) as advance:
        for start in range(0, len(words), _BATCH):
            batch = words[start : start + _BATCH]
            vectors[start : start + len(batch)] = layer(tf.constant(batch)).numpy()
            advance(len(batch))
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors
