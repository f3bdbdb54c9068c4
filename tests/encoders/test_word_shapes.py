"""The shapes of words, by themselves and beside the words' vectors."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.encoders import tiny
from tfhub_transfer.encoders import bulk_words
from tfhub_transfer.encoders.bulk_words import BulkWordEncoder
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.encoders.resolve import Encoder, resolve
from tfhub_transfer.encoders.word_cache import WordCache
from tfhub_transfer.encoders.word_pieces import as_inputs
from tfhub_transfer.encoders.word_shapes import SHAPES, SHAPES_DIGEST, word_shapes
from tfhub_transfer.encoders.words import split_words
from tfhub_transfer.errors import EncoderError

pytestmark = pytest.mark.slow

NAMES = list(SHAPES)
CASES, OTHERS = NAMES[:5], NAMES[5:]
TEXTS = ["The GOOD film !", "", "aBc", "  Was É 1990s . FILM was 7 日本"]
WRITERS = {
    "text_embedding": tiny.write_text_embedding,
    "transformer": tiny.write_transformer,
    "bert": tiny.write_bert,
}


def shapes_of(*words: str) -> list[list[str]]:
    rows = word_shapes(tf.constant(words, tf.string))
    assert rows.dtype == tf.float32
    assert rows.shape == (len(words), len(SHAPES))
    assert set(np.unique(rows)) <= {0.0, 1.0}
    return [[NAMES[place] for place in np.flatnonzero(row)] for row in rows]


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ("lower", "film don't straße ß e-mail ѐ ﬁ e\u0301t"),
        ("initial_capital", "Paris Don't École E\u0301cole O'clock 'Twas ǅungla Ижевск “Yes"),
        ("one_capital", "A J. É E\u0301 Ж -X-"),
        ("all_capitals", "EU U.S. U.S AT&T ÉCOLE STRAẞE SPD-CDU ՀՀ 日AB"),
        ("mixed_case", "iPhone McDonald NATO-led Anglo-Irish ÉcolE O'Brien MPs"),
        ("number", "7 3,500 10:30 1996-08-22 50% $5 ½ Ⅷ ٣"),
        ("marks", ". -- ' ( 😂 👍🏽 ❤\ufe0f 👩\u200d🚀 \u200d \ufffd"),
        ("lower letters_and_digits", "1990s mid-1990s 3a"),
        ("one_capital letters_and_digits", "F-16 F1 3M"),
        ("all_capitals letters_and_digits", "DC-10 4WD"),
        ("letters_and_digits", "日本1 7月"),
        ("", "日本 नमस्ते سلام ª"),
    ],
)
def test_what_a_reader_sees(shape, words):
    words = words.split(" ")
    assert dict(zip(words, shapes_of(*words), strict=True)) == dict.fromkeys(words, shape.split())


def test_an_empty_word_and_one_with_line_breaks():
    assert shapes_of("", "\n", "a\nB", "A\nb", "A\n\n7") == [
        [],
        ["marks"],
        ["mixed_case"],
        ["initial_capital"],
        ["one_capital", "letters_and_digits"],
    ]
    assert shapes_of() == []


def by_hand(word: str) -> list[str]:
    """Return the shapes of a word, another way."""
    letters = [c for c in word if c.isalpha()]
    # of the title-case letters Python calls none upper
    cased = ["U" if c.isupper() or c.istitle() else "l" for c in letters if c.lower() != c.upper()]
    upper, digits = cased.count("U"), sum(c.isnumeric() for c in word)
    if not cased:
        case = ""
    elif upper == 0:
        case = "lower"
    elif upper == len(cased):
        case = "one_capital" if upper == 1 else "all_capitals"
    else:
        case = "initial_capital" if upper == 1 and cased[0] == "U" else "mixed_case"
    kinds = {(True, True): "letters_and_digits", (False, True): "number", (True, False): ""}
    kind = kinds.get((bool(letters), bool(digits)), "marks" if word else "")
    return [name for name in (case, kind) if name]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("aßéBÉǅЖж日7٣½.-'&\n\x00\u0301\u200d😂", max_size=6), max_size=20))
def test_of_any_word(words):
    found = shapes_of(*words)
    assert found == [by_hand(word) for word in words]
    for row in found:
        assert len({*row} & {*CASES}) <= 1
        assert len({*row} & {*OTHERS}) <= 1


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=20))
def test_letters_without_accents_have_a_shape_in_any_script(text):
    words = split_words(tf.constant([text]), "punctuation").words[0]
    for row, word in zip(word_shapes(words).numpy(), words.numpy(), strict=True):
        without_case = all(c.lower() == c.upper() for c in word.decode())
        assert row.any() or without_case, word.decode()


@pytest.fixture(scope="module")
def encoders(tmp_path_factory) -> dict[str, Encoder]:
    root = tmp_path_factory.mktemp("encoders")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFHUB_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "encoders"))
        return {kind: resolve(write(root / kind)) for kind, write in WRITERS.items()}


def layer_of(encoder: Encoder, output: str = "words", **options) -> HubLayer:
    return HubLayer(encoder, output=output, word_shapes=True, **options)


def check_shapes(layer: HubLayer, vectors: np.ndarray, texts: list[str], fronts: int) -> None:
    """The last numbers of each vector are the shape of its word, and nothing else has one."""
    assert vectors.shape[2] == layer.width
    words = split_words(tf.constant(texts), layer.words).words.to_list()
    for row, of_text in zip(vectors[:, :, -len(SHAPES) :], words, strict=True):
        end = fronts + len(of_text)
        np.testing.assert_array_equal(row[fronts:end], word_shapes(tf.constant(of_text, tf.string)))
        assert not row[:fronts].any()
        assert not row[end:].any()


@pytest.mark.parametrize("output", ["words", "text_and_words"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("text_embedding", {"words": "punctuation"}),
        ("transformer", {}),
        ("bert", {"max_tokens": 8}),  # some are read in windows
    ],
)
def test_beside_the_vectors_there_were(encoders, monkeypatch, kind, output, options):
    monkeypatch.setattr(bulk_words, "_TEXTS", 3)
    plain = HubLayer(encoders[kind], output=output, **options)
    layer = layer_of(encoders[kind], output, **options)
    assert layer.width == plain.width + len(SHAPES)
    vectors = layer(tf.constant(TEXTS)).numpy()
    fronts = int(output == "text_and_words")
    np.testing.assert_array_equal(vectors[:, :, : plain.width], plain(tf.constant(TEXTS)))
    check_shapes(layer, vectors, TEXTS, fronts)
    nothing = layer(tf.constant(["", ""])).numpy()
    assert nothing.shape == (2, 1 + fronts, layer.width)
    check_shapes(layer, nothing, ["", ""], fronts)

    padded = BulkWordEncoder(layer).padded(TEXTS)
    np.testing.assert_allclose(padded, vectors, rtol=2e-3, atol=1e-3)  # half precision
    check_shapes(layer, padded, TEXTS, fronts)


def test_of_a_context_that_is_asked_about(encoders):
    layer = layer_of(encoders["bert"])
    pairs = [("WAS it Bad", text) for text in TEXTS]
    vectors = layer(as_inputs(pairs)).numpy()
    check_shapes(layer, vectors, TEXTS, fronts=1)
    padded = BulkWordEncoder(layer).padded(pairs)
    np.testing.assert_allclose(padded, vectors, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["text_embedding", "bert"])
def test_in_a_graph_they_are_the_same(encoders, kind):
    layer = layer_of(encoders[kind], "text_and_words")
    traced = tf.function(layer.vectors, input_signature=[tf.TensorSpec([None], tf.string)])
    (output,) = traced.get_concrete_function().outputs
    assert output.shape.as_list() == [None, None, layer.width]
    vectors = traced(tf.constant(TEXTS)).numpy()
    check_shapes(layer, vectors, TEXTS, fronts=1)
    np.testing.assert_allclose(vectors, layer(tf.constant(TEXTS)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", WRITERS)
def test_the_encoder_moves_all_the_same(encoders, kind):
    layer = layer_of(encoders[kind], trainable=True)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(layer(tf.constant(TEXTS), training=True)))
    gradients = tape.gradient(loss, [weight.value for weight in layer.trainable_weights])
    assert gradients
    for weight, gradient in zip(layer.trainable_weights, gradients, strict=True):
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, weight.path


@pytest.mark.parametrize("output", ["words", "text_and_words"])
def test_from_the_cache_they_are_the_same(encoders, tmp_path, output):
    layers = [layer_of(encoders["bert"], output), HubLayer(encoders["bert"], output=output)]
    for layer in layers:  # both in one folder
        cache = WordCache.open(layer.fingerprint, width=layer.width, root=tmp_path)
        rows = cache.add([TEXTS], BulkWordEncoder(layer))
        expected = BulkWordEncoder(layer).padded(TEXTS)
        np.testing.assert_array_equal(cache.read(rows), expected)
    assert len([*tmp_path.glob("*/words.f16")]) == 2


def test_what_they_mean_is_in_the_fingerprint(encoders, monkeypatch):
    layer = layer_of(encoders["bert"])
    plain = HubLayer(encoders["bert"], output="words")
    assert layer.fingerprint == f"{plain.fingerprint}-shapes-{SHAPES_DIGEST}"
    monkeypatch.setattr("tfhub_transfer.encoders.layer.SHAPES_DIGEST", "another")
    assert layer.fingerprint == f"{plain.fingerprint}-shapes-another"


def test_its_configuration_makes_it_again(encoders):
    layer = layer_of(encoders["bert"])
    assert layer.get_config()["word_shapes"] is True
    for again in (HubLayer.from_config(layer.get_config()), layer.copy()):
        assert again.get_config() == layer.get_config()
        np.testing.assert_array_equal(again(tf.constant(TEXTS)), layer(tf.constant(TEXTS)))
    older = {key: value for key, value in layer.get_config().items() if key != "word_shapes"}
    assert HubLayer.from_config(older).width == layer.width - len(SHAPES)


@pytest.mark.parametrize("output", ["pooled", "sequence"])
def test_shapes_without_words(encoders, output):
    message = rf"Shapes are of words: .*'words' or 'text_and_words'\. Received: '{output}'"
    with pytest.raises(EncoderError, match=message):
        layer_of(encoders["bert"], output)
