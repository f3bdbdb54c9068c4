"""Texts without labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.examples import Examples, TextColumn
from tfhub_transfer.data.unlabelled import read_unlabelled
from tfhub_transfer.errors import DataError, MissingColumnError

TEXTS = ["first", "of the test", "  ", "second, with a comma"]


def examples(*texts: str) -> Examples:
    column = TextColumn()
    column.append(list(texts))
    rows = np.arange(len(texts))
    return Examples(column, rows, np.zeros(len(texts), np.int32), rows + 1, "made up")


def written(folder: Path, kind: str) -> str:
    target = folder / f"unlabelled.{kind}"
    if kind == "txt":
        target.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    elif kind == "jsonl":
        lines = [json.dumps({"body": text}) for text in TEXTS]
        target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        mark = "\t" if kind == "tsv" else ","
        rows = [f'7{mark}"{text}"' for text in TEXTS]
        target.write_text("\n".join([f"id{mark}body", *rows]) + "\n", encoding="utf-8")
    return str(target)


@pytest.mark.parametrize("kind", ["txt", "csv", "tsv", "jsonl"])
def test_texts_of_a_file_join_the_column(tmp_path, kind):
    train = examples("labelled", "also labelled")
    source = written(tmp_path, kind)
    held_out = (examples("validation"), examples("of", "of the test"))
    found = read_unlabelled(source, DataConfig(text_column="body"), train.column, held_out)
    assert train.column.read(found.rows) == ["first", "second, with a comma"]
    assert found.rows.min() >= 2
    assert (found.held_out, found.empty) == (1, 1)
    assert found.note == (
        f"2 unlabelled texts of {source} joined the training rows; 1 more were left out, for they "
        f"stand in validation or test; 1 more were left out, for they are empty."
    )


def refused(source: str, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        read_unlabelled(source, DataConfig(), TextColumn(), (examples("a"),))


def test_what_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "empty.txt").write_text(" \n\n")
    refused(str(tmp_path / "empty.txt"), DataError, "no text in the unlabelled source. Received: ")
    refused("texts.parquet", DataError, r"Accepted: .csv.*tfds:NAME:SPLIT. Received: 'texts.par")
    refused(str(tmp_path / "none.txt"), DataError, "No such file of unlabelled texts. Received: ")
    refused(written(tmp_path, "csv"), MissingColumnError, "no column 'text' in row 1")


@pytest.mark.real_data
def test_a_split_of_tfds_is_read_without_labels(real_data):
    config = DataConfig(source="tfds:imdb_reviews", dir=str(real_data / "tfds"))
    column = TextColumn()
    source = "tfds:imdb_reviews:unsupervised[:100]"
    found = read_unlabelled(source, config, column, (examples("a"),))
    assert len(found.rows) == 100
    with pytest.raises(DataError, match="come from one split: tfds:NAME:SPLIT. It has train, test"):
        read_unlabelled("tfds:imdb_reviews", config, column, (examples("a"),))
