"""TFDS' data sets of SQuAD's shape are read as they were prepared."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.questions import load_questions, open_questions
from tfhub_transfer.errors import MissingColumnError

CONTEXTS = [f"Ünit {n} is red." for n in range(8)]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*arguments: Any) -> None:
        raise OSError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """Return a data_dir with small data sets, prepared by TFDS itself."""
    import tensorflow_datasets as tfds

    answers = tfds.features.Sequence({"text": np.str_, "answer_start": np.int32})
    shape = {"id": np.str_, "question": np.str_, "context": np.str_, "is_impossible": np.bool_}

    class Asked(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> tfds.core.DatasetInfo:
            features = tfds.features.FeaturesDict({**shape, "answers": answers})
            return self.dataset_info_from_configs(features=features)

        def _split_generators(self, manager: Any) -> dict[str, Any]:
            return {"train": self._generate_examples(6), "validation": self._generate_examples(8)}

        def _generate_examples(self, size: int) -> Any:
            for n in range(3 * size):
                impossible = n % 3 == 2
                found = [] if impossible else [{"text": "red", "answer_start": 10}]
                yield (
                    n,
                    {
                        "id": f"q{n}",
                        "question": f"Which {n}?",
                        "context": CONTEXTS[n // 3],
                        "is_impossible": impossible,
                        "answers": found * (1 + n % 2),
                    },
                )

    class Flat(Asked):
        def _info(self) -> tfds.core.DatasetInfo:
            features = tfds.features.FeaturesDict({**shape, "answers": np.str_})
            return self.dataset_info_from_configs(features=features)

        def _generate_examples(self, size: int) -> Any:
            for key, example in super()._generate_examples(size):
                yield key, {**example, "answers": ""}

    folder = tmp_path_factory.mktemp("tfds")
    local = tfds.download.DownloadConfig(try_download_gcs=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfds.core.DatasetInfo, "initialize_from_bucket", lambda info: None)
        for builder in (Asked, Flat):
            builder(data_dir=folder).download_and_prepare(download_config=local)
    return folder


def test_questions_on_shared_contexts(prepared):
    data = load_questions(DataConfig(source="tfds:asked", dir=str(prepared)), seed=0)
    assert [len(data.train), len(data.validation), len(data.test)] == [15, 3, 24]
    assert len(data.test.passages()) == 8, "however TFDS has mixed the rows"
    assert sorted(data.test.keys()) == sorted(f"q{n}" for n in range(24))
    assert data.test.labels.sum() == 8
    for key, golds in zip(data.test.keys(), data.test.golds(), strict=True):
        n = int(key[1:])
        assert golds == ([] if n % 3 == 2 else ["red"] * (1 + n % 2))
    assert data.summary["duplicates"]["train_test"] == 6


def test_a_slice_is_one_table(prepared):
    config = DataConfig(source="tfds:asked:validation[:50%]", dir=str(prepared))
    source = open_questions(config)
    assert set(source.splits) == {"all"}
    assert sum(len(passage.questions) for passage in source.splits["all"].read()) == 12


def test_features_of_another_shape(prepared):
    with pytest.raises(
        MissingColumnError, match=r"feature 'answers' of tfds:flat\. Questions need text, answer_s"
    ):
        open_questions(DataConfig(source="tfds:flat", dir=str(prepared)))
