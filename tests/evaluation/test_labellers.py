"""Raw text in, words, tags and entities out, as `predict` writes them."""

from __future__ import annotations

import csv
import json

import pytest

from tests.trained import answerer_run, joint_run, tagger_run
from tfhub_transfer.data import word_chunks
from tfhub_transfer.errors import ConfigError, MissingColumnError
from tfhub_transfer.evaluation.labelling import label_stream
from tfhub_transfer.training.classifier import Classifier

pytestmark = pytest.mark.slow

TEXTS = ["Please call Ada Lovelace.", "", "book flights to 😀 Oslo", "   "]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What the joint run says of TEXTS."""
    folder = tmp_path_factory.mktemp("labelled")
    (folder / "in.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    run = joint_run(tmp_path_factory.getbasetemp())
    assert label_stream(str(run.path), str(folder / "in.txt"), str(folder / "out.jsonl")) == 4
    return [json.loads(line) for line in (folder / "out.jsonl").read_text("utf-8").splitlines()]


def test_words_tags_and_entities(answers):
    names = ["text", "words", "tags", "scores", "entities", "intent", "intent_score", "intents"]
    assert [list(answer) for answer in answers] == [names] * 4
    assert [answer["text"] for answer in answers] == TEXTS
    assert answers[0]["words"] == ["Please", "call", "Ada", "Lovelace", "."]
    assert [answer["words"] for answer in answers[1::2]] == [[], []]
    for answer in answers:
        assert len(answer["words"]) == len(answer["tags"]) == len(answer["scores"])
        for entity in answer["entities"]:
            assert list(entity) == ["type", "text", "start", "end", "score"]
            assert answer["text"][entity["start"] : entity["end"]] == entity["text"]
            assert 0 < entity["score"] <= 1
    found = [(entity["type"], entity["text"]) for entity in answers[0]["entities"]]
    assert ("person", "Ada Lovelace") in found
    assert ("city", "Oslo") in [(e["type"], e["text"]) for e in answers[2]["entities"]]


def test_the_intent_is_the_likeliest(answers):
    for answer in answers:
        assert list(answer["intents"]) == ["call", "flight"]
        assert answer["intents"][answer["intent"]] == answer["intent_score"]
        assert answer["intent_score"] == max(answer["intents"].values())


def test_csv_has_entities_as_json(tmp_path, tmp_path_factory):
    (tmp_path / "in.csv").write_text('id,text,intent\n1,"call ""Ada Lovelace"", now",mine\n')
    for run, more in [(joint_run, ["intent", "intent_score"]), (tagger_run, [])]:
        path = run(tmp_path_factory.getbasetemp()).path
        label_stream(str(path), str(tmp_path / "in.csv"), str(tmp_path / "out.csv"))
        with (tmp_path / "out.csv").open(newline="") as file:
            (row,) = csv.DictReader(file)
        own = "input_intent" if more else "intent"
        assert list(row) == ["id", "text", own, "entities", *more]
        assert row[own] == "mine"
        (entity,) = json.loads(row["entities"])
        assert (entity["type"], entity["text"]) == ("person", "Ada Lovelace")
        assert row["text"][entity["start"] : entity["end"]] == "Ada Lovelace"


def test_a_long_text_does_not_widen_the_others(tmp_path, tmp_path_factory, monkeypatch):
    monkeypatch.setattr(word_chunks, "WORDS_AT_ONCE", 100)
    run = tagger_run(tmp_path_factory.getbasetemp())
    lines = ["call Ada Lovelace", "word " * 300, *["flights to Oslo"] * 5]
    (tmp_path / "in.txt").write_text("\n".join(lines) + "\n")
    seen = []
    real = Classifier.from_vectors
    monkeypatch.setattr(
        Classifier, "from_vectors", lambda self, v: seen.append(v.shape[:2]) or real(self, v)
    )
    label_stream(str(run.path), str(tmp_path / "in.txt"), str(tmp_path / "out.jsonl"))
    assert seen == [(1, 300), (6, 3)]
    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [len(answer["words"]) for answer in answers] == [3, 300, *[3] * 5]
    assert [answer["entities"][0]["text"] for answer in answers[2:]] == ["Oslo"] * 5


CONTEXT = "This is item 3 of the list and it has the colours red and blue ."
ASKED = [
    {"id": 7, "question": "Which colour 0 has item 3?", "context": CONTEXT, "answer": "red"},
    {"id": 8, "question": "Which animal is it?", "context": "👩🏽‍🚀 The box 5 is empty ."},
    {"id": 9, "question": "", "context": ""},
]


@pytest.fixture
def answerer(tmp_path_factory):
    return str(answerer_run(tmp_path_factory.getbasetemp()).path)


def test_answers_with_their_places(answerer, tmp_path):
    lines = [json.dumps(record, ensure_ascii=False) for record in ASKED]
    (tmp_path / "in.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert label_stream(answerer, str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl")) == 3
    written = (tmp_path / "out.jsonl").read_text("utf-8").splitlines()
    answers = [json.loads(line) for line in written]
    assert answers[0]["input_answer"] == "red", "what the model says keeps its name"
    for record, answer in zip(ASKED, answers, strict=True):
        assert list(answer)[-5:] == ["answer", "score", "start", "end", "n_best"]
        assert {**record, "answer": answer["answer"]}.items() <= answer.items()
        assert {name: answer[name] for name in answer["n_best"][0]} == answer["n_best"][0]
        for place, one in enumerate(answer["n_best"]):
            if one["start"] >= 0:
                assert record["context"][one["start"] : one["end"]] == one["answer"] != ""
            else:
                assert (place, one["answer"], one["end"]) == (0, "", -1)
    assert len(answers[0]["n_best"]) == 6
    assert answers[2]["n_best"] == [{"answer": "", "score": 1.0, "start": -1, "end": -1}]


def test_csv_has_the_best_answer(answerer, tmp_path):
    (tmp_path / "in.csv").write_text(f'q,passage\n"Which, then?","{CONTEXT}"\nwho,\n')
    columns = {"question_column": "q", "context_column": "passage"}
    label_stream(answerer, str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), **columns)
    with (tmp_path / "out.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert list(first) == ["q", "passage", "answer", "score", "start", "end"]
    start, end = max(int(first["start"]), 0), max(int(first["end"]), 0)
    assert CONTEXT[start:end] == first["answer"]
    assert (second["answer"], second["start"], second["score"]) == ("", "-1", "1.000000")


def test_what_a_run_takes_is_told(answerer, tmp_path, tmp_path_factory):
    (tmp_path / "in.txt").write_text("Who?\n")
    (tmp_path / "in.jsonl").write_text('{"question": "Who?"}\n')
    with pytest.raises(ConfigError, match=r"takes a question and context\. .*Received: lines"):
        label_stream(answerer, str(tmp_path / "in.txt"), "-")
    with pytest.raises(MissingColumnError, match=r"'context' in row 1\. Give --context_column\."):
        label_stream(answerer, str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl"))
    with pytest.raises(ConfigError, match=r"Accepted: --question_column, --context_column\. "):
        label_stream(answerer, str(tmp_path / "in.jsonl"), "-", text_column="question")
    tagger = str(tagger_run(tmp_path_factory.getbasetemp()).path)
    with pytest.raises(ConfigError, match=r"takes a text\. .*Received: --context_column body"):
        label_stream(tagger, str(tmp_path / "in.txt"), "-", context_column="body")
