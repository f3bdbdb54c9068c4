"""Masked language modelling: a transformer from scratch, or one that exists, moved to new text.

Continued pre-training on text of the domain, then of the task, is Gururangan et al. 2020 (arXiv
2004.10964).
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfhub_transfer.encoders.handles import Encoder
from tfhub_transfer.encoders.loaded import adopted_variables, draws_repeatably, load
from tfhub_transfer.encoders.packing import limit_of, pieces
from tfhub_transfer.encoders.resolve import resolve
from tfhub_transfer.encoders.store import MANIFEST
from tfhub_transfer.errors import ConfigError, EncoderError
from tfhub_transfer.pretraining.corpus.reading import read
from tfhub_transfer.pretraining.mlm import wordpiece
from tfhub_transfer.pretraining.mlm.batches import Batches, divide
from tfhub_transfer.pretraining.mlm.chunks import Chunks
from tfhub_transfer.pretraining.mlm.model import MaskedLanguageModel
from tfhub_transfer.pretraining.mlm.piece_vocabulary import PieceVocabulary
from tfhub_transfer.pretraining.mlm.random_bert import write_random_bert
from tfhub_transfer.pretraining.mlm.settings import MlmConfig
from tfhub_transfer.pretraining.mlm.training import Progress, fit
from tfhub_transfer.pretraining.run_directory import PretrainingRun

__all__ = ["train"]

_TOKENS = 128
# The highest rates, of the encoder and of the heads, by whether the encoder exists already.
_RATES = {True: (5e-5, 1e-3), False: (5e-4, 5e-4)}


def train(config: MlmConfig) -> Path:
    """Pre-train as `config` says.

    Returns:
        The run directory, with the preprocess and encoder pair in `module/`.

    Raises:
        EncoderError: the encoder to continue is not to be had, or no transformer that can be.
        ConfigError: the vocabulary is larger than the corpus gives, or rows longer than the
            encoder takes.
        DataError: the corpus has no or too little text.
        RunError: the run directory is taken, or cannot be resumed.
        TrainingError: the loss is no number any more.
    """
    with PretrainingRun.begun(config) as run:
        if not run.finished:
            _train(config, _encoder(config, run), run)
        return run.path


def _encoder(config: MlmConfig, run: PretrainingRun) -> Encoder:
    if config.continue_from is None:
        return _from_scratch(config, run)
    return resolve(config.continue_from, offline=config.offline)


def _from_scratch(config: MlmConfig, run: PretrainingRun) -> Encoder:
    """Return a transformer of random weights with a vocabulary of the corpus."""
    target = run.work / "initial"
    if not target.exists():
        memory = config.memory_bytes
        counts = wordpiece.count_words(
            run.corpus, run.work / "words.json", lower_case=config.lower_case, memory=memory
        )
        vocabulary = wordpiece.learn(counts, config.vocabulary, memory=memory)
        with tempfile.TemporaryDirectory(dir=run.work) as scratch:
            fresh = Path(scratch) / "new"
            fresh.mkdir()
            write_random_bert(vocabulary, config, fresh)
            fresh.rename(target)
    return resolve(target)


def _train(config: MlmConfig, encoder: Encoder, run: PretrainingRun) -> None:
    if encoder.preprocess is None:
        raise EncoderError(
            f"Masked language modelling trains transformers: a preprocess and encoder pair. "
            f"Received: {encoder.handle}, a text embedding"
        )
    preprocess, loaded = load(encoder.preprocess), load(encoder.path)
    vocabulary = PieceVocabulary.of(preprocess, encoder)
    max_tokens = _max_tokens(config, loaded, preprocess, encoder)
    room = max_tokens - (3 if config.next_sentence else 2)

    def tokenize(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        rows = pieces(preprocess.tokenize(tf.constant(texts)))
        return rows.flat_values.numpy(), rows.row_lengths().numpy()

    chunks = Chunks.of(
        read(run.corpus, "Cutting texts into word pieces"),
        run.work,
        tokenize=tokenize,
        begins_word=vocabulary.begins_word,
        room=room,
        made_of=[run.corpus.fingerprint, encoder.fingerprint, room],
    )
    parts = divide(chunks, config.validation, config.seed, paired=config.next_sentence)
    batches, held_out = (Batches(chunks, part, vocabulary, config, max_tokens) for part in parts)
    counts = chunks.counts(len(vocabulary.pieces))
    model = MaskedLanguageModel(loaded, counts, config, encoder.handle)
    notes = [*run.corpus.notes, *_notes(model, encoder, config)]
    for note in notes:
        print(f"note: {note}")

    continued = config.continue_from is not None
    rate, head_rate = _RATES[continued]
    rate = config.learning_rate or rate
    head_rate = config.head_learning_rate or (head_rate if continued else rate)
    steps = config.epochs * batches.per_epoch if config.steps is None else config.steps
    state = fit(
        model,
        batches,
        held_out,
        config=config,
        rates=(rate, head_rate),
        steps=steps,
        run=run,
    )
    with run.writing_module() as target:
        # the manifest is of the directory that it came in
        leave_out = shutil.ignore_patterns(MANIFEST)
        shutil.copytree(encoder.preprocess, target / "preprocess", ignore=leave_out)
        model.save_encoder(target / "encoder")
    run.finish(
        {
            "pretraining": "mlm",
            "continued_from": encoder.handle if continued else None,
            "module": resolve(run.module).handle,
            "vocabulary": len(vocabulary.pieces),
            "tied_table": model.table,
            "max_tokens": max_tokens,
            "rows": {"training": len(parts[0]), "validation": len(parts[1])},
            "pieces": chunks.pieces,
            "learning_rate": rate,
            "head_learning_rate": head_rate,
            **_result(state),
            "notes": notes,
        },
        keep_work=config.keep_work,
    )


def _max_tokens(config: MlmConfig, loaded: Any, preprocess: Any, encoder: Encoder) -> int:
    room = limit_of(None, adopted_variables(loaded), preprocess, encoder.handle)
    if (config.max_tokens or 0) > room:
        raise ConfigError(
            f"max_tokens must be at most {room}, which is what {encoder.handle} takes. "
            f"Received: {config.max_tokens}"
        )
    if config.continue_from is None:
        return config.max_tokens or room  # what was never trained would be served
    return config.max_tokens or min(room, _TOKENS)


def _notes(model: MaskedLanguageModel, encoder: Encoder, config: MlmConfig) -> list[str]:
    notes = []
    if model.table is None:
        notes.append(
            f"the table of word pieces of {encoder.handle} was not found by its path: what guesses "
            f"them has a matrix of its own"
        )
    if not draws_repeatably(encoder.path):
        notes.append(
            f"{encoder.handle} draws its dropout without a seed: a second run, or a resumed one, "
            f"does not give the very same weights"
        )
    if model.has_pooler and not config.next_sentence:
        notes.append(
            f"the pooler of {encoder.handle} does not move without --next_sentence; in training "
            f"on labels, --encoder.pooling mean does without it"
        )
    return notes


def _result(state: Progress) -> dict[str, Any]:
    measured = [
        {name.removeprefix("val_"): value for name, value in record.items() if "val_" in name}
        for record in (state.history[0], state.history[-1])
    ]
    return {
        "steps": state.step,
        "validation_before": measured[0],
        "validation": measured[1],
        "timing": {"train_s": round(state.seconds, 3)},
    }
