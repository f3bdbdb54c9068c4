"""A WordPiece vocabulary, learnt from text with tensorflow-text's own tool.

The tool (Schuster and Nakajima 2012; https://www.tensorflow.org/text/guide/subwords_tokenizer)
takes counted words and a threshold. Counting is done here, in a stream and with bounded memory, and
so is the search for the threshold: the tool's own may end above the size that was asked for.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import tensorflow as tf
from tensorflow_text.python.ops.bert_tokenizer import BasicTokenizer
from tensorflow_text.tools.wordpiece_vocab import wordpiece_tokenizer_learner_lib as learner

from tfhub_transfer.errors import ConfigError
from tfhub_transfer.pretraining.corpus.corpus import Corpus
from tfhub_transfer.pretraining.corpus.reading import read
from tfhub_transfer.pretraining.mlm.piece_vocabulary import SPECIAL
from tfhub_transfer.progress import progress
from tfhub_transfer.runs import atomic_path

__all__ = ["count_words", "learn"]

_BYTES_OF_COUNT = 200  # of a counted word in a dictionary, the word itself included
_BYTES_OF_WORD = 8_000  # of a word in the tool: all of its parts, with their counts
_LONGEST = 50  # characters of a word that the tool takes
_SAVED_SECONDS = 30.0
_TRIES = 6
_SLACK = 1.05
_LEAST_COUNT = 2  # a piece that was seen once is nothing to learn from


def count_words(corpus: Corpus, file: Path, *, lower_case: bool, memory: int) -> Counter[str]:
    """Count the words of a corpus as BERT's tokenizer parts them.

    Args:
        corpus: read once.
        file: where counts are kept, now and then, for a resumed run to continue from.
        lower_case: whether words are lower-cased and lose their accents.
        memory: in bytes; when the distinct words would take a quarter of it, the rarest half of
            them is forgotten.
    """
    tokenizer = BasicTokenizer(lower_case=lower_case)
    room = max(1_000, memory // 4 // _BYTES_OF_COUNT)
    batches, counts = _read(file, corpus)
    if batches < 0:
        return counts
    saved = time.monotonic()
    for number, texts in enumerate(read(corpus, "Counting words")):
        if number < batches:
            continue
        words = tokenizer.tokenize(tf.constant(texts)).flat_values.numpy()
        found = (word.decode("utf-8", "replace") for word in words.tolist())
        counts.update(word for word in found if len(word) <= _LONGEST)
        if len(counts) > room:
            counts = Counter(dict(counts.most_common(room // 2)))
        if time.monotonic() - saved > _SAVED_SECONDS:
            _write(file, corpus, number + 1, counts)
            saved = time.monotonic()
    _write(file, corpus, -1, counts)
    return counts


def learn(counts: Counter[str], size: int, *, memory: int) -> list[str]:
    """Return `size` word pieces in the order of their ids: special ones, characters, the rest.

    Args:
        counts: of words, as the tokenizer parts them.
        size: of the vocabulary.
        memory: in bytes; the most frequent words are learnt from, as many as fit.

    Raises:
        ConfigError: the words have fewer pieces.
    """
    words = counts.most_common(max(1_000, memory // 2 // _BYTES_OF_WORD))
    ranked = [count for _, count in words]
    # every word that is as frequent as the threshold becomes a piece, but for those with rare
    # characters, of which there may be so many that a lower one is needed
    low = max(_LEAST_COUNT, ranked[size - 1]) if len(ranked) >= size else _LEAST_COUNT
    high = max(low, ranked[min(len(ranked), max(1, size // 16)) - 1])
    best: list[str] = []
    threshold = low
    with progress("Learning word pieces", "tries", _TRIES) as advance:
        for _ in range(_TRIES):
            found = _pieces(words, threshold, size)
            advance(1)
            if len(found) >= size:
                best, low = found, threshold + 1
            elif best or threshold > _LEAST_COUNT:
                high = threshold - 1
                low = low if best else _LEAST_COUNT
            else:
                more = "more text" if len(words) == len(counts) else "a larger --memory"
                raise ConfigError(
                    f"Too few words for such a vocabulary: the pieces of {len(words):,} of the "
                    f"corpus' {len(counts):,} words that occur {_LEAST_COUNT} times or more are "
                    f"{len(found):,}, special ones included. Accepted: a --vocabulary of at most "
                    f"that, or {more}. Received: {size:,}"
                )
            if low > high or (best and len(best) <= size * _SLACK):
                break
            # counts of words fall like powers of their rank
            threshold = round((low * high) ** 0.5) if best else _LEAST_COUNT
    # the last pieces are the rarest
    return best[:size]


def _pieces(words: list[tuple[str, int]], threshold: int, size: int) -> list[str]:
    """Return the tool's word pieces for one threshold."""
    found: list[str] = learner.learn(
        words,
        size,
        list(SPECIAL),
        lower_thresh=threshold,
        upper_thresh=threshold,
        max_input_tokens=-1,
        # each of them becomes two pieces, at the beginning of words and within
        max_unique_chars=max(1_000, size // 4),
    )
    return found


def _read(file: Path, corpus: Corpus) -> tuple[int, Counter[str]]:
    """Return how many batches of this corpus were counted, -1 for all, and the counts."""
    if not file.exists():
        return 0, Counter()
    kept = json.loads(file.read_text(encoding="utf-8"))
    if kept["corpus"] != corpus.fingerprint:
        return 0, Counter()
    return int(kept["batches"]), Counter(kept["counts"])


def _write(file: Path, corpus: Corpus, batches: int, counts: Counter[str]) -> None:
    content = {"corpus": corpus.fingerprint, "batches": batches, "counts": counts}
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
