"""Trainings on two logical devices, which have to be set before TensorFlow begins.

python -m tests.training.mirrored FOLDER trains all of CASES into FOLDER; what stands in it already
are the encoders, and the same cases, trained on one device by test_distribution.py.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from tests import trained
from tfhub_transfer.config import Config, DistillationConfig, EncoderConfig
from tfhub_transfer.evaluation.experiment import run_experiment
from tfhub_transfer.training import checkpoint

ROWS = 82  # 60 of them to train on: with batches of 16 the last one has 11, as 6 and 5
_TUNED = {"strategy": "fine_tuning", "epochs": 2, "clip_norm": 0.1, "weight_decay": 0.1}
# No dropout: one device draws a mask for each row, two draw them for the rows that they have.
CASES: dict[str, dict[str, Any]] = {
    "frozen": {"encoder": "words", "training": {"epochs": 2}, "head": {"l2": 1e-3}},
    "bert": {"encoder": "bert", "training": _TUNED},
    "distilled": {
        "encoder": "words",
        "training": {"strategy": "distillation", "epochs": 2, "optimizer": "nadam"},
        "distillation": {"vectors": 0.5},
    },
}
DROPOUT = {"encoder": "words", "training": _TUNED, "head": {"dropout": 0.3}}


def settings(folder: Path, run: Path, case: dict[str, Any], **changes: Any) -> Config:
    teacher = {"teacher": str(folder / "one" / "frozen"), **case.get("distillation", {})}
    return trained.settings(
        run,
        folder / "some.csv",
        training=case["training"] | changes.pop("training", {}),
        head={"dropout": 0.0, **case.get("head", {})},
        encoder=EncoderConfig(name=str(folder / case["encoder"])),
        distillation=DistillationConfig(**teacher),
        **changes,
    )


def train_all(folder: Path) -> None:
    distribute = {"training": {"distribute": "mirrored"}}
    for name, case in CASES.items():
        run_experiment(settings(folder, folder / "mirrored" / name, case, **distribute))
    straight, resumed = (folder / "mirrored" / name for name in ("straight", "resumed"))
    config = settings(folder, straight, DROPOUT, **distribute)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save", copying(straight, resumed))
        run_experiment(config)
    run_experiment(dataclasses.replace(config, run=str(resumed), resume=True))


def copying(run: Path, target: Path) -> Any:
    """Return a `checkpoint.save` that leaves the run in `target` as a kill after an epoch would."""
    save = checkpoint.save

    def saving(file: Path, *arguments: Any, **options: Any) -> None:
        save(file, *arguments, **options)
        if file.name.startswith("last") and not target.exists():
            shutil.copytree(run, target, ignore=shutil.ignore_patterns(".lock"))

    return saving


if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    devices = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, devices)
    with trained.without_report():
        train_all(Path(sys.argv[1]))
