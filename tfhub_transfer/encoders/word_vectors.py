"""The vectors of words, as `HubLayer` gives them for the outputs `words` and `text_and_words`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import tensorflow as tf

from tfhub_transfer.encoders.packing import Tokens, Truncation
from tfhub_transfer.encoders.word_pieces import WordPieces, WordTokens, at_words, padded_places
from tfhub_transfer.encoders.word_shapes import word_shapes
from tfhub_transfer.encoders.words import Splitting, check_splitting, split_words
from tfhub_transfer.errors import EncoderError

__all__ = [
    "WORD_OUTPUTS",
    "EmbeddedWords",
    "TransformerWords",
    "WordOutput",
    "check_form",
    "check_words",
]

WordOutput = Literal["words", "text_and_words"]
WORD_OUTPUTS: tuple[str, ...] = ("words", "text_and_words")
# In the place of a word's vector that is all zeros, as padding is; float16 has it, too.
_NO_PADDING = 2.0**-14


class TransformerWords:
    """The vectors of words by a transformer, which reads their text.

    Args:
        pieces: texts to tokens.
        encode: tokens, and `training` and `precision`, to the contract's outputs.
        pool: outputs and tokens to the vectors of texts, float32[N, D].
        output: which of them are asked for.
        shapes: whether a word's shape is part of its vector.
    """

    def __init__(
        self,
        pieces: WordPieces,
        encode: Callable[..., Any],
        pool: Callable[[Any, Tokens], tf.Tensor],
        output: str,
        shapes: bool,
    ):
        self._pieces, self._encode, self._pool, self._output = pieces, encode, pool, output
        self._shapes = shapes

    def __call__(self, inputs: Any, **call: Any) -> tf.Tensor:
        """Return float32[B, W, D], or float32[B, 1 + W, D]; see `HubLayer`."""
        read = self.tokens(inputs)
        sequence, front = self.of_windows(read.tokens, asked=isinstance(inputs, dict), **call)
        vectors = at_words(tf.reshape(sequence, [-1, sequence.shape[-1]]), read.places)
        if self._shapes:
            shapes = read.words.with_values(word_shapes(read.words.values))
            vectors = tf.concat([vectors, _padded(shapes)], axis=2)
        if front is None:
            return vectors
        return _fronted(
            tf.math.unsorted_segment_mean(front, read.texts, tf.shape(vectors)[0]), vectors
        )

    def tokens(self, inputs: Any) -> WordTokens:
        """Return the tokens of string[B], or of `question` and `context`, in windows."""
        if isinstance(inputs, dict):
            return self._pieces.questions(inputs["question"], inputs["context"])
        return self._pieces.texts(inputs)

    def cut(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Return int32[B], how many word pieces of each question there was no room for."""
        return self._pieces.cut(inputs["question"], inputs["context"])

    def of_windows(
        self, tokens: Tokens, *, asked: bool, **call: Any
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Return the vectors of each window, without shapes.

        Args:
            tokens: int32[N, S] each.
            asked: whether they are pairs of question and context.
            **call: `training` and `precision`.

        Returns:
            Of each token, float32[N, S, D], and what stands before each window's words,
            float32[N, D], or None where nothing does.
        """
        outputs = self._encode(tokens, **call)
        sequence = outputs["sequence_output"]
        if asked:
            return sequence, sequence[:, 0]
        return sequence, self._pool(outputs, tokens) if self._output == "text_and_words" else None


class EmbeddedWords:
    """The vectors of words by a text embedding, to which each is a text of its own.

    Args:
        encode: string[B], and `training` and `precision`, to float32[B, D].
        how: what parts words, as `split_words` takes it.
        output: which vectors are asked for.
        shapes: whether a word's shape is part of its vector.
    """

    def __init__(
        self, encode: Callable[..., tf.Tensor], how: Splitting, output: str, shapes: bool
    ):
        self._encode, self._how, self._output, self._shapes = encode, how, output, shapes

    def __call__(self, inputs: tf.Tensor, **call: Any) -> tf.Tensor:
        """Return float32[B, W, D], or float32[B, 1 + W, D]; see `HubLayer`."""
        words, front = self.of_texts(inputs, **call)
        vectors = _padded(words)
        return vectors if front is None else _fronted(front, vectors)

    def of_texts(
        self, texts: tf.Tensor, **call: Any
    ) -> tuple[tf.RaggedTensor, tf.Tensor | None]:
        """Return float32[B, (W), D], and what stands before the words, or None.

        That is float32[B, D], without shapes: D may be less.
        """
        words = split_words(texts, self._how).words
        distinct, which = tf.unique(words.values)
        vectors = self._encode(distinct, **call)
        empty = tf.reduce_all(tf.equal(vectors, 0), axis=-1, keepdims=True)
        vectors = tf.where(empty, _NO_PADDING, vectors)
        if self._shapes:
            vectors = tf.concat([vectors, word_shapes(distinct)], axis=1)
        rows = words.with_values(tf.gather(vectors, which))
        return rows, self._encode(texts, **call) if self._output == "text_and_words" else None


def check_words(output: str, how: str, shapes: bool, truncation: Truncation) -> None:
    """Raise EncoderError unless a layer with this output can read words so."""
    check_splitting(how)
    if shapes and output not in WORD_OUTPUTS:
        raise EncoderError(
            f"Shapes are of words: word_shapes takes output 'words' or 'text_and_words'. "
            f"Received: {output!r}"
        )
    if output in WORD_OUTPUTS and truncation != "head":
        raise EncoderError(
            f"Where words are asked for, long texts are read in windows and nothing of them "
            f"is cut off. Accepted: encoder.truncation 'head'. Received: {truncation!r}"
        )


def check_form(inputs: Any, by_word: TransformerWords | EmbeddedWords | None, output: str) -> None:
    """Raise EncoderError unless a layer with this output has vectors for inputs of this form."""
    if not isinstance(inputs, dict) or (by_word is None and "input_word_ids" in inputs):
        return
    if output != "words" or set(inputs) != {"question", "context"}:
        raise EncoderError(
            f"A layer takes texts as one tensor, or with output='words' the dict of 'question' "
            f"and 'context', or with output='pooled' or 'sequence' a transformer's tokens. "
            f"Received: {sorted(inputs)} with output={output!r}"
        )
    if isinstance(by_word, EmbeddedWords):
        raise EncoderError(
            "A question and its context are read together by a transformer. "
            "Received: a text embedding"
        )


def _padded(rows: tf.RaggedTensor) -> tf.Tensor:
    """Return float32[B, W, D] of float32[B, (W), D], with zeros behind; W is at least 1."""
    # a row of zeros, so that there is one even where there is no word at all
    return at_words(tf.pad(rows.values, [[0, 1], [0, 0]]), padded_places(rows))


def _fronted(front: tf.Tensor, vectors: tf.Tensor) -> tf.Tensor:
    """Return float32[B, 1 + W, D] of float32[B, D], or less of D, and float32[B, W, D]."""
    front = tf.pad(front, [[0, 0], [0, vectors.shape[-1] - front.shape[-1]]])
    return tf.concat([front[:, tf.newaxis], vectors], axis=1)
