"""The contract of HubLayer, for each kind of encoder."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub

from tests.encoders import tiny
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.encoders.resolve import Encoder, resolve
from tfhub_transfer.errors import EncoderError

TEXTS = ["the good film !", "bad", "", "good good good film was bad ."]
BUILDERS: dict[str, Callable[[Path], Path]] = {
    "text_embedding": tiny.write_text_embedding,
    "transformer": tiny.write_transformer,
    "bert": tiny.write_bert,
}
WIDTHS = {
    "text_embedding": tiny.EMBEDDING_WIDTH,
    "transformer": tiny.TRANSFORMER_WIDTH,
    "bert": tiny.BERT_WIDTH,
}
TRANSFORMERS = ("transformer", "bert")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        # the one that each test has, so that handles are remembered from one to the next
        patch.setenv("TFHUB_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "encoders"))
        yield


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory, cache: None) -> dict[str, Encoder]:
    root = tmp_path_factory.mktemp("encoders")
    return {kind: resolve(build(root / kind)) for kind, build in BUILDERS.items()}


@pytest.fixture(params=BUILDERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def encoder(encoders: dict[str, Encoder], kind: str) -> Encoder:
    return encoders[kind]


@pytest.fixture(scope="module")
def frozen_layers(encoders: dict[str, Encoder]) -> dict[str, HubLayer]:
    return {kind: HubLayer(encoder) for kind, encoder in encoders.items()}


@pytest.fixture
def frozen(frozen_layers: dict[str, HubLayer], kind: str) -> HubLayer:
    """A layer that all tests share, since none can change it."""
    return frozen_layers[kind]


@pytest.fixture
def bert(encoders: dict[str, Encoder]) -> Encoder:
    return encoders["bert"]


def text(*texts: str) -> tf.Tensor:
    return tf.constant(texts or TEXTS)


def classifier(layer: HubLayer) -> keras.Model:
    inputs = keras.Input((), dtype="string", name="text")
    model = keras.Model(inputs, keras.layers.Dense(2, name="head")(layer(inputs)))
    model.compile(
        keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    return model


def step(model: keras.Model) -> None:
    model.train_on_batch(text(), tf.constant([0, 1, 0, 1]))


def values(variables: list[tf.Variable]) -> list[np.ndarray]:
    return [variable.numpy() for variable in variables]


class TestEveryKind:
    def test_plain_hub_load_takes_it_too(
        self, encoder: Encoder, kind: str, frozen: HubLayer
    ) -> None:
        model = hub.load(str(encoder.path))
        inputs = text() if encoder.preprocess is None else hub.load(str(encoder.preprocess))(text())
        outputs = model(inputs)
        vectors = outputs["pooled_output"] if isinstance(outputs, dict) else outputs
        assert vectors.shape == (4, WIDTHS[kind])
        assert model.trainable_variables
        assert model.regularization_losses == []
        np.testing.assert_array_equal(frozen(text()), vectors)

    def test_its_configuration_makes_it_again(self, encoder: Encoder) -> None:
        layer = HubLayer(encoder, trainable=True, moving="embeddings", name="again")
        config = layer.get_config()
        assert str(encoder.path.parent.parent) not in str(config)
        again = HubLayer.from_config(config)
        assert again.get_config() == config
        assert [weight.path for weight in again.trainable_weights] == [
            weight.path for weight in layer.trainable_weights
        ]
        np.testing.assert_array_equal(again(text()), layer(text()))

    def test_symbolic_and_eager_calls_agree(self, frozen: HubLayer, kind: str) -> None:
        symbolic = frozen(keras.Input((), dtype="string"))
        assert symbolic.shape == (None, WIDTHS[kind])
        assert symbolic.dtype == "float32"
        eager = frozen(text())
        assert eager.shape == (4, frozen.width)
        assert eager.dtype == tf.float32
        traced = tf.function(frozen)(text())
        np.testing.assert_allclose(traced, eager, rtol=0, atol=1e-6)

    def test_in_each_form_of_a_model(self, frozen: HubLayer) -> None:
        expected = frozen(text())

        class Subclassed(keras.Model):
            def __init__(self) -> None:
                super().__init__()
                self.layer = frozen

            def call(self, inputs: tf.Tensor) -> tf.Tensor:
                return self.layer(inputs)

        inputs = keras.Input((), dtype="string")
        for model in (
            keras.Sequential([inputs, frozen]),
            keras.Model(inputs, frozen(inputs)),
            Subclassed(),
        ):
            predicted = model.predict(text(), verbose=0)
            np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-6)

    def test_a_step_moves_the_loaded_objects_own_variables(self, encoder: Encoder) -> None:
        layer = HubLayer(encoder, trainable=True)
        own = list(layer.model.trainable_variables)
        assert {id(weight.value) for weight in layer.trainable_weights} == {*map(id, own)}
        before, vectors = values(own), layer(text()).numpy()
        step(classifier(layer))
        moved = [not np.array_equal(a, b) for a, b in zip(before, values(own), strict=True)]
        assert any(moved)
        assert not np.array_equal(layer(text()), vectors)

    def test_frozen_nothing_moves(self, frozen: HubLayer) -> None:
        assert frozen.trainable_weights == []
        before = values(frozen.model.variables)
        model = classifier(frozen)
        head = model.get_layer("head").kernel.numpy()
        step(model)
        assert not np.array_equal(head, model.get_layer("head").kernel.numpy())
        for a, b in zip(before, values(frozen.model.variables), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_a_saved_frozen_model_is_small_and_names_no_path(
        self, frozen: HubLayer, encoder: Encoder, tmp_path: Path
    ) -> None:
        model = classifier(frozen)
        file = tmp_path / "model.keras"
        model.save(file)
        with zipfile.ZipFile(file) as archive:
            contents = {name: archive.read(name) for name in archive.namelist()}
        for name, content in contents.items():
            assert str(encoder.path.parent.parent).encode() not in content, name
            assert b"/tmp" not in content, name
        # what the handle brings back is not stored again
        assert stored_arrays(file, "dense")
        assert not stored_arrays(file, "hub_layer")
        again = keras.models.load_model(file)
        np.testing.assert_array_equal(again(text()), model(text()))

    def test_fine_tuned_weights_survive_a_file_and_leave_with_another(
        self, encoder: Encoder, tmp_path: Path
    ) -> None:
        layer = HubLayer(encoder, trainable=True)
        model = classifier(layer)
        pristine = layer(text()).numpy()
        model.save_weights(tmp_path / "pristine.weights.h5")
        step(model)
        tuned = model(text()).numpy()
        model.save(tmp_path / "model.keras")
        assert stored_arrays(tmp_path / "model.keras", "hub_layer")
        again = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(again(text()), tuned)
        # the file holds nothing for the encoder, which then is as it was published
        assert not np.array_equal(layer(text()), pristine)
        model.load_weights(tmp_path / "pristine.weights.h5")
        np.testing.assert_array_equal(layer(text()), pristine)

    def test_mixed_precision_casts_the_output_only(self, encoder: Encoder, kind: str) -> None:
        policy = "mixed_bfloat16" if kind == "bert" else "mixed_float16"
        layer = HubLayer(encoder, dtype=policy, trainable=True)
        compute = policy.removeprefix("mixed_")
        assert layer(keras.Input((), dtype="string")).dtype == compute
        vectors = layer(text())
        assert vectors.dtype == compute
        assert {weight.dtype for weight in layer.trainable_weights} == {"float32"}
        assert layer.vectors(text()).dtype == tf.float32
        np.testing.assert_allclose(
            tf.cast(vectors, tf.float32), layer.vectors(text()), rtol=1e-2, atol=1e-2
        )
        before = values(layer.model.trainable_variables)
        step(classifier(layer))
        after = values(layer.model.trainable_variables)
        assert any(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))

    def test_no_text_at_all(self, frozen: HubLayer) -> None:
        assert frozen(tf.constant([], tf.string)).shape == (0, frozen.width)

    def test_an_empty_text_has_a_finite_vector(self, frozen: HubLayer) -> None:
        vectors = frozen(text("", "good")).numpy()
        assert np.isfinite(vectors).all()
        assert not np.array_equal(vectors[0], vectors[1])

    def test_a_column_of_texts_is_refused_with_the_way_to_declare_it(
        self, frozen: HubLayer
    ) -> None:
        with pytest.raises(EncoderError, match=r"keras\.Input\(\(\), .*Received: string\[None, 1"):
            frozen(keras.Input((1,), dtype="string"))

    def test_weights_that_move_are_chosen_by_path(self, encoder: Encoder) -> None:
        layer = HubLayer(encoder)
        paths = layer.move("embeddings$")
        assert paths == [weight.path for weight in layer.trainable_weights]
        assert 0 < len(paths) <= len(layer.movable)
        with pytest.raises(
            EncoderError, match=r"No weight of .* It has \d+: .* Received: 'nosuch'"
        ):
            layer.move("nosuch")

    def test_unfreezing_later_moves_all_or_what_is_asked_for(self, encoder: Encoder) -> None:
        layer = HubLayer(encoder)
        layer.trainable = True
        everything = [weight.path for weight in layer.movable]
        assert [weight.path for weight in layer.trainable_weights] == everything
        assert layer.move("embeddings$") == [weight.path for weight in layer.trainable_weights]
        layer.trainable = False
        assert not any(weight.trainable for weight in layer.weights)

    def test_the_model_around_it_cannot_move_more(self, bert: Encoder) -> None:
        layer = HubLayer(bert, trainable=True, moving="layer_1")
        chosen = [weight.path for weight in layer.trainable_weights]
        assert {path.partition("/")[0] for path in chosen} == {"layer_1"}
        model = classifier(layer)
        model.trainable = False
        assert layer.trainable_weights == []
        model.trainable = True
        assert [weight.path for weight in layer.trainable_weights] == chosen
        frozen = [weight for weight in layer.movable if weight.path not in chosen]
        before = values(frozen)
        step(model)
        for a, b in zip(before, values(frozen), strict=True):
            np.testing.assert_array_equal(a, b)


def stored_arrays(file: Path, kind: str) -> list[str]:
    """Return the arrays that a .keras file holds for the layers of a class."""
    import h5py

    found: list[str] = []

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and kind in name:
            found.append(name)

    with (
        zipfile.ZipFile(file) as archive,
        archive.open("model.weights.h5") as weights,
        h5py.File(weights) as opened,
    ):
        opened.visititems(visit)
    return found


@pytest.mark.parametrize("kind", TRANSFORMERS)
class TestTransformers:
    def test_the_sequence_is_zero_at_the_padding(self, encoder: Encoder) -> None:
        layer = HubLayer(encoder, output="sequence")
        sequence = layer(text()).numpy()
        mask = layer.preprocess(text())["input_mask"].numpy()
        assert sequence.shape == (*mask.shape, layer.width)
        assert (sequence[mask == 0] == 0).all()
        assert (mask == 0).any()
        assert (np.abs(sequence[mask == 1]).sum(-1) > 0).all()
        assert layer(keras.Input((), dtype="string")).shape == (None, None, layer.width)
        assert HubLayer.from_config(layer.get_config()).output_kind == "sequence"

    def test_text_tokenised_ahead(self, frozen: HubLayer) -> None:
        tokens = frozen.preprocess(text())
        assert sorted(tokens) == ["input_mask", "input_type_ids", "input_word_ids"]
        np.testing.assert_array_equal(frozen(tokens), frozen(text()))
        inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in tokens}
        model = keras.Model(inputs, frozen(inputs))
        np.testing.assert_allclose(model.predict(tokens, verbose=0), frozen(text()), atol=1e-6)

    def test_dropout_only_where_weights_move(self, encoder: Encoder, frozen: HubLayer) -> None:
        moving = HubLayer(encoder, trainable=True)
        np.testing.assert_array_equal(frozen(text(), training=True), frozen(text()))
        np.testing.assert_array_equal(moving(text(), training=False), frozen(text()))
        assert not np.array_equal(moving(text(), training=True), moving(text()))


class TestRefusals:
    def test_an_output_that_no_encoder_has(self, bert: Encoder) -> None:
        with pytest.raises(EncoderError, match=r"'words' or 'text_and_words'\. Received: 'mean'"):
            HubLayer(bert, output="mean")

    def test_the_sequence_of_a_text_embedding(self, encoders: dict[str, Encoder]) -> None:
        with pytest.raises(EncoderError, match=r"Only a transformer .*Received: 'sequence'"):
            HubLayer(encoders["text_embedding"], output="sequence")

    def test_tokens_of_a_text_embedding(self, encoders: dict[str, Encoder]) -> None:
        layer = HubLayer(encoders["text_embedding"])
        with pytest.raises(EncoderError, match=r"takes text as it is\. Received: text_embedding@"):
            layer.preprocess(text())

    def test_a_model_that_reads_no_text(self, tmp_path: Path) -> None:
        class Doubling(tf.Module):
            @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
            def __call__(self, number: tf.Tensor) -> tf.Tensor:
                return number * 2

        tf.saved_model.save(Doubling(), str(tmp_path / "doubling"))
        encoder = Encoder("doubling", tmp_path / "doubling")
        with pytest.raises(EncoderError, match=r"doubling is no TF Hub text encoder: .*Received"):
            HubLayer(encoder)

    def test_a_model_that_gives_one_number_per_text(self, tmp_path: Path) -> None:
        class Length(tf.Module):
            @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
            def __call__(self, text: tf.Tensor) -> tf.Tensor:
                return tf.strings.length(text)

        tf.saved_model.save(Length(), str(tmp_path / "length"))
        with pytest.raises(EncoderError, match=r"Received: an output of shape \(1,\)"):
            HubLayer(Encoder("length", tmp_path / "length"))

    def test_a_saved_model_that_cannot_be_called(self, tmp_path: Path) -> None:
        tf.saved_model.save(tf.Module(), str(tmp_path / "module"))
        with pytest.raises(EncoderError, match=r"cannot be called.* Received: .*module"):
            HubLayer(Encoder("module", tmp_path / "module"))

    def test_a_file_whose_encoder_this_machine_does_not_know(
        self, bert: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        classifier(HubLayer(bert)).save(tmp_path / "model.keras")
        monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "elsewhere"))
        with pytest.raises((EncoderError, TypeError), match=r"not known on this machine"):
            keras.models.load_model(tmp_path / "model.keras")

    def test_the_encoder_may_move_on_disk_once_it_is_loaded(self, tmp_path: Path) -> None:
        encoder = resolve(tiny.write_text_embedding(tmp_path / "here"))
        layer = HubLayer(encoder)
        expected = layer(text())
        shutil.move(tmp_path / "here", tmp_path / "there")
        np.testing.assert_array_equal(layer(text()), expected)
        again = HubLayer(resolve(tmp_path / "there"))
        np.testing.assert_array_equal(again(text()), expected)
