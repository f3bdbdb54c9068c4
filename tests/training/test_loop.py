"""One loop: epochs, the best of them, patience, resuming, and what goes wrong."""

from __future__ import annotations

import csv
import math
import os
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.training.problems import ROWS, Problem, losses
from tfhub_transfer.errors import RunError, TrainingError
from tfhub_transfer.training import checkpoint, loop
from tfhub_transfer.training.loop import Progress

LAST = "checkpoints/last.safetensors"
BEST = "checkpoints/best.safetensors"


class Interrupting:
    """Stands in for writing checkpoints: Ctrl-C arrives before the given one is written."""

    def __init__(self, count: int, error: type[BaseException] = KeyboardInterrupt):
        self.left, self.error, self.save = count, error, checkpoint.save

    def __call__(self, *args, **kwargs) -> None:
        self.left -= 1
        if self.left < 0:
            raise self.error
        self.save(*args, **kwargs)


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> tuple[Path, Progress, list[np.ndarray]]:
    """A training that nothing disturbed: its folder, its history and all that is in the model."""
    folder = tmp_path_factory.mktemp("straight")
    progress, model = Problem().fit(folder)
    assert progress.best_epoch == 4, "each epoch writes both checkpoints"
    return folder, progress, [variable.numpy() for variable in model.variables]


@pytest.fixture
def finished(tmp_path, straight) -> Path:
    return shutil.copytree(straight[0], tmp_path / "finished")


def same(weights: list[np.ndarray], model: keras.Model) -> bool:
    others = [variable.numpy() for variable in model.variables]
    return len(weights) == len(others) and all(map(np.array_equal, weights, others))


def test_the_history_is_in_a_file(straight):
    folder, progress, _ = straight
    with (folder / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert list(rows[0]) == [
        "epoch", "accuracy", "loss", "val_accuracy", "val_loss", "learning_rate", "seconds",
    ]  # fmt: skip
    assert [float(row["loss"]) for row in rows] == [loss for loss, _ in losses(progress)]
    assert progress.finished
    assert 0 < progress.seconds < 120


def test_it_learns(tmp_path):
    # without noise the classes can be told apart by two numbers
    progress, _ = Problem(noise=0).fit(tmp_path, epochs=15, learning_rate=0.1)
    assert progress.history[-1]["val_loss"] < 0.7 * progress.history[0]["val_loss"]
    assert progress.history[-1]["val_accuracy"] > 0.6 > progress.history[0]["val_accuracy"]


@pytest.mark.parametrize("steps_per_call", [1, 3])
def test_every_step_is_taken_and_every_validation_row_is_counted(tmp_path, steps_per_call):
    problem = Problem()
    progress, model = problem.fit(
        tmp_path, epochs=2, decay="none", learning_rate=1e-3, steps_per_call=steps_per_call
    )
    assert int(model.optimizer.iterations) == 2 * math.ceil(ROWS / 10)
    probabilities = model.predict(problem.vectors[ROWS:], verbose=0)
    labels = problem.validation.labels
    likelihood = probabilities[np.arange(ROWS), labels]
    best = progress.history[progress.best_epoch - 1]
    assert best["val_loss"] == pytest.approx(-np.log(likelihood).mean(), rel=1e-4)
    assert best["val_accuracy"] == pytest.approx((probabilities.argmax(1) == labels).mean())


def test_steps_per_call_change_nothing_but_speed(tmp_path, straight):
    one, _ = Problem().fit(tmp_path, steps_per_call=1)
    np.testing.assert_allclose(losses(one), losses(straight[1]), rtol=1e-5)


def test_the_best_epoch_s_weights_are_kept(tmp_path):
    # so large a rate that later epochs are worse
    problem = Problem(noise=0.3)
    progress, model = problem.fit(
        tmp_path, epochs=6, learning_rate=0.5, decay="none", patience=6
    )
    validation = [loss for _, loss in losses(progress)]
    assert progress.best_epoch == validation.index(min(validation)) + 1
    assert progress.best_epoch < progress.epoch, "the last epoch should be worse"
    probabilities = model.predict(problem.vectors[ROWS:], verbose=0)
    likelihood = probabilities[np.arange(ROWS), problem.validation.labels]
    assert -np.log(likelihood).mean() == pytest.approx(min(validation), rel=1e-4)


@pytest.mark.parametrize("keep", ["accuracy", "last"])
def test_other_epochs_may_be_kept(tmp_path, keep):
    problem = Problem(noise=0.3)
    progress, model = problem.fit(
        tmp_path, epochs=6, learning_rate=0.5, decay="none", patience=2, keep=keep
    )
    accuracies = [epoch["val_accuracy"] for epoch in progress.history]
    if keep == "last":  # which patience does not wait for
        assert progress.best_epoch == progress.epoch == 6
    else:
        best = max(progress.history, key=lambda epoch: (epoch["val_accuracy"], -epoch["val_loss"]))
        assert progress.history[progress.best_epoch - 1] == best
    probabilities = model.predict(problem.vectors[ROWS:], verbose=0)
    found = (probabilities.argmax(1) == problem.validation.labels).mean()
    assert found == pytest.approx(accuracies[progress.best_epoch - 1])


def test_patience_ends_it(tmp_path):
    progress, _ = Problem(noise=0.3).fit(
        tmp_path, epochs=40, learning_rate=0.5, decay="none", patience=2
    )
    assert progress.finished
    assert progress.epoch == progress.best_epoch + 2 < 40


def test_a_loss_that_is_no_number(finished):
    problem = Problem()
    problem.vectors[3] = np.nan  # which ReLU hides from the loss, but not from the weights
    kept = {name: (finished / name).read_bytes() for name in (LAST, BEST, "history.csv")}
    with pytest.raises(
        TrainingError,
        match=r"no number any more in epoch 1; .*checkpoints. A lower "
        r"--training\.learning_rate than 0\.01 .*Received: \{.*'loss': ",
    ):
        problem.fit(finished, epochs=2, learning_rate=0.01)
    assert {name: (finished / name).read_bytes() for name in kept} == kept


def test_a_loss_that_is_infinite(tmp_path):
    problem = Problem()
    problem.vectors[ROWS + 1] = np.inf
    with pytest.raises(TrainingError, match=r"no number any more in epoch 1.*'val_loss': nan"):
        problem.fit(tmp_path, epochs=1, hidden=())


def test_resumed_is_as_if_it_had_not_been_killed(tmp_path, straight):
    _, whole, weights = straight
    # killed at the second epoch's end, between writing its best checkpoint and its last
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(checkpoint, "save", Interrupting(3, error=ZeroDivisionError))
        Problem().fit(tmp_path)
    assert (tmp_path / LAST).exists()
    resumed, again = Problem().fit(tmp_path, resume=True)
    assert losses(resumed) == losses(whole)
    assert resumed.best_epoch == whole.best_epoch
    assert same(weights, again)
    assert resumed.seconds >= sum(epoch["seconds"] for epoch in resumed.history)


def test_a_finished_training_is_not_taken_up_again(finished, straight):
    before = (finished / LAST).stat().st_mtime_ns
    again, model = Problem().fit(finished, resume=True)
    assert vars(again) == vars(straight[1])
    assert (finished / LAST).stat().st_mtime_ns == before
    assert same(straight[2], model)


def ctrl_c_in(patch: pytest.MonkeyPatch, epoch: int) -> None:
    """Let Ctrl-C arrive in the middle of an epoch, counted from 1."""
    began = loop._Epochs.on_epoch_begin
    batch = loop._Epochs.on_train_batch_end
    now = []

    def on_epoch_begin(self, number, logs=None):
        now.append(number + 1)
        began(self, number, logs)

    def on_train_batch_end(self, number, logs=None):
        if now[-1] == epoch:
            raise KeyboardInterrupt
        batch(self, number, logs)

    patch.setattr(loop._Epochs, "on_epoch_begin", on_epoch_begin)
    patch.setattr(loop._Epochs, "on_train_batch_end", on_train_batch_end)


def test_ctrl_c_keeps_the_whole_epochs(tmp_path, straight):
    with pytest.MonkeyPatch.context() as patch:
        ctrl_c_in(patch, 3)
        progress, model = Problem().fit(tmp_path)
    assert losses(progress) == losses(straight[1])[:2]
    assert not progress.finished
    best, _ = checkpoint_of(tmp_path / BEST)
    assert same([variable.numpy() for variable in best.variables], model)
    resumed, _ = Problem().fit(tmp_path, resume=True)
    assert losses(resumed) == losses(straight[1])


def test_ctrl_c_while_the_first_checkpoint_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "save", Interrupting(0))
    with pytest.raises(KeyboardInterrupt):
        Problem().fit(tmp_path)


