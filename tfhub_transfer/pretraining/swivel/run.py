"""Pre-trains word vectors by Swivel (arXiv 1602.02215), and exports them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tfhub_transfer.pretraining.read_ahead import read_ahead
from tfhub_transfer.pretraining.run_directory import PretrainingRun
from tfhub_transfer.pretraining.swivel.cooccurrence import Cooccurrences, Layout, count_pairs
from tfhub_transfer.pretraining.swivel.objective import Confidence
from tfhub_transfer.pretraining.swivel.settings import SwivelConfig
from tfhub_transfer.pretraining.swivel.training import SwivelTraining
from tfhub_transfer.pretraining.words.exported_vectors import exported_vectors
from tfhub_transfer.pretraining.words.ids import WordIds
from tfhub_transfer.pretraining.words.text_embedding import write_text_embedding
from tfhub_transfer.progress import progress

__all__ = ["train"]

_READ_AHEAD = 8


def train(config: SwivelConfig) -> Path:
    """Pre-train as `config` says and return the run directory, with the module in it.

    A run that was killed and is resumed ends with the same vectors as one that was not: reading
    goes on at its last batches, counting at its last chunks, and training at its last checkpoint.

    Raises:
        RunError: the directory is taken, or its run has other settings.
        DataError: the corpus cannot be read, or has no words near each other.
        ConfigError: it has fewer words than the vocabulary should have, or a shard takes more than
            the memory.
        TrainingError: the loss is no number any more.
    """
    with PretrainingRun.begun(config) as run:
        if not run.finished:
            _pretrain(config, run)
        return run.path


def _pretrain(config: SwivelConfig, run: PretrainingRun) -> None:
    began = time.monotonic()
    ids = WordIds.read(run.corpus, run.work / "words", config.normalization, config.memory_bytes)
    vocabulary = ids.vocabulary(config.vocabulary, config.min_count)
    notes = [*run.corpus.notes, *ids.notes]
    for note in notes:
        print(f"note: {note}")
    read = time.monotonic()
    counted = count_pairs(
        lambda tokens: ids.chunks(vocabulary, tokens),
        ids.tokens,
        Layout.of(len(vocabulary), config.shard),
        config.window,
        run.work / "pairs",
        config.memory_bytes,
    )
    summed = time.monotonic()
    training, history = _fit(counted, config, run)
    paired = counted.layout.in_order(counted.marginals) > 0
    # zero for words outside the vocabulary: the mean of rare ones did no better in probes
    vectors = exported_vectors(
        np.pad(training.vectors(), [(0, config.oov_buckets), (0, 0)]),
        np.pad(np.where(paired, vocabulary.counts, 0), (0, config.oov_buckets)),
    )
    with run.writing_module() as target:
        write_text_embedding(target, vocabulary.words, vectors, config.normalization)
    metrics = {
        "pretraining": "swivel",
        "texts": ids.texts,
        "tokens": ids.tokens,
        "vocabulary": len(vocabulary),
        "outside_vocabulary": 1 - int(vocabulary.counts.sum()) / ids.tokens,
        "without_neighbours": int(np.count_nonzero(~paired)),
        "loss": history[-1]["loss"],
        "timing": {
            "read_s": read - began,
            "count_s": summed - read,
            "train_s": sum(epoch["seconds"] for epoch in history),
            "total_s": time.monotonic() - began,
        },
        "notes": notes,
    }
    run.finish(metrics, keep_work=config.keep_work)


def _fit(
    counted: Cooccurrences, config: SwivelConfig, run: PretrainingRun
) -> tuple[SwivelTraining, list[dict[str, Any]]]:
    """Train, from the last checkpoint if there is one, and return the history by epochs."""
    layout = counted.layout
    training = SwivelTraining(
        layout,
        counted.marginals,
        config.dimensions,
        Confidence(config.confidence_base, config.confidence_scale, config.confidence_exponent),
        learning_rate=config.learning_rate,
        train_biases=config.train_biases,
        seed=config.seed,
    )
    checkpoint = run.checkpoints / "last.safetensors"
    state: dict[str, Any] = {"step": 0, "loss": 0.0, "seconds": 0.0, "history": []}
    if checkpoint.exists():
        state = training.load(checkpoint)
    history: list[dict[str, Any]] = state["history"]
    advice = f"A lower --learning_rate than {config.learning_rate:g}"
    steps = config.epochs * len(layout.shards)
    with progress("Training", "shards", steps - state["step"]) as advance:
        saved = clock = time.monotonic()
        batches = _batches(counted, config.seed, state["step"], steps)
        for step, shard, cells, counts in read_ahead(batches, _READ_AHEAD):
            loss = training.step(layout.shards[shard], cells, counts)
            run.check_loss(loss, step + 1, advice)
            now = time.monotonic()
            state["step"] = step + 1
            state["loss"] += loss / layout.words**2
            state["seconds"] += now - clock
            clock = now
            advance(1)
            if state["step"] % len(layout.shards) == 0:
                history.append(
                    {
                        "epoch": len(history) + 1,
                        "loss": state["loss"],
                        "seconds": round(state["seconds"], 3),
                    }
                )
                state |= {"loss": 0.0, "seconds": 0.0}
                run.write_history(history)
                told = f"{len(history)} of {config.epochs} epochs, loss {history[-1]['loss']:.4g}"
                advance(0, f"Training, {told}")
            elif now - saved < config.checkpoint_seconds:
                continue
            training.save(checkpoint, state)
            saved = time.monotonic()
    run.write_history(history)
    return training, history


def _batches(
    counted: Cooccurrences, seed: int, first: int, steps: int
) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    """Yield each step's number, shard, cells and counts; each epoch has an order of its own."""
    shards = len(counted.layout.shards)
    for epoch in range(first // shards, steps // shards):
        order = np.random.default_rng([seed, 1, epoch]).permutation(shards)
        for place in range(max(0, first - epoch * shards), shards):
            shard = int(order[place])
            yield epoch * shards + place, shard, *counted.read(shard)
