"""Encode once: the vectors of each word by a frozen encoder, kept on disk in half precision.

    <cache dir>/<key>/
      about.json     what the vectors are of: encoder, precision, width
      words.f16      float16 rows, those of a text after each other, appended
      texts.b24      one record for each text, appended after its rows: its 16-byte key, and the row
                     after its last, int64

The fingerprint of a `HubLayer` says what parts words and what stands in front of them; `text_cache`
says how the files are written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfhub_transfer.encoders.text_cache import (
    KEY,
    TextCache,
    open_directory,
    runs_of,
    size_of,
    write_at,
)
from tfhub_transfer.errors import CacheError

__all__ = ["WordCache"]

_LAYOUT = 1
# Texts encoded and appended together; what a kill loses at most.
_BATCH = 512
_CHARACTERS = 1 << 20  # of which the words may have 200 MB of vectors
_RECORD = np.dtype([("key", KEY), ("end", "<i8")])

# The vectors of n texts, float16[total, D], and int64[n], how many rows each has.
WordVectors = tuple[np.ndarray, np.ndarray]


class WordCache(TextCache[WordVectors]):
    """The vectors of words by one encoder, by text; made by `WordCache.open`."""

    def __init__(self, directory: Path, width: int):
        super().__init__(directory, "words.f16", "texts")
        self.width = width
        self._texts_file = directory / "texts.b24"
        self._ends = np.zeros(1, np.int64)  # before the first text, then after each

    @classmethod
    def open(
        cls, fingerprint: str, *, width: int, precision: str = "float32", root: Path | None = None
    ) -> WordCache:
        """Open the cache of an encoder, or begin it.

        Args:
            fingerprint: that of a layer with an output of words.
            width: D, the size of its vectors.
            precision: of the products the vectors come from.
            root: the folder of all caches; `features_dir()` when not given.

        Raises:
            CacheError: the directory holds something else, or cannot be written to.
        """
        about = {
            "layout": _LAYOUT,
            "words_of": fingerprint,
            "precision": precision,
            "width": width,
        }
        return cls(open_directory(f"words {_LAYOUT} {fingerprint} {precision}", about, root), width)

    def add(
        self,
        batches: Iterable[Sequence[Any]],
        encode: Callable[[Sequence[Any]], WordVectors],
        *,
        total: int | None = None,
    ) -> np.ndarray:
        """Encode what is missing and return where each text's vectors are.

        Args:
            batches: the texts, or pairs of a question and its context, read once.
            encode: what `BulkWordEncoder` does.
            total: the number of texts, for the progress line.

        Returns:
            int64[N], the number of each text, for `read`.

        Raises:
            CacheError: the disk is full; what was encoded until then is kept.
        """
        return self._add(batches, encode, total, _BATCH, _CHARACTERS)

    def lengths(self, texts: np.ndarray) -> np.ndarray:
        """Return how many rows `texts`, int64[n], have, int64[n]."""
        if len(texts) and texts.max() >= len(self._ends) - 1:
            self._refresh()
            if texts.max() >= len(self._ends) - 1:
                raise self._too_few()
        lengths: np.ndarray = self._ends[texts + 1] - self._ends[texts]
        return lengths

    def read(self, texts: np.ndarray) -> np.ndarray:
        """Return the vectors of `texts`, int64[n], as a new float32[n, W, D], zeros behind them.

        W is the length of the longest of them, at least 1.
        """
        lengths = self.lengths(texts)
        vectors = np.zeros((len(texts), lengths.max(initial=1), self.width), np.float32)
        if not len(texts):
            return vectors
        # in the order they lie on disk and not through a memory map, as in FeatureCache
        order = np.argsort(texts, kind="stable")
        ascending = texts[order]
        with self._rows_file.open("rb", buffering=0) as file:
            for run in runs_of(ascending):
                first, last = self._ends[[ascending[run.start], ascending[run.stop - 1] + 1]]
                rows = np.empty((last - first, self.width), np.float16)
                self._read_at(file.fileno(), int(first) * self.width * 2, rows)
                for text in order[run]:
                    vectors[text, : lengths[text]] = rows[: lengths[text]]
                    rows = rows[lengths[text] :]
        return vectors

    def _check(self, encoded: WordVectors, texts: int) -> None:
        vectors, lengths = encoded
        finite = bool(np.isfinite(vectors).all())
        shape = (int(lengths.sum()), self.width)
        fits = vectors.shape == shape and vectors.dtype == np.float16 and lengths.shape == (texts,)
        if not (finite and fits):
            raise CacheError(
                f"The vectors of the words of {texts} texts must be finite in half precision and "
                f"float16{list(shape)}, with as many lengths as texts. "
                f"Received: {vectors.dtype}{list(vectors.shape)} with {len(lengths)} lengths"
                f"{'' if finite else ', with NaN or infinity in it'}"
            )

    def _write(self, keys: np.ndarray, encoded: WordVectors, new: np.ndarray, whole: int) -> None:
        vectors, lengths = encoded
        begin = int(self._ends[whole])
        records = np.empty(new.sum(), _RECORD)
        records["key"], records["end"] = keys[new], begin + np.cumsum(lengths[new])
        rows = vectors[np.repeat(new, lengths)]
        write_at(self._rows_file, begin * self.width * 2, rows.tobytes())
        write_at(self._texts_file, whole * _RECORD.itemsize, records.tobytes())

    def _whole(self) -> int:
        known = len(self._index)
        return known + len(self._records_after(known))

    def _take_in(self, known: int, whole: int) -> np.ndarray:
        records = self._records_after(known)[: whole - known]
        self._ends = np.concatenate([self._ends, records["end"]])
        return records["key"]

    def _records_after(self, known: int) -> np.ndarray:
        """Return the records of whole texts that were added since."""
        # Records first, as another process may append between the two looks, rows before records.
        count = max(size_of(self._texts_file) // _RECORD.itemsize - known, 0)
        if not count:
            return np.empty(0, _RECORD)
        with self._texts_file.open("rb") as file:
            file.seek(known * _RECORD.itemsize)
            records = np.fromfile(file, _RECORD, count)
        # Fewer rows than records say are there only where the file was cut.
        rows = size_of(self._rows_file) // (self.width * 2)
        whole: np.ndarray = records[: np.searchsorted(records["end"], rows, side="right")]
        return whole
