"""TFDS features that are lists of words and of their tags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.tagged import load_tagged
from tfhub_transfer.errors import DataError, MissingColumnError

TAGS = ["O", "B-PER", "I-PER"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """Return a data_dir with a small data set laid out as tfds:conll2003 is."""
    import tensorflow_datasets as tfds

    class Sentences(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> tfds.core.DatasetInfo:
            return self.dataset_info_from_configs(
                features=tfds.features.FeaturesDict(
                    {
                        "tokens": tfds.features.Sequence(tfds.features.Text()),
                        "ner": tfds.features.Sequence(tfds.features.ClassLabel(names=TAGS)),
                        "topic": tfds.features.Text(),
                    }
                )
            )

        def _split_generators(self, manager: Any) -> dict[str, Any]:
            return {name: self._generate_examples(name) for name in ("train", "dev", "test")}

        def _generate_examples(self, split: str) -> Any:
            for n in range(12):
                tokens = ["Ödön", f"{split}{n}", "ran"][: 2 + n % 2]
                yield n, {"tokens": tokens, "ner": [1, 2, 0][: 2 + n % 2], "topic": "x"}

    folder = tmp_path_factory.mktemp("tfds")
    local = tfds.download.DownloadConfig(try_download_gcs=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfds.core.DatasetInfo, "initialize_from_bucket", lambda info: None)
        Sentences(data_dir=folder).download_and_prepare(download_config=local)
    return folder


def config_of(folder: Path, **settings: str) -> DataConfig:
    names = {"text_column": "tokens", "label_column": "ner", **settings}
    return DataConfig(source="tfds:sentences", dir=str(folder), **names)


def test_words_and_the_names_of_their_tags(prepared):
    data = load_tagged(config_of(prepared), seed=0)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [12, 12, 12]
    assert data.labels == ("O", "B-PER", "I-PER")
    found = dict(zip(data.test.texts(), data.test.tags.named(data.labels), strict=True))
    assert found["Ödön test0"] == ["B-PER", "I-PER"]
    assert found["Ödön test1 ran"] == ["B-PER", "I-PER", "O"]


def test_features_that_are_no_lists(prepared):
    with pytest.raises(DataError, match=r"'topic' of tfds:sentences must be a list of words\. Rec"):
        load_tagged(config_of(prepared, text_column="topic"), seed=0)
    with pytest.raises(DataError, match=r"'topic' of .* must be a list with a tag for each word"):
        load_tagged(config_of(prepared, label_column="topic"), seed=0)
    with pytest.raises(MissingColumnError, match=r"No such feature .* Received: 'text'"):
        load_tagged(config_of(prepared, text_column="text"), seed=0)
