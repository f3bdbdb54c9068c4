"""The words of a text, and where in it they stand; graph ops that TensorFlow Serving knows.

Regular expressions are RE2's (https://github.com/google/re2/wiki/Syntax), which all regular
expressions of TensorFlow are.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import tensorflow as tf
import tensorflow_text as tf_text

from tfhub_transfer.errors import EncoderError

__all__ = ["Splitting", "Words", "check_splitting", "split_words"]

Splitting = Literal["spaces", "punctuation"]

# White space, controls, and what has no width but joins nothing: marks of direction and order.
_GAP = r"\s\p{Z}\p{Cc}\x{200b}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2060}\x{2066}-\x{2069}\x{feff}"
# Letters, accents, digits and `_`; the soft hyphen and the two joiners stand within words.
_LETTER = r"[\p{L}\p{M}\p{N}\p{Pc}\x{ad}\x{200c}\x{200d}]"
# 3,500 and 10:30 and 1/2, whose marks part words elsewhere.
_UNIT = rf"(?:\p{{N}}(?:[,:/]\p{{N}})*|{_LETTER})"
# U.S, don't, 3.5, e-mail, AT&T, me@example.org
_WORD = rf"{_UNIT}(?:[.'’&@-]?{_UNIT})*"
# Any other character, with its accents, its skin colour and what is joined to it in an emoji.
_MARK = rf"[^{_GAP}](?:\x{{200d}}[^{_GAP}]|\p{{M}}|[\x{{1f3fb}}-\x{{1f3ff}}])*"
_SEGMENT = rf"{_WORD}|{_MARK}|[{_GAP}]+"


class Words(NamedTuple):
    """The words of B texts.

    Attributes:
        words: string[B, (W)].
        starts: int32[B, (W)], the place of each word's first character in its text.
        ends: int32[B, (W)], the place after its last. `text[start:end]` is the word, in Python.
    """

    words: tf.RaggedTensor
    starts: tf.RaggedTensor
    ends: tf.RaggedTensor


def check_splitting(how: str) -> None:
    """Raise EncoderError unless words can be split so."""
    if how not in ("spaces", "punctuation"):
        raise EncoderError(f"words must be 'spaces' or 'punctuation'. Received: {how!r}")


def split_words(text: tf.Tensor, how: Splitting = "spaces") -> Words:
    """Return the words of texts, with their places in Unicode code points.

    What is no UTF-8 counts as U+FFFD, the replacement character.

    Args:
        text: string[B].
        how: `spaces` for words that were joined by one ASCII space each, whatever else is in them:
            joined again they give the text. Two spaces in a row have an empty word between them.
            `punctuation` for text as people write it: white space and controls part words, and
            each mark is a word, but for those within "U.S", "don't", "3.5", "e-mail" and "AT&T".
            In neither way does an empty text have a word.

    Raises:
        EncoderError: there is no such way.
    """
    check_splitting(how)
    text = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")
    if how == "spaces":
        words = _placed(tf.strings.split(text, " "), between=1)
        # an empty text would be one empty word; each word gets the answer, not a copy of the text
        return _kept(words, tf.gather(text != "", words.words.value_rowids()))
    text = tf.strings.regex_replace(text, r"\x00", " ")  # at which `regex_split` would stop
    words = _placed(tf_text.regex_split(text, _SEGMENT, _SEGMENT), between=0)
    gap = tf.strings.regex_full_match(words.words.values, f"[{_GAP}]+")
    return _kept(words, tf.logical_not(gap))


def _placed(segments: tf.RaggedTensor, between: int) -> Words:
    """Return segments, string[B, (W)], that make up a text with `between` characters in between."""
    lengths = tf.strings.length(segments.values, unit="UTF8_CHAR")
    until = tf.cumsum(lengths + between, exclusive=True)
    of_text = tf.gather(segments.row_starts(), segments.value_rowids())
    starts = until - tf.gather(until, of_text)
    return Words(
        segments, segments.with_values(starts), segments.with_values(starts + lengths)
    )


def _kept(words: Words, keep: tf.Tensor) -> Words:
    """Return the words where `keep`, bool[total words], is true."""
    counts = tf.math.unsorted_segment_sum(
        tf.cast(keep, tf.int64), words.words.value_rowids(), words.words.nrows()
    )
    return Words(
        *(
            tf.RaggedTensor.from_row_lengths(
                tf.boolean_mask(part.values, keep), counts, validate=False
            )
            for part in words
        )
    )
