"""`python -m tfhub_transfer.train`: in this process, and killed in one of its own."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest
from safetensors import safe_open

from tests import trained
from tests.encoders import tiny
from tests.processes import killed
from tfhub_transfer import cli, train
from tfhub_transfer.runs import Run

pytestmark = pytest.mark.slow

# Enough epochs that a process can be caught among them.
EPOCHS = 16
LAST = "checkpoints/last.safetensors"


@pytest.fixture
def source(tmp_path) -> Path:
    tiny.write_text_embedding(tmp_path / "encoder")
    return trained.write_csv(tmp_path / "some.csv", trained.sentences(120))


def flags(run: Path, source: Path, *more: str, epochs: int = EPOCHS) -> list[str]:
    return [
        "--run", str(run), "--data.source", str(source), "--training.epochs", str(epochs),
        "--encoder.name", str(source.parent / "encoder"),
        "--training.patience", str(epochs), "--training.batch_size", "8",
        "--training.learning_rate", "1e-4", "--head.hidden", "[16]",
        "--evaluation.baselines", "[]", "--evaluation.bootstrap", "10", *more,
    ]  # fmt: skip


def test_a_run_and_its_table(tmp_path, source, capsys):
    run = tmp_path / "run"
    assert train.main(flags(run, source, "--evaluation.baselines", "[majority]", epochs=1)) == 0
    out = capsys.readouterr().out
    metrics = Run.open(run).load_metrics()
    assert f"{metrics['test']['accuracy']:.3f}" in out
    assert "note: The test split, 24 of 120 rows, was carved out of" in out
    assert "Majority" in out
    assert f"report: {run / 'report.html'}" in out


def test_the_config_is_there_before_the_data_is_read(tmp_path, capsys):
    run = tmp_path / "run"
    assert cli.guarded(lambda: train.main(flags(run, tmp_path / "none.csv"))) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: No such file or folder")
    assert printed.err.count("\n") == 1
    assert Run.open(run).load_config()["training"]["epochs"] == EPOCHS


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--encoder.name", "minilm-statik"], "error: Unknown encoder. Did you mean 'minilm-stat"),
        (["--head.activation", "rellu"], "error: head.activation must be a name that Keras knows"),
        (["--resume"], "error: Nothing to resume"),
        (["--training.strategy", "fine-tuning"], "error: Unknown strategy. Did you mean"),
    ],
)
def test_an_error_is_one_line(tmp_path, source, capsys, more, text):
    assert cli.guarded(lambda: train.main(flags(tmp_path / "run", source, *more))) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(text)
    assert printed.err.count("\n") == 1


def result_of(folder: Path) -> tuple[dict, list[list[str]]]:
    run = Run.open(folder)
    history = [line.split(",")[:-1] for line in run.history_file.read_text().splitlines()]
    return run.load_metrics()["test"], history


def test_killed_and_resumed_is_as_if_never_killed(tmp_path, source, no_report):
    run = tmp_path / "run"
    code, _, _ = killed("train", *flags(run, source), when=(run / LAST).exists)
    assert code == -signal.SIGKILL
    assert not (run / "metrics.json").exists()
    with safe_open(run / LAST, framework="numpy") as checkpoint:
        progress = json.loads(checkpoint.metadata()["progress"])
    assert 1 <= len(progress["history"]) < EPOCHS, "it should be killed on its way"
    assert train.main(flags(run, source, "--resume")) == 0

    assert train.main(flags(tmp_path / "straight", source)) == 0
    assert result_of(run) == result_of(tmp_path / "straight")


def test_ctrl_c_finishes_with_what_there_is(tmp_path, source, no_report):
    run = tmp_path / "run"
    code, out, err = killed(
        "train", *flags(run, source), number=signal.SIGINT, when=(run / LAST).exists
    )
    assert code == 130, err
    assert re.match(rf"interrupted: \d+ of {EPOCHS} epochs are kept; --resume continues", err)
    assert f"of {EPOCHS} epochs" in " ".join(out.split())
    metrics = json.loads((run / "metrics.json").read_text())
    assert 1 <= metrics["epochs"] < EPOCHS
    assert any(
        f"interrupted after {metrics['epochs']} of {EPOCHS} epochs" in note
        and "--resume continues it" in note
        for note in metrics["notes"]
    )
    assert (run / "model.keras").exists()
    assert (run / "report.html").exists()

    assert train.main(flags(run, source, "--resume")) == 0
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["epochs"] == EPOCHS
    assert not any("interrupted" in note for note in metrics["notes"])


def test_ctrl_c_before_there_is_anything_to_keep(tmp_path, source, no_report):
    run = tmp_path / "run"
    arguments = flags(run, source, epochs=2)
    code, out, err = killed(
        "train", *arguments, number=signal.SIGINT, when=(run / "config.yaml").exists
    )
    assert (code, out, err) == (130, "", "interrupted\n")
    assert Run.open(run).load_config()["training"]["epochs"] == 2
    assert not (run / LAST).exists()
    assert train.main([*arguments, "--resume"]) == 0
    assert Run.open(run).load_metrics()["epochs"] == 2
