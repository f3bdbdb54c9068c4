"""The words that have a vector of their own, chosen by their counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfhub_transfer.errors import ConfigError
from tfhub_transfer.pretraining.corpus.corpus import Corpus
from tfhub_transfer.pretraining.words.ids import WordIds


@pytest.fixture
def ids(tmp_path: Path) -> WordIds:
    file = tmp_path / "corpus.txt"
    file.write_text("c b\na b\na d a\n", encoding="utf-8")
    return WordIds.read(Corpus([str(file)]), tmp_path / "ids", "lower_case", 64 << 20)


def test_words_by_falling_count_then_as_they_came(ids):
    vocabulary = ids.vocabulary(4)
    assert vocabulary.words == ("a", "b", "c", "d")
    assert vocabulary.counts.tolist() == [3, 2, 1, 1]
    assert len(vocabulary) == 4


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_most_frequent_are_chosen(ids, size):
    assert ids.vocabulary(size).words == ids.known().words[:size]


def test_a_vocabulary_larger_than_the_corpus_has(ids):
    assert ids.vocabulary(2, 2).words == ("a", "b")
    with pytest.raises(
        ConfigError,
        match=r"vocabulary of 1,000 takes: 2 of its 4 words stand in it 2 times or more. Give "
        r"--vocabulary 2 or less, a lower --min_count, .* Received: vocabulary 1000, min_count 2",
    ):
        ids.vocabulary(1000, 2)
