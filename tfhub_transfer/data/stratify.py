"""Seeded draws of rows in which every class keeps its share."""

from __future__ import annotations

import numpy as np


def apportion(counts: np.ndarray, total: int, *, least: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Divide `total` seats among classes in proportion to their size, by largest remainders.

    Args:
        counts: int64[C], the classes' sizes.
        total: seats to give away. More are given if the classes' least add up to more, fewer if
            their most add up to fewer.
        least: int64[C], what a class gets at least.
        most: int64[C], what a class gets at most.

    Returns:
        int64[C], the seats of each class.
    """
    ideal = total * counts / max(counts.sum(), 1)
    seats: np.ndarray = np.clip(np.floor(ideal).astype(np.int64), least, most)
    while missing := total - seats.sum():
        step = np.sign(missing)
        movable = np.flatnonzero(seats < most if step > 0 else seats > least)
        if not len(movable):
            break
        # those first that are furthest from their ideal share; ties in the classes' order
        order = np.argsort(step * (seats - ideal)[movable], kind="stable")
        seats[movable[order[: abs(missing)]]] += step
    return seats


def draw(labels: np.ndarray, seats: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw `seats[c]` rows of each class c.

    Args:
        labels: int32[N], class indices.
        seats: int64[C], rows to draw; at most as many as the class has.
        rng: where the randomness comes from.

    Returns:
        bool[N], True where a row was drawn.
    """
    drawn = np.zeros(len(labels), bool)
    for index, wanted in enumerate(seats):
        members = np.flatnonzero(labels == index)
        drawn[rng.choice(members, wanted, replace=False, shuffle=False)] = True
    return drawn


def draw_fraction(
    labels: np.ndarray, fraction: float, classes: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw a held-out share of the rows.

    Of each class at least one row is drawn and one is left, if it has two. Multi-label rows are
    drawn without regard to their labels.

    Args:
        labels: int32[N] class indices, or uint8[N, C] multi-hot.
        fraction: the share to draw.
        classes: C, the number of classes.
        rng: where the randomness comes from.

    Returns:
        bool[N], True where a row was drawn.
    """
    total = round(fraction * len(labels))
    if labels.ndim == 2:
        return _draw_any(len(labels), total, rng)
    counts = np.bincount(labels, minlength=classes)
    seats = apportion(
        counts, total, least=np.minimum(counts // 2, 1), most=np.maximum(counts - 1, 0)
    )
    return draw(labels, seats, rng)


def draw_limit(
    labels: np.ndarray, limit: int, classes: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw at most `limit` rows, of every class at least one if there are enough to draw.

    Multi-label rows are drawn without regard to their labels. Shapes as in `draw_fraction`.
    """
    total = min(limit, len(labels))
    if labels.ndim == 2:
        return _draw_any(len(labels), total, rng)
    counts = np.bincount(labels, minlength=classes)
    present = np.minimum(counts, 1)
    least = present if present.sum() <= total else np.zeros_like(counts)
    return draw(labels, apportion(counts, total, least=least, most=counts), rng)


def draw_shots(
    labels: np.ndarray, shots: int, classes: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw rows in random order until every class stands in `shots` of them, and in no more.

    Of multi-label rows, one is passed over when any of its classes is complete or it has none.
    Shapes as in `draw_fraction`.
    """
    if labels.ndim == 1:
        counts = np.bincount(labels, minlength=classes)
        return draw(labels, np.minimum(counts, shots), rng)
    drawn = np.zeros(len(labels), bool)
    taken = np.zeros(classes, np.int64)
    for position in rng.permutation(len(labels)):
        row = labels[position].astype(bool)
        if row.any() and (taken[row] < shots).all():
            taken += row
            drawn[position] = True
    return drawn


def _draw_any(size: int, total: int, rng: np.random.Generator) -> np.ndarray:
    drawn = np.zeros(size, bool)
    drawn[rng.choice(size, total, replace=False, shuffle=False)] = True
    return drawn
