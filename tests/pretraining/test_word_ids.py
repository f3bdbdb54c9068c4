"""The words of a corpus as numbers on disk, against plain counting."""

from __future__ import annotations

import collections
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfhub_transfer.errors import DataError, RunError
from tfhub_transfer.pretraining.corpus import files as corpus_files
from tfhub_transfer.pretraining.corpus.corpus import Corpus
from tfhub_transfer.pretraining.words import ids as word_ids
from tfhub_transfer.pretraining.words.ids import WordIds
from tfhub_transfer.pretraining.words.splitting import splitter
from tfhub_transfer.pretraining.words.vocabulary import Vocabulary

MEMORY = 64 << 20
# Memory that is enough for so many distinct words.
WORD = int(word_ids._WORD_BYTES / word_ids._DICTIONARY_SHARE)


def write(folder: Path, texts: list[str]) -> Corpus:
    file = folder / "corpus.txt"
    file.write_text("\n".join(texts), encoding="utf-8")
    return Corpus([str(file)])


def read(folder: Path, texts: list[str], memory: int = MEMORY, split: str = "lower_case"):
    return WordIds.read(write(folder, texts), folder / "ids", split, memory)


def words_of(ids: WordIds, vocabulary: Vocabulary, tokens: int) -> list[list[str]]:
    """Return the words of each text, None for one outside the vocabulary."""
    texts: list[list[str]] = [[]]
    for chunk in ids.chunks(vocabulary, tokens):
        assert chunk.dtype == np.int32
        assert chunk[-1] == -1, "texts are whole"
        assert len(chunk) <= tokens or np.count_nonzero(chunk == -1) == 1
        for number in chunk.tolist():
            if number == -1:
                texts.append([])
            else:
                texts[-1].append((*vocabulary.words, None)[number])
    assert texts.pop() == []
    return texts


def zipf(count: int, distinct: int = 3000, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 30, count)
    words = np.minimum(rng.zipf(1.3, lengths.sum()), distinct)
    return [
        " ".join(f"w{word}" for word in text)
        for text in np.split(words, np.cumsum(lengths)[:-1])
    ]


def test_texts_come_back(tmp_path):
    ids = read(tmp_path, ["The film, the FILM!", "...", "a good film", "", "Größe"])
    assert (ids.texts, ids.tokens, ids.notes) == (3, 8, ())
    vocabulary = ids.vocabulary(3)
    assert vocabulary.words == ("film", "the", "a")
    assert vocabulary.counts.tolist() == [3, 2, 1]
    assert words_of(ids, vocabulary, 100) == [
        ["the", "film", "the", "film"], ["a", None, "film"], [None]
    ]  # fmt: skip
    assert ids.known().words == ("film", "the", "a", "good", "größe")


@settings(deadline=None)
@given(
    texts=st.lists(st.text("abAB .é\u00a0", max_size=12)),
    size=st.integers(1, 8),
    tokens=st.integers(1, 20),
    block=st.integers(3, 40),
)
def test_any_texts_come_back(tmp_path_factory, texts, size, tokens, block):
    split = splitter("punctuation")
    expected = [words for text in ["a", *texts] if (words := split(text))]
    counts = collections.Counter(word for words in expected for word in words)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_files, "_BLOCK_BYTES", block)
        folder = tmp_path_factory.mktemp("ids")
        ids = read(folder, ["a", *texts], split="punctuation")
    known = ids.known()
    assert dict(zip(known.words, known.counts.tolist(), strict=True)) == counts
    assert sorted(known.counts.tolist(), reverse=True) == known.counts.tolist()
    assert words_of(ids, known, tokens) == expected
    assert (ids.texts, ids.tokens) == (len(expected), counts.total())
    size = min(size, len(known))
    vocabulary = ids.vocabulary(size)
    assert vocabulary.words == known.words[:size]
    assert words_of(ids, vocabulary, tokens) == [
        [word if word in vocabulary.words else None for word in words] for words in expected
    ]


def test_a_corpus_is_read_once(tmp_path, monkeypatch):
    corpus = write(tmp_path, zipf(200))
    first = WordIds.read(corpus, tmp_path / "ids", "lower_case", MEMORY)
    monkeypatch.setattr(Corpus, "batches", None)
    again = WordIds.read(corpus, tmp_path / "ids", "lower_case", MEMORY)
    assert again.known().words == first.known().words
    assert (again.texts, again.tokens) == (first.texts, first.tokens)
    for one, other in zip(
        first.chunks(first.known(), 50), again.chunks(again.known(), 50), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_what_was_read_of_another_corpus_is_not_taken_for_it(tmp_path):
    read(tmp_path, ["a b"])
    corpus = write(tmp_path, ["a b c"])
    with pytest.raises(RunError, match=r"--overwrite .*Received: .*ids, where corpus differed"):
        WordIds.read(corpus, tmp_path / "ids", "lower_case", MEMORY)
    WordIds.read(corpus, tmp_path / "others", "lower_case", MEMORY)
    with pytest.raises(RunError, match="where normalization, memory differed"):
        WordIds.read(corpus, tmp_path / "others", "none", 2 * MEMORY)


@pytest.mark.parametrize("texts", [["...", "!"], ["\u00a0.\u00a0"]])
def test_a_corpus_without_words(tmp_path, texts):
    with pytest.raises(DataError, match=r"no word in the corpus.* Received: .*corpus\.txt"):
        read(tmp_path, texts)


LIMIT = 400


def read_in_little_memory(folder: Path, texts: list[str]) -> WordIds:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_files, "_BLOCK_BYTES", 4096)
        return read(folder, texts, memory=LIMIT * WORD)


