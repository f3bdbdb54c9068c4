"""A vector for each word: `HubLayer(output="words")` and its kin, for each kind of encoder."""

from __future__ import annotations

import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.encoders import tiny
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.encoders.lengths import token_counts
from tfhub_transfer.encoders.resolve import Encoder, resolve
from tfhub_transfer.errors import EncoderError

pytestmark = pytest.mark.slow

WRITERS = {
    "text_embedding": tiny.write_text_embedding,
    "transformer": tiny.write_transformer,
    "bert": tiny.write_bert,
}
TRANSFORMERS = ("transformer", "bert")
TEXTS = ["the good film !", "", "abc", "was it good . film was bad"]
CLS, SEP, UNKNOWN = map(tiny.VOCABULARY.index, ("[CLS]", "[SEP]", "[UNK]"))


def pieces_of(word: str) -> int:
    return 1 if word in tiny.VOCABULARY else len(word)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory) -> dict[str, Encoder]:
    root = tmp_path_factory.mktemp("encoders")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFHUB_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "encoders"))
        return {kind: resolve(write(root / kind)) for kind, write in WRITERS.items()}


@pytest.fixture(scope="module")
def layers(encoders) -> dict[str, HubLayer]:
    """Layers that all tests share, since they are frozen."""
    return {kind: HubLayer(encoder, output="words") for kind, encoder in encoders.items()}


@pytest.fixture(scope="module")
def pooled_layers(encoders) -> dict[str, HubLayer]:
    return {kind: HubLayer(encoder) for kind, encoder in encoders.items()}


@pytest.fixture(scope="module")
def fronted_layers(encoders) -> dict[str, HubLayer]:
    return {kind: HubLayer(one, output="text_and_words") for kind, one in encoders.items()}


@pytest.fixture(scope="module")
def raw(encoders) -> HubLayer:
    return HubLayer(encoders["bert"], output="words", words="punctuation")


@pytest.fixture(scope="module")
def short_windows(encoders) -> HubLayer:
    """A transformer that reads eight word pieces at a time."""
    return HubLayer(encoders["bert"], output="words", max_tokens=10)


def vectors_of(layer: HubLayer, *texts: str) -> np.ndarray:
    return layer(tf.constant(texts or TEXTS)).numpy()


def sequence(layer: HubLayer, ids: list[int], types: list[int] | None = None) -> np.ndarray:
    """Return the float32[S, D] that the loaded encoder has for one row of tokens."""
    row = tf.constant([ids])
    types = [0] * len(ids) if types is None else types
    tokens = {
        "input_word_ids": row,
        "input_mask": tf.ones_like(row),
        "input_type_ids": tf.constant([types]),
    }
    return layer.model(tokens)["sequence_output"][0].numpy()


def ids_of(layer: HubLayer, text: str) -> list[int]:
    tokens = layer.loaded[0].tokenize(tf.constant([text]))
    return (tokens.merge_dims(1, 2) if tokens.shape.rank == 3 else tokens)[0].numpy().tolist()


