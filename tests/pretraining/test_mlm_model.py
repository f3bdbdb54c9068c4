"""The heads of a masked language model, and the step that moves it."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.encoders import tiny
from tfhub_transfer.encoders.loaded import load
from tfhub_transfer.errors import EncoderError
from tfhub_transfer.pretraining.mlm import model as mlm_model
from tfhub_transfer.pretraining.mlm.adamw import AdamW
from tfhub_transfer.pretraining.mlm.batches import Batch
from tfhub_transfer.pretraining.mlm.model import MaskedLanguageModel
from tfhub_transfer.pretraining.mlm.settings import MlmConfig

VOCABULARY = len(tiny.VOCABULARY)
COUNTS = np.arange(VOCABULARY) + 1


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    return tiny.write_bert(tmp_path_factory.mktemp("bert"), pooling="pooler", normalize=False)


def model_of(directory, **settings) -> MaskedLanguageModel:
    config = MlmConfig(corpus=("none",), continue_from="x", next_sentence=True, **settings)
    return MaskedLanguageModel(load(directory / "encoder"), COUNTS, config, "tiny")


@pytest.fixture(scope="module")
def made(bert) -> tuple[MaskedLanguageModel, dict[str, np.ndarray]]:
    model = model_of(bert)
    return model, {name: variable.numpy() for name, variable in model.state.items()}


@pytest.fixture
def model(made) -> MaskedLanguageModel:
    """A model that has taken no step; tracing one takes seconds."""
    model, values = made
    for name, value in values.items():
        model.state[name].assign(value)
    return model


def batch() -> Batch:
    ids = np.array([[2, 7, 4, 9, 3, 0], [2, 4, 4, 12, 5, 3]], np.int32)
    mask = np.array([[1] * 5 + [0], [1] * 6], np.int32)
    types = np.array([[0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 1, 1]], np.int32)
    names = ("input_word_ids", "input_mask", "input_type_ids")
    return Batch(
        dict(zip(names, (ids, mask, types), strict=True)),
        np.array([2, 7, 8], np.int32),
        np.array([8, 30, 31], np.int32),
        np.array([1, 0], np.int32),
    )


def by_name(model) -> dict[str, np.ndarray]:
    return {variable.name.removesuffix(":0"): variable.numpy() for variable in model._own}


def test_losses_are_those_of_the_hidden_places_alone(model):
    rows = batch()
    outputs = model.encoder(rows.inputs, training=False)
    head = by_name(model)
    table = next(v.numpy() for v in model.encoder.variables if "embeddings/word" in v.name)

    # in float64, over all places, of which three are then taken
    hidden = outputs["sequence_output"].numpy().astype(np.float64)
    hidden = hidden @ head["head/dense/kernel"] + head["head/dense/bias"]
    hidden = tf.nn.gelu(hidden).numpy()
    hidden -= hidden.mean(-1, keepdims=True)
    hidden /= np.sqrt((hidden**2).mean(-1, keepdims=True) + 1e-12)
    logits = hidden @ table.T + head["head/table/bias"]
    logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
    taken = logits.reshape(-1, VOCABULARY)[rows.places]
    loss = -taken[np.arange(3), rows.pieces].sum()
    right = (taken.argmax(1) == rows.pieces).sum()

    pairs = outputs["pooled_output"].numpy() @ head["head/next/kernel"]
    pairs -= np.log(np.exp(pairs).sum(-1, keepdims=True))
    pair_loss = -pairs[[0, 1], rows.follows].sum()
    pair_right = (pairs.argmax(1) == rows.follows).sum()
    np.testing.assert_allclose(
        model.evaluate(rows), [loss, right, 3, pair_loss, pair_right, 2], rtol=2e-5
    )
    np.testing.assert_allclose(head["head/table/bias"], np.log((COUNTS + 1) / sum(COUNTS + 1)))


def test_a_step_moves_the_loaded_variables_and_lowers_the_loss(model):
    rows = batch()
    assert model.table == "embeddings/word/embeddings" and model.has_pooler
    weights = model.encoder.trainable_variables
    before = [weight.numpy() for weight in weights]
    first = model.evaluate(rows)
    for _ in range(10):
        model.train(rows, 1e-3, 1e-2)
    assert model.evaluate(rows)[0] < 0.8 * first[0] and model.evaluate(rows)[3] < first[3]
    assert all((w.numpy() != value).any() for w, value in zip(weights, before, strict=True))


def test_rates_of_zero_move_nothing(model):
    before = {name: v.numpy() for name, v in model.state.items() if "optimizer" not in name}
    model.train(batch(), 0.0, 0.0)
    frozen = [v for v in model.encoder.variables if not v.trainable]
    assert len(frozen) == 1, "the counter of dropout masks"
    for name, value in before.items():
        if model.state[name] is not frozen[0]:
            np.testing.assert_array_equal(model.state[name].numpy(), value)


def test_a_table_that_is_not_found_is_the_heads_own(bert, monkeypatch):
    monkeypatch.setattr(mlm_model, "_TABLE", re.compile("called otherwise"))
    model = model_of(bert)
    assert model.table is None
    assert by_name(model)["head/table/kernel"].shape == (VOCABULARY, tiny.BERT_WIDTH)
    first = model.evaluate(batch())[0]
    for _ in range(10):
        model.train(batch(), 1e-3, 1e-2)
    assert model.evaluate(batch())[0] < first


def test_bfloat16_products_come_close(bert, model):
    half = model_of(bert, precision="bfloat16")
    np.testing.assert_allclose(half.evaluate(batch()), model.evaluate(batch()), rtol=0.03)
    first = half.evaluate(batch())[0]
    for _ in range(10):
        half.train(batch(), 1e-3, 1e-2)
    assert half.evaluate(batch())[0] < first


def test_an_encoder_without_bfloat16_says_so(tmp_path):
    tiny.write_transformer(tmp_path)
    with pytest.raises(EncoderError, match=r"Accepted: --precision float32\. Received: 'bfloat16'"):
        model_of(tmp_path, precision="bfloat16")


def test_adamw_is_that_of_keras():
    random = np.random.default_rng(0)
    start = [random.normal(size=shape).astype(np.float32) for shape in ((5, 3), (3,))]
    ours = [tf.Variable(start[0], name="kernel"), tf.Variable(start[1], name="bias")]
    theirs = [keras.Variable(start[0], name="kernel"), keras.Variable(start[1], name="bias")]
    optimizer = AdamW(ours, decay=0.1, clip_norm=0.5)
    reference = keras.optimizers.AdamW(0.01, weight_decay=0.1, global_clipnorm=0.5, epsilon=1e-6)
    reference.exclude_from_weight_decay(var_names=["bias"])
    for _ in range(20):
        gradients = [tf.constant(random.normal(size=v.shape), tf.float32) for v in ours]
        optimizer.step(gradients, [tf.constant(0.01)] * 2)
        reference.apply(gradients, theirs)
    for own, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(own.numpy(), their.numpy(), rtol=1e-5, atol=1e-6)


def test_gradients_of_looked_up_rows_are_summed_and_missing_ones_left_out():
    table, other = tf.Variable(tf.ones([4, 2])), tf.Variable(tf.ones([2]))
    optimizer = AdamW([table, other], decay=0.0, clip_norm=1e9)
    rows = tf.IndexedSlices(tf.ones([3, 2]), tf.constant([1, 1, 3]), tf.constant([4, 2]))
    optimizer.step([rows, None], [tf.constant(0.1)] * 2)
    np.testing.assert_allclose(optimizer.moments[0][0][:, 0], [0, 0.2, 0, 0.1], rtol=1e-5)
    assert (table.numpy()[[0, 2]] == 1).all() and (other.numpy() == 1).all()
