"""A corpus as word pieces on disk."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfhub_transfer.errors import DataError, RunError
from tfhub_transfer.pretraining.mlm.chunks import Chunks

# Ids below 100 begin words; "12 113 14" are two words.
BEGINS = np.arange(200) < 100


def tokenize(texts):
    rows = [[int(piece) for piece in text.replace(".", "").split()] for text in texts]
    flat = np.array([piece for row in rows for piece in row], np.int32)
    return flat, np.array([len(row) for row in rows], np.int64)


def cut(batches, directory, room=6, made_of=("a",)):
    directory.mkdir(exist_ok=True)
    return Chunks.of(
        batches, directory, tokenize=tokenize, begins_word=BEGINS, room=room, made_of=made_of
    )


def contents(chunks):
    return [chunks.read(n)[0].tolist() for n in range(len(chunks))]


def test_texts_become_chunks_of_whole_sentences_and_words(tmp_path):
    texts = ["1 2 3", "1 2. 3 4. 5 6 7. 8", "1 102 103 104 5 106 107 8", "9", "1 2"]
    chunks = cut([texts[:2], texts[2:]], tmp_path / "work")
    assert contents(chunks) == [
        [1, 2, 3],
        [1, 2, 3, 4],
        [5, 6, 7, 8],
        [1, 102, 103, 104],
        [5, 106, 107, 8],
        [1, 2],
    ]
    assert chunks.texts.tolist() == [0, 1, 1, 2, 2, 4]
    assert chunks.lengths.tolist() == [3, 4, 4, 4, 4, 2]
    assert chunks.pieces == 21
    assert np.flatnonzero(chunks.read(1)[1]).tolist() == [0, 2]
    assert np.flatnonzero(chunks.read(2)[1]).tolist() == [0, 3]
    assert chunks.counts(200)[[1, 2, 8, 9, 102]].tolist() == [4, 3, 2, 0, 1]


def test_a_word_longer_than_a_chunk_is_torn(tmp_path):
    chunks = cut([["1 102 103 104 105 106 107 108"]], tmp_path / "work", room=3)
    assert contents(chunks) == [[1, 102, 103], [104, 105, 106], [107, 108]]


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 199), st.booleans()), max_size=30), max_size=5),
    st.integers(2, 9),
)
def test_nothing_is_lost_but_single_pieces(tmp_path_factory, rows, room):
    texts = [" ".join(f"{piece}{'.' * ends}" for piece, ends in row) for row in rows]
    directory = tmp_path_factory.mktemp("chunks")
    try:
        chunks = cut([texts], directory, room)
    except DataError:
        assert all(len(row) < 2 or room == 2 for row in rows)
        return
    assert max(chunks.lengths) <= room and min(chunks.lengths) >= 2
    for number, row in enumerate(rows):
        kept = [p for n in np.flatnonzero(chunks.texts == number) for p in chunks.read(int(n))[0]]
        pieces = iter(piece for piece, _ in row)
        assert all(piece in pieces for piece in kept), "in their order"


def test_writing_continues_where_it_was_left(tmp_path, monkeypatch):
    monkeypatch.setattr("tfhub_transfer.pretraining.mlm.chunks._SAVED_SECONDS", -1.0)
    batches = [["1 2 3"], ["4 5 6. 7 8 9. 10 10", "11 12"], ["13 14"]]
    whole = cut(batches, tmp_path / "whole")

    def dying():
        yield from batches[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut(dying(), tmp_path / "work")
    # what was written after the last save is of no account
    with (tmp_path / "work" / "pieces.bin").open("ab") as file:
        file.write(b"half")
    resumed = cut([["never"], ["read"], batches[2]], tmp_path / "work")
    assert contents(resumed) == contents(whole)
    assert resumed.texts.tolist() == whole.texts.tolist() == [0, 1, 1, 2, 3]
    assert contents(cut([["not read either"]], tmp_path / "work")) == contents(whole)


def test_another_corpus_is_not_mixed_in(tmp_path):
    cut([["1 2"]], tmp_path / "work")
    assert json.loads((tmp_path / "work/chunks.json").read_text())["whole"]
    with pytest.raises(RunError, match=r"has changed since .*--overwrite\. Received: .+"):
        cut([["1 2"]], tmp_path / "work", made_of=("b",))


def test_texts_of_single_pieces_are_an_error(tmp_path):
    with pytest.raises(DataError, match=r"nothing to guess\. Received: 2 texts"):
        cut([["1", "2"]], tmp_path / "work")