class TestWords:
    @pytest.mark.parametrize("kind", TRANSFORMERS)
    def test_each_word_has_its_first_pieces_vector(self, layers, kind):
        layer = layers[kind]
        vectors = vectors_of(layer)
        assert vectors.shape == (4, 7, layer.width)
        for text, row in zip(TEXTS, vectors, strict=True):
            words = text.split()
            hidden = sequence(layer, [CLS, *ids_of(layer, text), SEP])
            place = 1
            for word, vector in zip(words, row, strict=False):
                np.testing.assert_allclose(vector, hidden[place], rtol=0, atol=1e-5)
                place += pieces_of(word)
            assert place == len(hidden) - 1
            assert not row[len(words) :].any()

    @pytest.mark.parametrize("kind", WRITERS)
    def test_zeros_are_padding_and_nothing_else_is(self, layers, kind):
        texts = [*TEXTS, "\x00 good \u200d", "a  b"]
        vectors = vectors_of(layers[kind], *texts)
        real = vectors.any(axis=-1)
        lengths = [len(text.split(" ")) if text else 0 for text in texts]
        assert real.tolist() == [[place < length for place in range(7)] for length in lengths]
        mask = keras.layers.Masking().compute_mask(vectors)
        np.testing.assert_array_equal(mask, real)

    @pytest.mark.parametrize("kind", TRANSFORMERS)
    def test_a_word_without_pieces_is_unknown(self, layers, kind):
        layer = layers[kind]
        hidden = sequence(
            layer, [CLS, UNKNOWN, *ids_of(layer, "good"), UNKNOWN, *ids_of(layer, "film"), SEP]
        )
        for nothing in ("\x00", "\u200d", ""):
            (row,) = vectors_of(layer, f"\x01 good {nothing} film")
            np.testing.assert_allclose(row, hidden[1:5], rtol=0, atol=1e-5)

    def test_a_text_embedding_looks_up_words_as_texts(self, layers):
        layer = layers["text_embedding"]
        vectors = vectors_of(layer)
        for text, row in zip(TEXTS, vectors, strict=True):
            for word, vector in zip(text.split(), row, strict=False):
                np.testing.assert_allclose(vector, layer.model(tf.constant([word]))[0], atol=1e-6)

    @pytest.mark.parametrize("output", ["words", "text_and_words"])
    def test_the_packaged_encoder(self, output):
        layer = HubLayer("minilm-static", output=output)
        vectors = vectors_of(layer, "a film \x00", "")
        fronts = int(output == "text_and_words")
        assert vectors.shape == (2, 3 + fronts, 256)
        assert vectors[0].any(axis=-1).all()
        assert not vectors[1].any()

    @pytest.mark.parametrize("kind", WRITERS)
    def test_in_front_the_texts_own(self, layers, fronted_layers, pooled_layers, kind):
        vectors = vectors_of(fronted_layers[kind])
        pooled = vectors_of(pooled_layers[kind])
        np.testing.assert_allclose(vectors[:, 0], pooled, rtol=0, atol=1e-5)
        np.testing.assert_allclose(vectors[:, 1:], vectors_of(layers[kind]), rtol=0, atol=1e-6)

    @pytest.mark.parametrize(
        ("kind", "settings"), [("bert", {"pooling": "max"}), ("transformer", {"layers": 1})]
    )
    def test_cut_and_pooled_as_the_layer_is(self, encoders, kind, settings):
        vectors = vectors_of(HubLayer(encoders[kind], output="text_and_words", **settings))
        pooled = HubLayer(encoders[kind], **settings)(tf.constant(TEXTS))
        np.testing.assert_allclose(vectors[:, 0], pooled, rtol=0, atol=1e-5)

    def test_marks_are_words_where_texts_are_raw(self, raw, layers):
        expected = vectors_of(layers["bert"], "the film was good .")
        np.testing.assert_allclose(vectors_of(raw, "the film was good."), expected, atol=1e-5)

    @pytest.mark.parametrize("kind", WRITERS)
    def test_no_text_and_no_word(self, layers, kind):
        layer = layers[kind]
        assert layer(tf.constant([], tf.string)).shape == (0, 1, layer.width)
        vectors = vectors_of(layer, "", "")
        assert vectors.shape == (2, 1, layer.width)
        assert not vectors.any()


