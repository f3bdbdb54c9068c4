"""Which tag may follow which, and how a sequence of tags that breaks the rule is read.

In IOB2 (Tjong Kim Sang and Veenstra 1999, "Representing Text Chunks", section 2) an entity of type
X is B-X, then I-X for each further word. In IOBES the last word of it is E-X, and one of a single
word is S-X. Any other tag, O among them, belongs to no entity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

__all__ = ["PREFIXES", "make_repair", "may_follow", "parts_of"]

PREFIXES = {"iob2": "BI", "iobes": "BIES"}


def parts_of(label: str, scheme: str) -> tuple[str, str]:
    """Return the prefix and the type of a tag, `O` and nothing where it is of no entity."""
    prefix, dash, kind = label.partition("-")
    if dash and kind and len(prefix) == 1 and prefix in PREFIXES[scheme]:
        return prefix, kind
    return "O", ""


def may_follow(labels: Sequence[str], scheme: str) -> np.ndarray:
    """Return bool[T + 1, T + 1]: whether the tag of a column may follow that of a row.

    Args:
        labels: T tags.
        scheme: `iob2` or `iobes`.

    Returns:
        The last row is the start of a sentence, the last column its end.
    """
    parts = [parts_of(label, scheme) for label in labels]
    edge = ("O", "")
    allowed = np.ones((len(labels) + 1, len(labels) + 1), bool)
    for i, (prefix, kind) in enumerate([*parts, edge]):
        for j, (next_prefix, next_kind) in enumerate([*parts, edge]):
            is_open, continues = prefix in "BI", next_prefix in "IE"
            if continues:
                allowed[i, j] = is_open and kind == next_kind
            elif scheme == "iobes":
                allowed[i, j] = not is_open
    return allowed


def make_repair(labels: Sequence[str], scheme: str) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Return (tags int32[B, W], lengths int32[B]) -> tags that keep to the scheme.

    The entities are those that conlleval and seqeval see in a broken sequence, so that no score
    changes: one begins with B or S, behind a word of no entity or of another type, and behind E or
    S; it ends before the next begins, and with E or S. A tag that `labels` lacks is not made.

    Args:
        labels: T tags.
        scheme: `iob2` or `iobes`.
    """
    parts = [parts_of(label, scheme) for label in labels]
    kinds = sorted({kind for _, kind in parts})
    kind_of = np.array([kinds.index(kind) for _, kind in parts], np.int32)
    begins = np.array([prefix in "BS" for prefix, _ in parts])
    closes = np.array([prefix in "ES" for prefix, _ in parts])
    is_entity = np.array([prefix != "O" for prefix, _ in parts])
    # the prefix by (whether it is an entity's first word) + 2 * (whether it is the last)
    prefixes = "IBES" if scheme == "iobes" else "IBIB"
    places = {part: place for place, part in enumerate(parts)}
    made = np.array(
        [
            [places.get((prefix, kind), place) if kind else place for prefix in prefixes]
            for place, (_, kind) in enumerate(parts)
        ],
        np.int32,
    )

    def repair(tags: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        inside = tf.sequence_mask(lengths, tf.shape(tags)[1])
        tags = tf.where(inside, tags, 0)

        def of(values: np.ndarray) -> tf.Tensor:
            return tf.gather(values, tags)

        entity, kind = of(is_entity) & inside, of(kind_of)
        goes_on = _before(entity & ~of(closes), False) & tf.equal(_before(kind, -1), kind)
        first = entity & (of(begins) | ~goes_on)
        last = entity & (of(closes) | ~_behind(entity & ~first))
        role = tf.cast(first, tf.int32) + 2 * tf.cast(last, tf.int32)
        return tf.where(inside, tf.gather_nd(made, tf.stack([tags, role], axis=-1)), -1)

    return repair


def _before(values: tf.Tensor, edge: bool | int) -> tf.Tensor:
    """Return each word's predecessor's value, `edge` for the first."""
    return tf.pad(values, [[0, 0], [1, 0]], constant_values=edge)[:, :-1]


def _behind(values: tf.Tensor) -> tf.Tensor:
    """Return each word's successor's value, False for the last."""
    return tf.pad(values, [[0, 0], [0, 1]])[:, 1:]
