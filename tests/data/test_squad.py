"""SQuAD's JSON: what stands in it, and what is said where it is broken."""

from __future__ import annotations

import json

import pytest

from tests.data.asked import article, question, write_squad
from tfhub_transfer.data.passages import Answer, Passage, Question
from tfhub_transfer.data.squad import open_file
from tfhub_transfer.errors import UnreadableFileError

CONTEXT = "Ada wrote it in 1843, in London."


def read(path):
    return list(open_file(path).read())


def test_both_versions(tmp_path):
    path = write_squad(
        tmp_path / "dev-v2.0.json",
        article(
            (CONTEXT, [question("q1", "When?", ("1843", 16), ("in 1843", 13))]),
            ("Ä. Ö", [question("q2", "What?", is_impossible=True, plausible_answers=[])]),
        ),
        article((CONTEXT, [question("q3", "Who?", ("Ada", 0), is_impossible=False)])),
    )
    assert read(path) == [
        Passage(CONTEXT, (Question("q1", "When?", (Answer("1843", 16), Answer("in 1843", 13))),)),
        Passage("Ä. Ö", (Question("q2", "What?", ()),)),
        Passage(CONTEXT, (Question("q3", "Who?", (Answer("Ada", 0),)),)),
    ]
    assert read(path) == read(path), "each read begins anew"


def test_answers_may_be_left_out_where_there_are_none(tmp_path):
    asked = {"id": 5, "question": "Why?", "is_impossible": True}
    (passage,) = read(write_squad(tmp_path / "a.json", article((CONTEXT, [asked]))))
    assert passage.questions == (Question("5", "Why?", ()),)


def test_an_answer_to_what_has_none_is_a_problem(tmp_path):
    asked = question("q", "When?", ("1843", 16), is_impossible=True)
    (passage,) = read(write_squad(tmp_path / "a.json", article((CONTEXT, [asked]))))
    assert passage.questions[0].problem == "is_impossible, and yet with an answer"


def changed(**changes):
    asked = {**question("q", "When?", ("1843", 16)), **changes}
    return article((CONTEXT, [question("p", "Who?", ("Ada", 0)), asked]))


def without(key):
    found = changed()
    del found["paragraphs"][0]["qas"][1][key]
    return found


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        ("no object", r"data\[1\]: expected an object. Received: 'no object'"),
        (
            {"title": "t"},
            r"data\[1\]: the key 'paragraphs' is missing, with an array under it\. "
            r"Received: keys title",
        ),
        ({}, r"data\[1\]: the key 'paragraphs' is missing, .* Received: keys none"),
        ({"paragraphs": {}}, r"data\[1\]\.paragraphs: expected an array. Received: {}"),
        (article((None, [])), r"data\[1\]\.paragraphs\[0\]\.context: expected a string.*None"),
        (without("question"), r"data\[1\]\.paragraphs\[0\]\.qas\[1\]: the key 'question' is miss"),
        (without("id"), r"qas\[1\]: the key 'id' is missing, with a string under it"),
        (without("answers"), r"qas\[1\]: the key 'answers' is missing, with an array under it"),
        (changed(answers=["1843"]), r"qas\[1\]\.answers\[0\]: expected an object.*'1843'"),
        (changed(answers=[{"text": "1843"}]), r"answers\[0\]: the key 'answer_start' is missing"),
        (
            changed(answers=[{"text": "1843", "answer_start": True}]),
            r"qas\[1\]\.answers\[0\]\.answer_start: expected an integer. Received: True",
        ),
        (changed(is_impossible="no"), r"is_impossible: expected true or false. Received: 'no'"),
        (changed(question="\ud800?"), r"qas\[1\]\.question: half of a surrogate .*: \\ud800"),
    ],
)
def test_what_is_broken_is_told_with_the_way_there(tmp_path, broken, text):
    good = article((CONTEXT, [question("q", "When?", ("1843", 16))]))
    path = write_squad(tmp_path / "train.json", good, broken)
    with pytest.raises(UnreadableFileError, match=rf"train\.json, .*{text}"):
        read(path)


def test_a_file_that_was_cut_off(tmp_path):
    path = tmp_path / "train.json"
    content = json.dumps({"data": [changed()] * 3}, indent=1)
    path.write_text(content[: len(content) // 2])
    with pytest.raises(UnreadableFileError, match=r"train\.json, line \d+, data\[1\]: expected JS"):
        read(path)
