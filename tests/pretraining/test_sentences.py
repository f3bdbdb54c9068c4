"""Texts to sentences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfhub_transfer.pretraining.mlm.sentences import split_sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  \n ", []),
        ("One", ["One"]),
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("It costs 3.50 at U.S.A. prices", ["It costs 3.50 at U.S.A.", "prices"]),
        ('He said "No." Then he left.', ['He said "No."', "Then he left."]),
        ("Good...  Bad", ["Good...", "Bad"]),
        ("One<br /><br />Two. <br>Three", ["One", "Two.", "Three"]),
        ("A line\nand another", ["A line", "and another"]),
        ("好き。嫌い！本当？はい", ["好き。", "嫌い！", "本当？", "はい"]),
        ("यह अच्छा है। वह बुरा है।", ["यह अच्छा है।", "वह बुरा है।"]),
    ],
)
def test_examples(text, expected):
    assert split_sentences(text) == expected


def test_a_long_gap_takes_time_by_its_length():
    gap = " \t" * 500_000  # with the square of it, minutes
    assert split_sentences(f"one{gap}two{gap}\n{gap}three") == [f"one{gap}two", "three"]


@given(st.text(alphabet='ab .!?"\n。', max_size=40))
def test_nothing_but_white_space_is_lost(text):
    assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())
