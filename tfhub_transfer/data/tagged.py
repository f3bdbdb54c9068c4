"""A source of labelled words becomes a data set; what `splits` does for labelled texts."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.division import check_fractions, stream
from tfhub_transfer.data.intake import Rejections, Vocabulary, fill, rejection_notes
from tfhub_transfer.data.schemes import scheme_tags
from tfhub_transfer.data.sources import open_source
from tfhub_transfer.data.splits import draw_parts, take_labelled, take_to_measure
from tfhub_transfer.data.stratify import draw_limit
from tfhub_transfer.data.summary import describe
from tfhub_transfer.data.table import Source
from tfhub_transfer.data.tag_intake import TaggedIntake, TagReading
from tfhub_transfer.data.tagged_examples import TaggedDataset, TaggedExamples
from tfhub_transfer.errors import ConfigError, DataError

__all__ = [
    "LabelledSentences",
    "TaggedDataset",
    "TaggedExamples",
    "left_out_notes",
    "load_labelled",
    "load_tagged",
]

_SHOWN = 10


@dataclass(frozen=True, eq=False)
class LabelledSentences:
    """Sentences of another data set, under a trained model's tags and intents.

    Attributes:
        name: of the source, as a report shows it.
        examples: the sentences.
        all_tags: the model's tags, then those that only the sentences have.
        all_intents: the same of intents.
        notes: sentences a person should read.
        rejected: how many rows were left out, by reason.
    """

    name: str
    examples: TaggedExamples
    all_tags: tuple[str, ...]
    all_intents: tuple[str, ...]
    notes: tuple[str, ...]
    rejected: dict[str, int]


def load_tagged(
    config: DataConfig,
    *,
    scheme: str = "iob2",
    seed: int,
    rejected: Path | None = None,
    types: Mapping[str, str] | None = None,
) -> TaggedDataset:
    """Read a source of labelled words once, and divide it into train, validation and test.

    Args:
        config: where the sentences come from and how they are split.
        scheme: that the tags are brought into, `iob2` or `iobes`.
        seed: of every draw.
        rejected: a file for the rows that cannot be used, written if there are any.
        types: what types of entities are called instead, `O` for those to leave out; every type of
            the source is to be named. They keep their names by default.

    Raises:
        ConfigError: a setting that has no meaning for labelled words.
        DataError: the source cannot be trained and tested on; the text says why.
    """
    source = open_source(config, words=True)
    _check_settings(config, source)
    check_fractions(source.splits, config)
    notes = list(source.notes)
    rejections = Rejections()
    reading = TagReading(
        given=config.scheme,
        scheme=scheme,
        tags=Vocabulary(keep_unseen=True),
        intents=Vocabulary(keep_unseen=True) if source.joint else None,
        types=types,
    )
    try:
        splits = _take_all(source, reading, rejections, notes)
    finally:
        if rejected is not None:
            rejections.save(rejected)
    notes += rejection_notes(rejections.counts)
    notes += _scheme_notes(splits, config.scheme, scheme)
    notes += left_out_notes(splits.values(), source.name)
    intents = reading.intents.names if reading.intents else ()
    unseen_intents = reading.intents.unseen if reading.intents else ()
    notes += _unseen_notes("tag", reading.tags.unseen)
    notes += _unseen_notes("intent", unseen_intents)
    parts, duplicates = draw_parts(
        splits, config, max(len(intents), 1), seed, notes, unit="sentences"
    )
    del splits
    sentences = cast("dict[str, TaggedExamples]", parts)
    tags = reading.tags.names + reading.tags.unseen
    summary: dict[str, Any] = {
        name: _describe(part, tags, intents + unseen_intents, stream(seed, "lengths"))
        for name, part in sentences.items()
    }
    notes += [
        _no_entity_note(name) for name in ("validation", "test") if not summary[name]["entities"]
    ]
    summary |= {"rejected": dict(sorted(rejections.counts.items())), "duplicates": duplicates}
    return TaggedDataset(
        name=source.name,
        labels=reading.tags.names,
        multi_label=False,
        notes=tuple(notes),
        summary=summary,
        scheme=scheme,
        intents=intents,
        unseen_tags=reading.tags.unseen,
        unseen_intents=unseen_intents,
        **sentences,
    )


def load_labelled(
    config: DataConfig,
    *,
    labels: tuple[str, ...],
    intents: tuple[str, ...],
    scheme: str,
    seed: int,
    rejected: Path | None = None,
    types: Mapping[str, str] | None = None,
) -> LabelledSentences:
    """Read the sentences to test a trained tagger on: the test split, else validation, else all.

    Args:
        config: where the sentences come from.
        labels: the model's tags.
        intents: the model's intents; none if it tells none apart.
        scheme: of the model's tags.
        seed: of the draw that `config.limit` asks for.
        rejected: a file for the rows that cannot be used, written if there are any.
        types: as in `load_tagged`.

    Raises:
        DataError: no row can be used, or only the model or only the source has intents.
    """
    source = open_source(config, words=True)
    if source.joint != bool(intents):
        raise DataError(
            f"The model and the data must both have intents, or neither. Received: a model with "
            f"{len(intents)} intents, and {source.name} {'with' if source.joint else 'without'}"
        )
    notes = list(source.notes)
    rejections = Rejections()
    reading = TagReading(
        given=config.scheme,
        scheme=scheme,
        tags=Vocabulary.of(labels, multi_label=False, separator=None, keep_unseen=True),
        intents=Vocabulary.of(intents, multi_label=False, separator=None, keep_unseen=True)
        if intents
        else None,
        types=types,
    )
    intake = take_to_measure(
        source, lambda origin: TaggedIntake(origin, reading), rejections, notes, rejected
    )
    notes += _scheme_notes({"all": intake}, config.scheme, scheme)
    notes += left_out_notes([intake], source.name)
    unseen_intents = reading.intents.unseen if reading.intents else ()
    notes += _unseen_notes("tag", reading.tags.unseen)
    notes += _unseen_notes("intent", unseen_intents)
    examples = intake.examples()
    if config.limit is not None:
        classes = max(len(intents), 1)
        drawn = draw_limit(examples.labels, config.limit, classes, stream(seed, "limit"))
        examples = examples.take(drawn)
    if not examples.tags.values.any():  # the first tag is O
        notes.append(_no_entity_note("test"))
    return LabelledSentences(
        name=source.name,
        examples=examples,
        all_tags=labels + reading.tags.unseen,
        all_intents=intents + unseen_intents,
        notes=tuple(notes),
        rejected=dict(rejections.counts),
    )


def _check_settings(config: DataConfig, source: Source) -> None:
    """Raise where a setting of labelled texts is given that words do not have."""
    given = {
        "data.label_separator": config.label_separator,
        "data.balance": None if config.balance == "none" else config.balance,
        "data.word_dropout": config.word_dropout or None,
        "data.word_swap": config.word_swap or None,
        # with intents, so many rows of each
        "data.shots": None if source.joint else config.shots,
    }
    if wrong := [f"{name} {value!r}" for name, value in given.items() if value is not None]:
        raise ConfigError(
            f"Where words are labelled, a row has a tag for each word and no class of its own: "
            f"leave these settings out; data.limit draws rows. Received: {', '.join(wrong)}"
        )


def _take_all(
    source: Source, reading: TagReading, rejections: Rejections, notes: list[str]
) -> dict[str, TaggedIntake]:
    """Take in every labelled split; the training rows, which come first, name tags and intents."""
    first = "train" if "train" in source.splits else "all"
    intake = TaggedIntake(source.splits[first].origin, reading)
    fill(intake, source.splits[first], first, rejections)
    if not intake.types:
        raise DataError(
            f"{intake.origin} has no entity to learn from: every word's tag is O. Are "
            f"--data.text_column and --data.label_column right? Received: {len(intake):,} "
            f"sentences. {' '.join(rejection_notes(rejections.counts))}".rstrip()
        )
    order = scheme_tags(sorted(intake.types), reading.scheme)
    for tag in order:  # those too that no row has: the first I- of a type may come tomorrow
        reading.tags.encode(tag)
    final = reading.tags.close(order)
    intake.settle(final, reading.intents.close() if reading.intents else None)
    splits = {first: intake}
    for name in sorted(source.splits.keys() - {first}):
        empty = TaggedIntake(source.splits[name].origin, reading)
        other = take_labelled(source, name, empty, rejections, notes)
        if other is not None:
            splits[name] = other
    return splits


def _scheme_notes(splits: Mapping[str, TaggedIntake], given: str, scheme: str) -> list[str]:
    """Return sentences about schemes that were converted, and about tags that break them."""
    notes = []
    read = {
        name: intake.evidence.scheme if given == "auto" else given
        for name, intake in splits.items()
        if intake.types
    }
    for found in sorted(set(read.values()) - {scheme}):
        names = ", ".join(name for name in read if read[name] == found)
        notes.append(
            f"Tags in {found.upper()} ({names}) were brought into {scheme.upper()}."
        )
    for name, found in read.items():
        if broken := splits[name].evidence.violations(found):
            are = "tag is" if broken == 1 else "tags are"
            notes.append(
                f"{broken:,} {are} where {found.upper()} does not allow them "
                f"({splits[name].origin}), and read as conlleval reads them: a B-, and an I- with "
                f"nothing to continue, begins an entity."
            )
    return notes


def left_out_notes(intakes: Iterable[TaggedIntake], name: str) -> list[str]:
    """Return a sentence about entities of a source, called `name`, that count as `O`."""
    counts = sum((intake.left_out for intake in intakes), collections.Counter[str]())
    if not counts:
        return []
    some = ", ".join(f"{count:,} of type {type}" for type, count in sorted(counts.items()))
    return [f"Entities of {name} that the map of types leaves out count as O: {some}."]


def _no_entity_note(split: str) -> str:
    return f"No {split} sentence has an entity: precision, recall and F1 say nothing there."


def _unseen_notes(kind: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    some = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" * (len(names) > _SHOWN))
    return [
        f"{len(names):,} {kind}{'' if len(names) == 1 else 's'} that training rows do not have "
        f"({some}) stay in the rows that are measured, where no model can be right about them."
    ]


def _describe(
    examples: TaggedExamples,
    tags: Sequence[str],
    intents: Sequence[str],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Return the numbers of sentences, words, and entities of each type, and of each intent."""
    plain = describe(examples, len(tags), rng)
    entities: dict[str, int] = {}
    # a tag that begins an entity stands once in each: no sequence is broken any more
    for tag, count in zip(tags, plain.pop("class_counts"), strict=True):
        if tag[0] in "BS" and count:
            entities[tag[2:]] = entities.get(tag[2:], 0) + count
    plain["words"]["total"] = len(examples.tags.values)
    plain["entities"] = dict(sorted(entities.items()))
    if intents:
        counts = np.bincount(examples.labels, minlength=len(intents)).tolist()
        plain["intents"] = dict(zip(intents, counts, strict=True))
    return plain