def interrupted_after(count: int):
    """Return a `checkpoint.save` after whose given call Ctrl-C arrives."""
    save, left = checkpoint.save, [count]

    def saving(*args, **kwargs) -> None:
        save(*args, **kwargs)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    return saving


@pytest.mark.parametrize(("written", "epochs"), [(2, 1), (3, 2)])
def test_ctrl_c_right_after_a_checkpoint(tmp_path, monkeypatch, written, epochs):
    # the second file written is the first epoch's last, the third the second epoch's best
    monkeypatch.setattr(checkpoint, "save", interrupted_after(written))
    progress, model = Problem().fit(tmp_path)
    assert progress.epoch == progress.best_epoch == epochs, "what the kept weights are of"
    best, saved = checkpoint_of(tmp_path / BEST)
    assert saved.epoch == epochs
    assert same([variable.numpy() for variable in best.variables], model)


def checkpoint_of(file) -> tuple[keras.Model, Progress]:
    model, _ = Problem().model()
    return model, Progress(**checkpoint.load(file, model, optimizer=False))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"\xff" * 100,
    ],
)
def test_a_damaged_checkpoint(finished, damage):
    file = finished / LAST
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(
        RunError, match=rf"cannot be read.*Delete it to begin anew\. Received: .*{LAST}"
    ):
        Problem().fit(finished, resume=True)


def test_a_lost_best_checkpoint(finished):
    os.remove(finished / BEST)
    with pytest.raises(RunError, match=rf"cannot be read.*{BEST}"):
        Problem().fit(finished, resume=True)


def test_what_is_to_be_seen_of_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tfhub_transfer.progress.PATIENCE_SECONDS", -1.0)
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    Problem().fit(tmp_path, epochs=1, tensorboard=True)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.match(r"Training, epoch 1 of at most 1, val_loss \d+\.\d+, best in 1: ", printed.err)
    assert {folder.name for folder in (tmp_path / "logs").iterdir()} == {"train", "validation"}
