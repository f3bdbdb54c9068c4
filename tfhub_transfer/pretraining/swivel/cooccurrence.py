"""How often words stand near each other: a symmetric matrix of weighted counts, in shards on disk.

A pair of words d places apart adds 1 / d to both of its cells, as in the experiments with Swivel
(arXiv 1602.02215). Each chunk of the corpus becomes a file of sorted, summed pairs; the files are
then summed shard by shard. Either step holds a few chunks, or one shard, in memory.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tfhub_transfer.errors import ConfigError, DataError
from tfhub_transfer.progress import progress
from tfhub_transfer.runs import atomic_path

__all__ = ["Cooccurrences", "Layout", "count_pairs", "summed_pairs"]

Array = np.ndarray[Any, Any]

# What summing a chunk takes at its peak, for each pair of words in it: the pairs, sorted, and the
# keys and weights that are computed from them.
_BYTES_PER_PAIR = 40
# Of a chunk's arrays and a shard's cells: as much of `--memory` as others leave.
_SHARE = 0.5


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where a word is in the shards.

    Word i is row i // `blocks` of block i % `blocks`, so that each block has frequent and rare
    words, as the paper has it. The matrix is symmetric: of the shards (r, c) those with r <= c are
    kept. The last row of a block may belong to no word.

    Attributes:
        words: V, the words of the vocabulary.
        blocks: n, of rows, and as many of columns.
        side: S, the rows of a block.
    """

    words: int
    blocks: int
    side: int

    @classmethod
    def of(cls, words: int, shard_size: int) -> Layout:
        """Return the layout with the fewest blocks of at most `shard_size` rows."""
        blocks = -(-words // shard_size)
        return cls(words, blocks, -(-words // blocks))

    @property
    def shards(self) -> list[tuple[int, int]]:
        """Return (row block, column block) of each shard, in the order of their files."""
        return [(row, column) for row in range(self.blocks) for column in range(row, self.blocks)]

    def in_order(self, blocks: Array) -> Array:
        """Return [V, ...] in the words' order from [n, S, ...] in blocks."""
        return np.swapaxes(blocks, 0, 1).reshape(-1, *blocks.shape[2:])[: self.words]


@dataclasses.dataclass(frozen=True)
class Cooccurrences:
    """The counted matrix.

    Attributes:
        layout: of its rows, and columns, in shards.
        marginals: float64[n, S], the sum of each row; zero for a word without neighbours.
        starts: int64[n * (n + 1) / 2 + 1], the observed cells before each shard, and all of them.
        file: of the shards.
    """

    layout: Layout
    marginals: Array
    starts: Array
    file: Path

    def read(self, shard: int) -> tuple[Array, Array]:
        """Return a shard's observed cells.

        Args:
            shard: its place in `layout.shards`.

        Returns:
            int32[N], rising: row * S + column; and float32[N], the weighted counts.
        """
        start, end = self.starts[shard : shard + 2].tolist()
        size = end - start
        return (
            np.fromfile(self.file, np.int32, size, offset=8 * start),
            np.fromfile(self.file, np.float32, size, offset=8 * start + 4 * size),
        )


def count_pairs(
    chunks: Callable[[int], Iterable[Array]],
    tokens: int,
    layout: Layout,
    window: int,
    directory: Path,
    memory_bytes: int,
) -> Cooccurrences:
    """Count which words stand within `window` words of each other in a text.

    What a killed count has done is not done again: `directory` keeps each chunk's pairs until all
    are summed, and the sums from then on.

    Args:
        chunks: from how many tokens a chunk should have to the chunks, always the same: int32[n]
            of whole texts, words outside the vocabulary as V, -1 after each text.
        tokens: in all chunks; for the time left.
        layout: of the shards.
        window: how many places may lie from one word of a pair to the other.
        directory: for the shards; of its own.
        memory_bytes: for the whole program, of which this takes a part.

    Raises:
        ConfigError: a shard alone takes more memory.
        DataError: no two words of the vocabulary are near each other.
    """
    index, shards = directory / "index.npz", directory / "shards"
    room = int(memory_bytes * _SHARE)
    if not index.exists():
        if room < 12 * layout.side**2:
            raise ConfigError(
                f"A shard of {layout.side} x {layout.side} cells takes {12 * layout.side**2:,} "
                f"bytes to count, of which there are {room:,}. Give more --memory or a smaller "
                f"--shard. Received: a memory of {memory_bytes:,} bytes"
            )
        threads = os.cpu_count() or 1
        # a chunk below this size would be work for its own sake
        size = max(1_000, room // (threads * window * _BYTES_PER_PAIR))
        # chunks of another size, from before the memory was set anew, are not these
        spilled = directory / f"chunks-of-{size}"
        pieces = _pieces(chunks(size), size, window)
        files = _spill(pieces, tokens, layout, window, spilled, threads)
        marginals, starts = _merge(files, layout, shards)
        if not marginals.any():
            raise DataError(
                f"No two words of the vocabulary stand within {window} places of each other in "
                f"any text, so there is nothing to learn from. Give a larger --window or longer "
                f"texts. Received: {tokens:,} words, {layout.words:,} of them distinct in the "
                f"vocabulary"
            )
        with atomic_path(index) as temporary:
            np.savez(temporary, marginals=marginals, starts=starts)
    for left in directory.glob("chunks-of-*"):
        shutil.rmtree(left)
    with np.load(index) as loaded:
        return Cooccurrences(layout, loaded["marginals"], loaded["starts"], shards)


def summed_pairs(
    ids: Array, layout: Layout, window: int, firsts: int | None = None
) -> tuple[Array, Array]:
    """Return a chunk's pairs, each once, with the sum of its weights.

    Args:
        ids: int32[n]; V for a word outside the vocabulary, -1 after each text.
        layout: of the shards.
        window: how many places may lie from one word of a pair to the other.
        firsts: with m, the earlier word of a pair is among the first m ids; else any is.

    Returns:
        int64[N], rising: (row block * n + column block) * S * S + row * S + column with the
        smaller (block, row) first; and float64[N], the weights.
    """
    known = np.flatnonzero((ids >= 0) & (ids < layout.words))
    # Texts are moved apart by more than a window; then distance alone says which words are near.
    places = (np.arange(len(ids)) + window * np.cumsum(ids < 0))[known]
    earlier = len(known) if firsts is None else int(np.searchsorted(known, firsts))
    words = ids[known].astype(np.int64)
    block, row = words % layout.blocks, words // layout.blocks
    ordered = block * layout.side + row
    area = layout.side**2
    as_row, as_column = block * (layout.blocks * area) + row * layout.side, block * area + row
    bits = window.bit_length()
    pairs = []
    # With the words outside left out, a word's neighbours are at most `window` words away.
    for step in range(1, min(window, len(words) - 1) + 1):
        distance = (places[step:] - places[:-step])[:earlier]
        near = np.flatnonzero(distance <= window)
        first, second = near, near + step
        swap = ordered[first] > ordered[second]
        first, second = np.where(swap, second, first), np.where(swap, first, second)
        pairs.append((as_row[first] + as_column[second]) << bits | distance[near])
    # The distance goes with the key through the sort, which is far faster than sorting indices.
    packed = np.concatenate([np.empty(0, np.int64), *pairs])
    del pairs
    packed.sort()
    weights = np.reciprocal(np.maximum(np.arange(1 << bits), 1), dtype=np.float64)
    weight = weights[packed & ((1 << bits) - 1)]
    packed >>= bits
    starts = np.flatnonzero(np.diff(packed, prepend=-1))
    return packed[starts], np.add.reduceat(weight, starts) if len(starts) else weight


def _spill(
    pieces: Iterable[tuple[Array, int]],
    tokens: int,
    layout: Layout,
    window: int,
    folder: Path,
    threads: int,
) -> list[Path]:
    """Write each piece's pairs to a file, unless it is there; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    waiting: deque[Future[int]] = deque()

    def spill(ids: Array, firsts: int, file: Path) -> int:
        if not file.exists():
            _write_chunk(file, *summed_pairs(ids, layout, window, firsts), layout)
        return int(np.count_nonzero(ids[:firsts] >= 0))

    # NumPy lets go of the interpreter while it sorts, so threads are enough.
    with (
        progress("Counting pairs", "words", tokens) as advance,
        ThreadPoolExecutor(threads) as pool,
    ):
        for ids, firsts in pieces:
            files.append(folder / f"{len(files):06d}")
            waiting.append(pool.submit(spill, ids, firsts, files[-1]))
            if len(waiting) >= threads:
                advance(waiting.popleft().result())
        for last in waiting:
            advance(last.result())
    return files


def _pieces(chunks: Iterable[Array], size: int, window: int) -> Iterator[tuple[Array, int]]:
    """Yield at most `size` ids, followed by a window's more, and how many the former are.

    A text that is longer than a chunk should be, as a book that is one line, is cut thus.
    """
    for ids in chunks:
        for start in range(0, len(ids), size):
            piece = ids[start : start + size + window]
            yield piece, min(size, len(ids) - start)


def _write_chunk(file: Path, keys: Array, sums: Array, layout: Layout) -> None:
    """Write where each shard's pairs begin, int64[n * n + 1], their cells, and their weights."""
    area = layout.side**2
    starts = np.searchsorted(keys, np.arange(layout.blocks**2 + 1) * area)
    with atomic_path(file) as temporary, temporary.open("wb") as out:
        for part in (starts.astype(np.int64), (keys % area).astype(np.uint32), sums):
            out.write(part.data)  # `tofile` does not tell of every full disk


def _read_chunk(file: Path, place: int, layout: Layout) -> tuple[Array, Array]:
    """Return the cells, uint32[N], and weights, float64[N], that a chunk has for one shard."""
    cells = 8 * (layout.blocks**2 + 1)
    weights = cells + (file.stat().st_size - cells) // 12 * 4
    start, end = np.fromfile(file, np.int64, 2, offset=8 * place).tolist()
    return (
        np.fromfile(file, np.uint32, end - start, offset=cells + 4 * start),
        np.fromfile(file, np.float64, end - start, offset=weights + 8 * start),
    )


def _merge(files: list[Path], layout: Layout, target: Path) -> tuple[Array, Array]:
    """Sum the chunks shard by shard into one file; return its marginals and starts."""
    side = layout.side
    marginals = np.zeros((layout.blocks, side))
    starts = [0]
    with (
        progress("Summing pairs", "shards", len(layout.shards)) as advance,
        atomic_path(target) as temporary,
        temporary.open("wb") as out,
    ):
        total = np.zeros(side * side)
        square = total.reshape(side, side)
        for row, column in layout.shards:
            for file in files:
                cells, weights = _read_chunk(file, row * layout.blocks + column, layout)
                total[cells] += weights  # within a chunk no cell is there twice
            if row == column:
                # only one triangle was counted; a word beside itself is a pair both ways
                square += square.T.copy()
            observed = np.flatnonzero(total)
            counts = total[observed]
            total[observed] = 0.0
            marginals[row] += np.bincount(observed // side, counts, side)
            if row != column:
                marginals[column] += np.bincount(observed % side, counts, side)
            out.write(observed.astype(np.int32).data)
            out.write(counts.astype(np.float32).data)
            starts.append(starts[-1] + len(observed))
            advance(1)
    return marginals, np.array(starts)
