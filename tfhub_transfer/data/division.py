"""The protocol: which rows are trained on, which choose the epoch, and which are reported on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

import numpy as np

from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.stratify import draw_fraction
from tfhub_transfer.errors import DataError

Part = TypeVar("Part")  # of a data set, as Examples

_STREAMS = {"test": 0, "validation": 1, "limit": 2, "shots": 3, "lengths": 4, "stages": 5}
_STREAMS |= {"target": 6}


def stream(seed: int, name: str) -> np.random.Generator:
    """Return the randomness for one kind of draw, which no other kind of draw disturbs."""
    return np.random.default_rng([seed, _STREAMS[name]])


def check_fractions(splits: Iterable[str], config: DataConfig) -> None:
    """Check that what has to be carved out is given a share.

    Raises:
        DataError: it is not.
    """
    missing = {"validation", "test"} - set(splits)
    if "all" in splits and config.test_fraction == 0:
        raise DataError(
            "The source is one table, and the result must be measured on rows that training never "
            "saw: give --data.test_fraction above 0. Received: 0"
        )
    if missing and config.validation_fraction == 0:
        raise DataError(
            "The source brings no validation split, and the best epoch must be chosen on rows that "
            "are neither trained on nor reported on: give --data.validation_fraction above 0. "
            "Received: 0"
        )


class Pool(Protocol[Part]):
    """What can be divided: rows, or what several rows have in common, as their context.

    Attributes:
        origin: the file or the split it comes from.
        labels: int32[N] class indices, or uint8[N, C] multi-hot, to stratify by.
    """

    origin: str
    labels: np.ndarray

    def __len__(self) -> int: ...

    def examples(self, chosen: np.ndarray | None = None) -> Part:
        """Return what belongs to those that are `chosen`, bool[N]; to all by default."""
        ...


def divide(
    splits: Mapping[str, Pool[Part]],
    config: DataConfig,
    classes: int,
    seed: int,
    notes: list[str],
    *,
    unit: str = "rows",
) -> tuple[Part, Part, Part]:
    """Return train, validation and test: the source's own where it has them, else carved out.

    Args:
        splits: those with labels, by name: `train`, `validation`, `test`, or one called `all`.
        config: the shares to carve out.
        classes: C, the number of classes.
        seed: of the draws.
        notes: takes a sentence about each thing done.
        unit: what is drawn, in the plural.

    Raises:
        DataError: there is nothing to carve out of, or no share was given.
    """
    if {"train", "validation", "test"} <= splits.keys():
        return (
            splits["train"].examples(),
            splits["validation"].examples(),
            splits["test"].examples(),
        )
    if splits.keys() == {"train"}:  # the others turned out to have no labels
        splits = {"all": splits["train"]}
    check_fractions(splits, config)
    pool = splits["all"] if "all" in splits else splits["train"]
    remaining = np.ones(len(pool), bool)
    if "all" in splits:
        held = _carve("test", pool, remaining, config.test_fraction, classes, seed, notes, unit)
        remaining &= ~held
        test = pool.examples(held)
    elif "test" in splits:
        test = splits["test"].examples()
    else:
        test = splits["validation"].examples()
        notes.append(
            "The source has no labelled test split: its validation split is reported on as the "
            "test, and is not used to choose anything."
        )
    share = config.validation_fraction
    held = _carve("validation", pool, remaining, share, classes, seed, notes, unit)
    return pool.examples(remaining & ~held), pool.examples(held), test


def _carve(
    name: str,
    pool: Pool[Part],
    remaining: np.ndarray,
    fraction: float,
    classes: int,
    seed: int,
    notes: list[str],
    unit: str,
) -> np.ndarray:
    """Return which of the `remaining` rows are held out as the split `name`; both bool[N]."""
    labels = pool.labels[remaining]
    drawn = draw_fraction(labels, fraction, classes, stream(seed, name))
    if drawn.all() or not drawn.any():
        raise DataError(
            f"Too few {unit} in {pool.origin} to hold out a {name} split: give more {unit} or "
            f"another --data.{name}_fraction. Received: {len(drawn)} {unit}, fraction {fraction:g}"
        )
    how = "at random, for rows have several labels" if labels.ndim == 2 else "stratified"
    if classes == 1:
        how = "at random"
    notes.append(
        f"The {name} split, {drawn.sum():,} of {len(drawn):,} {unit}, was carved out of "
        f"{pool.origin} ({how}, seed {seed})."
    )
    held: np.ndarray = remaining.copy()
    held[remaining] = drawn
    return held