class TestWindows:
    @settings(max_examples=20, deadline=None)
    @given(st.lists(st.lists(st.integers(1, 20), max_size=20), min_size=1, max_size=3))
    def test_every_word_of_any_length_has_one_vector(self, short_windows, lengths):
        draw = random.Random(0)
        texts = [
            " ".join("".join(draw.choices("abcdefg", k=length)) for length in row)
            for row in lengths
        ]
        vectors = vectors_of(short_windows, *texts)
        longest = max(map(len, lengths))
        assert vectors.shape == (len(texts), max(longest, 1), short_windows.width)
        assert vectors.any(axis=-1).sum(axis=1).tolist() == [len(row) for row in lengths]

    def test_a_word_has_the_vector_of_the_window_it_is_in_the_middle_of(self, short_windows):
        text = "a b c d e f g h i j k l m n o p q r s t"
        ids = ids_of(short_windows, text)
        (row,) = vectors_of(short_windows, text)
        windows = [range(8), range(6, 14), range(12, 20)]
        chosen = [0] * 7 + [1] * 6 + [2] * 7
        for word, vector in enumerate(row):
            window = windows[chosen[word]]
            hidden = sequence(short_windows, [CLS, *(ids[place] for place in window), SEP])
            expected = hidden[1 + word - window.start]
            np.testing.assert_allclose(vector, expected, rtol=0, atol=1e-5)

    def test_texts_that_fit_are_as_in_one_call(self, layers, short_windows):
        texts = ["a b c d e f g h", "good", "abc def gh"]
        expected = vectors_of(layers["bert"], *texts)
        np.testing.assert_allclose(vectors_of(short_windows, *texts), expected, atol=1e-5)
        beside_a_long_one = vectors_of(short_windows, *texts, "good " * 30 + "film")
        np.testing.assert_allclose(beside_a_long_one[:3, :8], expected, rtol=0, atol=1e-5)
        read = short_windows.by_word.tokens(tf.constant(texts))
        assert read.tokens["input_word_ids"].shape == (3, 10)

    def test_the_front_is_the_mean_over_windows(self, encoders, pooled_layers):
        layer = HubLayer(encoders["bert"], output="text_and_words", max_tokens=10)
        pooled = vectors_of(
            pooled_layers["bert"], "a b c d e f g h", "g h i j k l m n", "m n o p q r s t"
        )
        (row,) = vectors_of(layer, "a b c d e f g h i j k l m n o p q r s t")
        np.testing.assert_allclose(row[0], pooled.mean(axis=0), rtol=0, atol=1e-5)

    @pytest.mark.parametrize(
        ("kind", "limit"), [("bert", tiny.POSITIONS), ("transformer", tiny.LENGTH)]
    )
    def test_the_limit_is_that_of_the_encoder(self, layers, kind, limit):
        read = layers[kind].by_word.tokens(tf.constant(["a " * 100 + "a"]))
        assert read.tokens["input_mask"].shape[1] == limit
        assert len(read.texts) > 100 // limit

    def test_tokens_are_counted_over_the_windows(self, short_windows):
        counts = token_counts(short_windows, [["a b", ""], ["a " * 19 + "a", "abc"]])
        assert counts.tolist() == [4, 2, 30, 5]


