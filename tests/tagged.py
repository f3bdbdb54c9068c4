"""Made-up sentences with tags, and settings for taggers that take a second or two to train."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from tfhub_transfer.config import Config, DataConfig, EvaluationConfig, HeadConfig, TrainingConfig
from tfhub_transfer.task_config import TaggingConfig

CITIES = ("Boston", "Denver", "Lisbon", "Oslo")
PEOPLE = ("Ada Lovelace", "Alan Turing", "Grace Hopper")

Sentence = list[tuple[str, str]]


def sentences(count: int, seed: int = 0) -> list[tuple[Sentence, str]]:
    """Return sentences as words with IOB2 tags, each with its intent."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        city, person = draw.choice(CITIES), draw.choice(PEOPLE)
        if number % 2:
            words = [("book", "O"), ("flights", "O"), ("to", "O"), (city, "B-city")]
            intent = "flight"
        else:
            first, last = person.split()
            words = [("call", "O"), (first, "B-person"), (last, "I-person"), ("now", "O")]
            intent = "call"
        made.append(([*words, (f"no{number}", "O"), (".", "O")], intent))
    return made


def write_conll(target: Path, made: list[tuple[Sentence, str]]) -> Path:
    """Write one file of two columns."""
    blocks = ["".join(f"{word} {tag}\n" for word, tag in words) for words, _ in made]
    target.write_text("\n".join(blocks), encoding="utf-8")
    return target


def write_slots(folder: Path, parts: dict[str, list[tuple[Sentence, str]]]) -> Path:
    """Write a folder with seq.in, seq.out and label for each split."""
    for split, made in parts.items():
        (folder / split).mkdir(parents=True)
        columns = {
            "seq.in": [" ".join(word for word, _ in words) for words, _ in made],
            "seq.out": [" ".join(tag for _, tag in words) for words, _ in made],
            "label": [intent for _, intent in made],
        }
        for name, lines in columns.items():
            text = "".join(f"{line}\n" for line in lines)
            (folder / split / name).write_text(text, encoding="utf-8")
    return folder


def settings(run: Path, source: Path, **changes: Any) -> Config:
    """Return a configuration of a quick run on labelled words."""
    data = {"source": str(source), **changes.pop("data", {})}
    training = {"epochs": 4, "batch_size": 16, "learning_rate": 0.05, **changes.pop("training", {})}
    head = {"hidden": (), "dropout": 0.0, **changes.pop("head", {})}
    measured = {"bootstrap": 10, **changes.pop("evaluation", {})}
    return Config(
        task="tagging",
        run=str(run),
        data=DataConfig(**data),
        head=HeadConfig(**head),
        training=TrainingConfig(**training),
        evaluation=EvaluationConfig(**measured),
        tagging=TaggingConfig(**changes.pop("tagging", {})),
        **changes,
    )
