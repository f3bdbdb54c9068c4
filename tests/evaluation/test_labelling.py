"""New text in, labels out, in every format and whatever goes wrong."""

from __future__ import annotations

import csv
import io
import json
import os
import queue
import sys
import threading
from pathlib import Path

import pytest

from tests import trained
from tfhub_transfer.encoders.bulk import BulkEncoder
from tfhub_transfer.errors import (
    ConfigError,
    DataError,
    MissingColumnError,
    RunError,
    UnreadableFileError,
)
from tfhub_transfer.evaluation import labelling
from tfhub_transfer.evaluation.labelling import label_stream
from tfhub_transfer.training.classifier import Classifier

LABELS = ["negative", "neutral", "positive"]


@pytest.fixture
def run(tmp_path_factory, monkeypatch) -> str:
    """A run whose model is loaded once for all tests."""
    run = trained.sample_run(tmp_path_factory.getbasetemp())
    if not LOADED:
        LOADED.append(Classifier.load(run))
    monkeypatch.setattr(labelling.Classifier, "load", lambda run: LOADED[0])
    return str(run.path)


LOADED: list[Classifier] = []


@pytest.fixture
def stdin(monkeypatch):
    def put(content: str | bytes) -> None:
        content = content if isinstance(content, bytes) else content.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), "ascii"))

    return put


def written(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_lines_from_standard_input_to_standard_output(run, stdin, capsys):
    stdin("What a wonderful place!\nnaïve\n\n")
    assert label_stream(run, "-", "-") == 3
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["text"] for record in records] == ["What a wonderful place!", "naïve", ""]
    for record in records:
        assert list(record) == ["text", "label", "score", "probabilities"]
        assert list(record["probabilities"]) == LABELS
        assert sum(record["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert record["probabilities"][record["label"]] == record["score"]


def test_a_byte_order_mark_on_standard_input(run, stdin, capsys):
    stdin("\ufefftext,id\nfine,1\n")
    assert label_stream(run, "-", "-", input_format="csv") == 1
    record = json.loads(capsys.readouterr().out)
    assert (record["text"], record["id"]) == ("fine", "1")


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".csv", 'id,text\n7,"one, two"\n8,three\n'),
        (".tsv", "id\ttext\n7\tone, two\n8\tthree\n"),
        (".jsonl", '{"id": "7", "text": "one, two"}\n{"id": "8", "text": "three"}\n'),
        (".JSONL", '\ufeff{"id": "7", "text": "one, two"}\n{"id": "8", "text": "three"}\n'),
    ],
)
def test_files_of_every_format(run, tmp_path, suffix, content):
    source = tmp_path / f"in{suffix}"
    source.write_text(content, encoding="utf-8")
    assert label_stream(run, str(source), str(tmp_path / "out.jsonl")) == 2
    records = written(tmp_path / "out.jsonl")
    assert [(r["id"], r["text"]) for r in records] == [("7", "one, two"), ("8", "three")]


def test_a_text_file_is_lines(run, tmp_path):
    (tmp_path / "in.txt").write_text("text,label\na,b\n")
    assert label_stream(run, str(tmp_path / "in.txt"), str(tmp_path / "out")) == 2
    assert [record["text"] for record in written(tmp_path / "out")] == ["text,label", "a,b"]


def test_the_answers_do_not_depend_on_the_batch(run, tmp_path):
    (tmp_path / "in.txt").write_text("\n".join(f"text {n}" for n in range(7)))
    for size in (1, 3, 100):
        label_stream(run, str(tmp_path / "in.txt"), str(tmp_path / f"{size}"), batch_size=size)
    one, three, many = (written(tmp_path / f"{size}") for size in (1, 3, 100))
    assert len(one) == 7
    for left, right in [(one, three), (one, many)]:
        for a, b in zip(left, right, strict=True):
            assert (a["text"], a["label"]) == (b["text"], b["label"])
            assert a["score"] == pytest.approx(b["score"], abs=1e-5)


