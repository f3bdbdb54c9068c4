"""A split of a TFDS set as a stream of texts."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.tfds import damaged, decode, examples_of, prepare
from tfhub_transfer.errors import DataError, MissingColumnError
from tfhub_transfer.pretraining.corpus.part import Part
from tfhub_transfer.registry import did_you_mean

__all__ = ["open_split"]

# Texts may be whole books, so few are decoded at a time, and gathered while they are short.
_ROWS_AT_ONCE = 32
_BATCH_CHARACTERS = 1 << 20


def open_split(source: str, text_column: str, dir: str | None) -> Part:
    """Find the texts of `tfds:NAME[/CONFIG]:SPLIT`; labels are not looked at.

    Raises:
        DataError: there is no such data set or split, no split is named, it cannot be fetched, or
            the feature holds something else than a text.
        MissingColumnError: it has no such feature.
    """
    if source.count(":") < 2:  # said before anything is fetched
        raise DataError(
            f"A corpus is made of splits that are named, so that no test is learned from by "
            f"mistake. Accepted: tfds:NAME:SPLIT, several parted by commas. Received: {source!r}"
        )
    name, builder, splits, _ = prepare(DataConfig(source=source, dir=dir, text_column=text_column))
    features = builder.info.features
    if text_column not in features:
        raise MissingColumnError(
            f"No such feature in {name}.{did_you_mean(text_column, features)} It has: "
            f"{', '.join(features)}. Name one of them with --data.text_column. "
            f"Received: {text_column!r}"
        )
    feature = features[text_column]
    if feature.shape != () or not np.issubdtype(feature.np_dtype, np.object_):
        raise DataError(
            f"The text feature {text_column!r} of {name} must be a string. Received: {feature}"
        )
    split = splits["all"]
    rows = builder.info.splits[split].num_examples
    # slices do not know their bytes
    whole = sum(each.num_examples for each in builder.info.splits.values())
    size = max(builder.info.dataset_size * rows // max(whole, 1), rows)
    return Part(
        f"{name}:{split}",
        size,
        f"{builder.info.full_name} {rows}",
        functools.partial(_read, builder, split, text_column, size / max(rows, 1)),
    )


def _read(
    builder: Any, split: str, text_column: str, row_bytes: float
) -> Iterator[tuple[list[str], int]]:
    import tensorflow as tf

    where = f"tfds:{builder.name}:{split}"
    examples = examples_of(builder, split).map(lambda example: example[text_column])
    texts: list[str] = []
    row = characters = 0
    try:
        for batch in examples.batch(_ROWS_AT_ONCE).prefetch(2).as_numpy_iterator():
            for text in batch.tolist():
                row += 1
                texts.append(decode(text, row, where))
                characters += len(texts[-1])
            if characters > _BATCH_CHARACTERS:
                yield texts, round(row * row_bytes)
                texts, characters = [], 0
    except tf.errors.OpError as error:
        raise damaged(builder, split, row, error) from error
    if texts:
        yield texts, round(row * row_bytes)
