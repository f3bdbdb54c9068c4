"""What settings are accepted, and what is said about the others."""

from __future__ import annotations

import dataclasses
import json

import pytest

from tfhub_transfer.config import (
    AdaptationConfig,
    Config,
    DataConfig,
    DistillationConfig,
    EncoderConfig,
    EvaluationConfig,
    HeadConfig,
    TrainingConfig,
    WeightGroup,
)
from tfhub_transfer.errors import ConfigError, TransferError, UnknownNameError

NAN = float("nan")
FRACTION = r"must be from 0 to 0\.9\. Received: "
REFUSED = [
    (DataConfig, "validation_fraction", -0.1, rf"data\.validation_fraction {FRACTION}-0\.1"),
    (DataConfig, "validation_fraction", 0.91, rf"data\.validation_fraction {FRACTION}0\.91"),
    (DataConfig, "test_fraction", NAN, rf"data\.test_fraction {FRACTION}nan"),
    (DataConfig, "test_fraction", 1, rf"data\.test_fraction {FRACTION}1$"),
    (DataConfig, "limit", 0, r"data\.limit must be at least 1\. Received: 0"),
    (DataConfig, "shots", -3, r"data\.shots must be at least 1\. Received: -3"),
    (DataConfig, "label_separator", "", r"data\.label_separator must not be empty"),
    (EncoderConfig, "max_tokens", 2, r"encoder\.max_tokens must be at least 3\. Received: 2"),
    (EncoderConfig, "truncation", "tail", r"encoder\.truncation .* give that too.*: 'tail'"),
    (HeadConfig, "hidden", (64, 0), r"head\.hidden must be at least 1\. Received: 0"),
    (HeadConfig, "dropout", 1.0, r"head\.dropout must be from 0 to 0\.99\. Received: 1\.0"),
    (HeadConfig, "label_smoothing", -1, r"head\.label_smoothing must be from 0 to 0\.99"),
    (HeadConfig, "l2", -0.5, r"head\.l2 must be at least 0\. Received: -0\.5"),
    (HeadConfig, "l2", NAN, r"head\.l2 must be at least 0\. Received: nan"),
    (TrainingConfig, "epochs", 0, r"training\.epochs must be at least 1\. Received: 0"),
    (TrainingConfig, "batch_size", 0, r"training\.batch_size must be at least 1"),
    (TrainingConfig, "patience", 0, r"training\.patience must be at least 1"),
    (TrainingConfig, "learning_rate", 0.0, r"training\.learning_rate must be from 1e-09 to 100"),
    (TrainingConfig, "learning_rate", NAN, r"training\.learning_rate .* Received: nan"),
    (TrainingConfig, "encoder_learning_rate", 101, r"training\.encoder_learning_rate .*: 101"),
    (TrainingConfig, "warmup", 1.5, r"training\.warmup must be from 0 to 1\. Received: 1\.5"),
    (
        TrainingConfig,
        "trainable",
        "layer_(",
        r"training\.trainable must be a regular expression \(missing \)",
    ),
    (EvaluationConfig, "baseline_limit", 9, r"evaluation\.baseline_limit must be at least 10"),
    (EvaluationConfig, "bootstrap", 9, r"evaluation\.bootstrap must be at least 10"),
    (Config, "seed", -1, r"seed must be from 0 to 4294967295\. Received: -1"),
    (Config, "seed", 2**32, r"seed must be from 0 to 4294967295"),
]


@pytest.mark.parametrize(("settings", "name", "value", "text"), REFUSED)
def test_a_value_out_of_range(settings, name, value, text):
    with pytest.raises(ConfigError, match=text):
        settings(**{name: value})


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        (DataConfig, "validation_fraction", 0.0),
        (DataConfig, "test_fraction", 0.9),
        (DataConfig, "limit", None),
        (HeadConfig, "hidden", ()),
        (HeadConfig, "dropout", 0.0),
        (TrainingConfig, "encoder_learning_rate", None),
        (TrainingConfig, "warmup", 1.0),
        (EvaluationConfig, "baselines", ()),
        (Config, "seed", 2**32 - 1),
    ],
)
def test_the_ends_of_the_ranges_are_accepted(settings, name, value):
    assert getattr(settings(**{name: value}), name) == value