def test_csv_out(run, tmp_path):
    (tmp_path / "in.csv").write_text('id,text\n1,"a ""b"",\nc"\n')
    label_stream(run, str(tmp_path / "in.csv"), str(tmp_path / "out.csv"))
    with (tmp_path / "out.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert list(row) == ["id", "text", "label", "score"]
    assert row["text"] == 'a "b",\nc'
    assert row["label"] in LABELS
    assert len(row["score"]) == len("0.123456")


def test_the_format_of_the_output_can_be_named(run, stdin, capsys):
    stdin("fine\n")
    label_stream(run, "-", "-", output_format="csv")
    header, row = capsys.readouterr().out.splitlines()
    assert header == "text,label,score"
    assert row.startswith("fine,")


def test_a_column_called_label_is_kept(run, tmp_path):
    (tmp_path / "in.csv").write_text("text,label,score,input_label\na,mine,9,older\n")
    label_stream(run, str(tmp_path / "in.csv"), str(tmp_path / "out.jsonl"))
    (record,) = written(tmp_path / "out.jsonl")
    assert record["input_input_label"] == "mine"
    assert record["input_label"] == "older"
    assert record["input_score"] == "9"
    assert record["label"] in LABELS


def test_what_was_written_can_be_read_again_and_again(run, tmp_path):
    (tmp_path / "0.jsonl").write_text('{"text": "fine", "n": [1]}\n')
    for n in range(3):
        label_stream(run, str(tmp_path / f"{n}.jsonl"), str(tmp_path / f"{n + 1}.jsonl"))
    (record,) = written(tmp_path / "3.jsonl")
    assert len(record) == 2 + 3 * 3, "nothing is lost"
    assert record["n"] == [1]


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".tsv", ".jsonl"])
def test_nothing_in_nothing_out(run, tmp_path, suffix):
    source = tmp_path / f"in{suffix}"
    source.touch()
    assert label_stream(run, str(source), str(tmp_path / "out.csv")) == 0
    assert (tmp_path / "out.csv").read_text() == ""


@pytest.mark.parametrize(
    ("name", "content", "error", "text"),
    [
        ("in.csv", b"id,body\n1,a\n", MissingColumnError, r"no column 'text' in row 1"),
        ("in.jsonl", b'{"text": "a"}\n{"text"\n', UnreadableFileError, r"in\.jsonl, row 2 is no"),
        ("in.txt", b"good\nb\xe9te\n", UnreadableFileError, r"not UTF-8 .*byte 0xe9"),
        ("in.csv", b"text\na\nb,c\n", UnreadableFileError, r"row 2 has not as many cells"),
    ],
)
def test_an_output_is_whole_or_absent(run, tmp_path, name, content, error, text):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=text):
        label_stream(run, str(tmp_path / name), str(tmp_path / "out.jsonl"), batch_size=1)
    assert os.listdir(tmp_path) == [name]


