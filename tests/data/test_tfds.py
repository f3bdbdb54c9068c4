"""TFDS: prepared data are read as they are, and the network is left alone."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.sources import open_source
from tfhub_transfer.data.splits import load
from tfhub_transfer.errors import DataError, MissingColumnError, UnreadableFileError

NAMES = ["zebra", "ape"]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*arguments: Any) -> None:
        raise OSError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """Return a data_dir with a small data set, prepared by TFDS itself."""
    import tensorflow_datasets as tfds

    class Animals(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> tfds.core.DatasetInfo:
            label = tfds.features.ClassLabel(names=NAMES)
            return self.dataset_info_from_configs(
                features=tfds.features.FeaturesDict(
                    {
                        "text": tfds.features.Text(),
                        "label": label,
                        "number": np.int64,
                        "picture": tfds.features.Tensor(shape=(2, 2), dtype=np.int64),
                        "kind": tfds.features.Text(),
                        "tags": tfds.features.Sequence(tfds.features.ClassLabel(names=NAMES)),
                    }
                )
            )

        def _split_generators(self, manager: Any) -> dict[str, Any]:
            return {
                "train": self._generate_examples("train", 40),
                "test": self._generate_examples("test", 10, labelled=False),
                "validation": self._generate_examples("validation", 12),
                "extra": self._generate_examples("extra", 3),
            }

        def _generate_examples(self, split: str, size: int, labelled: bool = True) -> Any:
            for n in range(size):
                yield (
                    n,
                    {
                        "text": f"{split} ä {n}",
                        "label": n % 2 if labelled else -1,
                        "number": n % 3,
                        "picture": [[n, n], [n, n]],
                        "kind": NAMES[n % 2],
                        "tags": [[], [0], [0, 1]][n % 3],
                    },
                )

    folder = tmp_path_factory.mktemp("tfds")
    local = tfds.download.DownloadConfig(try_download_gcs=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfds.core.DatasetInfo, "initialize_from_bucket", lambda info: None)
        Animals(data_dir=folder).download_and_prepare(download_config=local)
    return folder


def config_of(folder: Path, source: str = "tfds:animals", **settings: Any) -> DataConfig:
    return DataConfig(source=source, dir=str(folder), **settings)


def test_prepared_splits_are_read_in_the_order_of_the_files(prepared):
    source = open_source(config_of(prepared))
    assert source.labels == ("zebra", "ape")
    assert set(source.splits) == {"train", "validation", "test"}
    assert "The split 'extra' of tfds:animals is neither train" in source.notes[0]
    first, second = ([*source.splits["train"].read()] for _ in range(2))
    assert first[0].rows.tolist() == list(range(1, 41))
    assert first[0].texts == second[0].texts
    assert sorted(first[0].texts) == sorted(f"train ä {n}" for n in range(40))
    for text, label in zip(first[0].texts, first[0].labels, strict=True):
        assert label == NAMES[int(text.split()[-1]) % 2]


def test_the_classes_keep_their_order_and_unlabelled_splits_are_left_out(prepared):
    data = load(config_of(prepared), seed=0)
    assert data.labels == ("zebra", "ape")
    assert [len(data.train), len(data.validation), len(data.test)] == [36, 4, 12]
    assert any("The test split has no labels (tfds:animals:test)" in note for note in data.notes)
    assert any("validation split is reported on" in note for note in data.notes)


@pytest.mark.parametrize("split", ["train[:50%]", "extra", "train+extra"])
def test_a_named_split_is_one_table(prepared, split):
    source = open_source(config_of(prepared, f"tfds:animals:{split}"))
    assert set(source.splits) == {"all"}
    size = {"train[:50%]": 20, "extra": 3, "train+extra": 43}[split]
    assert sum(len(batch.rows) for batch in source.splits["all"].read()) == size


def test_a_version_may_be_named(prepared):
    source = open_source(config_of(prepared, "tfds:animals:1.0.0:extra"))
    assert sum(len(batch.rows) for batch in source.splits["all"].read()) == 3


@pytest.mark.parametrize(
    ("column", "labels"),
    [("number", ("0", "1", "2")), ("kind", ("ape", "zebra")), ("tags", ("zebra", "ape"))],
)
def test_labels_of_other_features(prepared, column, labels):
    data = load(config_of(prepared, "tfds:animals:train", label_column=column), seed=0)
    assert data.labels == labels
    assert data.multi_label == (column == "tags")


def test_a_missing_feature_lists_those_there_are(prepared):
    with pytest.raises(
        MissingColumnError,
        match=r"No such feature in tfds:animals\. Did you mean 'text'\? It has: .*"
        r"--data.text_column. Received: 'texts'",
    ):
        open_source(config_of(prepared, text_column="texts"))


def test_features_of_other_kinds_are_refused(prepared):
    with pytest.raises(DataError, match=r"'number' of tfds:animals must be a string. Received: "):
        open_source(config_of(prepared, text_column="number"))
    with pytest.raises(DataError, match=r"'picture' of tfds:animals must be one label, or a list"):
        open_source(config_of(prepared, label_column="picture"))


def test_an_unknown_split_lists_those_there_are(prepared):
    with pytest.raises(
        DataError,
        match=r"no such split. Did you mean 'train'\? Accepted: .* train\[:10%\]. .*: 'trian'",
    ):
        open_source(config_of(prepared, "tfds:animals:trian"))


def test_a_name_that_is_none():
    with pytest.raises(DataError, match=r"given as tfds:NAME\[/CONFIG\].* Received: 'tfds:'"):
        open_source(DataConfig(source="tfds:"))


def test_data_that_are_neither_prepared_nor_fetched(tmp_path):
    with pytest.raises(
        DataError, match=r"No prepared data of tfds:no_such_set are in .*--data.dir.* Received: "
    ):
        open_source(config_of(tmp_path, "tfds:no_such_set"))


def test_a_truncated_record_file(prepared, tmp_path):
    folder = tmp_path / "animals" / "1.0.0"
    folder.mkdir(parents=True)
    for file in (prepared / "animals" / "1.0.0").iterdir():
        content = file.read_bytes()
        cut = "train" in file.name
        (folder / file.name).write_bytes(content[: len(content) // 2] if cut else content)
    with pytest.raises(
        UnreadableFileError, match=r"tfds:animals:train: .* are missing, truncated or damaged"
    ):
        load(config_of(tmp_path), seed=0)


@pytest.mark.real_data
def test_imdb_has_123_texts_in_both_train_and_test(real_data):
    data = load(config_of(real_data / "tfds", "tfds:imdb_reviews"), seed=0)
    assert data.labels == ("neg", "pos")
    assert [len(data.train), len(data.validation), len(data.test)] == [22500, 2500, 25000]
    assert data.summary["train"]["class_counts"] == [11250, 11250]
    assert data.summary["duplicates"]["train_test"] == 123
    assert any("123 distinct texts stand in both train and test" in note for note in data.notes)


@pytest.mark.real_data
def test_sst2_is_reported_on_its_validation_split(real_data):
    config = config_of(real_data / "tfds", "tfds:glue/sst2", text_column="sentence")
    data = load(config, seed=0)
    assert data.labels == ("negative", "positive")
    assert [len(data.train), len(data.validation), len(data.test)] == [60614, 6735, 872]
