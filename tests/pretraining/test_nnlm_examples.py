"""From a corpus to the examples of a language model."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from tfhub_transfer.errors import DataError
from tfhub_transfer.pretraining.corpus.corpus import Corpus
from tfhub_transfer.pretraining.nnlm import examples as nnlm_examples
from tfhub_transfer.pretraining.nnlm.examples import Examples, rows_of_words
from tfhub_transfer.pretraining.nnlm.settings import NnlmConfig
from tfhub_transfer.pretraining.words.ids import WordIds
from tfhub_transfer.pretraining.words.text_embedding import TextEmbedding
from tfhub_transfer.pretraining.words.vocabulary import Vocabulary

KNOWN = ("the", "film", "was", "good", "ğ", "rare", "rarer")
TEXTS = [f"the film number {i} was {'good' if i % 2 else 'bad'}" for i in range(40)]


def read(folder, texts) -> WordIds:
    file = folder / "corpus.txt"
    file.write_text("\n".join(texts), encoding="utf-8")
    return WordIds.read(Corpus([str(file)]), folder / "words", "lower_case", 64 << 20)


def settings(**changes) -> NnlmConfig:
    values = {"context": 2, "batch_size": 16, "validation_words": 24, "oov_buckets": 3, **changes}
    return NnlmConfig(corpus=("corpus.txt",), **values)


def made(ids: WordIds, words: int = 5, **changes) -> Examples:
    return Examples(ids, ids.known(), words, settings(**changes))


def as_words(rows: np.ndarray, known: Vocabulary, words: int, buckets: int) -> list[tuple]:
    names = [*known.words[:words], *(f"#{i}" for i in range(buckets)), "-"]
    return [tuple(names[i] for i in row) for row in rows]


def test_rare_words_have_the_row_that_the_exported_graph_looks_up(tmp_path):
    known = Vocabulary(KNOWN, np.arange(len(KNOWN), 0, -1))
    words, buckets = 4, 5
    rows = rows_of_words(known, words, buckets)
    file = tmp_path / "vocabulary.txt"
    file.write_text("".join(f"{word}\n" for word in KNOWN[:words]), encoding="utf-8")
    module = TextEmbedding(file, np.zeros((words + buckets, 1), np.float32), "none")
    looked_up = module.table.lookup(tf.constant(KNOWN)).numpy()
    assert rows[: len(KNOWN)].tolist() == looked_up.tolist()
    assert rows[len(KNOWN)] == words + buckets, "a word whose count was pruned"
    assert rows[-1] == -1, "the end of a text"


def test_no_word_is_rare(tmp_path):
    known = Vocabulary(KNOWN, np.ones(len(KNOWN), np.int64))
    assert rows_of_words(known, len(KNOWN), 2).tolist() == [*range(len(KNOWN)), len(KNOWN) + 2, -1]


def test_each_word_of_the_vocabulary_is_an_example_once_in_an_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr(nnlm_examples, "_CHUNK", 50)
    ids = read(tmp_path, TEXTS)
    known = ids.known()
    examples = made(ids)
    common = ids.vocabulary(5).words
    row = dict(zip(known.words, rows_of_words(known, 5, 3), strict=False))

    def expected(texts):
        found = Counter()
        for text in texts:
            split = [*"--", *text.split()]
            for i, word in enumerate(split[2:], 2):
                if word in common:
                    names = [w if w in common or w == "-" else f"#{row[w] - 5}" for w in split]
                    found[tuple(names[i - 2 : i + 1])] += 1
        return found

    # 240 words over 24 to hold out: each tenth text
    held = [text for i, text in enumerate(TEXTS) if i % 10 == 9]
    ours = [text for i, text in enumerate(TEXTS) if i % 10 != 9]
    assert Counter(as_words(examples.held, known, 5, 3)) == expected(held)
    epoch = list(itertools.islice(examples.batches(0), examples.steps))
    assert len(epoch) > 3
    assert Counter(as_words(np.concatenate(epoch), known, 5, 3)) == expected(ours)
    assert examples.total == expected(ours).total() == sum(map(len, epoch))
    assert examples.seen.sum() == sum(len(text.split()) for text in ours)
    assert examples.seen[5:].sum() == examples.seen.sum() - examples.total


def test_it_goes_on_at_any_step_and_shuffles_each_epoch_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(nnlm_examples, "_CHUNK", 50)
    examples = made(read(tmp_path, TEXTS))
    steps = 2 * examples.steps
    whole = list(itertools.islice(examples.batches(0), steps))
    for start in range(steps):
        rest = itertools.islice(examples.batches(start), steps - start)
        assert all(np.array_equal(*both) for both in zip(rest, whole[start:], strict=True))
    first, second = (np.concatenate(half) for half in (whole[: steps // 2], whole[steps // 2 :]))
    assert not np.array_equal(first, second)
    assert sorted(first.tolist()) == sorted(second.tolist())


def test_of_a_long_text_a_part_is_enough_to_measure(tmp_path):
    texts = ["the film was good " * 50, "the film was bad " * 50]
    examples = made(read(tmp_path, texts), words=4, validation_words=24)
    assert len(examples.held) == 24
    assert examples.seen.sum() == 200, "one of the two trains"


@pytest.mark.parametrize("texts", [["the film"], ["the film", "the film of them"]])
def test_few_texts(tmp_path, texts):
    ids = read(tmp_path, texts)
    if len(texts) > 1:
        assert len(made(ids, words=2).held) == 2
        return
    with pytest.raises(DataError, match=r"another to hold out.* Received: 1 texts with 2 words"):
        made(ids, words=2)
