"""Spaces: read from YAML, checked before anything is trained, and applied to a configuration."""

from __future__ import annotations

import pytest

from tfhub_transfer.checks import moves_encoder
from tfhub_transfer.config import Config, HeadConfig, TrainingConfig
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.training.search_oracles import hyperparameters
from tfhub_transfer.training.search_space import Choice, Range, Space
from tfhub_transfer.training.search_space_reader import read_space

TUNING = Config(training=TrainingConfig(strategy="fine_tuning"))


def space_of(content, config: Config | None = None) -> Space:
    return read_space(config or Config(), content)


def only(content, config: Config | None = None) -> Choice | Range:
    (dimension,) = space_of(content, config).dimensions
    return dimension


def test_a_list_has_the_configuration_s_own_value_first():
    assert only({"head.hidden": [[], [64]]}) == Choice("head.hidden", ([1024], [], [64]))
    assert only({"head.dropout": [0, 0.3]}) == Choice("head.dropout", (0.3, 0.0))


def test_a_range_is_of_the_setting_s_own_type():
    rate = only({"training.learning_rate": {"min": 1e-4, "max": 1e-2, "log": True}})
    assert rate == Range("training.learning_rate", 1e-4, 1e-2, None, True, False, 1e-3, True)
    size = only({"training.batch_size": {"min": 16, "max": 48, "step": 16}})
    assert size == Range("training.batch_size", 16, 48, 16, False, True, 48, False)
    assert size.within(31.7) == 32
    assert isinstance(size.within(31.7), int)
    assert rate.within(1.0000001e-2) == 1e-2


def test_a_setting_without_a_value_begins_in_the_middle_of_its_range():
    rate = only({"training.encoder_learning_rate": {"min": 1e-5, "max": 1e-3, "log": True}}, TUNING)
    assert rate.start == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("described", "values"),
    [
        ({"min": 0.0, "max": 0.3, "step": 0.1}, [0, 0.1, 0.2, 0.3]),
        ({"min": 0.1, "max": 0.7, "step": 0.2}, [0.1, 0.3, 0.5, 0.7]),
        ({"min": 0.05, "max": 0.6, "step": 0.05}, [round(0.05 * n, 2) for n in range(1, 13)]),
        ({"min": 0.0, "max": 0.5, "step": 0.2}, [0, 0.2, 0.4]),
    ],
)
def test_a_range_with_steps_ends_with_its_max(described, values):
    dimension = only({"head.dropout": described})
    (parameter,) = hyperparameters(Space(Config(), (dimension,))).space
    assert [dimension.within(value) for value in parameter.values] == values
    assert dimension.count == len(values)
    assert dimension.within(parameter.prob_to_value(1 - 1e-9)) == values[-1]


def test_no_value_is_lost_to_the_configuration_s_own():
    space = space_of({"training.learning_rate": {"min": 0.01, "max": 0.03, "step": 0.01}})
    assert "no trial is the configuration as given" in space.note
    assert "training.learning_rate begins at 0.01 instead of 0.001" in str(space)
    assert space_of({"training.learning_rate": {"min": 0.01, "max": 0.03}}).note == ""
    own = Config(training=TrainingConfig(learning_rate=0.02))
    stepped = {"training.learning_rate": {"min": 0.01, "max": 0.03, "step": 0.01}}
    assert space_of(stepped, own).note == ""
    assert "instead of null" in space_of({"training.epochs": {"min": 1, "max": 5}}).note


@pytest.mark.parametrize("config", [Config(), TUNING], ids=["frozen", "moving"])
def test_the_default_space_works_untouched(config):
    space = read_space(config, None)
    assert len(space.dimensions) > 5
    assert space.combinations is None
    for end in (0, -1):
        drawn = {dimension.name: dimension.values[end] for dimension in space.dimensions}
        changed, taken = space.applied(drawn)
        assert taken == drawn
        assert moves_encoder(changed) == moves_encoder(config)


