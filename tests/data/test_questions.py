"""Questions are divided by context, checked at the border, and find their answers among words."""

from __future__ import annotations

import gzip
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.asked import article, numbered, qamr_row, question, write_qamr, write_squad
from tfhub_transfer.config import DataConfig
from tfhub_transfer.data import question_intake
from tfhub_transfer.data.examples import TextColumn
from tfhub_transfer.data.question_examples import QuestionExamples, QuestionTable
from tfhub_transfer.data.questions import load_answered, load_questions, open_questions
from tfhub_transfer.errors import ConfigError, DataError, UnreadableFileError


def words_of(texts):
    """Places of words and marks, as an encoder's splitter gives them."""
    found = [[match.span() for match in re.finditer(r"\w+|[^\w\s]", text)] for text in texts]
    return [np.array(spans, np.int32).reshape(-1, 2) for spans in found]


def config_of(source, **settings):
    return DataConfig(source=str(source), **settings)


def everything(examples):
    rows = zip(examples.keys(), examples.texts(), examples.contexts(), strict=True)
    return list(zip(rows, map(tuple, examples.golds()), examples.ids.tolist(), strict=True))


def test_a_file_is_divided_by_context(tmp_path):
    path = write_squad(tmp_path / "all.json", *numbered(20, questions=3))
    data = load_questions(config_of(path, validation_fraction=0.25), seed=1)
    parts = (data.train, data.validation, data.test)
    assert [len(part) for part in parts] == [36, 12, 12]
    contexts = [set(part.contexts()) for part in parts]
    assert [len(found) for found in contexts] == [12, 4, 4]
    assert not set.intersection(*contexts)
    assert not contexts[0] & contexts[1]
    assert "The test split, 4 of 20 contexts, was carved out of" in data.notes[0]
    assert "The validation split, 4 of 16 contexts" in data.notes[1]
    assert "(at random, seed 1)" in data.notes[1]
    again = load_questions(config_of(path, validation_fraction=0.25), seed=1)
    assert everything(again.train) == everything(data.train)
    other = load_questions(config_of(path, validation_fraction=0.25), seed=2)
    assert everything(other.train) != everything(data.train)


def test_what_an_example_holds(tmp_path):
    path = write_squad(
        tmp_path / "all.json",
        article(
            (
                "Ada wrote it in 1843.",
                [
                    question("q1", "When?", ("1843", 16), ("in 1843", 13)),
                    question("q2", "Why?", is_impossible=True),
                ],
            ),
            ("Grace Hopper came later.", [question("q3", "Who?", ("Grace Hopper", 0))]),
        ),
    )
    examples = load_answered(config_of(path), seed=0).examples
    assert len(examples) == 3
    assert examples.keys() == ["q1", "q2", "q3"]
    assert examples.texts() == ["When?", "Why?", "Who?"]
    assert examples.contexts(np.array([2, 0])) == [
        "Grace Hopper came later.",
        "Ada wrote it in 1843.",
    ]
    assert examples.golds() == [["1843", "in 1843"], [], ["Grace Hopper"]]
    assert examples.labels.tolist() == [0, 1, 0]
    assert examples.ids.tolist() == [1, 2, 3]
    assert list(examples.batches(2)) == [
        [("When?", "Ada wrote it in 1843."), ("Why?", "Ada wrote it in 1843.")],
        [("Who?", "Grace Hopper came later.")],
    ]
    assert examples.passages().texts() == ["Ada wrote it in 1843.", "Grace Hopper came later."]
    taken = examples.take(np.array([2, 2, 1]))
    assert taken.golds() == [["Grace Hopper"], ["Grace Hopper"], []]
    assert taken.keys() == ["q3", "q3", "q2"]
    assert len(examples.take(np.array([True, False, True]))) == 2


def test_a_context_that_comes_again_is_kept_once(tmp_path, monkeypatch):
    monkeypatch.setattr(question_intake, "_QUESTIONS_AT_ONCE", 2)
    context = "Ada wrote it."
    paragraphs = [
        (context if n % 2 else f"No. {n}", [question(str(n), f"Q {n}?")]) for n in range(7)
    ]
    path = write_squad(tmp_path / "all.json", article(*paragraphs))
    examples = load_answered(config_of(path), seed=0).examples
    assert examples.contexts() == [found for found, _ in paragraphs]
    assert len(examples.passages()) == 5
    assert examples.context_rows().tolist() == [0, 1, 2, 1, 3, 1, 4]