class TestQuestions:
    QUESTION, CONTEXT = "was it bad", "the film was good ."

    def ask(self, layer: HubLayer, *pairs: tuple[str, str]) -> np.ndarray:
        return layer(asked(*(pairs or [(self.QUESTION, self.CONTEXT)]))).numpy()

    @pytest.mark.parametrize("kind", TRANSFORMERS)
    def test_question_and_context_are_read_together(self, layers, kind):
        layer = layers[kind]
        question, context = ids_of(layer, self.QUESTION), ids_of(layer, self.CONTEXT)
        types = [0] * (len(question) + 2) + [1] * (len(context) + 1)
        hidden = sequence(layer, [CLS, *question, SEP, *context, SEP], types)
        short, (row,) = self.ask(layer, ("a", "b"), (self.QUESTION, self.CONTEXT))[:, None]
        assert row.shape == (6, layer.width)
        np.testing.assert_allclose(row[0], hidden[0], rtol=0, atol=1e-5)
        words = hidden[len(question) + 2 : -1]
        np.testing.assert_allclose(row[1:], words, rtol=0, atol=1e-5)
        assert short.any(axis=-1).tolist() == [[True, True, False, False, False, False]]

    def test_windows_of_the_context_each_with_the_question(self, short_windows):
        # of ten tokens, three are special and three the question's: four are left
        question = ids_of(short_windows, "a b c")
        context = ids_of(short_windows, "d e f g h i")
        windows = [range(4), range(3, 6)]
        hidden = [
            sequence(
                short_windows,
                [CLS, *question, SEP, *(context[place] for place in window), SEP],
                [0] * 5 + [1] * (len(window) + 1),
            )
            for window in windows
        ]
        (row,) = self.ask(short_windows, ("a b c", "d e f g h i"))
        np.testing.assert_allclose(row[0], (hidden[0][0] + hidden[1][0]) / 2, rtol=0, atol=1e-5)
        # the fourth word has no context on one side in either window
        expected = [*hidden[0][5:9], *hidden[1][6:8]]
        np.testing.assert_allclose(row[1:], expected, rtol=0, atol=1e-5)

    @pytest.mark.parametrize(
        ("question", "context", "cut"),
        [
            ("a b c", "d e f g", 0),
            ("a b c d e f", "g", 0),  # longer than half of the seven, and all fits
            ("a b c d e f", "g h", 1),
            ("a b c d e f", "g h i j k l", 3),
            ("a b c d e f g h i", "", 2),
            ("", "a b c d e f g h i", 0),
        ],
    )
    def test_a_question_is_cut_only_where_it_must_be(self, short_windows, question, context, cut):
        assert short_windows.cut_questions(asked((question, context))).numpy().tolist() == [cut]
        kept = question[: len(question) - 2 * cut]
        expected = self.ask(short_windows, (kept, context))
        np.testing.assert_allclose(
            self.ask(short_windows, (question, context)), expected, rtol=0, atol=1e-6
        )

    def test_in_a_model(self, layers):
        names = ("question", "context")
        inputs = {name: keras.Input((), dtype="string", name=name) for name in names}
        model = keras.Model(inputs, layers["bert"](inputs))
        assert model.output_shape == (None, None, tiny.BERT_WIDTH)
        pair = (self.QUESTION, self.CONTEXT)
        predicted = model.predict(asked(pair, pair), verbose=0)
        expected = np.repeat(self.ask(layers["bert"]), 2, axis=0)
        np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-6)

    def test_what_cannot_be_asked(self, encoders, layers, fronted_layers, pooled_layers):
        pair = asked((self.QUESTION, self.CONTEXT))
        with pytest.raises(EncoderError, match=r"by a transformer\. Received: a text embedding"):
            layers["text_embedding"](pair)
        for layer in (pooled_layers["bert"], fronted_layers["bert"]):
            message = rf"Received: \['context', .*output='{layer.output_kind}'"
            with pytest.raises(EncoderError, match=message):
                layer(pair)
        with pytest.raises(EncoderError, match=r"A layer takes texts .*Received: \['question'\]"):
            layers["bert"]({"question": tf.constant(["a"])})
        with pytest.raises(EncoderError, match=r"at least 5 tokens.*Received: .*max_tokens 4"):
            HubLayer(encoders["bert"], output="words", max_tokens=4)(pair)


def asked(*pairs: tuple[str, str]) -> dict[str, tf.Tensor]:
    question, context = zip(*pairs, strict=True)
    return {"question": tf.constant(question), "context": tf.constant(context)}


