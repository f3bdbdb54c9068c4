"""Settings by their dotted names, and in sections."""

from __future__ import annotations

from tfhub_transfer.config import Config, DataConfig, TrainingConfig, WeightGroup
from tfhub_transfer.dotted import flat, nested
from tfhub_transfer.runs import config_from_dict


def test_sections_become_dotted_names_and_sections_again():
    tree = {"seed": 3, "head": {"hidden": [64], "dropout": 0.1}, "run": None}
    dotted = {"seed": 3, "head.hidden": [64], "head.dropout": 0.1, "run": None}
    assert flat(tree) == dotted
    assert nested(dotted) == tree
    assert flat({}) == nested({}) == {}


def test_a_value_within_a_section_stays_as_it_is():
    tree = {"search": {"space": {"head.dropout": {"min": 0, "max": 1}}}}
    assert flat(tree) == {"search.space": {"head.dropout": {"min": 0, "max": 1}}}
    assert nested(flat(tree)) == tree


def test_a_configuration_survives_both():
    config = Config(
        seed=5,
        data=DataConfig(stages=(0.5, 1.0)),
        training=TrainingConfig(strategy="fine_tuning", groups=(WeightGroup("layer_1", 0.5),)),
    )
    assert config_from_dict(nested(flat(config.to_dict()))) == config