def test_rows_that_cannot_be_used_are_written_down(tmp_path):
    context = "Ada wrote it in 1843."
    bad = [
        question("b1", "When?", ("1843", 15)),
        question("b2", "When?", ("1843", -5)),
        question("b3", " ", ("1843", 16)),
        question("b4", "When?", (" ", 3)),
        question("b5", "Why?", ("1843", 16), is_impossible=True),
        question("b6", "Why?", is_impossible=False),
    ]
    broken = article((context, bad), (" ", [question("b7", "Why?")]))
    path = write_squad(tmp_path / "all.json", broken, *numbered(9))
    data = load_questions(config_of(path), seed=0, rejected=tmp_path / "rejected.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    assert [(line["id"], line["row"], line["reason"]) for line in lines] == [
        ("b1", 1, "an answer that does not stand at its answer_start"),
        ("b2", 2, "an answer that does not stand at its answer_start"),
        ("b3", 3, "empty question"),
        ("b4", 4, "empty answer"),
        ("b5", 5, "is_impossible, and yet with an answer"),
        ("b6", 6, "not is_impossible, and yet without an answer"),
        ("b7", 7, "empty context"),
    ]
    assert lines[0] | {"id": ""} == {
        "split": "all",
        "row": 1,
        "reason": lines[0]["reason"],
        "text": "When?",
        "label": ["1843"],
        "id": "",
    }
    assert "2 rows were rejected: an answer that does not stand at its answer_start." in data.notes
    assert data.summary["rejected"]["empty question"] == 1
    assert sum(map(len, (data.train, data.validation, data.test))) == 18
    assert data.train.ids.min() > 6


def test_nothing_that_can_be_used(tmp_path):
    path = write_squad(tmp_path / "a.json", article(("Ada.", [question("q", "Who?", ("Bob", 0))])))
    with pytest.raises(DataError, match=r"The all split has no question that can be .*1 row was"):
        load_questions(config_of(path), seed=0, rejected=tmp_path / "rejected.jsonl")
    assert (tmp_path / "rejected.jsonl").exists()
    with pytest.raises(DataError, match=r"no question that can be used .* Received: no questions"):
        load_questions(config_of(write_squad(tmp_path / "b.json")), seed=0)


def test_a_folder_s_splits_are_told_by_how_their_names_begin(tmp_path):
    write_squad(tmp_path / "train-v2.0.json", *numbered(10))
    (tmp_path / "notes.txt").write_text("")
    assert set(open_questions(config_of(tmp_path)).splits) == {"all"}
    content = json.dumps({"data": numbered(5, word="thing")})
    (tmp_path / "dev-v2.0.json.gz").write_bytes(gzip.compress(content.encode()))
    data = load_questions(config_of(tmp_path), seed=0)
    assert [len(data.train), len(data.validation), len(data.test)] == [18, 2, 10]
    assert any("validation split is reported on as the test" in note for note in data.notes)
    assert data.name == tmp_path.name


def test_leaks_and_repetitions(tmp_path):
    (tmp_path / "train.json").write_text(json.dumps({"data": [*numbered(6), *numbered(2)]}))
    write_squad(tmp_path / "valid.json", *numbered(2, word="thing"))
    write_squad(tmp_path / "test.json", *numbered(3))
    data = load_questions(config_of(tmp_path), seed=0)
    assert data.summary["duplicates"]["train_test"] == 3
    assert data.summary["duplicates"]["within_train"] == 4
    assert "Contexts: 3 distinct texts stand in both train and test: scores may flatter." in (
        data.notes
    )
    assert "4 training questions repeat another on the same context." in data.notes
    assert len(data.summary["duplicates"]["examples"]) == 3


def test_the_summary(tmp_path):
    paragraph = ("Ada wrote it.", [question("q", "Why?"), question("r", "Who?", ("Ada", 0))])
    write_squad(tmp_path / "train.json", article(paragraph))
    write_squad(tmp_path / "valid.json", *numbered(2, word="thing"))
    write_squad(tmp_path / "test.json", *numbered(3))
    data = load_questions(config_of(tmp_path), seed=0)
    assert data.labels == ("answer", "no answer")
    assert not data.answers_all
    train, test = data.summary["train"], data.summary["test"]
    assert (train["n"], train["class_counts"], train["without_answer"]) == (2, [1, 1], 0.5)
    assert train["contexts"] == {"n": 1, "words": {"p5": 3, "p50": 3, "p95": 3, "max": 3}}
    assert test["answers_per_question"] == 1
    assert test["contexts"]["n"] == 3
    assert json.loads(json.dumps(data.summary)) == data.summary


