"""The steps of masked-language-model training: rates, checkpoints, evaluations, history."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tfhub_transfer.pretraining import checkpoint
from tfhub_transfer.pretraining.mlm.batches import Batches
from tfhub_transfer.pretraining.mlm.model import MaskedLanguageModel
from tfhub_transfer.pretraining.mlm.settings import MlmConfig
from tfhub_transfer.pretraining.run_directory import PretrainingRun
from tfhub_transfer.progress import progress

__all__ = ["Progress", "fit", "rate_at"]

_NOTHING = [0.0] * 6
_ADVICE = "A lower --learning_rate or a longer --warmup"


@dataclass
class Progress:
    """How far a training has come; what a checkpoint holds beside the weights.

    Attributes:
        step: steps taken.
        sums: of `MaskedLanguageModel.train` since the last evaluation.
        history: a record for each evaluation.
        seconds: spent in all, resumed parts included.
    """

    step: int = 0
    sums: list[float] = field(default_factory=lambda: list(_NOTHING))
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


def rate_at(step: int, steps: int, warmup: float, peak: float) -> float:
    """Return the rate of a step, counted from 0: up along a line, then down along one, to 0."""
    rising = max(1.0, warmup * steps)
    fallen = max(0.0, (step - rising) / max(1.0, steps - rising))
    return peak * min((step + 1) / rising, 1.0) * (1.0 - fallen)


def fit(
    model: MaskedLanguageModel,
    batches: Batches,
    held_out: Batches,
    *,
    config: MlmConfig,
    rates: tuple[float, float],
    steps: int,
    run: PretrainingRun,
) -> Progress:
    """Train, or go on from the last checkpoint, as if there had been no break.

    Args:
        model: is left with the weights of the last step.
        batches: to train on.
        held_out: to measure on.
        config: times, schedule and evaluations.
        rates: the highest ones, of the encoder and of the heads.
        steps: in all.
        run: where checkpoints and history go.

    Raises:
        TrainingError: the loss is no number any more.
        RunError: the checkpoint is damaged, or of another model.
    """
    file = run.checkpoints / "last.safetensors"
    state = _load(file, model) if file.exists() else Progress()
    begun, saved = time.monotonic() - state.seconds, time.monotonic()
    due = {round(steps * n / config.evaluations) for n in range(1, config.evaluations + 1)} - {0}

    def evaluate() -> None:
        sums = np.sum([held_out_sums(step) for step in range(held_out.per_epoch)], axis=0)
        record = {
            "step": state.step,
            "epoch": round(state.step / batches.per_epoch, 4),
            **_measures(state.sums, "", config.next_sentence),
            **_measures(sums.tolist(), "val_", config.next_sentence),
            "learning_rate": rate_at(max(0, state.step - 1), steps, config.warmup, rates[0]),
            "seconds": round(time.monotonic() - begun, 3),
        }
        run.check_loss(record["val_loss"], state.step, _ADVICE)
        state.history.append(record)
        state.sums = list(_NOTHING)
        run.write_history(state.history)

    def held_out_sums(step: int) -> np.ndarray:
        return model.evaluate(held_out(step)).astype(np.float64)

    with progress("Training", "steps", steps - state.step) as advance:
        if not state.history:
            evaluate()
        while state.step < steps:
            rate, head_rate = (rate_at(state.step, steps, config.warmup, peak) for peak in rates)
            sums = model.train(batches(state.step), rate, head_rate).astype(np.float64)
            state.step += 1
            state.sums = [float(a + b) for a, b in zip(state.sums, sums, strict=True)]
            run.check_loss(state.sums[0], state.step, _ADVICE)
            loss = state.sums[0] / state.sums[2]
            if state.step in due:
                evaluate()
            if time.monotonic() - saved >= config.checkpoint_seconds or state.step == steps:
                state.seconds = time.monotonic() - begun
                _save(file, model, state)
                saved = time.monotonic()
            epoch = 1 + (state.step - 1) // batches.per_epoch
            advance(
                1,
                f"Training, epoch {epoch}, loss {loss:.3f}, "
                f"val_loss {state.history[-1]['val_loss']:.3f}",
            )
    state.seconds = time.monotonic() - begun
    return state


def _measures(sums: list[float], prefix: str, pairs: bool = False) -> dict[str, float | None]:
    """Return means; None of nothing."""
    loss, right, pieces, _, next_right, rows = sums
    measures = {
        f"{prefix}loss": loss / pieces if pieces else None,
        f"{prefix}masked_accuracy": right / pieces if pieces else None,
    }
    if pairs:
        measures[f"{prefix}next_sentence_accuracy"] = next_right / rows if rows else None
    return measures


def _save(file: Path, model: MaskedLanguageModel, state: Progress) -> None:
    values = {name: np.asarray(variable) for name, variable in model.state.items()}
    checkpoint.save(file, values, vars(state))


def _load(file: Path, model: MaskedLanguageModel) -> Progress:
    shapes = {name: variable.shape for name, variable in model.state.items()}
    values, progress = checkpoint.load(file, shapes)
    for name, variable in model.state.items():
        variable.assign(values[name])
    return Progress(**progress)
