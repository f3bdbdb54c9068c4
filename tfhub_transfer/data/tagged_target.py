"""The domain that a tagger is adapted to: sentences without their tags, and some to test on.

The tags of sentences that are learnt from are not read into anything: `WITHHELD` stands for each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np

from tfhub_transfer.config import Config
from tfhub_transfer.data.division import stream
from tfhub_transfer.data.examples import Examples, TextColumn
from tfhub_transfer.data.intake import Rejections, Vocabulary, fill
from tfhub_transfer.data.label_map import read_type_map
from tfhub_transfer.data.lines import batched, read_records
from tfhub_transfer.data.schemes import problem
from tfhub_transfer.data.sequences import Sequences
from tfhub_transfer.data.sources import open_source
from tfhub_transfer.data.stratify import draw_limit
from tfhub_transfer.data.table import Source, Table, Text
from tfhub_transfer.data.tag_intake import TaggedIntake, TagReading
from tfhub_transfer.data.tagged import left_out_notes
from tfhub_transfer.data.tagged_examples import WITHHELD, TaggedDataset, TaggedExamples
from tfhub_transfer.data.target_domain import (
    TargetDomain,
    divided,
    limited,
    nothing_note,
    overlap_notes,
    rejected_notes,
)
from tfhub_transfer.data.unlabelled import Unlabelled, take_in_texts
from tfhub_transfer.errors import DataError

__all__ = ["read_tagged_target"]

_TEXTS_AT_ONCE = 4096


class _Sentences(Unlabelled):
    """Rows of a text column, words with a space between them, whose tags nobody knows."""

    def after(self, labelled: Examples) -> TaggedExamples:
        """Return sentences of the same column and after them these, every tag `WITHHELD`."""
        both, of = super().after(labelled), cast("TaggedExamples", labelled)
        parts = np.array_split(self.rows, len(self.rows) // _TEXTS_AT_ONCE + 1)
        words = [text.count(" ") + 1 for part in parts for text in labelled.column.read(part)]
        withheld = np.full(sum(words), WITHHELD, np.int32)
        joined = Sequences.of(
            np.concatenate([of.tags.values, withheld]), np.concatenate([of.tags.lengths, words])
        )
        told = {field.name: getattr(both, field.name) for field in dataclasses.fields(both)}
        return TaggedExamples(**told, tags=joined, intents=of.intents)


def read_tagged_target(
    config: Config, data: TaggedDataset, column: TextColumn, rejected: Path | None = None
) -> TargetDomain:
    """Read `adaptation.target`; its sentences to learn from become the next rows of `column`.

    As `read_target` does it for texts: a source with a test split (or else a validation split) is
    tested on that and learnt from in its training split; of one table `data.test_fraction` is held
    out. A file of lines (.txt) has a sentence on each, its words between spaces and no tags: it is
    learnt from as a whole.

    Args:
        config: of the run; the target's columns are called as the source's are.
        data: what the model learns the tags of.
        column: takes the sentences.
        rejected: a file for the sentences that cannot be tested on, written if there are any.

    Raises:
        DataError: there is no such source, no sentence in it, types of entities that the model does
            not know; or sentences have labels of their own, which are not adapted.
    """
    name = config.adaptation.target or ""
    _refuse_intents(data.name, len(data.intents))
    held_out: list[Examples] = [data.validation, data.test]
    if Path(name).suffix.lower() == ".txt":
        shown, test = Path(name).name, None
        notes = [f"{name} has no tags, and nothing was measured there."]
        texts = take_in_texts(name, _lines(name), column, held_out)
    else:
        source = open_source(dataclasses.replace(config.data, source=name), words=True)
        _refuse_intents(source.name, int(source.joint))
        train, held = divided(source, config.data, config.seed)
        test, notes = _tagged(held, source, config, data, rejected)
        held_out += [test] if test is not None else []
        shown, read = source.name, ([*map(_joined, batch.texts)] for batch in train.read())
        texts = take_in_texts(name, read, column, held_out)
    texts = limited(_Sentences(**vars(texts)), config.data.limit, config.seed)
    return TargetDomain(shown, texts, test, (texts.note, *notes))


def _refuse_intents(name: str, intents: int) -> None:
    if intents:
        raise DataError(
            f"What is adapted are the vectors of words: sentences cannot have labels of their own "
            f"beside the tags. Received: {name}, with intents"
        )


def _lines(name: str) -> Iterator[list[str | None]]:
    """Yield the sentences of a file of lines, a batch at a time."""
    if not Path(name).is_file():
        raise DataError(f"No such file of unlabelled texts. Received: {name!r}")
    with Path(name).open(encoding="utf-8-sig") as file:
        records = read_records(file, "lines", "text", name)
        for number, batch in enumerate(batched((text for _, text in records), _TEXTS_AT_ONCE)):
            sentences = [_joined([line]) for line in batch]
            told = [sentence for sentence in sentences if sentence and not _aside(sentence)]
            last = [sentence.split(" ")[-1] for sentence in told if " " in sentence]
            tags = [word for word in last if problem(word) is None]
            # a sentence may end in O, or all in one word; columns do on nearly each line
            if not number and last and len(tags) > len(told) / 2:
                raise DataError(
                    f"A target that ends in .txt has a sentence on each line, and this looks like "
                    f"columns of words and tags: call it NAME.conll. Received: {name!r}, where the "
                    f"lines end in {', '.join(sorted(set(tags))[:3])}"
                )
            yield sentences


def _aside(line: str) -> bool:
    """Return whether a line of columns would be a comment, or part documents."""
    return line.startswith(("# ", "-DOCSTART-"))


def _joined(words: Text) -> str | None:
    """Return words with a space between them, as encoders take them; None where there are none."""
    return " ".join(" ".join(words or ()).split()) or None


def _tagged(
    table: Table, source: Source, config: Config, data: TaggedDataset, rejected: Path | None
) -> tuple[TaggedExamples | None, list[str]]:
    """Return the sentences to test on, under the model's tags, and what is to be said of them."""
    file = config.adaptation.labels
    reading = TagReading(
        given=config.data.scheme,
        scheme=data.scheme,
        tags=Vocabulary.of(data.labels, multi_label=False, separator=None, keep_unseen=True),
        intents=None,
        types=read_type_map(file, "target") if file is not None else None,
    )
    intake, rejections = TaggedIntake(table.origin, reading), Rejections()
    fill(intake, table, "target", rejections)
    notes = rejected_notes(rejections, rejected)
    notes += left_out_notes([intake], f"{source.name}'s test rows")
    if not intake.types:
        return None, [*notes, nothing_note(table, len(intake), "an entity")]
    known = sorted({tag[2:] for tag in data.labels if tag[2:]})
    if unknown := sorted(intake.types - set(known)):
        raise DataError(
            f"{table.origin} has types of entities that the source's training rows do not have: "
            f"give --adaptation.labels FILE, which maps both onto types that they share, or to O. "
            f"Accepted: {', '.join(map(repr, known))}. "
            f"Received: {', '.join(map(repr, unknown))}"
        )
    intake.settle()
    examples = intake.examples()
    if config.data.limit is not None:
        rng = stream(config.seed, "limit")
        examples = examples.take(draw_limit(examples.labels, config.data.limit, 1, rng))
    return examples, [*notes, *overlap_notes(data, examples)]
