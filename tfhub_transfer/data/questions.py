"""A source of questions becomes a data set: checked, divided by context, searched for leaks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data import files, qamr, squad
from tfhub_transfer.data.division import check_fractions, divide, stream
from tfhub_transfer.data.duplicates import count_duplicates, duplicate_notes
from tfhub_transfer.data.intake import Rejections, rejection_notes
from tfhub_transfer.data.passages import PassageSource, PassageTable
from tfhub_transfer.data.question_examples import ANSWERABLE, QuestionDataset, QuestionExamples
from tfhub_transfer.data.question_intake import QuestionIntake, take_in_questions
from tfhub_transfer.data.splits import LabelledExamples
from tfhub_transfer.data.stratify import draw_limit
from tfhub_transfer.data.summary import describe
from tfhub_transfer.data.table import role_of
from tfhub_transfer.errors import ConfigError, DataError
from tfhub_transfer.registry import did_you_mean

__all__ = [
    "QuestionDataset",
    "QuestionExamples",
    "load_answered",
    "load_questions",
    "open_questions",
]

_ACCEPTED = (
    "Accepted: 'tfds:NAME[/CONFIG][:SPLIT]' with SQuAD's features; a JSON file as SQuAD's, maybe "
    "compressed; a folder with train, validation (or dev) and test files of those; a folder of "
    "QAMR's files"
)


def load_questions(
    config: DataConfig, *, seed: int, rejected: Path | None = None
) -> QuestionDataset:
    """Read a source once, and divide it into train, validation and test, by context.

    Args:
        config: where the questions come from and how they are split. Shares are of contexts, and
            `limit` is of questions.
        seed: of every draw.
        rejected: a file for the rows that cannot be used, written if there are any.

    Raises:
        ConfigError: a setting that is for classes.
        DataError: the source cannot be trained and tested on; the text says why.
    """
    if config.shots is not None:
        raise ConfigError(
            f"data.shots counts training rows of each class, and questions have none. Accepted: "
            f"data.limit. Received: data.shots {config.shots}"
        )
    source = open_questions(config)
    check_fractions(source.splits, config)
    notes = list(source.notes)
    rejections = Rejections()
    try:
        splits = {name: _take_in(source.splits[name], name, rejections) for name in source.splits}
    finally:  # most of all where so many were rejected that it is an error
        if rejected is not None:
            rejections.save(rejected)
    notes += rejection_notes(rejections.counts)
    carved = not {"validation", "test"} <= splits.keys()
    parts = divide(splits, config, 1, seed, notes, unit="contexts")
    del splits
    if config.limit is not None:
        parts = (
            _limited(parts[0], config.limit, seed),
            _limited(parts[1], config.limit, seed),
            _limited(parts[2], config.limit, seed),
        )
        sizes = [f"{len(part):,}" for part in parts]
        notes.append(
            f"By data.limit, {sizes[0]} training, {sizes[1]} validation and {sizes[2]} test "
            f"questions were drawn from those."
        )
    train, validation, test = parts
    duplicates = count_duplicates(
        train.passages(), validation.passages(), test.passages(), carved=carved
    )
    notes += [f"Contexts: {note}" for note in duplicate_notes(duplicates, carved=carved)]
    duplicates |= {"within_train": _repeated(train)}
    if repeated := duplicates["within_train"]:
        notes.append(
            f"{repeated:,} training {'question repeats' if repeated == 1 else 'questions repeat'} "
            f"another on the same context."
        )
    summary = {
        "train": _describe(train, seed),
        "validation": _describe(validation, seed),
        "test": _describe(test, seed),
        "rejected": dict(sorted(rejections.counts.items())),
        "duplicates": duplicates,
    }
    return QuestionDataset(
        name=source.name,
        labels=ANSWERABLE,
        multi_label=False,
        train=train,
        validation=validation,
        test=test,
        notes=tuple(notes),
        summary=summary,
    )


def load_answered(
    config: DataConfig, *, seed: int, rejected: Path | None = None
) -> LabelledExamples:
    """Read the questions to test a trained model on: the test split, else validation, else all.

    Args:
        config: where the questions come from.
        seed: of the draw that `config.limit` asks for.
        rejected: a file for the rows that cannot be used, written if there are any.

    Raises:
        DataError: there are none; the text says why.
    """
    source = open_questions(config)
    # there is one of these in any source
    name = next(name for name in ("test", "validation", "all") if name in source.splits)
    rejections = Rejections()
    try:
        intake = _take_in(source.splits[name], name, rejections)
    finally:
        if rejected is not None:
            rejections.save(rejected)
    examples = intake.examples()
    if config.limit is not None:
        examples = _limited(examples, config.limit, seed)
    notes = (*source.notes, *rejection_notes(rejections.counts))
    return LabelledExamples(source.name, examples, notes, dict(rejections.counts))


def open_questions(config: DataConfig) -> PassageSource:
    """Find what `config.source` names; its questions are read later, as a stream.

    Raises:
        DataError: there is nothing of that name, or it is not laid out as expected.
    """
    if config.source.startswith("tfds:"):
        # TFDS takes seconds to import, and reading files does not need it
        from tfhub_transfer.data import tfds_questions

        return tfds_questions.open_questions(config)
    path = Path(config.source)
    if path.is_dir():
        return qamr.open_folder(path) or _open_folder(path)
    if not path.exists():
        near = [other.name for other in path.parent.glob("*")] if path.parent.is_dir() else []
        raise DataError(
            f"No such source of questions.{did_you_mean(path.name, near)} {_ACCEPTED}. "
            f"Received: {config.source!r}"
        )
    if not _is_squad(path):
        raise DataError(
            f"Unknown kind of file for questions. {_ACCEPTED}. Received: {config.source!r}"
        )
    return PassageSource(path.name, {"all": squad.open_file(path)})


def _is_squad(path: Path) -> bool:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in files.COMPRESSIONS:
        suffixes.pop()
    return suffixes[-1:] == [squad.SUFFIX]


def _open_folder(folder: Path) -> PassageSource:
    """Find the train, validation and test files in `folder`, such as `train-v1.1.json`."""
    entries = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    splits: dict[str, PassageTable] = {}
    for entry in entries:
        split = role_of(re.split(r"[-_.]", entry)[0])
        if split is None or not _is_squad(Path(entry)):
            continue
        if split in splits:
            raise DataError(
                f"Two files of {folder} are its {split} split: leave one. "
                f"Received: {Path(splits[split].origin).name}, {entry}"
            )
        splits[split] = squad.open_file(folder / entry)
    if "train" not in splits:
        raise DataError(
            f"A folder of questions needs a file whose name begins with train and ends in "
            f"{squad.SUFFIX}, or QAMR's files. To use a single file, name it itself: "
            f"--data.source {folder / 'FILE'}. "
            f"Received: {folder} with {', '.join(entries) or 'nothing'}"
        )
    name = folder.resolve().name
    return PassageSource(name, {"all": splits["train"]} if len(splits) == 1 else splits)


def _take_in(table: PassageTable, name: str, rejections: Rejections) -> QuestionIntake:
    before = rejections.counts.copy()
    intake = take_in_questions(table, name, rejections)
    if not len(intake):
        reasons = " ".join(rejection_notes(rejections.counts - before)) or "no questions"
        raise DataError(
            f"The {name} split has no question that can be used ({table.origin}). "
            f"Received: {reasons}"
        )
    return intake


def _limited(examples: QuestionExamples, limit: int, seed: int) -> QuestionExamples:
    rng = stream(seed, "limit")
    return examples.take(draw_limit(examples.labels, limit, len(ANSWERABLE), rng))


def _repeated(examples: QuestionExamples) -> int:
    """Return how many questions stand on the same context a second time."""
    digests = examples.column.digests(0, len(examples.column))[examples.rows]
    asked = np.column_stack([examples.context_rows().astype(np.uint64), digests])
    return len(asked) - len(np.unique(asked, axis=0))


def _describe(examples: QuestionExamples, seed: int) -> dict[str, Any]:
    """Return a split in numbers: the questions', as for any texts, and their contexts'."""
    passages = examples.passages()
    of_passages = describe(passages, 1, stream(seed, "lengths"))
    answers = np.diff(examples.table.bounds)[examples.rows]
    return {
        **describe(examples, len(ANSWERABLE), stream(seed, "lengths")),
        "contexts": {"n": len(passages), "words": of_passages["words"]},
        "without_answer": round(float(examples.labels.mean()), 6),
        "answers_per_question": round(float(answers[answers > 0].mean()), 3) if any(answers) else 0,
    }
