"""Texts that stand more than once, within a split or across splits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tfhub_transfer.data.examples import Examples

_PARTITION_ROWS = 250_000
_CHUNK_ROWS = 65_536
_SHOWN = 3
_SHOWN_CHARACTERS = 200

_TRAIN, _VALIDATION, _TEST = 1, 2, 4


class _Entries(NamedTuple):
    """Rows of some splits: uint64[N, 2] digests, uint8[N] the split's bit, int64[N] the row."""

    digests: np.ndarray
    bits: np.ndarray
    rows: np.ndarray


def count_duplicates(
    train: Examples, validation: Examples, test: Examples, *, carved: bool
) -> dict[str, Any]:
    """Count equal texts by their digests, a partition of the digests at a time.

    Args:
        train: the training examples.
        validation: the validation examples.
        test: the test examples.
        carved: whether the validation was carved out of the source's training split, which then
            is compared with the test as it was, undivided.

    Returns:
        `within_train`: rows that repeat an earlier training row; `train_validation`, `train_test`,
        `validation_test`: distinct texts that stand in both; `examples`: a few of the latter.
    """
    splits = {_TRAIN: train, _VALIDATION: validation, _TEST: test}
    partitions = 1 + sum(map(len, splits.values())) // _PARTITION_ROWS
    counts = dict.fromkeys(("within_train", "train_validation", "train_test", "validation_test"), 0)
    examples: list[str] = []
    trained = _TRAIN | _VALIDATION if carved else _TRAIN
    for partition in range(partitions):
        entries = _gather(splits, partition, partitions)
        if not len(entries.bits):
            continue
        order = np.lexsort((entries.digests[:, 1], entries.digests[:, 0]))
        digests, bits = entries.digests[order], entries.bits[order]
        first = np.r_[True, (digests[1:] != digests[:-1]).any(axis=1)]
        starts = np.flatnonzero(first)
        standing = np.bitwise_or.reduceat(bits, starts)
        in_train, in_validation, in_test = (standing & bit > 0 for bit in splits)
        counts["within_train"] += int((bits == _TRAIN).sum() - in_train.sum())
        counts["train_validation"] += int((in_train & in_validation).sum())
        counts["train_test"] += int((in_test & (standing & trained > 0)).sum())
        counts["validation_test"] += int((in_validation & in_test).sum())
        across = starts[(standing & (standing - 1)) > 0]
        for start in across[: _SHOWN - len(examples)]:
            column = splits[int(bits[start])].column
            examples += column.read(entries.rows[order[start : start + 1]])
    return {**counts, "examples": [text[:_SHOWN_CHARACTERS] for text in examples]}


def duplicate_notes(counts: dict[str, Any], *, carved: bool) -> list[str]:
    """Return a sentence for each kind of duplicate that `count_duplicates` found."""
    notes = []
    if rows := counts["within_train"]:
        notes.append(
            f"{rows:,} training {'row repeats' if rows == 1 else 'rows repeat'} another's text."
        )
    for pair in ("train_validation", "train_test", "validation_test"):
        if texts := counts[pair]:
            one, other = pair.split("_")
            stand = "text stands" if texts == 1 else "distinct texts stand"
            before = " (train as it was before validation was carved out of it)"
            notes.append(
                f"{texts:,} {stand} in both {one} and {other}"
                f"{before if carved and pair == 'train_test' else ''}: scores may flatter."
            )
    return notes


def _gather(splits: dict[int, Examples], partition: int, partitions: int) -> _Entries:
    """Return the entries of all splits whose digest falls into `partition`."""
    parts = [
        _Entries(digests[inside], np.full(inside.sum(), bit, np.uint8), rows[inside])
        for bit, examples in splits.items()
        for rows, digests in _digests(examples)
        if (inside := digests[:, 0] % np.uint64(partitions) == partition).any()
    ]
    if not parts:
        return _Entries(np.empty((0, 2), np.uint64), np.empty(0, np.uint8), np.empty(0, np.int64))
    return _Entries(*map(np.concatenate, zip(*parts, strict=True)))


def _digests(examples: Examples) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows, int64[N], and their digests, uint64[N, 2], in the column's order."""
    column = examples.column
    edges = np.arange(0, len(column) + _CHUNK_ROWS, _CHUNK_ROWS)
    bounds = np.searchsorted(examples.rows, edges)  # the rows of a split ascend
    for edge, low, high in zip(edges, bounds, bounds[1:], strict=False):
        if low < high:
            rows = examples.rows[low:high]
            stop = min(int(edge) + _CHUNK_ROWS, len(column))
            yield rows, column.digests(int(edge), stop)[rows - edge]
