"""A corpus as word pieces on disk, in chunks of as many as a transformer reads at a time.

    pieces.bin    int32, one chunk after the other; ~id where a sentence begins
    chunks.bin    int64[N, 2]: where each chunk ends, and the number of its text
    chunks.json   how far it is, and of what it was made

The last is written after the others, which are cut off at what it tells when a run is resumed.
"""

from __future__ import annotations

import json
import os
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from tfhub_transfer.errors import DataError, RunError
from tfhub_transfer.pretraining.mlm.sentences import split_sentences
from tfhub_transfer.runs import atomic_path

__all__ = ["Chunks"]

Tokenize = Callable[[list[str]], tuple[np.ndarray, np.ndarray]]
_SAVED_SECONDS = 10.0
_BLOCK = 1 << 20


class Chunks:
    """Consecutive word pieces of one text each, read from disk when they are asked for.

    Attributes:
        lengths: int32[N], in pieces.
        texts: int64[N], the number of each chunk's text; never falling.
        pieces: of all chunks.
    """

    def __init__(self, directory: Path):
        table = np.fromfile(directory / "chunks.bin", np.int64).reshape(-1, 2)
        ends, self.texts = table[:, 0], table[:, 1]
        self._starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
        self.lengths = (ends - self._starts).astype(np.int32)
        self.pieces = int(ends[-1])
        self._file = (directory / "pieces.bin").open("rb", buffering=0)
        weakref.finalize(self, self._file.close)

    def __len__(self) -> int:
        return len(self.lengths)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a chunk's ids, int32[L], and where sentences begin in it, bool[L]."""
        # pread, not a memory map: the pages of a map count as this process' memory
        size, start = 4 * int(self.lengths[index]), 4 * int(self._starts[index])
        marked = np.frombuffer(os.pread(self._file.fileno(), size, start), np.int32)
        begins = marked < 0
        return np.where(begins, ~marked, marked), begins

    def counts(self, size: int) -> np.ndarray:
        """Return int64[size], how often each piece occurs."""
        total = np.zeros(size, np.int64)
        for start in range(0, self.pieces, _BLOCK):
            content = os.pread(self._file.fileno(), 4 * min(_BLOCK, self.pieces - start), 4 * start)
            marked = np.frombuffer(content, np.int32)
            total += np.bincount(np.where(marked < 0, ~marked, marked), minlength=size)
        return total

    @classmethod
    def of(
        cls,
        batches: Iterable[Sequence[str]],
        directory: Path,
        *,
        tokenize: Tokenize,
        begins_word: np.ndarray,
        room: int,
        made_of: Sequence[Any],
    ) -> Chunks:
        """Cut texts into chunks, or go on where that was left, or return what is there.

        A chunk ends with a sentence where one ends in its second half, else with a word. Pieces
        that are alone in their chunk, from which nothing can be guessed, are left out.

        Args:
            batches: of texts; the same ones each time.
            directory: to write in.
            tokenize: texts to int32 ids, one text after the other, and int64 numbers of them.
            begins_word: bool[V], by id.
            room: pieces of a chunk, at most.
            made_of: what the chunks depend on, as JSON has it.

        Raises:
            DataError: no text has two word pieces.
            RunError: what is there was made of something else.
        """
        state_file = directory / "chunks.json"
        state = {"batches": 0, "texts": 0, "pieces": 0, "chunks": 0, "whole": False}
        if state_file.exists():
            kept = json.loads(state_file.read_text(encoding="utf-8"))
            if kept.pop("made_of") != list(made_of):
                raise RunError(
                    f"The corpus or the encoder has changed since this run was begun: begin it "
                    f"anew with --overwrite. Received: {directory.parent}"
                )
            state = kept
        if not state["whole"]:
            with _opened(directory / "pieces.bin", 4 * state["pieces"]) as pieces, _opened(
                directory / "chunks.bin", 16 * state["chunks"]
            ) as table:

                def save() -> None:
                    for file in (pieces, table):
                        file.flush()
                        os.fsync(file.fileno())
                    with atomic_path(state_file) as temporary:
                        content = json.dumps({**state, "made_of": list(made_of)})
                        temporary.write_text(content, encoding="utf-8")

                saved = time.monotonic()
                for number, texts in enumerate(batches):
                    if number < state["batches"]:
                        continue
                    for text, chunk in _cut(texts, tokenize, begins_word, room):
                        pieces.write(chunk.tobytes())
                        state["pieces"] += len(chunk)
                        state["chunks"] += 1
                        end = [state["pieces"], state["texts"] + text]
                        table.write(np.array(end, np.int64).tobytes())
                    state["texts"] += len(texts)
                    state["batches"] = number + 1
                    if time.monotonic() - saved > _SAVED_SECONDS:
                        save()
                        saved = time.monotonic()
                state["whole"] = True
                save()
        if not state["chunks"]:
            raise DataError(
                f"No text of the corpus has two word pieces or more, so that there is nothing to "
                f"guess. Received: {state['texts']:,} texts"
            )
        return cls(directory)


def _opened(file: Path, size: int) -> IO[bytes]:
    """Open a file to write after its first `size` bytes; what a kill left behind is cut off."""
    file.touch()
    os.truncate(file, size)
    return file.open("ab")


def _cut(
    texts: Sequence[str], tokenize: Tokenize, begins_word: np.ndarray, room: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the number of a text and a chunk of it, int32[L], ~id where a sentence begins."""
    sentences = [(number, part) for number, t in enumerate(texts) for part in split_sentences(t)]
    if not sentences:
        return
    of_sentence = np.array([number for number, _ in sentences])
    ids, counts = tokenize([part for _, part in sentences])
    words = begins_word[ids]
    starts = np.cumsum(counts) - counts
    marked = ids.astype(np.int32)
    first = starts[counts > 0]
    marked[first] = ~marked[first]
    words[first] = True
    per_text = np.bincount(of_sentence, weights=counts, minlength=len(texts)).astype(np.int64)
    begin = 0
    for number, length in enumerate(per_text.tolist()):
        end = begin + length
        while begin < end:
            until = end if end - begin <= room else _until(marked, words, begin, room)
            if until - begin > 1:
                yield number, marked[begin:until]
            begin = until


def _until(marked: np.ndarray, words: np.ndarray, begin: int, room: int) -> int:
    """Return where a chunk ends that begins at `begin`, at most `room` pieces on."""
    half = begin + 1 + room // 2
    for places in (np.flatnonzero(marked[half : begin + room + 1] < 0) + half,
                   np.flatnonzero(words[begin + 1 : begin + room + 1]) + begin + 1):
        if len(places):
            return int(places[-1])
    return begin + room