def test_an_output_that_was_there_stays_where_the_input_breaks(run, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\nnonsense\n')
    (tmp_path / "out.jsonl").write_text("old")
    with pytest.raises(UnreadableFileError):
        label_stream(run, str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl"))
    assert (tmp_path / "out.jsonl").read_text() == "old"


def test_standard_output_has_what_came_before_the_break(run, stdin, capsys):
    stdin('{"text": "a"}\nnonsense\n')
    with pytest.raises(UnreadableFileError, match="standard input, row 2"):
        label_stream(run, "-", "-", input_format="jsonl", batch_size=1)
    assert json.loads(capsys.readouterr().out)["text"] == "a"


def test_another_text_column(run, tmp_path):
    (tmp_path / "in.csv").write_text("text,review\nx,fine\n")
    label_stream(run, str(tmp_path / "in.csv"), str(tmp_path / "o"), text_column="review")
    (tmp_path / "only.csv").write_text("review\nfine\n")
    label_stream(run, str(tmp_path / "only.csv"), str(tmp_path / "p"), text_column="review")
    (one,), (other,) = written(tmp_path / "o"), written(tmp_path / "p")
    assert one["score"] == other["score"], "the column named is the one that is read"


def test_the_run_s_own_text_column_is_the_default(run, tmp_path):
    config = (Path(run) / "config.yaml").read_text(encoding="utf-8")
    (tmp_path / "config.yaml").write_text(config.replace("text_column: text", "text_column: body"))
    (tmp_path / "in.csv").write_text("text,body\nawful,wonderful\n")
    for column in (None, "body"):
        label_stream(
            str(tmp_path), str(tmp_path / "in.csv"), str(tmp_path / f"{column}"), text_column=column
        )
    assert written(tmp_path / "None") == written(tmp_path / "body")
    label_stream(run, str(tmp_path / "in.csv"), str(tmp_path / "text"))
    assert written(tmp_path / "text")[0]["score"] != written(tmp_path / "body")[0]["score"]


def test_half_a_surrogate_pair_beside_the_text_survives(run, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"text": "a", "name": "\\ud83d"}\n')
    label_stream(run, str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl"))
    assert written(tmp_path / "out.jsonl")[0]["name"] == "\ud83d"


@pytest.mark.parametrize(
    ("source", "text"),
    [("none.csv", r"No such file\. Received: .*none\.csv"), (".", r"suffix does not tell")],
)
def test_an_input_that_is_no_file(run, tmp_path, source, text):
    with pytest.raises((DataError, ConfigError), match=text):
        label_stream(run, str(tmp_path / source), "-")


def test_an_unknown_suffix(run, tmp_path):
    with pytest.raises(ConfigError, match=r"\.csv, .*\.jsonl, \.txt, or --input_format .*x\.gz"):
        label_stream(run, str(tmp_path / "x.gz"), "-")


def test_an_output_that_is_a_directory(run, stdin, tmp_path):
    stdin("fine\n")
    with pytest.raises(ConfigError, match=r"output should be a file"):
        label_stream(run, "-", str(tmp_path))
    assert tmp_path.is_dir()


def test_batches_of_nothing_are_refused(run):
    with pytest.raises(ConfigError, match=r"batch_size must be at least 1\. Received: 0"):
        label_stream(run, "-", "-", batch_size=0)


def test_a_directory_that_is_no_run(tmp_path):
    with pytest.raises(RunError, match="Not a run directory"):
        label_stream(str(tmp_path), "-", "-")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_pipes_are_read_and_written_and_not_replaced(run, tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    os.mkfifo(source)
    os.mkfifo(target)
    feeder = threading.Thread(target=lambda: source.write_text("fine\n"))
    answers: list[str] = []
    reader = threading.Thread(target=lambda: answers.append(target.read_text()))
    feeder.start()
    reader.start()
    label_stream(run, str(source), str(target), input_format="lines")
    feeder.join(10)
    reader.join(10)
    assert json.loads(answers[0])["text"] == "fine"
    assert target.is_fifo()


class Answers(io.StringIO):
    """What is written, handed to another thread at each flush."""

    def __init__(self):
        super().__init__()
        self.flushed: queue.Queue[str] = queue.Queue()

    def flush(self) -> None:
        if text := self.getvalue():
            self.flushed.put(text)
            self.seek(0)
            self.truncate()


def test_each_line_is_answered_as_it_comes(run, monkeypatch):
    reading, writing = os.pipe()
    answers = Answers()
    monkeypatch.setattr(sys, "stdin", os.fdopen(reading, encoding="ascii"))
    monkeypatch.setattr(sys, "stdout", answers)
    worker = threading.Thread(target=label_stream, args=(run, "-", "-"), kwargs={"batch_size": 1})
    worker.start()
    try:
        with os.fdopen(writing, "w", encoding="utf-8") as line:
            for text in ("first", "zweitens: naïve", "third"):
                print(text, file=line, flush=True)
                # the next is not written before this one is answered
                assert json.loads(answers.flushed.get(timeout=30))["text"] == text
    finally:
        worker.join(30)
        sys.stdin.close()
    assert not worker.is_alive()
    assert answers.flushed.empty()


def test_several_labels(tmp_path, tmp_path_factory, capsys, stdin):
    run = trained.several_run(tmp_path_factory.getbasetemp())
    stdin("wonderful and terrible\nwonderful\nsomething\n")
    label_stream(str(run.path), "-", "-")
    both, one, _ = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert isinstance(both["label"], list)
    assert "good" in one["label"]
    (tmp_path / "in.txt").write_text("wonderful and terrible\n")
    label_stream(str(run.path), str(tmp_path / "in.txt"), str(tmp_path / "out.csv"))
    with (tmp_path / "out.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["label"] == "|".join(both["label"])


def test_the_model_is_traced_once(tmp_path_factory, tmp_path, monkeypatch):
    run = str(trained.sample_run(tmp_path_factory.getbasetemp()).path)
    (tmp_path / "in.txt").write_text("a\n" * 20)
    made = []
    build = BulkEncoder.__init__
    monkeypatch.setattr(
        BulkEncoder, "__init__", lambda self, *a, **k: made.append(1) or build(self, *a, **k)
    )
    label_stream(run, str(tmp_path / "in.txt"), str(tmp_path / "out"), batch_size=1)
    assert len(made) == 1
