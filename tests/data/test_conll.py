"""Files of columns, whole and broken."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import pytest

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.sources import open_source
from tfhub_transfer.errors import DataError, MissingColumnError, UnreadableFileError

PLAIN = """-DOCSTART- -X- O O

EU NNP I-NP I-ORG
rejects VBZ I-VP O

Peter NNP I-NP I-PER
"""
READ = [(3, ["EU", "rejects"], ["I-ORG", "O"]), (6, ["Peter"], ["I-PER"])]


def rows(path: Path, content: str | bytes | None = None, **settings):
    """Return (row, words, tags) of each sentence in a file of that content."""
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    source = open_source(DataConfig(source=str(path), **settings), words=True)
    return [
        (row, words, tags)
        for batch in source.splits["all"].read()
        for row, words, tags in zip(batch.rows.tolist(), batch.texts, batch.labels, strict=True)
    ]


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.rstrip("\n"),
        PLAIN + "\n\n",
        PLAIN.replace("\n", "\r\n"),
        "\ufeff" + PLAIN,
        PLAIN.replace(" ", "\t"),
        PLAIN.replace(" ", "   "),
        PLAIN.replace("\n\nPeter", "\n \t \nPeter"),
    ],
    ids=["plain", "no last line", "blank", "CRLF", "BOM", "tabs", "wide", "white lines"],
)
def test_what_does_not_matter(tmp_path, content):
    assert rows(tmp_path / "a.conll", content) == READ


@pytest.mark.parametrize("name", ["a.conll", "a.BIO", "a.iob", "a.iob2", "a.txt", "eng.testa"])
def test_kinds_of_files(tmp_path, name):
    assert rows(tmp_path / name, PLAIN) == READ


def test_compressed_files(tmp_path):
    assert rows(tmp_path / "eng.train.gz", gzip.compress(PLAIN.encode())) == READ
    assert rows(tmp_path / "a.conll.bz2", bz2.compress(PLAIN.encode())) == READ


def test_columns_by_number(tmp_path):
    file = tmp_path / "a.conll"
    assert rows(file, PLAIN, label_column="-1") == READ
    assert rows(file, label_column="2")[0] == (3, ["EU", "rejects"], ["I-NP", "I-VP"])
    assert rows(file, text_column="1", label_column="-2")[1] == (6, ["NNP"], ["I-NP"])


def test_columns_by_name(tmp_path):
    file = tmp_path / "a.conll"
    named = "# made by hand, in 2003\n# word pos chunk entity\n" + PLAIN
    assert rows(file, named, text_column="word", label_column="chunk")[0][2] == ["I-NP", "I-VP"]
    assert rows(file)[0][1:] == READ[0][1:], "the first and the last by default"
    turned = "# label text\nO a\nB-X b\n"
    assert rows(file, turned) == [(2, ["a", "b"], ["O", "B-X"])]


def test_comments_and_the_word_that_looks_like_one(tmp_path):
    text = "# id = 1\nGo B-X\n# O\n# 1 O\n\n# comment\n#\n".replace("#\n", "")
    assert rows(tmp_path / "a.conll", text) == [(2, ["Go", "#"], ["B-X", "O"])]
    first = "# O\nB I-X\n"
    assert rows(tmp_path / "b.conll", first) == [(1, ["#", "B"], ["O", "I-X"])]
    tweets = "# a tweet\n#tag\tO\n#\tB-X\n"
    assert rows(tmp_path / "c.conll", tweets) == [(2, ["#tag", "#"], ["O", "B-X"])]


def test_a_document_starts_a_sentence(tmp_path):
    content = "a O\n-DOCSTART- O\nb O\n"
    assert [words for _, words, _ in rows(tmp_path / "a.conll", content)] == [["a"], ["b"]]


def test_many_sentences(tmp_path):
    content = "".join(f"w{n} O\n\n" for n in range(2500))
    found = rows(tmp_path / "a.conll", content)
    assert [row for row, _, _ in found] == list(range(1, 5001, 2))
    assert found[-1][1] == ["w2499"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a O\nb\n", r"a\.conll, line 2: expected 2 columns between spaces, as in line 1, and "
                     r"found 1\. Received: 'b'"),
        ("a\tO\nb O\n", r"line 2: expected 2 columns between tabs, as in line 1, and found 1"),
        ("\na O\n\nb NN O\n", r"line 4: expected 2 columns .* as in line 2, and found 3"),
        ("word\n", r"line 1: expected a word and its tag, in columns .* Received: 'word'"),
        ("a\tO\n\tO\n", r"line 2: the word in column 0 is empty\. Received: '\\tO'"),
        ("a O\nb PER\n", r"line 2: column 1 should hold the word's tag, and 'PER' is no tag: "
                         r"expected O, .* Is --data\.label_column right\? Received: 'b PER'"),
        (b"a O\nb\xe9 O\n", r"line 2: not UTF-8, because of byte 0xe9 .* Received"),
    ],
)
def test_broken_files_say_where(tmp_path, content, message):
    with pytest.raises(UnreadableFileError, match=message):
        rows(tmp_path / "a.conll", content)


def test_a_tag_of_another_scheme(tmp_path):
    with pytest.raises(UnreadableFileError, match=r"line 1: .*'S-X' is no tag of IOB2: expected O"):
        rows(tmp_path / "a.conll", "a S-X\n", scheme="iob2")
    assert rows(tmp_path / "a.conll", scheme="iobes") == [(1, ["a"], ["S-X"])]


@pytest.mark.parametrize("content", ["", "\n\n", "# nothing\n", "-DOCSTART- -X- O O\n"])
def test_files_without_words(tmp_path, content):
    with pytest.raises(DataError, match=r"a\.conll has no words: .* Received: \d lines without"):
        rows(tmp_path / "a.conll", content)


def test_a_truncated_compressed_file(tmp_path):
    content = gzip.compress(("word O\n" * 5000).encode())
    with pytest.raises(UnreadableFileError, match=r"cannot be read\. Received"):
        rows(tmp_path / "a.conll.gz", content[: len(content) // 2])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_column": "4"}, r"Accepted: 0 to 3, or -4 to -1\. Give --data\.label_column\. "
                                r"Received: '4'"),
        ({"text_column": "word"}, r"Accepted: numbers from 0 to 3; for names, a line '# NAME"),
    ],
)
def test_columns_that_are_not_there(tmp_path, settings, message):
    with pytest.raises(MissingColumnError, match=message):
        rows(tmp_path / "a.conll", PLAIN, **settings)


def test_a_name_that_is_nearly_right(tmp_path):
    with pytest.raises(
        MissingColumnError, match=r"Did you mean 'chunk'\? Accepted: word, pos, chunk, ner, or"
    ):
        rows(tmp_path / "a.conll", "# word pos chunk ner\n" + PLAIN, label_column="chunks")


def test_one_column_for_both(tmp_path):
    with pytest.raises(DataError, match=r"must be different columns .* '-1' and 'label', which"):
        rows(tmp_path / "a.conll", PLAIN, text_column="-1")
