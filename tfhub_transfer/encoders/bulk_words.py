"""Many texts to the vectors of their words; as fast, and by the same means, as `bulk`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from tfhub_transfer.encoders.bulk import BulkEncoder, by_length, check_precision, two_at_once
from tfhub_transfer.encoders.first_layers import TOKENS
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.encoders.word_pieces import as_inputs
from tfhub_transfer.encoders.word_shapes import word_shapes
from tfhub_transfer.encoders.word_vectors import EmbeddedWords
from tfhub_transfer.errors import EncoderError

__all__ = ["BulkWordEncoder", "bulk_encode"]

# Whose windows are sorted together; a text of 500 words has 400 kB of vectors.
_TEXTS = 1024
_TEXT = tf.TensorSpec([None], tf.string)


def bulk_encode(layer: HubLayer) -> Callable[[Sequence[Any]], np.ndarray]:
    """Return texts to what the layer gives for them, float32[N, ...], the fastest way there is."""
    return BulkEncoder(layer) if layer.by_word is None else BulkWordEncoder(layer).padded


class BulkWordEncoder:
    """Encodes the words of texts with the weights a layer has now.

    Args:
        layer: the encoder, with an output of words.
        precision: of the matrix products.

    Raises:
        EncoderError: bfloat16 was asked for and the SavedModel has no such function; or the layer
            gives no vectors of words.
    """

    def __init__(self, layer: HubLayer, precision: Literal["float32", "bfloat16"] = "float32"):
        if layer.by_word is None:
            raise EncoderError(
                f"The vectors of words are those of a layer with output='words' or "
                f"'text_and_words'. Received: {layer.output_kind!r}"
            )
        check_precision(layer, precision)
        self._words: Any = layer.by_word
        self._shapes = layer.word_shapes
        self._call = {"training": False, "precision": precision}
        self.width = layer.width
        # traced when they are used, once for every batch shape
        self._embed = functools.cache(self._embed_function)
        self._tokenize = functools.cache(self._tokenize_function)
        self._encode = functools.cache(self._encode_function)

    def __call__(
        self, texts: Sequence[str] | Sequence[tuple[str, str]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the vectors of texts, or of pairs of a question and its context.

        Returns:
            float16[total, D], the rows of each text after those of the one before: what the layer
            gives for it, without the padding. And int64[N], how many rows each text has.
        """
        encode = self._embedded if isinstance(self._words, EmbeddedWords) else self._read
        parts = [encode(texts[start : start + _TEXTS]) for start in range(0, len(texts), _TEXTS)]
        if not parts:
            return np.empty((0, self.width), np.float16), np.empty(0, np.int64)
        vectors, lengths = zip(*parts, strict=True)
        return np.concatenate(vectors), np.concatenate(lengths)

    def padded(self, texts: Sequence[str] | Sequence[tuple[str, str]]) -> np.ndarray:
        """Return the same as float32[N, W, D], zeros behind the last row of each text."""
        vectors, lengths = self(texts)
        filled = np.arange(lengths.max(initial=1)) < lengths[:, np.newaxis]
        table = np.zeros((*filled.shape, self.width), np.float32)
        table[filled] = vectors
        return table

    def _embedded(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        rows, lengths, fronts = self._embed()(as_inputs(texts))
        vectors, lengths, is_word = self._room(lengths.numpy(), fronts is not None)
        vectors[is_word] = rows.numpy()
        if fronts is not None:
            vectors[~is_word, : fronts.shape[1]] = fronts.numpy()
        return vectors, lengths

    def _read(
        self, texts: Sequence[str] | Sequence[tuple[str, str]]
    ) -> tuple[np.ndarray, np.ndarray]:
        inputs = as_inputs(texts)
        asked = isinstance(inputs, dict)
        read = self._tokenize(asked)(inputs)
        tokens = {name: value.numpy() for name, value in read.tokens.items()}
        places = read.places.numpy()
        is_place = places >= 0
        window, position = np.divmod(places[is_place], tokens["input_mask"].shape[1])
        encode = self._encode(asked)
        has_front = len(encode.structured_outputs) == 2
        width = encode.structured_outputs[0].shape[-1]
        vectors, lengths, is_word = self._room(is_place.sum(axis=1), has_front)
        row_of_word = np.flatnonzero(is_word)
        fronts = np.empty((len(tokens["input_mask"]), width), np.float32)
        if self._shapes:
            vectors[is_word, width:] = word_shapes(read.words.values)

        def take(batch: tuple[np.ndarray, dict[str, tf.Tensor]]) -> None:
            rows, trimmed = batch
            sequence, *front = (output.numpy() for output in encode(trimmed))
            index = np.full(len(fronts), -1)
            index[rows] = np.arange(len(rows))
            words = np.flatnonzero(index[window] >= 0)
            vectors[row_of_word[words], :width] = sequence[index[window[words]], position[words]]
            if front:
                fronts[rows] = front[0]

        two_at_once(take, by_length(tokens))
        if has_front:  # each text's is the mean over its windows
            begin = np.searchsorted(read.texts.numpy(), np.arange(len(texts)))
            windows = np.diff(begin, append=len(fronts))
            means = np.add.reduceat(fronts, begin) / windows[:, np.newaxis]
            vectors[~is_word, :width] = means
        return vectors, lengths

    def _room(
        self, words: np.ndarray, has_front: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return float16[total, D] to fill, int64[N] lengths, and bool[total], which are words.

        What is not filled is zeros: a text's own vector has no shape.
        """
        lengths = words.astype(np.int64) + has_front
        is_word = np.ones(lengths.sum(), bool)
        if has_front:
            is_word[np.cumsum(lengths) - lengths] = False
        return np.zeros((len(is_word), self.width), np.float16), lengths, is_word

    def _embed_function(self) -> Any:
        words, call = self._words, self._call

        def embed(texts: tf.Tensor) -> Any:
            rows, fronts = words.of_texts(texts, **call)
            return rows.values, rows.row_lengths(), fronts

        return _concrete(embed, _TEXT)

    def _tokenize_function(self, asked: bool) -> Any:
        spec = {"question": _TEXT, "context": _TEXT} if asked else _TEXT
        return _concrete(self._words.tokens, spec)

    def _encode_function(self, asked: bool) -> Any:
        words, call = self._words, self._call

        def encode(tokens: dict[str, tf.Tensor]) -> tuple[tf.Tensor, ...]:
            sequence, front = words.of_windows(tokens, asked=asked, **call)
            return (sequence,) if front is None else (sequence, front)

        return _concrete(encode, TOKENS)


def _concrete(function: Any, spec: Any) -> Any:
    """Trace a function; TensorFlow would warn of many encoders that are traced once each."""
    return tf.function(function, autograph=False).get_concrete_function(spec)
