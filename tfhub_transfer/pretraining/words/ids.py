"""A corpus read once, as numbers of words on disk."""

from __future__ import annotations

import functools
import itertools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tfhub_transfer.errors import ConfigError, DataError, RunError
from tfhub_transfer.pretraining.corpus.corpus import Corpus
from tfhub_transfer.pretraining.corpus.reading import read
from tfhub_transfer.pretraining.words.counts import WordCounts
from tfhub_transfer.pretraining.words.splitting import Normalization, splitter
from tfhub_transfer.pretraining.words.vocabulary import Vocabulary
from tfhub_transfer.runs import atomic_path

__all__ = ["WordIds"]

# Of a word in Python's memory at the most, which is while the rarest are forgotten; measured.
_WORD_BYTES = 320
_DICTIONARY_SHARE = 0.5
_SAVE_SECONDS = 30.0
_END = -1  # of a text


class WordIds:
    """The words of a corpus, text by text. Made by `WordIds.read`.

    Attributes:
        texts: how many texts have words.
        tokens: how many words they have together.
        notes: sentences a person should read, as about counts that are too low.
    """

    def __init__(self, reading: _Reading):
        self.texts: int = reading.done["texts"]
        self.tokens: int = reading.done["tokens"]
        self.notes = _notes(reading.counts)
        self._file = reading.ids_file
        self._starts: list[int] = reading.done["starts"]
        self._length: int = reading.done["length"]
        self._counts = reading.counts
        self._order = np.argsort(-self._counts.counts, kind="stable")[: len(self._counts)]

    @classmethod
    def read(
        cls, corpus: Corpus, directory: Path, normalization: Normalization, memory_bytes: int
    ) -> WordIds:
        """Read the corpus into `directory`; go on where it was killed; return at once if whole.

        Args:
            corpus: what to read.
            directory: for this alone; made if it is not there.
            normalization: of the text, before it is split.
            memory_bytes: for the whole pre-training; half of it is for distinct words.

        Raises:
            RunError: what is there is of another corpus, or was read with other settings.
            DataError: there is no text, or no word in it; or a source cannot be read.
        """
        directory.mkdir(parents=True, exist_ok=True)
        asked = {
            "corpus": corpus.fingerprint,
            "normalization": normalization,
            "memory": memory_bytes,
        }
        reading = _Reading.resumed(directory, asked)
        if not reading.done["whole"]:
            reading.go_on(corpus, splitter(normalization))
        return cls(reading)

    def vocabulary(self, size: int, min_count: int = 1) -> Vocabulary:
        """Return the `size` most frequent words; of equally frequent ones, those that came first.

        Raises:
            ConfigError: fewer words stand there `min_count` times.
        """
        enough = int(np.count_nonzero(self._counts.counts >= min_count))
        if enough < size:
            smaller = f"--vocabulary {enough} or less, " if enough else ""
            raise ConfigError(
                f"The corpus has fewer words than a vocabulary of {size:,} takes: {enough:,} of "
                f"its {len(self._counts):,} words stand in it {min_count} times or more. Give "
                f"{smaller}a lower --min_count, or more text. "
                f"Received: vocabulary {size}, min_count {min_count}"
            )
        return self._first(size)

    def known(self) -> Vocabulary:
        """Return all words, in the same order."""
        return self._first(len(self._order))

    def chunks(self, vocabulary: Vocabulary, tokens: int) -> Iterator[np.ndarray]:
        """Yield whole texts, in the corpus' order, as int32[n] of the vocabulary's ids.

        V stands for each word outside the vocabulary, and -1 after each text. Two calls yield the
        same chunks.

        Args:
            vocabulary: of V words, as `vocabulary` or `known` returned it.
            tokens: n is at most this, but for a longer text, which comes alone.
        """
        size = len(vocabulary)
        # its last element is that of the index -1
        ids = np.full(len(self._counts.counts) + 1, size, np.int32)
        ids[self._order[:size]] = np.arange(size, dtype=np.int32)
        ids[-1] = _END
        for period, (start, stop) in enumerate(
            itertools.pairwise([*self._starts, self._length])
        ):
            # numbers that another word had in that period
            later = np.flatnonzero(self._counts.since > period)
            ids_then = ids
            if len(later):
                ids_then = ids.copy()
                ids_then[later] = size
            for numbers in self._whole_texts(start, stop, tokens):
                yield ids_then[numbers]

    def _first(self, size: int) -> Vocabulary:
        words, order = self._words, self._order[:size]
        return Vocabulary(
            tuple(words[number] for number in order.tolist()), self._counts.counts[order]
        )

    @functools.cached_property
    def _words(self) -> dict[int, str]:
        return self._counts.words()

    def _whole_texts(self, start: int, stop: int, tokens: int) -> Iterator[np.ndarray]:
        """Yield the numbers that stand in the file from `start` to `stop`, cut after texts."""
        size = tokens
        while start < stop:
            numbers = np.fromfile(
                self._file, np.int32, min(size, stop - start), offset=start * 4
            )
            ends = np.flatnonzero(numbers == _END)
            if not len(ends):
                size *= 2
                continue
            # a text that did not fit comes alone
            end = int(ends[-1] if size == tokens else ends[0]) + 1
            yield numbers[:end]
            start, size = start + end, tokens


