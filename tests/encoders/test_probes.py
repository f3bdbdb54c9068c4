"""Neighbours and analogies among the words of a text embedding."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.encoders import tiny
from tfhub_transfer.encoders.__main__ import main
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.encoders.probes import WordProbe
from tfhub_transfer.encoders.reusable import save_reusable
from tfhub_transfer.errors import EncoderError, UnreadableFileError

# Who is young is as far from who is old as a girl is from a woman; the last is no word.
VECTORS = {
    "man": (2.0, 0.0, 0.0),
    "woman": (2.0, 2.0, 0.0),
    "boy": (2.0, 0.0, 2.0),
    "girl": (2.0, 2.0, 2.0),
    "stone": (-1.0, 0.1, 0.2),
    "[b]": (2.0, 2.1, 2.0),
    "<UNK>": (0.0, 0.0, 0.0),
    "nothing": (0.0, 0.0, 0.0),
}


def write_module(folder: Path, content: str | bytes, vectors: Sequence[Sequence[float]]) -> Path:
    """Write a text embedding as TF Hub's: the sum of the words, looked up in an asset."""
    vocabulary = folder.parent / f"{folder.name}-tokens.txt"
    vocabulary.write_bytes(content.encode() if isinstance(content, str) else content)

    class Embedding(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vectors = tf.Variable([*vectors, [0.0] * 3], dtype=tf.float32, name="embeddings")
            lines = tf.lookup.TextFileInitializer(
                str(vocabulary), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
            )  # fmt: skip
            self.table = tf.lookup.StaticHashTable(lines, len(vectors))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, text: tf.Tensor) -> tf.Tensor:
            words = tf.strings.split(text)
            return tf.reduce_sum(tf.gather(self.vectors, self.table.lookup(words)), axis=1)

    module = Embedding()
    save_reusable(
        module, folder, functions={"__call__": module.__call__}, resources=[module.table]
    )
    return folder


@pytest.fixture(scope="module")
def module(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("embedding") / "module"
    return write_module(folder, "\n".join(VECTORS) + "\n", list(VECTORS.values()))


@pytest.fixture(scope="module")
def probe(module) -> WordProbe:
    return WordProbe(HubLayer(str(module)))


def test_entries_that_are_no_words_are_left_out(probe):
    assert probe.words == ("man", "woman", "boy", "girl", "stone", "nothing")


def test_neighbours_by_the_cosine(probe):
    found = probe.neighbours("man", 3)
    assert found[0][0] in ("woman", "boy")
    np.testing.assert_allclose([c for _, c in found], [0.5**0.5, 0.5**0.5, 3**-0.5], atol=1e-6)
    assert probe.neighbours("girl")[-1][0] == "stone"
    assert len(probe.neighbours("girl")) == 5, "all but itself"


def test_a_vector_of_zero_is_near_nothing(probe):
    assert [cosine for _, cosine in probe.neighbours("nothing")] == [0.0] * 5
    assert dict(probe.neighbours("man"))["nothing"] == 0.0


def test_analogies_leave_the_asked_words_out(probe):
    (word, _), *_ = found = probe.analogy("man", "woman", "boy")
    assert word == "girl"
    assert not {"man", "woman", "boy"} & {word for word, _ in found}
    assert probe.analogy("woman", "man", "girl", 1)[0][0] == "boy"


def test_a_word_outside_the_vocabulary_is_refused(probe):
    with pytest.raises(
        EncoderError, match=r"vocabulary of 6 words, .* Did you mean 'woman'\? Received: 'Womam'$"
    ):
        probe.neighbours("Womam")
    with pytest.raises(EncoderError, match=r"no vector of its own\. Received: '<UNK>'"):
        probe.analogy("man", "woman", "<UNK>")


def test_encoders_without_a_vocabulary(tmp_path, module):
    plain = tiny.write_text_embedding(tmp_path / "plain")
    with pytest.raises(
        EncoderError, match=r"one vocabulary .* Received: plain@sha256:\w+, with no assets"
    ):
        WordProbe(HubLayer(str(plain)))
    bert = tiny.write_bert(tmp_path / "bert")
    with pytest.raises(EncoderError, match=r"a transformer, whose vectors depend .* Received: "):
        WordProbe(HubLayer(str(bert)))
    (plain / "assets").mkdir(exist_ok=True)
    for name in ("a.txt", "b.txt"):
        (plain / "assets" / name).write_text("a\n")
    with pytest.raises(EncoderError, match=r"Received: .*, with a.txt, b.txt"):
        WordProbe(HubLayer(str(plain)))
    (plain / "assets" / "b.txt").unlink()
    (plain / "assets" / "a.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(UnreadableFileError, match=r"UTF-8 with a word on each line .*a\.txt$"):
        WordProbe(HubLayer(str(plain)))


def test_info_answers(module, capsys):
    answers = ["--neighbours", "girl", "stone", "--analogy", "man", "woman", "boy"]
    assert main(["info", str(module), *answers]) == 0
    *_, near, nearer, analogy = capsys.readouterr().out.splitlines()
    assert re.match(r"near girl +(woman|boy) 0\.82, (woman|boy) 0\.82, man 0\.58", near)
    assert nearer.startswith("near stone")
    assert re.match(r"man : woman = boy : +girl 0\.98, ", analogy)


def test_info_refuses(module, capsys):
    assert main(["info", str(module), "--neighbours", "gril"]) == 2
    assert "Did you mean 'girl'? Received: 'gril'" in capsys.readouterr().err
