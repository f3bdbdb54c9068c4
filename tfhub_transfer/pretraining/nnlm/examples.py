"""A corpus -> the examples of a language model: what it trains on, and what is held out."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from tfhub_transfer.errors import DataError
from tfhub_transfer.pretraining.nnlm.batches import held_out, shuffled, windows
from tfhub_transfer.pretraining.nnlm.settings import NnlmConfig
from tfhub_transfer.pretraining.words.ids import WordIds
from tfhub_transfer.pretraining.words.vocabulary import Vocabulary

__all__ = ["Examples", "rows_of_words"]

# Words that are in memory at a time, and shuffled together: 300 MB with what is made of them.
_CHUNK = 1 << 22
_BYTES_OF_A_WORD = 64
# At least so many texts train for each that is held out.
_LEAST_EVERY = 10


def rows_of_words(known: Vocabulary, words: int, buckets: int) -> np.ndarray:
    """Return the row of the table of vectors that each word has.

    The first V words have their own. Rarer ones have that of their hash bucket, by the hash with
    which the exported graph finds it, so that buckets are trained as they will be used. Words that
    are not known, for their count was pruned, have the row of a place without a word.

    Args:
        known: words by falling count, V and more.
        words: V, so many have their own row.
        buckets: O, rows that the others share.

    Returns:
        int32[len(known) + 2]: of each known word, V + O for any other, and, in the last place,
        which is that of index -1, the -1 that ends a text.
    """
    rows = np.arange(len(known) + 2, dtype=np.int32)
    if rare := known.words[words:]:
        rows[words:-2] = words + tf.strings.to_hash_bucket_fast(rare, buckets).numpy()
    rows[-2:] = words + buckets, -1
    return rows


class Examples:
    """The examples of a corpus.

    Every so many texts one is held out, for about `validation_words` words in all. It is the same
    texts in each epoch and after each resumption.

    Args:
        ids: the corpus.
        known: all of its words.
        words: V, so many are predicted.
        config: context, batch size, seed and the number of words to hold out.

    Attributes:
        held: int32[M, context + 1], the examples that are held out.
        seen: int64[V + O], how often each row of the table stands in the texts that train.
        total: examples that train, in an epoch.
        steps: batches in an epoch.

    Raises:
        DataError: there is nothing to train on, or nothing to hold out.
    """

    def __init__(self, ids: WordIds, known: Vocabulary, words: int, config: NnlmConfig):
        self._ids, self._known, self._words, self._config = ids, known, words, config
        self._rows = rows_of_words(known, words, config.oov_buckets)
        self._before = words + config.oov_buckets
        wanted = math.ceil(ids.tokens / config.validation_words)
        # of few texts, the last one
        self._every = min(ids.texts, max(_LEAST_EVERY, wanted))
        self.seen = np.zeros(self._before, np.int64)
        self._sizes, held = [], []
        for ours, others in self._chunks():
            held.append(self._windows(others))
            self._sizes.append(int(np.count_nonzero((ours >= 0) & (ours < words))))
            self.seen += np.bincount(ours[ours >= 0], minlength=self._before + 1)[:-1]
        whole = np.concatenate(held)
        # whole texts do not train, and of long ones a part is enough to measure
        places = np.linspace(0, len(whole) - 1, min(len(whole), config.validation_words))
        self.held = whole[places.astype(int)]
        self.total = sum(self._sizes)
        self.steps = sum(self._batches_of(size) for size in self._sizes)
        if not (self.total and len(self.held)):
            raise DataError(
                f"A language model needs a text to train on and another to hold out, with words of "
                f"the vocabulary in both. Received: {ids.texts} texts with {ids.tokens} words"
            )

    def batches(self, start: int) -> Iterator[np.ndarray]:
        """Yield the batches of one epoch after the other, without end, from the step `start` on.

        Yields:
            int32[B, context + 1]; the last of a chunk may be smaller.
        """
        epoch, skipped = divmod(start, self.steps)
        while True:
            for number, (ours, _) in enumerate(self._chunks()):
                here = self._batches_of(self._sizes[number])
                if skipped >= here:
                    skipped -= here
                    continue
                random = np.random.default_rng([self._config.seed, 0, epoch, number])
                for batch in shuffled(self._windows(ours), self._config.batch_size, random):
                    if skipped:
                        skipped -= 1
                    else:
                        yield batch
            epoch += 1

    def _chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the rows of the texts that train, and of those that are held out."""
        tokens = min(_CHUNK, self._config.memory_bytes // _BYTES_OF_A_WORD)
        texts = 0
        for ids in self._ids.chunks(self._known, tokens):
            rows = self._rows[ids]
            held = held_out(rows, self._every, texts)
            texts += int(np.count_nonzero(rows < 0))
            yield rows[~held], rows[held]

    def _windows(self, rows: np.ndarray) -> np.ndarray:
        return windows(rows, self._config.context, self._before, self._words)

    def _batches_of(self, size: int) -> int:
        return math.ceil(size / self._config.batch_size)
