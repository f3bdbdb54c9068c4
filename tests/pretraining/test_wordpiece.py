"""A vocabulary learnt from text."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import tensorflow as tf

from tfhub_transfer.encoders.bert import BertPreprocess
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.pretraining.corpus.corpus import Corpus
from tfhub_transfer.pretraining.mlm.piece_vocabulary import SPECIAL
from tfhub_transfer.pretraining.mlm.wordpiece import count_words, learn

MEMORY = 1 << 30
STEMS = ("play", "walk", "talk", "jump", "film", "act", "direct", "watch")
ENDINGS = ("", "s", "ed", "ing", "er")


@pytest.fixture
def corpus(tmp_path) -> Corpus:
    draw = random.Random(0)
    lines = [
        " ".join(draw.choice(STEMS).capitalize() + draw.choice(ENDINGS) for _ in range(9)) + "!"
        for _ in range(200)
    ]
    file = tmp_path / "corpus.txt"
    file.write_text("\n".join([*lines, "Café, DON'T"]) + "\n", encoding="utf-8")
    return Corpus([str(file)])


def test_words_are_those_that_berts_tokenizer_parts(corpus, tmp_path):
    counts = count_words(corpus, tmp_path / "words.json", lower_case=True, memory=MEMORY)
    assert counts["!"] == 200 and sum(counts[s + e] for s in STEMS for e in ENDINGS) == 1800
    assert {"cafe", "don", "'", "t"} <= counts.keys()
    cased = count_words(corpus, tmp_path / "cased.json", lower_case=False, memory=MEMORY)
    assert {"Café", "DON", "Play"} <= cased.keys()


def test_words_that_the_tool_leaves_out_are_not_counted(tmp_path):
    file = tmp_path / "corpus.txt"
    file.write_text(f"{'a' * 50} {'a' * 51} b\n", encoding="utf-8")
    corpus = Corpus([str(file)])
    counts = count_words(corpus, tmp_path / "words.json", lower_case=True, memory=MEMORY)
    assert counts == {"a" * 50: 1, "b": 1}


def test_more_characters_than_the_tool_takes():
    # the words of rare characters are left out, and what is left is less than the first try is for
    chinese = {chr(0x4E00 + n): 3_000 - n for n in range(2_500)}
    latin = {f"{a}{b}{c}": 400 for a in "abcdefghijkl" for b in "abcdefghijkl" for c in "abcdefg"}
    pieces = learn(Counter({**chinese, **latin}), 3_000, memory=MEMORY)
    assert len(pieces) == 3_000
    assert {"一", "abc"} <= set(pieces)


def test_counting_continues_where_it_was_left(corpus, tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    class Dying(Corpus):
        def __init__(self, batches, fail):
            self._batches, self._fail = batches, fail
            self.size, self.done, self.fingerprint = 3, 0, "same"

        def batches(self):
            for number, batch in enumerate(self._batches):
                if number == self._fail:
                    raise Killed
                yield batch

    monkeypatch.setattr("tfhub_transfer.pretraining.mlm.wordpiece._SAVED_SECONDS", -1.0)
    batches = [["a b"], ["b c"], ["c d"]]
    file = tmp_path / "words.json"
    settings = {"lower_case": True, "memory": MEMORY}
    with pytest.raises(Killed):
        count_words(Dying(batches, 2), file, **settings)
    unread = [["never read again"], ["nor this"], ["c d"]]
    expected = Counter({"b": 2, "c": 2, "a": 1, "d": 1})
    assert count_words(Dying(unread, None), file, **settings) == expected
    assert count_words(Dying(batches, 0), file, **settings) == expected, "it was whole"
    other = Dying([["e"]], None)
    other.fingerprint = "other"
    assert count_words(other, file, **settings) == Counter("e")


def test_memory_bounds_the_counts(tmp_path):
    file = tmp_path / "corpus.txt"
    lines = [f"often word{number}" for number in range(3000)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    counts = count_words(Corpus([str(file)]), tmp_path / "words.json", lower_case=True, memory=1)
    assert len(counts) <= 1000 and counts["often"] == 3000


@pytest.mark.parametrize("size", [40, 60, 75])
def test_a_vocabulary_has_the_size_that_was_asked_for(corpus, tmp_path, size):
    counts = count_words(corpus, tmp_path / "words.json", lower_case=True, memory=MEMORY)
    pieces = learn(counts, size, memory=MEMORY)
    assert len(pieces) == len(set(pieces)) == size
    assert tuple(pieces[:5]) == SPECIAL


def test_its_pieces_cut_the_words_of_the_corpus(corpus, tmp_path):
    counts = count_words(corpus, tmp_path / "words.json", lower_case=True, memory=MEMORY)
    pieces = learn(counts, 75, memory=MEMORY)
    preprocess = BertPreprocess(pieces, lower_case=True, max_tokens=32)
    ids = preprocess.tokenize(tf.constant(["PLAYING watched jumper!"])).numpy()[0]
    cut = [pieces[i] for i in ids]
    assert "".join(piece.removeprefix("##") for piece in cut) == "playingwatchedjumper!"
    assert len(cut) < 12, "not letter by letter"
    assert preprocess.vocabulary().numpy()[4] == b"[MASK]"


def test_a_corpus_with_too_few_words_is_an_error(corpus, tmp_path):
    counts = count_words(corpus, tmp_path / "words.json", lower_case=True, memory=MEMORY)
    expected = r"occur 2 times or more are \d+, .*--vocabulary of at most that.*Received: 5,000"
    with pytest.raises(ConfigError, match=expected):
        learn(counts, 5000, memory=MEMORY)
