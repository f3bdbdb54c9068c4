"""Data sets of TensorFlow Datasets: read where they are prepared, fetched where they are not."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.read_only_builder import builder_from_files
from tensorflow_datasets.core.registered import DatasetNotFoundError

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.table import Batch, Label, Source, Table, check_columns, role_of
from tfhub_transfer.errors import DataError, UnreadableFileError
from tfhub_transfer.registry import did_you_mean

_BATCH_ROWS = 4096

# NAME[/CONFIG][:VERSION][:SPLIT]; a split may be a slice, which has a colon of its own
_SOURCE = re.compile(
    r"tfds:(?P<name>\w+(?:/[\w.-]+)?(?::[\d*]+\.[\d*]+\.[\d*]+)?)(?::(?P<split>.+))?"
)


class Prepared(NamedTuple):
    """A data set whose files are there.

    Attributes:
        name: as `tfds:NAME[/CONFIG]`.
        builder: reads them.
        splits: what TFDS calls the splits that are `train`, `validation` and `test`; or only the
            one that is `all`.
        notes: sentences about splits that were left out.
    """

    name: str
    builder: tfds.core.DatasetBuilder
    splits: dict[str, str]
    notes: tuple[str, ...]


def prepare(config: DataConfig) -> Prepared:
    """Find the data set that `config.source` names, as `tfds:glue/sst2:train[:10%]`.

    Where it is prepared in `config.dir`, only those files are read: neither the network nor the
    code that made them is touched.

    Raises:
        DataError: there is no such data set or split, or it cannot be fetched.
    """
    named = _SOURCE.fullmatch(config.source)
    if named is None:
        raise DataError(
            f"A TFDS data set is given as tfds:NAME[/CONFIG][:SPLIT], for example tfds:glue/sst2 "
            f"or tfds:imdb_reviews:train[:10%]. Received: {config.source!r}"
        )
    name = f"tfds:{named['name']}"
    builder = _builder(named["name"], config.dir)
    if named["split"]:
        _check_split(builder, named["split"])
        return Prepared(name, builder, {"all": named["split"]}, ())
    known = list(builder.info.splits)
    splits = {role: split for split in known if (role := role_of(split))}
    if "train" not in splits:
        raise DataError(
            f"{name} has no split called train. Name one of its splits: "
            f"{', '.join(f'{name}:{split}' for split in known)}. Received: {config.source!r}"
        )
    notes = tuple(
        f"The split {split!r} of {name} is neither train, validation nor test, and was left out."
        for split in known
        if split not in splits.values()
    )
    return Prepared(name, builder, {"all": "train"} if len(splits) == 1 else splits, notes)


def open_tfds(config: DataConfig, *, words: bool = False) -> Source:
    """Open the data set that `config.source` names, as texts and labels.

    Args:
        config: names the data set and its features.
        words: whether a text is a list of words, and its labels as many.

    Raises:
        DataError: there is no such data set or split, it cannot be fetched, or a feature holds
            something else than texts or labels.
        MissingColumnError: it has no such feature.
    """
    name, builder, splits, notes = prepare(config)
    features = builder.info.features
    check_columns(features, config, name, kind="feature")
    _check_features(features, config, name, words)
    names = _class_names(features[config.label_column])
    tables = {
        role: Table(f"{name}:{split}", functools.partial(_read, builder, split, config, names))
        for role, split in splits.items()
    }
    return Source(config.source, tables, names, notes)


def _builder(name: str, directory: str | None) -> tfds.core.DatasetBuilder:
    """Return the builder of `name`, whose data are prepared when this returns."""
    if directory is not None and not Path(directory).is_dir():
        raise DataError(
            f"--data.dir should be a folder of prepared TFDS data sets, or one to prepare them in, "
            f"and there is no such folder. Received: {directory!r}"
        )
    try:
        return builder_from_files(name, data_dir=directory)
    except DatasetNotFoundError:
        pass  # not prepared yet
    try:
        builder = tfds.builder(name, data_dir=directory, try_gcs=False)
        builder.download_and_prepare()
    # what fails here is any data set's own code, or the network under it
    except Exception as error:
        raise DataError(
            f"No prepared data of tfds:{name} are in {directory or tfds.core.constants.DATA_DIR}, "
            f"and fetching them failed. Give the directory they were prepared in with --data.dir. "
            f"Received: {type(error).__name__}: {error}"
        ) from error
    return builder


def _check_split(builder: tfds.core.DatasetBuilder, split: str) -> None:
    try:
        _ = builder.info.splits[split]
    except (KeyError, ValueError) as error:
        known = list(builder.info.splits)
        raise DataError(
            f"tfds:{builder.name} has no such split.{did_you_mean(split, known)} Accepted: "
            f"{', '.join(known)}, or a slice of one, as {known[0]}[:10%]. Received: {split!r}"
        ) from error


def _check_features(features: Any, config: DataConfig, name: str, words: bool) -> None:
    text, label = features[config.text_column], features[config.label_column]
    if words and not (_is_list(text) and np.issubdtype(text.np_dtype, np.object_)):
        raise DataError(
            f"The text feature {config.text_column!r} of {name} must be a list of words. "
            f"Received: {text}"
        )
    if words and not _is_list(label):
        raise DataError(
            f"The label feature {config.label_column!r} of {name} must be a list with a tag for "
            f"each word. Received: {label}"
        )
    if words:
        return
    if text.shape != () or not np.issubdtype(text.np_dtype, np.object_):
        raise DataError(
            f"The text feature {config.text_column!r} of {name} must be a string. Received: {text}"
        )
    if not isinstance(label.shape, tuple) or len(label.shape) > 1:
        raise DataError(
            f"The label feature {config.label_column!r} of {name} must be one label, or a list of "
            f"them. Received: {label}"
        )


def _is_list(feature: Any) -> bool:
    """Return whether a feature is a sequence of single values, as many as each example has."""
    return isinstance(feature.shape, tuple) and len(feature.shape) == 1


def _class_names(feature: Any) -> tuple[str, ...] | None:
    """Return the names of a ClassLabel, or of a sequence of them; None for other features."""
    feature = getattr(feature, "feature", feature)
    if not isinstance(feature, tfds.features.ClassLabel):
        return None
    return tuple(feature.int2str(index) for index in range(feature.num_classes or 0))


def _read(
    builder: tfds.core.DatasetBuilder,
    split: str,
    config: DataConfig,
    names: tuple[str, ...] | None,
) -> Iterator[Batch]:
    import tensorflow as tf

    where = f"tfds:{builder.name}:{split}"
    batches = examples_of(builder, split).map(
        lambda example: (example[config.text_column], example[config.label_column])
    ).ragged_batch(_BATCH_ROWS)
    start = 1
    try:
        for text_tensor, label_tensor in batches:
            texts, values = (
                # a feature with several labels, or with words
                tensor.to_list() if isinstance(tensor, tf.RaggedTensor) else tensor.numpy().tolist()
                for tensor in (text_tensor, label_tensor)
            )
            rows = np.arange(start, start + len(texts), dtype=np.int64)
            yield Batch(
                rows,
                [
                    [decode(word, row, where) for word in text]
                    if isinstance(text, list)
                    else decode(text, row, where)
                    for row, text in zip(rows.tolist(), texts, strict=True)
                ],
                [_label(value, names) for value in values],
            )
            start += len(texts)
    except tf.errors.OpError as error:
        raise damaged(builder, split, start - 1, error) from error


def examples_of(builder: tfds.core.DatasetBuilder, split: str) -> Any:
    """Return the examples of a split as a tf.data.Dataset, always in the same order."""
    return builder.as_dataset(
        split=split,
        shuffle_files=False,
        # one file after the other, in their order, and nothing kept in memory
        read_config=tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1),
    )


def damaged(
    builder: tfds.core.DatasetBuilder, split: str, row: int, error: Any
) -> UnreadableFileError:
    """Return what to raise where TensorFlow cannot read on after a row."""
    return UnreadableFileError(
        f"tfds:{builder.name}:{split}: the prepared files in {builder.data_path} are missing, "
        f"truncated or damaged after row {row}. Prepare them again. Received: {error.message}"
    )


def decode(text: bytes, row: int, where: str) -> str:
    """Return a text of a row, or say that it is not UTF-8."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableFileError(
            f"{where}, row {row}: not UTF-8, by byte 0x{text[error.start]:02x} at position "
            f"{error.start}. Received: {text[:40]!r}"
        ) from None


def _label(value: Any, names: tuple[str, ...] | None) -> Label:
    if isinstance(value, list):
        labels = (_label(label, names) for label in value)
        return [label for label in labels if isinstance(label, str)]
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="backslashreplace")
    if names is None:
        return str(value)
    # TFDS marks a row that nobody labelled with -1
    return None if value < 0 else names[value]
