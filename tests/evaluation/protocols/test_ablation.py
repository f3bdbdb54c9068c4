"""What is taken away from a run, and that it is what the run has."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tfhub_transfer import evaluate
from tfhub_transfer.config import (
    Config,
    DataConfig,
    DistillationConfig,
    EncoderConfig,
    HeadConfig,
    TrainingConfig,
)
from tfhub_transfer.errors import ConfigError
from tfhub_transfer.evaluation.protocols.ablation import ablation
from tfhub_transfer.runs import Run

# Of everything that is on by default.
DEFAULT = ["no-warmup", "constant-rate", "linear-head", "no-dropout"]


def run_of(folder, **parts: Any) -> Run:
    run = Run(folder)
    run.write_config(Config(run=str(folder), **parts))
    return run


def names(run: Run) -> list[str]:
    return [entry.name for entry in ablation(run, 1).strategies]


def test_what_a_default_run_has(tmp_path):
    assert names(run_of(tmp_path)) == ["full", *DEFAULT]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"training": TrainingConfig(strategy="fine_tuning")}, {"frozen"}),
        (
            {"training": TrainingConfig(strategy="fine_tuning", layer_decay=0.5, clip_norm=1.0)},
            {"frozen", "one-rate", "no-clipping"},
        ),
        ({"training": TrainingConfig(truncate_loss=0.1)}, {"no-truncation"}),
        ({"head": HeadConfig(label_smoothing=0.1, l2=0.1)}, {"no-label-smoothing", "no-l2"}),
        ({"data": DataConfig(balance="class_weight")}, {"no-balance"}),
        ({"encoder": EncoderConfig(pooling="max")}, {"published-pooling"}),
        (
            {
                "training": TrainingConfig(strategy="distillation"),
                "distillation": DistillationConfig(teacher="t", vectors=0.5),
            },
            {"no-teacher", "frozen", "no-vectors"},
        ),
        (
            {
                "training": TrainingConfig(strategy="distillation"),
                "distillation": DistillationConfig(teacher="t", student="feature_extraction"),
            },
            {"no-teacher"},
        ),
    ],
)
def test_what_else_a_run_may_have(tmp_path, parts, expected):
    assert set(names(run_of(tmp_path, **parts))) == {"full", *DEFAULT, *expected}


def test_the_cells_differ_from_the_run_in_one_component(tmp_path):
    config = Config(
        run=str(tmp_path),
        seed=3,
        data=DataConfig(source="some/shop.csv", shots=8, word_dropout=0.1),
        encoder=EncoderConfig(name="minilm-static"),
        training=TrainingConfig(strategy="fine_tuning", epochs=2, layer_decay=0.5),
    )
    run = Run(tmp_path)
    run.write_config(config)
    protocol = ablation(run, 2)
    assert protocol.compare == "full"
    cells = {cell.method: cell for cell in protocol.cells() if cell.seed == 3}
    assert {cell.seed for cell in protocol.cells()} == {3, 4}
    assert str(cells["full"].path) == "shop/8-shots/minilm-static/full/seed-3"
    evaluation = dataclasses.replace(config.evaluation, baselines=())
    full = dataclasses.replace(config, run=None, evaluation=evaluation)
    assert cells["full"].config == full
    head = dataclasses.replace(full.head, hidden=())
    assert cells["linear-head"].config == dataclasses.replace(full, head=head)
    frozen = cells["frozen"].config
    assert frozen.training.strategy == "feature_extraction"
    assert frozen.training.epochs is None
    assert frozen.data.word_dropout == 0
    assert cells["no-augmentation"].config.data.word_dropout == 0


def test_the_command_lists_them(tmp_path, capsys):
    run = run_of(tmp_path)
    assert evaluate.main(["--ablate", str(run.path), "--seeds", "2", "--dry-run"]) == 0
    listed = capsys.readouterr().out
    assert str(tmp_path / "ablation/sample/all/minilm-static/linear-head/seed-1") in listed
    assert "10 cells: 10 runs" in listed


def test_no_seed_is_no_protocol(tmp_path):
    with pytest.raises(ConfigError, match=r"--seeds must be at least 1\. Received: 0"):
        ablation(run_of(tmp_path), 0)
