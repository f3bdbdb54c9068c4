"""From a source to train, validation and test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data import duplicates as duplicates_module
from tfhub_transfer.data.examples import Dataset
from tfhub_transfer.data.splits import class_weights, load, load_labelled
from tfhub_transfer.errors import DataError

Rows = list[tuple[Any, Any]]


def rows_of(name: str, **sizes: int) -> Rows:
    """Return rows with distinct texts, as many of each label as given."""
    return [(f"{name} {label} {n}", label) for label, size in sizes.items() for n in range(size)]


@pytest.fixture
def write(tmp_path_factory):
    """Write splits as JSONL into a new folder, and return a config for it or its file `all`."""

    def write(settings: dict[str, Any] | None = None, **splits: Rows) -> DataConfig:
        folder = tmp_path_factory.mktemp("source")
        for name, rows in splits.items():
            lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
            (folder / f"{name}.jsonl").write_text("\n".join(lines))
        source = folder / "all.jsonl" if "all" in splits else folder
        return DataConfig(source=str(source), **(settings or {}))

    return write


def contents(data: Dataset) -> dict[str, list[tuple[str, Any]]]:
    return {
        name: list(zip(part.texts(), part.labels.tolist(), strict=True))
        for name, part in (
            ("train", data.train),
            ("validation", data.validation),
            ("test", data.test),
        )
    }


def rejected_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# --- the protocol ---------------------------------------------------------------------------------


def test_three_splits_are_taken_as_they_are(write):
    data = load(
        write(
            train=[("a", "x"), ("b", "y"), ("c", "y"), ("d", "x")],
            valid=[("e", "y")],
            test=[("f", "x"), ("g", "y")],
        ),
        seed=0,
    )
    assert data.labels == ("x", "y")
    assert not data.multi_label
    assert contents(data) == {
        "train": [("a", 0), ("b", 1), ("c", 1), ("d", 0)],
        "validation": [("e", 1)],
        "test": [("f", 0), ("g", 1)],
    }
    assert data.train.labels.dtype == np.int32
    assert data.train.ids.tolist() == [1, 2, 3, 4]
    assert data.train.origin.endswith("train.jsonl")
    assert data.notes == ()


def test_validation_is_carved_out_of_train(write):
    data = load(write(train=rows_of("train", x=60, y=40), test=rows_of("test", x=3, y=3)), seed=3)
    assert data.summary["train"]["class_counts"] == [54, 36]
    assert data.summary["validation"]["class_counts"] == [6, 4]
    assert len(data.test) == 6
    assert "The validation split, 10 of 100 rows, was carved out of" in data.notes[0]
    assert data.notes[0].endswith("train.jsonl (stratified, seed 3).")


def test_without_a_test_the_official_validation_is_reported_on(write):
    data = load(write(train=rows_of("train", x=20, y=20), dev=rows_of("dev", x=5, y=5)), seed=0)
    assert all(text.startswith("dev") for text in data.test.texts())
    assert all(text.startswith("train") for text in data.validation.texts())
    assert "its validation split is reported on as the test" in data.notes[0]


def test_an_unlabelled_test_split_is_left_out(write, tmp_path):
    config = write(
        train=rows_of("train", x=20, y=20),
        dev=rows_of("dev", x=5, y=5),
        test=[("test 1", None), ("test 2", "")],
    )
    data = load(config, seed=0, rejected=tmp_path / "rejected.jsonl")
    assert "The test split has no labels" in data.notes[0]
    assert all(text.startswith("dev") for text in data.test.texts())
    assert data.summary["rejected"] == {}
    assert not (tmp_path / "rejected.jsonl").exists()


def test_with_nothing_labelled_beside_it_train_is_one_table(write):
    config = write(train=rows_of("train", x=20, y=20), test=[("no label", None)])
    data = load(config, seed=0)
    assert [len(data.train), len(data.validation), len(data.test)] == [29, 3, 8]


def test_one_table_is_divided_in_two_steps(write):
    data = load(write(all=rows_of("row", x=60, y=40)), seed=0)
    counts = [data.summary[name]["class_counts"] for name in ("train", "validation", "test")]
    assert counts == [[43, 29], [5, 3], [12, 8]]
    assert "The test split, 20 of 100 rows," in data.notes[0]
    assert "The validation split, 8 of 80 rows," in data.notes[1]
    texts = [text for part in contents(data).values() for text, _ in part]
    assert sorted(texts) == sorted(text for text, _ in rows_of("row", x=60, y=40))


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(3, 30), min_size=2, max_size=5), st.integers(0, 99))
def test_every_class_of_a_table_is_trained_on_and_tested(tmp_path_factory, sizes, seed):
    path = tmp_path_factory.mktemp("table") / "all.csv"
    rows = [f"text {c} {n},class {c}" for c, size in enumerate(sizes) for n in range(size)]
    path.write_text("\n".join(["text,label", *rows]))
    data = load(DataConfig(source=str(path)), seed=seed)
    counts = {name: data.summary[name]["class_counts"] for name in ("train", "validation", "test")}
    assert min(counts["train"]) >= 1
    assert min(counts["validation"]) >= 1
    assert min(counts["test"]) >= 1
    assert np.sum(list(counts.values()), axis=0).tolist() == sizes
    assert data.summary["duplicates"]["train_test"] == 0


def test_the_seed_alone_decides(write):
    config = write(all=rows_of("row", x=60, y=40))
    assert contents(load(config, seed=1)) == contents(load(config, seed=1))
    assert contents(load(config, seed=1)) != contents(load(config, seed=2))


def test_without_a_share_nothing_can_be_carved_out(write):
    two = {name: rows_of(name, x=9, y=9) for name in ("train", "test")}
    with pytest.raises(DataError, match=r"best epoch must be chosen.*validation_fraction above 0"):
        load(write({"validation_fraction": 0.0}, **two), seed=0)
    with pytest.raises(DataError, match=r"training never saw: give --data.test_fraction above 0"):
        load(write({"test_fraction": 0.0}, all=rows_of("a", x=9, y=9)), seed=0)
    official = write({"validation_fraction": 0.0}, valid=rows_of("v", x=1), **two)
    assert len(load(official, seed=0).train) == 18


def test_too_few_rows_to_hold_any_out(write):
    with pytest.raises(DataError, match=r"Too few rows .* hold out a validation split"):
        load(write(all=rows_of("a", x=2, y=2)), seed=0)


def test_limit_and_shots(write):
    config = write(
        {"limit": 20, "shots": 3}, train=rows_of("a", x=300, y=100), test=rows_of("b", x=90, y=10)
    )
    data = load(config, seed=0)
    assert data.summary["train"]["class_counts"] == [3, 3]
    assert data.summary["validation"]["class_counts"] == [15, 5]
    assert data.summary["test"]["class_counts"] == [18, 2]
    unlimited = load(DataConfig(source=config.source), seed=0)
    assert set(data.validation.texts()) <= set(unlimited.validation.texts())
    assert set(data.train.texts()) <= set(unlimited.train.texts())


def test_a_limit_below_the_number_of_classes(write):
    config = write({"limit": 2}, all=rows_of("a", x=9, y=9, z=9))
    with pytest.raises(
        DataError, match=r"at least one training row of each of the 3 .* Received: 2"
    ):
        load(config, seed=0)


# --- labels ---------------------------------------------------------------------------------------


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


# --- what is rejected, and what is found twice ----------------------------------------------------


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


# --- another data set, under a model's labels -----------------------------------------------------


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


# --- weights --------------------------------------------------------------------------------------


@settings(deadline=None)  # of the first example, which imports
@given(st.lists(st.integers(1, 50), min_size=1, max_size=6))
def test_class_weights_are_scikit_learn_s(sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    expected = compute_class_weight("balanced", classes=np.arange(len(sizes)), y=labels)
    np.testing.assert_allclose(class_weights(np.array(sizes)), expected, rtol=1e-6)


def test_a_class_without_examples_weighs_nothing():
    assert class_weights(np.array([3, 0, 1])).tolist() == pytest.approx([2 / 3, 0, 2])


# --- real data ------------------------------------------------------------------------------------


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder", "label", "classes", "sizes"),
    [
        ("trec", "label", 6, (4907, 545, 500)),
        ("trec", "fine_label", 50, (4907, 545, 500)),
        ("banking77", "category", 77, (9003, 1000, 3080)),
        ("clinc150", "label", 151, (15100, 3100, 5500)),
        ("ag_news", "label", 4, (8982, 998, 7600)),
    ],
)
def test_real_data_sets(real_data, folder, label, classes, sizes):
    config = DataConfig(source=str(real_data / "text" / folder), label_column=label)
    data = load(config, seed=0)
    assert len(data.labels) == classes
    assert (len(data.train), len(data.validation), len(data.test)) == sizes
