"""Ragged rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfhub_transfer.data.sequences import Sequences
from tfhub_transfer.errors import DataError

ROWS = st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=8)


def rows_of(sequences: Sequences) -> list[list[int]]:
    return [sequences[n].tolist() for n in range(len(sequences))]


@given(ROWS, st.data())
def test_rows_are_taken_as_from_a_list(rows, data):
    sequences = Sequences.from_rows(rows)
    assert rows_of(sequences) == rows
    assert sequences.lengths.tolist() == [len(row) for row in rows]
    places = st.lists(st.integers(0, len(rows) - 1), max_size=9) if rows else st.just([])
    positions = data.draw(places)
    taken = sequences.take(np.array(positions, np.int64))
    assert rows_of(taken) == [rows[position] for position in positions]
    mask = np.zeros(len(rows), bool)
    mask[positions] = True
    assert rows_of(sequences.take(mask)) == [rows[place] for place in sorted(set(positions))]


@given(ROWS)
def test_padding(rows):
    padded = Sequences.from_rows(rows).padded(fill=-7)
    width = max(map(len, rows), default=0)
    assert padded.shape == (len(rows), width)
    assert padded.dtype == np.int32
    assert padded.tolist() == [row + [-7] * (width - len(row)) for row in rows]


def test_padding_of_some_rows_is_as_wide_as_they_are():
    sequences = Sequences.from_rows([[1, 2, 3], [4], []])
    assert sequences.padded(np.array([2, 1])).tolist() == [[-1], [4]]


def test_names_and_single_rows():
    sequences = Sequences.from_rows([[1, 0], [], [1]])
    assert sequences.named(["O", "B-A"]) == [["B-A", "O"], [], ["B-A"]]
    assert sequences[-1].tolist() == [1]
    with pytest.raises(IndexError):
        sequences[3]


@pytest.mark.parametrize("starts", [[], [0, 1], [1, 3], [0, 2, 1, 3]])
def test_starts_that_are_none(starts):
    with pytest.raises(DataError, match=r"ascend from 0 to the number of values, 3\. Received"):
        Sequences(np.zeros(3, np.int32), np.array(starts, np.int64))
