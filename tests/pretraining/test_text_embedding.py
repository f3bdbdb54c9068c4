"""The exported module, against the same computed in plain Python."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub
from hypothesis import given
from hypothesis import strategies as st

from tfhub_transfer.errors import EncoderError
from tfhub_transfer.pretraining.words.splitting import NORMALIZATIONS, graph_splitter, splitter
from tfhub_transfer.pretraining.words.text_embedding import write_text_embedding

WORDS = ("film", "the", "good", "Film", "ğ", "ß", "σας", "映画", "don", "t", "é", "e\u0301", "1")
WIDTH, BUCKETS = 6, 5


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    shape = (len(WORDS) + BUCKETS, WIDTH)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module", params=NORMALIZATIONS)
def module(request, tmp_path_factory, vectors):
    folder = tmp_path_factory.mktemp(request.param)
    write_text_embedding(folder, WORDS, vectors, request.param)
    return request.param, hub.load(str(folder))


def plainly(text: str, normalization: str, vectors: np.ndarray) -> np.ndarray:
    """Everything but the hash of an unknown word is Python's own."""
    words = splitter(normalization)(text)
    total = np.zeros(WIDTH)
    for word in words:
        if word in WORDS:
            row = WORDS.index(word)
        else:
            row = len(WORDS) + int(tf.strings.to_hash_bucket_fast(word, BUCKETS))
        total += vectors[row].astype(np.float64)
    return total / np.sqrt(max(1, len(words)))


def texts(count: int) -> list[str]:
    """Texts of known and unknown words with marks and spaces of all kinds between them."""
    rng = random.Random(0)
    between = [*" .-'。🎬", "  ", ", ", "\t", "\n", "\u00a0", "\u2003", "\u200b", ""]
    letters = "abcABCĞŞİıΣσςéàß映画фильم"
    made = ["", " ", "...", "!?", "\u3000", "𝒳 film", "İstanbul ΟΔΟΣ. ΣΑΣ", "\x00film\x1fgood"]
    while len(made) < count:
        parts = []
        for _ in range(rng.randrange(12)):
            unknown = "".join(rng.choices(letters, k=rng.randrange(1, 6)))
            parts += [rng.choice(WORDS) if rng.random() < 0.6 else unknown, rng.choice(between)]
        made.append("".join(parts))
    return made


def test_vectors_are_as_computed_plainly(module, vectors):
    normalization, loaded = module
    some = texts(10_000)
    expected = np.stack([plainly(text, normalization, vectors) for text in some])
    np.testing.assert_allclose(loaded(tf.constant(some)), expected, atol=1e-6)


def test_no_text_and_texts_without_words(module):
    _, loaded = module
    assert loaded(tf.constant([], tf.string)).shape == (0, WIDTH)
    assert not np.any(loaded(tf.constant(["", " \t", "\u00a0"])))


def test_it_trains(module):
    _, loaded = module
    (weight,) = loaded.trainable_variables
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(loaded(tf.constant(["good film"])))
    assert tape.gradient(loss, weight) is not None


def test_the_vocabulary_is_an_asset(tmp_path, vectors):
    write_text_embedding(tmp_path, WORDS, vectors, "lower_case")
    (asset,) = (tmp_path / "assets").iterdir()
    assert asset.read_text(encoding="utf-8").splitlines() == list(WORDS)


@pytest.mark.parametrize(
    ("words", "rows"), [(("a", "a"), 3), (("a", "b"), 2)], ids=["repeated", "no bucket"]
)
def test_words_and_vectors_must_go_together(tmp_path, words, rows):
    with pytest.raises(EncoderError, match=rf"Received: 2 words, .* shape \({rows}, 4\)"):
        write_text_embedding(tmp_path, words, np.zeros((rows, 4), np.float32), "none")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_graph_and_python_split_alike(text):
    for normalization in NORMALIZATIONS:
        found = graph_splitter(normalization)(tf.constant([text]))[0].numpy()
        assert [word.decode() for word in found] == splitter(normalization)(text)


def test_the_locale_changes_no_word():
    """In a Turkish one TensorFlow makes a dotless letter of I."""
    program = (
        "import tensorflow as tf; from tfhub_transfer.pretraining.words import splitting; "
        "words = splitting.graph_splitter('lower_case')(tf.constant(['INDEX \\u0130ST'])); "
        "print([word.decode() for word in words[0].numpy()] == "
        "splitting.splitter('lower_case')('INDEX \\u0130ST'))"
    )
    turkish = {**os.environ, "LC_ALL": "tr_TR.UTF-8"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=turkish, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True"


def test_what_words_are_made_of():
    words = splitter("lower_case")("Don't: the film's <br />GREAT (9/10)…")
    assert words == ["don", "t", "the", "film", "s", "br", "great", "9", "10"]
    assert not any(unicodedata.category(c)[0] in "PSZ" for word in words for c in word)
    assert splitter("punctuation")("Good, film") == ["Good", "film"]
    assert splitter("none")("Good, film") == ["Good,", "film"]
