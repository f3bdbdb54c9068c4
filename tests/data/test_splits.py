"""From a source to train, validation and test."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from tests.data.made_up import contents, rows_of
from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.splits import class_weights, load
from tfhub_transfer.errors import DataError


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
    assert "6 training, 20 validation and 20 test rows were drawn" in " ".join(data.notes)
    enough = load(DataConfig(source=config.source, shots=500), seed=0)
    assert enough.summary == unlimited.summary
    assert "no more rows than data.limit or data.shots ask for" in " ".join(enough.notes)


def test_a_limit_below_the_number_of_classes(write):
    config = write({"limit": 2}, all=rows_of("a", x=9, y=9, z=9))
    with pytest.raises(
        DataError, match=r"at least one training row of each of the 3 .* Received: 2"
    ):
        load(config, seed=0)


@settings(deadline=None)  # of the first example, which imports
@given(st.lists(st.integers(1, 50), min_size=1, max_size=6))
def test_class_weights_are_scikit_learn_s(sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    expected = compute_class_weight("balanced", classes=np.arange(len(sizes)), y=labels)
    np.testing.assert_allclose(class_weights(np.array(sizes)), expected, rtol=1e-6)


def test_a_class_without_examples_weighs_nothing():
    assert class_weights(np.array([3, 0, 1])).tolist() == pytest.approx([2 / 3, 0, 2])


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