def test_the_head_of_contrastive_is_linear_and_fast_by_default():
    fitted = Config(training=TrainingConfig(strategy="contrastive"))
    assert (fitted.head.hidden, fitted.training.peak_rate) == ((), 1e-2)
    assert (Config().head.hidden, Config().training.peak_rate) == ((1024,), 1e-3)
    asked = Config(
        training=TrainingConfig(strategy="contrastive", learning_rate=0.5),
        head=HeadConfig(hidden=(8,)),
    )
    assert (asked.head.hidden, asked.training.peak_rate) == ((8,), 0.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trainable", "layer_5"),
        ("groups", (WeightGroup("layer_5", 0.1),)),
        ("last_layers", 0),
        ("unfreezing", "gradual"),
        ("layer_decay", 0.9),
        ("encoder_learning_rate", 1e-5),
        ("precision", "bfloat16"),
    ],
)
def test_what_only_moving_weights_have_is_refused_where_none_move(name, value):
    text = rf"no weight of the encoder moves.* fine_tuning\. Received: training\.{name} "
    with pytest.raises(ConfigError, match=text):
        Config(training=TrainingConfig(**{name: value}))
    with pytest.raises(ConfigError, match=text):
        Config(
            training=TrainingConfig(strategy="distillation", **{name: value}),
            distillation=DistillationConfig(teacher="runs/teacher", student="feature_extraction"),
        )
    Config(training=TrainingConfig(strategy="fine_tuning", **{name: value}))


def test_growing_data_and_gradual_unfreezing_exclude_each_other():
    training = TrainingConfig(strategy="fine_tuning", unfreezing="gradual")
    with pytest.raises(ConfigError, match=r"give one\. Received: data\.stages \[0\.1, 1\.0\]"):
        Config(data=DataConfig(stages=(0.1, 1.0)), training=training)


@pytest.mark.parametrize("stages", [(0.5, 0.5), (0.5, 0.2), (0.0, 1.0), (0.5, 1.5), (0.1, 0.3)])
def test_stages_grow(stages):
    with pytest.raises(ConfigError, match=r"data\.stages must be growing shares"):
        DataConfig(stages=stages)


@pytest.mark.parametrize("change", ["word_dropout", "word_swap"])
def test_changed_texts_and_vectors_kept_from_before(change):
    data = DataConfig(**{change: 0.1})
    with pytest.raises(ConfigError, match=r"--encoder\.cache false.* Received: strategy 'feature"):
        Config(data=data)
    Config(data=data, encoder=EncoderConfig(cache=False))
    Config(data=data, training=TrainingConfig(strategy="fine_tuning"))


def test_distillation_needs_a_teacher():
    with pytest.raises(ConfigError, match=r"--distillation\.teacher DIR\. Received: none"):
        Config(training=TrainingConfig(strategy="distillation"))


def test_names_are_looked_up():
    with pytest.raises(UnknownNameError, match=r"Unknown strategy\. Did you mean 'fine_tuning'\?"):
        TrainingConfig(strategy="fine-tuning")
    with pytest.raises(UnknownNameError, match=r"Unknown task\. Did you mean 'classification'\?"):
        Config(task="clasification")


def test_flags_that_contradict_each_other():
    with pytest.raises(ConfigError, match="--resume continues a run and --overwrite empties it"):
        Config(run="r", resume=True, overwrite=True)
    with pytest.raises(ConfigError, match="--resume needs the run directory"):
        Config(resume=True)


def test_settings_are_frozen_and_json_holds_them():
    config = Config(
        training=TrainingConfig(strategy="fine_tuning", groups=(WeightGroup("layer_5", 0.1),))
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1
    plain = config.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["head"]["hidden"] == list(config.head.hidden)
    assert plain["training"]["groups"] == [{"match": "layer_5", "rate": 0.1}]


def test_every_setting_is_documented():
    for settings in (Config, *(type(v) for v in vars(Config()).values())):
        for field in dataclasses.fields(settings) if dataclasses.is_dataclass(settings) else ():
            assert f"\n        {field.name}: " in settings.__doc__, field.name


def test_every_error_of_a_setting_can_be_caught_at_the_root():
    with pytest.raises(TransferError):
        Config(seed=-1)


@pytest.mark.parametrize("strategy", ["contrastive", "dann"])
def test_what_keeps_its_last_epoch_has_no_other_best(strategy):
    with pytest.raises(ConfigError, match=r"always keeps its last epoch.* Received: 'accuracy'"):
        Config(
            training=TrainingConfig(strategy=strategy, keep="accuracy"),
            adaptation=AdaptationConfig(target="x.csv" if strategy == "dann" else None),
        )
