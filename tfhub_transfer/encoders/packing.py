"""Word pieces between the special tokens of a transformer, cut and padded to one length."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

import keras
import tensorflow as tf

from tfhub_transfer.errors import EncoderError

__all__ = [
    "SpecialTokens",
    "Truncation",
    "limit_of",
    "pack",
    "pack_pairs",
    "pieces",
    "special_tokens",
    "without_common_padding",
]

Tokens = dict[str, tf.Tensor]
Truncation = Literal["head", "tail", "ends"]


class SpecialTokens(NamedTuple):
    """The ids of what stands before a text, after it, and where there is none."""

    start: int
    end: int
    padding: int


def special_tokens(preprocess: Callable[[tf.Tensor], Tokens], handle: str) -> SpecialTokens:
    """Return what a preprocessor puts around a text and behind it.

    Args:
        preprocess: texts to tokens, int32[B, S] each.
        handle: the encoder's, for the error.

    Raises:
        EncoderError: it is not one token on each side.
    """
    tokens = preprocess(tf.constant(["", "a"]))
    empty = tokens["input_word_ids"][0].numpy()
    length = int(tf.reduce_sum(tokens["input_mask"][0]))
    if length != 2 or len(empty) < 3:
        raise EncoderError(
            f"{handle} should put one token before a text and one after it. "
            f"Received for an empty text: {empty[:length].tolist()}"
        )
    return SpecialTokens(*empty[:3].tolist())


def pieces(tokens: tf.RaggedTensor) -> tf.RaggedTensor:
    """Join the word axis of TF Hub's tokenizers, [B, (words), (pieces)], with the pieces."""
    return tokens.merge_dims(1, 2) if tokens.shape.rank == 3 else tokens


def pack(
    tokens: tf.RaggedTensor,
    special: SpecialTokens,
    max_tokens: int,
    truncation: Truncation = "head",
) -> Tokens:
    """Return a transformer's inputs, padded to the longest row.

    Gathered by position: faster than slices and concatenations of ragged tensors, which TensorFlow
    Lite lacks besides.

    Args:
        tokens: int32[B, (T)], without special tokens.
        special: what goes around them.
        max_tokens: of a row, special ones included; the rest of a longer text is cut off.
        truncation: what is left of it: its head, its tail, or of both ends as much as fits, a
            quarter of it from the head (128 of 510 tokens in Sun et al. 2019, arXiv 1905.05583,
            section 5.3.1).

    Returns:
        input_word_ids, input_mask and input_type_ids, each int32[B, S].
    """
    room = max_tokens - 2
    whole = tf.cast(tokens.row_lengths(), tf.int32)
    lengths = tf.minimum(whole, room)
    width = tf.reduce_max(tf.concat([lengths, [0]], axis=0)) + 2
    lengths = tf.expand_dims(lengths, 1)
    starts = tf.expand_dims(tf.cast(tokens.row_starts(), tf.int32), 1)
    place = tf.expand_dims(tf.range(width) - 1, 0)  # -1 is before a text's first token
    source = place
    if truncation != "head":
        from_head = {"tail": 0, "ends": room // 4}[truncation]
        source += tf.where(place < from_head, 0, tf.expand_dims(whole, 1) - lengths)
    values = tf.concat([tokens.flat_values, [special.padding]], axis=0)
    nearest = tf.clip_by_value(starts + source, 0, tf.size(values) - 1)
    ids = tf.where(place < lengths, tf.gather(values, nearest), special.padding)
    ids = tf.where(place < 0, special.start, ids)
    ids = tf.where(tf.equal(place, lengths), special.end, ids)
    return {
        "input_word_ids": ids,
        "input_mask": tf.cast(place <= lengths, tf.int32),
        "input_type_ids": tf.zeros_like(ids),
    }


def pack_pairs(
    first: tf.RaggedTensor, second: tf.RaggedTensor, special: SpecialTokens
) -> Tokens:
    """Return a transformer's inputs for pairs, each text with an end token, of types 0 and 1.

    Args:
        first: int32[B, (T)], without special tokens.
        second: int32[B, (U)].
        special: what goes around them.

    Returns:
        input_word_ids, input_mask and input_type_ids, each int32[B, S], S the longest pair's.
    """
    one = tf.ones([first.nrows(), 1], tf.int32)
    start, end = one * special.start, one * special.end
    rows = tf.concat([start, first, end, second, end], axis=1)
    ids = rows.to_tensor(special.padding)
    place = tf.range(tf.shape(ids, tf.int64)[1])
    length = rows.row_lengths()[:, tf.newaxis]
    of_second = (place >= first.row_lengths()[:, tf.newaxis] + 2) & (place < length)
    return {
        "input_word_ids": ids,
        "input_mask": tf.cast(place < length, tf.int32),
        "input_type_ids": tf.cast(of_second, tf.int32),
    }


def without_common_padding(tokens: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Cut tokens, int32[B, S], to the longest row: TF Hub's preprocessors pad all to one length."""
    longest = tf.reduce_max(tf.reduce_sum(tokens["input_mask"], axis=1))
    return {name: value[:, :longest] for name, value in tokens.items()}


def limit_of(
    max_tokens: int | None, weights: Iterable[keras.Variable], preprocess: Any, handle: str
) -> int:
    """Return how many tokens a text, or a window of one, takes.

    Args:
        max_tokens: of each text, special ones included; when not given, as many as the encoder has
            learnt positions, or where there is no table of them as its preprocessor gives.
        weights: of the encoder.
        preprocess: the loaded preprocessor; None for a text embedding.
        handle: of the encoder.

    Raises:
        EncoderError: texts cannot be cut to so many.
    """
    if not hasattr(preprocess, "tokenize"):
        kind = (
            "a text embedding, which reads all of a text"
            if preprocess is None
            else "a transformer whose preprocessor has no function `tokenize`"
        )
        raise EncoderError(
            f"encoder.max_tokens cuts the texts of a transformer. {handle} is {kind}. "
            f"Received: {max_tokens}"
        )
    # as all of TF Hub's and our own call the table of learnt positions
    tables = [w for w in weights if re.search(r"position\w*/embeddings", w.path)]
    positions = [table.shape[0] for table in tables]
    if max_tokens is None and not positions:
        long = tf.constant(["a " * 10_000])
        max_tokens = int(tf.reduce_sum(preprocess(long)["input_mask"]))
    limit = max_tokens or min(positions)
    room = min(positions, default=limit)
    if not 3 <= limit <= room:
        raise EncoderError(
            f"encoder.max_tokens must be between 3 and the {room} positions that {handle} has "
            f"learnt. Received: {limit}"
        )
    return limit
