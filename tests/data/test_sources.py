"""What a data source's name stands for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data import sources
from tfhub_transfer.data.sources import open_source
from tfhub_transfer.errors import DataError

ROWS = "text,label\na,x\nb,y\n"


def folder_of(folder: Path, *names: str) -> DataConfig:
    for name in names:
        (folder / name).write_text(ROWS)
    return DataConfig(source=str(folder))


def test_the_sample_is_a_folder_in_the_package():
    source = open_source(DataConfig(source="sample"))
    assert source.name == "sample"
    assert set(source.splits) == {"train", "test"}
    batch = next(source.splits["train"].read())
    assert batch.rows[0] == 1
    assert all(batch.texts)
    assert all(batch.labels)


def test_the_sample_is_read_where_the_package_is(tmp_path, monkeypatch):
    folder_of(tmp_path, "train.csv", "test.csv")
    monkeypatch.setattr(sources, "SAMPLE", tmp_path)
    source = open_source(DataConfig())
    assert next(source.splits["train"].read()).texts == ["a", "b"]


@pytest.mark.parametrize("name", ["validation", "valid", "val", "dev"])
def test_a_folder_s_splits_are_told_by_their_names(tmp_path, name):
    config = folder_of(tmp_path, "train.csv", f"{name}.csv", "TEST.CSV", ".hidden.csv", "notes.txt")
    source = open_source(config)
    assert set(source.splits) == {"train", "validation", "test"}
    assert source.name == tmp_path.name
    assert source.splits["validation"].origin.endswith(f"{name}.csv")
    assert source.labels is None


def test_a_folder_with_only_train_is_one_table(tmp_path):
    assert set(open_source(folder_of(tmp_path, "train.csv")).splits) == {"all"}


def test_each_read_begins_anew(tmp_path):
    table = open_source(folder_of(tmp_path, "train.csv")).splits["all"]
    assert [batch.texts for batch in table.read()] == [batch.texts for batch in table.read()]


def test_a_folder_of_other_names_asks_for_one_file(tmp_path):
    config = folder_of(tmp_path, "books.csv", "dvd.csv")
    with pytest.raises(
        DataError, match=r"needs a train file.*single file, name it.*with books\.csv, dvd\.csv"
    ):
        open_source(config)


def test_an_empty_folder(tmp_path):
    with pytest.raises(DataError, match=r"needs a train file .* with nothing"):
        open_source(folder_of(tmp_path))


def test_mixed_kinds_are_refused(tmp_path):
    config = folder_of(tmp_path, "train.csv", "test.tsv")
    with pytest.raises(DataError, match=r"files of one kind. Received: test\.tsv, train\.csv"):
        open_source(config)


def test_two_files_for_one_split_are_refused(tmp_path):
    config = folder_of(tmp_path, "train.csv", "val.csv", "dev.csv")
    with pytest.raises(DataError, match=r"are its validation split: leave one.*dev\.csv, val\.csv"):
        open_source(config)


def test_a_source_that_is_not_there():
    with pytest.raises(
        DataError,
        match=r"No such data source. Did you mean 'sample'\? Accepted: 'sample'; 'tfds:NAME.*"
        r"\.csv, \.tsv, \.jsonl, \.parquet.* Received: 'samples'",
    ):
        open_source(DataConfig(source="samples"))


@pytest.mark.parametrize("name", ["data.txt", "data", "data.parquet.gz", ".csv"])
def test_an_unknown_kind_of_file(tmp_path, name):
    (tmp_path / name).write_text(ROWS)
    with pytest.raises(DataError, match=r"Unknown kind of file. Accepted: .*\.parquet.* Received"):
        open_source(DataConfig(source=str(tmp_path / name)))


@pytest.mark.real_data
def test_real_folders_are_understood(real_data):
    source = open_source(DataConfig(source=str(real_data / "text" / "clinc150")))
    assert set(source.splits) == {"train", "validation", "test"}
    with pytest.raises(DataError, match=r"books\.csv, dvd\.csv, electronics\.csv, kitchen\.csv"):
        open_source(DataConfig(source=str(real_data / "text" / "amazon_reviews")))


def test_a_file_that_is_not_there_is_likened_to_those_beside_it(tmp_path):
    (tmp_path / "reviews.csv").write_text(ROWS)
    (tmp_path / "run").mkdir()
    with pytest.raises(DataError, match=r"No such file.* Did you mean 'reviews\.csv'\? Received"):
        open_source(DataConfig(source=str(tmp_path / "review.csv")))
    with pytest.raises(DataError, match=r"No such file or folder\. Received"):
        open_source(DataConfig(source=str(tmp_path / "none.csv")))
