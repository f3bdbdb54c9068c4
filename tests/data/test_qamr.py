"""QAMR's files: tokens become characters of a context, and three people's answers its spans."""

from __future__ import annotations

import pytest

from tests.data.asked import qamr_row, write_qamr
from tfhub_transfer.data.qamr import open_folder
from tfhub_transfer.errors import DataError, UnreadableFileError

A, B = "Wiki1k:a:1", "Wiki1k:a:2"


def read(folder, split="all"):
    return list(open_folder(folder).splits[split].read())


def answers_of(passage):
    return [[answer.text for answer in asked.answers] for asked in passage.questions]


def test_tokens_are_characters_between_spaces(tmp_path):
    rows = [
        qamr_row(A, "Who wrote?", ("0", "0", "0")),
        qamr_row(A, "When did she write it?", ("5 6 7 8", "6 7", "7"), index=1),
        qamr_row(B, "What did he say? ", ("3", "2 3 4", "3")),
    ]
    first, second = read(write_qamr(tmp_path, train=rows))
    assert first.context == "Ada wrote the first program ( in 1843 ) ."
    assert second.context == 'He said " hello " to Grace Hopper .'
    assert answers_of(first) == [["Ada"] * 3, ["( in 1843 )", "in 1843", "1843"]]
    assert answers_of(second) == [["hello", '" hello "', "hello"]]
    assert second.questions[0].text == "What did he say?"
    for passage in (first, second):
        for asked in passage.questions:
            for text, start in asked.answers:
                assert passage.context[start:].startswith(text)
    assert first.questions[1].key == "Wiki1k:a:1/1 2/7/1"


def test_an_answer_with_a_gap_is_the_span_around_it(tmp_path):
    rows = [qamr_row(A, "What?", ("4 2", "2 3 4", "4"))]
    assert answers_of(read(write_qamr(tmp_path, train=rows))[0]) == [
        ["the first program", "the first program", "program"]
    ]


def test_judgements_of_the_full_files(tmp_path):
    rows = [
        qamr_row(A, "Who?", ("0", "Invalid", "0")),
        qamr_row(A, "Who is it?", ("0", "Redundant-0", "0"), index=1),
    ]
    (passage,) = read(write_qamr(tmp_path, train=rows))
    assert [asked.problem for asked in passage.questions] == ["judged invalid by a validator", None]
    assert answers_of(passage)[1] == ["Ada", "Ada"]


def test_sentences_of_the_penn_treebank_are_not_there(tmp_path):
    rows = [qamr_row("PTB:00/wsj_0001:1", "Who?", ("0", "0", "0")), qamr_row(A, "Who?", ("0",) * 3)]
    first, second = read(write_qamr(tmp_path, train=rows))
    assert first.questions[0].problem == "no such sentence in wiki-sentences.tsv"
    assert second.questions[0].problem is None


def test_without_train_the_development_questions_are_trained_on(tmp_path):
    rows = [qamr_row(A, "Who?", ("0", "0", "0"))]
    source = open_folder(write_qamr(tmp_path / "filtered", tmp_path, dev=rows, test=rows))
    assert set(source.splits) == {"train", "test"}
    assert source.splits["train"].origin.endswith("dev.tsv")
    assert "no train.tsv: the questions of dev.tsv are trained on" in source.notes[0]
    assert source.name == "filtered"


def test_with_train_they_validate(tmp_path):
    rows = [qamr_row(A, "Who?", ("0", "0", "0"))]
    source = open_folder(write_qamr(tmp_path, train=rows, dev=rows, test=rows))
    assert set(source.splits) == {"train", "validation", "test"}
    assert source.splits["train"].origin.endswith("train.tsv")
    assert source.splits["validation"].origin.endswith("dev.tsv")
    assert source.notes == ()


def test_test_questions_alone_train_nothing(tmp_path):
    folder = write_qamr(tmp_path, test=[qamr_row(A, "Who?", ("0", "0", "0"))])
    with pytest.raises(DataError, match=r"none to train on. Accepted: train.tsv or dev.tsv.*test"):
        open_folder(folder)


def test_other_folders_are_none_of_these(tmp_path):
    (tmp_path / "train.tsv").write_text("text\tlabel\na\tb\n")
    assert open_folder(tmp_path) is None
    (tmp_path / "empty").mkdir()
    (tmp_path / "wiki-sentences.tsv").write_text("s\tA b .\n")
    assert open_folder(tmp_path / "empty") is None


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("a\tb\n", r"train\.tsv, row 2: expected 9 columns between tabs, .* found 2. Received: 'a"),
        (qamr_row(A, "Who?", ("0", "0", "99")), r"row 2: .* tokens, 0 to 9, .* Received: '99'"),
        (qamr_row(A, "Who?", ("-1", "0", "0")), r"row 2: an answer should be .* Received: '-1'"),
        (qamr_row(A, "Who?", ("", "0", "0")), r"row 2: an answer should be .* Received: ''"),
        (qamr_row(A, "Who?", ("x", "0", "0")), r"row 2: an answer should be .* Received: 'x'"),
        (
            qamr_row(A, "Who?", ("0", "0", "0")).replace("8:0", "0"),
            r"row 2: a validator's column should be WORKER:TOKENS. Received: '0'",
        ),
    ],
)
def test_broken_rows(tmp_path, row, text):
    folder = write_qamr(tmp_path, train=[qamr_row(A, "Who?", ("0", "0", "0")), row])
    with pytest.raises(UnreadableFileError, match=text):
        read(folder)


def test_broken_sentences(tmp_path):
    folder = write_qamr(tmp_path, train=[])
    (folder / "wiki-sentences.tsv").write_text("s\tA b .\nt\tA  b .\n")
    with pytest.raises(UnreadableFileError, match=r"wiki-sentences\.tsv, row 2: .* single spaces"):
        open_folder(folder)


def test_bytes_that_are_no_utf8(tmp_path):
    folder = write_qamr(tmp_path, train=[])
    (folder / "train.tsv").write_bytes(b"caf\xe9\n")
    with pytest.raises(UnreadableFileError, match=r"train\.tsv, after row 0: not UTF-8, .* 0xe9"):
        read(folder)
