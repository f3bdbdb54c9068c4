"""Splitting texts into words."""

from __future__ import annotations

import resource

import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tfhub_transfer.encoders.words import Words, split_words
from tfhub_transfer.errors import EncoderError


def split(how: str, *texts: str | bytes) -> list[list[tuple[str, int, int]]]:
    words = split_words(tf.constant(texts, tf.string), how)
    assert words.starts.dtype == words.ends.dtype == tf.int32
    parts = [part.to_list() for part in words]
    return [
        [(word.decode(), start, end) for word, start, end in zip(*row, strict=True)]
        for row in zip(*parts, strict=True)
    ]


def words_of(text: str, how: str = "punctuation") -> list[str]:
    (row,) = split(how, text)
    return [word for word, _, _ in row]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The U.S. team won 3.5 points.", "The|U.S|.|team|won|3.5|points|."),
        ("Don't e-mail AT&T, it’s 10:30!", "Don't|e-mail|AT&T|,|it’s|10:30|!"),
        ("1,234 or 1/2 (a,b/c)", "1,234|or|1/2|(|a|,|b|/|c|)"),
        ("'quoted' -- twice", "'|quoted|'|-|-|twice"),
        ("a_b me@example.org @me #tag", "a_b|me@example.org|@|me|#|tag"),
        ("naïve cafe\u0301 straße", "naïve|cafe\u0301|straße"),
        ("日本 नमस्ते क\u094d\u200dष", "日本|नमस्ते|क\u094d\u200dष"),
        ("so 😂👍🏽❤\ufe0f👩\u200d🚀.", "so|😂|👍🏽|❤\ufe0f|👩\u200d🚀|."),
        ("a\u00a0b\u2003c\td\ne\x00f\u200bg\ufeffh", "a|b|c|d|e|f|g|h"),
        ("\u200d", "\u200d"),
        ("$5 50% a+b=c", "$|5|50|%|a|+|b|=|c"),
        ("  ", ""),
        ("", ""),
    ],
)
def test_what_a_reader_calls_a_word(text, words):
    assert "|".join(words_of(text)) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("EU rejects German call .", ["EU", "rejects", "German", "call", "."]),
        ("a  b", ["a", "", "b"]),
        (" a ", ["", "a", ""]),
        ("a\u00a0b\tc d\n", ["a\u00a0b\tc", "d\n"]),
        ("\x00 \u200d", ["\x00", "\u200d"]),
        ("", []),
    ],
)
def test_between_single_spaces(text, words):
    assert words_of(text, "spaces") == words


@settings(max_examples=80, deadline=None)
@example(["\ufeffa", "", "\ufffe \uffff", "\x00"])
@given(st.lists(st.text(max_size=20), max_size=4))
def test_offsets_give_the_words(texts):
    for how in ("spaces", "punctuation"):
        rows = split(how, *texts)
        assert len(rows) == len(texts)
        for text, row in zip(texts, rows, strict=True):
            assert [word for word, _, _ in row] == [text[start:end] for _, start, end in row]
            ends = [end for _, _, end in row]
            assert all(end <= start for end, (_, start, _) in zip(ends, row[1:], strict=False))
            if how == "spaces":
                assert " ".join(word for word, _, _ in row) == text
            else:
                assert all(row)
                begins = [start for _, start, _ in row]
                gaps = zip([0, *ends], [*begins, len(text)], strict=True)
                rest = "".join(text[begin:end] for begin, end in gaps)
                assert not any(character.isalnum() for character in rest)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters=" "), min_size=1)))
def test_joined_words_come_back(words):
    assert words_of(" ".join(words), "spaces") == words


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=12))
def test_what_is_no_utf_8_is_read_all_the_same(content):
    for how in ("spaces", "punctuation"):
        (row,) = split(how, content)
        text = " ".join(word for word, _, _ in row)
        text.encode()
    assert words_of(b"ab\xff\xfecd e", "spaces") == ["ab\ufffd\ufffdcd", "e"]


def test_in_a_graph():
    traced = tf.function(split_words, input_signature=[tf.TensorSpec([None], tf.string)])
    words = traced(tf.constant(["a b", ""]))
    assert isinstance(words, Words)
    assert words.ends.to_list() == [[1, 3], []]
    assert split("punctuation") == split("spaces") == []


@pytest.mark.parametrize("how", ["spaces", "punctuation"])
def test_a_long_text_takes_memory_by_its_length(how):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    words = split_words(tf.constant(["word " * 20_000 + "end"]), how).words
    assert words.row_lengths().numpy().tolist() == [20_001]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200_000, "kB; a copy of the text for each of its words is 2 GB"


def test_another_way():
    with pytest.raises(EncoderError, match=r"'spaces' or 'punctuation'\. Received: 'white'"):
        split_words(tf.constant(["a"]), "white")
