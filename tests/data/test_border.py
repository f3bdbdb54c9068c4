"""What a label is, what is rejected, and what is found twice."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.data.made_up import contents, rejected_rows, rows_of
from tfhub_transfer.data import duplicates as duplicates_module
from tfhub_transfer.data.splits import load, load_labelled
from tfhub_transfer.errors import DataError


def test_integer_labels_are_sorted_as_numbers(write):
    rows = [(f"text {n}", n % 11) for n in range(110)]
    assert load(write(all=rows), seed=0).labels == tuple(map(str, range(11)))


def test_lists_of_labels_are_multi_label(write):
    rows = [(f"text {n}", [["b"], ["a", "b"], [], ["c", "c"]][n % 4]) for n in range(80)]
    data = load(write(all=rows), seed=0)
    assert data.multi_label
    assert data.labels == ("a", "b", "c")
    assert data.train.labels.dtype == np.uint8
    expected = {0: [0, 1, 0], 1: [1, 1, 0], 2: [0, 0, 0], 3: [0, 0, 1]}
    for text, label in contents(data)["train"]:
        assert label == expected[int(text.split()[1]) % 4]
    assert "at random, for rows have several labels" in data.notes[0]


def test_a_separator_splits_a_cell(write):
    rows = [(f"text {n}", ["news | sport", "news", "sport||art"][n % 3]) for n in range(60)]
    data = load(write({"label_separator": "|", "shots": 5, "limit": 30}, all=rows), seed=0)
    assert data.labels == ("art", "news", "sport")
    assert max(data.summary["train"]["class_counts"]) <= 5


def test_a_list_among_single_labels(write):
    rows = [*rows_of("a", x=5, y=5), ("b", ["x"])]
    with pytest.raises(DataError, match=r"row 11: a list of labels, where training rows have one"):
        load(write(all=rows), seed=0)


def test_a_class_with_one_example_is_named(write):
    rows = rows_of("a", x=5, y=1, z=5, w=1)
    with pytest.raises(DataError, match=r"at least two training rows.* Received: 2 .*: 'w', 'y'$"):
        load(write(all=rows), seed=0)
    many = rows_of("a", x=5, **{f"class{n:02}": 1 for n in range(13)})
    with pytest.raises(DataError, match=r"Received: 13 .*'class00', .*'class09' and 3 more$"):
        load(write(all=many), seed=0)


def test_one_class_is_no_classification(write):
    with pytest.raises(DataError, match=r"at least two classes .* Received: 'x'"):
        load(write(all=rows_of("a", x=5)), seed=0)


def test_a_table_without_a_usable_row_writes_down_why(write, tmp_path):
    config = write(all=[("a", None), ("", "x")])
    with pytest.raises(DataError, match=r"no row with both a text and a label"):
        load(config, seed=0, rejected=tmp_path / "rejected.jsonl")
    assert len(rejected_rows(tmp_path / "rejected.jsonl")) == 2


def test_a_test_split_without_a_known_label(write):
    config = write(train=rows_of("a", x=9, y=9), test=[("b", "positive")])
    with pytest.raises(
        DataError, match=r"test split has no row .* known: 'x', 'y'. Received: 1 row"
    ):
        load(config, seed=0)


def test_rejected_rows_are_written_and_counted(write, tmp_path):
    config = write(
        train=[*rows_of("a", x=9, y=9), (None, "x"), (" \n", "x"), ("no label", None), ("é", " ")],
        test=[("b", "x"), ("c", "z"), ("d", "y")],
    )
    path = tmp_path / "run" / "rejected.jsonl"
    data = load(config, seed=0, rejected=path)
    assert rejected_rows(path) == [
        {"split": "train", "row": 19, "reason": "null text", "text": None, "label": "x"},
        {"split": "train", "row": 20, "reason": "empty text", "text": " \n", "label": "x"},
        {"split": "train", "row": 21, "reason": "null label", "text": "no label", "label": None},
        {"split": "train", "row": 22, "reason": "empty label", "text": "é", "label": " "},
        {
            "split": "test",
            "row": 2,
            "reason": "label unseen in training",
            "text": "c",
            "label": "z",
        },
    ]
    assert data.summary["rejected"] == {
        "empty label": 1,
        "empty text": 1,
        "label unseen in training": 1,
        "null label": 1,
        "null text": 1,
    }
    assert "1 row was rejected: label unseen in training." in data.notes
    assert data.test.ids.tolist() == [1, 3]


def test_an_empty_list_is_an_answer_and_an_empty_cell_is_not(write):
    lists = [
        ("a", []),
        *[(f"b {n}", ["x"]) for n in range(9)],
        *[(f"c {n}", ["y"]) for n in range(9)],
    ]
    assert load(write(all=lists), seed=0).summary["rejected"] == {}
    cells = [("a", "|"), *[(f"b {n}", "x|y") for n in range(9)]]
    data = load(write({"label_separator": "|"}, all=cells), seed=0)
    assert data.summary["rejected"] == {"empty label": 1}


def test_no_file_where_nothing_was_rejected(write, tmp_path):
    load(write(all=rows_of("a", x=9, y=9)), seed=0, rejected=tmp_path / "rejected.jsonl")
    assert not (tmp_path / "rejected.jsonl").exists()


@pytest.mark.parametrize("partition_rows", [3, 250_000])
def test_duplicates_are_counted_and_warned_about(write, monkeypatch, partition_rows):
    monkeypatch.setattr(duplicates_module, "_PARTITION_ROWS", partition_rows)
    monkeypatch.setattr(duplicates_module, "_CHUNK_ROWS", 4)
    data = load(
        write(
            train=[*rows_of("a", x=9, y=9), ("a x 0", "x"), ("a x 0", "y"), ("a y 1", "y")],
            valid=[("a x 0", "x"), ("a x 0", "x"), ("v", "y")],
            test=[("a x 0", "x"), ("v", "y"), ("t", "y"), ("a y 2", "y")],
        ),
        seed=0,
    )
    found = data.summary["duplicates"]
    examples = found.pop("examples")
    assert found == {
        "within_train": 3,
        "train_validation": 1,
        "train_test": 2,
        "validation_test": 2,
    }
    assert set(examples) == {"a x 0", "v", "a y 2"}
    assert data.notes == (
        "3 training rows repeat another's text.",
        "1 text stands in both train and validation: scores may flatter.",
        "2 distinct texts stand in both train and test: scores may flatter.",
        "2 distinct texts stand in both validation and test: scores may flatter.",
    )


def test_a_carved_validation_does_not_hide_a_leak_into_the_test(write):
    rows = rows_of("a", x=50, y=50)
    data = load(write({"validation_fraction": 0.5}, train=rows, test=rows[40:60]), seed=0)
    assert data.summary["duplicates"]["train_test"] == 20
    assert 0 < data.summary["duplicates"]["validation_test"] < 20
    assert any(
        "20 distinct texts stand in both train and test (train as it was" in note
        for note in data.notes
    )


def test_the_summary_is_json_with_lengths_in_words(write):
    data = load(write(all=[(" ".join(["w"] * n), "xy"[n % 2]) for n in range(1, 102)]), seed=0)
    words = json.loads(json.dumps(data.summary))["train"]["words"]
    assert 1 <= words["p5"] < words["p50"] < words["p95"] <= words["max"] <= 101


def test_labelled_rows_for_a_trained_model(write, tmp_path):
    config = write(
        train=rows_of("a", x=9),
        dev=rows_of("d", x=9),
        test=[("b", "y"), ("c", "other"), ("d", "x")],
    )
    path = tmp_path / "rejected.jsonl"
    found = load_labelled(config, labels=("y", "x"), multi_label=False, seed=0, rejected=path)
    assert found.examples.texts() == ["b", "d"]
    assert found.examples.labels.tolist() == [0, 1]
    assert found.rejected == {"label unseen in training": 1}
    assert found.notes == ("1 row was rejected: label unseen in training.",)
    assert rejected_rows(path)[0]["text"] == "c"


def test_labelled_rows_fall_back_to_validation_and_to_a_table(write):
    config = write(train=rows_of("a", x=9), dev=[("d", "x")], test=[("b", None)])
    found = load_labelled(config, labels=("x", "y"), multi_label=False, seed=0)
    assert found.examples.texts() == ["d"]
    assert "The test split has no labels" in found.notes[0]


def test_labelled_rows_of_one_table_are_limited(write):
    config = write({"limit": 4}, all=rows_of("a", x=9, y=9))
    found = load_labelled(config, labels=("x", "y"), multi_label=True, seed=0)
    assert found.examples.class_counts(2).sum() == 4
    assert found.examples.labels.shape == (4, 2)


def test_no_row_with_a_label_the_model_knows(write):
    with pytest.raises(
        DataError, match=r"no row that can be used .* known: 'neg', 'pos'. Received"
    ):
        load_labelled(
            write(all=rows_of("a", x=9)), labels=("neg", "pos"), multi_label=False, seed=0
        )
    config = write(train=rows_of("a", x=2), test=[("b", None)])
    with pytest.raises(DataError, match=r"has no labelled split .* Received: splits test, train"):
        load_labelled(config, labels=("x",), multi_label=False, seed=0)
