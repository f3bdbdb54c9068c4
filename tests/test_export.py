"""`python -m tfhub_transfer.export`, as it is typed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time

import pytest

from tests.exported import write_artifact
from tests.trained import sample_run
from tfhub_transfer import cli, export
from tfhub_transfer.artifact import verification
from tfhub_transfer.artifact.predictor import Predictor
from tfhub_transfer.artifact.settings import ExportConfig
from tfhub_transfer.artifact.version_directory import versions
from tfhub_transfer.errors import ConfigError, UnknownNameError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.getbasetemp()


def test_it_prints_what_was_written_and_what_to_type_next(root, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(verification, "verify", lambda version, expected: 1e-7)
    run = sample_run(root).path
    flags = ["--run", str(run), "--name", "mood", "--directory", str(tmp_path)]
    assert export.main([*flags, "--reject_precision", "0.8", "--serving-version", "2.20"]) == 0
    printed = capsys.readouterr().out
    for expected in (
        "mood, version 1",
        "calibration error, before",
        "right, of the labels given",
        "TensorFlow Serving 2.20 has all its ops",
        f"written: {tmp_path}/mood/1",
        "next: python -m tfhub_transfer.serve --model_name mood "
        f"--model_base_path {tmp_path}/mood",
        "http://127.0.0.1:8501/v1/models/mood:predict",
    ):
        assert expected in printed


def test_an_audit_says_yes_or_no_by_its_code(tmp_path, capsys):
    artifact = write_artifact(tmp_path / "tiny" / "1")
    assert export.main(["--audit", str(artifact), "--serving-version", "2.19"]) == 0
    assert "2.19" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({}, ConfigError, "Give --run.*or --audit.* Received: neither"),
        ({"run": "r", "audit": "a"}, ConfigError, "Received: both"),
        ({"run": "r", "name": "a/b"}, ConfigError, "part of its address.*Received: --name 'a/b'"),
        ({"run": "r", "name": ".a"}, ConfigError, "a letter or digit first"),
        ({"run": "r", "version": 0}, ConfigError, "version must be at least 1. Received: 0"),
        ({"run": "r", "reject_precision": 1.5}, ConfigError, "reject_precision must be from 0 to"),
        ({"run": "r", "format": ("tflit",)}, UnknownNameError, "Did you mean 'tflite'"),
    ],
)
def test_settings_that_cannot_work(values, error, text):
    with pytest.raises(error, match=text):
        ExportConfig(**values)


def test_a_model_is_called_as_its_run():
    assert ExportConfig(run="runs/mood/").name == "mood"


def test_kill_9_at_random_moments(root, tmp_path, monkeypatch):
    draw = random.Random(0)
    run = sample_run(root).path
    flags = ["--run", str(run), "--name", "mood", "--directory", str(tmp_path)]
    model = tmp_path / "mood"
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-m", "tfhub_transfer.export", *flags],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while process.poll() is None and not list(model.glob(".writing-*")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(draw.uniform(0.0, 4.0))
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        for number in versions(model):
            assert Predictor.load(model / str(number)).warm_up() > 0
    monkeypatch.setattr(verification, "verify", lambda version, expected: 1e-7)
    before = versions(model)
    assert cli.guarded(lambda: export.main(flags)) == 0
    assert len(versions(model)) == len(before) + 1
    assert not list(model.glob(".writing-*"))
