"""Encode once: the vectors of a frozen encoder, kept on disk.

    <cache dir>/<key>/
      about.json     what the vectors are of: encoder, precision, width
      vectors.f32    float32 rows, appended
      keys.b16       one 16-byte key for each row, appended after the rows

The key of the directory is made from the encoder's fingerprint and the precision; a row's key is
the BLAKE2b digest of its text. Rows are appended under a lock, vectors before keys, each flushed to
disk, so that a row counts once its whole key is there: a process killed between the two leaves
vectors without keys, which the next append overwrites. Readers never see them.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import platformdirs

from tfhub_transfer.errors import CacheError
from tfhub_transfer.progress import progress
from tfhub_transfer.runs import atomic_path

__all__ = ["FeatureCache", "features_dir"]

_KEY = np.dtype("S16")
_LAYOUT = 1
# Rows encoded and appended together; what a kill loses at most.
_BATCH = 4096


def features_dir() -> Path:
    """Return `$TFHUB_TRANSFER_CACHE_DIR`, or the user's cache folder."""
    named = os.environ.get("TFHUB_TRANSFER_CACHE_DIR")
    return Path(named or platformdirs.user_cache_dir("tfhub_transfer")) / "features"


class FeatureCache:
    """The vectors of one encoder, by text; made by `FeatureCache.open`."""

    def __init__(self, directory: Path, width: int):
        self._directory = directory
        self.width = width
        self._vectors_file = directory / "vectors.f32"
        self._keys_file = directory / "keys.b16"
        self._lock = filelock.FileLock(directory / ".lock")
        self._index = _Index()

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
        name = hashlib.sha256(f"{_LAYOUT} {fingerprint} {precision}".encode()).hexdigest()[:32]
        directory = (root or features_dir()) / name
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(directory / ".lock"):
                described = directory / "about.json"
                if not described.exists():
                    with atomic_path(described) as temporary:
                        temporary.write_text(json.dumps(about), encoding="utf-8")
                found = _parsed(described.read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            raise CacheError(
                f"The feature cache cannot be written to ({error.strerror}). Set "
                f"TFHUB_TRANSFER_CACHE_DIR to another folder, or use --encoder.cache false. "
                f"Received: {directory}"
            ) from error
        if found != about:
            raise CacheError(
                f"The feature cache in {directory} is of something else; delete it to begin anew. "
                f"Accepted: {about}. Received: {found}"
            )
        return cls(directory, width)

    def __len__(self) -> int:
        """The number of distinct texts whose vector is on disk."""
        return self._whole_rows()

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
        rows: list[np.ndarray] = []
        self._refresh()
        with progress("Encoding", "texts", total) as advance:
            for texts in _rebatch(batches):
                keys = np.frombuffer(b"".join(map(_key, texts)), _KEY)
                found = self._index.find(keys)
                if (missing := np.flatnonzero(found < 0)).size:
                    distinct, first = np.unique(keys[missing], return_index=True)
                    vectors = encode([texts[i] for i in missing[first]])
                    self._append(distinct, vectors)
                    found = self._index.find(keys)
                rows.append(found)
                advance(len(texts))
        return np.concatenate(rows) if rows else np.empty(0, np.int64)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return the vectors of `rows`, int64[n], as a new float32[n, D]."""
        vectors = np.empty((len(rows), self.width), np.float32)
        if not len(rows):
            return vectors
        # In the order they lie on disk, neighbours in one go. Not through a memory map: a page
        # that is touched brings up to 2 MB around it into this process's memory.
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        starts = np.flatnonzero(np.diff(ascending, prepend=-2) != 1)
        stops = np.append(starts[1:], len(rows))
        read = np.empty_like(vectors)
        content, size = read.data.cast("B"), self.width * read.itemsize
        with self._vectors_file.open("rb", buffering=0) as file:
            for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
                self._read_at(
                    file.fileno(), int(ascending[start]) * size, content[start * size : stop * size]
                )
        vectors[order] = read
        return vectors

    def _read_at(self, descriptor: int, offset: int, into: memoryview) -> None:
        while len(into):
            count = os.preadv(descriptor, [into], offset)
            if not count:
                raise CacheError(
                    f"The feature cache has fewer rows than were asked for; was it cut while in "
                    f"use? It has {len(self):,}. Received: {self._directory}"
                )
            into, offset = into[count:], offset + count

    def _append(self, keys: np.ndarray, vectors: np.ndarray) -> None:
        """Write the rows that no other process has written meanwhile."""
        finite = bool(np.isfinite(vectors).all())
        fits = vectors.shape == (len(keys), self.width) and vectors.dtype == np.float32
        if not (finite and fits):
            raise CacheError(
                f"An encoder's vectors must be finite and float32[{len(keys)}, {self.width}]. "
                f"Received: {vectors.dtype}{list(vectors.shape)}"
                f"{'' if finite else ' with NaN or infinity in it'}"
            )
        with self._lock:
            self._refresh()
            new = self._index.find(keys) < 0
            count = self._whole_rows()
            try:
                _write_at(self._vectors_file, count * self.width * 4, vectors[new].tobytes())
                _write_at(self._keys_file, count * _KEY.itemsize, keys[new].tobytes())
            except OSError as error:
                raise CacheError(
                    f"The feature cache could not grow ({error.strerror}); the {count:,} vectors "
                    f"in it are kept, and the same command continues from them. Make room, or set "
                    f"TFHUB_TRANSFER_CACHE_DIR to another disk. Received: {self._directory}"
                ) from error
            self._refresh()

    def _whole_rows(self) -> int:
        # Keys first: between the two looks another process may append, vectors before keys.
        keys = _size(self._keys_file) // _KEY.itemsize
        # Fewer vectors than keys are there only where the file was cut, as by a copy that failed.
        return min(keys, _size(self._vectors_file) // (self.width * 4))

    def _refresh(self) -> None:
        """Take in the keys that were appended, by whichever process, since the last look."""
        known, whole = len(self._index), self._whole_rows()
        if whole > known:
            with self._keys_file.open("rb") as file:
                file.seek(known * _KEY.itemsize)
                self._index.extend(np.fromfile(file, _KEY, whole - known))


class _Index:
    """From keys to row numbers: sorted runs in NumPy, 24 bytes a row.

    A dict of two million keys would take 300 MB. As in a log-structured merge tree, a run is
    merged with its predecessor once it has grown to the same size, so that there are few.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[np.ndarray, np.ndarray]] = []
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def extend(self, keys: np.ndarray) -> None:
        """Add keys, whose rows are the next numbers."""
        rows = np.arange(self._rows, self._rows + len(keys))
        self._rows += len(keys)
        while self._runs and len(self._runs[-1][0]) <= len(keys):
            earlier_keys, earlier_rows = self._runs.pop()
            keys = np.concatenate([earlier_keys, keys])
            rows = np.concatenate([earlier_rows, rows])
        order = np.argsort(keys, kind="stable")
        self._runs.append((keys[order], rows[order]))

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Return each key's row, int64[n], or -1."""
        found = np.full(len(keys), -1, np.int64)
        for run_keys, run_rows in self._runs:
            place = np.searchsorted(run_keys, keys)
            place = np.minimum(place, len(run_keys) - 1)
            hit = run_keys[place] == keys
            found[hit] = run_rows[place[hit]]
        return found


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=_KEY.itemsize).digest()


def _rebatch(batches: Iterable[Sequence[str]]) -> Iterator[list[str]]:
    texts = itertools.chain.from_iterable(batches)
    while batch := list(itertools.islice(texts, _BATCH)):
        yield batch


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _write_at(path: Path, offset: int, content: bytes) -> None:
    """Replace what follows `offset` by `content` and flush it to disk."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.truncate(offset)
        file.seek(offset)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
