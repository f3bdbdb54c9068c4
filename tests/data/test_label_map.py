"""Labels that a file calls otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from tfhub_transfer.data.label_map import read_label_map, read_type_map, renamed
from tfhub_transfer.data.table import Batch, Source, Table
from tfhub_transfer.errors import DataError


def source_of(labels: list, names=None) -> Source:
    batch = Batch(np.arange(1, len(labels) + 1), ["text"] * len(labels), labels)
    return Source("made up", {"all": Table("made up", lambda: iter([batch]))}, names)


def labels_of(source: Source) -> list:
    return [label for batch in source.splits["all"].read() for label in batch.labels]


def test_each_side_has_names_of_its_own_and_all_are_strings(tmp_path):
    file = tmp_path / "labels.yaml"
    file.write_text("source: {1: poor, 5: good}\ntarget: {no: poor, yes: good}\n")
    assert read_label_map(str(file), "source") == {"1": "poor", "5": "good"}
    assert read_label_map(str(file), "target") == {"no": "poor", "yes": "good"}
    file.write_text("target: {no: poor}\n")
    assert read_label_map(str(file), "source") is None


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("source: {a: b", r"cannot be read: .*line 1, column.* Received: adaptation\.labels"),
        ("", r"maps no labels\. It should be \{source: .* Received: None"),
        ("sources: {a: b}", r"Did you mean 'source'\? It should be .* Received: 'sources'"),
        ("source: [a, b]", r"labels\.yaml, source: It should be .* Received: \['a', 'b'\]"),
        ("source: {a: [b]}", r"labels\.yaml, source: It should be .* Received: "),
    ],
)
def test_a_file_of_another_layout(tmp_path, text, match):
    file = tmp_path / "labels.yaml"
    file.write_text(text)
    with pytest.raises(DataError, match=match):
        read_label_map(str(file), "source")


def test_there_is_no_such_file(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read: .*No such file.* Received: adapt"):
        read_label_map(str(tmp_path / "none.yaml"), "source")


def test_types_without_a_partner_are_left_out(tmp_path):
    file = tmp_path / "types.yaml"
    file.write_text(
        "source: {PER: person, ORG: group, MISC: other, LOC: O}\n"
        "target: {person: person, group: group, corporation: group, product: thing}\n"
    )
    source, target = (read_type_map(str(file), side) for side in ("source", "target"))
    assert source == {"PER": "person", "ORG": "group", "MISC": "O", "LOC": "O"}
    assert target == {
        "person": "person", "group": "group", "corporation": "group", "product": "O"
    }  # fmt: skip
    file.write_text("target: {person: PER, product: O}\n")
    assert read_type_map(str(file), "source") is None
    assert read_type_map(str(file), "target") == {"person": "PER", "product": "O"}


@pytest.mark.parametrize(
    "text", ["source: {A: x}\ntarget: {B: y}", "source: {A: O}\ntarget: {B: O}", "target: {B: O}"]
)
def test_a_map_that_leaves_no_type(tmp_path, text):
    file = tmp_path / "types.yaml"
    file.write_text(text)
    with pytest.raises(DataError, match=r"types\.yaml leaves no type .* Received: \{'.*\}$"):
        read_type_map(str(file), "target")


def test_labels_are_renamed_in_every_kind_of_cell():
    names = {"1": "poor", "2": "poor", "5": "good"}
    assert labels_of(renamed(source_of(["1", "5", None, "", "2"]), names, None)) == [
        "poor", "good", None, "", "poor"
    ]  # fmt: skip
    several = renamed(source_of(["1|5", "1 | 2", None]), names, "|")
    assert labels_of(several) == ["poor|good", "poor", None]
    listed = renamed(source_of([["1", "2", "5"], []]), names, None)
    assert labels_of(listed) == [["poor", "good"], []]


def test_the_order_of_the_classes_is_kept():
    names = {"negative": "poor", "neutral": "poor", "positive": "good"}
    source = source_of(["positive"], ("negative", "neutral", "positive"))
    assert renamed(source, names, None).labels == ("poor", "good")


def test_labels_that_are_not_mapped_are_named():
    match = r"made up has labels that .* It maps: '1'\. Received: '2', '3'"
    with pytest.raises(DataError, match=match):
        labels_of(renamed(source_of(["1", "2", "3"]), {"1": "poor"}, None))
