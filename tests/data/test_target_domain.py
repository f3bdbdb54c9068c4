"""The other domain: what is learnt from, what is tested on, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.trained import sentences, settings, write_csv, write_several
from tfhub_transfer.config import AdaptationConfig, Config
from tfhub_transfer.data.examples import Dataset, TextColumn
from tfhub_transfer.data.splits import load
from tfhub_transfer.data.target_domain import TargetDomain, read_target
from tfhub_transfer.errors import DataError, MissingColumnError


def read(
    tmp_path, target, *, rows=None, rejected=None, **changes
) -> tuple[TargetDomain, TextColumn, Dataset]:
    source = write_csv(tmp_path / "source.csv", rows or sentences(80))
    asked = AdaptationConfig(str(target), **changes.pop("adaptation", {}))
    training = {"strategy": "dann"}
    config: Config = settings(
        tmp_path / "run", source, training=training, adaptation=asked, **changes
    )
    data = load(config.data, seed=config.seed, labels=config.adaptation.labels)
    column = TextColumn()
    return read_target(config, data, column, rejected), column, data


def texts_of(found: TargetDomain, column: TextColumn) -> list[str]:
    return column.read(found.texts.rows)


def test_a_share_of_one_table_is_held_out_whatever_its_labels_are(tmp_path):
    rows = [(f"text {i}", "good" if i < 50 else "poor") for i in range(100)]
    target = write_csv(tmp_path / "target.csv", rows)
    found, column, _ = read(tmp_path, target)
    learnt, tested = set(texts_of(found, column)), set(found.test.texts())
    assert len(tested) == 21
    assert learnt | tested == {text for text, _ in rows}
    assert not learnt & tested
    labels = dict(rows)
    assert all(
        labels[text] == ("good", "poor")[label]
        for text, label in zip(found.test.texts(), found.test.labels, strict=True)
    )
    write_csv(target, [(text, ("good", "poor")[i % 2]) for i, (text, _) in enumerate(rows)])
    again, _, _ = read(tmp_path, target)
    assert set(again.test.texts()) == tested


def test_a_folder_is_learnt_from_in_train_and_tested_on_in_test(tmp_path):
    folder = tmp_path / "target"
    folder.mkdir()
    write_csv(folder / "train.csv", [("a", "good"), ("b", "poor"), ("d", "good")])
    write_csv(folder / "dev.csv", [("c", "good")])
    found, column, _ = read(tmp_path, folder)
    assert texts_of(found, column) == ["a", "b", "d"]
    assert found.test.texts() == ["c"]
    write_csv(folder / "test.csv", [("d", "poor"), ("e", "poor")])
    found, column, _ = read(tmp_path, folder)
    assert found.test.texts() == ["d", "e"]
    assert texts_of(found, column) == ["a", "b"], "what is tested on is not learnt from"
    assert "1 more were left out, for they stand in validation or test" in " ".join(found.notes)


def test_texts_that_the_model_learns_from_are_told(tmp_path):
    rows = [("old news", "good"), ("new", "poor"), ("old news", "good")]
    folder = tmp_path / "target"
    folder.mkdir()
    write_csv(folder / "train.csv", [("a", "good")])
    write_csv(folder / "test.csv", rows)
    many = [(f"{i}", ("good", "poor")[i % 2]) for i in range(60)] + [("old news", "good")] * 20
    found, _, _ = read(tmp_path, folder, rows=many)
    assert "1 text stands in the source's training rows and in the target's" in found.notes[-1]


def test_rows_that_cannot_be_tested_on_are_written_down(tmp_path):
    folder, rejected = tmp_path / "target", tmp_path / "rejected.jsonl"
    folder.mkdir()
    write_csv(folder / "train.csv", [("a", "good")])
    write_csv(folder / "test.csv", [("b", "good"), ("c", "")])
    found, _, _ = read(tmp_path, folder, rejected=rejected)
    assert "Target: 1 row was rejected: empty label." in found.notes
    assert '"text": "c"' in rejected.read_text()
    write_csv(folder / "test.csv", [("b", ""), ("c", "")])
    found, _, _ = read(tmp_path, folder)
    assert found.test is None
    assert "None of the 2 rows of" in found.notes[-1]


def test_a_table_of_which_nothing_is_held_out(tmp_path):
    target = write_csv(tmp_path / "target.csv", [("a", "good"), ("b", "poor")])
    found, _, _ = read(tmp_path, target, data={"test_fraction": 1e-9})
    assert found.test is None
    assert f"No row of {target} to test on has a label, and" in found.notes[-1]


@pytest.mark.parametrize("name", ["target.txt", "target.csv"])
def test_texts_without_labels_are_all_learnt_from(tmp_path, name):
    file = tmp_path / name
    file.write_text("text\n" * name.endswith("csv") + "one\ntwo\n\nthree\n", encoding="utf-8")
    found, column, _ = read(tmp_path, file)
    assert texts_of(found, column) == ["one", "two", "three"]
    assert found.test is None
    assert f"{file} has no labels, and nothing was measured there." in found.notes


def test_the_limit_is_of_the_target_too(tmp_path):
    target = write_csv(tmp_path / "target.csv", [(f"{t}!", label) for t, label in sentences(90)])
    found, _, _ = read(tmp_path, target, data={"limit": 10})
    assert (len(found.texts.rows), len(found.test)) == (10, 10)


def test_labels_are_mapped_onto_those_of_both(tmp_path):
    labels = tmp_path / "labels.yaml"
    labels.write_text("source: {good: '+', poor: '-'}\ntarget: {1: '-', 2: '-', 5: '+'}\n")
    rows = [(f"text {i}", "125"[i % 3]) for i in range(60)]
    found, _, data = read(
        tmp_path,
        write_csv(tmp_path / "target.csv", rows),
        adaptation={"labels": str(labels)},
    )
    assert data.labels == ("+", "-")
    assert data.summary["train"]["class_counts"] == [29, 29]
    wanted = {text: int(label != "5") for text, label in rows}
    assert [wanted[text] for text in found.test.texts()] == found.test.labels.tolist()


def test_several_labels(tmp_path):
    rows = [(f"text {i}", "poor|good" if i % 2 else "poor") for i in range(60)]
    target = write_csv(tmp_path / "target.csv", rows)
    source = write_several(tmp_path / "several.csv").read_text().splitlines()[1:]
    found, _, data = read(
        tmp_path,
        target,
        rows=[tuple(line.split(",")) for line in source],
        data={"label_separator": "|"},
    )
    assert data.labels == ("good", "poor")
    assert found.test.labels.dtype == np.uint8
    expected = [[int(i) % 2, 1] for _, i in map(str.split, found.test.texts())]
    assert found.test.labels.tolist() == expected


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (
            [(f"text {i}", "1" if i % 2 else "poor") for i in range(40)],
            r"does not have: give --adaptation\.labels FILE.* 'good', 'poor'\. Received: '1'$",
        ),
        ([(" ", "good")], r"There is no text in the unlabelled source\. Received: "),
        ([("a", "good|poor")] * 30, r"several labels per text|does not have"),
    ],
)
def test_targets_that_cannot_be_used(tmp_path, rows, match):
    target = write_csv(tmp_path / "target.csv", rows)
    with pytest.raises(DataError, match=match):
        read(tmp_path, target)


def test_a_target_whose_every_text_is_tested_on(tmp_path):
    source = tmp_path / "source.csv"
    held = settings(tmp_path / "run", write_csv(source, sentences(80)))
    text = load(held.data, seed=0).test.texts()[0]
    file = tmp_path / "target.txt"
    file.write_text(f"{text}\n")
    with pytest.raises(DataError, match=r"The target has no text to learn from\. Received: 0 unl"):
        read(tmp_path, file)


def test_a_folder_without_the_label_column(tmp_path):
    folder = tmp_path / "target"
    folder.mkdir()
    (folder / "train.csv").write_text("text\none\n")
    with pytest.raises(MissingColumnError, match="with --data.label_column. Received: 'label'"):
        read(tmp_path, folder)


def test_rows_of_the_target_without_a_label_are_told(tmp_path):
    rows = [(f"text {i}", "" if i % 4 else "good") for i in range(80)]
    found, column, _ = read(tmp_path, write_csv(tmp_path / "target.csv", rows))
    assert any("Target: " in note and "rejected: " in note for note in found.notes)
    assert len(texts_of(found, column)) > 50, "they are learnt from"
    assert 0 < len(found.test) < 12
    none = dataclasses.replace(found, test=None)
    assert none.name == "target.csv"