def test_the_rarest_words_are_forgotten_where_memory_ends(tmp_path):
    """Lossy counting: what is said of counts in Manku and Motwani's section 4.2 holds."""
    texts = zipf(4000)
    ids = read_in_little_memory(tmp_path, texts)
    true = collections.Counter(word for text in texts for word in text.split())
    assert len(true) > 4 * LIMIT
    (note,) = ids.notes
    bound = int(note.partition("too low by up to ")[2].split(",")[0])
    assert f"({LIMIT:,})" in note
    known = ids.known()
    found = dict(zip(known.words, known.counts.tolist(), strict=True))
    assert len(found) <= LIMIT
    assert all(true[word] - bound <= count <= true[word] for word, count in found.items())
    assert all(word in found for word, count in true.items() if count > bound)
    assert ids.tokens == true.total()
    # what is read back are those words that were counted, at their places, and no other
    back = words_of(ids, known, 500)
    places = zip(back, texts, strict=True)
    assert all(
        word in (None, right)
        for words, text in places
        for word, right in zip(words, text.split(), strict=True)
    )
    assert collections.Counter(word for words in back for word in words if word) == found
    assert words_of(ids, known, 37) == back


def test_long_words_are_forgotten_earlier(tmp_path):
    texts = [f"film {number:0800d}" for number in range(LIMIT // 2)]
    ids = read_in_little_memory(tmp_path, texts)
    assert ids.notes, "each takes the memory of a dozen"
    known = ids.known()
    assert known.words[0] == "film" and known.counts[0] == len(texts)
    assert len(known.words) < LIMIT // 8


KILLED = """
    import os, signal, sys
    from tfhub_transfer.pretraining.corpus import files as corpus_files
    from tfhub_transfer.pretraining.words import ids as word_ids
    from tfhub_transfer.pretraining.corpus.corpus import Corpus

    corpus_files._BLOCK_BYTES, word_ids._SAVE_SECONDS = 4096, 0.0
    file, folder, memory, batches = sys.argv[1:]
    save, saved = word_ids._Reading._save, [0]

    def killed_after(reading, file):
        save(reading, file)
        saved[0] += 1
        if saved[0] == int(batches):
            # what follows what was saved is lost
            file.write(b"half")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    word_ids._Reading._save = killed_after
    word_ids.WordIds.read(Corpus([file]), word_ids.Path(folder), "lower_case", int(memory))
"""


@pytest.mark.parametrize("memory", [MEMORY, LIMIT * WORD])
def test_a_reading_that_was_killed_goes_on(tmp_path, memory):
    texts = zipf(2000)
    corpus = write(tmp_path, texts)
    command = [sys.executable, "-c", textwrap.dedent(KILLED), *corpus.sources]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for batches in (20, 7):  # the second goes on after the first
        ended = subprocess.run(
            [*command, str(tmp_path / "ids"), str(memory), str(batches)],
            env=environment, timeout=60, capture_output=True,
        )  # fmt: skip
        assert ended.returncode == -signal.SIGKILL, ended.stderr
    half = (tmp_path / "ids" / "ids").stat().st_size
    read_batches = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_files, "_BLOCK_BYTES", 4096)
        take = word_ids._Reading._take
        patch.setattr(
            word_ids._Reading, "_take", lambda *of: read_batches.append(take(*of))
        )
        resumed = WordIds.read(corpus, tmp_path / "ids", "lower_case", memory)
        ours = len(read_batches)
        whole = WordIds.read(corpus, tmp_path / "other" / "ids", "lower_case", memory)
    assert len(read_batches) - ours == ours + 27, "what was saved was not read again"
    assert bool(whole.notes) == (memory != MEMORY)
    assert resumed.notes == whole.notes
    assert (resumed.texts, resumed.tokens) == (whole.texts, whole.tokens) == (2000, whole.tokens)
    one, other = (tmp_path / "ids" / "ids"), (tmp_path / "other" / "ids" / "ids")
    assert one.read_bytes() == other.read_bytes()
    assert one.stat().st_size > half
    known, expected = resumed.known(), whole.known()
    assert known.words == expected.words
    np.testing.assert_array_equal(known.counts, expected.counts)
    assert words_of(resumed, known, 100) == words_of(whole, expected, 100)
