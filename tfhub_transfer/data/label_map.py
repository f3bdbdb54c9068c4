"""Labels of two domains, mapped onto those that both have by a file.

    source: {"1": poor, "2": poor, "4": good, "5": good}
    target: {negative: poor, positive: good}

A side that is not in the file keeps its labels. Where words are labelled, what is mapped are the
types of entities; those that only one side has become `O`, and so does what the file calls so:

    source: {PER: person, LOC: location, ORG: group, MISC: O}
    target: {person: person, location: location, corporation: group, group: group, product: O}
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from tfhub_transfer.data.schemes import OUTSIDE
from tfhub_transfer.data.table import Batch, Label, Source, Table
from tfhub_transfer.errors import DataError
from tfhub_transfer.registry import did_you_mean

__all__ = ["SIDES", "read_label_map", "read_type_map", "renamed"]

SIDES = ("source", "target")


def read_label_map(file: str, side: str) -> dict[str, str] | None:
    """Return what the labels of one side are called instead; None if they keep their names.

    Args:
        file: YAML, as above.
        side: `source` or `target`.

    Raises:
        DataError: it cannot be read, or is not laid out so.
    """
    try:
        # every scalar stays a string: a label `no` is not False, and `1` no number
        content = yaml.load(Path(file).read_text(encoding="utf-8"), yaml.BaseLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())
        raise DataError(
            f"The map of labels cannot be read: {told}. Received: adaptation.labels {file!r}"
        ) from error
    layout = "It should be {source: {LABEL: COMMON}, target: {LABEL: COMMON}}, or one of the two"
    if not isinstance(content, dict) or not content:
        raise DataError(f"{file} maps no labels. {layout}. Received: {content!r}")
    for name, names in content.items():
        if name not in SIDES:
            raise DataError(
                f"{file} has a side that is none.{did_you_mean(name, SIDES)} {layout}. "
                f"Received: {name!r}"
            )
        if not isinstance(names, dict) or not all(isinstance(v, str) for v in names.values()):
            raise DataError(f"{file}, {name}: {layout}. Received: {names!r}")
    mapped: dict[str, str] | None = content.get(side)
    return mapped


def read_type_map(file: str, side: str) -> dict[str, str] | None:
    """Return what the types of one side's entities are called instead; None if they keep theirs.

    Types without a partner on the other side are `O`.

    Args:
        file: YAML, as above.
        side: `source` or `target`.

    Raises:
        DataError: it cannot be read, is not laid out so, or no type has a partner.
    """
    sides = {name: read_label_map(file, name) for name in SIDES}
    own = sides[side]
    if own is None:
        return None
    named = [set(names.values()) for names in sides.values() if names is not None]
    shared = set.intersection(*named) - {OUTSIDE}
    if not shared:
        told = {name: names for name, names in sides.items() if names is not None}
        raise DataError(
            f"{file} leaves no type of entities to tag: give a type of the source and one of the "
            f"target the same name, other than {OUTSIDE}. Received: {told!r}"
        )
    return {type: name if name in shared else OUTSIDE for type, name in own.items()}


def renamed(source: Source, names: Mapping[str, str], separator: str | None) -> Source:
    """Return a source whose labels are called otherwise; reading it may raise a DataError.

    Args:
        source: whose tables have labels.
        names: the new name of each.
        separator: of several labels in a cell; see `data.label_separator`.
    """

    def table(old: Table) -> Table:
        def read() -> Iterator[Batch]:
            for batch in old.read():
                labels = [_split(label, separator) for label in batch.labels]
                present = {name: None for label in labels for name in label or () if name.strip()}
                if unmapped := [name for name in present if name not in names]:
                    raise DataError(
                        f"{old.origin} has labels that adaptation.labels does not map. "
                        f"It maps: {', '.join(map(repr, names))}. "
                        f"Received: {', '.join(map(repr, unmapped))}"
                    )
                yield batch._replace(
                    labels=[
                        _joined(label, old_label, names, separator)
                        for label, old_label in zip(labels, batch.labels, strict=True)
                    ]
                )

        return Table(old.origin, read)

    order = source.labels
    if order is not None:
        order = tuple(dict.fromkeys(names[name] for name in order if name in names))
    splits = {name: table(split) for name, split in source.splits.items()}
    return dataclasses.replace(source, splits=splits, labels=order)


def _split(label: Label, separator: str | None) -> list[str] | None:
    """Return the names in a cell; None where it is empty."""
    if label is None or isinstance(label, list):
        return label
    if separator is None:
        return [label]
    return [part.strip() for part in label.split(separator)]


def _joined(
    given: list[str] | None, label: Label, names: Mapping[str, str], separator: str | None
) -> Label:
    """Return the new names as the cell had its own; what is empty stays as it is."""
    if given is None:
        return None
    new = list(dict.fromkeys(names.get(name, name) for name in given))
    if isinstance(label, list):
        return new
    return new[0] if separator is None else separator.join(new)
