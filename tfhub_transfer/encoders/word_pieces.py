"""Words -> word pieces -> words: a transformer's input for texts, and where in it each word is.

A word is known by its first piece (Devlin et al. 2018, arXiv 1810.04805, section 5.3). A question
and its context are one input, of token types 0 and 1 (section 4.2 there).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tfhub_transfer.encoders.packing import SpecialTokens, Tokens, pack, pack_pairs, pieces
from tfhub_transfer.encoders.windows import Windows, best_windows, cover, pieces_before
from tfhub_transfer.encoders.words import Splitting, split_words
from tfhub_transfer.errors import EncoderError

__all__ = ["WordPieces", "WordTokens", "as_inputs", "at_words", "padded_places"]

# Of a script that no vocabulary of word pieces is known to have (Ugaritic).
_UNKNOWN = "\U00010384"


class WordTokens(NamedTuple):
    """B texts as a transformer takes them, in N windows.

    Attributes:
        tokens: input_word_ids, input_mask and input_type_ids, int32[N, S] each; S is the longest.
        places: int32[B, W], where in the N * S tokens the first piece of each word is; -1 after
            a text's last word. W is at least 1.
        texts: int64[N], the text that each window is of.
        words: string[B, (W)], the words themselves.
    """

    tokens: Tokens
    places: tf.Tensor
    texts: tf.Tensor
    words: tf.RaggedTensor


class WordPieces:
    """Cuts words into a transformer's word pieces, and long texts into windows.

    Args:
        preprocess: a loaded TF Hub preprocessor, of which `tokenize` is used.
        special: what it puts around a text.
        limit: tokens of a window, special ones included.
        how: what parts words, as `split_words` takes it.
        handle: of the encoder, for errors.

    Attributes:
        unknown: the id of the piece that a word without any takes, `[UNK]`'s.
    """

    def __init__(
        self, preprocess: Any, special: SpecialTokens, limit: int, how: Splitting, handle: str
    ):
        self._tokenize, self._special = preprocess.tokenize, special
        self._limit, self._how, self._handle = limit, how, handle
        unknown = pieces(self._tokenize(tf.constant([_UNKNOWN]))).values.numpy()
        if not len(unknown):
            raise EncoderError(
                f"{handle} should have a word piece for what its vocabulary does not have. "
                f"Received: none for {_UNKNOWN!r}"
            )
        self.unknown = int(unknown[-1])

    def texts(self, text: tf.Tensor) -> WordTokens:
        """Return the tokens of string[B]."""
        words, ids = self._words(text)
        counts = ids.with_values(ids.values.row_lengths())
        room = tf.fill([counts.nrows()], tf.constant(self._limit - 2, tf.int64))
        windows = cover(counts, room)
        tokens = pack(self._content(ids, windows, room), self._special, self._limit)
        before = tf.ones_like(windows.text)
        return WordTokens(tokens, _places(counts, windows, before, tokens), windows.text, words)

    def questions(self, question: tf.Tensor, context: tf.Tensor) -> WordTokens:
        """Return the tokens of questions, each before all windows of its context, string[B] both.

        Words are those of the contexts.
        """
        words, ids = self._words(context)
        counts = ids.with_values(ids.values.row_lengths())
        asked = pieces(self._tokenize(question))
        kept = self._kept(asked, counts)
        begin = asked.row_starts()
        asked = tf.gather(asked.values, tf.ragged.range(begin, begin + kept))
        room = self._limit - 3 - kept
        windows = cover(counts, room)
        content = self._content(ids, windows, room)
        tokens = pack_pairs(tf.gather(asked, windows.text), content, self._special)
        before = tf.gather(kept, windows.text) + 2
        return WordTokens(tokens, _places(counts, windows, before, tokens), windows.text, words)

    def cut(self, question: tf.Tensor, context: tf.Tensor) -> tf.Tensor:
        """Return int32[B], how many word pieces at the end of each question are not read."""
        _, ids = self._words(context)
        asked = pieces(self._tokenize(question))
        kept = self._kept(asked, ids.with_values(ids.values.row_lengths()))
        return tf.cast(asked.row_lengths() - kept, tf.int32)

    def _words(self, text: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
        """Return words, string[B, (W)], and the ids of their pieces, int32[B, (W), (P)].

        There is at least one piece of each word.
        """
        words = split_words(text, self._how).words
        found = pieces(self._tokenize(words.values))
        none = tf.cast(tf.equal(found.row_lengths(), 0), tf.int64)
        unknown = tf.fill([tf.reduce_sum(none)], self.unknown)
        unknown = tf.RaggedTensor.from_row_lengths(unknown, none, validate=False)
        return words, words.with_values(tf.concat([found, unknown], axis=1))

    def _kept(self, asked: tf.RaggedTensor, counts: tf.RaggedTensor) -> tf.Tensor:
        """Return int64[B], how many word pieces of each question are read.

        All, if question and context fit together. Else half of the room, or what the context
        leaves. (The code for SQuAD that is commonly used reads 64, of a limit of 384.)
        """
        if self._limit < 5:
            raise EncoderError(
                f"A question and its context take at least 5 tokens of {self._handle}. "
                f"Received: encoder.max_tokens {self._limit}"
            )
        room = self._limit - 3
        of_context = tf.reduce_sum(counts, axis=1)
        return tf.minimum(asked.row_lengths(), tf.maximum(room - of_context, room // 2))

    def _content(
        self, ids: tf.RaggedTensor, windows: Windows, room: tf.Tensor
    ) -> tf.RaggedTensor:
        """Return the word pieces of each window, int32[N, (T)]; a word beyond the room is cut."""
        begin = tf.gather(ids.values.row_splits, windows.first)
        end = tf.gather(ids.values.row_splits, windows.last)
        end = tf.minimum(end, begin + tf.gather(room, windows.text))
        return tf.gather(ids.values.values, tf.ragged.range(begin, end))


def _places(
    counts: tf.RaggedTensor, windows: Windows, before: tf.Tensor, tokens: Tokens
) -> tf.Tensor:
    """Return int32[B, W], as `WordTokens` has it.

    Args:
        counts: int64[B, (W)], the word pieces of each word.
        windows: over them.
        before: int64[N], the tokens of each window before its words.
        tokens: of the windows.
    """
    until = pieces_before(counts)
    window = best_windows(windows, until)
    within = until[:-1] - tf.gather(until, tf.gather(windows.first, window))
    length = tf.shape(tokens["input_mask"], tf.int64)[1]
    flat = window * length + tf.gather(before, window) + within
    return _padded(counts.with_values(tf.cast(flat, tf.int32)))


def _padded(places: tf.RaggedTensor) -> tf.Tensor:
    """Return int32[B, W] for int32[B, (W)], with -1 behind; W is at least 1."""
    width = tf.maximum(places.bounding_shape(axis=1), 1)
    return places.to_tensor(-1, shape=tf.stack([places.nrows(), width]))


def padded_places(rows: tf.RaggedTensor) -> tf.Tensor:
    """Return int32[B, W], where in its flat values each row of [B, (W), ...] is, for `at_words`."""
    return _padded(rows.with_values(tf.range(tf.shape(rows.values)[0])))


def at_words(vectors: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """Return float32[B, W, D], the rows of float32[R, D] at int32[B, W]; zeros where it is -1."""
    taken = tf.gather(vectors, tf.maximum(places, 0))
    return taken * tf.cast(places >= 0, vectors.dtype)[..., tf.newaxis]


def as_inputs(texts: Sequence[str] | Sequence[tuple[str, str]]) -> Any:
    """Return what a layer takes for texts, or for pairs of a question and its context."""
    if len(texts) and isinstance(texts[0], tuple):
        question, context = zip(*texts, strict=True)
        return {"question": tf.constant(question), "context": tf.constant(context)}
    return tf.constant(texts, tf.string)
