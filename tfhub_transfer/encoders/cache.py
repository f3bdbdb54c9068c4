"""Encode once: the vectors of a frozen encoder, kept on disk.

    <cache dir>/<key>/
      about.json     what the vectors are of: encoder, precision, width
      vectors.f32    float32 rows, appended
      keys.b16       one 16-byte key for each row, appended after the rows

The key of the directory is made from the encoder's fingerprint and the precision; `text_cache` says
how the files are written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from tfhub_transfer.encoders.text_cache import (
    KEY,
    TextCache,
    features_dir,
    open_directory,
    runs_of,
    size_of,
    write_at,
)
from tfhub_transfer.errors import CacheError

__all__ = ["FeatureCache", "features_dir"]

_LAYOUT = 1
# Rows encoded and appended together; what a kill loses at most.
_BATCH = 4096


class FeatureCache(TextCache[np.ndarray]):
    """The vectors of one encoder, by text; made by `FeatureCache.open`."""

    def __init__(self, directory: Path, width: int):
        super().__init__(directory, "vectors.f32", "vectors")
        self.width = width
        self._keys_file = directory / "keys.b16"

    @classmethod
    def open(
        cls, fingerprint: str, *, width: int, precision: str = "float32", root: Path | None = None
    ) -> FeatureCache:
        """Open the cache of an encoder, or begin it.

        Args:
            fingerprint: the encoder's, which covers its weights and its preprocessing.
            width: D, the size of its vectors.
            precision: of the products the vectors come from.
            root: the folder of all caches; `features_dir()` when not given.

        Raises:
            CacheError: the directory holds something else, or cannot be written to.
        """
        about = {"layout": _LAYOUT, "encoder": fingerprint, "precision": precision, "width": width}
        return cls(open_directory(f"{_LAYOUT} {fingerprint} {precision}", about, root), width)

    def add(
        self,
        batches: Iterable[Sequence[str]],
        encode: Callable[[Sequence[str]], np.ndarray],
        *,
        total: int | None = None,
    ) -> np.ndarray:
        """Encode what is missing and return where each text's vector is.

        Args:
            batches: the texts, read once.
            encode: texts to vectors, float32[n, D].
            total: the number of texts, for the progress line.

        Returns:
            int64[N], the row of each text, for `read`.

        Raises:
            CacheError: the disk is full; what was encoded until then is kept.
        """
        return self._add(batches, encode, total, _BATCH)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return the vectors of `rows`, int64[n], as a new float32[n, D]."""
        vectors = np.empty((len(rows), self.width), np.float32)
        if not len(rows):
            return vectors
        # In the order they lie on disk, neighbours in one go. Not through a memory map: a page
        # that is touched brings up to 2 MB around it into this process's memory.
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        read = np.empty_like(vectors)
        with self._rows_file.open("rb", buffering=0) as file:
            for run in runs_of(ascending):
                offset = int(ascending[run.start]) * self.width * read.itemsize
                self._read_at(file.fileno(), offset, read[run])
        vectors[order] = read
        return vectors

    def _check(self, encoded: np.ndarray, texts: int) -> None:
        finite = bool(np.isfinite(encoded).all())
        fits = encoded.shape == (texts, self.width) and encoded.dtype == np.float32
        if not (finite and fits):
            raise CacheError(
                f"An encoder's vectors must be finite and float32[{texts}, {self.width}]. "
                f"Received: {encoded.dtype}{list(encoded.shape)}"
                f"{'' if finite else ' with NaN or infinity in it'}"
            )

    def _write(self, keys: np.ndarray, encoded: np.ndarray, new: np.ndarray, whole: int) -> None:
        write_at(self._rows_file, whole * self.width * 4, encoded[new].tobytes())
        write_at(self._keys_file, whole * KEY.itemsize, keys[new].tobytes())

    def _whole(self) -> int:
        # Keys first: between the two looks another process may append, vectors before keys.
        keys = size_of(self._keys_file) // KEY.itemsize
        # Fewer vectors than keys are there only where the file was cut, as by a copy that failed.
        return min(keys, size_of(self._rows_file) // (self.width * 4))

    def _take_in(self, known: int, whole: int) -> np.ndarray:
        with self._keys_file.open("rb") as file:
            file.seek(known * KEY.itemsize)
            return np.fromfile(file, KEY, whole - known)
