"""Words and their vectors -> a text embedding as TF Hub publishes nnlm and swivel.

A text's vector is the sum of its words' vectors over the square root of their number, which is how
TF Hub describes its nnlm modules. Words outside the vocabulary share hash buckets.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfhub_transfer.encoders.reusable import save_reusable
from tfhub_transfer.errors import EncoderError
from tfhub_transfer.pretraining.words.splitting import Normalization, graph_splitter

__all__ = ["TextEmbedding", "write_text_embedding"]


class TextEmbedding(tf.Module):
    """string[B] -> float32[B, D], with core TensorFlow ops alone.

    Args:
        vocabulary: a file of V words, one a line; it becomes an asset.
        vectors: float32[V + O, D]: those of the words, then those of O hash buckets.
        normalization: of the text, before it is split.
    """

    def __init__(self, vocabulary: Path, vectors: np.ndarray, normalization: Normalization):
        super().__init__(name="text_embedding")
        with vocabulary.open("rb") as lines:
            words = sum(1 for _ in lines)
        self.embeddings = tf.Variable(vectors, dtype=tf.float32, name="embeddings")
        self.table = tf.lookup.StaticVocabularyTable(
            tf.lookup.TextFileInitializer(
                str(vocabulary),
                key_dtype=tf.string,
                key_index=tf.lookup.TextFileIndex.WHOLE_LINE,
                value_dtype=tf.int64,
                value_index=tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            num_oov_buckets=len(vectors) - words,
        )
        self._split = graph_splitter(normalization)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def __call__(self, text: tf.Tensor) -> tf.Tensor:
        """Return the texts' vectors; that of a text without words is zero."""
        words = self._split(text)
        vectors = tf.gather(self.embeddings, self.table.lookup(words.values))
        counts = tf.cast(words.row_lengths(), tf.float32)
        total = tf.math.segment_sum(vectors, words.value_rowids())
        # segments end with the last text that has words
        total = tf.pad(total, [[0, tf.shape(text)[0] - tf.shape(total)[0]], [0, 0]])
        return total / tf.sqrt(tf.maximum(counts, 1.0))[:, tf.newaxis]


def write_text_embedding(
    target: Path, words: Sequence[str], vectors: np.ndarray, normalization: Normalization
) -> None:
    """Write a Reusable SavedModel for `hub.load`, trainable, with its vocabulary as an asset.

    Args:
        target: an existing directory.
        words: V of them, each once.
        vectors: float32[V + O, D]: those of the words, then those of O hash buckets.
        normalization: with which the words were counted.

    Raises:
        EncoderError: words and vectors do not go together.
    """
    distinct = len(set(words)) == len(words)
    if not (distinct and len(vectors) > len(words) and np.isfinite(vectors).all()):
        raise EncoderError(
            f"A text embedding has distinct words, a vector of numbers for each, and one at least "
            f"for words outside the vocabulary. Received: {len(words)} words, {len(set(words))} of "
            f"them distinct, and vectors of shape {vectors.shape}"
        )
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Path(folder) / "vocabulary.txt"
        vocabulary.write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
        module = TextEmbedding(vocabulary, vectors, normalization)
        save_reusable(
            module,
            target,
            functions={"__call__": module.__call__},
            signatures=module.__call__,
            resources=[module.table],
        )
