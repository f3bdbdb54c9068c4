"""Questions of TensorFlow Datasets whose features are SQuAD's: `squad`, `squad/v2.0` and others."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data import tfds
from tfhub_transfer.data.passages import (
    Answer,
    Passage,
    PassageSource,
    PassageTable,
    Question,
)
from tfhub_transfer.data.squad import CONTRADICTION
from tfhub_transfer.errors import MissingColumnError
from tfhub_transfer.registry import did_you_mean

__all__ = ["open_questions"]

_FEATURES = ("id", "question", "context", "answers")
_OF_ANSWERS = ("text", "answer_start")


def open_questions(config: DataConfig) -> PassageSource:
    """Open the data set that `config.source` names, as `data.tfds` finds and prepares it.

    TFDS mixes the rows, so that each passage has one question.

    Raises:
        DataError: there is no such data set or split, or it cannot be fetched.
        MissingColumnError: its features are not those of SQuAD.
    """
    name, builder, splits, notes = tfds.prepare(config)
    _check(builder.info.features, _FEATURES, name)
    of_one = getattr(builder.info.features["answers"], "feature", None)
    _check(of_one, _OF_ANSWERS, f"the feature 'answers' of {name}")
    tables = {
        role: PassageTable(f"{name}:{split}", functools.partial(_read, builder, split))
        for role, split in splits.items()
    }
    return PassageSource(config.source, tables, notes)


def _check(features: Any, needed: tuple[str, ...], name: str) -> None:
    known = list(features.keys()) if hasattr(features, "keys") else []
    for feature in needed:
        if feature not in known:
            raise MissingColumnError(
                f"No such feature in {name}.{did_you_mean(feature, known)} Questions need "
                f"{', '.join(needed)}, as tfds:squad has them. It has: "
                f"{', '.join(known) or 'none'}. Received: {feature!r}"
            )


def _read(builder: Any, split: str) -> Iterator[Passage]:
    import tensorflow as tf

    where = f"tfds:{builder.name}:{split}"
    row = 0
    try:
        for row, example in enumerate(tfds.examples_of(builder, split).as_numpy_iterator(), 1):
            yield _passage(example, row, where)
    except tf.errors.OpError as error:
        raise tfds.damaged(builder, split, row, error) from error


def _passage(example: dict[str, Any], row: int, where: str) -> Passage:
    def text(value: bytes) -> str:
        return tfds.decode(value, row, where)

    found = example["answers"]
    pairs = zip(found["text"], found["answer_start"], strict=True)
    answers = tuple(Answer(text(answer), int(start)) for answer, start in pairs)
    problem = CONTRADICTION if example.get("is_impossible") and answers else None
    question = Question(text(example["id"]), text(example["question"]), answers, problem)
    return Passage(text(example["context"]), (question,))
