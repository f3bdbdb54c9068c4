"""Word labels to word pieces and back, on every sentence of the real data sets."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfhub_transfer.encoders.packing import pieces, special_tokens
from tfhub_transfer.encoders.resolve import resolve
from tfhub_transfer.encoders.word_pieces import WordPieces
from tfhub_transfer.encoders.words import split_words

USERS_CACHE = os.environ.get("TFHUB_CACHE_DIR")
Sentence = tuple[list[str], list[str]]


def columns(file: Path, separator: str) -> Iterator[Sentence]:
    """Yield the words and tags of each sentence: first and last column, blank lines between."""
    with file.open(encoding="utf-8", newline="\n") as lines:
        rows = (line.removesuffix("\n") for line in lines)
        for blank, sentence in itertools.groupby(rows, key=lambda row: not row.strip(" \t")):
            if not blank:
                parts = [row.split(separator) for row in sentence]
                yield [part[0] for part in parts], [part[-1] for part in parts]


def folder(path: Path) -> Iterator[Sentence]:
    """Yield the words and slots of each sentence of a folder with seq.in and seq.out."""
    with (
        (path / "seq.in").open(encoding="utf-8", newline="\n") as texts,
        (path / "seq.out").open(encoding="utf-8", newline="\n") as tags,
    ):
        for text, row in zip(texts, tags, strict=True):
            yield text.split(), row.split()


def sentences(data: Path, name: str) -> list[Sentence]:
    if name == "atis":
        parts = ("train", "valid", "test")
        found = [folder(data / "slots" / "atis" / part) for part in parts]
    else:
        separator = "\t" if name == "wnut17" else " "
        files = [file for file in (data / "ner" / name).iterdir() if file.is_file()]
        found = [columns(file, separator) for file in files]
    return [*itertools.chain.from_iterable(found)]


@pytest.mark.real_data
@pytest.mark.parametrize("max_tokens", [256, 24])
@pytest.mark.parametrize(
    ("name", "count"),
    # CoNLL-2003 with the lines between its documents
    [("conll2003", 14_041 + 3_250 + 3_453 + 946 + 216 + 231), ("wnut17", 5_690), ("atis", 5_871)],
)
def test_no_word_and_no_tag_is_lost(real_data, monkeypatch, name, count, max_tokens):
    if USERS_CACHE is None:
        monkeypatch.delenv("TFHUB_CACHE_DIR")
    else:
        monkeypatch.setenv("TFHUB_CACHE_DIR", USERS_CACHE)
    encoder = resolve("minilm-l6", offline=True)
    preprocess = tf.saved_model.load(str(encoder.preprocess))
    special = special_tokens(preprocess, encoder.handle)
    reader = WordPieces(preprocess, special, max_tokens, "spaces", encoder.handle)
    read = tf.function(reader.texts, input_signature=[tf.TensorSpec([None], tf.string)])

    examples = sentences(real_data, name)
    assert len(examples) == count
    for start in range(0, len(examples), 512):
        words, tags = zip(*examples[start : start + 512], strict=True)
        texts = [" ".join(sentence) for sentence in words]
        split = split_words(tf.constant(texts)).words.to_list()
        assert [[word.decode() for word in row] for row in split] == [*words]

        tokens = read(tf.constant(texts))
        places, ids = tokens.places.numpy(), tokens.tokens["input_word_ids"].numpy()
        assert (places >= 0).sum(axis=1).tolist() == [len(sentence) for sentence in words]
        labels = np.full(ids.size, "", object)  # one for each word piece
        assert len(np.unique(places[places >= 0])) == (places >= 0).sum()
        for row, sentence in zip(places, tags, strict=True):
            labels[row[: len(sentence)]] = sentence
        back = [labels[row[row >= 0]].tolist() for row in places]
        assert back == [*tags]
        # and each label stands on the first piece of its own word
        flat = [word for sentence in words for word in sentence]
        alone = pieces(preprocess.tokenize(tf.constant(flat))).to_list()
        first = [row[0] if row else None for row in alone]
        taken = ids.ravel()[places[places >= 0]]
        unknown = reader.unknown
        assert [unknown if one is None else one for one in first] == taken.tolist()