class _Reading:
    """What has been read: the numbers of the words in a file, and beside it what they mean.

    Args:
        directory: where both are.
        counts: of the words.
        done: how far it has got, and what was asked for.
    """

    def __init__(self, directory: Path, counts: WordCounts, done: dict[str, Any]):
        self.ids_file = directory / "ids"
        self._state_file = directory / "counts.npz"
        self.counts = counts
        self.done = done

    @classmethod
    def resumed(cls, directory: Path, asked: dict[str, Any]) -> _Reading:
        """Return what is in the directory, or a reading that is still to begin."""
        begun = cls(
            directory,
            WordCounts(int(asked["memory"] * _DICTIONARY_SHARE / _WORD_BYTES)),
            {
                **asked,
                "whole": False,
                "batches": 0,
                "texts": 0,
                "tokens": 0,
                "length": 0,  # of the file, in numbers
                "starts": [0],  # of each period of the counts, likewise
            },
        )
        if not begun._state_file.exists():
            return begun
        with np.load(begun._state_file) as loaded:
            state = dict(loaded)
        done = json.loads(state.pop("done").tobytes())
        if changed := [name for name in asked if done[name] != asked[name]]:
            raise RunError(
                f"The corpus was begun to be read, and meanwhile its files, or the settings they "
                f"are read with, have changed. Give --overwrite to begin anew, or another --run. "
                f"Received: {directory}, where {', '.join(changed)} differed"
            )
        return cls(directory, WordCounts.restored(state), done)

    def go_on(self, corpus: Corpus, split: Any) -> None:
        """Read what has not been read."""
        done, saved = self.done, time.monotonic()
        already = done["batches"]
        self.ids_file.touch()
        os.truncate(self.ids_file, done["length"] * 4)
        with self.ids_file.open("ab") as file:
            for number, texts in enumerate(read(corpus, "Reading")):
                if number < already:
                    continue
                self._take(texts, split, file)
                if time.monotonic() - saved > _SAVE_SECONDS:
                    self._save(file)
                    saved = time.monotonic()
            if not done["tokens"]:
                raise DataError(
                    f"There is no word in the corpus, but only what parts words. "
                    f"Received: {', '.join(corpus.sources)}"
                )
            done["whole"] = True
            self._save(file)

    def _take(self, texts: list[str], split: Any, file: Any) -> None:
        words: list[str] = []
        ends: list[int] = []
        for text in texts:
            if found := split(text):
                words += found
                ends.append(len(words))
        numbers = np.insert(self.counts.count(words), ends, _END)
        file.write(numbers.data)
        done = self.done
        done["batches"] += 1
        done["texts"] += len(ends)
        done["tokens"] += len(words)
        done["length"] += len(numbers)
        if self.counts.full:
            self.counts.forget()
            done["starts"].append(done["length"])

    def _save(self, file: Any) -> None:
        """Write how far it has got, once the file that this is about is on disk."""
        file.flush()
        os.fsync(file.fileno())
        told = np.frombuffer(json.dumps(self.done).encode(), np.uint8)
        with atomic_path(self._state_file) as temporary:
            np.savez(temporary, **self.counts.state(), done=told)


def _notes(counts: WordCounts) -> tuple[str, ...]:
    if not counts.period:
        return ()
    return (
        f"The corpus has more distinct words than its share of --memory holds ({counts.limit:,}), "
        f"so the rarest were forgotten {counts.period} times, {counts.forgotten:,} in all. Counts "
        f"may be too low by up to {counts.bound:,}, and words that stand no more often than that "
        f"may be missing.",
    )
