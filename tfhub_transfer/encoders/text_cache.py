"""What is kept on disk of texts, by their key: the files, the lock and the order of writing.

    <cache dir>/<key>/
      about.json     what the rows are of
      ...            what is kept of the texts, appended; a subclass says what
      ...            one record for each text, which begins with its 16-byte key; appended after

A text's key is the BLAKE2b digest of it. Files grow under a lock, records last, each flushed to
disk, so that a text counts once its whole record is there: a process killed before that leaves rows
without records, which the next append overwrites. Readers never see them.
"""

from __future__ import annotations

import abc
import hashlib
import itertools
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import filelock
import numpy as np
import platformdirs

from tfhub_transfer.errors import CacheError
from tfhub_transfer.progress import progress
from tfhub_transfer.runs import atomic_path

__all__ = [
    "KEY",
    "Text",
    "TextCache",
    "features_dir",
    "open_directory",
    "runs_of",
    "size_of",
    "write_at",
]

KEY = np.dtype("S16")
# A text, or the pair of a question and its context.
Text = str | tuple[str, str]
Encoded = TypeVar("Encoded")


def features_dir() -> Path:
    """Return `$TFHUB_TRANSFER_CACHE_DIR`, or the user's cache folder."""
    named = os.environ.get("TFHUB_TRANSFER_CACHE_DIR")
    return Path(named or platformdirs.user_cache_dir("tfhub_transfer")) / "features"


def open_directory(key: str, about: dict[str, Any], root: Path | None) -> Path:
    """Return the directory of a cache, made if it is not there.

    Args:
        key: what its name is made from.
        about: what must be in its about.json.
        root: the folder of all caches; `features_dir()` when not given.

    Raises:
        CacheError: the directory holds something else, or cannot be written to.
    """
    directory = (root or features_dir()) / hashlib.sha256(key.encode()).hexdigest()[:32]
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
    return directory


class TextCache(abc.ABC, Generic[Encoded]):
    """Texts in the order in which they were added, each once.

    Args:
        directory: as `open_directory` gives it.
        rows_file: the name of the file that holds what is kept of the texts.
        unit: of what is in it, in the plural, for errors.
    """

    def __init__(self, directory: Path, rows_file: str, unit: str):
        self._directory, self._unit = directory, unit
        self._rows_file = directory / rows_file
        self._lock = filelock.FileLock(directory / ".lock")
        self._index = _Index()

    def __len__(self) -> int:
        """The number of distinct texts that are on disk."""
        return self._whole()

    @abc.abstractmethod
    def _whole(self) -> int:
        """Return how many texts are on disk as a whole."""

    @abc.abstractmethod
    def _take_in(self, known: int, whole: int) -> np.ndarray:
        """Return the keys of the texts from `known` to `whole`, which were added since."""

    @abc.abstractmethod
    def _check(self, encoded: Encoded, texts: int) -> None:
        """Raise CacheError unless `encoded` is what is kept of so many texts."""

    @abc.abstractmethod
    def _write(self, keys: np.ndarray, encoded: Encoded, new: np.ndarray, whole: int) -> None:
        """Append those texts, of `encoded`, that are `new`, bool[n], behind `whole` others."""

    def _add(
        self,
        batches: Iterable[Sequence[Text]],
        encode: Callable[[Sequence[Text]], Encoded],
        total: int | None,
        at_once: int,
        characters: float = math.inf,
    ) -> np.ndarray:
        """Encode what is missing, some texts at a time, and return int64[N], their rows.

        Args:
            batches: the texts.
            encode: what is kept of some of them.
            total: their number, for the progress line.
            at_once: so many at a time, at most.
            characters: fewer, once they have so many together.
        """
        rows: list[np.ndarray] = []
        self._refresh()
        with progress("Encoding", "texts", total) as advance:
            for texts in _rebatch(batches, at_once, characters):
                keys = np.frombuffer(b"".join(map(_key, texts)), KEY)
                found = self._index.find(keys)
                if (missing := np.flatnonzero(found < 0)).size:
                    distinct, first = np.unique(keys[missing], return_index=True)
                    self._append(distinct, encode([texts[i] for i in missing[first]]))
                    found = self._index.find(keys)
                rows.append(found)
                advance(len(texts))
        return np.concatenate(rows) if rows else np.empty(0, np.int64)

    def _append(self, keys: np.ndarray, encoded: Encoded) -> None:
        """Write the texts that no other process has written meanwhile."""
        self._check(encoded, len(keys))
        with self._lock:
            self._refresh()
            new = self._index.find(keys) < 0
            whole = self._whole()
            try:
                self._write(keys, encoded, new, whole)
            except OSError as error:
                raise CacheError(
                    f"The feature cache could not grow ({error.strerror}); the {whole:,} "
                    f"{self._unit} in it are kept, and the same command continues from them. Make "
                    f"room, or set TFHUB_TRANSFER_CACHE_DIR to another disk. "
                    f"Received: {self._directory}"
                ) from error
            self._refresh()

    def _refresh(self) -> None:
        """Take in the texts that were added, by whichever process, since the last look."""
        known, whole = len(self._index), self._whole()
        if whole > known:
            self._index.extend(self._take_in(known, whole))

    def _read_at(self, descriptor: int, offset: int, into: np.ndarray) -> None:
        """Fill an array with what the file of rows has at an offset."""
        content = into.reshape(-1).view(np.uint8).data
        while len(content):
            count = os.preadv(descriptor, [content], offset)
            if not count:
                raise self._too_few()
            content, offset = content[count:], offset + count

    def _too_few(self) -> CacheError:
        return CacheError(
            f"The feature cache has fewer rows than were asked for; was it cut while in "
            f"use? It has {len(self):,}. Received: {self._directory}"
        )


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


def runs_of(rows: np.ndarray) -> Iterator[slice]:
    """Yield the parts of ascending rows, int64[n], in which each follows the one before."""
    starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
    stops = np.append(starts[1:], len(rows))
    return (slice(a, b) for a, b in zip(starts.tolist(), stops.tolist(), strict=True))


def size_of(file: Path) -> int:
    """Return the bytes of a file, 0 where there is none."""
    return file.stat().st_size if file.exists() else 0


def write_at(path: Path, offset: int, content: bytes) -> None:
    """Replace what follows `offset` by `content` and flush it to disk."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.truncate(offset)
        file.seek(offset)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _key(text: Text) -> bytes:
    if isinstance(text, str):
        return hashlib.blake2b(text.encode(), digest_size=KEY.itemsize).digest()
    content = json.dumps(text).encode()
    return hashlib.blake2b(content, digest_size=KEY.itemsize, person=b"pair").digest()


def _rebatch(
    batches: Iterable[Sequence[Text]], at_once: int, characters: float
) -> Iterator[list[Text]]:
    batch: list[Text] = []
    size = 0
    for text in itertools.chain.from_iterable(batches):
        batch.append(text)
        size += len(text) if isinstance(text, str) else sum(map(len, text))
        if len(batch) == at_once or size >= characters:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