def test_combinations_are_counted():
    space = space_of(
        {
            "head.activation": ["gelu", "tanh"],  # and relu, which is the configuration's
            "training.batch_size": {"min": 16, "max": 64, "step": 2, "log": True},
            "training.patience": {"min": 1, "max": 4},
            "head.l2": {"min": 0.0, "max": 0.3, "step": 0.1},
        }
    )
    assert [dimension.count for dimension in space.dimensions] == [3, 3, 4, 4]
    assert space.combinations == 144
    assert "144 combinations" in str(space)
    assert 'head.activation: "relu", "gelu", "tanh"' in str(space)


def test_own_values_are_those_of_the_configuration():
    config = Config(head=HeadConfig(hidden=(8, 4)))
    assert space_of({"head.hidden": [[]]}, config).own == {"head.hidden": [8, 4]}


def test_what_does_not_go_together_stays_as_it_was():
    space = space_of(
        {
            "training.last_layers": [None, 2],
            "training.strategy": ["feature_extraction", "fine_tuning"],
            "head.dropout": [0.1],
        }
    )
    drawn = {"training.last_layers": 2, "head.dropout": 0.1}
    frozen, taken = space.applied({**drawn, "training.strategy": "feature_extraction"})
    assert taken == {"training.strategy": "feature_extraction", "head.dropout": 0.1}
    assert frozen.training.last_layers is None
    # though it stands before the strategy that it needs
    moving, taken = space.applied({**drawn, "training.strategy": "fine_tuning"})
    assert taken.keys() == {"training.strategy", "training.last_layers", "head.dropout"}
    assert (moving.training.last_layers, moving.head.dropout) == (2, 0.1)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({}, "at least one setting"),
        ({"head.droput": [0.1]}, r"Did you mean 'head.dropout'.*Received: 'head.droput'"),
        ({"data.source": ["x.csv"]}, "the same for all trials.*data.balance.*'data.source'"),
        ({"seed": [1, 2]}, "the same for all trials"),
        ({"evaluation.bootstrap": [10]}, "the same for all trials"),
        ({"head.dropout": []}, r"head.dropout: give a list.*Received: \[\]"),
        ({"head.dropout": [0.3]}, r"one is not the configuration's own, 0.3.*Received: \[0.3\]"),
        ({"head.dropout": 0.1}, "head.dropout: give a list.*Received: 0.1"),
        ({"head.dropout": ["much"]}, "head.dropout: .*float.*Received: 'much'"),
        ({"head.dropout": [0.1, 1.5]}, "head.dropout: .*from 0 to 0.99. Received: 1.5"),
        ({"head.dropout": {"min": 0.1, "max": 1.5}}, "from 0 to 0.99. Received: 1.5"),
        ({"head.dropout": {"min": 0.4, "max": 0.1}}, "min below its max.*'min': 0.4"),
        ({"head.dropout": {"min": 0.4}}, "min below its max"),
        ({"head.dropout": {"min": 0, "max": 0.5, "log": True}}, "min is above 0"),
        ({"head.dropout": {"min": 0, "max": 0.5, "stpe": 0.1}}, "a range has.*stpe"),
        ({"training.batch_size": {"min": 8, "max": 64, "step": 0.5}}, "all of them whole"),
        ({"head.dropout": {"min": 0, "max": 0.5, "step": 3}}, "a step that fits between them"),
        ({"head.dropout": {"min": 0, "max": 0.5, "step": True}}, "a step that fits between them"),
        ({"head.dropout": {"min": 0, "max": 0.5, "step": float("inf")}}, "a step that fits"),
        ({"head": {"dropout": [0.1]}}, r"named in one, .*Accepted: head\..*Received: 'head'"),
        ({"training.tensorboard": [True]}, "the same for all trials"),
        ({"training.batch_size": {"min": 8.5, "max": 64}}, "training.batch_size: .*int"),
        ({"head.activation": {"min": 0, "max": 1}}, "head.activation: only a number has a range"),
        ({"training.strategy": ["fine_tunning"]}, "training.strategy: Unknown strategy"),
        ({"training.last_layers": [2]}, "training.last_layers: With feature_extraction no weight"),
    ],
)
def test_what_cannot_be_names_the_setting(content, text):
    with pytest.raises(ConfigError, match=text):
        space_of(content)
