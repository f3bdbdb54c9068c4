"""Pre-trains word vectors as those of a feed-forward language model, and exports them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfhub_transfer.pretraining.nnlm.candidates import LogUniform
from tfhub_transfer.pretraining.nnlm.examples import Examples
from tfhub_transfer.pretraining.nnlm.model import FeedForwardModel
from tfhub_transfer.pretraining.nnlm.settings import NnlmConfig
from tfhub_transfer.pretraining.nnlm.training import NnlmTraining
from tfhub_transfer.pretraining.read_ahead import read_ahead
from tfhub_transfer.pretraining.run_directory import PretrainingRun
from tfhub_transfer.pretraining.words.exported_vectors import exported_vectors
from tfhub_transfer.pretraining.words.ids import WordIds
from tfhub_transfer.pretraining.words.text_embedding import write_text_embedding
from tfhub_transfer.progress import progress

__all__ = ["perplexity", "train"]

_READ_AHEAD = 16
# A whole softmax over 50,000 words of so many examples takes 50 MB.
_HELD_AT_A_TIME = 256


def train(config: NnlmConfig) -> Path:
    """Pre-train as `config` says and return the run directory, with the module in it.

    Every `checkpoint_seconds` the state of the training is written. A run that was killed and is
    resumed ends with the same bits as one that was not.

    Raises:
        RunError: the directory is taken, or its run has other settings.
        DataError: the corpus cannot be read, or is too small.
        ConfigError: it has fewer words than the vocabulary should have.
        TrainingError: the loss is no number any more.
    """
    with PretrainingRun.begun(config) as run:
        if not run.finished:
            _pretrain(config, run)
        return run.path


def _pretrain(config: NnlmConfig, run: PretrainingRun) -> None:
    began = time.monotonic()
    ids = WordIds.read(run.corpus, run.work / "words", config.normalization, config.memory_bytes)
    vocabulary = ids.vocabulary(config.vocabulary, config.min_count)
    notes = [*run.corpus.notes, *ids.notes]
    for note in notes:
        print(f"note: {note}")
    examples = Examples(ids, ids.known(), len(vocabulary), config)
    model = FeedForwardModel(
        examples.seen[: len(vocabulary)],
        len(examples.seen) + 1,
        dimensions=config.dimensions,
        context=config.context,
        hidden=config.hidden,
        direct=config.direct,
        seed=config.seed,
    )
    unigram = perplexity(model, examples.held)  # a new model knows the words' frequencies alone
    history = _fit(model, examples, config, run)
    vectors = exported_vectors(model.embeddings.numpy()[:-1], examples.seen)
    with run.writing_module() as target:
        write_text_embedding(target, vocabulary.words, vectors, config.normalization)
    metrics = {
        "pretraining": "nnlm",
        "texts": ids.texts,
        "tokens": ids.tokens,
        "vocabulary": len(vocabulary),
        "outside_vocabulary": 1 - int(vocabulary.counts.sum()) / ids.tokens,
        "examples": examples.total,
        "validation": {
            "examples": len(examples.held),
            "perplexity": history[-1]["validation_perplexity"],
            "unigram_perplexity": unigram,
        },
        "timing": {
            "train_s": sum(epoch["seconds"] for epoch in history),
            "total_s": time.monotonic() - began,
        },
        "notes": notes,
    }
    run.finish(metrics, keep_work=config.keep_work)


def _fit(
    model: FeedForwardModel, examples: Examples, config: NnlmConfig, run: PretrainingRun
) -> list[dict[str, Any]]:
    """Train, from the last checkpoint if there is one, and return the history by epochs."""
    steps = config.epochs * examples.steps
    training = NnlmTraining(
        model,
        LogUniform(int(model.output.shape[0]), config.sampled),
        learning_rate=config.learning_rate,
        steps=steps,
        seed=config.seed,
    )
    checkpoint = run.checkpoints / "last.safetensors"
    state: dict[str, Any] = {"step": 0, "examples": 0, "loss": 0.0, "seconds": 0.0, "history": []}
    if checkpoint.exists():
        state = training.load(checkpoint)
    history: list[dict[str, Any]] = state["history"]
    advice = f"A lower --learning_rate than {config.learning_rate:g}"

    def batches() -> Iterator[tuple[int, np.ndarray, tuple[np.ndarray, np.ndarray]]]:
        rows = examples.batches(state["step"])
        for step in range(state["step"], steps):
            yield step, next(rows), training.candidates(step)

    left = config.epochs * examples.total - len(history) * examples.total - state["examples"]
    with progress("Training", "words", left) as advance:
        saved = clock = time.monotonic()
        for step, rows, drawn in read_ahead(batches(), _READ_AHEAD):
            loss = training.step(step, rows, drawn)
            run.check_loss(loss, step + 1, advice)
            now = time.monotonic()
            state["step"] = step + 1
            state["examples"] += len(rows)
            state["loss"] += loss * len(rows)
            state["seconds"] += now - clock
            clock = now
            advance(len(rows))
            if state["step"] % examples.steps == 0:
                history.append(_epoch(model, examples, state))
                run.check_loss(history[-1]["validation_perplexity"], step + 1, advice)
                state |= {"examples": 0, "loss": 0.0, "seconds": 0.0}
                run.write_history(history)
                advance(0, f"Training, {len(history)} of {config.epochs} epochs, perplexity "
                           f"{history[-1]['validation_perplexity']:.1f}")
            elif now - saved < config.checkpoint_seconds:
                continue
            training.save(checkpoint, state)
            saved = time.monotonic()
    run.write_history(history)
    return history


def _epoch(model: FeedForwardModel, examples: Examples, state: dict[str, Any]) -> dict[str, Any]:
    return {
        "epoch": len(state["history"]) + 1,
        "loss": state["loss"] / state["examples"],
        "validation_perplexity": perplexity(model, examples.held),
        "seconds": round(state["seconds"], 3),
    }


def perplexity(model: FeedForwardModel, rows: np.ndarray) -> float:
    """Return the exponential of the mean loss by the whole softmax.

    Args:
        model: what to measure.
        rows: int32[M, context + 1], the words to predict last.
    """
    loss = tf.function(model.loss, reduce_retracing=True)
    total = 0.0
    for start in range(0, len(rows), _HELD_AT_A_TIME):
        some = rows[start : start + _HELD_AT_A_TIME]
        total += float(tf.reduce_sum(loss(some[:, :-1], some[:, -1])))
    with np.errstate(over="ignore"):
        return float(np.exp(total / len(rows)))
