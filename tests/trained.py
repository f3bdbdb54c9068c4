"""Runs that several test modules look at, each made once in a session."""

from __future__ import annotations

import contextlib
import functools
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import tagged
from tests.data.asked import numbered, unanswered, write_squad
from tests.encoders.tiny import write_bert
from tfhub_transfer.config import (
    Config,
    DataConfig,
    EncoderConfig,
    EvaluationConfig,
    HeadConfig,
    TrainingConfig,
)
from tfhub_transfer.encoders.resolve import resolve
from tfhub_transfer.evaluation import answering, classification, tagging
from tfhub_transfer.evaluation.experiment import run_experiment
from tfhub_transfer.runs import Run

# Words that tell the class, so that little training is enough.
POSITIVE = ("wonderful", "excellent", "superb", "delightful", "great")
NEGATIVE = ("terrible", "awful", "horrible", "dreadful", "bad")
FILLING = ("the film was", "what a meal", "this phone is", "my stay was", "the book seems")


def sentences(rows: int, seed: int = 0) -> list[tuple[str, str]]:
    """Return texts with their labels, as many of each class."""
    draw = random.Random(seed)
    table = []
    for row in range(rows):
        label, words = [("good", POSITIVE), ("poor", NEGATIVE)][row % 2]
        table.append((f"{draw.choice(FILLING)} {draw.choice(words)} no. {row}", label))
    return table


def write_csv(target: Path, rows: list[tuple[str, str]]) -> Path:
    lines = ["text,label", *(f"{text},{label}" for text, label in rows)]
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return target


def settings(run: Path, source: Path | str, **changes: Any) -> Config:
    """Return a configuration that takes about a second to run."""
    data = {"source": str(source), **changes.pop("data", {})}
    training = {"epochs": 3, "batch_size": 16, "learning_rate": 1e-2, **changes.pop("training", {})}
    head = {"hidden": (16,), "dropout": 0.2, **changes.pop("head", {})}
    measured = {"baselines": (), "bootstrap": 10, **changes.pop("evaluation", {})}
    return Config(
        run=str(run),
        data=DataConfig(**data),
        head=HeadConfig(**head),
        training=TrainingConfig(**training),
        evaluation=EvaluationConfig(**measured),
        **changes,
    )


@contextlib.contextmanager
def without_report() -> Iterator[None]:
    """Leave out the runs' reports in this process, which take longer than the training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classification, "write_report", lambda run, **_: None)
        patch.setattr(tagging, "write_report", lambda run, page: None)
        patch.setattr(answering, "write_report", lambda run, page: None)
        yield


@functools.cache
def _sample_run(root: Path) -> Run:
    return run_experiment(
        Config(
            run=str(root / "sample-run"),
            training=TrainingConfig(epochs=8),
            evaluation=EvaluationConfig(bootstrap=50),
        )
    )


def write_several(target: Path) -> Path:
    """Write texts with the labels 'good', 'poor' or both, joined by `|`."""
    draw = random.Random(0)
    rows = []
    for row in range(160):
        words = [draw.choice(POSITIVE)] * (row % 2) + [draw.choice(NEGATIVE)] * (row // 2 % 2)
        names = ["good"] * (row % 2) + ["poor"] * (row // 2 % 2)
        if names:
            rows.append((f"{' and '.join(words)} no. {row}", "|".join(names)))
    return write_csv(target, rows)


@functools.cache
def _several_run(root: Path) -> Run:
    source = write_several(root / "several.csv")
    changes = {
        "data": {"label_separator": "|", "balance": "class_weight"},
        "training": {"epochs": 10},
        "evaluation": {"baselines": ("majority", "tfidf_logreg")},
    }
    with without_report():
        return run_experiment(settings(root / "several-run", source, **changes))


def sample_run(root: Path) -> Run:
    """Return a run on the sample, a few epochs of all defaults; not to be written to."""
    return _sample_run(root)


def several_run(root: Path) -> Run:
    """Return a run whose examples have several labels, 'good' and 'poor'; not to be written to."""
    return _several_run(root)


def copied(run: Run, target: Path) -> Run:
    """Return a copy of a run that may be written to."""
    shutil.copytree(run.path, target)
    return Run(target)


@functools.cache
def _tagger_run(root: Path) -> Run:
    source = tagged.write_conll(root / "tagged.conll", tagged.sentences(120))
    with without_report():
        return run_experiment(tagged.settings(root / "tagger-run", source))


@functools.cache
def _joint_run(root: Path) -> Run:
    parts = {"train": 60, "valid": 20, "test": 20}
    sizes = enumerate(parts.items())
    rows = {name: tagged.sentences(size, seed=seed) for seed, (name, size) in sizes}
    source = tagged.write_slots(root / "slots", rows)
    chain = {"crf": True, "scheme": "iobes"}
    with without_report():
        return run_experiment(tagged.settings(root / "joint-run", source, tagging=chain))


def tagger_run(root: Path) -> Run:
    """Return a run that finds cities and people, word by word; not to be written to."""
    return _tagger_run(root)


def joint_run(root: Path) -> Run:
    """Return the same with a CRF and intents, in the scheme IOBES; not to be written to."""
    return _joint_run(root)


@functools.cache
def _answerer_run(root: Path) -> Run:
    source = write_squad(root / "questions.json", *numbered(20), *unanswered(20))
    with without_report():
        return run_experiment(
            Config(
                task="span",
                run=str(root / "answerer-run"),
                data=DataConfig(source=str(source)),
                encoder=EncoderConfig(str(write_bert(root / "answerer-encoder"))),
                training=TrainingConfig(epochs=6, batch_size=8, learning_rate=0.05),
                evaluation=EvaluationConfig(bootstrap=10, baselines=()),
            )
        )


def answerer_run(root: Path) -> Run:
    """Return a run that answers questions, of which some have no answer; not to be written to.

    For tests, not for fixtures of more than one: these make the encoder known to another cache.
    """
    run = _answerer_run(root)
    resolve(str(root / "answerer-encoder"))
    return run
