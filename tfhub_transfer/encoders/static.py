"""A transformer -> a static token embedding, distilled: slower to make than to use.

Each vocabulary entry goes through the transformer once, alone; its vector is reduced to the
leading principal components and weighted by how rare the entry is. A text's vector is the mean over
its tokens, scaled to length one. The recipe is model2vec's
(https://github.com/MinishLab/model2vec), the weighting is Arora et al. 2017's smooth inverse
frequency ("A simple but tough-to-beat baseline for sentence embeddings", section 3), with
frequencies by Zipf's law from the rank in the vocabulary.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.encoders.packing import pieces, special_tokens
from tfhub_transfer.encoders.resolve import Encoder
from tfhub_transfer.encoders.reusable import resources_of, save_reusable
from tfhub_transfer.errors import EncoderError
from tfhub_transfer.progress import progress

_BATCH = 1024
_SMOOTHING = 1e-3  # a in Arora et al.'s a / (a + p)
_ZIPF_OFFSET = 2.7  # Mandelbrot's, for English


class StaticEmbedding(tf.Module):
    """Texts to the mean of their tokens' vectors, scaled to length one; zeros for no tokens.

    Args:
        preprocess: a loaded TF Hub preprocessor, of which `tokenize` is used.
        table: float32[V, D], the vector of each token id.
    """

    def __init__(self, preprocess: tf.Module, table: np.ndarray):
        super().__init__(name="static")
        self._preprocess = preprocess
        self._table = tf.Variable(table, name="embeddings")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def __call__(self, text: tf.Tensor) -> tf.Tensor:
        """Return float32[B, D]. No text is cut, however long."""
        tokens = pieces(self._preprocess.tokenize(text))
        vectors = tf.gather(self._table, tokens.values)
        total = tf.math.unsorted_segment_sum(vectors, tokens.value_rowids(), tf.shape(text)[0])
        return tf.math.l2_normalize(total, axis=-1)


def build(encoder: Encoder, target: Path, *, width: int = 256, bits: int | None = None) -> None:
    """Distil `encoder`, a transformer, and write the static embedding to `target`.

    Args:
        encoder: what `encoders.resolve` returned.
        target: the directory of the new SavedModel.
        width: D, the number of principal components kept.
        bits: round the table's values to multiples of a power of two, so that the largest takes
            this many bits, sign included. The values stay float32; the files compress better.

    Raises:
        EncoderError: the encoder is no transformer, or narrower than `width`.
    """
    if encoder.preprocess is None:
        raise EncoderError(
            f"A static embedding is distilled from a transformer. Received: {encoder.handle}, "
            f"a text embedding"
        )
    layer = HubLayer(encoder)
    if width > layer.width:
        raise EncoderError(
            f"{encoder.handle} has vectors of {layer.width}; the static embedding cannot have "
            f"more. Received: width {width}"
        )
    vectors = _token_vectors(layer)
    table = _principal_components(vectors, width) * _rarity(len(vectors))[:, np.newaxis]
    if bits is not None:
        table = _rounded(table, bits)
    preprocess = tf.saved_model.load(str(encoder.preprocess))
    module = StaticEmbedding(preprocess, table)
    save_reusable(
        module,
        target,
        functions={"__call__": module.__call__},
        signatures=module.__call__,
        resources=resources_of(preprocess),
    )


def _token_vectors(layer: HubLayer) -> np.ndarray:
    """Return the transformer's output for each vocabulary entry between start and end token."""
    start, end, _ = special_tokens(layer.preprocess, layer.encoder.handle)
    tables = [w for w in layer.weights if re.search(r"word\w*/embeddings$", w.path)]
    if len(tables) != 1:
        raise EncoderError(
            f"{layer.encoder.handle} should have one table of word embeddings. "
            f"Received: {[table.path for table in tables]}"
        )
    entries = tables[0].shape[0]
    encode = tf.function(
        lambda ids: layer(
            {
                "input_word_ids": ids,
                "input_mask": tf.ones_like(ids),
                "input_type_ids": tf.zeros_like(ids),
            }
        ),
        input_signature=[tf.TensorSpec([None, 3], tf.int32)],
    )
    vectors = []
    with progress("Distilling", "tokens", entries) as advance:
        for first in range(0, entries, _BATCH):
            token = np.arange(first, min(first + _BATCH, entries), dtype=np.int32)
            ids = np.stack([np.full_like(token, start), token, np.full_like(token, end)], axis=1)
            vectors.append(encode(tf.constant(ids)).numpy())
            advance(len(token))
    return np.concatenate(vectors)


def _principal_components(vectors: np.ndarray, width: int) -> np.ndarray:
    centred = vectors - vectors.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    reduced: np.ndarray = centred @ directions[:width].T
    return reduced


def _rarity(entries: int) -> np.ndarray:
    """Return each entry's weight, float32[V]; vocabularies list the frequent ones first."""
    frequency = 1.0 / (np.arange(entries) + _ZIPF_OFFSET)
    frequency /= frequency.sum()
    return (_SMOOTHING / (_SMOOTHING + frequency)).astype(np.float32)


def _rounded(table: np.ndarray, bits: int) -> np.ndarray:
    step = 2.0 ** np.ceil(np.log2(np.abs(table).max() / (2 ** (bits - 1) - 1)))
    rounded: np.ndarray = np.round(table / step) * step
    return rounded.astype(np.float32)