def test_a_limit_is_of_questions(tmp_path):
    path = write_squad(tmp_path / "all.json", *numbered(20, questions=3))
    data = load_questions(config_of(path, limit=5), seed=0)
    assert [len(data.train), len(data.validation), len(data.test)] == [5, 5, 5]
    assert any(
        "By data.limit, 5 training, 5 validation and 5 test questions" in note
        for note in data.notes
    )
    assert len(load_answered(config_of(path, limit=7), seed=0).examples) == 7


def test_qamr_is_known_by_its_sentences(tmp_path):
    rows = [qamr_row(f"Wiki1k:{name}", "Who?", ("0", "0", "0")) for name in ("a:1", "a:2", "b:2")]
    folder = write_qamr(tmp_path, dev=rows, test=rows)
    data = load_questions(config_of(folder, validation_fraction=0.34), seed=0)
    assert [len(data.train), len(data.validation), len(data.test)] == [2, 1, 3]
    assert "no train.tsv" in data.notes[0]
    assert data.summary["duplicates"]["train_test"] == 3
    answered = load_answered(config_of(folder), seed=0)
    assert answered.examples.golds()[0] == ["Ada"] * 3
    assert "no train.tsv" in answered.notes[0]


def test_sources_that_are_none(tmp_path):
    write_squad(tmp_path / "train.json", *numbered(3))
    with pytest.raises(DataError, match=r"No such .* Did you mean 'train\.json'.* 'tfds:.*trian"):
        open_questions(config_of(tmp_path / "trian.json"))
    with pytest.raises(DataError, match=r"No such source of questions.* Received: 'sample'"):
        open_questions(config_of("sample"))
    with pytest.raises(DataError, match=r"No such source of questions.*/nowhere/at/all"):
        open_questions(config_of("/nowhere/at/all"))
    (tmp_path / "table.csv").write_text("text,label\n")
    with pytest.raises(DataError, match=r"Unknown kind of file for questions.*table\.csv"):
        open_questions(config_of(tmp_path / "table.csv"))
    (tmp_path / "train-2.json").write_text("{}")
    with pytest.raises(DataError, match=r"are its train split: leave one. Received: train-2.json"):
        open_questions(config_of(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"whose name begins with train .* with nothing"):
        open_questions(config_of(tmp_path / "empty"))


def test_settings_that_are_for_classes(tmp_path):
    path = write_squad(tmp_path / "all.json", *numbered(9))
    with pytest.raises(ConfigError, match=r"data.shots counts .* Accepted: data.limit.*shots 3"):
        load_questions(config_of(path, shots=3), seed=0)


def test_too_few_contexts_to_divide(tmp_path):
    path = write_squad(tmp_path / "all.json", *numbered(1, questions=9))
    with pytest.raises(DataError, match=r"Too few contexts in .* Received: 1 contexts, fraction 0"):
        load_questions(config_of(path), seed=0)


def test_without_a_test_split_the_validation_split_is_measured_on(tmp_path):
    folder = write_qamr(
        tmp_path,
        train=[qamr_row("Wiki1k:a:1", "Who?", ("0", "0", "0"))],
        dev=[qamr_row("Wiki1k:a:2", "Who?", ("0", "0", "0"))],
    )
    assert load_answered(config_of(folder), seed=0).examples.texts() == ["Who?"]


def test_a_broken_file_keeps_what_was_rejected_before(tmp_path):
    path = tmp_path / "all.json"
    good = json.dumps(article(("Ada.", [question("q", "Who?", ("Bob", 0))])))
    path.write_text('{"data": [' + good + ", oops]}")
    with pytest.raises(UnreadableFileError, match=r"data\[1\]"):
        load_questions(config_of(path), seed=0, rejected=tmp_path / "rejected.jsonl")
    assert '"id": "q"' in (tmp_path / "rejected.jsonl").read_text()


def asked(context, *golds):
    """Return one question on a context with gold answers, given as characters."""
    columns = [TextColumn() for _ in range(3)]
    for column, text in zip(columns, (context, "Q?", "key"), strict=True):
        column.append([text])
    answers = np.array(golds, np.int32).reshape(-1, 2)
    bounds = np.array([0, len(answers)], np.int64)
    zero = np.zeros(1, np.int64)
    table = QuestionTable(columns[0], columns[2], zero, answers, bounds)
    labels = np.array([not len(answers)], np.int32)
    return QuestionExamples(columns[1], zero, labels, zero + 1, "here", table)


@pytest.mark.parametrize(
    ("golds", "words", "widened"),
    [
        ([], (0, 0), 0),
        ([(16, 20)], (5, 5), 0),  # 1843
        ([(13, 20)], (4, 5), 0),
        ([(12, 20)], (4, 5), 0),  # with a space before it
        ([(18, 20)], (5, 5), 1),  # 43
        ([(5, 8)], (2, 2), 1),  # wro
        ([(20, 21)], (6, 6), 0),
        ([(0, 3), (16, 20), (16, 20)], (5, 5), 0),
        ([(0, 3), (16, 20)], (1, 1), 0),
        ([(18, 20), (0, 3), (16, 20)], (5, 5), 1),
    ],
)
def test_answers_among_words(golds, words, widened):
    found, wider = asked("Ada wrote it in 1843.", *golds).at_words(words_of)
    assert tuple(found.targets(positions=np.array([0]))[0]) == words
    assert wider == widened
    assert found.targets().dtype == np.int32


def test_a_context_without_words_answers_nothing():
    found, wider = asked("  ", (0, 1)).at_words(words_of)
    assert (found.targets().tolist(), wider) == ([[0, 0]], 0)


def test_targets_need_words():
    with pytest.raises(DataError, match=r"until at_words says .* Received: 1 questions of here"):
        asked("Ada.", (0, 3)).targets()


@settings(max_examples=100, deadline=None)
@given(st.text("ab .", min_size=1, max_size=20), st.data())
def test_the_words_hold_the_answer_and_not_a_word_more(context, data):
    start = data.draw(st.integers(0, len(context) - 1))
    end = data.draw(st.integers(start + 1, len(context)))
    (places,) = words_of([context])
    found, wider = asked(context, (start, end)).at_words(words_of)
    first, last = found.targets()[0] - 1
    inside = [w for w, (a, b) in enumerate(places) if a < end and b > start]
    if inside:
        assert (first, last) == (inside[0], inside[-1])
        assert wider == (places[first][0] < start or places[last][1] > end)
    elif len(places):
        assert first == last


def test_words_in_every_split_and_after_taking(tmp_path):
    path = write_squad(tmp_path / "all.json", *numbered(20, questions=3))
    data = load_questions(config_of(path), seed=0).at_words(words_of)
    assert data.answers_all
    for part in (data.train, data.validation, data.test):
        for context, (first, last) in zip(part.contexts(), part.targets(), strict=True):
            start, end = words_of([context])[0][[first - 1, last - 1]].ravel()[[0, 3]]
            assert context[start:end] == "red"
    taken = data.train.take(np.array([4, 4, 1]))
    np.testing.assert_array_equal(taken.targets(), data.train.targets()[[4, 4, 1]])
    assert data.summary["widened"] == {"train": 0, "validation": 0, "test": 0}


def test_widened_answers_are_told_of(tmp_path):
    context = "Colours: red-blue."
    paragraph = (context, [question("q", "Which?", ("ed", 10)), question("r", "Which?", ("e", 10))])
    write_squad(tmp_path / "train.json", article(paragraph))
    write_squad(tmp_path / "valid.json", *numbered(2, word="thing"))
    write_squad(tmp_path / "test.json", *numbered(3))
    data = load_questions(config_of(tmp_path), seed=0).at_words(words_of)
    assert data.summary["widened"] == {"train": 2, "validation": 0, "test": 0}
    assert (
        "2 train answers begin or end inside a word; the model can only give the whole"
        in (data.notes[-1])
    )


@pytest.mark.real_data
def test_xquad(real_data):
    path = real_data / "qa" / "xquad" / "xquad.en.json"
    answered = load_answered(config_of(path), seed=0)
    assert len(answered.examples) == 1190
    assert len(answered.examples.passages()) == 240
    assert answered.rejected == {}
    assert all(answered.examples.golds())
    data = load_questions(config_of(path), seed=0)
    parts = (data.train, data.validation, data.test)
    assert sum(map(len, parts)) == 1190
    assert [len(part.passages()) for part in parts] == [173, 19, 48]
    assert data.summary["duplicates"]["train_test"] == 0


@pytest.mark.real_data
def test_qamr(real_data):
    folder = real_data / "qa" / "qamr"
    data = load_questions(config_of(folder), seed=0)
    assert len(data.train) + len(data.validation) == 18_908
    assert len(data.test) == 18_770
    assert data.summary["rejected"] == {}
    assert data.summary["duplicates"]["train_test"] == 0
    assert len(data.train.passages()) + len(data.validation.passages()) == 499
    assert len(data.test.passages()) == 479, "two of the 480 sentences are the same"
    assert {len(golds) for golds in data.test.golds()} == {3}
    assert not any("-LRB-" in context for context in data.test.passages().texts())
