"""Which weights move, how fast, by the names that transformers' weights have."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.encoders import tiny
from tfhub_transfer.config import TrainingConfig, WeightGroup
from tfhub_transfer.encoders.depth import level_of, number_of_layers
from tfhub_transfer.encoders.layer import HubLayer
from tfhub_transfer.errors import EncoderError, TrainingError
from tfhub_transfer.training.groups import encoder_rate, rates_of

KERNELS = ["transformer/layer_0/kernel", "transformer/layer_1/kernel"]
WORDS, POOLER = "word_embeddings/embeddings", "pooler/kernel"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, HubLayer]:
    root = tmp_path_factory.mktemp("encoders")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFHUB_CACHE_DIR", str(root / "cache"))
        return {
            "hub": HubLayer(tiny.write_transformer(root / "hub")),
            "bert": HubLayer(tiny.write_bert(root / "bert")),
            "words": HubLayer(tiny.write_text_embedding(root / "words")),
        }


def rates(encoder: HubLayer, *groups: tuple[str, float], **settings) -> dict[str, float]:
    given = tuple(WeightGroup(*group) for group in groups)
    found = rates_of(encoder, TrainingConfig(groups=given, **settings))
    assert {weight.path for weight in encoder.trainable_weights} == found.keys()
    return found


def layers_of(found: dict[str, float]) -> set[int]:
    return {level_of(path, 2) for path in found}


@pytest.mark.parametrize(
    ("path", "level"),
    [
        ("layer_3/attention/qkv/kernel", 3),
        ("transformer/layer_10/self_attention/query/kernel", 10),
        ("embeddings/norm/gamma", -1),
        ("word_embeddings/embeddings", -1),
        ("position_embedding/embeddings", -1),
        ("pooler_transform/kernel", 12),
        ("player_3/kernel", 12),
        ("transformer/layer_norm/gamma", 12),
    ],
)
def test_the_layer_is_in_the_path(path, level):
    assert level_of(path, 12) == level


def test_layers_are_counted():
    assert number_of_layers(["a/layer_0/x", "a/layer_11/x", "pooler"]) == 12
    assert number_of_layers(["embeddings"]) == 0


def test_all_moves_unless_something_else_is_said(made):
    assert rates(made["hub"]) == dict.fromkeys([*KERNELS, WORDS, POOLER], 1.0)
    assert made["hub"].moving == ".*"


def test_the_first_group_that_matches_gives_the_rate(made):
    found = rates(made["hub"], ("layer_1", 0.5), ("kernel$", 0.1), ("embed", 0.0))
    assert found == {KERNELS[1]: 0.5, KERNELS[0]: 0.1, POOLER: 0.1}


def test_groups_are_of_the_weights_that_are_trainable(made):
    assert rates(made["hub"], ("layer_0", 0.3), trainable="transformer") == {
        KERNELS[0]: 0.3, KERNELS[1]: 1.0,
    }  # fmt: skip


def test_rates_fall_from_layer_to_layer(made):
    found = rates(made["hub"], ("layer_0", 3.0), layer_decay=0.5)
    assert found == {POOLER: 1.0, KERNELS[1]: 1.0, KERNELS[0]: 1.5, WORDS: 0.25}


@pytest.mark.parametrize(("kind", "count", "levels"), [
    ("hub", 0, {2}), ("hub", 1, {1, 2}), ("hub", 2, {0, 1, 2}), ("bert", 1, {1}),
])  # fmt: skip
def test_the_last_layers(made, kind, count, levels):
    assert layers_of(rates(made[kind], last_layers=count)) == levels


def test_what_was_chosen_is_in_the_layer_s_configuration(made):
    rates(made["bert"], last_layers=1)
    again = HubLayer.from_config({**made["bert"].get_config(), "encoder": made["bert"].encoder})
    assert {weight.path for weight in again.trainable_weights} == {
        weight.path for weight in made["bert"].trainable_weights
    }


@pytest.mark.parametrize(
    ("kind", "groups", "settings", "text"),
    [
        ("hub", [("layer_7", 0.1)], {}, r"that move: .*layer_0/kernel.* Received: 'layer_7'"),
        ("hub", [("kernel", 1), ("layer_1", 2)], {}, r"no group before it .* Received: 'layer_1'"),
        ("hub", [("layer_1", 1)], {"trainable": "layer_0"}, r"matches no weight that moves"),
        ("hub", [(".", 0.0)], {}, r"left to move; .*feature_extraction.* Received: .*\('\.', 0"),
        ("bert", [], {"last_layers": 0}, r"left to move.* last_layers 0"),
        ("bert", [], {"last_layers": 3}, r"at most 2, the layers of .* Received: 3"),
    ],
)
def test_what_can_be_no_choice(made, kind, groups, settings, text):
    with pytest.raises(TrainingError, match=text):
        rates(made[kind], *groups, **settings)


def test_a_pattern_that_matches_nothing(made):
    with pytest.raises(EncoderError, match=r"can be trained matches.*: 'nosuch'"):
        rates(made["hub"], trainable="nosuch")


@pytest.mark.parametrize(
    ("settings", "received"),
    [
        ({"last_layers": 1}, "training.last_layers 1"),
        ({"layer_decay": 0.5}, "training.layer_decay 0.5"),
        ({"unfreezing": "gradual"}, "training.unfreezing gradual"),
    ],
)
def test_a_text_embedding_has_no_layers(made, settings, received):
    text = r"no numbered layers.* embeddings\. --training\.groups .* Received: "
    with pytest.raises(TrainingError, match=f"{text}{re.escape(received)}$"):
        rates(made["words"], **settings)
    assert rates(made["words"], (".", 0.5)) == {"embeddings": 0.5}


def test_a_rate_that_is_given_is_taken(made):
    config = TrainingConfig(encoder_learning_rate=0.02)
    assert {encoder_rate(encoder, config) for encoder in made.values()} == {0.02}


def test_a_transformer_has_the_usual_rate(made):
    assert encoder_rate(made["bert"], TrainingConfig()) == 5e-5


@pytest.mark.parametrize("size", [1.0, 30.0, 0.0])
def test_a_text_embedding_moves_by_a_share_of_its_size(made, size):
    encoder = HubLayer(made["words"].encoder)
    (table,) = encoder.movable
    values = size * table.numpy()
    table.assign(values)
    expected = 0.01 * max(1e-3, float(np.sqrt(np.square(values).mean())))
    assert encoder_rate(encoder, TrainingConfig()) == pytest.approx(expected, rel=1e-5)