class TestAsALayer:
    @pytest.mark.parametrize("kind", WRITERS)
    def test_symbolic_and_traced(self, layers, kind):
        layer = layers[kind]
        symbolic = layer(keras.Input((), dtype="string"))
        assert symbolic.shape == (None, None, layer.width)
        assert symbolic.dtype == "float32"
        expected = vectors_of(layer)
        traced = tf.function(layer, input_signature=[tf.TensorSpec([None], tf.string)])
        (output,) = traced.get_concrete_function().outputs
        assert output.shape.as_list() == [None, None, layer.width]
        np.testing.assert_allclose(traced(tf.constant(TEXTS)), expected, rtol=0, atol=1e-5)

    @pytest.mark.parametrize("kind", WRITERS)
    def test_all_weights_that_move_have_a_gradient(self, encoders, kind):
        layer = HubLayer(encoders[kind], output="words", trainable=True)
        assert not any("pooler" in weight.path for weight in layer.trainable_weights)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(layer(tf.constant(TEXTS), training=True)))
        gradients = tape.gradient(loss, [weight.value for weight in layer.trainable_weights])
        for weight, gradient in zip(layer.trainable_weights, gradients, strict=True):
            assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, weight.path

    @pytest.mark.parametrize("kind", WRITERS)
    def test_a_step_moves_the_encoder(self, encoders, kind):
        layer = HubLayer(encoders[kind], output="words", trainable=True, moving="embeddings")
        text = keras.Input((), dtype="string")
        model = keras.Model(text, keras.layers.Dense(2)(layer(text)))
        model.compile("sgd", "mse")
        (moving, *_), expected = layer.trainable_weights, vectors_of(layer)
        before = moving.numpy()
        model.train_on_batch(tf.constant(TEXTS), np.ones((4, 7, 2), np.float32))
        assert not np.array_equal(moving, before)
        assert not np.array_equal(vectors_of(layer), expected)

    def test_frozen_nothing_has_a_gradient(self, layers):
        layer = layers["bert"]
        with tf.GradientTape() as tape:
            tape.watch([weight.value for weight in layer.weights])
            loss = tf.reduce_sum(layer(tf.constant(TEXTS)))
        assert tape.gradient(loss, [layer.movable[0].value]) == [None]

    def test_training_in_bfloat16(self, encoders):
        layer = HubLayer(encoders["bert"], output="words", trainable=True)
        layer.train_in("bfloat16")
        vectors = layer(tf.constant(TEXTS), training=True)
        assert vectors.dtype == tf.float32
        fast = layer.vectors(tf.constant(TEXTS), precision="bfloat16").numpy()
        assert 0 < np.abs(fast - vectors_of(layer)).max() < 0.2
        mixed = HubLayer(encoders["bert"], output="words", dtype="mixed_bfloat16")
        assert mixed(tf.constant(TEXTS)).dtype == tf.bfloat16

    def test_its_configuration_makes_it_again(self, encoders, tmp_path):
        layer = HubLayer(
            encoders["bert"], output="text_and_words", words="punctuation", max_tokens=9
        )
        again = HubLayer.from_config(layer.get_config())
        assert again.get_config() == layer.get_config()
        np.testing.assert_array_equal(vectors_of(again), vectors_of(layer))
        np.testing.assert_array_equal(vectors_of(layer.copy()), vectors_of(layer))
        text = keras.Input((), dtype="string")
        model = keras.Model(text, keras.layers.Dense(2)(layer(text)))
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(loaded(tf.constant(TEXTS)), model(tf.constant(TEXTS)))

    def test_other_vectors_have_another_fingerprint(
        self, layers, raw, short_windows, fronted_layers, pooled_layers
    ):
        others = (layers["bert"], raw, short_windows, fronted_layers["bert"], pooled_layers["bert"])
        assert len({layer.fingerprint for layer in others}) == len(others)
        pooled = pooled_layers["bert"]
        assert pooled.fingerprint == pooled.encoder.fingerprint

    def test_refusals(self, encoders, layers, pooled_layers):
        bert = encoders["bert"]
        with pytest.raises(EncoderError, match=r"'words' or 'text_and_words'\. Received: 'word'"):
            HubLayer(bert, output="word")
        with pytest.raises(EncoderError, match=r"'spaces' or 'punctuation'\. Received: 'none'"):
            HubLayer(bert, output="words", words="none")
        with pytest.raises(EncoderError, match=r"in windows .*'head'\. Received: 'tail'"):
            HubLayer(bert, output="words", max_tokens=9, truncation="tail")
        with pytest.raises(EncoderError, match=r"output='words' gives as they are.* 'mean'"):
            HubLayer(bert, output="words", pooling="mean")
        with pytest.raises(EncoderError, match=r"a text embedding, which reads all.* 9"):
            HubLayer(encoders["text_embedding"], output="words", max_tokens=9)
        with pytest.raises(EncoderError, match=r"Received: \['input_mask', 'input_type_ids', 'inp"):
            layers["bert"](pooled_layers["bert"].preprocess(tf.constant(["a"])))
